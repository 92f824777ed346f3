package group

import (
	"fmt"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// Founding makes the group's first root of MLS epochs, its transport key and its
// first entry.
func (Found) act(m *Machine, now time.Time, _ *Outcome) error {
	switch {
	case m.cfg.Genesis.Device.ID != m.log.Device:
		return fmt.Errorf("founding: %w: the genesis is by another device", ErrNotPermitted)
	case m.own.Joined:
		return fmt.Errorf("founding: %w: the group is there", ErrState)
	}
	key, err := drawTransportKey(m.cfg.Rand)
	if err != nil {
		return err
	}
	m.keys.take(key)
	_, err = m.newRoot(now, m.tree.root, 0)
	return err
}

// member is a user of the group who is about to write an operation: who it is, and what it knows.
type member struct {
	group   wire.GroupID
	genesis *identity.Genesis
	device  *identity.Device
	engine  Engine
	roster  *roster
	now     time.Time
	at      crdt.HLC // of what it writes now
}

func (m *Machine) member(now time.Time) member {
	return member{m.group, m.cfg.Genesis, m.cfg.Device, m.cfg.Engine, m.roster, now, m.next(now)}
}

// self gives its user in the roster.
func (a member) self(doing string) (*rosterUser, error) {
	u := a.roster.users[a.device.User]
	if u == nil || !a.roster.has(a.device.ID) {
		return nil, fmt.Errorf("%s: %w", doing, ErrOut)
	}
	return u, nil
}

// decision is an Input by which a member decides something by an operation. An error says
// why its user may not.
type decision interface {
	op(a member) (*wire.Op, error)
}

// decide writes the operation of a decision of this device's user.
func (m *Machine) decide(now time.Time, d decision, out *Outcome) error {
	op, err := d.op(m.member(now))
	if err != nil {
		return err
	}
	it, err := m.append(now, wire.KindOp, op)
	if err == nil {
		out.Entry = it.hash
	}
	return err
}

func (in RemoveUser) op(a member) (*wire.Op, error) {
	u, err := a.self("removing")
	if err != nil {
		return nil, err
	}
	victim := a.roster.users[in.User]
	switch {
	case victim == nil:
		return nil, fmt.Errorf("removing: %w: no member is user %v", ErrUnknown, in.User)
	case in.User == u.id:
		return nil, fmt.Errorf("removing: %w: nobody removes itself; leave instead", ErrNotPermitted)
	case u.role > wire.RoleAdmin || victim.role < u.role:
		return nil, fmt.Errorf("removing: %w: %s may not remove %s", ErrNotPermitted, u.role.Article(), victim.role.Article())
	case a.roster.lastOwner(victim):
		return nil, fmt.Errorf("removing: %w: that is the last owner", ErrNotPermitted)
	}
	return &wire.Op{Type: wire.OpRemove, User: &in.User}, nil
}

func (in SetRole) op(a member) (*wire.Op, error) {
	u, err := a.self("changing a role")
	if err != nil {
		return nil, err
	}
	subject := a.roster.users[in.User]
	switch {
	case in.Role < wire.RoleOwner || in.Role > wire.RoleReadOnly:
		return nil, fmt.Errorf("changing a role: %w: %v", ErrUnknown, in.Role)
	case subject == nil:
		return nil, fmt.Errorf("changing a role: %w: no member is user %v", ErrUnknown, in.User)
	case u.role != wire.RoleOwner:
		return nil, fmt.Errorf("changing a role: %w: only an owner may", ErrNotPermitted)
	case in.Role != wire.RoleOwner && a.roster.lastOwner(subject):
		return nil, fmt.Errorf("changing a role: %w: that is the last owner; make somebody else owner first", ErrNotPermitted)
	}
	return &wire.Op{Type: wire.OpRole, User: &in.User, Role: in.Role}, nil
}

func (in RevokeDevice) op(a member) (*wire.Op, error) {
	u, err := a.self("revoking a device")
	if err != nil {
		return nil, err
	}
	d := a.roster.devices[in.Device]
	switch {
	case d == nil:
		return nil, fmt.Errorf("revoking a device: %w: no member has device %v", ErrUnknown, in.Device)
	case in.Device == a.device.ID:
		return nil, fmt.Errorf("revoking a device: %w: not its own; revoke it from another one, or leave", ErrNotPermitted)
	case d.device.User != u.id && (u.role > wire.RoleAdmin || a.roster.users[d.device.User].role < u.role):
		return nil, fmt.Errorf("revoking a device: %w: it is another user's", ErrNotPermitted)
	}
	return &wire.Op{Type: wire.OpDeviceRevoke, Device: &in.Device}, nil
}

func (in SetProfile) op(a member) (*wire.Op, error) {
	u, err := a.self("changing the profile")
	if err != nil {
		return nil, err
	}
	if u.role > wire.RoleAdmin {
		return nil, fmt.Errorf("changing the profile: %w: %s may not, only owners and admins may", ErrNotPermitted, u.role.Article())
	}
	if _, err := readProfile(a.group, in.Item, u.id); err != nil {
		return nil, fmt.Errorf("changing the profile: %w", err)
	}
	return &wire.Op{Type: wire.OpProfile, Profile: &in.Item}, nil
}
