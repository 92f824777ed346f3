package dag

import (
	"hash/maphash"
	"iter"

	"github.com/pandanode/pandanode/node/wire"
)

// index finds items by their hashes. There is one for each message there ever was, and
// the items hold the hashes already: a map of them would take five times the room.
type index struct {
	seed  maphash.Seed // an author of entries must not choose where they lie
	slots []*Item      // a power of two, more than there are items
	count int
}

// newIndex makes an index with room for about so many items.
func newIndex(about int) *index {
	size := 16
	for size*3/4 < about {
		size *= 2
	}
	return &index{seed: maphash.MakeSeed(), slots: make([]*Item, size)}
}

// slot is where an item with a hash lies, or would.
func (x *index) slot(h wire.EntryHash) int {
	at := int(maphash.Bytes(x.seed, h[:])) & (len(x.slots) - 1) //nolint:gosec // any bits do
	for x.slots[at] != nil && x.slots[at].Hash != h {
		at = (at + 1) & (len(x.slots) - 1)
	}
	return at
}

// At gives the item with a hash; nil if there is none.
func (x *index) At(h wire.EntryHash) *Item { return x.slots[x.slot(h)] }

func (x *index) add(it *Item) {
	if x.count >= len(x.slots)*3/4 {
		all := x.slots
		x.slots = make([]*Item, 2*len(all))
		for _, old := range all {
			if old != nil {
				x.slots[x.slot(old.Hash)] = old
			}
		}
	}
	if at := x.slot(it.Hash); x.slots[at] == nil {
		x.slots[at] = it
		x.count++
	}
}

// All goes through the items, in no order.
func (x *index) All() iter.Seq[*Item] {
	return func(yield func(*Item) bool) {
		for _, it := range x.slots {
			if it != nil && !yield(it) {
				return
			}
		}
	}
}
