package group

import (
	"bytes"
	"slices"

	"github.com/pandanode/pandanode/node/wire"
)

// node is one epoch in the tree of epochs, known by structure alone: parent,
// computed child, committer. No keys are needed for it.
type node struct {
	id         wire.EpochID
	parent     *node // nil for the virtual root
	children   []*node
	generation uint64
	number     uint64 // MLS epoch number
	interim    []byte // interim_transcript_hash
	mlsGroup   []byte
	by         *item // the COMMIT, or the OP that names a root; nil for the virtual root
}

// contains says whether o lies in the subtree of n.
func (n *node) contains(o *node) bool {
	for ; o != nil; o = o.parent {
		if o == n {
			return true
		}
	}
	return false
}

// fullWeight is a user's weight in the fork choice, divisible by every number of
// devices up to ten.
const fullWeight = 2520

// choice is what the fork choice looks at.
type choice struct {
	group  wire.GroupID
	root   *node
	skip   func(*node) bool              // children left out: refused by this device
	votes  map[wire.DeviceID]*node       // newest vote of each device
	weight map[wire.UserID]int           // users in the roster who count, read-only ones with 0
	of     map[wire.DeviceID]wire.UserID // devices of those users
}

// choose walks down from the root and takes at each fork the child that more
// than half of the users vote under, else the one with the heaviest subtree, else
// the one that the tie-break names. It is a pure function of structure and votes.
func (c choice) choose() *node {
	at := c.root
	for {
		children := slices.DeleteFunc(slices.Clone(at.children), c.skip)
		if len(children) == 0 {
			return at
		}
		at = slices.MaxFunc(children, c.compare)
	}
}

// compare orders siblings: more weight first, then the lower hash of parent and
// committing user, then the lower commit hash. A child with more than half of all
// weight is above its siblings by the same comparison.
func (c choice) compare(a, b *node) int {
	if wa, wb := c.under(a), c.under(b); wa != wb {
		return wa - wb
	}
	pa, pb := c.prio(a), c.prio(b)
	if r := bytes.Compare(pb[:], pa[:]); r != 0 {
		return r
	}
	return bytes.Compare(b.by.hash[:], a.by.hash[:])
}

func (c choice) prio(n *node) wire.Hash {
	return wire.HashOf(wire.DomainPrio, c.group[:], n.parent.id[:], n.by.user[:])
}

// under is the weight of the votes in n's subtree, each user's split over its devices.
func (c choice) under(n *node) int {
	devices := map[wire.UserID]int{}
	for _, u := range c.of {
		devices[u]++
	}
	sum := 0
	for d, v := range c.votes {
		if u, ok := c.of[d]; ok && v != nil && n.contains(v) {
			sum += c.weight[u] / devices[u]
		}
	}
	return sum
}
