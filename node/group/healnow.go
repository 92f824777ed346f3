package group

import (
	"fmt"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// Heal does at once what this device would do when its rank comes, and asks for a sync.
// Outcome.Did lists what it did.
type Heal struct{}

func (Heal) act(m *Machine, now time.Time, out *Outcome) error {
	if _, err := m.member(now).self("healing"); err != nil {
		return err
	}
	did := func(format string, args ...any) { out.Did = append(out.Did, fmt.Sprintf(format, args...)) }
	m.peers.hurry() // a person who asks is not kept waiting
	m.peers.ask(now, "somebody asked for it")
	n, e := m.position()
	switch {
	case n == nil:
		did("no commit: this device stands in no epoch of the group that it has keys for")
		return nil
	case m.target(now) != n:
		if m.timers.at(timerSettle).After(now) {
			did("no commit: members committed at the same time; the fork is judged in %v", m.timers.at(timerSettle).Sub(now).Round(time.Second))
		} else {
			did("no commit: this device is not at the epoch that the group chose")
			if m.stranded(m.choose(now)) {
				m.timers.set(timerRejoin, now)
				did("asks to be added again, at that epoch")
			}
		}
		return nil
	}
	if d := m.compareTree(now, e); d.empty() {
		did("no commit: the tree of keys equals the roster")
	} else {
		m.timers.set(timerHeal, now)
		before := m.logs.Head(m.own.log)
		m.heal(now)
		if head := m.logs.Head(m.own.log); head != before && head.Kind == wire.KindCommit {
			did("a commit: epoch %d, adds %s and removes %d", m.tree.Nodes[head.Commit.Child].Number, counted(len(d.adds), "device"), len(d.removes))
		} else {
			did("no commit could be made: pandanode group status GROUP")
		}
	}
	if m.timers.running(timerTransport) {
		m.timers.set(timerTransport, now)
		did("the transport key is brought up to date")
	}
	if gaps := len(m.messages.gaps.of); gaps > 0 {
		m.timers.set(timerBeacon, now)
		did("asks the group for %s that cannot be read here", counted(gaps, "message"))
	}
	if filled := m.messages.reseal.hurry(now); filled > 0 {
		did("seals %d messages again for others", filled)
	}
	return nil
}
