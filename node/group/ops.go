package group

import (
	"fmt"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/group/roster"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// member is a user of the group that is about to write an operation, with the roster that
// it knows.
type member struct {
	group   wire.GroupID
	genesis *identity.Genesis
	device  *identity.Device
	engine  engine.Engine
	roster  *roster.Roster
	now     time.Time
	at      crdt.HLC // of what it writes now
	floods  bool     // its device does, and what it writes counts no more
}

func (m *Machine) member(now time.Time) member {
	return member{m.own.group, m.cfg.Genesis, m.cfg.Device, m.cfg.Engine, m.rosters.now, now, m.next(now), m.logs.Floods[m.own.log.Device] != nil}
}

// self gives its user in the roster.
func (a member) self(doing string) (*roster.User, error) {
	u := a.roster.User(a.device.User)
	if u == nil || !a.roster.Has(a.device.ID) {
		return nil, fmt.Errorf("%s: %w", doing, verdict.ErrOut)
	}
	if a.floods {
		return nil, fmt.Errorf("%s: %w", doing, verdict.ErrDiscounted)
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
		out.Entry = it.Hash
	}
	return err
}

func (in RemoveUser) op(a member) (*wire.Op, error) {
	u, err := a.self("removing")
	if err != nil {
		return nil, err
	}
	victim := a.roster.User(in.User)
	switch {
	case victim == nil:
		return nil, fmt.Errorf("removing: %w: no member is user %v", verdict.ErrUnknown, in.User)
	case in.User == u.ID:
		return nil, fmt.Errorf("removing: %w: users cannot remove themselves; leave instead", verdict.ErrNotPermitted)
	case u.Role > wire.RoleAdmin || victim.Role < u.Role:
		return nil, fmt.Errorf("removing: %w: %s may not remove %s", verdict.ErrNotPermitted, u.Role.Article(), victim.Role.Article())
	case a.roster.LastOwner(victim):
		return nil, fmt.Errorf("removing: %w: that is the last owner", verdict.ErrNotPermitted)
	}
	return &wire.Op{Type: wire.OpRemove, User: &in.User}, nil
}

func (in SetRole) op(a member) (*wire.Op, error) {
	u, err := a.self("changing a role")
	if err != nil {
		return nil, err
	}
	subject := a.roster.User(in.User)
	switch {
	case in.Role < wire.RoleOwner || in.Role > wire.RoleReadOnly:
		return nil, fmt.Errorf("changing a role: %w: %v", verdict.ErrUnknown, in.Role)
	case subject == nil:
		return nil, fmt.Errorf("changing a role: %w: no member is user %v", verdict.ErrUnknown, in.User)
	case u.Role != wire.RoleOwner:
		return nil, fmt.Errorf("changing a role: %w: only an owner may", verdict.ErrNotPermitted)
	case in.Role != wire.RoleOwner && a.roster.LastOwner(subject):
		return nil, fmt.Errorf("changing a role: %w: that is the last owner; make somebody else owner first", verdict.ErrNotPermitted)
	}
	return &wire.Op{Type: wire.OpRole, User: &in.User, Role: in.Role}, nil
}

func (in RevokeDevice) op(a member) (*wire.Op, error) {
	u, err := a.self("revoking a device")
	if err != nil {
		return nil, err
	}
	d := a.roster.Device(in.Device)
	switch {
	case d == nil:
		return nil, fmt.Errorf("revoking a device: %w: no member has device %v", verdict.ErrUnknown, in.Device)
	case in.Device == a.device.ID:
		return nil, fmt.Errorf("revoking a device: %w: a device cannot revoke itself; revoke it from another one, or leave", verdict.ErrNotPermitted)
	case d.Device.User != u.ID && (u.Role > wire.RoleAdmin || a.roster.User(d.Device.User).Role < u.Role):
		return nil, fmt.Errorf("revoking a device: %w: it is another user's", verdict.ErrNotPermitted)
	}
	return &wire.Op{Type: wire.OpDeviceRevoke, Device: &in.Device}, nil
}

func (in SetProfile) op(a member) (*wire.Op, error) {
	u, err := a.self("changing the profile")
	if err != nil {
		return nil, err
	}
	if u.Role > wire.RoleAdmin {
		return nil, fmt.Errorf("changing the profile: %w: %s may not, only owners and admins may", verdict.ErrNotPermitted, u.Role.Article())
	}
	if _, err := dag.ReadProfile(a.group, in.Item, u.ID); err != nil {
		return nil, fmt.Errorf("changing the profile: %w", err)
	}
	return &wire.Op{Type: wire.OpProfile, Profile: &in.Item}, nil
}

func (in SetSetting) op(a member) (*wire.Op, error) {
	u, err := a.self("changing a setting")
	if err != nil {
		return nil, err
	}
	if u.Role > wire.RoleAdmin {
		return nil, fmt.Errorf("changing a setting: %w: %s may not, only owners and admins may", verdict.ErrNotPermitted, u.Role.Article())
	}
	if err := wire.CheckSetting(in.Key, in.Value); err != nil {
		return nil, fmt.Errorf("changing a setting: %w", err)
	}
	return &wire.Op{Type: wire.OpSetting, Setting: &wire.Setting{Key: in.Key, Value: in.Value, HLC: uint64(a.at)}}, nil
}

func (in SetSetting) act(m *Machine, now time.Time, out *Outcome) error {
	return m.decide(now, in, out)
}

func (in RemoveUser) act(m *Machine, now time.Time, out *Outcome) error {
	return m.decide(now, in, out)
}

func (in SetRole) act(m *Machine, now time.Time, out *Outcome) error { return m.decide(now, in, out) }

func (in RevokeDevice) act(m *Machine, now time.Time, out *Outcome) error {
	return m.decide(now, in, out)
}

func (in SetProfile) act(m *Machine, now time.Time, out *Outcome) error {
	return m.decide(now, in, out)
}
