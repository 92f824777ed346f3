package group

import (
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
	if loss.Op == nil || !m.own.Joined || !m.In() || m.tree.Nodes[m.own.Position] == nil {
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

// takesOut says whether an operation ends what somebody may say.
func takesOut(loss, author *dag.Item) bool {
	mutes := loss.Op.Type == wire.OpRole && *loss.Op.User == author.User && loss.Op.Role == wire.RoleReadOnly
	return mutes || roster.EndsOf(loss, author.User, author.Log.Device)
}

// aloneShows says whether this device has shown a message of a branch that neither an entry
// knows nor, by their entries, another user.
func aloneShows(logs *dag.Logs, list *dag.LogList, loss *dag.Item) bool {
	var last *dag.Item
	for i := len(list.Items) - 1; i >= 0 && last == nil; i-- {
		if it := list.Items[i]; it.Kind == wire.KindRecord && it.Facts.Has(dag.IsDelivered) {
			last = it
		}
	}
	return last != nil && !logs.InPast(last, loss) && !logs.KnownTo(last, last.User)
}
