package group

import (
	"bytes"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// erasures are messages that are going to be erased, and when.
type erasures struct {
	timers *timers
	timer  timer                         // it goes when one is due
	by     func(now time.Time) time.Time // the time that they go by
	at     map[wire.MessageID]uint64     // milliseconds since 1970
}

func newErasures(t *timers, x timer, by func(time.Time) time.Time) erasures {
	return erasures{timers: t, timer: x, by: by, at: map[wire.MessageID]uint64{}}
}

// eraseEvery is how often messages are looked for whose time has come: those of a minute go
// together.
const eraseEvery = time.Minute

// plan notes when a message is erased.
func (e *erasures) plan(id wire.MessageID, at uint64) {
	e.at[id] = at
	e.wake(at)
}

func (e *erasures) wake(at uint64) {
	e.timers.sooner(e.timer, time.UnixMilli(int64(at)).Truncate(eraseEvery).Add(eraseEvery)) //nolint:gosec // a date
}

// over says whether a time has come, in milliseconds since 1970.
func (e *erasures) over(now time.Time, at uint64) bool {
	return e.by(now).UnixMilli() >= int64(at) //nolint:gosec // before the year 10000
}

// each calls f for the messages whose time has come, in an order that repeats, if it is time
// to look for them. Those that are still there after that are looked for again.
func (e *erasures) each(now time.Time, f func(wire.MessageID)) {
	if !e.timers.due(e.by(now), e.timer) {
		return
	}
	e.timers.stop(e.timer)
	var come []wire.MessageID
	for id, at := range e.at {
		if e.over(now, at) {
			come = append(come, id)
		}
	}
	slices.SortFunc(come, byID)
	for _, id := range come {
		f(id)
	}
	for _, at := range e.at {
		e.wake(at)
	}
}

func byID(a, b wire.MessageID) int { return bytes.Compare(a[:], b[:]) }
