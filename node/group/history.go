package group

import (
	"fmt"
	"slices"
	"time"

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
	Void    string // why it does not count, for people; empty: it does
}

// Names are the names of all users that the group's log knows, of those who are out as
// well: of a user with several devices the first in the alphabet.
func (m *Machine) Names() map[wire.UserID]string {
	names := map[wire.UserID]string{}
	for _, d := range m.logs.devices {
		if old, ok := names[d.User]; !ok || d.Cert.Name < old {
			names[d.User] = d.Cert.Name
		}
	}
	return names
}

// History lists the operations of the group in causal order.
func (m *Machine) History() []Act {
	names := m.Names()
	out := make([]Act, 0, len(m.logs.ops))
	for _, op := range m.logs.ops {
		a := Act{Hash: op.hash, At: op.dated().Time(), User: op.user, Device: op.log.Device, Name: m.logs.devices[op.log.Device].Cert.Name, Void: m.roster.voidness(op, names)}
		if o := op.op; o != nil {
			a.Type, a.Role, a.Why, a.Profile = o.Type, o.Role, o.Why, op.profile
			for _, t := range []*target{op.target, op.asker} {
				if t != nil {
					a.Subject, a.About, a.Called = t.device.User, t.device.ID, t.device.Cert.Name
				}
			}
			if o.User != nil {
				a.Subject, a.Called = *o.User, names[*o.User]
			}
			if o.Device != nil {
				a.About = *o.Device
				if d := m.logs.devices[*o.Device]; d != nil {
					a.Subject, a.Called = d.User, d.Cert.Name
				}
			}
			if o.Revokes != nil {
				a.Invite = *o.Revokes
			}
			if op.invited != nil {
				a.Invite = op.invited.id
			}
		}
		out = append(out, a)
	}
	return out
}

// voidness says why an operation does not count; empty: it does.
func (r *roster) voidness(op *item, names map[wire.UserID]string) string {
	by, void := r.void[op]
	switch {
	case op.op == nil:
		return "it is of a newer program"
	case !op.facts.has(isPermitted) && op.role == 0:
		return "its author was no member"
	case !op.facts.has(isPermitted):
		return fmt.Sprintf("its author, %s, could not do that then", op.role.Article())
	case slices.Contains(r.kept, op):
		return "it would have taken the last owner"
	case slices.Contains(r.cancelled, op):
		return "its author was removed at the same time"
	case void && by == nil:
		return "that user was in already"
	case void && by.takesOut(op.user, op.log.Device):
		return fmt.Sprintf("%s removed its author at the same time", names[by.user])
	case void && op.invited != nil && by.op.Type == wire.OpRemove && *by.op.User == op.invited.signer:
		return fmt.Sprintf("%s removed who gave out the invite at the same time", names[by.user])
	case void:
		return fmt.Sprintf("%s removed that user or device at the same time", names[by.user])
	}
	return ""
}
