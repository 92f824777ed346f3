package authority

import (
	"iter"
	"slices"

	"github.com/pandanode/pandanode/node/wire"
)

// Roster is the result of resolving a set of entries: the members of the group, and which
// operations count. It never changes.
type Roster struct {
	users   table[wire.UserID, User]
	devices table[wire.DeviceID, Device]
	gone    table[wire.UserID, *Op]
	revoked table[wire.DeviceID, *Op]
	dropped table[wire.DeviceID, *Op] // devices that went with their users
	invites table[wire.InviteID, Invitation]
	asking  table[wire.UserID, Asking]
	profile table[field, []*Op] // of each field those that no other has in its past
	void    table[wire.EntryHash, Void]
	adopted table[wire.EntryHash, *Op]
	owners  int

	kept      []*Op
	cancelled []*Op

	counted     table[wire.DeviceID, []*Op] // devices that are or were in, and the additions of each that counted
	additions   table[wire.UserID, []*Op]   // that count, in order; of the founder nil comes first
	authority   table[wire.UserID, []*Op]   // grants and losses about a user that stand, in order
	revocations table[wire.DeviceID, []*Op] // that stand, in order
	lost        table[wire.UserID, []*Op]   // by user whose addition is void: the operations that speak against it

	turned      table[wire.UserID, *Op]         // by user the last addition that is void, and its loss is in lost
	lostDevices table[wire.DeviceID, []*Op]     // as lost, of devices that users added to their own
	disowned    table[wire.DeviceID, *disowned] // by device the last addition of it that is not its author's word

	disputed []Ref // see resolution.disputed

	asked []Ref // entries that the witnesses' answers depended on: the causally last of them
}

// disowned is an addition that is not its author's word, or whose author came in by such a one.
type disowned struct {
	*Op
	of     *Op       // that is not its author's word: the same, or the one that its author came in by
	rivals []Ref     // by which it is not, see resolution.rivals
	losses []*Op     // that would speak against it if it were
	before *disowned // the one before it of the same device; nil: none
}

// disown notes that an addition is void because it is not its author's word.
func (r *Roster) disown(x, of *Op, rivals []Ref, losses []*Op) {
	r.void = r.void.with(x.Hash, Void{Op: x})
	r.disowned = r.disowned.with(x.Subject, &disowned{x, of, rivals, losses, r.disowned.at(x.Subject)})
}

// all yields the additions of a device that are not their authors' word, the last one first.
func (d *disowned) all(yield func(*disowned) bool) {
	for ; d != nil && yield(d); d = d.before {
	}
}

// User is a member.
type User struct {
	ID      wire.UserID
	Role    wire.Role
	Since   *Op // the addition that brought it in; nil: the genesis
	Devices []wire.DeviceID
	grant   *Op // the last one; nil: the genesis
	added   int // devices since it came in
}

// Device is a device of a member.
type Device struct {
	ID   wire.DeviceID
	User wire.UserID
	By   *Op // that added it; nil: the genesis
}

// Void is a permitted operation that does not count.
type Void struct {
	Op *Op
	By *Op // a loss that speaks against it; nil: the user was in already, or the author lacked the authority
}

// Invitation is the state of an invite.
type Invitation struct {
	Issued  *Op                    // nil: no operation gave it out that counts
	Revoked *Op                    // nil: none revoked it
	void    *Op                    // that gave it out and does not count; nil: none
	uses    table[wire.Hash, *Op]  // the claims that let somebody in
	open    table[wire.Hash, Void] // the claims whose additions are void and whose users are not in
}

// Uses is how many claims to it let somebody in.
func (i Invitation) Uses() int { return i.uses.len() }

// User returns a member.
func (r *Roster) User(id wire.UserID) (User, bool) { return r.users.get(id) }

// Users are the members, in ascending order.
func (r *Roster) Users(yield func(User) bool) {
	r.users.all(func(_ wire.UserID, u User) bool { return yield(u) })
}

// Device gives a device of a member.
func (r *Roster) Device(id wire.DeviceID) (Device, bool) { return r.devices.get(id) }

// Devices are the devices of members, in ascending order.
func (r *Roster) Devices(yield func(Device) bool) {
	r.devices.all(func(_ wire.DeviceID, d Device) bool { return yield(d) })
}

// Size is how many users are in.
func (r *Roster) Size() int { return r.users.len() }

// NumDevices is how many devices are in.
func (r *Roster) NumDevices() int { return r.devices.len() }

// Gone returns the operation that took out a user who was in and is not any more.
func (r *Roster) Gone(id wire.UserID) *Op { return r.gone.at(id) }

// Revoked is the operation that revoked a device.
func (r *Roster) Revoked(id wire.DeviceID) *Op { return r.revoked.at(id) }

// Void yields the permitted operations that do not count.
func (r *Roster) Void(yield func(Void) bool) {
	r.void.all(func(_ wire.EntryHash, v Void) bool { return yield(v) })
}

// Counts says whether a permitted operation of the set counts. One that is not carried out
// so that the group keeps an owner does not count, and is not void either.
func (r *Roster) Counts(op *Op) bool {
	return op.permitted && !r.void.has(op.Hash) && !slices.Contains(r.kept, op)
}

// Voided says whether a permitted operation of the set is void, and by what.
func (r *Roster) Voided(op *Op) (by *Op, void bool) {
	v, void := r.void.get(op.Hash)
	return v.By, void
}

// Ends returns the operations by which a user or one of its devices is not in: those that
// took it out, and those that speak against an addition of it that is void. They tell a
// device how it came to be out.
func (r *Roster) Ends(user wire.UserID, device wire.DeviceID) (out []*Op) {
	if r.devices.has(device) {
		return nil
	}
	for _, op := range []*Op{r.gone.at(user), r.revoked.at(device), r.dropped.at(device)} {
		if op != nil && !slices.Contains(out, op) {
			out = append(out, op)
		}
	}
	return append(append(out, r.lost.at(user)...), r.lostDevices.at(device)...)
}

// Disowned yields the additions that are not their authors' word and by which a device came, or
// who let it in, the last one first, and the entries of the author's device by which each is not:
// none, if the device is in.
func (r *Roster) Disowned(device wire.DeviceID) iter.Seq2[*Op, []Ref] {
	return func(yield func(*Op, []Ref) bool) {
		if r.devices.has(device) {
			return
		}
		for d := range r.disowned.at(device).all {
			if !yield(d.of, d.rivals) {
				return
			}
		}
	}
}

// Disputed returns entries that the verdicts of this roster depend on beyond the pasts of
// its operations: whoever has one of them and is to come to the same verdicts needs the
// entries whose authors lacked it.
func (r *Roster) Disputed() []Ref { return r.disputed }

// Departures yields the operations that took users and devices out who are out still.
func (r *Roster) Departures(yield func(*Op) bool) {
	more := true
	r.gone.all(func(_ wire.UserID, by *Op) bool { more = yield(by); return more })
	if more {
		r.revoked.all(func(_ wire.DeviceID, by *Op) bool { return yield(by) })
	}
}

// Adopted says whether an addition counts only because a member who knew of nothing against
// it vouches for it.
func (r *Roster) Adopted(op *Op) bool { return r.adopted.has(op.Hash) }

// Cancelled returns the permitted removals of users that are void.
func (r *Roster) Cancelled() []*Op { return slices.Clone(r.cancelled) }

// Kept returns the losses that were not carried out, so that the group keeps an owner.
func (r *Roster) Kept() []*Op { return slices.Clone(r.kept) }

// Invitation returns the state of an invite.
func (r *Roster) Invitation(id wire.InviteID) Invitation { return r.invites.at(id) }

// OpenClaims yields the additions by invite that are void and whose users are not in. Such
// a claim is not used up: any member may serve it again.
func (r *Roster) OpenClaims(yield func(*Op) bool) {
	r.invites.all(func(_ wire.InviteID, i Invitation) bool {
		more := true
		i.open.all(func(_ wire.Hash, v Void) bool {
			if !r.users.has(v.Op.Target) {
				more = yield(v.Op)
			}
			return more
		})
		return more
	})
}

// Profile is the operation that a field of the profile is taken from; nil: the genesis.
func (r *Roster) Profile(f wire.ProfileField) *Op { return lastSet(r.profile.at(fieldKey(f))) }

// Profiles yields, of each field of the profile that is set, the operation that it is taken
// from, in ascending order of the fields.
func (r *Roster) Profiles(yield func(*Op) bool) { r.registers(false, yield) }

// Setting is the operation that a setting is taken from; nil: it was never set.
func (r *Roster) Setting(key string) *Op { return lastSet(r.profile.at(settingKey(key))) }

// Settings yields, of each setting that is set, the operation that it is taken from.
func (r *Roster) Settings(yield func(*Op) bool) { r.registers(true, yield) }

func (r *Roster) registers(settings bool, yield func(*Op) bool) {
	r.profile.all(func(_ field, tops []*Op) bool {
		op := lastSet(tops)
		return (op.Type == wire.OpSetting) != settings || yield(op)
	})
}

// RoleBy is the operation that gave a member its role since it came in; nil: none did.
func (u User) RoleBy() *Op {
	if u.grant == nil || u.grant.Type != wire.OpRole {
		return nil
	}
	return u.grant
}

// founded returns the roster of a group without operations.
func founded(g Genesis) *Roster {
	r := &Roster{owners: 1}
	r.users = r.users.with(g.Founder, User{ID: g.Founder, Role: wire.RoleOwner, Devices: []wire.DeviceID{g.Device}})
	r.devices = r.devices.with(g.Device, Device{ID: g.Device, User: g.Founder})
	r.counted = r.counted.with(g.Device, nil)
	r.additions = r.additions.with(g.Founder, []*Op{nil})
	return r
}

// setUser replaces or brings in a user, and counts owners.
func (r *Roster) setUser(u User) {
	if old, ok := r.users.get(u.ID); ok && old.Role == wire.RoleOwner {
		r.owners--
	}
	if u.Role == wire.RoleOwner {
		r.owners++
	}
	r.users = r.users.with(u.ID, u)
}

// countIn notes that an addition of a device counts.
func (r *Roster) countIn(x *Op) {
	r.counted = r.counted.with(x.Subject, append(slices.Clip(r.counted.at(x.Subject)), x))
}

// takeOut carries out a removal or leave.
func (r *Roster) takeOut(id wire.UserID, by *Op) {
	u, ok := r.users.get(id)
	if !ok {
		return
	}
	for _, d := range u.Devices {
		r.devices = r.devices.without(d)
		r.dropped = r.dropped.with(d, by)
	}
	if u.Role == wire.RoleOwner {
		r.owners--
	}
	r.users = r.users.without(id)
	r.gone = r.gone.with(id, by)
}

// revoke carries out the revocation of a device.
func (r *Roster) revoke(by *Op) {
	d, ok := r.devices.get(by.Subject)
	if !ok {
		return
	}
	r.devices = r.devices.without(d.ID)
	r.revoked = r.revoked.with(d.ID, by)
	u := r.users.at(d.User)
	u.Devices = slices.DeleteFunc(slices.Clone(u.Devices), func(x wire.DeviceID) bool { return x == d.ID })
	r.users = r.users.with(u.ID, u)
}

// bringIn gives a user a device.
func (r *Roster) bringIn(u User, by *Op) {
	if !slices.Contains(u.Devices, by.Subject) {
		u.Devices = append(slices.Clone(u.Devices), by.Subject)
		u.added++
	}
	r.setUser(u)
	r.devices = r.devices.with(by.Subject, Device{ID: by.Subject, User: u.ID, By: by})
	r.revoked = r.revoked.without(by.Subject)
	r.dropped = r.dropped.without(by.Subject)
}

// fullFor says whether a user may have no further device, that the operation adds. Additions
// that did not know of each other are permitted, each by itself.
func (r *Roster) fullFor(x *Op) bool {
	if x.Type != wire.OpDeviceAdd {
		return false
	}
	u, in := r.users.get(x.User)
	return in && u.full() && !r.devices.has(x.Subject)
}

// full says whether a user may add no further device.
func (u User) full() bool { return len(u.Devices) >= MaxDevices || u.added >= MaxDevicesIn }

// noteStanding keeps a loss or grant that stands, by whom it is about.
func (r *Roster) noteStanding(op *Op) {
	if op.closes() {
		return
	}
	if u, ok := op.whom(); ok {
		r.authority = r.authority.with(u, append(slices.Clip(r.authority.at(u)), op))
	} else {
		r.revocations = r.revocations.with(op.Subject, append(slices.Clip(r.revocations.at(op.Subject)), op))
	}
}
