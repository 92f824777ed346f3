package group

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/wire"
)

// Entries dated more than maxAhead after the local clock stay outside the set
// until it says so: else one wrong clock would drag everybody's along. They are
// parked, with those that build on them, and the vector of a sync covers them, so
// that a device whose own clock is wrong is not sent everything over and over.

// parkFuture keeps an entry until it may be taken.
func (m *Machine) parkFuture(s *signedEntry) error {
	if m.logs.quota[s.entry.Device] >= maxParked {
		return fmt.Errorf("entries of device %v: %w", s.entry.Device, ErrFull)
	}
	m.logs.park(s, nil)
	m.logs.future[s.hash] = true
	m.duty.future = earliest(m.duty.future, crdt.HLC(s.entry.HLC).Time().Add(-maxAhead))
	return fmt.Errorf("%v of device %v: %w: %v", s.entry.Kind, s.entry.Device, ErrFuture, crdt.HLC(s.entry.HLC).Time())
}

// takeFuture takes those whose time has come.
func (m *Machine) takeFuture(now time.Time) {
	if !due(now, m.duty.future) {
		return
	}
	m.duty.future = time.Time{}
	var ready []*signedEntry
	for h := range m.logs.future {
		s := m.logs.parked[h]
		if at := crdt.HLC(s.entry.HLC).Time().Add(-maxAhead); now.Before(at) {
			m.duty.future = earliest(m.duty.future, at)
		} else {
			ready = append(ready, s)
		}
	}
	slices.SortFunc(ready, func(a, b *signedEntry) int { return bytes.Compare(a.hash[:], b.hash[:]) })
	for _, s := range ready {
		if m.full() {
			m.duty.future = now // it goes on with the next turn
			return
		}
		m.logs.release(s)
		if _, err := m.takeEntry(now, s); err != nil && !errors.Is(err, ErrIncomplete) {
			m.emit(now, Event{Kind: EventRefused, Device: s.entry.Device, Detail: err.Error()})
		}
	}
}

// syncMarks is the vector for a sync: that of the set, and beyond it what is parked
// with all it builds on. Who is given such a mark takes it that what it has of that log
// is here, so that a hostile log could keep everything from this device: nothing is
// claimed beyond the set while anything is missing here.
func (l *logs) syncMarks(missing bool) []wire.Mark {
	marks := l.marks()
	if len(l.future) == 0 || missing {
		return marks
	}
	whole := map[wire.EntryHash]bool{}
	for grew := true; grew; {
		grew = false
		for h, s := range l.parked {
			if !whole[h] && !slices.ContainsFunc(l.missing(s.entry), func(m wire.EntryHash) bool { return !whole[m] }) {
				whole[h], grew = true, true
			}
		}
	}
	if len(whole) < len(l.parked) {
		return marks
	}
	last := map[wire.LogID]wire.Mark{}
	for _, m := range marks {
		last[m.Log] = m
	}
	for h := range whole {
		s := l.parked[h]
		if log := s.entry.Log(); l.evidence[log] == nil && s.entry.Seq > last[log].Seq {
			last[log] = wire.Mark{Log: log, Seq: s.entry.Seq, Hash: h}
		}
	}
	out := make([]wire.Mark, 0, len(last))
	for _, m := range last {
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b wire.Mark) int { return a.Log.Compare(b.Log) })
	return out
}
