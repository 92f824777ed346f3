package group

import (
	"fmt"
	"io"
	"time"

	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// found makes the group's first root of MLS epochs, its transport key and its
// first entry.
func (m *Machine) found(now time.Time) error {
	switch {
	case m.cfg.Genesis.Device.ID != m.log.Device:
		return fmt.Errorf("founding: %w: the genesis is by another device", ErrNotPermitted)
	case m.own.Joined:
		return fmt.Errorf("founding: %w: the group is there", ErrState)
	}
	key := make([]byte, wire.TransportKeyLen)
	if _, err := io.ReadFull(m.cfg.Rand, key); err != nil {
		return fmt.Errorf("drawing a transport key: %w", err)
	}
	m.takeTransportKey(key)
	_, err := m.newRoot(now, m.tree.root, 0)
	return err
}

// credential is this device's for a leaf of the group.
func (m *Machine) credential() []byte { return m.credentialWith(m.own.Transport) }

// credentialWith is the same with another private key for transport keys.
func (m *Machine) credentialWith(transport []byte) []byte {
	return identity.NewCredential(m.cfg.Device, m.cfg.LogKey, m.group, m.cfg.Engine.Suite(), m.own.Public, m.publicOf(transport))
}

// operate appends an OP of this device if its user may make it now.
func (m *Machine) operate(now time.Time, op *wire.Op) (wire.EntryHash, error) {
	it, err := m.append(now, wire.KindOp, op)
	if err != nil {
		return wire.EntryHash{}, err
	}
	return it.hash, nil
}

// self gives this device's user in the roster.
func (m *Machine) self(doing string) (*rosterUser, error) {
	u := m.roster.users[m.cfg.Device.User]
	if u == nil || !m.roster.has(m.log.Device) {
		return nil, fmt.Errorf("%s: %w", doing, ErrOut)
	}
	return u, nil
}

func (m *Machine) removeUser(now time.Time, id wire.UserID) (wire.EntryHash, error) {
	u, err := m.self("removing")
	if err != nil {
		return wire.EntryHash{}, err
	}
	victim := m.roster.users[id]
	switch {
	case victim == nil:
		return wire.EntryHash{}, fmt.Errorf("removing: %w: no member is user %v", ErrUnknown, id)
	case id == u.id:
		return wire.EntryHash{}, fmt.Errorf("removing: %w: nobody removes itself; leave instead", ErrNotPermitted)
	case u.role > wire.RoleAdmin || victim.role < u.role:
		return wire.EntryHash{}, fmt.Errorf("removing: %w: %s may not remove %s", ErrNotPermitted, u.role.Article(), victim.role.Article())
	case m.roster.lastOwner(victim):
		return wire.EntryHash{}, fmt.Errorf("removing: %w: that is the last owner", ErrNotPermitted)
	}
	return m.operate(now, &wire.Op{Type: wire.OpRemove, User: &id})
}

func (m *Machine) setRole(now time.Time, id wire.UserID, role wire.Role) (wire.EntryHash, error) {
	u, err := m.self("changing a role")
	if err != nil {
		return wire.EntryHash{}, err
	}
	subject := m.roster.users[id]
	switch {
	case role < wire.RoleOwner || role > wire.RoleReadOnly:
		return wire.EntryHash{}, fmt.Errorf("changing a role: %w: %v", ErrUnknown, role)
	case subject == nil:
		return wire.EntryHash{}, fmt.Errorf("changing a role: %w: no member is user %v", ErrUnknown, id)
	case u.role != wire.RoleOwner:
		return wire.EntryHash{}, fmt.Errorf("changing a role: %w: only an owner may", ErrNotPermitted)
	case role != wire.RoleOwner && m.roster.lastOwner(subject):
		return wire.EntryHash{}, fmt.Errorf("changing a role: %w: that is the last owner; make somebody else owner first", ErrNotPermitted)
	}
	return m.operate(now, &wire.Op{Type: wire.OpRole, User: &id, Role: role})
}

func (m *Machine) revokeDevice(now time.Time, id wire.DeviceID) (wire.EntryHash, error) {
	u, err := m.self("revoking a device")
	if err != nil {
		return wire.EntryHash{}, err
	}
	d := m.roster.devices[id]
	switch {
	case d == nil:
		return wire.EntryHash{}, fmt.Errorf("revoking a device: %w: no member has device %v", ErrUnknown, id)
	case id == m.log.Device:
		return wire.EntryHash{}, fmt.Errorf("revoking a device: %w: not its own; revoke it from another one, or leave", ErrNotPermitted)
	case d.device.User != u.id && (u.role > wire.RoleAdmin || m.roster.users[d.device.User].role < u.role):
		return wire.EntryHash{}, fmt.Errorf("revoking a device: %w: it is another user's", ErrNotPermitted)
	}
	return m.operate(now, &wire.Op{Type: wire.OpDeviceRevoke, Device: &id})
}

func (m *Machine) setProfile(now time.Time, item wire.Signed) (wire.EntryHash, error) {
	u, err := m.self("changing the profile")
	if err != nil {
		return wire.EntryHash{}, err
	}
	if u.role > wire.RoleAdmin {
		return wire.EntryHash{}, fmt.Errorf("changing the profile: %w: %s may not, only owners and admins may", ErrNotPermitted, u.role.Article())
	}
	if _, err := readProfile(m.group, item, u.id); err != nil {
		return wire.EntryHash{}, fmt.Errorf("changing the profile: %w", err)
	}
	return m.operate(now, &wire.Op{Type: wire.OpProfile, Profile: &item})
}
