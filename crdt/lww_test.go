package crdt

import (
	"crypto/sha256"
	"testing"

	"pgregory.net/rapid"
)

func drawLWW(t *rapid.T, label string) LWW[byte] {
	v := rapid.ByteRange(0, 20).Draw(t, label)
	if v == 0 {
		return LWW[byte]{}
	}
	return LWW[byte]{Value: v, At: HLC(rapid.Uint64Range(0, 2).Draw(t, label+" at")), Tie: sha256.Sum256([]byte{v})}
}

func TestLWWMergeIsAJoin(t *testing.T) {
	checkJoin(t, drawLWW, LWW[byte].Merge,
		func(a, b LWW[byte]) bool { return a.Compare(b) <= 0 },
		func(r LWW[byte]) any { return r })
}

// The oracle looks at all writes at once and takes the one that no other beats.
func TestLWWAgainstAListOfWrites(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		writes := []LWW[byte]{{}}
		for range rapid.IntRange(0, 10).Draw(t, "writes") {
			writes = append(writes, drawLWW(t, "write"))
		}
		var got LWW[byte]
		for _, w := range rapid.Permutation(writes).Draw(t, "order") {
			got = got.Merge(w)
		}
		for _, w := range writes {
			if w.At > got.At || w.At == got.At && string(w.Tie[:]) > string(got.Tie[:]) {
				t.Fatalf("%v won against %v", got, w)
			}
		}
		if got.At != 0 && got.Tie != sha256.Sum256([]byte{got.Value}) {
			t.Fatalf("%v is none of the writes", got)
		}
	})
}
