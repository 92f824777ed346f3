package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pandanode/pandanode/node/clock"
	"github.com/pandanode/pandanode/node/content"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// boundary is a place in the carrying out of a Ready where a crash must cost nothing.
type boundary string

// Boundaries, in their order.
const (
	beforeWrites  boundary = "before writes"
	afterWrites   boundary = "after writes"
	afterMessages boundary = "after messages"
	afterEvents   boundary = "after events"
	afterAdvance  boundary = "after advance"
)

// maxWaiting is how many requests may wait for one machine. A caller beyond that
// waits outside for as long as its context lets it.
const maxWaiting = 128

// loop owns one group's machine: its goroutine alone touches it.
type loop struct {
	log      *slog.Logger
	open     func(now time.Time) (*group.Machine, error) // of what is durable
	rows     rows
	apply    func(storage.Batch) error
	outbox   func(*group.Machine, group.Ready) []storage.Write // envelopes for the mailboxes; nil: there are none
	send     func(context.Context, group.Outbound)
	notify   func(group.Event)
	clock    func() clock.Time      // nil: the wall clock, as it is
	turned   func(began time.Time)  // a turn was carried out; nil: nobody asks
	came     func([]wire.EntryHash) // entries of others are durable; nil: nobody asks
	erased   func()                 // messages were erased; nil: nobody asks
	faulty   func()                 // a message is durable that is malformed; nil: nobody asks
	files    *fileTable             // is told of messages that name files; nil: nobody asks
	changed  *signal                // woken after each Advance that changed anything
	crash    func(boundary) bool    // true: stop here, as a crash would; tests only
	fatal    func(error)            // the store takes no writes any more
	done     <-chan struct{}        // closed when the node closes
	requests chan request
	ended    chan struct{} // closed when run has returned: no request is in its hands

	opened  atomic.Bool    // the machine was made once: nobody waits long for a look at it
	gone    atomic.Bool    // the group was forgotten
	machine *group.Machine // nil: to be made from the durable rows
	steps   uint64         // of the clock, that the machine knows of
	failed  error          // why the last one was thrown away or not made; nil once a write succeeds
	unmade  bool           // it was not made
	pause   time.Duration  // after a failure, before trying again by itself
	again   time.Time      // when that is over
}

// Inputs that wait at the same time share a transaction, up to these bounds: their writes
// have to fit into one. An input alone may be larger.
const (
	maxTogether      = 64
	maxTogetherBytes = 256 << 10
)

// request is a turn at the machine: an input, or a look at it.
type request struct {
	input group.Input
	look  func(*group.Machine) error
	reply chan answer   // holds one
	state *atomic.Int32 // requestWaits at first; nil: nobody can withdraw it
}

// States of a request. The first to leave requestWaits decides: the loop, which begins it, or
// its caller, who withdraws it.
const (
	requestWaits int32 = iota
	requestBegun
	requestWithdrawn
)

// begin says whether the loop may carry the request out: its caller still waits.
func (r request) begin() bool {
	return r.state == nil || r.state.CompareAndSwap(requestWaits, requestBegun)
}

type answer struct {
	outcome group.Outcome
	err     error
}

// sizeOf is how much an input brings, about.
func sizeOf(in group.Input) int {
	n := 0
	switch in := in.(type) {
	case group.From:
		return sizeOf(in.Input)
	case group.Send:
		n = len(in.Content.Data)
	case group.SendAll:
		for _, c := range in.Contents {
			n += len(c.Data)
		}
	case group.Envelope:
		n = len(in.Bytes)
	case group.Entries:
		for _, e := range in.Entries {
			n += len(e)
		}
	case group.Seals:
		for _, s := range in.Seals {
			n += len(s)
		}
	default: // rare, and of unknown consequence
		n = maxTogetherBytes
	}
	return n
}

// step gives the machine an input and returns when its Ready is carried out: its writes are
// durable then. If it returns because ctx ended, the machine never got the input.
func (l *loop) step(ctx context.Context, in group.Input) (group.Outcome, error) {
	a := l.ask(ctx, request{input: in})
	return a.outcome, a.err
}

// look runs fn with the machine, in the loop's goroutine. fn changes nothing.
func (l *loop) look(ctx context.Context, fn func(*group.Machine) error) error {
	return l.ask(ctx, request{look: fn}).err
}

// ask has a request served. When ctx or the node ends, a request that was not begun is
// withdrawn. For one that was begun ask waits, so that nobody but the caller touches what the
// request writes to once ask has returned.
func (l *loop) ask(ctx context.Context, r request) answer {
	r.reply, r.state = make(chan answer, 1), new(atomic.Int32)
	var gaveUp answer
	select {
	case l.requests <- r:
	case <-ctx.Done():
		return answer{err: ctx.Err()}
	case <-l.done:
		return answer{err: l.over()}
	}
	select {
	case a := <-r.reply:
		return a
	case <-ctx.Done():
		gaveUp.err = ctx.Err()
	case <-l.done:
		gaveUp.err = l.over()
	}
	if r.state.CompareAndSwap(requestWaits, requestWithdrawn) {
		return gaveUp
	}
	select {
	case a := <-r.reply:
		return a
	case <-l.ended: // after the reply, or without one: a test let it crash
	}
	select {
	case a := <-r.reply:
		return a
	default:
		return gaveUp
	}
}

// over says why the loop serves nobody any more.
func (l *loop) over() error {
	if l.gone.Load() {
		return fmt.Errorf("%w: it was forgotten", ErrNoGroup)
	}
	return ErrClosed
}

// run serves the machine until ctx ends.
func (l *loop) run(ctx context.Context) {
	defer close(l.ended)
	timer := time.NewTimer(0) // New may have left something to do
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-l.requests:
			for more := true; more; {
				var crashed bool
				if r, more, crashed = l.serveAll(ctx, r); crashed {
					return
				}
			}
		case <-timer.C:
			tick := []request{{input: group.Tick{}}}
			if l.serve(ctx, tick, make([]answer, 1)); errors.Is(l.failed, errCrashed) {
				return
			}
		}
		timer.Reset(l.untilWake(l.time().Now))
	}
}

// idle is how long a machine that wants no wake-up sleeps.
const idle = time.Hour

func (l *loop) untilWake(now time.Time) time.Duration {
	pause := time.Until(l.again)
	if l.machine == nil {
		return pause
	}
	wake := l.machine.NextWake()
	if wake.IsZero() {
		return idle
	}
	return min(max(wake.Sub(now), pause, time.Millisecond), idle)
}

// serveAll serves a request and those that wait behind it as far as they can share a
// transaction, and answers them. It gives the one that it took and could not serve.
func (l *loop) serveAll(ctx context.Context, first request) (next request, more, crashed bool) {
	together := []request{first}
	bytes := 0
	fits := func(r request) bool {
		if r.look != nil {
			return false
		}
		bytes += sizeOf(r.input)
		return len(together) <= maxTogether && bytes <= maxTogetherBytes
	}
	if fits(first) {
	gather:
		for {
			select {
			case r := <-l.requests:
				if !fits(r) {
					next, more = r, true
					break gather
				}
				together = append(together, r)
			default:
				break gather
			}
		}
	}
	answers := make([]answer, len(together))
	l.serve(ctx, together, answers)
	if errors.Is(l.failed, errCrashed) {
		return request{}, false, true
	}
	for i, r := range together {
		r.reply <- answers[i]
	}
	return next, more, false
}

// time returns the node's estimate of the time.
func (l *loop) time() clock.Time {
	if l.clock == nil {
		now := time.Now()
		return clock.Time{Now: now, Kept: now, Ends: now}
	}
	return l.clock()
}

// serve steps all inputs, or takes the one look, and carries out what follows. If
// that fails, everybody is told: nobody knows whose part it was.
func (l *loop) serve(ctx context.Context, together []request, answers []answer) {
	fail := func(err error) {
		for i := range answers {
			answers[i] = answer{err: err}
		}
	}
	look, at := together[0].look, l.time()
	if l.machine != nil && l.steps != at.Steps {
		l.machine = nil // timers of before wait for the wrong time; a restart has none
	}
	if l.machine == nil && time.Now().Before(l.again) && l.canWait(together) {
		fail(l.failed)
		return
	}
	if err := l.ready(ctx); err != nil {
		fail(err)
		return
	}
	if look != nil {
		if together[0].begin() {
			answers[0].err = look(l.machine)
		}
		return
	}
	began := time.Now()
	l.machine.Keep(at.Kept, at.Ends, at.Now)
	for i, r := range together {
		if !r.begin() {
			continue
		}
		outcome, refused := l.machine.Step(at.Now, r.input)
		if errors.Is(refused, ErrStore) || errors.Is(refused, verdict.ErrCorrupt) {
			l.fail(refused) // it may be ahead of the durable rows
			fail(refused)
			return
		}
		answers[i] = answer{outcome, refused}
	}
	if err := l.carryOut(ctx); err != nil {
		fail(err)
		return
	}
	if l.turned != nil {
		l.turned(began)
	}
}

// canWait tells whether nobody is served worse for not trying during a pause. Making a
// machine costs as much as a start. Queries come at every change, and are answered from
// durable rows unless those cannot be read. Input of others comes again.
func (l *loop) canWait(together []request) bool {
	return !slices.ContainsFunc(together, func(r request) bool {
		if r.look != nil {
			return !l.unmade
		}
		switch r.input.(type) {
		case group.From, group.Envelope, group.Entries, group.Seals:
			return false
		}
		return true
	})
}

// ready makes the machine from the durable rows, if there is none, and tells observers when
// that fails and when it succeeds again.
func (l *loop) ready(ctx context.Context) error {
	if l.machine != nil {
		return nil
	}
	unmade := l.unmade
	err := l.restore(ctx)
	if l.unmade = err != nil; l.unmade != unmade {
		l.changed.wake()
	}
	return err
}

func (l *loop) restore(ctx context.Context) error {
	at := l.time()
	m, err := l.open(at.Now)
	if err != nil {
		l.fail(fmt.Errorf("restoring the group: %w", err))
		return l.failed
	}
	l.machine, l.steps = m, at.Steps
	if !l.opened.Swap(true) {
		l.changed.wake()
	}
	return l.carryOut(ctx)
}

// carryOut carries out the machine's Ready, in the order of its type. If the writes fail,
// nothing else is done, and the machine, which believes them done, is thrown away.
func (l *loop) carryOut(ctx context.Context) error {
	for {
		ready, ok := l.machine.Ready()
		if !ok {
			return nil
		}
		if l.crashes(beforeWrites) {
			return l.crashed()
		}
		batch := l.rows.batch(ready)
		if l.outbox != nil {
			batch.Writes = append(batch.Writes, l.outbox(l.machine, ready)...)
		}
		if ready.Erased && l.erased != nil {
			batch.Writes = append(batch.Writes, storage.Write{Key: []byte(keyPurge), Value: []byte{1}})
		}
		more, end := l.files.begin(batch.Writes)
		batch.Writes = append(batch.Writes, more...)
		if len(batch.Writes)+len(batch.Drop) > 0 {
			err := l.apply(batch)
			if end(err == nil); err != nil {
				l.fail(fmt.Errorf("%w: %w", ErrStore, err))
				return l.failed
			}
			l.failed, l.pause, l.again = nil, 0, time.Time{}
		}
		if ready.Erased && l.erased != nil {
			l.erased()
		}
		l.countFaulty(ready)
		if l.came != nil {
			l.came(ready.Came)
		}
		if l.crashes(afterWrites) {
			return l.crashed()
		}
		for _, out := range ready.Messages {
			l.send(ctx, out)
		}
		if l.crashes(afterMessages) {
			return l.crashed()
		}
		for _, e := range ready.Events {
			l.notify(e)
		}
		if l.crashes(afterEvents) {
			return l.crashed()
		}
		l.machine.Advance()
		l.changed.wake()
		if l.crashes(afterAdvance) {
			return l.crashed()
		}
	}
}

// countFaulty tells of the malformed messages among those that have become readable.
func (l *loop) countFaulty(ready group.Ready) {
	for _, w := range ready.Writes {
		if l.faulty != nil && w.Value != nil && strings.HasPrefix(w.Key, plainRow) && content.Malformed(w.Value) {
			l.faulty()
		}
	}
}

// crashed ends the loop, as a crash would.
func (l *loop) crashed() error {
	l.failed = errCrashed
	return errCrashed
}

func (l *loop) crashes(b boundary) bool { return l.crash != nil && l.crash(b) }

// fail drops the machine. The next input of this device tries again, and so does the
// loop by itself after a pause that grows to a minute.
func (l *loop) fail(err error) {
	l.machine, l.failed = nil, err
	l.pause = min(max(2*l.pause, time.Second), time.Minute)
	l.again = time.Now().Add(l.pause)
	l.log.Error("the group's state was not carried on", "err", err, "again_in", l.pause)
	if errors.Is(err, storage.ErrFailed) || errors.Is(err, storage.ErrCorrupt) {
		l.fatal(err)
	}
}
