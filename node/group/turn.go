package group

import (
	"maps"
	"slices"
	"time"
)

// later is what waits for a turn with room. It is not durable: what is lost of it others
// bring again, and what was to be shown is found again.
type later struct {
	entries []*signedEntry // what they waited for is in the set
	seals   []rawSeal      // the keys of their epoch are here
	shows   map[int]bool   // branches with messages to show
}

// takeLater goes on with what did not fit into the last turn.
func (m *Machine) takeLater(now time.Time) {
	m.tx.deferred = false
	for len(m.later.entries) > 0 && !m.tx.full() {
		s := m.later.entries[0]
		m.later.entries = m.later.entries[1:]
		m.takeWaiting(now, s)
	}
	for len(m.later.seals) > 0 && !m.tx.full() {
		s := m.later.seals[0]
		m.later.seals = m.later.seals[1:]
		m.takeWaitingSeal(now, s)
	}
	for _, i := range slices.Sorted(maps.Keys(m.later.shows)) {
		if m.tx.full() {
			return
		}
		delete(m.later.shows, i)
		m.showBranch(now, i)
	}
}

// takeWaitingSeal opens a seal that came before the keys of its epoch, or, in a turn that
// is full, does so later.
func (m *Machine) takeWaitingSeal(now time.Time, s rawSeal) {
	if m.tx.full() {
		m.later.seals = append(m.later.seals, s)
		return
	}
	if _, err := m.takeSeal(now, s); err != nil {
		m.tx.emit(now, Event{Kind: EventRefused, Message: s.Message, Device: s.Sealer, Detail: err.Error()})
	}
}
