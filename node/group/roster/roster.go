package roster

import (
	"iter"
	"slices"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group/authority"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// Bounds of requests to be let in.
const (
	MaxRequests = authority.MaxRequests
	RequestFor  = authority.RequestFor
	DenialFor   = authority.DenialFor
)

// Roster is who is in the group by a set of entries. It never changes.
type Roster struct {
	s  *Resolver
	by *authority.Roster
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

// Invite is the state of one invite.
type Invite struct {
	Revoked *dag.Item // that revoked it; nil: none did
	Uses    int       // claims that let somebody in
}

// Request is a user who asked to be let in.
type Request struct {
	By     *dag.Item // the newest request
	Denied *dag.Item // nil: nobody turned it down
	asking authority.Asking
}

// Open says whether the request waits for an admin, as of an entry's clock.
func (a *Request) Open(at crdt.HLC) bool { return a.asking.Open(at) }

func hlc(ms uint64) crdt.HLC { return crdt.HLC(ms) }

// item gives the entry of an operation; nil of nil.
func (r *Roster) item(op *authority.Op) *dag.Item {
	if op == nil {
		return nil
	}
	return r.s.logs.Items.At(op.Hash)
}

func (r *Roster) items(ops []*authority.Op) []*dag.Item {
	out := make([]*dag.Item, len(ops))
	for i, op := range ops {
		out[i] = r.item(op)
	}
	return out
}

// Size is how many users are in.
func (r *Roster) Size() int { return r.by.Size() }

// NumDevices is how many devices are in.
func (r *Roster) NumDevices() int { return r.by.NumDevices() }

// Has says whether a device is in.
func (r *Roster) Has(d wire.DeviceID) bool {
	_, has := r.by.Device(d)
	return has
}

// HasUser says whether a user is in.
func (r *Roster) HasUser(id wire.UserID) bool {
	_, in := r.by.User(id)
	return in
}

// User gives a user who is in; nil: it is not.
func (r *Roster) User(id wire.UserID) *User {
	u, in := r.by.User(id)
	if !in {
		return nil
	}
	return r.user(u)
}

func (r *Roster) user(u authority.User) *User {
	return &User{ID: u.ID, Role: u.Role, Since: r.item(u.Since), RoleBy: r.item(u.RoleBy()), Devices: u.Devices}
}

// Users are the users who are in, in ascending order.
func (r *Roster) Users() iter.Seq[*User] {
	return func(yield func(*User) bool) {
		r.by.Users(func(u authority.User) bool { return yield(r.user(u)) })
	}
}

// Device gives a device that is in; nil: it is not.
func (r *Roster) Device(id wire.DeviceID) *Device {
	d, in := r.by.Device(id)
	switch {
	case !in:
		return nil
	case d.By == nil:
		return &Device{Device: r.s.genesis.Device}
	}
	by := r.item(d.By)
	return &Device{Device: by.Target.Device, KeyPackage: by.Op.KeyPackage, By: by}
}

// Devices are the devices that are in, in ascending order.
func (r *Roster) Devices() iter.Seq[wire.DeviceID] {
	return func(yield func(wire.DeviceID) bool) {
		r.by.Devices(func(d authority.Device) bool { return yield(d.ID) })
	}
}

// DeviceIDs lists them.
func (r *Roster) DeviceIDs() []wire.DeviceID {
	return slices.AppendSeq(make([]wire.DeviceID, 0, r.NumDevices()), r.Devices())
}

// Gone gives the operation that took out a user who was in and is not; nil: none did.
func (r *Roster) Gone(id wire.UserID) *dag.Item { return r.item(r.by.Gone(id)) }

// Revoked gives the operation that revoked a device; nil: none did.
func (r *Roster) Revoked(id wire.DeviceID) *dag.Item { return r.item(r.by.Revoked(id)) }

// Departures are the operations by which users and devices are out.
func (r *Roster) Departures() iter.Seq[*dag.Item] {
	return func(yield func(*dag.Item) bool) {
		r.by.Departures(func(op *authority.Op) bool { return yield(r.item(op)) })
	}
}

// For says which entries a device that is out may have that has those of a vector: all by
// which it is out, with their pasts, so that it knows; those whose authors knew none of
// these, for whom it was in; and where operations that it has are disputed, those whose
// authors lacked them, or it would come to a verdict of its own. Of each operation by which
// it is out it has the first entry of another user that knew it, so that the operation counts
// also where there is evidence against its author's log. Of a device whose addition was not its
// author's word: see forDisowned.
func (r *Roster) For(d *identity.Device, has dag.Vector) func(*dag.Item) bool {
	ends, disowned := r.items(r.by.Ends(d.User, d.ID)), r.forDisowned(d.ID)
	if len(ends) == 0 {
		return disowned
	}
	for _, end := range ends {
		has = has.Join(end)
	}
	var disputed []*dag.Item
	for _, e := range r.by.Disputed() {
		if it := r.s.logs.Lists[e.Log].At(e.Seq); has.Has(it) {
			disputed = append(disputed, it)
		}
	}
	for _, end := range ends {
		if heard := r.s.logs.HeardOf(end); heard != nil {
			ends = append(ends, heard)
		}
	}
	in := r.s.logs.InPast
	return func(it *dag.Item) bool {
		return slices.ContainsFunc(ends, func(end *dag.Item) bool { return in(it, end) }) ||
			!slices.ContainsFunc(ends, func(end *dag.Item) bool { return in(end, it) }) ||
			slices.ContainsFunc(disputed, func(x *dag.Item) bool { return !in(x, it) }) || disowned(it)
	}
}

// forDisowned says which entries a device may have whose addition was not its author's word, or
// was made by somebody who came by such a one: that by which it was not and, of each log, the first
// entry that knew this and not the addition; and what took somebody out who had known the addition
// first; each with its past. It is no more than the addition's author knew, but for these entries:
// else somebody who is out would let a stranger read the group's logs.
func (r *Roster) forDisowned(id wire.DeviceID) func(*dag.Item) bool {
	logs := r.s.logs
	var tells []*dag.Item
	knewFirst := map[wire.UserID]bool{}
	firstWithout := func(list *dag.LogList, known, unknown *dag.Item) *dag.Item {
		if knows := list.Since(known); len(knows) > 0 && !logs.InPast(unknown, knows[0]) {
			return knows[0]
		}
		return nil
	}
	for of, rivals := range r.by.Disowned(id) {
		addition := r.item(of)
		for _, e := range rivals {
			rival := logs.Lists[e.Log].At(e.Seq)
			tells = append(tells, rival)
			for _, list := range logs.Lists {
				if first := firstWithout(list, rival, addition); first != nil {
					tells = append(tells, first)
				}
				if first := firstWithout(list, addition, rival); first != nil {
					knewFirst[first.User] = true
				}
			}
		}
	}
	for end := range r.Departures() {
		if out, known := r.takesOut(end); known && knewFirst[out] {
			tells = append(tells, end)
		}
	}
	return func(it *dag.Item) bool {
		return slices.ContainsFunc(tells, func(e *dag.Item) bool { return logs.InPast(it, e) })
	}
}

// takesOut gives the user that an operation takes out, or of whom it takes out a device.
func (r *Roster) takesOut(it *dag.Item) (user wire.UserID, known bool) {
	switch {
	case it.Op.Type == wire.OpLeave:
		return it.User, true
	case it.Op.User != nil:
		return *it.Op.User, true
	case it.Op.Device != nil:
		if d := r.s.logs.Devices[*it.Op.Device]; d != nil {
			return d.User, true
		}
	}
	return user, false
}

// TurnedAway says whether a device is out though nobody took it out since its user came or
// was to come in: it may ask again.
func (r *Roster) TurnedAway(d *identity.Device) bool { return r.s.by.TurnedAway(r.by, d.User, d.ID) }

// Profile gives the operation whose register of a field holds; nil: the genesis.
func (r *Roster) Profile(f wire.ProfileField) *dag.Item { return r.item(r.by.Profile(f)) }

// Profiles are those of all fields that are set, in ascending order of the fields.
func (r *Roster) Profiles() iter.Seq[*dag.Item] {
	return func(yield func(*dag.Item) bool) {
		r.by.Profiles(func(op *authority.Op) bool { return yield(r.item(op)) })
	}
}

// Setting gives the value of a setting of the group; empty: it is not set.
func (r *Roster) Setting(key string) string {
	if op := r.item(r.by.Setting(key)); op != nil {
		return op.Op.Setting.Value
	}
	return ""
}

// Settings are the operations whose settings hold, those whose value is empty among them.
func (r *Roster) Settings() iter.Seq[*dag.Item] {
	return func(yield func(*dag.Item) bool) {
		r.by.Settings(func(op *authority.Op) bool { return yield(r.item(op)) })
	}
}

// Policy says who may come in.
func (r *Roster) Policy() wire.Policy {
	if p := r.Profile(wire.FieldPolicy); p != nil {
		return p.Profile.Policy
	}
	return r.s.genesis.Policy
}

// Cancelled lists removals that their authors could make and that are void.
func (r *Roster) Cancelled() []*dag.Item { return r.items(r.by.Cancelled()) }

// Counts says whether an operation of the set counts: neither is it void, nor does it stand
// in a log with evidence, where nobody named it.
func (r *Roster) Counts(it *dag.Item) bool {
	op := r.s.ops[it]
	return op != nil && r.s.logs.Counts(it) && r.by.Counts(op)
}

// Stands says whether a RECORD that its author could write is owed to the members.
func (r *Roster) Stands(it *dag.Item) bool { return r.s.by.Stands(r.by, ref(it)) }

// MayDelete says whether a RECORD may take away a message of another user, by what stands.
func (r *Roster) MayDelete(it *dag.Item, of wire.UserID) bool {
	return r.s.logs.Counts(it) && r.Stands(it) && r.s.by.MayDelete(r.by, ref(it), of)
}

// Invite gives the state of an invite; nil: no operation that counts is about it.
func (r *Roster) Invite(id wire.InviteID) *Invite {
	i := r.by.Invitation(id)
	if i.Issued == nil && i.Revoked == nil && i.Uses() == 0 {
		return nil
	}
	return &Invite{Revoked: r.item(i.Revoked), Uses: i.Uses()}
}

// Asking gives the request of a user who is not in; nil: there is none.
func (r *Roster) Asking(id wire.UserID) *Request {
	a, asks := r.by.Asking(id)
	if !asks {
		return nil
	}
	return &Request{By: r.item(a.By), Denied: r.item(a.Denied), asking: a}
}

// Requests are the users who asked to be let in and are not, in ascending order.
func (r *Roster) Requests() iter.Seq2[wire.UserID, *Request] {
	return func(yield func(wire.UserID, *Request) bool) {
		r.by.Requests(func(id wire.UserID, a authority.Asking) bool {
			return yield(id, &Request{By: r.item(a.By), Denied: r.item(a.Denied), asking: a})
		})
	}
}

// WasRemoved says whether somebody else took this user or device out.
func (r *Roster) WasRemoved(d *identity.Device) bool {
	out := r.by.Gone(d.User)
	return out != nil && out.Type == wire.OpRemove || r.by.Revoked(d.ID) != nil
}

// RemovedBy says whether an entry of a log takes somebody out.
func (r *Roster) RemovedBy(log wire.LogID) bool {
	for by := range r.Departures() {
		if by.Log == log {
			return true
		}
	}
	return false
}
