package group

import (
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/wire"
)

// Act is one operation of the group, for people: who did what, when, and what became
// of it.
type Act struct {
	Hash    wire.EntryHash
	At      time.Time // as its author's clock said
	User    wire.UserID
	Device  wire.DeviceID
	Name    string // of the device
	Type    wire.OpType
	Subject wire.UserID   // whom it is about; zero: nobody
	About   wire.DeviceID // the device it is about; zero: none
	Called  string        // that device's name, or the subject's first one
	Role    wire.Role     // that it gives; 0: none
	Why     wire.Why      // of an addition
	Invite  wire.InviteID // that it gives out, revokes or adds by
	Profile *wire.ProfileItem
	Setting *wire.Setting
	Void    string // why it does not count, for people; empty: it does
}

// Names are the names of all users that the group's log knows, of those who are out as
// well: of a user with several devices the first in the alphabet.
func (m *Machine) Names() map[wire.UserID]string {
	names := map[wire.UserID]string{}
	for _, d := range m.logs.Devices {
		if old, ok := names[d.User]; !ok || d.Cert.Name < old {
			names[d.User] = d.Cert.Name
		}
	}
	return names
}

// History lists the operations of the group in causal order.
func (m *Machine) History() []Act {
	names := m.Names()
	out := make([]Act, 0, len(m.logs.Ops))
	for _, op := range m.logs.Ops {
		a := Act{Hash: op.Hash, At: op.Dated().Time(), User: op.User, Device: op.Log.Device, Name: m.logs.Devices[op.Log.Device].Cert.Name, Void: m.rosters.now.Voidness(op, names)}
		if o := op.Op; o != nil {
			a.Type, a.Role, a.Why, a.Profile, a.Setting = o.Type, o.Role, o.Why, op.Profile, o.Setting
			for _, t := range []*dag.Target{op.Target, op.Asker} {
				if t != nil {
					a.Subject, a.About, a.Called = t.Device.User, t.Device.ID, t.Device.Cert.Name
				}
			}
			if o.User != nil {
				a.Subject, a.Called = *o.User, names[*o.User]
			}
			if o.Device != nil {
				a.About = *o.Device
				if d := m.logs.Devices[*o.Device]; d != nil {
					a.Subject, a.Called = d.User, d.Cert.Name
				}
			}
			if o.Revokes != nil {
				a.Invite = *o.Revokes
			}
			if op.Invited != nil {
				a.Invite = op.Invited.ID
			}
		}
		out = append(out, a)
	}
	return out
}
