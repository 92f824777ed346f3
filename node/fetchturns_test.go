package node

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/internal/simhost"
	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/blob"
)

// TestMembersFetchFromEachOther has five members fetch at once what a sixth has, each on a line of
// 20 Mbit/s: its line carries the file less than four times, and they are done sooner than it
// could serve each.
func TestMembersFetchFromEachOther(t *testing.T) {
	t.Parallel()
	const members, size, speed = 6, 8 << 20, 20_000_000
	inNet(t, simhost.Config{BitsPerSecond: speed}, func(w *world) {
		a := w.open(0)
		id := w.create(a, "tea")
		for i := 1; i < members; i++ {
			w.join(w.open(i, 0), id)
		}
		time.Sleep(10 * time.Minute) // virtual: all are connected
		large := someBytes(1, size)
		f := w.upload(a, "large.bin", large)
		w.sendFile(a, id, "", f)
		for i := 1; i < members; i++ {
			w.state(w.nodes[i], f.ID, "known", func(api.File) bool { return true })
		}
		began, before := time.Now(), counted(a.metrics.FileBytes.WithLabelValues(directionOut))
		var all sync.WaitGroup
		for i := 1; i < members; i++ {
			all.Go(func() {
				if err := w.nodes[i].API().FetchFile(w.Context(), api.FetchFileRequest{File: f.ID}, func(api.File) error { return nil }); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		took, out := time.Since(began), counted(a.metrics.FileBytes.WithLabelValues(directionOut))-before
		alone := time.Duration((members - 1) * size * 8 * int64(time.Second) / speed)
		t.Logf("%.1f files were served by the sender, in %v; %v is what it would take it to serve each", float64(out)/size, took, alone)
		if out > 4*size || took > alone*4/5 {
			t.Error("members do not serve each other")
		}
		for i := 1; i < members; i++ {
			if !bytes.Equal(w.content(w.nodes[i], f.ID), large) {
				t.Errorf("node %d has other bytes", i)
			}
		}
	})
}

// A source that had nothing is asked again while another one gives something, and one that failed
// later; one that served wrong bytes is not.
func TestFetchTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		of := func(names ...string) (out []source) {
			for _, name := range names {
				out = append(out, source{p: peer.ID(name)})
			}
			return out
		}
		there := of("a", "b")
		turns := newFetchTurns(of("a", "b", "c"), func(context.Context) []source { return there })
		next := func(want string, after time.Duration) fetchTurn {
			t.Helper()
			began := time.Now()
			got, ok := turns.next(t.Context())
			if took := time.Since(began); !ok || got.p != peer.ID(want) || took != after {
				t.Fatalf("%q after %v, %q after %v is next", got.p, took, want, after)
			}
			return got
		}
		a, b, c := next("a", 0), next("b", 0), next("c", 0)
		turns.done(c, false, errNobody)
		turns.done(b, false, nil)
		b = next("b", 2*fetchTurnAgain)
		turns.done(b, false, nil)
		b = next("b", 4*fetchTurnAgain)
		turns.done(b, true, nil)
		b = next("b", fetchTurnAgain)
		turns.done(b, false, blob.ErrWrong)
		there = of("a", "b", "c", "d")
		d := next("d", fetchLook-7*fetchTurnAgain) // who has connected; a and b had their turns
		turns.done(d, false, blob.ErrSize)
		c = next("c", fetchLook) // it failed
		turns.done(c, false, errNobody)
		turns.done(a, false, errNobody)
		if got, ok := turns.next(t.Context()); ok {
			t.Errorf("%q is asked while nobody gives anything", got.p)
		}
		once := newFetchTurns(of("a", "b"), nil)
		first, _ := once.next(t.Context())
		second, _ := once.next(t.Context())
		once.done(first, true, nil)
		ended, end := context.WithCancel(t.Context())
		end()
		if got, ok := once.next(ended); ok {
			t.Errorf("%q is asked at the end", got.p)
		}
		once.done(second, true, nil)
		if got, ok := once.next(t.Context()); ok {
			t.Errorf("%q is asked twice", got.p)
		}
	})
}

// A source is asked for what the fewest others have: where its last run ended, or else anywhere.
func TestRarity(t *testing.T) {
	const groups = 64
	bits := func(from, to int) blob.Bits {
		b := make(blob.Bits, groups/8)
		for i := from; i < to; i++ {
			b.Set(i)
		}
		return b
	}
	r := newRarity(groups)
	r.told("all", bits(0, groups))
	r.told("most", bits(0, 48))
	r.told("half", bits(0, 40))
	r.told("half", bits(0, 32))
	r.told("less", bits(0, 16))
	every := func(int) bool { return true }
	seen := map[int]bool{}
	for _, c := range []struct {
		name         string
		after, most  int
		free         func(int) bool
		least, below int // where the run is
		from         int // -1: anywhere there
		groups       int // 0: one at least
	}{
		{"what one alone has", 0, 16, every, 48, 64, -1, 0},
		{"after the last run", 52, 4, every, 48, 64, 52, 4},
		{"to a multiple of its size", 50, 4, every, 48, 64, 50, 2},
		{"not beyond the end", 62, 4, every, 48, 64, 62, 2},
		{"not what many have", 30, 64, func(i int) bool { return i < 36 }, 32, 36, -1, 0},
		{"of those in between", 40, 16, func(i int) bool { return i >= 32 && i < 48 }, 32, 48, 40, 8},
		{"anywhere, from a multiple on", 0, 2, func(i int) bool { return i >= 33 }, 48, 64, -1, 2},
		{"what many have, if that is all", 16, 64, func(i int) bool { return i < 20 }, 16, 20, 16, 4},
	} {
		for range 1000 {
			from, n := r.choose(c.after, c.most, c.free)
			if n < 1 || from < c.least || from+n > c.below || n > c.most || c.from >= 0 && from != c.from || c.groups > 0 && n != c.groups || from%c.most+n > c.most {
				t.Fatalf("%s: %d groups from %d", c.name, n, from)
			}
			if c.after == 0 {
				seen[from] = true
			}
		}
	}
	if len(seen) != 8 { // that one of them is not drawn has a chance of 10^-13
		t.Errorf("it begins at %d places of 8", len(seen))
	}
	if from, n := r.choose(3, 16, func(int) bool { return false }); from != 0 || n != 0 {
		t.Errorf("%d groups from %d where none is free", n, from)
	}
}

// TestMemberThatConnectsLate has a file come slowly, and its sender's line is full; another member
// who has it connects meanwhile, and is asked, too.
func TestMemberThatConnectsLate(t *testing.T) {
	t.Parallel()
	inNet(t, simhost.Config{BitsPerSecond: 2_000_000}, func(w *world) {
		a := w.open(0)
		b, c := w.open(1, 0), w.open(2, 0, 1)
		id := w.create(a, "tea")
		w.join(b, id)
		w.join(c, id)
		large := someBytes(1, 8<<20) // 34 s
		f := w.upload(a, "large.bin", large)
		w.sendFile(a, id, "", f)
		w.state(b, f.ID, "known", func(api.File) bool { return true })
		w.state(c, f.ID, "known", func(api.File) bool { return true })
		w.fetch(c, f.ID)
		w.close(2)
		ctx, cancel := context.WithCancel(w.Context())
		if err := b.API().FetchFile(ctx, api.FetchFileRequest{File: f.ID}, func(now api.File) error {
			if now.Have > 0 {
				return errEnough
			}
			return nil
		}); !errors.Is(err, errEnough) {
			t.Fatal(err)
		}
		cancel()
		c = w.open(2, 0, 1)
		if got := w.fetch(b, f.ID); !bytes.Equal(got, large) {
			t.Error("other bytes came")
		}
		if out := counted(c.metrics.FileBytes.WithLabelValues(directionOut)); out < 1<<20 {
			t.Errorf("who connected late served %d bytes", out)
		}
	})
}
