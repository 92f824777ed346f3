package crdt

import (
	"iter"
	"maps"
	"slices"
)

// Mark is a position in a hash-linked log: the sequence number of an entry, counted from 1, and its hash, which fixes
// the whole history up to it.
type Mark struct {
	Seq  uint64
	Hash [32]byte
}

// Vector is a version vector: per log the newest entry that is held. A log it does not name is held up to 0, that is
// not at all. Make one with [NewVector].
type Vector[K comparable] struct {
	compare func(a, b K) int
	marks   map[K]Mark
}

// Range is a run of entries of one log, First and Last included. It is as long as a peer claims it to be: do not
// allocate by it.
type Range[K comparable] struct {
	Log         K
	First, Last uint64
}

// Divergence is a log in which two vectors name different entries at one sequence number: its author signed two
// histories. Find the first difference and exchange it; it is evidence.
type Divergence[K comparable] struct {
	Log          K
	Seq          uint64
	Ours, Theirs [32]byte
}

// NewVector is the empty vector. compare gives log ids their order, and through it every result its own: it is
// negative, zero or positive like [cmp.Compare], and zero only for equal ids.
func NewVector[K comparable](compare func(a, b K) int) *Vector[K] {
	return &Vector[K]{compare: compare, marks: make(map[K]Mark)}
}

// Clone is an independent copy.
func (v *Vector[K]) Clone() *Vector[K] {
	return &Vector[K]{compare: v.compare, marks: maps.Clone(v.marks)}
}

// Len is the number of logs of which at least one entry is held.
func (v *Vector[K]) Len() int { return len(v.marks) }

// Get is how far log is held; the zero Mark if it is not.
func (v *Vector[K]) Get(log K) Mark { return v.marks[log] }

// Set says that log is held up to m, whatever was said before. A Seq of 0 forgets the log.
func (v *Vector[K]) Set(log K, m Mark) {
	if m.Seq == 0 {
		delete(v.marks, log)
		return
	}
	v.marks[log] = m
}

// All yields every log with its mark, in the order of the compare function.
func (v *Vector[K]) All() iter.Seq2[K, Mark] {
	return func(yield func(K, Mark) bool) {
		for _, log := range slices.SortedFunc(maps.Keys(v.marks), v.compare) {
			if !yield(log, v.marks[log]) {
				return
			}
		}
	}
}

// Merge raises every log to the further of the two marks. Where both vectors are at the same sequence number with
// different hashes it keeps v's mark and reports the divergence, in log order: that is a choice for the caller, and
// neither side's word. A fork below the lower of two different sequence numbers cannot be seen here; the hash links
// show it when the entries arrive.
func (v *Vector[K]) Merge(o *Vector[K]) []Divergence[K] {
	var forks []Divergence[K]
	for log, theirs := range o.All() {
		ours := v.marks[log]
		switch {
		case theirs.Seq > ours.Seq:
			v.marks[log] = theirs
		case theirs.Seq == ours.Seq && theirs.Hash != ours.Hash:
			forks = append(forks, Divergence[K]{Log: log, Seq: ours.Seq, Ours: ours.Hash, Theirs: theirs.Hash})
		}
	}
	return forks
}

// Dominates reports whether v holds all that o holds, as far as marks can tell: every log at least as far, and with
// the same hash where equally far. Each of two vectors that dominate each other equals the other; of two that
// diverge neither dominates.
func (v *Vector[K]) Dominates(o *Vector[K]) bool {
	for log, theirs := range o.marks {
		ours := v.marks[log]
		if ours.Seq < theirs.Seq || ours.Seq == theirs.Seq && ours.Hash != theirs.Hash {
			return false
		}
	}
	return true
}

// Missing is what o holds and v does not, in log order: at most one range per log. A divergence is not in it.
func (v *Vector[K]) Missing(o *Vector[K]) []Range[K] {
	var missing []Range[K]
	for log, theirs := range o.All() {
		if held := v.marks[log].Seq; held < theirs.Seq {
			missing = append(missing, Range[K]{Log: log, First: held + 1, Last: theirs.Seq})
		}
	}
	return missing
}
