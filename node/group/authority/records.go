package authority

import "github.com/pandanode/pandanode/node/wire"

// Owed says whether a message is owed to the members. view is the roster of the record's
// past.
func (r *Resolver) Owed(to, view *Roster, rec Ref) bool {
	return r.Speaks(view, rec) && r.Stands(to, rec)
}

// Speaks says whether the author of a record was allowed to write to the group by the roster
// of the record's past.
func (r *Resolver) Speaks(view *Roster, rec Ref) bool {
	r.grow()
	l := r.logs[rec.Log]
	d, has := view.devices.get(l.Device)
	return has && d.User == l.User && view.roleOf(l.User) <= wire.RoleMember
}

// Stands says whether a record that its author was allowed to write is owed. The author is
// in; or, for every loss that ended its log or took its right to write, the loss has the
// record in its past, or another member had the record without knowing of the loss. So a
// message that a member acknowledged stays owed, whatever anybody dates back, and an author
// who is out can add no message that nobody had.
func (r *Resolver) Stands(to *Roster, rec Ref) bool {
	r.grow()
	l := r.logs[rec.Log]
	in := to.users.has(l.User)
	var against []Ref
	if !in || !to.devices.has(l.Device) {
		for _, q := range to.authority.at(l.User) {
			if q.ends(l.User, l.Device) && !r.knows(rec, q.Ref) {
				against = append(against, q.Ref)
			}
		}
		for _, q := range to.revocations.at(l.Device) {
			if !r.knows(rec, q.Ref) {
				against = append(against, q.Ref)
			}
		}
	}
	// A user or device that never came in is judged by the losses that made its addition
	// void, whatever it then wrote against itself.
	switch {
	case !in && (len(against) == 0 || len(to.additions.at(l.User)) == 0):
		lost := to.speaksAgainst(to.lost.at(l.User), l.Device, wire.OpAdd)
		if len(lost) == 0 {
			return false // no addition of it ever counted
		}
		against = append(against, lost...)
	case in && !to.counted.has(l.Device):
		lost := to.speaksAgainst(to.lostDevices.at(l.Device), l.Device, wire.OpDeviceAdd)
		if len(lost) == 0 {
			return false
		}
		against = append(against, lost...)
	}
	for _, q := range to.authority.at(l.User) {
		if q.Type == wire.OpRole && q.lowers && q.Role == wire.RoleReadOnly && r.concurrent(q.Ref, rec) {
			against = append(against, q.Ref)
		}
	}
	for _, q := range against {
		if !r.knows(q, rec) && !r.acknowledged(to, rec, l.User, q) {
			return false
		}
	}
	return true
}

// acknowledged says whether another member had a record before it knew of an entry that speaks
// against it.
func (r *Resolver) acknowledged(to *Roster, rec Ref, author wire.UserID, q Ref) bool {
	for u, logs := range r.byUser {
		if u == author || !r.memberIn(to, u, rec) {
			continue
		}
		for _, log := range logs {
			end := r.rightUntil(to, log, wire.RoleReadOnly, rec, r.history.Log(log).Len)
			from := max(r.firstWith(log, rec, end), r.logs[log].From+1)
			if from <= end && from < r.firstWith(log, q, end) {
				return true
			}
		}
	}
	return false
}

// speaksAgainst gives the entries that speak against an addition of a device, of this type, that
// is void: operations; or, if there are none, those by which it is not its author's word.
func (r *Roster) speaksAgainst(lost []*Op, device wire.DeviceID, addition wire.OpType) (out []Ref) {
	for _, q := range lost {
		out = append(out, q.Ref)
	}
	if x := r.disowned.at(device); x.Op != nil && x.Type == addition && len(out) == 0 {
		out = x.rivals
	}
	return out
}

// TurnedAway says whether a device is out though nobody took it out since its user came or
// was to come in: the addition of the user is void, or it came back without this device.
func (r *Resolver) TurnedAway(to *Roster, user wire.UserID, device wire.DeviceID) bool {
	disowned, gone := to.disowned.at(device), to.gone.at(user)
	voidSince := func(x *Op) bool { return x != nil && x.Type == wire.OpAdd && (gone == nil || r.knows(x.Ref, gone.Ref)) }
	switch {
	case to.devices.has(device) || to.revoked.has(device):
		return false
	case to.users.has(user):
		return to.dropped.has(device) || to.lostDevices.has(device) || disowned.Op != nil
	default:
		return voidSince(to.turned.at(user)) || voidSince(disowned.Op)
	}
}
