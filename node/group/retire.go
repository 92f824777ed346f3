package group

import (
	"slices"
	"sync"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/epochs"
	"github.com/pandanode/pandanode/node/group/roster"
	"github.com/pandanode/pandanode/node/wire"
)

// retire destroys what is old enough, by the time kept.
func (m *Machine) retire(now time.Time) {
	kept := m.timers.kept(now)
	votes := sync.OnceValue(func() []*epochs.Node { return liveVotes(now, m.rosters.now, m.logs, m.tree) })
	m.epochs.retire(kept, m.own.Position, func(id wire.EpochID) bool { return votedPast(m.tree.Nodes[id], votes()) })
	for _, keyPackage := range m.leaf.retirePackages(kept) {
		if m.joining.lost(keyPackage) { // it still asks: with a fresh one from now on
			m.tx.fail(Join{}.act(m, now, &Outcome{}))
		}
	}
	m.messages.sayings.retire(now)
	// Things that are kept for months are looked at once a day. That is no reason to wake.
	if kept.Before(m.timers.at(timerDaily)) {
		return
	}
	m.timers.set(timerDaily, kept.Add(24*time.Hour))
	m.tx.fail(m.joining.cameBy.retire(kept))
	m.epochs.retireRejoinKeys(kept)
	m.leaf.retireReplaced(kept)
	if kept.After(now) {
		kept = now // entries are dated by that
	}
	m.messages.kept.retire(kept, now)
	m.keys.retire(now, kept)
	m.messages.reseal.retire(now)
}

// liveVotes gives where the newest vote of each device of a live user lies; nil: nowhere
// that is known.
func liveVotes(now time.Time, r *roster.Roster, logs *dag.Logs, tree *epochs.Tree) (votes []*epochs.Node) {
	c := epochs.Choice{Roster: r, Newest: logs.Heard(now)}
	newest := c.Now()
	for u := range r.Users() {
		if c.IsLive(u.ID, newest) {
			for _, d := range u.Devices {
				votes = append(votes, tree.PositionOf(logs.Votes[d]))
			}
		}
	}
	return votes
}

// votedPast says whether all of these votes lie below an epoch: nobody seals under it
// any more.
func votedPast(n *epochs.Node, votes []*epochs.Node) bool {
	return n != nil && !slices.ContainsFunc(votes, func(at *epochs.Node) bool { return at == nil || at == n || !n.Contains(at) })
}
