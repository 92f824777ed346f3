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
	users   map[wire.UserID]*rosterUser
	devices map[wire.DeviceID]*rosterDevice // of users in the roster
	gone    map[wire.UserID]*item           // who is out → the operation that took it out
	profile map[wire.ProfileField]*item     // the operation whose register holds
}

type rosterUser struct {
	id      wire.UserID
	role    wire.Role
	since   *item // its addition; nil for the founder
	devices []wire.DeviceID
}

type rosterDevice struct {
	device     *identity.Device
	keyPackage []byte // nil for the founder's first device
	by         *item  // the operation that added it; nil for the founder's first
}

func (r *roster) has(d wire.DeviceID) bool { return r.devices[d] != nil }

// resolve computes the roster of a set of operations, given in causal order, with
// inPast telling whether one lies in the past of another. The result depends on
// the set alone.
//
// Removal is strong: it voids what its target did concurrently, and an addition
// counts only if it follows every removal of that user. When two users remove
// each other concurrently the higher role wins; equals both go, but a group keeps
// its last owner.
func resolve(g *identity.Genesis, ops []*item, inPast func(a, b *item) bool) *roster {
	// Which removals stand is needed before operations can be voided, and depends
	// on voiding itself: first come all that their authors may make, then those
	// that no concurrent removal of their author voids.
	made := run(g, ops, inPast, nil).removals
	stand := slices.Clone(made)
	stand = slices.DeleteFunc(stand, func(r removal) bool {
		return slices.ContainsFunc(made, func(o removal) bool {
			mutual := r.target == o.by && r.role <= o.role
			return o.target == r.by && concurrent(o.op, r.op, inPast) && !mutual
		})
	})
	return run(g, ops, inPast, stand).roster
}

func concurrent(a, b *item, inPast func(a, b *item) bool) bool {
	return a != b && !inPast(a, b) && !inPast(b, a)
}

// removal is an operation that its author may make in its own past.
type removal struct {
	op     *item
	by     wire.UserID
	role   wire.Role // of its author
	target wire.UserID
}

type resolution struct {
	roster   *roster
	removals []removal
}

// run applies operations in order. With removals it voids what they void.
func run(g *identity.Genesis, ops []*item, inPast func(a, b *item) bool, removals []removal) resolution {
	r := &roster{
		users: map[wire.UserID]*rosterUser{}, devices: map[wire.DeviceID]*rosterDevice{},
		gone: map[wire.UserID]*item{}, profile: map[wire.ProfileField]*item{},
	}
	r.users[g.Device.User] = &rosterUser{id: g.Device.User, role: wire.RoleOwner, devices: []wire.DeviceID{g.Device.ID}}
	r.devices[g.Device.ID] = &rosterDevice{device: g.Device}

	var made []removal
	for _, op := range ops {
		if slices.ContainsFunc(removals, func(x removal) bool {
			return x.target == op.user && x.op != op && !inPast(op, x.op) && !followsReadd(op, x, r, inPast)
		}) && !isRemoval(op, removals) {
			continue // its author was removed concurrently, or before
		}
		made = r.apply(op, g, inPast, removals, made)
	}
	return resolution{roster: r, removals: made}
}

// followsReadd says whether op comes after its author was added again after x.
func followsReadd(op *item, x removal, r *roster, inPast func(a, b *item) bool) bool {
	u := r.users[op.user]
	return u != nil && u.since != nil && inPast(x.op, u.since) && inPast(u.since, op)
}

func isRemoval(op *item, removals []removal) bool {
	return slices.ContainsFunc(removals, func(x removal) bool { return x.op == op })
}

// apply carries out one operation if its author may make it.
func (r *roster) apply(op *item, g *identity.Genesis, inPast func(a, b *item) bool, removals, made []removal) []removal {
	if op.op == nil {
		return made
	}
	author := r.users[op.user]
	if author == nil {
		// A removal that stands is carried out although its author is out by now:
		// mutual removal takes both.
		if op.op.Type == wire.OpRemove && isRemoval(op, removals) {
			r.remove(*op.op.User, op)
		}
		return made
	}
	admin := author.role <= wire.RoleAdmin
	switch o := op.op; o.Type {
	case wire.OpAdd:
		user := op.target.device.User
		for _, x := range removals {
			if x.target == user && concurrent(x.op, op, inPast) {
				return made
			}
		}
		if r.users[user] != nil || !r.mayAdd(author, op, g) {
			return made
		}
		r.users[user] = &rosterUser{id: user, role: max(o.Role, author.role), since: op, devices: []wire.DeviceID{op.target.device.ID}}
		r.devices[op.target.device.ID] = &rosterDevice{device: op.target.device, keyPackage: o.KeyPackage, by: op}
		delete(r.gone, user)
	case wire.OpDeviceAdd:
		if d := op.target.device; d.User == op.user && !r.has(d.ID) {
			author.devices = append(author.devices, d.ID)
			r.devices[d.ID] = &rosterDevice{device: d, keyPackage: o.KeyPackage, by: op}
		}
	case wire.OpRemove:
		victim := r.users[*o.User]
		if victim == nil || !admin || victim.role < author.role || victim.id == author.id || r.lastOwner(victim) {
			return made
		}
		made = append(made, removal{op: op, by: op.user, role: author.role, target: *o.User})
		r.remove(*o.User, op)
	case wire.OpLeave:
		if !r.lastOwner(author) || len(r.users) == 1 {
			r.remove(op.user, op)
		}
	case wire.OpRole:
		if u := r.users[*o.User]; u != nil && author.role == wire.RoleOwner && !(o.Role > wire.RoleOwner && r.lastOwner(u)) {
			u.role = o.Role
		}
	case wire.OpDeviceRevoke:
		if d := r.devices[*o.Device]; d != nil && (d.device.User == op.user || admin && r.users[d.device.User].role >= author.role) {
			r.dropDevice(*o.Device)
		}
	case wire.OpProfile:
		p := op.profile
		old := r.profile[p.Field]
		if admin && (old == nil || old.profile.HLC < p.HLC || old.profile.HLC == p.HLC && bytes.Compare(old.op.Profile.Payload, o.Profile.Payload) > 0) {
			r.profile[p.Field] = op
		}
	case wire.OpReboot: // of the tree of epochs, not of the roster
	}
	return made
}

// mayAdd says what justifies an addition.
func (r *roster) mayAdd(author *rosterUser, op *item, g *identity.Genesis) bool {
	switch op.op.Why {
	case wire.WhyRole:
		return author.role <= wire.RoleAdmin
	case wire.WhyOpen:
		// Somebody who was taken out comes back through an admin, not the open door.
		out := r.gone[op.target.device.User]
		removed := out != nil && out.op.Type == wire.OpRemove
		return r.policy(g) == wire.PolicyOpen && author.role <= wire.RoleMember && op.op.Role >= wire.RoleMember && !removed
	case wire.WhyInvite: // invites are a later step; until then they justify nothing
	}
	return false
}

func (r *roster) policy(g *identity.Genesis) wire.Policy {
	if p, ok := r.profile[wire.FieldPolicy]; ok {
		return p.profile.Policy
	}
	return g.Policy
}

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

func (r *roster) remove(user wire.UserID, by *item) {
	u := r.users[user]
	if u == nil || r.lastOwner(u) && by.op.Type == wire.OpRemove {
		return
	}
	for _, d := range u.devices {
		delete(r.devices, d)
	}
	delete(r.users, user)
	r.gone[user] = by
}

func (r *roster) dropDevice(d wire.DeviceID) {
	u := r.users[r.devices[d].device.User]
	u.devices = slices.DeleteFunc(slices.Clone(u.devices), func(x wire.DeviceID) bool { return x == d })
	delete(r.devices, d)
}

// deviceIDs lists the devices of the roster in ascending order.
func (r *roster) deviceIDs() []wire.DeviceID {
	return slices.SortedFunc(maps.Keys(r.devices), func(a, b wire.DeviceID) int { return bytes.Compare(a[:], b[:]) })
}
