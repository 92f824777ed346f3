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

// look gives what a query of a group's machine answers.
func look[T any](ctx context.Context, n *Node, id wire.GroupID, query func(*group.Machine) T) (out T, err error) {
	g, err := n.groups.must(id)
	if err != nil {
		return out, err
	}
	err = g.loop.look(ctx, func(m *group.Machine) error { out = query(m); return nil })
	return out, err
}

// Invites lists the invites that a group knows of.
func (n *Node) Invites(ctx context.Context, id wire.GroupID) ([]group.Invite, error) {
	return look(ctx, n, id, func(m *group.Machine) []group.Invite { return m.Invites(n.now()) })
}

// RevokeInvite ends an invite.
func (n *Node) RevokeInvite(ctx context.Context, id wire.GroupID, invite wire.InviteID) error {
	return n.step(ctx, id, group.RevokeInvite{Invite: invite})
}

// Requests lists who asks to be let into a group.
func (n *Node) Requests(ctx context.Context, id wire.GroupID) ([]group.Request, error) {
	return look(ctx, n, id, func(m *group.Machine) []group.Request { return m.Requests(n.now()) })
}

// Approve lets in a user who asked; role 0 is a member.
func (n *Node) Approve(ctx context.Context, id wire.GroupID, user wire.UserID, role wire.Role) error {
	return n.step(ctx, id, group.Approve{User: user, Role: role})
}

// Deny turns down a user who asked.
func (n *Node) Deny(ctx context.Context, id wire.GroupID, user wire.UserID) error {
	return n.step(ctx, id, group.Deny{User: user})
}

// SetRole changes what a member may do.
func (n *Node) SetRole(ctx context.Context, id wire.GroupID, user wire.UserID, role wire.Role) error {
	return n.step(ctx, id, group.SetRole{User: user, Role: role})
}

// History lists the operations of a group in causal order.
func (n *Node) History(ctx context.Context, id wire.GroupID) ([]group.Act, error) {
	return look(ctx, n, id, (*group.Machine).History)
}

// Report tells all of a group's state.
func (n *Node) Report(ctx context.Context, id wire.GroupID) (group.Report, error) {
	return look(ctx, n, id, func(m *group.Machine) group.Report { return m.Report(n.now()) })
}

// Explain says why a message is not read, sent or delivered yet.
func (n *Node) Explain(ctx context.Context, id wire.GroupID, message wire.MessageID) (group.Explanation, error) {
	return look(ctx, n, id, func(m *group.Machine) group.Explanation { return m.Explain(n.now(), message) })
}

// Healed is what Heal did.
type Healed struct {
	Did    []string // what the machine did, and why not more, for people
	Synced []peer.ID
	Failed map[peer.ID]string
	Found  int  // entries that came with the syncs
	Alone  bool // there are other members, and none is connected
}

// Heal exchanges with every connected member and then does what would be due by rank.
func (n *Node) Heal(ctx context.Context, id wire.GroupID) (Healed, error) {
	g, err := n.groups.must(id)
	if err != nil {
		return Healed{}, err
	}
	members, err := g.connectedMembers(ctx)
	if err != nil {
		return Healed{}, err
	}
	before, err := g.status(ctx)
	if err != nil {
		return Healed{}, err
	}
	h := Healed{Failed: map[peer.ID]string{}, Alone: len(members) == 0 && before.Members > 1}
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
