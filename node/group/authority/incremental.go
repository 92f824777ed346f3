package authority

import (
	"encoding/binary"
	"iter"
	"slices"
	"sort"

	"github.com/pandanode/pandanode/node/wire"
)

// An operation that has all others in its past is concurrent to none: no loss hits it and
// it hits nothing, so it is applied on top of the current roster. This is the usual case,
// and its cost does not grow with the group. The roster of the operation's own past is then
// the current roster too.
//
// Any new entry may be a witness and change an answer. But an entry that has in its past
// all entries that were asked about (Roster.asked) knew both sides, and is no witness for
// either. So two sets of entries give the same answers if they hold the same operations and
// differ only in such entries. Everything else is resolved from scratch.

// maxKept bounds the kept rosters of pasts, in operations: a roster that is resolved from
// scratch shares nothing with others.
const maxKept = 50_000

// view is a roster of the entries up to a place in each log.
type view struct {
	roster *Roster
	upTo   []uint64 // nil: as in the past of an operation, itself included
	of     Ref      // that operation
	weight int
}

// end gives the last sequence number of a log in a view.
func (r *Resolver) end(v view, log int) uint64 {
	switch {
	case v.upTo == nil:
		return r.history.Seen(v.of, log)
	case log < len(v.upTo):
		return v.upTo[log]
	}
	return 0
}

// Add adds an operation that is in the history by now, judges it in its own past, and
// returns it. All operations in its past must have been added before.
func (r *Resolver) Add(op Op) *Op {
	r.grow()
	x := &op
	past := r.viewAt(x.Ref)
	x.judgement = r.judge(past, x)
	if !x.permitted {
		r.note(x.Ref)
		return x
	}
	r.insert(x)
	if past.needsAll(x) {
		r.current = nil
	} else {
		after := past.after(r, x)
		r.extend(x, after, past)
		v := view{roster: after, of: x.Ref, weight: 8}
		r.keep(headsKey([]*Op{x}), v)
		r.keepMilestone(milestone{x, v})
	}
	return x
}

// AddJudged is Add for an operation that was judged before: its past is not looked at, and the
// roster of all operations is resolved when somebody asks.
func (r *Resolver) AddJudged(op Op, v Verdict) *Op {
	r.grow()
	j, ok := r.judgementOf(v)
	if !ok {
		return r.Add(op)
	}
	x := &op
	x.judgement = j
	if !x.permitted {
		r.note(x.Ref)
		return x
	}
	r.current = nil
	r.insert(x)
	return x
}

// insert puts an operation in its place in the order, and among the heads.
func (r *Resolver) insert(x *Op) {
	r.heads = append(slices.DeleteFunc(r.heads, func(y *Op) bool { return r.knows(x.Ref, y.Ref) }), x)
	r.byHash[x.Hash] = x
	if len(r.ofLog[x.Log]) == 0 {
		r.writers = append(r.writers, x.Log)
	}
	r.ofLog[x.Log] = append(r.ofLog[x.Log], x)
	n := len(r.ops)
	r.ops = append(r.ops, x)
	for ; n > 0 && r.ops[n-1].compare(x) > 0; n-- {
		r.ops[n] = r.ops[n-1]
	}
	r.ops[n] = x
	if x.Type == wire.OpAdd || x.Type == wire.OpDeviceAdd {
		r.begins[wire.LogID{Device: x.Subject, Incarnation: wire.FirstIncarnation(x.Hash)}] = true
	}
}

// Note adds an entry of the history that is no operation.
func (r *Resolver) Note(e Ref) {
	r.grow()
	r.note(e)
}

func (r *Resolver) note(e Ref) {
	if r.current != nil && !r.changesNoAnswer(r.current, e) {
		r.current = nil
	}
}

// Resolves says how often a set was resolved from scratch.
func (r *Resolver) Resolves() int { return r.scratch }

// Recount says that the set of counting entries has changed: there is new evidence against
// a log, or an entry now names one of such a log.
func (r *Resolver) Recount() {
	r.grow()
	r.current, r.recounted = nil, true
}

// Roster returns the roster of all entries that count.
func (r *Resolver) Roster() *Roster {
	r.grow()
	if r.current == nil {
		upTo := r.all()
		v := r.viewOf(upTo)
		r.current = v.roster
		r.keep(headsKey(r.headsOf(upTo)), v)
	}
	return r.current
}

// At returns the roster of an entry's past, without the entry.
func (r *Resolver) At(e Ref) *Roster {
	r.grow()
	return r.viewAt(e)
}

// extend brings the current roster up to date with a new operation, or drops it.
func (r *Resolver) extend(x *Op, after, past *Roster) {
	to := r.current
	if to == nil {
		return
	}
	r.current = nil
	if x.Seq > r.history.Log(x.Log).Len || slices.ContainsFunc(r.heads, func(y *Op) bool { return !r.knows(x.Ref, y.Ref) }) ||
		!r.changesNoAnswer(to, x.Ref) || to.needsAll(x) || !r.restChangesNoAnswer(to, x.Ref) {
		return
	}
	if to == past {
		r.current = after
	} else {
		r.current = to.after(r, x)
	}
}

// needsAll says whether an operation cannot be carried out on top of a roster though it knows
// all: it rests on who served it, which a vote may have brought in, or it may be why a loss is
// not carried out so that the group keeps an owner.
func (to *Roster) needsAll(x *Op) bool {
	return x.clerk() && x.grants() || len(to.kept) > 0 && (x.loss() || x.grants())
}

// changesNoAnswer says whether an entry cannot change the answers that a roster depends on:
// it knew all entries that were asked about, and the operations in the other logs of its
// device.
func (r *Resolver) changesNoAnswer(to *Roster, e Ref) bool {
	if slices.ContainsFunc(to.asked, func(a Ref) bool { return !r.knows(e, a) }) {
		return false
	}
	device := r.logs[e.Log].Device
	for _, log := range r.byDevice[device] {
		if ops := r.ofLog[log]; log != e.Log && len(ops) > 0 && !r.knows(e, ops[len(ops)-1].Ref) {
			return false
		}
	}
	return len(to.asked) == 0 || !r.begins[r.logs[e.Log].LogID] || len(r.byDevice[device]) == 1
}

// restChangesNoAnswer says the same of all entries that are not in the past of one.
func (r *Resolver) restChangesNoAnswer(to *Roster, x Ref) bool {
	rest := r.byDevice[r.logs[x.Log].Device]
	if len(to.asked) > 0 {
		rest = nil
		for log := range r.logs {
			rest = append(rest, log)
		}
	}
	for _, log := range rest {
		next := Ref{log, max(r.history.Seen(x, log), r.logs[log].From) + 1}
		if next.Seq <= r.history.Log(log).Len && (!r.changesNoAnswer(to, next) || r.logs[log].Device == r.logs[x.Log].Device) {
			return false
		}
	}
	return true
}

// viewAt gives the roster of an entry's past.
func (r *Resolver) viewAt(e Ref) *Roster {
	if r.current != nil && r.knowsAll(e) {
		return r.current
	}
	upTo := r.before(e)
	heads := r.headsOf(upTo)
	key := headsKey(heads)
	if v, ok := r.views[key]; ok && r.sameAnswers(v, upTo) {
		return v.roster
	}
	v := r.viewOf(upTo)
	r.keep(key, v)
	return v.roster
}

// knowsAll says whether the roster of an entry's past is the current one: it has all operations
// in its past, and the entries that it lacks change no answer.
func (r *Resolver) knowsAll(e Ref) bool {
	if r.recounted || slices.ContainsFunc(r.heads, func(y *Op) bool { return y.Ref == e || !r.knows(e, y.Ref) }) {
		return false
	}
	for _, log := range r.asked(r.current) {
		seen := r.history.Seen(e, log)
		if log == e.Log {
			seen--
		}
		if seen < r.history.Log(log).Len && !r.changesNoAnswer(r.current, Ref{log, max(seen, r.logs[log].From) + 1}) {
			return false
		}
	}
	return true
}

// asked gives the logs whose entries may change an answer that a roster rests on.
func (r *Resolver) asked(to *Roster) iter.Seq2[int, int] {
	if len(to.asked) == 0 {
		return slices.All(r.several)
	}
	return func(yield func(int, int) bool) {
		for log := range r.logs {
			if !yield(log, log) {
				return
			}
		}
	}
}

// viewOf resolves the entries up to a place in each log.
func (r *Resolver) viewOf(upTo []uint64) view {
	weight := 8 + len(upTo)/8
	if to := r.sinceMilestone(upTo); to != nil {
		return view{roster: to, upTo: upTo, weight: weight}
	}
	r.scratch++
	return view{roster: r.resolve(upTo), upTo: upTo, weight: weight + len(r.ops)}
}

// sameAnswers says whether the entries between a view and other places in the logs change no
// answer that it rests on. So it is the view at those places, too, if there are no operations
// between.
func (r *Resolver) sameAnswers(v view, upTo []uint64) bool {
	for _, log := range r.asked(v.roster) {
		at, to := r.end(v, log), upTo[log]
		if at == to {
			continue
		}
		// Of consecutive entries the first one knows least.
		if next := (Ref{log, max(min(at, to), r.logs[log].From) + 1}); !r.changesNoAnswer(v.roster, next) {
			return false
		}
	}
	return true
}

// headsOf gives, of the operations up to a place in each log, those that are in no other's
// past.
func (r *Resolver) headsOf(upTo []uint64) []*Op {
	var heads []*Op
	take := func(x *Op) {
		if !slices.ContainsFunc(heads, func(y *Op) bool { return r.knows(y.Ref, x.Ref) }) {
			heads = append(slices.DeleteFunc(heads, func(y *Op) bool { return r.knows(x.Ref, y.Ref) }), x)
		}
	}
	for _, x := range r.heads { // they know most of the others
		if x.Seq <= upTo[x.Log] {
			take(x)
		}
	}
	for _, log := range r.writers {
		ops := r.ofLog[log]
		if n := sort.Search(len(ops), func(i int) bool { return ops[i].Seq > upTo[log] }); n > 0 {
			take(ops[n-1])
		}
	}
	slices.SortFunc(heads, func(a, b *Op) int { return b.compare(a) })
	return heads
}

func headsKey(heads []*Op) string {
	b := make([]byte, 0, 32*len(heads))
	for _, x := range heads {
		b = append(b, x.Hash[:]...)
	}
	return string(binary.BigEndian.AppendUint32(b, uint32(len(heads)))) //nolint:gosec // not so many
}

// keep keeps a view in the place of the oldest.
func (r *Resolver) keep(key string, v view) {
	if old, ok := r.views[key]; ok {
		r.weight -= old.weight
	} else {
		r.keys = append(r.keys, key)
	}
	r.views[key] = v
	r.weight += v.weight
	for r.weight > maxKept && len(r.keys) > 1 {
		r.weight -= r.views[r.keys[0]].weight
		delete(r.views, r.keys[0])
		r.keys = r.keys[1:]
	}
}

// after returns the roster after an operation whose past holds all operations of this one.
func (to *Roster) after(r *Resolver, x *Op) *Roster {
	next := *to
	s := &resolution{Resolver: r, losses: newLossIndex(), stand: map[*Op]bool{}, restsOf: map[*Op][]*Op{}, asked: map[Ref]bool{}}
	if (x.loss() || x.grants()) && (x.need > wire.RoleAdmin || r.roleBy(to.authority.at(x.User), x.User, x) <= x.need) {
		s.stand[x] = true
		next.noteStanding(x)
	}
	s.apply(&next, x)
	return &next
}
