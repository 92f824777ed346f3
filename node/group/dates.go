package group

import (
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/wire"
)

// A date is what the clock of an entry's author said, and clocks are wrong. So no date keeps
// an entry out of the set, and the order of entries follows from what builds on what: an
// entry's place in it is its date, or above all that it builds on (logs.fillPast). One clock
// that is far ahead drags that order along, where it does no harm, since nothing is measured
// by it. Times are measured by dates, and a date beyond this device's clock is not believed.

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

// believed is when an entry was written, as far as its place in the order and its date can
// be believed up to some time: then not before what it builds on. ok: they can.
func (it *item) believed(until crdt.HLC) (at crdt.HLC, ok bool) {
	if it.hlc <= until {
		return it.hlc, true
	}
	at = it.dated()
	return at, at <= until
}

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

// lastHeard is when each user wrote last, of what counts, by dates that are believed up to
// some time. Of somebody whose last entry is dated after that nobody can say when it was
// written: it is heard with the others. ahead is the first such date, or zero.
func (l *logs) lastHeard(until crdt.HLC) (heard map[wire.UserID]crdt.HLC, ahead crdt.HLC) {
	heard = make(map[wire.UserID]crdt.HLC)
	later := map[wire.UserID]crdt.HLC{}
	var newest crdt.HLC
	for _, it := range l.lastEntries() {
		at, ok := it.believed(until)
		if !ok {
			if later[it.user] = max(later[it.user], at); ahead == 0 || at < ahead {
				ahead = at
			}
			continue
		}
		heard[it.user] = max(heard[it.user], at)
		newest = max(newest, at)
	}
	if newest == 0 {
		return later, ahead // this clock is the one that is wrong
	}
	for user := range later {
		heard[user] = newest
	}
	return heard, ahead
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
