package authority

import (
	"sort"

	"github.com/pandanode/pandanode/node/wire"
)

// History is the set of entries that a roster is resolved from: hash-linked logs, and
// for each entry its causal past as a version vector. A log whose device signed two
// entries with one sequence number is one log for each branch.
//
// The set only grows, in causal order. It does not give the content of entries: the
// resolver gets operations by [Resolver.Add], and of other entries it asks only for their
// causal pasts.
type History interface {
	// Logs is how many logs there are. They are numbered from 0 by order of arrival:
	// nothing that the resolver decides depends on these numbers.
	Logs() int
	// Log describes one. User and LogID never change, Len only rises.
	Log(i int) Log
	// Seen returns the last sequence number of a log that lies in the causal past of an
	// entry, the entry itself included; 0 if none does.
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

// firstWith returns the lowest sequence number of a log whose entry has a in its past, or
// one above end if there is none. All later entries of the log have a in their pasts too.
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
		r.ofLog = append(r.ofLog, nil)
		if r.byUser[l.User] == nil {
			r.authors = append(r.authors, l.User)
		}
		r.byUser[l.User] = append(r.byUser[l.User], i)
		r.byDevice[l.Device] = append(r.byDevice[l.Device], i)
		own := r.byDevice[l.Device]
		if len(own) == 2 {
			r.several = append(r.several, own[0])
		}
		if len(own) > 1 {
			r.several = append(r.several, i)
		}
	}
}
