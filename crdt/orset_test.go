package crdt

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

type set = ORSet[string, int]

func newSet() *set { return NewORSet(cmp.Compare[string], cmp.Compare[int]) }

// drawSet draws any state, among them what only a hostile replica makes: one tag on several elements.
func drawSet(t *rapid.T, label string) *set {
	s := newSet()
	for range rapid.IntRange(0, 12).Draw(t, label) {
		tag := rapid.IntRange(0, 9).Draw(t, "tag")
		if rapid.IntRange(0, 3).Draw(t, "op") == 0 {
			s.RemoveTags(tag)
		} else {
			s.Add(rapid.SampledFrom(logNames).Draw(t, "element"), tag)
		}
	}
	return s
}

func viewSet(s *set) any {
	view := fmt.Sprint(s.RemovedTags(), s.Len())
	for _, e := range s.Elements() {
		view += fmt.Sprint(e, s.Contains(e), s.Tags(e))
	}
	return view
}

func TestORSetMergeIsAJoin(t *testing.T) {
	checkJoin(t, drawSet, func(a, b *set) *set {
		c := a.Clone()
		c.Merge(b)
		return c
	}, func(a, b *set) bool {
		// b knows all that a knows: every removal, and every addition either live or removed.
		for _, tag := range a.RemovedTags() {
			if !slices.Contains(b.RemovedTags(), tag) {
				return false
			}
		}
		for _, e := range a.Elements() {
			for _, tag := range a.Tags(e) {
				if !slices.Contains(b.Tags(e), tag) && !slices.Contains(b.RemovedTags(), tag) {
					return false
				}
			}
		}
		return true
	}, viewSet)
}

// The oracle's replica is the list of operations it knows; an element is in the set if some known addition of it is
// named by no known removal.
type operation struct {
	add     string
	tag     int
	removes []int
}

type replica struct {
	set   *set
	known map[int]bool // indexes into the world's operations
}

func TestORSetAgainstAListOfOperations(t *testing.T) {
	survived := 0
	rapid.Check(t, func(t *rapid.T) {
		var world []operation
		replicas := make([]replica, 3)
		for i := range replicas {
			replicas[i] = replica{newSet(), make(map[int]bool)}
		}
		contains := func(r replica, e string) bool {
			for i := range r.known {
				if op := world[i]; op.add == e {
					removed := false
					for j := range r.known {
						removed = removed || slices.Contains(world[j].removes, op.tag)
					}
					if !removed {
						return true
					}
				}
			}
			return false
		}
		pick := func(label string) replica { return replicas[rapid.IntRange(0, 2).Draw(t, label)] }
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			r := pick("replica")
			e := rapid.SampledFrom(logNames).Draw(t, "element")
			switch rapid.SampledFrom([]string{"add", "add", "remove", "merge", "deliver"}).Draw(t, "step") {
			case "add":
				tag := len(world) + 1
				r.set.Add(e, tag)
				world, r.known[len(world)] = append(world, operation{add: e, tag: tag}), true
			case "remove":
				if tags := r.set.Remove(e); len(tags) > 0 {
					world, r.known[len(world)] = append(world, operation{removes: tags}), true
				}
			case "merge":
				from := pick("from")
				r.set.Merge(from.set)
				maps.Copy(r.known, from.known)
			case "deliver": // one operation alone, so that a removal can overtake its additions
				if len(world) == 0 {
					continue
				}
				i := rapid.IntRange(0, len(world)-1).Draw(t, "operation")
				if op := world[i]; op.removes != nil {
					r.set.RemoveTags(op.removes...)
				} else {
					r.set.Add(op.add, op.tag)
				}
				r.known[i] = true
			}
			for i, r := range replicas {
				var want []string
				for _, e := range logNames {
					if contains(r, e) {
						want = append(want, e)
					}
				}
				if got := r.set.Elements(); !slices.Equal(got, want) {
					t.Fatalf("replica %d holds %v, want %v", i, got, want)
				}
				survived += len(want)
			}
		}
	})
	if survived == 0 {
		t.Fatal("no element was ever in a set")
	}
}

func TestORSetAddSurvivesConcurrentRemove(t *testing.T) {
	ours := newSet()
	ours.Add("x", 1)
	theirs := ours.Clone()
	theirs.Add("x", 2)
	if got := ours.Remove("x"); !slices.Equal(got, []int{1}) || ours.Contains("x") {
		t.Fatalf("Remove took %v", got)
	}
	ours.Merge(theirs)
	if !ours.Contains("x") || !slices.Equal(ours.Tags("x"), []int{2}) {
		t.Fatal("the addition that the removal had not seen is gone")
	}
	ours.Add("x", 1)
	if !slices.Equal(ours.Tags("x"), []int{2}) {
		t.Fatal("a removed tag came back")
	}
	if got := ours.Remove("y"); len(got) != 0 {
		t.Fatalf("removing what is not there took %v", got)
	}
}
