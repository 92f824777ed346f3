package authority

import (
	"slices"

	"github.com/pandanode/pandanode/node/wire"
)

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
	var host *Op // who let the author in, by an addition that is void
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
		var lost []Ref
		if lost, host = r.speaksAgainst(to, rec, to.lost.at(l.User)); len(lost) == 0 {
			return false // no addition of it ever counted
		}
		against = append(against, lost...)
	case in && !to.counted.has(l.Device):
		var lost []Ref
		if lost, host = r.speaksAgainst(to, rec, to.lostDevices.at(l.Device)); len(lost) == 0 {
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
		if !r.knows(q, rec) && !r.acknowledged(to, rec, l.User, q, host) {
			return false
		}
	}
	return true
}

// acknowledged says whether another member had a record before it knew of an entry that speaks
// against it. The one that let the record's author in, by the void addition host, has to have kept
// the right to do so: or it would speak by its guests.
func (r *Resolver) acknowledged(to *Roster, rec Ref, author wire.UserID, q Ref, host *Op) bool {
	for u, logs := range r.byUser {
		if u == author || !r.memberIn(to, u, rec) {
			continue
		}
		need := wire.RoleReadOnly
		if host != nil && u == host.User {
			need = host.need
		}
		for _, log := range logs {
			end := r.rightUntil(to, log, need, rec, r.history.Log(log).Len)
			from := max(r.firstWith(log, rec, end), r.logs[log].From+1)
			if from <= end && from < r.firstWith(log, q, end) {
				return true
			}
		}
	}
	return false
}

// speaksAgainst gives what speaks against the void addition by which a record's author came, and
// that addition: operations, and the entries by which it is not its author's word.
func (r *Resolver) speaksAgainst(to *Roster, rec Ref, lost []*Op) (against []Ref, host *Op) {
	host = to.inVain(r.logs[rec.Log].User)
	if x := r.cameDisowned(to, rec); x != nil {
		against, lost, host = slices.Clone(x.rivals), x.losses, x.Op
	}
	for _, q := range lost {
		against = append(against, q.Ref)
	}
	return against, host
}

// cameDisowned gives the addition by which an entry's author came, if that is not its author's
// word: the last such addition of the device that the entry knows, unless it knows a later one of
// the user that is void otherwise; nil: there is none.
func (r *Resolver) cameDisowned(to *Roster, e Ref) *disowned {
	l := r.logs[e.Log]
	for x := range to.disowned.at(l.Device).all {
		if !r.knows(e, x.Ref) {
			continue
		}
		if turned := to.inVain(l.User); turned != nil && r.knows(e, turned.Ref) && x.compare(turned) < 0 {
			return nil
		}
		return x
	}
	return nil
}

// inVain gives the last void addition of a user who is not in, but for those that are not their
// authors' word; nil: there is none.
func (r *Roster) inVain(user wire.UserID) *Op {
	if r.users.has(user) {
		return nil
	}
	return r.turned.at(user)
}

// TurnedAway says whether a device is out though nobody took it out since its user came or
// was to come in: the addition of the user is void, or it came back without this device.
func (r *Resolver) TurnedAway(to *Roster, user wire.UserID, device wire.DeviceID) bool {
	gone := to.gone.at(user)
	since := func(x *Op) bool { return gone == nil || r.knows(x.Ref, gone.Ref) }
	switch {
	case to.devices.has(device) || to.revoked.has(device):
		return false
	case to.users.has(user):
		return to.dropped.has(device) || to.lostDevices.has(device) || to.disowned.has(device)
	default:
		for x := range to.disowned.at(device).all {
			if since(x.Op) {
				return true
			}
		}
		x := to.turned.at(user)
		return x != nil && since(x)
	}
}
