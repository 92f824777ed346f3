package group

import (
	"hash/maphash"
	"iter"

	"github.com/pandanode/pandanode/node/wire"
)

// index finds items by their hashes. There is one for each message there ever was, and
// the items hold the hashes already: a map of them would take five times the room.
type index struct {
	seed  maphash.Seed // whoever writes entries must not choose where they lie
	slots []*item      // a power of two, more than there are items
	count int
}

func newIndex(about int) *index {
	size := 16
	for size*3/4 < about {
		size *= 2
	}
	return &index{seed: maphash.MakeSeed(), slots: make([]*item, size)}
}

// slot is where an item with a hash lies, or would.
func (x *index) slot(h wire.EntryHash) int {
	at := int(maphash.Bytes(x.seed, h[:])) & (len(x.slots) - 1) //nolint:gosec // any bits do
	for x.slots[at] != nil && x.slots[at].hash != h {
		at = (at + 1) & (len(x.slots) - 1)
	}
	return at
}

// at gives the item with a hash; nil if there is none.
func (x *index) at(h wire.EntryHash) *item { return x.slots[x.slot(h)] }

func (x *index) add(it *item) {
	if x.count >= len(x.slots)*3/4 {
		all := x.slots
		x.slots = make([]*item, 2*len(all))
		for _, old := range all {
			if old != nil {
				x.slots[x.slot(old.hash)] = old
			}
		}
	}
	if at := x.slot(it.hash); x.slots[at] == nil {
		x.slots[at] = it
		x.count++
	}
}

// all goes through the items, in no order.
func (x *index) all() iter.Seq[*item] {
	return func(yield func(*item) bool) {
		for _, it := range x.slots {
			if it != nil && !yield(it) {
				return
			}
		}
	}
}
