package authority

import (
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/wire"
)

// Bounds of what one user can have, so that nobody makes the others pay for devices
// without end.
const (
	MaxDevices   = 10 // of one user at once
	MaxDevicesIn = 64 // of one user since it came in
)

// Bounds of requests to be let in. Honest members write few of them. The bounds limit what
// a flood of strangers costs the group.
const (
	MaxRequests = 64
	RequestFor  = 14 * 24 * time.Hour // by the clocks of entries
	RequestGap  = time.Hour           // between two of one user, with another KeyPackage
	DenialFor   = 7 * 24 * time.Hour  // in which a denied user is not heard again
)

// out is the role of a user who is not in. It is weaker than every other role.
const out = wire.RoleReadOnly + 1

// roleOf is the role of a user, or out.
func (r *Roster) roleOf(id wire.UserID) wire.Role {
	if u, ok := r.users.get(id); ok {
		return u.Role
	}
	return out
}

// lastOwner says whether a user is the only owner.
func (r *Roster) lastOwner(id wire.UserID) bool {
	return r.owners == 1 && r.roleOf(id) == wire.RoleOwner
}

// judge judges an operation in the roster of its own past: whether its author may make it,
// and which role that needs.
func (r *Resolver) judge(view *Roster, op *Op) judgement {
	author, in := view.users.get(op.User)
	device, has := view.devices.get(op.Device)
	if !in || !has || device.User != op.User {
		return judgement{role: out, need: out}
	}
	j := judgement{
		role: author.Role, need: wire.RoleReadOnly, grant: author.grant,
		alone: view.users.len() == 1,
	}
	if device.By != nil && device.By.Type == wire.OpDeviceAdd {
		j.admitted = device.By
	}
	ok := true
	switch op.Type {
	case wire.OpAdd:
		j.need = needOfAdd(op)
		ok = !view.users.has(op.Target) && r.mayAdd(view, op)
	case wire.OpRemove:
		target := view.roleOf(op.Target)
		j.need = min(wire.RoleAdmin, target)
		ok = target != out && op.Target != op.User && !view.lastOwner(op.Target)
	case wire.OpLeave:
		ok = !view.lastOwner(op.User) || j.alone
	case wire.OpRole:
		target := view.roleOf(op.Target)
		j.need, j.lowers = wire.RoleOwner, op.Role > target
		ok = target != out && (op.Role == wire.RoleOwner || !view.lastOwner(op.Target))
	case wire.OpDeviceAdd:
		ok = op.Target == op.User && (view.devices.has(op.Subject) || len(author.Devices) < MaxDevices && author.added < MaxDevicesIn)
	case wire.OpDeviceRevoke:
		d, found := view.devices.get(op.Subject)
		j.victim = d.User
		if ok = found; found && d.User != op.User {
			j.need = min(wire.RoleAdmin, view.roleOf(d.User))
		}
	case wire.OpProfile:
		j.need = wire.RoleAdmin
		ok = op.Profile.HLC <= op.HLC // a register from the future would hold for ever
	case wire.OpInvite:
		j.need = wire.RoleAdmin
		ok = op.Invite.Signer == op.User && author.Role <= op.Invite.Role && !op.Invite.over(op.HLC)
	case wire.OpRevoke, wire.OpDeny:
		j.need = wire.RoleAdmin
	case wire.OpRequest:
		j.need = wire.RoleMember
		ok = !view.users.has(op.Target) && r.mayRequest(view, op)
	case wire.OpReboot:
		j.need = wire.RoleAdmin
		ok = !op.First || op.Device == r.genesis.Device && op.Seq == 1
	default:
		ok = false
	}
	j.permitted = ok && j.role <= j.need
	return j
}

// needOfAdd is the weakest role that may make an addition.
func needOfAdd(op *Op) wire.Role {
	if op.Why == wire.WhyRole {
		return min(wire.RoleAdmin, op.Role)
	}
	return wire.RoleMember
}

// mayAdd says whether something justifies an addition.
func (r *Resolver) mayAdd(view *Roster, op *Op) bool {
	switch op.Why {
	case wire.WhyRole:
		return true
	case wire.WhyOpen:
		// A user who was removed comes back through an admin, not through the open door.
		removal := view.gone.at(op.Target)
		return r.policy(view) == wire.PolicyOpen && op.Role >= wire.RoleMember &&
			(removal == nil || removal.Type == wire.OpLeave) && !view.revoked.has(op.Subject)
	case wire.WhyInvite:
		return r.mayServe(view, op)
	}
	return false
}

// mayServe says whether the invite that an addition cites lets its device in.
func (r *Resolver) mayServe(view *Roster, op *Op) bool {
	i := view.invites.at(op.Invite.ID)
	signer := view.roleOf(op.Invite.Signer)
	if i.Issued == nil || i.Revoked != nil || i.uses.has(op.Claim) || op.Invite.over(op.HLC) ||
		op.Invite.Uses != 0 && uint64(i.uses.len()) >= op.Invite.Uses || //nolint:gosec // a count
		signer > wire.RoleAdmin || op.Role != op.Invite.Role || op.Role < signer {
		return false
	}
	// A removed user comes back by an invite that was given out afterwards.
	for _, removal := range []*Op{view.gone.at(op.Target), view.revoked.at(op.Subject)} {
		if removal != nil && removal.Type != wire.OpLeave && !r.knows(i.Issued.Ref, removal.Ref) {
			return false
		}
	}
	return true
}

// over says whether an invite has expired by an entry's clock.
func (i *Invite) over(at crdt.HLC) bool {
	return i.Expires != 0 && uint64(at.Time().UnixMilli()) >= i.Expires //nolint:gosec // an HLC is after 1970
}

// policy returns the policy that says who may come in.
func (r *Resolver) policy(view *Roster) wire.Policy {
	if p := view.Profile(wire.FieldPolicy); p != nil {
		return p.Profile.Policy
	}
	return r.genesis.Policy
}
