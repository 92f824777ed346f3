package authority

import (
	"cmp"
	"slices"

	"github.com/pandanode/pandanode/node/wire"
)

// add carries out an addition, unless it is void.
//
// The operations against an addition are its blockers: standing losses that hit it or what
// it rests on, losses that made its author's own addition void, and, for an addition by
// invite, losses of the signer's right to give it out. An addition with blockers counts
// nevertheless, with the role member at best, if a member adopts it (see adopted): serving
// an invite takes no authority, and any member who was there can vouch for the newcomer.
// Otherwise an admin could throw out everybody who came in through one member, by
// back-dating the removal of that member.
func (s *resolution) add(to *Roster, x *Op) {
	if ops := s.removals(x); len(ops) > 0 {
		s.turnAway(to, x, ops[0], s.concurrentLosses(x))
		return
	}
	isIn := s.isIn(to, x)
	blockers := s.blockers(to, x, isIn)
	need := wire.RoleMember
	sound := isIn && len(blockers) == 0
	switch {
	case x.Why == wire.WhyRole:
		need = wire.RoleAdmin
		sound = sound && s.mayStill(to, x)
	case x.Why == wire.WhyInvite && !s.inviteHolds(to, x):
		need, sound = wire.RoleAdmin, false
	}
	sound = sound && (x.Role > wire.RoleAdmin || s.stand[x])
	role := x.Role
	if !sound {
		if len(blockers) == 0 || !s.adopted(to, x, blockers, need) {
			if host := s.cameDisowned(to, x.Ref); host != nil && !isIn {
				to.disown(x, host.of, host.rivals, slices.Concat(host.losses, s.removals(x), s.blockers(to, x, true)))
				return
			}
			against := blockers
			if len(against) == 0 {
				against = s.concurrentLosses(x)
			}
			s.turnAway(to, x, earliest(blockers), against)
			return
		}
		role = max(role, wire.RoleMember)
		to.adopted = to.adopted.with(x.Hash, x)
	}
	s.letIn(to, x, role)
}

// letIn carries out an addition that counts. Of concurrent ones of one user the highest
// role counts.
func (s *resolution) letIn(to *Roster, x *Op, role wire.Role) {
	to.additions = to.additions.with(x.Target, append(slices.Clip(to.additions.at(x.Target)), x))
	if x.Why == wire.WhyInvite {
		i := to.invites.at(x.Invite.ID)
		i.uses, i.open = i.uses.with(x.Claim, x), i.open.without(x.Claim)
		to.invites = to.invites.with(x.Invite.ID, i)
	}
	u, in := to.users.get(x.Target)
	if in && !(role < u.Role && u.grant != nil && u.grant.Type == wire.OpAdd && s.concurrent(u.grant.Ref, x.Ref)) {
		to.void = to.void.with(x.Hash, Void{Op: x})
		return
	}
	if !in {
		u = User{ID: x.Target}
	}
	u.Role, u.Since, u.grant = role, x, x
	to.bringIn(u, x)
	to.countIn(x)
	to.gone = to.gone.without(x.Target)
	to.asking = to.asking.without(x.Target)
}

// turnAway notes that an addition is void, and keeps its claim open.
func (s *resolution) turnAway(to *Roster, x, by *Op, against []*Op) {
	to.void = to.void.with(x.Hash, Void{x, by})
	to.lost = to.lost.with(x.Target, against)
	to.turned = to.turned.with(x.Target, x)
	if x.Why == wire.WhyInvite {
		i := to.invites.at(x.Invite.ID)
		i.open = i.open.with(x.Claim, Void{x, by})
		to.invites = to.invites.with(x.Invite.ID, i)
	}
}

// removals returns standing removals of the user or device that an addition brings in, if
// they are concurrent to it: an addition counts only if it follows all of them.
func (s *resolution) removals(x *Op) (out []*Op) {
	for _, lists := range s.losses.lists(x.Target, x.Subject) {
		for _, l := range lists {
			for _, q := range s.concurrentIn(l.ops, l.log, x.Ref) {
				if q.Type == wire.OpRemove || q.Type == wire.OpDeviceRevoke {
					out = append(out, q)
					break
				}
			}
		}
	}
	slices.SortFunc(out, (*Op).compare)
	return out
}

// concurrentLosses returns, for each log, the first standing loss that is concurrent to an
// operation.
func (s *resolution) concurrentLosses(x *Op) (out []*Op) {
	for log, ops := range s.losses.byLog {
		if c := s.concurrentIn(ops, log, x.Ref); len(c) > 0 {
			out = append(out, c[0])
		}
	}
	slices.SortFunc(out, (*Op).compare)
	return out
}

// blockers returns the operations that speak against an addition.
func (s *resolution) blockers(to *Roster, x *Op, isIn bool) []*Op {
	out := s.hitting(s.losses, x)
	if !isIn {
		out = append(out, to.lost.at(x.User)...)
	}
	switch x.Why {
	case wire.WhyRole:
		out = append(out, s.undermining(s.losses, x)...)
	case wire.WhyInvite:
		out = append(append(out, s.shutting(s.losses, x)...), s.againstSigner(s.losses, x)...)
		if x.Role <= wire.RoleAdmin {
			out = append(out, s.undermining(s.losses, x)...)
		}
		if i := s.issue(x); i != nil && s.fails(to, i, x) {
			out = append(out, s.undermining(s.losses, i)...)
		}
	case wire.WhyOpen:
		out = append(out, s.shutting(s.losses, x)...)
	}
	slices.SortFunc(out, (*Op).compare)
	return slices.Compact(out)
}

// issue returns the operation that gave out the invite of an addition, or nil: the one that
// its author knew, or any. An addition that has all other operations in its past is applied
// without the list of invites: its invite holds.
func (s *resolution) issue(x *Op) *Op { return cmp.Or(x.issued, s.issued[x.Invite.ID]) }

// shutting returns, for each log, the first operation of an index that closes the way by
// which a concurrent addition lets somebody in.
func (s *resolution) shutting(ix *lossIndex, x *Op) []*Op {
	return s.firstOf(ix.ways(x)[0], x, func(q *Op) bool { return q.shuts(x) })
}

// againstSigner returns, for each log, the first loss that takes the right to give out
// invites from the signer of an addition's invite, and that is concurrent to the addition.
func (s *resolution) againstSigner(ix *lossIndex, x *Op) []*Op {
	return s.firstOf(ix.ways(x)[1], x, func(q *Op) bool { return q.takesFromSigner(x) })
}

// firstOf returns the first operation of each list that is concurrent to an operation and
// meets a condition. Of the operations of one log it has the least in its past.
func (s *resolution) firstOf(lists []lossesOfLog, x *Op, is func(*Op) bool) (out []*Op) {
	for _, l := range lists {
		ops := s.concurrentIn(l.ops, l.log, x.Ref)
		if i := slices.IndexFunc(ops, is); i >= 0 {
			out = append(out, ops[i])
		}
	}
	return out
}

// inviteHolds says whether the operation that gave out the invite of an addition counts, as
// far as losses go that did not know it.
func (s *resolution) inviteHolds(to *Roster, x *Op) bool {
	i := s.issue(x)
	if i != nil && s.fails(to, i, x) {
		return false
	}
	return !slices.ContainsFunc(s.againstSigner(s.losses, x), func(q *Op) bool { return i == nil || !s.knows(q.Ref, i.Ref) })
}

// fails says whether the operation that gave out the invite of an addition is void. It can
// be carried out after the addition, whose author need not know it and chooses its clock:
// then what stands beside it decides.
func (s *resolution) fails(to *Roster, i, x *Op) bool {
	return to.void.has(i.Hash) || x.compare(i) < 0 && (len(s.undermining(s.losses, i)) > 0 || !s.rooted(i))
}

// adopted says whether a member vouches for an addition. That member is neither the
// addition's author nor the newcomer, could have made the addition by what counts of its
// past, has it in the past of an entry that knows of no blocker, and had not lost that
// right by then.
func (s *resolution) adopted(to *Roster, x *Op, blockers []*Op, need wire.Role) bool {
	for _, q := range blockers {
		s.ask(x.Ref, q.Ref)
	}
	if s.base != nil {
		return false // it is resolved from scratch
	}
	for _, u := range s.authors { // in one order: what is asked until one is found is the same in each run
		if u != x.User && u != x.Target && s.roleIn(to, u, x.Ref) <= need && s.standsBy(to, s.byUser[u], x, blockers, need) {
			return true
		}
	}
	return false
}

func (s *resolution) standsBy(to *Roster, logs []int, x *Op, blockers []*Op, need wire.Role) bool {
	for _, log := range logs {
		end := s.rightUntil(to, log, need, x.Ref, s.upTo[log])
		from := max(s.firstWith(log, x.Ref, end), s.logs[log].From+1)
		if from > end {
			continue
		}
		for _, q := range blockers {
			end = min(end, s.firstWith(log, q.Ref, end)-1)
		}
		if from <= end && s.consistent(Ref{log, end}) {
			return true
		}
	}
	return false
}

// rightUntil returns the last entry of a log that is in the past of every standing loss
// that ends the log or lowers its user below a role. Losses do not matter that are over in
// an entry's past, of which the caller knows that the user has the role there.
func (r *Resolver) rightUntil(to *Roster, log int, need wire.Role, past Ref, end uint64) uint64 {
	l := r.logs[log]
	for _, q := range to.authority.at(l.User) {
		if q.loss() && (q.Type != wire.OpRole || q.Role > need) && !r.over(to, q, l.Device, past) {
			end = min(end, r.history.Seen(q.Ref, log))
		}
	}
	for _, q := range to.revocations.at(l.Device) {
		end = min(end, r.history.Seen(q.Ref, log))
	}
	return end
}

// over says whether an entry's past has a loss of a user and what made up for it: a device
// came in again, or it lost a role alone.
func (r *Resolver) over(to *Roster, q *Op, device wire.DeviceID, past Ref) bool {
	return r.knows(past, q.Ref) && (q.Type == wire.OpRole || slices.ContainsFunc(to.counted.at(device), func(y *Op) bool {
		return r.knows(past, y.Ref) && r.knows(y.Ref, q.Ref)
	}))
}

func earliest(ops []*Op) *Op {
	if len(ops) == 0 {
		return nil
	}
	return slices.MinFunc(ops, (*Op).compare)
}
