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
	MaxAhead    = 10 * time.Minute    // a date that lies further ahead of another is not believed
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

// LastOwner says whether a user is the only owner.
func (r *Roster) LastOwner(id wire.UserID) bool {
	return r.owners == 1 && r.roleOf(id) == wire.RoleOwner
}

// Refusal is why an operation may not be made, as far as its author knew.
type Refusal uint8

// Refusals.
const (
	Permitted       Refusal = iota
	NotIn                   // its author or the device is not in
	RoleTooLow              // the author's role does not allow it
	IsIn                    // the user that it brings in, or asks for, is in
	IsOut                   // the user or device that it is about is not in
	IsSelf                  // users do not remove themselves: they leave
	IsLastOwner             // the group would have members and no owner
	NotOwnUser              // a further device is of another user
	TooManyDevices          // the user has MaxDevices, or had MaxDevicesIn
	FromTheFuture           // a register is dated above its entry
	DoorClosed              // the policy lets nobody in like this
	WasRemoved              // this user or device was removed, and what lets it in is from before
	InviteUnheard           // nothing shows that the invite was given out after a removal
	InviteSigner            // the signer of the invite may not give it out
	InviteRevoked           // the invite is revoked
	InviteExpired           // the invite's time is over
	InviteUsed              // the invite let in as many as it may
	InviteReplayed          // this claim let somebody in before
	InviteRole              // the role is not the invite's
	WasDenied               // the user's request was denied a while ago
	HasAsked                // the user has asked with this KeyPackage
	AskedJustNow            // the user has asked with another one a moment ago
	TooManyRequests         // MaxRequests wait for an admin
	NotTheFirst             // the first root is the founder's first operation
	NoOperation             // it is of no type that is known
)

// Try says whether a user could make an operation with a roster as its past: its author's
// user and device, what it says and its clock are looked at. Whether a removal was before an
// invite is a question about entries, which op.Ref does not need for.
func (r *Resolver) Try(view *Roster, op Op) Refusal { return r.judge(view, &op).why }

// judge judges an operation in the roster of its own past: whether its author may make it,
// and which role that needs.
func (r *Resolver) judge(view *Roster, op *Op) judgement {
	author, in := view.users.get(op.User)
	device, has := view.devices.get(op.Device)
	if !in || !has || device.User != op.User {
		return judgement{role: out, need: out, why: NotIn}
	}
	j := judgement{
		role: author.Role, need: wire.RoleReadOnly, grant: author.grant,
		alone: view.users.len() == 1,
	}
	if device.By != nil && device.By.Type == wire.OpDeviceAdd {
		j.admitted = device.By
	}
	switch op.Type {
	case wire.OpAdd:
		j.need = needOfAdd(op)
		if op.clerk() {
			j.since = author.Since
		}
		if op.Why == wire.WhyInvite {
			j.issued = view.invites.at(op.Invite.ID).Issued
		}
		j.why = r.mayAdd(view, op)
	case wire.OpRemove:
		target := view.roleOf(op.Target)
		j.need = min(wire.RoleAdmin, target)
		j.why = first(when{target == out, IsOut}, when{op.Target == op.User, IsSelf}, when{view.LastOwner(op.Target), IsLastOwner})
	case wire.OpLeave:
		j.why = first(when{view.LastOwner(op.User) && !j.alone, IsLastOwner})
	case wire.OpRole:
		target := view.roleOf(op.Target)
		j.need, j.lowers = wire.RoleOwner, op.Role > target
		j.why = first(when{target == out, IsOut}, when{op.Role != wire.RoleOwner && view.LastOwner(op.Target), IsLastOwner})
	case wire.OpDeviceAdd:
		j.why = first(when{op.Target != op.User, NotOwnUser}, when{view.fullFor(op), TooManyDevices})
	case wire.OpDeviceRevoke:
		d, found := view.devices.get(op.Subject)
		j.victim = d.User
		if j.why = first(when{!found, IsOut}); found && d.User != op.User {
			j.need = min(wire.RoleAdmin, view.roleOf(d.User))
		}
	case wire.OpProfile, wire.OpSetting:
		j.need = wire.RoleAdmin
		j.why = first(when{op.Profile.HLC > op.HLC, FromTheFuture}) // it would hold for ever
	case wire.OpInvite:
		j.need = wire.RoleAdmin
		j.why = first(when{op.Invite.Signer != op.User, InviteSigner}, when{author.Role > op.Invite.Role, InviteSigner}, when{op.Invite.over(op.date()), InviteExpired})
	case wire.OpRevoke, wire.OpDeny:
		j.need = wire.RoleAdmin
	case wire.OpRequest:
		j.need = wire.RoleMember
		j.why = r.mayRequest(view, op)
	case wire.OpReboot:
		j.need = wire.RoleAdmin
		j.why = first(when{op.First && (op.Device != r.genesis.Device || op.Seq != 1), NotTheFirst})
	default:
		j.why = NoOperation
	}
	if j.role > j.need {
		j.why = RoleTooLow
	}
	j.permitted = j.why == Permitted
	return j
}

// when is a refusal and whether it applies.
type when struct {
	applies bool
	why     Refusal
}

// first gives the first refusal that applies.
func first(refusals ...when) Refusal {
	for _, r := range refusals {
		if r.applies {
			return r.why
		}
	}
	return Permitted
}

// needOfAdd is the weakest role that may make an addition.
func needOfAdd(op *Op) wire.Role {
	if op.Why == wire.WhyRole {
		return min(wire.RoleAdmin, op.Role)
	}
	return wire.RoleMember
}

// mayAdd says why nothing justifies an addition.
func (r *Resolver) mayAdd(view *Roster, op *Op) Refusal {
	if view.users.has(op.Target) {
		return IsIn
	}
	switch op.Why {
	case wire.WhyRole:
		return Permitted
	case wire.WhyOpen:
		// A user who was removed comes back through an admin, not through the open door.
		removal := view.gone.at(op.Target)
		removed := removal != nil && removal.Type != wire.OpLeave || view.revoked.has(op.Subject)
		return first(when{r.policy(view) != wire.PolicyOpen || op.Role < wire.RoleMember, DoorClosed}, when{removed, WasRemoved})
	case wire.WhyInvite:
		return r.mayServe(view, op)
	}
	return NoOperation
}

// mayServe says why the invite that an addition cites does not let its device in.
func (r *Resolver) mayServe(view *Roster, op *Op) Refusal {
	i := view.invites.at(op.Invite.ID)
	if why := view.given(op.Invite, op.date()); why != Permitted {
		return why
	}
	if i.Issued == nil && i.void != nil {
		return InviteUnheard // it was given out by an operation that does not count
	}
	if why := first(when{i.uses.has(op.Claim), InviteReplayed}, when{i.usedUp(op.Invite), InviteUsed}, when{op.Role != op.Invite.Role, InviteRole}); why != Permitted {
		return why
	}
	// A removed user comes back by an invite that was given out afterwards. Any other comes
	// in by the invite's word alone: the operation that gives it out may be on its way.
	for _, removal := range []*Op{view.gone.at(op.Target), view.revoked.at(op.Subject)} {
		if removal == nil || removal.Type == wire.OpLeave {
			continue
		}
		if i.Issued == nil {
			return InviteUnheard
		}
		if !r.knows(i.Issued.Ref, removal.Ref) {
			return WasRemoved
		}
	}
	return Permitted
}

// given says why an invite lets nobody in, whoever asks.
func (r *Roster) given(i *Invite, at crdt.HLC) Refusal {
	signer := r.roleOf(i.Signer)
	return first(when{signer > wire.RoleAdmin || i.Role < signer, InviteSigner}, when{r.invites.at(i.ID).Revoked != nil, InviteRevoked}, when{i.over(at), InviteExpired})
}

// Given says why an invite lets nobody in as of an entry's date, whoever asks.
func (r *Roster) Given(i *Invite, at crdt.HLC) Refusal {
	return first(when{r.given(i, at) != Permitted, r.given(i, at)}, when{r.invites.at(i.ID).usedUp(i), InviteUsed})
}

// usedUp says whether an invite let in as many as it may.
func (i Invitation) usedUp(of *Invite) bool {
	return of.Uses != 0 && uint64(i.uses.len()) >= of.Uses //nolint:gosec // a count
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
