package authority

import (
	"bytes"
	"cmp"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/wire"
)

// Op is an operation with the fields that the resolver needs. The caller has checked all
// signatures.
type Op struct {
	Ref
	Hash   wire.EntryHash
	HLC    crdt.HLC    // its place in the order: above those of its past
	Dated  crdt.HLC    // the date that its author gave it; zero: HLC
	User   wire.UserID // the author
	Device wire.DeviceID

	Type    wire.OpType
	Target  wire.UserID   // OpAdd, OpRequest: of the certificate; OpRemove, OpRole, OpDeny
	Subject wire.DeviceID // OpAdd, OpDeviceAdd, OpRequest: of the certificate; OpDeviceRevoke
	Role    wire.Role     // OpAdd, OpRole
	Why     wire.Why      // OpAdd
	Invite  *Invite       // OpInvite; OpAdd by WhyInvite
	Claim   wire.Hash     // OpAdd by WhyInvite: the claim that the joiner signed
	Revokes wire.InviteID // OpRevoke
	Profile *Register     // OpProfile, OpSetting

	KeyPackage [32]byte // OpRequest: its hash
	First      bool     // OpReboot: it makes the root of the group's first epoch

	judgement
}

// Invite is an invite as an operation carries it.
type Invite struct {
	ID      wire.InviteID
	Signer  wire.UserID
	Role    wire.Role
	Uses    uint64 // 0: any number
	Expires uint64 // milliseconds since 1970; 0: never
}

// Register is a register of the profile, or a setting.
type Register struct {
	Field  wire.ProfileField
	Key    string // of a setting; empty: it is a field of the profile
	HLC    crdt.HLC
	Policy wire.Policy // of the field of that name
}

// judgement is the verdict on an operation in the roster of its own past. It is made once,
// when the operation arrives, and is the same on every device.
type judgement struct {
	permitted bool
	why       Refusal     // it is not permitted
	role      wire.Role   // of the author
	need      wire.Role   // the weakest role that may make it
	lowers    bool        // an OpRole that takes something from its target
	alone     bool        // its author is the only user
	victim    wire.UserID // of an OpDeviceRevoke: the user of the device
	grant     *Op         // the last grant to its author; nil: the genesis
	admitted  *Op         // the operation that added its device; nil: the genesis
	since     *Op         // of a clerk's addition: the addition of its author; nil: the genesis
	issued    *Op         // of an OpAdd by WhyInvite: that gave out the invite; nil: its author knew of none
}

// Verdict is what an operation was found to be in its own past, so that it can be kept: other
// operations by their hashes, zero for none. It never changes, but with the rules.
type Verdict struct {
	Permitted                      bool
	Why                            Refusal
	Role, Need                     wire.Role
	Lowers, Alone                  bool
	Victim                         wire.UserID
	Grant, Admitted, Since, Issued wire.EntryHash
}

// Rules is the version of the rules by which verdicts are made.
const Rules = 1

// Verdict gives what the operation was found to be.
func (o *Op) Verdict() Verdict {
	hash := func(p *Op) (h wire.EntryHash) {
		if p != nil {
			h = p.Hash
		}
		return h
	}
	return Verdict{
		Permitted: o.permitted, Why: o.why, Role: o.role, Need: o.need, Lowers: o.lowers, Alone: o.alone, Victim: o.victim,
		Grant: hash(o.grant), Admitted: hash(o.admitted), Since: hash(o.since), Issued: hash(o.issued),
	}
}

// judgementOf is the inverse of Op.Verdict. False: an operation is not known that it names.
func (r *Resolver) judgementOf(v Verdict) (j judgement, ok bool) {
	ok = true
	op := func(h wire.EntryHash) *Op {
		x, known := r.byHash[h]
		ok = ok && (known || h == wire.EntryHash{})
		return x
	}
	j = judgement{
		permitted: v.Permitted, why: v.Why, role: v.Role, need: v.Need, lowers: v.Lowers, alone: v.Alone, victim: v.Victim,
		grant: op(v.Grant), admitted: op(v.Admitted), since: op(v.Since), issued: op(v.Issued),
	}
	return j, ok
}

// date is the date that its author gave it. Times are measured by dates: one clock that is
// far ahead drags the order along.
func (o *Op) date() crdt.HLC { return cmp.Or(o.Dated, o.HLC) }

// AuthorsRole is the role of its author as far as the author knew, if it was in.
func (o *Op) AuthorsRole() (wire.Role, bool) { return o.role, o.role < out }

// Permitted says whether its author could make it as far as the author knew. Whether it
// counts depends on a roster.
func (o *Op) Permitted() bool { return o.permitted }

// compare is the order in which operations are carried out. An entry's HLC is above that
// of everything in its past, so this is a causal order.
func (o *Op) compare(p *Op) int {
	return cmp.Or(cmp.Compare(o.HLC, p.HLC), bytes.Compare(o.Hash[:], p.Hash[:]))
}

// loss says whether it takes a right or a membership from somebody.
func (o *Op) loss() bool {
	return o.Type == wire.OpRemove || o.Type == wire.OpLeave || o.Type == wire.OpDeviceRevoke || o.Type == wire.OpRole && o.lowers
}

// grants says whether it gives authority to its target. Every OpRole does, also one that
// leaves less than there was.
func (o *Op) grants() bool {
	return o.Type == wire.OpRole || o.Type == wire.OpAdd && o.Role <= wire.RoleAdmin
}

// clerk says whether its author lets somebody in by what others decided: an invite or an
// open door.
func (o *Op) clerk() bool { return o.Type == wire.OpAdd && o.Why != wire.WhyRole }

// closes says whether it closes a way into the group: it revokes an invite, or sets a policy
// by which the door is not open.
func (o *Op) closes() bool {
	return o.Type == wire.OpRevoke ||
		o.Type == wire.OpProfile && o.Profile.Field == wire.FieldPolicy && o.Profile.Policy != wire.PolicyOpen
}

// shuts says whether it closes the way by which an addition lets somebody in.
func (o *Op) shuts(x *Op) bool {
	switch {
	case !o.closes() || !x.clerk():
		return false
	case o.Type == wire.OpRevoke:
		return x.Why == wire.WhyInvite && x.Invite.ID == o.Revokes
	}
	return x.Why == wire.WhyOpen
}

// own says whether the author takes it from itself, by leaving or by revoking its own
// device.
func (o *Op) own() bool {
	return o.Type == wire.OpLeave || o.Type == wire.OpDeviceRevoke && o.victim == o.User
}

// whom returns the user that a loss or grant is about; an OpDeviceRevoke is about none, and
// neither is what closes a way in.
func (o *Op) whom() (user wire.UserID, ok bool) {
	if o.Type == wire.OpLeave {
		return o.User, true
	}
	return o.Target, o.Type != wire.OpDeviceRevoke && !o.closes()
}

// ends says whether a loss ends the log that an entry is in: it removes the user, is the
// user's leave, or revokes the device.
func (o *Op) ends(user wire.UserID, device wire.DeviceID) bool {
	return o.Type == wire.OpRemove && o.Target == user ||
		o.Type == wire.OpLeave && o.User == user ||
		o.Type == wire.OpDeviceRevoke && o.Subject == device
}

// takesFromSigner says whether a loss takes from the signer of an addition's invite the right
// to give out invites.
func (o *Op) takesFromSigner(x *Op) bool {
	if x.Type != wire.OpAdd || x.Why != wire.WhyInvite || !o.loss() {
		return false
	}
	u, ok := o.whom()
	return ok && u == x.Invite.Signer && (o.Type != wire.OpRole || o.Role > wire.RoleAdmin)
}

// takes says whether a loss takes from an operation's author what the operation needs.
func (o *Op) takes(x *Op) bool {
	if o.Type == wire.OpRole {
		return o.lowers && o.Target == x.User && x.need < o.Role
	}
	return o.ends(x.User, x.Device)
}
