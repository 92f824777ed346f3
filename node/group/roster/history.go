package roster

import (
	"sort"

	"github.com/pandanode/pandanode/node/wire"
)

// History is the set of entries that a roster is resolved from: hash-linked logs, and
// for each entry its causal past as a version vector. A log whose device signed two
// entries with one sequence number is one log for each branch.
//
// The set only grows, in causal order. It says nothing of what entries hold: the
// resolver is given operations by [Resolver.Add], and of all other entries it asks only
// what their authors knew.
type History interface {
	// Logs is how many logs there are. They are numbered from 0 by order of arrival:
	// nothing that the resolver decides depends on these numbers.
	Logs() int
	// Log describes one. User and LogID never change, Len only rises.
	Log(i int) Log
	// Seen is up to which sequence number a log lies in the causal past of an entry, the
	// entry itself included; 0: nothing of it.
	Seen(e Ref, log int) uint64
}

// Log is a log of a [History], or one branch of it.
type Log struct {
	wire.LogID
	User wire.UserID // of the device, by its certificate
	From uint64      // of a branch: the last sequence number that it shares with an earlier one
	Len  uint64      // the last sequence number that counts
}

// Ref is the place of an entry in a [History].
type Ref struct {
	Log int
	Seq uint64
}

// knows says whether a lies in the causal past of b, or is b.
func (r *Resolver) knows(b, a Ref) bool { return r.history.Seen(b, a.Log) >= a.Seq }

// concurrent says whether neither entry lies in the other's past.
func (r *Resolver) concurrent(a, b Ref) bool { return a != b && !r.knows(a, b) && !r.knows(b, a) }

// firstWith is the lowest sequence number of a log at which a lies in the past. Those
// behind it have a in their pasts too. Without one it is above end.
func (r *Resolver) firstWith(log int, a Ref, end uint64) uint64 {
	if log == a.Log {
		return a.Seq
	}
	from := r.logs[log].From
	if end <= from {
		return end + 1
	}
	n := sort.Search(int(end-from), func(i int) bool { //nolint:gosec // there is not the memory for so many
		return r.history.Seen(Ref{log, from + uint64(i) + 1}, a.Log) >= a.Seq //nolint:gosec // not negative
	})
	return from + uint64(n) + 1 //nolint:gosec // not negative
}

// grow takes in logs that are new in the history.
func (r *Resolver) grow() {
	for i := len(r.logs); i < r.history.Logs(); i++ {
		l := r.history.Log(i)
		r.logs = append(r.logs, l)
		r.byUser[l.User] = append(r.byUser[l.User], i)
		r.byDevice[l.Device] = append(r.byDevice[l.Device], i)
	}
}
