package dag

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"github.com/pandanode/pandanode/node/wire"
)

// TestIndex holds the index against a map while it grows.
func TestIndex(t *testing.T) {
	x, want := newIndex(0), map[wire.EntryHash]*Item{}
	hash := func(i int) wire.EntryHash {
		return wire.EntryHash(sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i))))
	}
	check := func() {
		t.Helper()
		seen := 0
		for it := range x.All() {
			if seen++; want[it.Hash] != it {
				t.Fatalf("%v is in it once too often", it.Hash)
			}
		}
		if seen != len(want) || x.count != seen {
			t.Fatalf("%d of %d, count %d", seen, len(want), x.count)
		}
	}
	for i := range 5000 {
		if x.At(hash(i)) != nil {
			t.Fatal("it is there before it was added")
		}
		it := &Item{Hash: hash(i)}
		x.add(it)
		x.add(&Item{Hash: hash(i)}) // the first one stays
		want[it.Hash] = it
		if back := i * 7 % (i + 1); x.At(hash(back)) != want[hash(back)] {
			t.Fatalf("%d is gone after %d", back, i)
		}
		if i&(i+1) == 0 {
			check()
		}
	}
	check()
	if size := len(newIndex(5000).slots); size != len(x.slots) {
		t.Errorf("it grew to %d places, and needs %d", len(x.slots), size)
	}
	for range x.All() {
		break // an early end is one
	}
}
