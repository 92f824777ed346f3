package crdt

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

type logVector = Vector[string]

var logNames = []string{"a", "b", "c", "d", "e"}

// history is the mark of entry seq of a log that has one history per branch.
func history(log string, branch int, seq uint64) Mark {
	return Mark{Seq: seq, Hash: sha256.Sum256(fmt.Appendf(nil, "%s/%d/%d", log, branch, seq))}
}

// drawVector draws a vector over logs that have the given number of branches.
func drawVector(branches int) func(*rapid.T, string) *logVector {
	return func(t *rapid.T, label string) *logVector {
		v := NewVector(cmp.Compare[string])
		for _, log := range logNames {
			if seq := rapid.Uint64Range(0, 4).Draw(t, label+"/"+log); seq > 0 {
				v.Set(log, history(log, rapid.IntRange(0, branches-1).Draw(t, "branch"), seq))
			}
		}
		return v
	}
}

func viewVector(v *logVector) any {
	marks := []Mark{}
	logs := []string{}
	for log, m := range v.All() {
		logs, marks = append(logs, log), append(marks, m)
	}
	return fmt.Sprint(logs, marks, v.Len())
}

func merged(a, b *logVector) *logVector {
	c := a.Clone()
	c.Merge(b)
	return c
}

func TestVectorMergeIsAJoinOfHonestLogs(t *testing.T) {
	checkJoin(t, drawVector(1), merged, func(a, b *logVector) bool { return b.Dominates(a) }, viewVector)
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawVector(1)(t, "a"), drawVector(1)(t, "b")
		if forks := a.Merge(b); forks != nil {
			t.Fatalf("forks in honest logs: %v", forks)
		}
	})
}

// The oracle holds single entries, not marks.
func entries(v *logVector) map[string]bool {
	held := make(map[string]bool)
	for log, m := range v.All() {
		for seq := uint64(1); seq <= m.Seq; seq++ {
			held[fmt.Sprint(log, seq)] = true
		}
	}
	return held
}

func TestVectorAgainstSetsOfEntries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawVector(1)(t, "a"), drawVector(1)(t, "b")
		ours, theirs := entries(a), entries(b)

		missing := make(map[string]bool)
		ranges := a.Missing(b)
		for _, r := range ranges {
			for seq := r.First; seq <= r.Last; seq++ {
				missing[fmt.Sprint(r.Log, seq)] = true
			}
		}
		want := maps.Clone(theirs)
		maps.DeleteFunc(want, func(e string, _ bool) bool { return ours[e] })
		if !maps.Equal(missing, want) {
			t.Fatalf("missing %v, want %v", missing, want)
		}
		if !slices.IsSortedFunc(ranges, func(x, y Range[string]) int { return cmp.Compare(x.Log, y.Log) }) {
			t.Fatalf("out of order: %v", ranges)
		}
		if a.Dominates(b) != (len(want) == 0) {
			t.Fatalf("Dominates = %v with %v missing", a.Dominates(b), want)
		}
		maps.Copy(ours, theirs)
		if got := entries(merged(a, b)); !maps.Equal(got, ours) {
			t.Fatalf("merged %v, want %v", got, ours)
		}
	})
}

func TestVectorReportsEveryDivergence(t *testing.T) {
	found := 0
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawVector(3)(t, "a"), drawVector(3)(t, "b")
		var want []Divergence[string]
		for _, log := range logNames {
			x, y := a.Get(log), b.Get(log)
			if x.Seq == y.Seq && x.Hash != y.Hash {
				want = append(want, Divergence[string]{log, x.Seq, x.Hash, y.Hash})
			}
		}
		found += len(want)
		ab, ba := a.Clone(), b.Clone()
		got, mirror := ab.Merge(b), ba.Merge(a)
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("divergences %v, want %v", got, want)
		}
		for i := range mirror {
			mirror[i].Ours, mirror[i].Theirs = mirror[i].Theirs, mirror[i].Ours
		}
		if !reflect.DeepEqual(mirror, want) {
			t.Fatalf("the other side reports %v, want %v", mirror, want)
		}
		for _, fork := range want {
			if ab.Get(fork.Log) != a.Get(fork.Log) || ba.Get(fork.Log) != b.Get(fork.Log) {
				t.Fatalf("a divergence in %s was merged", fork.Log)
			}
		}
		if len(want) > 0 && (a.Dominates(b) || b.Dominates(a)) {
			t.Fatal("one of two diverging vectors dominates")
		}
		// Where there is no divergence the merge is a join as ever.
		for _, log := range logNames {
			if diverged := slices.ContainsFunc(want, func(d Divergence[string]) bool { return d.Log == log }); !diverged && ab.Get(log) != ba.Get(log) {
				t.Fatalf("%s depends on the order", log)
			}
		}
	})
	if found == 0 {
		t.Fatal("no divergence was drawn")
	}
}

func TestVectorOrderFollowsCompare(t *testing.T) {
	v := NewVector(func(a, b string) int { return cmp.Compare(b, a) })
	for _, log := range logNames {
		v.Set(log, history(log, 0, 1))
	}
	v.Set("c", Mark{})
	var got []string
	for log := range v.All() {
		got = append(got, log)
	}
	if want := []string{"e", "d", "b", "a"}; !slices.Equal(got, want) {
		t.Fatalf("order %v, want %v", got, want)
	}
	for range v.All() {
		break // an early stop is allowed
	}
}

func TestVectorHugeClaimIsOneRange(t *testing.T) {
	ours, theirs := NewVector(cmp.Compare[string]), NewVector(cmp.Compare[string])
	ours.Set("a", Mark{Seq: 1<<64 - 2})
	theirs.Set("a", Mark{Seq: 1<<64 - 1})
	theirs.Set("b", Mark{Seq: 1<<64 - 1})
	want := []Range[string]{{"a", 1<<64 - 1, 1<<64 - 1}, {"b", 1, 1<<64 - 1}}
	if got := ours.Missing(theirs); !slices.Equal(got, want) {
		t.Fatalf("Missing = %v, want %v", got, want)
	}
}
