package group

import (
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// choose runs the fork choice over everything in the set.
func (m *Machine) choose() *node {
	if m.chosen.changes != m.logs.changes || m.chosen.roster != m.roster || m.chosen.at == nil || m.cfg.Alternative == RewindHorizon {
		m.chosen = chosen{at: m.forkChoice(nil), changes: m.logs.changes, roster: m.roster}
	}
	return m.chosen.at
}

// chosen is what the fork choice picked, and from what.
type chosen struct {
	at      *node
	changes int
	roster  *roster
}

func (m *Machine) forkChoice(skip func(*node) bool) *node {
	heard, ahead := m.logs.lastHeard(horizon(m.now))
	m.timers.stop(timerAhead)
	if ahead != 0 {
		m.timers.set(timerAhead, ahead.Time().Add(-maxAhead))
	}
	c := choice{
		group: m.group, root: m.tree.root, votes: make(map[wire.DeviceID]*ballot, len(m.logs.votes)),
		roster: m.roster, newest: heard, skip: skip, counts: m.logs.counts, accused: m.logs.accused,
		at: func(n *node) *roster {
			if by := n.claim(m.logs.counts); by != nil {
				return m.rosters.at(by)
			}
			return newRoster(m.cfg.Genesis)
		},
	}
	for d, it := range m.logs.votes {
		b := &ballot{position: m.tree.positionOf(it)}
		// A COMMIT since then takes back nothing that was named.
		if said := m.logs.words[d]; said != nil {
			b.unheld = said.vote.Unheld
		}
		c.votes[d] = b
	}
	if a := m.cfg.Alternative; a != "" {
		return c.chooseOtherwise(a, m.tree.nodes[m.own.Position])
	}
	return c.choose()
}

// target is where this device wants to be: the chosen epoch, or, if that lies
// under a child which this device found invalid and nobody has added it there
// again in time, what is chosen as if that child did not exist. Nil: it waits.
func (m *Machine) target(now time.Time) *node {
	chosen := m.choose()
	m.timers.stop(timerSibling)
	if m.cfg.Alternative == WithoutRefused || len(m.refused.since) == 0 {
		return chosen
	}
	for n := chosen; n != nil; n = n.parent {
		if m.leaf.addedBy(n) && n.parent != nil {
			break // added there again: what it could not process before is behind it
		}
		if !m.refused.has(n.id) {
			continue
		}
		if at := m.refused.at(now, n.id).Add(refusedWait + m.rank()*rankStep); now.Before(at) {
			m.timers.sooner(timerSibling, at)
			return nil
		}
		return m.forkChoice(func(n *node) bool { return m.refused.has(n.id) })
	}
	return chosen
}

// hearAgain makes the fork choice again when a date is believed that was not.
func (m *Machine) hearAgain(now time.Time) {
	if m.timers.due(now, timerAhead) {
		m.timers.stop(timerAhead)
		m.chosen = chosen{}
		m.disturbed(now, nil)
	}
}

// disturbed notes a commit or vote that came in, or, if it is nil, something else that may
// turn the choice.
func (m *Machine) disturbed(now time.Time, it *item) {
	var written time.Time
	if it != nil {
		written = it.dated().Time()
	}
	jitter, err := drawBelow(m.cfg.Rand, 500*time.Millisecond)
	m.tx.fail(err)
	m.settling.disturbed(now, written, jitter)
}

// forks says whether an entry is a COMMIT that came in as the first to take its side of a
// fork, and where that fork is.
func (t *epochTree) forks(it *item) (bool, wire.EpochID) {
	if it.commit == nil {
		return false, wire.EpochID{}
	}
	n := t.nodes[it.commit.Child]
	if n == nil || n.void || len(n.claims) > 1 || len(n.parent.children) < 2 || n.parent == t.root {
		return false, wire.EpochID{}
	}
	return true, n.parent.id
}

// follow moves to the target, as far as the keys at hand lead. Along a chain
// without forks it moves at once; from where members committed concurrently it waits
// until the set is quiet. It says whether anything changed.
func (m *Machine) follow(now time.Time) bool {
	target := m.target(now)
	m.settling.look(target, m.tree)
	if target == nil {
		m.settling.rolling = false
		if m.timers.due(now, timerSettle) { // judged, and found invalid
			m.settling.over()
		}
		return false
	}
	position := m.tree.nodes[m.own.Position]
	if position != nil && target != position && m.settling.waits(now) {
		if certain := undisputed(position, target); certain != target {
			m.settling.awaited, m.settling.rolling = target.id, false
			return certain != position && m.settling.meanwhile(func() bool { return m.moveTo(now, position, certain) })
		}
	}
	if target == position || !m.settling.waits(now) {
		m.settling.over()
	}
	m.settling.rolling = false
	if target == position || target == m.tree.root {
		return false
	}
	return m.moveTo(now, position, target)
}
