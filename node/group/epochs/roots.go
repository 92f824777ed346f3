package epochs

import (
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/wire"
)

// A root of keys is known to its author alone until that adds the others. If its disk dies
// before, nobody ever can. So a root that nobody else took up in time is abandoned, and the
// group goes on where it was. Whether it is shows in the logs alone: each device that knows
// of a root which it cannot get to says so by a vote, and says so again after RootWait.

// RootWait is how long the devices of a group wait for the author of a root.
const RootWait = 10 * time.Minute

// Deciders are the users who are in, and which operations count.
type Deciders interface {
	Members
	Counts(op *dag.Item) bool
}

// RootOf gives the root that n's keys descend from.
func RootOf(n *Node) *Node {
	for ; n.Parent != nil && n.Info() != nil; n = n.Parent {
	}
	return n
}

// Abandoned says whether a root of fresh keys is left alone. It stands if more than half of
// the users vote for it or for what lies under it; or if its operation counts, its author is
// in, and another user votes so or those who know of it have not waited for RootWait.
func (t *Tree) Abandoned(n *Node, in Deciders, l *dag.Logs) bool {
	if n.Info() != nil || n.Parent == nil || n.Parent == t.Root {
		return false
	}
	op := n.By()
	under := map[wire.UserID]bool{}
	for _, vote := range l.Votes {
		if at := t.PositionOf(vote); in.HasUser(vote.User) && l.Counts(vote) && n.Contains(at) {
			under[vote.User] = true
		}
	}
	if 2*len(under) > in.Size() {
		return false
	}
	if !in.Counts(op) || !in.HasUser(op.User) {
		return true
	}
	delete(under, op.User)
	return len(under) == 0 && waitedFor(op, in, l)
}

// waitedFor says whether more than half of the other users who know of an operation have
// waited for RootWait since, by the dates of their own entries: a wrong clock of its author
// does not matter, and one of theirs is one of many.
func waitedFor(op *dag.Item, in Members, l *dag.Logs) bool {
	since := map[wire.UserID]time.Duration{}
	for i, list := range l.Lists {
		user := list.Items[0].User
		if user == op.User || !in.HasUser(user) {
			continue
		}
		knows := list.Since(op)
		for len(knows) > 0 && knows[len(knows)-1].Seq > l.CountsUpTo(i) {
			knows = knows[:len(knows)-1]
		}
		if n := len(knows); n > 0 {
			since[user] = max(since[user], knows[n-1].Dated().Time().Sub(knows[0].Dated().Time()))
		}
	}
	waited := 0
	for _, d := range since {
		if d >= RootWait {
			waited++
		}
	}
	return 2*waited > len(since)
}
