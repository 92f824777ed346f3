package group

import (
	"slices"

	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// maxRosters bounds the rosters kept of entries' pasts; they can be made again.
const maxRosters = 64

// rosters resolves the roster of the set, and those of entries' pasts. It keeps both until
// an operation comes in or other entries count.
type rosters struct {
	resolver

	logs    *logs
	now     *roster            // of all operations that count
	stale   bool               // now is older than the operations
	counted int                // operations that now was resolved from
	past    map[string]*roster // by which of logs.ops they were resolved from
}

func newRosters(genesis *identity.Genesis, logs *logs) *rosters {
	return &rosters{resolver: resolver{genesis: genesis, inPast: logs.inPast}, logs: logs, stale: true, past: map[string]*roster{}}
}

// at is the roster as the author of an entry knew it: that of the operations in
// its past. Many entries know the same, so it is kept by which operations those are.
func (r *rosters) at(it *item) *roster {
	known := make([]byte, (len(r.logs.ops)+7)/8)
	var ops []*item
	for i, op := range r.logs.ops {
		if op != it && r.logs.inPast(op, it) {
			ops = append(ops, op)
			known[i/8] |= 1 << (i % 8)
		}
	}
	if !r.stale && len(ops) == len(r.logs.ops) && len(ops) == r.counted {
		return r.now // it knew all that is known
	}
	if past := r.past[string(known)]; past != nil {
		return past
	}
	past := r.resolve(ops)
	if len(r.past) >= maxRosters {
		clear(r.past)
	}
	r.past[string(known)] = past
	return past
}

// came notes an entry that came into the set.
func (r *rosters) came(it *item) {
	if it.kind == wire.KindOp {
		clear(r.past) // also by one of a later program: it has a place in logs.ops
	}
	r.stale = r.stale || it.op != nil
}

// recount notes that other entries count.
func (r *rosters) recount() {
	r.stale = true
	clear(r.past)
}

// refresh resolves the roster again, if there is a reason to; old is the one before.
func (r *rosters) refresh() (old *roster, changed bool) {
	if !r.stale {
		return r.now, false
	}
	old = r.now
	ops := slices.DeleteFunc(slices.Clone(r.logs.ops), func(op *item) bool { return !r.logs.counts(op) })
	r.now, r.counted, r.stale = r.resolve(ops), len(ops), false
	return old, true
}
