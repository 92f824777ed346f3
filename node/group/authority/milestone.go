package authority

import (
	"slices"
	"sort"

	"github.com/pandanode/pandanode/node/wire"
)

// A milestone is an operation that all operations which are not in its past know. No loss on one
// side of a milestone is concurrent to anything on the other side. So the decisions up to a
// milestone stay, and a roster is resolved on top of its own: the cost is that of the operations
// since, which are few where people act beside each other, and not that of all.
//
// Witnesses of a conflict are looked for in all logs. Where one is asked about operations since
// the milestone, the roster is resolved from scratch.

// maxMilestones bounds those that are kept. Old ones are kept thinly: somebody who was away for
// a while writes beside what came since.
const maxMilestones = 64

// milestone is an operation with the roster of its past and itself.
type milestone struct {
	*Op
	view
}

// keepMilestone keeps the newest milestone.
func (r *Resolver) keepMilestone(m milestone) {
	if r.milestones = append(r.milestones, m); len(r.milestones) <= maxMilestones {
		return
	}
	thinned := r.milestones[:0]
	for i, old := range r.milestones {
		if i%2 == 0 || i >= maxMilestones/2 {
			thinned = append(thinned, old)
		}
	}
	clear(r.milestones[len(thinned):])
	r.milestones = thinned
}

// sinceMilestone resolves the roster of the entries up to a place in each log on top of the newest
// milestone in them. nil: it has to be resolved from scratch.
func (r *Resolver) sinceMilestone(upTo []uint64) *Roster {
	for _, m := range slices.Backward(r.milestones) {
		if since, ok := r.since(m, upTo); ok {
			return r.resolveSince(m.roster, since)
		}
	}
	return nil
}

// since gives the operations up to a place in each log that are not in the past of a milestone, in
// order, if it is one for these entries and no other entry changes an answer that it rests on.
func (r *Resolver) since(m milestone, upTo []uint64) (ops []*Op, ok bool) {
	if m.Seq > upTo[m.Log] {
		return nil, false
	}
	for _, log := range r.writers {
		from := r.history.Seen(m.Ref, log)
		own := r.opsBetween(log, from, upTo[log])
		if from > upTo[log] || len(own) > 0 && !r.knows(own[0].Ref, m.Ref) {
			return nil, false
		}
		ops = append(ops, own...)
	}
	if !r.sameAnswers(m.view, upTo) {
		return nil, false
	}
	slices.SortFunc(ops, (*Op).compare)
	return ops, true
}

// opsBetween gives the operations of a log behind a place, up to another.
func (r *Resolver) opsBetween(log int, from, to uint64) []*Op {
	ops := r.ofLog[log]
	i := sort.Search(len(ops), func(i int) bool { return ops[i].Seq > from })
	n := sort.Search(len(ops)-i, func(n int) bool { return ops[i+n].Seq > to })
	return ops[i : i+n]
}

// resolveSince carries out the operations since a milestone on top of its roster. nil: a witness has
// to be asked, or the group could lose its last owner.
func (r *Resolver) resolveSince(base *Roster, ops []*Op) *Roster {
	s := &resolution{
		Resolver: r, base: base, first: &witnesses{},
		restsOf: map[*Op][]*Op{}, issued: map[wire.InviteID]*Op{}, asked: map[Ref]bool{},
	}
	for _, x := range ops {
		if base.needsAll(x) {
			return nil
		}
		if x.Type == wire.OpInvite && s.issued[x.Invite.ID] == nil {
			s.issued[x.Invite.ID] = x
		}
	}
	to := s.carryOut(ops, s.standing(ops))
	if len(s.asked) > 0 || s.lastOwner(to) != nil || to.owners == 0 && to.users.len() > 0 {
		return nil
	}
	to.disputed = append(slices.Clip(base.disputed), s.disputed(ops)...)
	return to
}
