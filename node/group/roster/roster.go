package roster

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// Roster is who is in the group: the result of the membership operations, and of
// nothing else. It never changes once resolved.
type Roster struct {
	Users     map[wire.UserID]*User
	Devices   map[wire.DeviceID]*Device       // of users in the roster
	Gone      map[wire.UserID]*dag.Item       // who is out → the operation that took it out
	demoted   map[wire.UserID]*dag.Item       // members who were owners → the operation that ended it
	Revoked   map[wire.DeviceID]*dag.Item     // revoked devices → the operation
	Profile   map[wire.ProfileField]*dag.Item // the operation whose register holds
	Cancelled []*dag.Item                     // removals that their authors could make and that were voided
	Invites   map[wire.InviteID]*Invite
	Asking    map[wire.UserID]*Request    // who asked to be let in and is not
	void      map[*dag.Item]*dag.Item     // operations that do not count → the removal that voids them; nil: the user was in already
	kept      []*dag.Item                 // not carried out, so that an owner is left
	seen      map[wire.DeviceID]bool      // devices that are or were in
	lost      map[wire.DeviceID]*dag.Item // those that never were → the removal that voids their addition, or the addition by another such
	intruders []*dag.Item                 // removals that stand by devices that never were in

	inPast func(a, b *dag.Item) bool
}

// User is a user in the roster.
type User struct {
	ID      wire.UserID
	Role    wire.Role
	Since   *dag.Item // its addition; nil for the founder
	RoleBy  *dag.Item // the operation that gave it this role since; nil: none did
	Devices []wire.DeviceID
}

// Device is a device of a user in the roster.
type Device struct {
	Device     *identity.Device
	KeyPackage []byte    // nil for the founder's first device
	By         *dag.Item // the operation that added it; nil for the founder's first
}

func (r *Roster) Has(d wire.DeviceID) bool { return r.Devices[d] != nil }

// New gives the roster that a genesis alone makes: its founder.
func New(g *identity.Genesis) *Roster {
	founder := g.Device
	return &Roster{
		Users: map[wire.UserID]*User{
			founder.User: {ID: founder.User, Role: wire.RoleOwner, Devices: []wire.DeviceID{founder.ID}},
		},
		Devices: map[wire.DeviceID]*Device{founder.ID: {Device: founder}},
		Gone:    map[wire.UserID]*dag.Item{}, Revoked: map[wire.DeviceID]*dag.Item{}, demoted: map[wire.UserID]*dag.Item{}, Profile: map[wire.ProfileField]*dag.Item{},
		Invites: map[wire.InviteID]*Invite{}, Asking: map[wire.UserID]*Request{}, void: map[*dag.Item]*dag.Item{},
		seen: map[wire.DeviceID]bool{founder.ID: true}, lost: map[wire.DeviceID]*dag.Item{},
	}
}

// Resolver computes rosters of sets of operations of one group.
type Resolver struct {
	Genesis *identity.Genesis
	InPast  func(a, b *dag.Item) bool
}

func (s Resolver) Concurrent(a, b *dag.Item) bool {
	return a != b && !s.InPast(a, b) && !s.InPast(b, a)
}

// Resolve computes the roster of a set of operations, given in causal order. The
// result depends on the set alone.
//
// An operation counts if its author could make it in its own causal past (isPermitted,
// judged once when it came in) and nothing voids it. Removal of a user or of a device is
// strong: it voids the target's concurrent operations, so that nobody evades the own
// removal by speed or by back-dating, and an addition counts only if it follows every
// removal of that user or device.
func (s Resolver) Resolve(ops []*dag.Item) *Roster {
	var kept []*dag.Item // removals and departures of last owners, not carried out
	judged := ops
	standing, cancelled := s.standing(judged)
	for {
		r := s.run(ops, standing, kept)
		if out := r.intruding(); len(out) > 0 {
			// A device whose addition is void cannot remove anyone. Otherwise a removed
			// member could evade its removal through devices that it added concurrently.
			judged = slices.DeleteFunc(slices.Clone(judged), func(op *dag.Item) bool { return out[op.Log.Device] })
			standing, cancelled = s.standing(judged)
			kept = nil
			continue
		}
		back := s.lastOwner(r)
		if back == nil {
			r.Cancelled, r.kept = cancelled, kept
			return r
		}
		kept = append(kept, back)
	}
}

// intruding names devices that never were in, and whose removals stand nevertheless:
// those whose addition is void by a removal of somebody who was in, or, where they void
// each other in a circle, the first.
func (r *Roster) intruding() map[wire.DeviceID]bool {
	out := map[wire.DeviceID]bool{}
	for _, op := range r.intruders {
		by := r.lost[op.Log.Device]
		for by != nil && by.Target != nil {
			by = r.lost[by.Log.Device]
		}
		if by == nil || r.seen[by.Log.Device] {
			out[op.Log.Device] = true
		}
	}
	if len(out) == 0 && len(r.intruders) > 0 {
		out[r.intruders[0].Log.Device] = true
	}
	return out
}

// standing tells which removals of users and devices stand. One is void if a standing removal takes out
// its author concurrently, except that of two users who remove each other the
// higher role stays, and equals both go. Where removals void each other in a
// circle, the one with the highest role, then the lowest hash, stands.
func (s Resolver) standing(ops []*dag.Item) (stand, cancelled []*dag.Item) {
	var open []*dag.Item
	for _, op := range ops {
		if op.Facts.Has(dag.IsPermitted) && (op.Op.Type == wire.OpRemove || op.Op.Type == wire.OpDeviceRevoke) {
			open = append(open, op)
		}
	}
	voids := func(q, r *dag.Item) bool {
		return q.TakesOut(r.User, r.Log.Device) && s.Concurrent(q, r) && (!r.TakesOut(q.User, q.Log.Device) || q.Role < r.Role)
	}
	slices.SortFunc(open, func(a, b *dag.Item) int {
		if a.Role != b.Role {
			return int(a.Role) - int(b.Role) //nolint:gosec // four roles
		}
		return bytes.Compare(a.Hash[:], b.Hash[:])
	})
	for len(open) > 0 {
		next := slices.IndexFunc(open, func(r *dag.Item) bool {
			return !slices.ContainsFunc(open, func(q *dag.Item) bool { return q != r && voids(q, r) })
		})
		next = max(next, 0) // a circle: the strongest stands
		r := open[next]
		open = slices.Delete(open, next, next+1)
		switch {
		case !slices.ContainsFunc(stand, func(q *dag.Item) bool { return voids(q, r) }):
			stand = append(stand, r)
		case r.Op.Type == wire.OpRemove:
			cancelled = append(cancelled, r)
		}
	}
	slices.SortFunc(stand, (*dag.Item).Compare)
	slices.SortFunc(cancelled, (*dag.Item).Compare)
	return stand, cancelled
}

// run applies the operations in order, without those that are voided or kept back.
func (s Resolver) run(ops, standing, kept []*dag.Item) *Roster {
	r := New(s.Genesis)
	r.inPast = s.InPast
	for _, op := range ops {
		if !op.Facts.Has(dag.IsPermitted) || slices.Contains(kept, op) {
			continue
		}
		voided := func(x *dag.Item) bool {
			return !slices.Contains(kept, x) && s.Concurrent(x, op) && (x.TakesOut(op.User, op.Log.Device) ||
				op.Target != nil && x.TakesOut(op.Target.Device.User, op.Target.Device.ID) || s.outruns(op, x, ops))
		}
		if op.Op.Type == wire.OpRemove || op.Op.Type == wire.OpDeviceRevoke {
			if slices.Contains(standing, op) {
				if !r.seen[op.Log.Device] {
					r.intruders = append(r.intruders, op)
				}
				r.takeOut(op)
			} else if i := slices.IndexFunc(standing, voided); i >= 0 {
				r.void[op] = standing[i]
			}
			continue
		}
		if i := slices.IndexFunc(standing, voided); i >= 0 {
			r.void[op] = standing[i]
			if op.Target != nil {
				r.lost[op.Target.Device.ID] = standing[i]
			}
		} else {
			r.apply(op)
		}
	}
	return r
}

// lastOwner keeps a group from losing its last owner: if members are left and no
// owner, it names the operation that is not carried out, of those that took out
// an owner the one whose target has the lowest hash.
func (s Resolver) lastOwner(r *Roster) *dag.Item {
	left := func(by *dag.Item) bool { return by.Op.Type == wire.OpLeave }
	if len(r.Users) == 0 && !slices.ContainsFunc(slices.Collect(maps.Values(r.Gone)), func(by *dag.Item) bool { return !left(by) }) {
		return nil // everybody left
	}
	if slices.ContainsFunc(slices.Collect(maps.Values(r.Users)), func(u *User) bool { return u.Role == wire.RoleOwner }) {
		return nil
	}
	var pick *dag.Item
	var lowest wire.Hash
	for user, by := range r.Gone {
		h := wire.HashOf(wire.DomainPrio, s.Genesis.ID[:], user[:])
		if r.wasOwner(user) && !(len(r.Users) == 0 && left(by)) && (pick == nil || bytes.Compare(h[:], lowest[:]) < 0) {
			pick, lowest = by, h
		}
	}
	for user, by := range r.demoted {
		h := wire.HashOf(wire.DomainPrio, s.Genesis.ID[:], user[:])
		if r.Users[user] != nil && (pick == nil || bytes.Compare(h[:], lowest[:]) < 0) {
			pick, lowest = by, h
		}
	}
	return pick
}

// wasOwner says whether a user who is out was an owner when it went.
func (r *Roster) wasOwner(u wire.UserID) bool {
	return r.Gone[u] != nil && r.Gone[u].Facts.Has(dag.TookOwner)
}

// apply carries out one operation that counts.
func (r *Roster) apply(op *dag.Item) {
	author := r.Users[op.User]
	if author == nil || !r.seen[op.Log.Device] {
		if op.Target != nil {
			r.lost[op.Target.Device.ID] = op
		}
		return // its addition was voided, or it left
	}
	if op.Target != nil {
		r.seen[op.Target.Device.ID] = true
	}
	switch o := op.Op; o.Type {
	case wire.OpAdd:
		d := op.Target.Device
		if op.Invited != nil {
			r.inviteOf(op.Invited.ID).Uses[op.Invited.Claim] = op
		}
		if r.Users[d.User] != nil {
			r.void[op] = nil
			return
		}
		delete(r.Asking, d.User)
		r.Users[d.User] = &User{ID: d.User, Role: o.Role, Since: op, Devices: []wire.DeviceID{d.ID}}
		r.Devices[d.ID] = &Device{Device: d, KeyPackage: o.KeyPackage, By: op}
		delete(r.Gone, d.User)
		delete(r.Revoked, d.ID)
	case wire.OpDeviceAdd:
		if d := op.Target.Device; !r.Has(d.ID) {
			author.Devices = append(author.Devices, d.ID)
			r.Devices[d.ID] = &Device{Device: d, KeyPackage: o.KeyPackage, By: op}
			delete(r.Revoked, d.ID)
		}
	case wire.OpLeave:
		r.remove(op.User, op)
	case wire.OpRole:
		if u := r.Users[*o.User]; u != nil {
			delete(r.demoted, u.ID)
			if u.Role == wire.RoleOwner && o.Role != wire.RoleOwner {
				r.demoted[u.ID] = op
			}
			u.Role, u.RoleBy = o.Role, op
		}
	case wire.OpProfile:
		p := op.Profile
		old := r.Profile[p.Field]
		if old == nil || old.Profile.HLC < p.HLC || old.Profile.HLC == p.HLC && bytes.Compare(old.Op.Profile.Payload, o.Profile.Payload) > 0 {
			r.Profile[p.Field] = op
		}
	case wire.OpInvite:
		if i := r.inviteOf(op.Invited.ID); i.issued == nil {
			i.issued = op
		}
	case wire.OpRevoke:
		if i := r.inviteOf(*o.Revokes); i.Revoked == nil {
			i.Revoked = op
		}
	case wire.OpRequest:
		r.takeRequest(op)
	case wire.OpDeny:
		r.takeDenial(op)
	case wire.OpRemove, wire.OpDeviceRevoke, wire.OpReboot: // by run; of the tree of epochs
	}
}

// takeOut carries out a removal or revocation that stands.
func (r *Roster) takeOut(op *dag.Item) {
	if op.Op.Type == wire.OpRemove {
		r.remove(*op.Op.User, op)
		return
	}
	id := *op.Op.Device
	if d := r.Devices[id]; d != nil {
		u := r.Users[d.Device.User]
		u.Devices = slices.DeleteFunc(slices.Clone(u.Devices), func(x wire.DeviceID) bool { return x == id })
		delete(r.Devices, id)
		r.Revoked[id] = op
	}
}

func (r *Roster) remove(user wire.UserID, by *dag.Item) {
	u := r.Users[user]
	if u == nil {
		return
	}
	for _, d := range u.Devices {
		delete(r.Devices, d)
	}
	delete(r.Users, user)
	r.Gone[user] = by
}

// Judge notes the verdict of permits on an operation. r is the roster of the operation's
// own past.
func (r *Roster) Judge(op *dag.Item, g *identity.Genesis) {
	ok, role, took := r.permits(op, g)
	if op.Role = role; ok {
		op.Note(dag.IsPermitted)
	}
	if took {
		op.Note(dag.TookOwner)
	}
}

// permits judges an operation in the roster of its own causal past: may its
// author make it? It gives the author's role, and whether the operation takes out
// an owner.
func (r *Roster) permits(op *dag.Item, g *identity.Genesis) (ok bool, role wire.Role, tookAnOwner bool) {
	author := r.Users[op.User]
	if author == nil || !r.Has(op.Log.Device) || op.Op == nil {
		return false, 0, false
	}
	role = author.Role
	admin := role <= wire.RoleAdmin
	switch o := op.Op; o.Type {
	case wire.OpAdd:
		return r.Users[op.Target.Device.User] == nil && r.mayAdd(author, op, g), role, false
	case wire.OpDeviceAdd:
		return op.Target.Device.User == op.User, role, false
	case wire.OpRemove:
		victim := r.Users[*o.User]
		if victim == nil || victim.ID == author.ID || !admin || victim.Role < role {
			return false, role, false
		}
		return !r.LastOwner(victim), role, victim.Role == wire.RoleOwner
	case wire.OpLeave:
		return !r.LastOwner(author) || len(r.Users) == 1, role, role == wire.RoleOwner
	case wire.OpRole:
		u := r.Users[*o.User]
		return u != nil && role == wire.RoleOwner && (o.Role == wire.RoleOwner || !r.LastOwner(u)), role, false
	case wire.OpDeviceRevoke:
		d := r.Devices[*o.Device]
		return d != nil && (d.Device.User == op.User || admin && r.Users[d.Device.User].Role >= role), role, false
	case wire.OpProfile, wire.OpRevoke, wire.OpDeny:
		return admin, role, false
	case wire.OpInvite:
		return r.JudgeGiven(op.Invited, op.Dated()) == nil, role, false
	case wire.OpRequest:
		d := op.Asker.Device
		return role <= wire.RoleMember && r.Users[d.User] == nil && r.JudgeRequest(d, o.KeyPackage, op.Dated(), g) == nil, role, false
	case wire.OpReboot:
		first := o.Reboot.From == wire.RootEpochID(g.ID)
		return first && op.Log.Device == g.Device.ID && op.Seq == 1 || !first && admin, role, false
	}
	return false, role, false
}

// mayAdd says whether something justifies an addition.
func (r *Roster) mayAdd(author *User, op *dag.Item, g *identity.Genesis) bool {
	if op.Op.Role < author.Role && op.Op.Why != wire.WhyInvite {
		return false // nobody gives more than it has
	}
	switch op.Op.Why {
	case wire.WhyRole:
		return author.Role <= wire.RoleAdmin
	case wire.WhyOpen:
		// Somebody who was taken out comes back through an admin, not the open door.
		return r.Policy(g) == wire.PolicyOpen && author.Role <= wire.RoleMember && op.Op.Role >= wire.RoleMember &&
			!r.WasRemoved(op.Target.Device)
	case wire.WhyInvite:
		// Its signer gives, not the member that serves it.
		return author.Role <= wire.RoleMember && op.Invited != nil && op.Op.Role == op.Invited.Invite.Role &&
			r.JudgeInvite(op.Invited, op.Target.Device, op.Dated()) == nil
	}
	return false
}

// WasRemoved says whether somebody else took this user or device out.
func (r *Roster) WasRemoved(d *identity.Device) bool {
	out := r.Gone[d.User]
	return out != nil && out.Op.Type == wire.OpRemove || r.Revoked[d.ID] != nil
}

func (r *Roster) Policy(g *identity.Genesis) wire.Policy {
	if p, ok := r.Profile[wire.FieldPolicy]; ok {
		return p.Profile.Policy
	}
	return g.Policy
}

// LastOwner says whether u is the only owner.
func (r *Roster) LastOwner(u *User) bool {
	if u.Role != wire.RoleOwner {
		return false
	}
	for _, o := range r.Users {
		if o.Role == wire.RoleOwner && o.ID != u.ID {
			return false
		}
	}
	return true
}

// DeviceIDs lists the devices of the roster in ascending order.
func (r *Roster) DeviceIDs() []wire.DeviceID {
	return slices.SortedFunc(maps.Keys(r.Devices), func(a, b wire.DeviceID) int { return bytes.Compare(a[:], b[:]) })
}

// RemovedBy says whether an entry of a log takes somebody out.
func (r *Roster) RemovedBy(log wire.LogID) bool {
	for _, by := range r.Gone {
		if by.Log == log {
			return true
		}
	}
	for _, by := range r.Revoked {
		if by.Log == log {
			return true
		}
	}
	return false
}

func (r *Roster) MayLeave(u *User) error {
	if r.LastOwner(u) && len(r.Users) > 1 {
		return fmt.Errorf("leaving: %w: this is the last owner; make somebody else owner first", verdict.ErrNotPermitted)
	}
	return nil
}

// Voidness says why an operation does not count; empty: it does.
func (r *Roster) Voidness(op *dag.Item, names map[wire.UserID]string) string {
	by, void := r.void[op]
	switch {
	case op.Op == nil:
		return "it is of a newer program"
	case !op.Facts.Has(dag.IsPermitted) && op.Role == 0:
		return "its author was no member"
	case !op.Facts.Has(dag.IsPermitted):
		return fmt.Sprintf("its author, %s, could not do that then", op.Role.Article())
	case slices.Contains(r.kept, op):
		return "it would have taken the last owner"
	case slices.Contains(r.Cancelled, op):
		return "its author was removed at the same time"
	case void && by == nil:
		return "that user was in already"
	case void && by.TakesOut(op.User, op.Log.Device):
		return fmt.Sprintf("%s removed its author at the same time", names[by.User])
	case void && op.Invited != nil && by.Op.Type == wire.OpRemove && *by.Op.User == op.Invited.Signer:
		return fmt.Sprintf("%s removed who gave out the invite at the same time", names[by.User])
	case void:
		return fmt.Sprintf("%s removed that user or device at the same time", names[by.User])
	}
	return ""
}
