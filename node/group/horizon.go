package group

import (
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/wire"
)

// horizon is the last date that this device believes.
func (m *Machine) horizon() crdt.HLC {
	return crdt.HLCFromTime(m.now.Add(maxAhead+time.Millisecond)) - 1 // with all of its millisecond
}

// stamp is the date of an entry that builds on what lies up to base in the order. It rises
// above all that is known, but for what this device does not believe.
func (m *Machine) stamp(now time.Time, base crdt.HLC) crdt.HLC {
	for _, last := range []crdt.HLC{m.clock.Last(), base} {
		if last.Ahead(now) <= maxAhead {
			return crdt.Next(last, now)
		}
	}
	return crdt.HLCFromTime(now)
}

// next is the date of an entry that this device would write now.
func (m *Machine) next(now time.Time) crdt.HLC { return m.stamp(now, m.clock.Last()) }

// when is about when an entry was written, to measure how long ago that is.
func (m *Machine) when(it *item) time.Time {
	at, _ := it.believed(m.horizon())
	return at.Time()
}

// past is when an entry was written, or now, if it is dated ahead: what is to be done so
// long after it is not put off until that date.
func (m *Machine) past(it *item) time.Time {
	at, ok := it.believed(m.horizon())
	if !ok {
		return m.now
	}
	return at.Time()
}

// heard is lastHeard by this device's clock.
func (m *Machine) heard() map[wire.UserID]crdt.HLC {
	heard, _ := m.logs.lastHeard(m.horizon())
	return heard
}

// hearAgain makes the fork choice again when a date is believed that was not.
func (m *Machine) hearAgain(now time.Time) {
	if m.timers.due(now, timerAhead) {
		m.timers.stop(timerAhead)
		m.chosen = nil
		m.disturbed(now, nil)
	}
}
