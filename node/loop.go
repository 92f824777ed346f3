package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/pandanode/pandanode/node/group"
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

// maxWaiting is how many requests may wait for one machine. Whoever does not fit
// in waits outside for as long as its context lets it.
const maxWaiting = 128

// loop owns one group's machine: its goroutine alone touches it.
type loop struct {
	log      *slog.Logger
	open     func(now time.Time) (*group.Machine, error) // of what is durable
	rows     rows
	apply    func(storage.Batch) error
	send     func(context.Context, group.Outbound)
	notify   func(group.Event)
	changed  *signal             // woken after each Advance that changed anything
	crash    func(boundary) bool // true: stop here, as a crash would; tests only
	fatal    func(error)         // the store takes no writes any more
	done     <-chan struct{}     // closed when the node closes
	requests chan request

	machine *group.Machine // nil: to be made of what is durable
	failed  error          // why machine is nil
	pause   time.Duration  // after a failure, before trying again by itself
}

// request is a turn at the machine: an input, or a look at it.
type request struct {
	input group.Input
	look  func(*group.Machine) error
	reply chan answer // holds one
}

type answer struct {
	outcome group.Outcome
	err     error
}

// step gives the machine an input and returns when its Ready is carried out: what
// the input made necessary is then durable.
func (l *loop) step(ctx context.Context, in group.Input) (group.Outcome, error) {
	return l.ask(ctx, request{input: in})
}

// look runs fn with the machine, in the loop's goroutine. fn changes nothing.
func (l *loop) look(ctx context.Context, fn func(*group.Machine) error) error {
	_, err := l.ask(ctx, request{look: fn})
	return err
}

func (l *loop) ask(ctx context.Context, r request) (group.Outcome, error) {
	r.reply = make(chan answer, 1)
	select {
	case l.requests <- r:
	case <-ctx.Done():
		return group.Outcome{}, ctx.Err()
	case <-l.done:
		return group.Outcome{}, ErrClosed
	}
	select {
	case a := <-r.reply:
		return a.outcome, a.err
	case <-ctx.Done():
		return group.Outcome{}, ctx.Err()
	case <-l.done:
		return group.Outcome{}, ErrClosed
	}
}

// run serves the machine until ctx ends.
func (l *loop) run(ctx context.Context) {
	timer := time.NewTimer(0) // New may have left something to do
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-l.requests:
			a := answer{}
			a.outcome, a.err = l.serve(ctx, r)
			if errors.Is(a.err, errCrashed) {
				return
			}
			r.reply <- a
		case <-timer.C:
			if _, err := l.serve(ctx, request{input: group.Tick{}}); errors.Is(err, errCrashed) {
				return
			}
		}
		timer.Reset(l.untilWake(time.Now()))
	}
}

// idle is how long a machine that wants no wake-up sleeps.
const idle = time.Hour

func (l *loop) untilWake(now time.Time) time.Duration {
	if l.machine == nil {
		return l.pause
	}
	wake := l.machine.NextWake()
	if wake.IsZero() {
		return idle
	}
	return min(max(wake.Sub(now), time.Millisecond), idle)
}

func (l *loop) serve(ctx context.Context, r request) (group.Outcome, error) {
	if err := l.ready(ctx); err != nil {
		return group.Outcome{}, err
	}
	if r.look != nil {
		return group.Outcome{}, r.look(l.machine)
	}
	outcome, refused := l.machine.Step(time.Now(), r.input)
	if errors.Is(refused, ErrStore) || errors.Is(refused, group.ErrCorrupt) {
		l.fail(refused) // it may be ahead of what is durable
		return group.Outcome{}, refused
	}
	if err := l.carryOut(ctx); err != nil {
		return group.Outcome{}, err
	}
	return outcome, refused
}

// ready makes the machine of what is durable, if there is none.
func (l *loop) ready(ctx context.Context) error {
	if l.machine != nil {
		return nil
	}
	m, err := l.open(time.Now())
	if err != nil {
		l.fail(fmt.Errorf("restoring the group: %w", err))
		return l.failed
	}
	l.machine, l.failed = m, nil
	if err := l.carryOut(ctx); err != nil {
		return err
	}
	l.pause = 0
	return nil
}

// carryOut does what the machine made necessary, in the order of group.Ready. If
// the writes fail, nothing else is done, and the machine, which believes them
// done, is thrown away.
func (l *loop) carryOut(ctx context.Context) error {
	for {
		ready, ok := l.machine.Ready()
		if !ok {
			return nil
		}
		if l.crashes(beforeWrites) {
			return errCrashed
		}
		if len(ready.Writes)+len(ready.Drop) > 0 {
			if err := l.apply(l.rows.batch(ready)); err != nil {
				l.fail(fmt.Errorf("%w: %w", ErrStore, err))
				return l.failed
			}
		}
		if l.crashes(afterWrites) {
			return errCrashed
		}
		for _, out := range ready.Messages {
			l.send(ctx, out)
		}
		if l.crashes(afterMessages) {
			return errCrashed
		}
		for _, e := range ready.Events {
			l.notify(e)
		}
		if l.crashes(afterEvents) {
			return errCrashed
		}
		l.machine.Advance()
		l.changed.wake()
		if l.crashes(afterAdvance) {
			return errCrashed
		}
	}
}

func (l *loop) crashes(b boundary) bool { return l.crash != nil && l.crash(b) }

// fail drops the machine. The next request tries again, and so does the loop by
// itself after a pause that grows to a minute.
func (l *loop) fail(err error) {
	l.machine, l.failed = nil, err
	l.pause = min(max(2*l.pause, time.Second), time.Minute)
	l.log.Error("the group's state was not carried on", "err", err, "again_in", l.pause)
	l.changed.wake()
	if errors.Is(err, storage.ErrFailed) || errors.Is(err, storage.ErrCorrupt) {
		l.fatal(err)
	}
}
