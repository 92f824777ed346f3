package group

import (
	"bytes"
	"maps"
	"slices"

	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// roster is who is in the group: the result of the membership operations, and of
// nothing else. It never changes once resolved.
type roster struct {
	users     map[wire.UserID]*rosterUser
	devices   map[wire.DeviceID]*rosterDevice // of users in the roster
	gone      map[wire.UserID]*item           // who is out → the operation that took it out
	demoted   map[wire.UserID]*item           // members who were owners → the operation that ended it
	revoked   map[wire.DeviceID]*item         // revoked devices → the operation
	profile   map[wire.ProfileField]*item     // the operation whose register holds
	cancelled []*item                         // removals that their authors could make and that were voided
	invites   map[wire.InviteID]*inviteState
	asking    map[wire.UserID]*asking // who asked to be let in and is not
	void      map[*item]*item         // operations that do not count → the removal that voids them; nil: the user was in already
	kept      []*item                 // not carried out, so that an owner is left
	seen      map[wire.DeviceID]bool  // devices that are or were in
	lost      map[wire.DeviceID]*item // those that never were → the removal that voids their addition, or the addition by another such
	intruders []*item                 // removals that stand by devices that never were in

	inPast func(a, b *item) bool
}

type rosterUser struct {
	id      wire.UserID
	role    wire.Role
	since   *item // its addition; nil for the founder
	roleBy  *item // the operation that gave it this role since; nil: none did
	devices []wire.DeviceID
}

type rosterDevice struct {
	device     *identity.Device
	keyPackage []byte // nil for the founder's first device
	by         *item  // the operation that added it; nil for the founder's first
}

func (r *roster) has(d wire.DeviceID) bool { return r.devices[d] != nil }

func newRoster(g *identity.Genesis) *roster {
	founder := g.Device
	return &roster{
		users: map[wire.UserID]*rosterUser{
			founder.User: {id: founder.User, role: wire.RoleOwner, devices: []wire.DeviceID{founder.ID}},
		},
		devices: map[wire.DeviceID]*rosterDevice{founder.ID: {device: founder}},
		gone:    map[wire.UserID]*item{}, revoked: map[wire.DeviceID]*item{}, demoted: map[wire.UserID]*item{}, profile: map[wire.ProfileField]*item{},
		invites: map[wire.InviteID]*inviteState{}, asking: map[wire.UserID]*asking{}, void: map[*item]*item{},
		seen: map[wire.DeviceID]bool{founder.ID: true}, lost: map[wire.DeviceID]*item{},
	}
}

// resolver computes rosters of sets of operations of one group.
type resolver struct {
	genesis *identity.Genesis
	inPast  func(a, b *item) bool
}

func (s resolver) concurrent(a, b *item) bool { return a != b && !s.inPast(a, b) && !s.inPast(b, a) }

// resolve computes the roster of a set of operations, given in causal order. The
// result depends on the set alone.
//
// An operation counts if its author could make it in its own causal past
// (isPermitted, judged once when it came in) and nothing voids it. Removal is
// strong, of a user and of a device: it voids what its target did concurrently, so
// that nobody outruns or back-dates around its own removal, and an addition counts
// only if it follows every removal of that user or device.
func (s resolver) resolve(ops []*item) *roster {
	var kept []*item // removals and departures of last owners, not carried out
	judged := ops
	standing, cancelled := s.standing(judged)
	for {
		r := s.run(ops, standing, kept)
		if out := r.intruding(); len(out) > 0 {
			// Whose addition is void removes nobody: the removed would outrun its removal
			// through whom it let in.
			judged = slices.DeleteFunc(slices.Clone(judged), func(op *item) bool { return out[op.log.Device] })
			standing, cancelled = s.standing(judged)
			kept = nil
			continue
		}
		back := s.lastOwner(r)
		if back == nil {
			r.cancelled, r.kept = cancelled, kept
			return r
		}
		kept = append(kept, back)
	}
}

// intruding names devices that never were in, and whose removals stand nevertheless:
// those whose addition is void by a removal of somebody who was in, or, where they void
// each other in a circle, the first.
func (r *roster) intruding() map[wire.DeviceID]bool {
	out := map[wire.DeviceID]bool{}
	for _, op := range r.intruders {
		by := r.lost[op.log.Device]
		for by != nil && by.target != nil {
			by = r.lost[by.log.Device]
		}
		if by == nil || r.seen[by.log.Device] {
			out[op.log.Device] = true
		}
	}
	if len(out) == 0 && len(r.intruders) > 0 {
		out[r.intruders[0].log.Device] = true
	}
	return out
}

// standing tells which removals of users and devices stand. One is void if a standing removal takes out
// its author concurrently, except that of two users who remove each other the
// higher role stays, and equals both go. Where removals void each other in a
// circle, the one with the highest role, then the lowest hash, stands.
func (s resolver) standing(ops []*item) (stand, cancelled []*item) {
	var open []*item
	for _, op := range ops {
		if op.facts.has(isPermitted) && (op.op.Type == wire.OpRemove || op.op.Type == wire.OpDeviceRevoke) {
			open = append(open, op)
		}
	}
	voids := func(q, r *item) bool {
		return q.takesOut(r.user, r.log.Device) && s.concurrent(q, r) && (!r.takesOut(q.user, q.log.Device) || q.role < r.role)
	}
	slices.SortFunc(open, func(a, b *item) int {
		if a.role != b.role {
			return int(a.role) - int(b.role) //nolint:gosec // four roles
		}
		return bytes.Compare(a.hash[:], b.hash[:])
	})
	for len(open) > 0 {
		next := slices.IndexFunc(open, func(r *item) bool {
			return !slices.ContainsFunc(open, func(q *item) bool { return q != r && voids(q, r) })
		})
		next = max(next, 0) // a circle: the strongest stands
		r := open[next]
		open = slices.Delete(open, next, next+1)
		switch {
		case !slices.ContainsFunc(stand, func(q *item) bool { return voids(q, r) }):
			stand = append(stand, r)
		case r.op.Type == wire.OpRemove:
			cancelled = append(cancelled, r)
		}
	}
	slices.SortFunc(stand, (*item).compare)
	slices.SortFunc(cancelled, (*item).compare)
	return stand, cancelled
}

// run applies the operations in order, without those that are voided or kept back.
func (s resolver) run(ops, standing, kept []*item) *roster {
	r := newRoster(s.genesis)
	r.inPast = s.inPast
	for _, op := range ops {
		if !op.facts.has(isPermitted) || slices.Contains(kept, op) {
			continue
		}
		voided := func(x *item) bool {
			return !slices.Contains(kept, x) && s.concurrent(x, op) && (x.takesOut(op.user, op.log.Device) ||
				op.target != nil && x.takesOut(op.target.device.User, op.target.device.ID) || s.outruns(op, x, ops))
		}
		if op.op.Type == wire.OpRemove || op.op.Type == wire.OpDeviceRevoke {
			if slices.Contains(standing, op) {
				if !r.seen[op.log.Device] {
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
			if op.target != nil {
				r.lost[op.target.device.ID] = standing[i]
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
func (s resolver) lastOwner(r *roster) *item {
	left := func(by *item) bool { return by.op.Type == wire.OpLeave }
	if len(r.users) == 0 && !slices.ContainsFunc(slices.Collect(maps.Values(r.gone)), func(by *item) bool { return !left(by) }) {
		return nil // everybody left
	}
	if slices.ContainsFunc(slices.Collect(maps.Values(r.users)), func(u *rosterUser) bool { return u.role == wire.RoleOwner }) {
		return nil
	}
	var pick *item
	var lowest wire.Hash
	for user, by := range r.gone {
		h := wire.HashOf(wire.DomainPrio, s.genesis.ID[:], user[:])
		if r.wasOwner(user) && !(len(r.users) == 0 && left(by)) && (pick == nil || bytes.Compare(h[:], lowest[:]) < 0) {
			pick, lowest = by, h
		}
	}
	for user, by := range r.demoted {
		h := wire.HashOf(wire.DomainPrio, s.genesis.ID[:], user[:])
		if r.users[user] != nil && (pick == nil || bytes.Compare(h[:], lowest[:]) < 0) {
			pick, lowest = by, h
		}
	}
	return pick
}

// wasOwner says whether a user who is out was an owner when it went.
func (r *roster) wasOwner(u wire.UserID) bool {
	return r.gone[u] != nil && r.gone[u].facts.has(tookOwner)
}

// apply carries out one operation that counts.
func (r *roster) apply(op *item) {
	author := r.users[op.user]
	if author == nil || !r.seen[op.log.Device] {
		if op.target != nil {
			r.lost[op.target.device.ID] = op
		}
		return // its addition was voided, or it left
	}
	if op.target != nil {
		r.seen[op.target.device.ID] = true
	}
	switch o := op.op; o.Type {
	case wire.OpAdd:
		d := op.target.device
		if op.invited != nil {
			r.inviteOf(op.invited.id).uses[op.invited.claim] = op
		}
		if r.users[d.User] != nil {
			r.void[op] = nil
			return
		}
		delete(r.asking, d.User)
		r.users[d.User] = &rosterUser{id: d.User, role: o.Role, since: op, devices: []wire.DeviceID{d.ID}}
		r.devices[d.ID] = &rosterDevice{device: d, keyPackage: o.KeyPackage, by: op}
		delete(r.gone, d.User)
		delete(r.revoked, d.ID)
	case wire.OpDeviceAdd:
		if d := op.target.device; !r.has(d.ID) {
			author.devices = append(author.devices, d.ID)
			r.devices[d.ID] = &rosterDevice{device: d, keyPackage: o.KeyPackage, by: op}
			delete(r.revoked, d.ID)
		}
	case wire.OpLeave:
		r.remove(op.user, op)
	case wire.OpRole:
		if u := r.users[*o.User]; u != nil {
			delete(r.demoted, u.id)
			if u.role == wire.RoleOwner && o.Role != wire.RoleOwner {
				r.demoted[u.id] = op
			}
			u.role, u.roleBy = o.Role, op
		}
	case wire.OpProfile:
		p := op.profile
		old := r.profile[p.Field]
		if old == nil || old.profile.HLC < p.HLC || old.profile.HLC == p.HLC && bytes.Compare(old.op.Profile.Payload, o.Profile.Payload) > 0 {
			r.profile[p.Field] = op
		}
	case wire.OpInvite:
		if i := r.inviteOf(op.invited.id); i.issued == nil {
			i.issued = op
		}
	case wire.OpRevoke:
		if i := r.inviteOf(*o.Revokes); i.revoked == nil {
			i.revoked = op
		}
	case wire.OpRequest:
		r.takeRequest(op)
	case wire.OpDeny:
		r.takeDenial(op)
	case wire.OpRemove, wire.OpDeviceRevoke, wire.OpReboot: // by run; of the tree of epochs
	}
}

// takeOut carries out a removal or revocation that stands.
func (r *roster) takeOut(op *item) {
	if op.op.Type == wire.OpRemove {
		r.remove(*op.op.User, op)
		return
	}
	id := *op.op.Device
	if d := r.devices[id]; d != nil {
		u := r.users[d.device.User]
		u.devices = slices.DeleteFunc(slices.Clone(u.devices), func(x wire.DeviceID) bool { return x == id })
		delete(r.devices, id)
		r.revoked[id] = op
	}
}

func (r *roster) remove(user wire.UserID, by *item) {
	u := r.users[user]
	if u == nil {
		return
	}
	for _, d := range u.devices {
		delete(r.devices, d)
	}
	delete(r.users, user)
	r.gone[user] = by
}

// judge notes of an operation what permits says, r being the roster of its own past.
func (r *roster) judge(op *item, g *identity.Genesis) {
	ok, role, took := r.permits(op, g)
	if op.role = role; ok {
		op.note(isPermitted)
	}
	if took {
		op.note(tookOwner)
	}
}

// permits judges an operation in the roster of its own causal past: may its
// author make it? It gives the author's role, and whether the operation takes out
// an owner.
func (r *roster) permits(op *item, g *identity.Genesis) (ok bool, role wire.Role, tookAnOwner bool) {
	author := r.users[op.user]
	if author == nil || !r.has(op.log.Device) || op.op == nil {
		return false, 0, false
	}
	role = author.role
	admin := role <= wire.RoleAdmin
	switch o := op.op; o.Type {
	case wire.OpAdd:
		return r.users[op.target.device.User] == nil && r.mayAdd(author, op, g), role, false
	case wire.OpDeviceAdd:
		return op.target.device.User == op.user, role, false
	case wire.OpRemove:
		victim := r.users[*o.User]
		if victim == nil || victim.id == author.id || !admin || victim.role < role {
			return false, role, false
		}
		return !r.lastOwner(victim), role, victim.role == wire.RoleOwner
	case wire.OpLeave:
		return !r.lastOwner(author) || len(r.users) == 1, role, role == wire.RoleOwner
	case wire.OpRole:
		u := r.users[*o.User]
		return u != nil && role == wire.RoleOwner && (o.Role == wire.RoleOwner || !r.lastOwner(u)), role, false
	case wire.OpDeviceRevoke:
		d := r.devices[*o.Device]
		return d != nil && (d.device.User == op.user || admin && r.users[d.device.User].role >= role), role, false
	case wire.OpProfile, wire.OpRevoke, wire.OpDeny:
		return admin, role, false
	case wire.OpInvite:
		return r.judgeGiven(op.invited, op.dated()) == nil, role, false
	case wire.OpRequest:
		d := op.asker.device
		return role <= wire.RoleMember && r.users[d.User] == nil && r.judgeRequest(d, o.KeyPackage, op.dated(), g) == nil, role, false
	case wire.OpReboot:
		first := o.Reboot.From == wire.RootEpochID(g.ID)
		return first && op.log.Device == g.Device.ID && op.seq == 1 || !first && admin, role, false
	}
	return false, role, false
}

// mayAdd says whether something justifies an addition.
func (r *roster) mayAdd(author *rosterUser, op *item, g *identity.Genesis) bool {
	if op.op.Role < author.role && op.op.Why != wire.WhyInvite {
		return false // nobody gives more than it has
	}
	switch op.op.Why {
	case wire.WhyRole:
		return author.role <= wire.RoleAdmin
	case wire.WhyOpen:
		// Somebody who was taken out comes back through an admin, not the open door.
		return r.policy(g) == wire.PolicyOpen && author.role <= wire.RoleMember && op.op.Role >= wire.RoleMember &&
			!r.wasRemoved(op.target.device)
	case wire.WhyInvite:
		// Its signer gives, not the member that serves it.
		return author.role <= wire.RoleMember && op.invited != nil && op.op.Role == op.invited.invite.Role &&
			r.judgeInvite(op.invited, op.target.device, op.dated()) == nil
	}
	return false
}

// wasRemoved says whether somebody else took this user or device out.
func (r *roster) wasRemoved(d *identity.Device) bool {
	out := r.gone[d.User]
	return out != nil && out.op.Type == wire.OpRemove || r.revoked[d.ID] != nil
}

func (r *roster) policy(g *identity.Genesis) wire.Policy {
	if p, ok := r.profile[wire.FieldPolicy]; ok {
		return p.profile.Policy
	}
	return g.Policy
}

// lastOwner says whether u is the only owner.
func (r *roster) lastOwner(u *rosterUser) bool {
	if u.role != wire.RoleOwner {
		return false
	}
	for _, o := range r.users {
		if o.role == wire.RoleOwner && o.id != u.id {
			return false
		}
	}
	return true
}

// deviceIDs lists the devices of the roster in ascending order.
func (r *roster) deviceIDs() []wire.DeviceID {
	return slices.SortedFunc(maps.Keys(r.devices), func(a, b wire.DeviceID) int { return bytes.Compare(a[:], b[:]) })
}

// removedBy says whether an entry of a log takes somebody out.
func (r *roster) removedBy(log wire.LogID) bool {
	for _, by := range r.gone {
		if by.log == log {
			return true
		}
	}
	for _, by := range r.revoked {
		if by.log == log {
			return true
		}
	}
	return false
}
