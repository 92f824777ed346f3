package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// TestWhatIsNotDurableIsNotSent lets the store refuse writes: nothing is sent, the caller gets
// the error, and the loop goes on from what is durable.
func TestWhatIsNotDurableIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		store, err := storage.Create(filepath.Join(dir, "store"), storage.Options{KeyFile: filepath.Join(dir, "key")})
		if err != nil {
			t.Fatal(err)
		}
		row, err := newIdentity(InitConfig{Name: "device"}, time.Now())
		if err == nil {
			err = putRow(store, keyIdentity, row)
		}
		if err != nil {
			t.Fatal(err)
		}
		me, err := readIdentity(store)
		if err != nil {
			t.Fatal(err)
		}
		raw, id, err := identity.NewGenesis(rand.Reader, time.Now(), me.user, me.device, identity.Founding{Suite: suite, Policy: wire.PolicyOpen})
		if err != nil {
			t.Fatal(err)
		}
		genesis, err := identity.VerifyGenesis(raw)
		if err != nil {
			t.Fatal(err)
		}

		full := errors.New("no space left on device")
		var refuse bool
		var opens int
		var order []string
		r := rows{store: store, prefix: groupPrefix(id)}
		life := newLife(t.Context())
		l := &loop{
			log: slog.New(slog.DiscardHandler), rows: r, changed: new(signal), done: life.done, requests: make(chan request, maxWaiting), ended: make(chan struct{}),
			fatal: func(err error) { t.Errorf("fatal: %v", err) },
			apply: func(b storage.Batch) error {
				if refuse {
					return full
				}
				order = append(order, "writes")
				return store.Apply(b)
			},
			send:   func(context.Context, group.Outbound) { order = append(order, "message") },
			notify: func(group.Event) { order = append(order, "event") },
			open: func(now time.Time) (*group.Machine, error) {
				opens++
				return group.New(group.Config{
					Genesis: genesis, Device: me.device, LogKey: me.log, Incarnation: me.incarnation,
					Engine: engine.MLS(genesis.Suite), Rand: rand.Reader, Rows: r,
				}, now)
			},
		}
		life.start(l.run)
		defer func() {
			life.end()
			if err := store.Close(); err != nil {
				t.Error(err)
			}
		}()
		say := func(text string) error {
			_, err := l.step(t.Context(), group.Send{Content: wire.Content{MediaType: "text/plain", Data: []byte(text)}})
			return err
		}
		shown := func() (n int) {
			if err := l.look(t.Context(), func(m *group.Machine) error {
				all, err := m.Journal().Messages(0, 0)
				n = len(all)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			return n
		}
		if _, err := l.step(t.Context(), group.Found{}); err != nil {
			t.Fatal(err)
		}
		order = nil
		if err := say("one"); err != nil {
			t.Fatal(err)
		}
		if len(order) < 3 || order[0] != "writes" || order[len(order)-1] != "event" {
			t.Fatalf("the order was %v", order)
		}

		synctest.Wait()
		refuse, order = true, nil
		if err := say("lost"); !errors.Is(err, full) || !errors.Is(err, ErrStore) {
			t.Fatalf("got %v", err)
		}
		if len(order) != 0 {
			t.Fatalf("without the writes there was %v", order)
		}
		before := opens
		for range 10 {
			if _, err := l.step(t.Context(), group.Envelope{Bytes: []byte("from the network")}); !errors.Is(err, full) {
				t.Fatalf("what others sent: %v", err)
			}
		}
		if opens != before {
			t.Errorf("what others sent had the group restored %d times", opens-before)
		}
		if n := shown(); n != 1 {
			t.Fatalf("%d messages after a write that failed, wants 1", n)
		}
		if err := say("lost too"); !errors.Is(err, full) {
			t.Fatalf("got %v", err)
		}
		refuse = false
		if err := say("two"); err != nil {
			t.Fatal(err)
		}
		if n := shown(); n != 2 {
			t.Fatalf("%d messages, wants 2", n)
		}
	})
}

// TestClosedLoop gives callers an error, whether they wait already or come later.
func TestClosedLoop(t *testing.T) {
	life := newLife(t.Context())
	l := &loop{done: life.done, requests: make(chan request, 1)} // nobody serves it
	waiting := make(chan error, 1)
	go func() {
		_, err := l.step(context.Background(), group.Tick{})
		waiting <- err
	}()
	life.end()
	if err := <-waiting; !errors.Is(err, ErrClosed) {
		t.Fatalf("got %v", err)
	}
	if life.start(func(context.Context) { t.Error("a goroutine was started after the end") }) {
		t.Fatal("the life goes on after its end")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l = &loop{done: make(chan struct{}), requests: make(chan request)}
	if _, err := l.step(ctx, group.Tick{}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

// TestSendAll: several messages are one transaction, in their order; if one of them
// cannot be sent, none is. Callers that wait at the same time share one too.
func TestSendAll(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		id := w.create(a, "many")
		w.eventually(a, time.Minute, "all is published", func() bool { return true })
		time.Sleep(time.Minute) // virtual: the group's own writes are over
		var contents []wire.Content
		var want []string
		for i := range maxSendTogether {
			want = append(want, fmt.Sprint("message ", i))
			contents = append(contents, wire.Content{MediaType: "text/plain", Data: []byte(want[i])})
		}
		before, err := a.store.Stat()
		if err != nil {
			t.Fatal(err)
		}
		ids, err := a.sendAll(w.Context(), id, contents)
		if err != nil || len(ids) != len(contents) {
			t.Fatalf("%d IDs, %v", len(ids), err)
		}
		after, err := a.store.Stat()
		if err != nil || after.Transactions != before.Transactions+1 {
			t.Errorf("%d transactions, %v", after.Transactions-before.Transactions, err)
		}
		if got := w.texts(a, id); !slices.Equal(got, want) {
			t.Errorf("%d messages are shown, or in another order", len(got))
		}
		for _, bad := range [][]wire.Content{
			nil,
			append(slices.Clone(contents), contents[0]),
			{contents[0], {MediaType: "text/plain", Data: make([]byte, wire.MaxBody+1)}},
		} {
			if _, err := a.sendAll(w.Context(), id, bad); !errors.Is(err, ErrInvalid) && !errors.Is(err, wire.ErrTooLarge) {
				t.Errorf("%d at once: %v", len(bad), err)
			}
		}
		if got := w.texts(a, id); len(got) != len(want) {
			t.Errorf("%d messages after what was refused, there were %d", len(got), len(want))
		}

		before, _ = a.store.Stat()
		hold := make(chan struct{})
		go func() {
			_ = a.groups.get(id).loop.look(w.Context(), func(*group.Machine) error { <-hold; return nil })
		}()
		synctest.Wait()
		errs := make(chan error, 40)
		for i := range cap(errs) {
			go func() {
				_, err := a.Send(w.Context(), id, wire.Content{MediaType: "text/plain", Data: []byte(fmt.Sprint("caller ", i))})
				errs <- err
			}()
		}
		synctest.Wait()
		close(hold)
		for range cap(errs) {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		after, _ = a.store.Stat()
		if n := after.Transactions - before.Transactions; n > 3 {
			t.Errorf("%d callers at the same time took %d transactions", cap(errs), n)
		}
		if got := w.texts(a, id); len(got) != len(want)+cap(errs) {
			t.Errorf("%d messages in the end", len(got))
		}
	})
}

// TestStoreThatTakesNothing: while the store takes no writes, as on a full disk, the loop
// tries again with pauses, whoever looks meanwhile, and goes on when it takes them again.
func TestStoreThatTakesNothing(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		id := w.create(a, "full")
		b := w.open(1)
		g := b.newSession(a.groups.get(id).genesis)
		var full atomic.Bool
		full.Store(true)
		var tries atomic.Int64
		g.loop.apply = func(batch storage.Batch) error {
			if n := tries.Add(1); full.Load() && n < 1000 {
				return storage.ErrNoSpace
			}
			return b.apply(batch)
		}
		if err := g.start(); err != nil {
			w.Fatal(err)
		}
		b.adopt(g)
		for range 20 {
			time.Sleep(time.Second / 2) // virtual
			if _, err := g.status(w.Context()); !errors.Is(err, storage.ErrNoSpace) {
				w.Fatalf("a look while the disk is full: %v", err)
			}
		}
		if n := tries.Load(); n > 5 {
			w.Errorf("%d tries within ten seconds", n)
		}
		full.Store(false)
		if _, err := g.loop.step(w.Context(), group.Join{}); err != nil {
			w.Errorf("an input as soon as there is room: %v", err)
		}
		if _, err := g.status(w.Context()); err != nil {
			w.Errorf("a look after that: %v", err)
		}
	})
}

// TestNoVerdict has the node come to no verdict: nobody is blamed, and nothing is taken for
// read, which would lose it.
func TestNoVerdict(t *testing.T) {
	for _, ours := range []error{ErrStore, verdict.ErrCorrupt, ErrClosed, errCrashed, context.Canceled, context.DeadlineExceeded} {
		if v := verdictOf(group.Outcome{}, fmt.Errorf("a step: %w", ours)); v != verdict.Ignore {
			t.Errorf("%v: %v", ours, v)
		}
	}
	for _, v := range []verdict.Verdict{verdict.Accept, verdict.Ignore, verdict.Reject} {
		if got := verdictOf(group.Outcome{Verdict: v}, verdict.ErrForged); got != v {
			t.Errorf("the machine said %v: %v", v, got)
		}
	}
}

// TestGivenUp lets callers of a loop give up. One whose look has begun gets its variables back
// only when the loop has done with them, and what waits behind it is never begun.
func TestGivenUp(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		g := a.groups.get(w.create(a, "tea"))
		begun, goOn := make(chan struct{}), make(chan struct{})
		ctx, cancel := context.WithCancel(w.Context())
		first, second := make(chan error, 1), make(chan error, 1)
		go func() {
			first <- g.loop.look(ctx, func(*group.Machine) error { close(begun); <-goOn; return nil })
		}()
		<-begun
		go func() {
			second <- g.loop.look(ctx, func(*group.Machine) error { w.Error("it was begun"); return nil })
		}()
		synctest.Wait()
		cancel()
		if err := <-second; !errors.Is(err, context.Canceled) {
			w.Errorf("the one that waits: %v", err)
		}
		synctest.Wait()
		returned := len(first)
		close(goOn)
		if err := <-first; returned > 0 || err != nil {
			w.Errorf("its look was carried out, and is told (%d: before that had ended): %v", returned, err)
		}
		synctest.Wait()
	})
}
