package authority

import "github.com/pandanode/pandanode/node/wire"

// MayDelete says whether a record may take away a message of another user: by what stands,
// not by the past that it names. Its author was an owner or admin there, by the operations
// of that past that count, and not below the role of the other one; and nothing that stands
// beside it took that from its author, or made the other an owner. Otherwise an admin who
// left takes away years of messages, by a record of an old past. The author's own leave does
// not count where another member had the record before.
func (r *Resolver) MayDelete(to *Roster, rec Ref, of wire.UserID) bool {
	r.grow()
	l := r.logs[rec.Log]
	need := min(wire.RoleAdmin, r.roleIn(to, of, rec))
	for _, g := range to.authority.at(of) {
		if g.grants() && g.Role == wire.RoleOwner && r.concurrent(g.Ref, rec) {
			need = wire.RoleOwner
		}
	}
	if r.roleIn(to, l.User, rec) > need || !to.counted.has(l.Device) {
		return false
	}
	by := Op{Ref: rec, User: l.User, Device: l.Device, judgement: judgement{need: need}}
	hit := func(losses []*Op) bool {
		for _, q := range losses {
			if q.loss() && q.takes(&by) && r.concurrent(q.Ref, rec) && (q.User != l.User || !r.acknowledged(to, rec, l.User, q.Ref, nil)) {
				return true
			}
		}
		return false
	}
	return !hit(to.authority.at(l.User)) && !hit(to.revocations.at(l.Device))
}
