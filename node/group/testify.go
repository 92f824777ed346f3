package group

import (
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/roster"
	"github.com/pandanode/pandanode/node/wire"
)

// testify has this device say, before it takes an operation that takes somebody out, that it
// has shown messages of that user or device which the operation does not know. A message that
// others had stays owed to all (docs/AUTHORITY.md, Messages), and a member shows what it had
// by what it writes. One that only reads writes nothing: afterwards nothing shows that it had
// them in time, and one half of a group would show what the other never does.
func testify(m *Machine, now time.Time, loss *dag.Item) {
	if loss.Op == nil || !mayTestify(m) {
		return
	}
	for _, list := range m.logs.Lists {
		author := list.Items[0]
		if author.User != m.cfg.Device.User && takesOut(loss, author) && aloneShows(m.logs, list, loss) {
			sayWhere(m, now)
			return
		}
	}
}

// testifyTo has this device say, before it takes evidence against a log into account, that it
// has shown messages of it that no log without evidence names. A member that is given what a
// copied home wrote may be the only one that ever is, if the copy is then gone; from the
// evidence on nobody names such a log unless somebody else did. So one entry, while the log
// still counts, keeps the messages owed to all.
func testifyTo(m *Machine, now time.Time, forked wire.LogID) {
	if forked.Device == m.own.log.Device || !mayTestify(m) {
		return
	}
	for _, i := range m.logs.Index[forked] {
		if last := lastShown(m.logs.Lists[i]); last != nil && !m.logs.CountsWithout(last) {
			sayWhere(m, now)
			return
		}
	}
}

func mayTestify(m *Machine) bool {
	return m.own.Joined && m.In() && m.tree.Nodes[m.own.Position] != nil
}

// takesOut says whether an operation ends what somebody may say.
func takesOut(loss, author *dag.Item) bool {
	mutes := loss.Op.Type == wire.OpRole && *loss.Op.User == author.User && loss.Op.Role == wire.RoleReadOnly
	return mutes || roster.EndsOf(loss, author.User, author.Log.Device)
}

// aloneShows says whether this device has shown a message of a branch that neither an entry
// knows nor, by their entries, another user.
func aloneShows(logs *dag.Logs, list *dag.LogList, loss *dag.Item) bool {
	last := lastShown(list)
	return last != nil && !logs.InPast(last, loss) && !logs.KnownTo(last, last.User)
}

// lastShown is the last message of a branch that this device has shown; nil: there is none.
func lastShown(list *dag.LogList) *dag.Item {
	for _, it := range slices.Backward(list.Items) {
		if it.Kind == wire.KindRecord && it.Facts.Has(dag.IsDelivered) {
			return it
		}
	}
	return nil
}
