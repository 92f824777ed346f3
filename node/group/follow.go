package group

import (
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/epochs"
	"github.com/pandanode/pandanode/node/wire"
)

// choose runs the fork choice over everything in the set.
func (m *Machine) choose(now time.Time) *epochs.Node {
	if m.fork.chosen.changes != m.logs.Changes || m.fork.chosen.roster != m.rosters.now || m.fork.chosen.at == nil || m.cfg.Alternative == epochs.RewindHorizon {
		m.fork.chosen = chosen{at: m.forkChoice(now, nil), changes: m.logs.Changes, roster: m.rosters.now}
	}
	return m.fork.chosen.at
}

func (m *Machine) forkChoice(now time.Time, skip func(*epochs.Node) bool) *epochs.Node {
	heard, ahead := m.logs.LastHeard(dag.Horizon(now))
	m.timers.stop(timerAhead)
	if ahead != 0 {
		m.timers.set(timerAhead, ahead.Time().Add(-dag.MaxAhead))
	}
	c := epochs.Choice{
		Group: m.own.group, Root: m.tree.Root, Votes: make(map[wire.DeviceID]*epochs.Ballot, len(m.logs.Votes)),
		Roster: m.rosters.now, Newest: heard, Skip: skip, Counts: m.logs.Counts, Accused: m.logs.Accused,
		Abandoned: func(n *epochs.Node) bool { return m.tree.Abandoned(n, m.rosters.now, m.logs) },
		At: func(n *epochs.Node) epochs.Members {
			if by := n.Claim(m.logs.Counts); by != nil {
				return m.rosters.At(by)
			}
			return m.rosters.Founded()
		},
	}
	for d, it := range m.logs.Votes {
		b := &epochs.Ballot{Position: m.tree.PositionOf(it)}
		// A COMMIT since then takes back nothing that was named.
		if said := m.logs.Words[d]; said != nil {
			b.Unheld = said.Vote.Unheld
		}
		c.Votes[d] = b
	}
	if a := m.cfg.Alternative; a != "" {
		return c.ChooseOtherwise(a, m.tree.Nodes[m.own.Position])
	}
	return c.Choose()
}

// target is where this device wants to be: the chosen epoch, or, if that lies
// under a child which this device found invalid and nobody has added it there
// again in time, what is chosen as if that child did not exist. Nil: it waits.
func (m *Machine) target(now time.Time) *epochs.Node {
	chosen := m.choose(now)
	m.timers.stop(timerSibling)
	if m.cfg.Alternative == epochs.WithoutRefused || len(m.fork.refused.since) == 0 {
		return chosen
	}
	for n := chosen; n != nil; n = n.Parent {
		if m.leaf.addedBy(n) && n.Parent != nil {
			break // added there again: it need not process the commit that it could not
		}
		if !m.fork.refused.has(n.ID) {
			continue
		}
		if at := m.fork.refused.at(now, n.ID).Add(refusedWait + m.rank()*rankStep); now.Before(at) {
			m.timers.sooner(timerSibling, at)
			return nil
		}
		return m.forkChoice(now, func(n *epochs.Node) bool { return m.fork.refused.has(n.ID) })
	}
	return chosen
}

// hearAgain makes the fork choice again when a date is believed that was not.
func (m *Machine) hearAgain(now time.Time) {
	if m.timers.due(now, timerAhead) {
		m.timers.stop(timerAhead)
		m.fork.chosen = chosen{}
		m.disturbed(now, nil)
	}
}

// disturbed notes a commit or vote that came in, or, if it is nil, something else that may
// turn the choice.
func (m *Machine) disturbed(now time.Time, it *dag.Item) {
	var written time.Time
	if it != nil {
		written = it.Dated().Time()
	}
	jitter, err := drawBelow(m.cfg.Rand, 500*time.Millisecond)
	m.tx.fail(err)
	m.fork.settling.disturbed(now, written, jitter)
}

// follow moves to the target, as far as the keys at hand lead. Along a chain
// without forks it moves at once; from where members committed concurrently it waits
// until the set is quiet. It says whether anything changed.
func (m *Machine) follow(now time.Time) bool {
	target := m.target(now)
	m.fork.settling.look(target, m.tree)
	if target == nil {
		m.fork.settling.rolling = false
		if m.timers.due(now, timerSettle) { // judged, and found invalid
			m.fork.settling.over()
		}
		return false
	}
	position := m.tree.Nodes[m.own.Position]
	if position != nil && target != position && m.fork.settling.waits(now) {
		if certain := undisputed(position, target); certain != target {
			m.fork.settling.awaited, m.fork.settling.rolling = target.ID, false
			return certain != position && m.fork.settling.meanwhile(func() bool { return m.moveTo(now, position, certain) })
		}
	}
	if target == position || !m.fork.settling.waits(now) {
		m.fork.settling.over()
	}
	m.fork.settling.rolling = false
	if target == position || target == m.tree.Root {
		return false
	}
	return m.moveTo(now, position, target)
}
