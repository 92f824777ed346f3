package group

import (
	"slices"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/roster"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// maxRosters bounds the rosters kept of entries' pasts; they can be made again.
const maxRosters = 64

// rosters resolves the roster of the set, and those of entries' pasts. It keeps both until
// an operation comes in or other entries count.
type rosters struct {
	roster.Resolver

	logs    *dag.Logs
	now     *roster.Roster            // of all operations that count
	stale   bool                      // now is older than the operations
	counted int                       // operations that now was resolved from
	past    map[string]*roster.Roster // by which of Logs.Ops they were resolved from
}

func newRosters(genesis *identity.Genesis, logs *dag.Logs) *rosters {
	return &rosters{Resolver: roster.Resolver{Genesis: genesis, InPast: logs.InPast}, logs: logs, stale: true, past: map[string]*roster.Roster{}}
}

// at is the roster as the author of an entry knew it: that of the operations in
// its past. Many entries know the same, so it is kept by which operations those are.
func (r *rosters) at(it *dag.Item) *roster.Roster {
	known := make([]byte, (len(r.logs.Ops)+7)/8)
	var ops []*dag.Item
	for i, op := range r.logs.Ops {
		if op != it && r.logs.InPast(op, it) {
			ops = append(ops, op)
			known[i/8] |= 1 << (i % 8)
		}
	}
	if !r.stale && len(ops) == len(r.logs.Ops) && len(ops) == r.counted {
		return r.now // it knew all that is known
	}
	if past := r.past[string(known)]; past != nil {
		return past
	}
	past := r.Resolve(ops)
	if len(r.past) >= maxRosters {
		clear(r.past)
	}
	r.past[string(known)] = past
	return past
}

// came notes an entry that came into the set.
func (r *rosters) came(it *dag.Item) {
	if it.Kind == wire.KindOp {
		clear(r.past) // also by one of a later program: it has a place in Logs.Ops
	}
	r.stale = r.stale || it.Op != nil
}

// recount notes that other entries count.
func (r *rosters) recount() {
	r.stale = true
	clear(r.past)
}

// refresh resolves the roster again, if there is a reason to; old is the one before.
func (r *rosters) refresh() (old *roster.Roster, changed bool) {
	if !r.stale {
		return r.now, false
	}
	old = r.now
	ops := slices.DeleteFunc(slices.Clone(r.logs.Ops), func(op *dag.Item) bool { return !r.logs.Counts(op) })
	r.now, r.counted, r.stale = r.Resolve(ops), len(ops), false
	return old, true
}
