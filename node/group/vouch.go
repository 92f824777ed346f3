package group

import (
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// An addition can turn out not to count, since a removal of its author that nobody had
// heard of comes to light. It stands all the same if another member was there and knew of
// nothing against it (docs/AUTHORITY.md, Additions). A member shows what it knew by what it
// writes, and members write little: so one of them says by a vote that it has seen the
// newcomer, and the others see that it did.

// vouchAfter is how long a member waits for others, beside its rank.
const vouchAfter = 5 * time.Second

// vouch has this device say that it has seen those who came in, where nobody else has.
func vouch(m *Machine, now time.Time) {
	m.timers.stop(timerVouch)
	if !m.own.Joined || !m.In() || m.tree.Nodes[m.own.Position] == nil {
		return
	}
	m.rosters.lookForWitnesses(m.logs)
	for i, n := range m.rosters.newcomers {
		add := n.add
		if add.User == m.cfg.Device.User || add.Target.Device.User == m.cfg.Device.User || !m.rosters.now.Counts(add) {
			continue
		}
		if n.at.IsZero() {
			n.at = now.Add(vouchAfter + m.rank()*rankStep)
			m.rosters.newcomers[i] = n
		}
		if now.Before(n.at) {
			m.timers.sooner(timerVouch, n.at)
			continue
		}
		if m.logs.WouldShow(m.own.log, wire.MaxDeps, add) {
			sayWhere(m, now)
			return
		}
	}
}
