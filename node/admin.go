package node

import (
	"context"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// step gives an input to a group of this node.
func (n *Node) step(ctx context.Context, id wire.GroupID, in group.Input) error {
	g, err := n.groups.must(id)
	if err != nil {
		return err
	}
	_, err = g.loop.step(ctx, in)
	return err
}

// look returns the answer of a query of a group's machine.
func look[T any](ctx context.Context, t *groupTable, id wire.GroupID, query func(*group.Machine) T) (out T, err error) {
	g, err := t.must(id)
	if err != nil {
		return out, err
	}
	return lookAt(ctx, g, query)
}

// lookAt is look at a group that is known to be here.
func lookAt[T any](ctx context.Context, g *groupSession, query func(*group.Machine) T) (out T, err error) {
	err = g.loop.look(ctx, func(m *group.Machine) error { out = query(m); return nil })
	return out, err
}

// Members lists who is in a group.
func (n *Node) Members(ctx context.Context, id wire.GroupID) ([]group.Member, error) {
	return look(ctx, n.groups, id, (*group.Machine).Members)
}

// GroupStatus is the machine's state for people.
func (n *Node) GroupStatus(ctx context.Context, id wire.GroupID) (group.Status, error) {
	return look(ctx, n.groups, id, (*group.Machine).Status)
}

// invites lists the invites that the group knows of.
func (g *groupSession) invites(ctx context.Context) ([]group.Invite, error) {
	return lookAt(ctx, g, func(m *group.Machine) []group.Invite { return m.Invites(g.n.clock.now()) })
}

// requests lists the users who ask to be let in.
func (g *groupSession) requests(ctx context.Context) ([]group.Request, error) {
	return lookAt(ctx, g, func(m *group.Machine) []group.Request { return m.Requests(g.n.clock.now()) })
}

// report tells all of the group's state.
func (g *groupSession) report(ctx context.Context) (group.Report, error) {
	return lookAt(ctx, g, func(m *group.Machine) group.Report { return m.Report(g.n.clock.now()) })
}

// explain says why a message is not read, sent or delivered yet.
func (g *groupSession) explain(ctx context.Context, message wire.MessageID) (group.Explanation, error) {
	return lookAt(ctx, g, func(m *group.Machine) group.Explanation {
		return m.Explain(g.n.clock.now(), message, g.n.people.marked)
	})
}

// healed is what Heal did.
type healed struct {
	Did    []string // what the machine did, and why not more, for people
	Synced []peer.ID
	Failed map[peer.ID]string
	Found  int  // entries that came with the syncs
	Alone  bool // there are other members, and none is connected
}

// heal exchanges with every connected member and then does what would be due by rank.
func (g *groupSession) heal(ctx context.Context) (healed, error) {
	members, err := g.connectedMembers(ctx)
	if err != nil {
		return healed{}, err
	}
	before, err := g.status(ctx)
	if err != nil {
		return healed{}, err
	}
	h := healed{Failed: map[peer.ID]string{}, Alone: len(members) == 0 && before.Members > 1}
	for _, p := range members {
		if g.scheduler.claim(p) { // else there is one with it already
			err = g.scheduler.exchange(ctx, p)
		}
		if err != nil {
			h.Failed[p] = api.Words(err.Error())
			err = nil
		} else {
			h.Synced = append(h.Synced, p)
		}
	}
	out, err := g.loop.step(ctx, group.Heal{})
	if err != nil {
		return h, err
	}
	h.Did = out.Did
	after, err := g.status(ctx)
	h.Found = after.Entries - before.Entries
	return h, err
}
