package node

import (
	"context"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// Members lists who is in a group.
func (n *Node) Members(ctx context.Context, id wire.GroupID) (out []group.Member, err error) {
	g, err := n.groups.must(id)
	if err != nil {
		return nil, err
	}
	err = g.loop.look(ctx, func(m *group.Machine) error { out = m.Members(); return nil })
	return out, err
}

// Remove takes a user out of a group.
func (n *Node) Remove(ctx context.Context, id wire.GroupID, user wire.UserID) error {
	g, err := n.groups.must(id)
	if err != nil {
		return err
	}
	_, err = g.loop.step(ctx, group.RemoveUser{User: user})
	return err
}

// Reboot gives a group fresh MLS keys. Members and messages stay.
func (n *Node) Reboot(ctx context.Context, id wire.GroupID) error {
	g, err := n.groups.must(id)
	if err != nil {
		return err
	}
	_, err = g.loop.step(ctx, group.Reboot{})
	return err
}

// GroupStatus is the machine's state for people.
func (n *Node) GroupStatus(ctx context.Context, id wire.GroupID) (group.Status, error) {
	g, err := n.groups.must(id)
	if err != nil {
		return group.Status{}, err
	}
	return g.status(ctx)
}
