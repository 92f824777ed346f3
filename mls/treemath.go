package mls

import "math/bits"

// Array-based trees, RFC 9420, Section 4.1.1 and Appendix C. Node 2i is leaf i;
// trees are full, so a tree of n leaves (n a power of two) has 2n-1 nodes.

// nodeIndex is a position in the array form of the tree.
type nodeIndex uint32

// maxLeaves bounds a tree, and with it what a ratchet_tree extension can make a
// receiver allocate. Node indexes fit 32 bits with room to spare.
const maxLeaves = 1 << 20

func (i LeafIndex) node() nodeIndex { return nodeIndex(i) * 2 }

func (x nodeIndex) isLeaf() bool    { return x&1 == 0 }
func (x nodeIndex) leaf() LeafIndex { return LeafIndex(x / 2) }

// level is the height of a node: 0 for leaves.
func (x nodeIndex) level() int { return bits.TrailingZeros32(^uint32(x)) }

func (x nodeIndex) left() nodeIndex  { return x ^ 1<<(x.level()-1) }
func (x nodeIndex) right() nodeIndex { return x ^ 3<<(x.level()-1) }

// parent is meaningless for the root of the tree at hand.
func (x nodeIndex) parent() nodeIndex {
	k := x.level()
	return (x | 1<<k) &^ (1 << (k + 1))
}

func (x nodeIndex) sibling() nodeIndex {
	p := x.parent()
	if x < p {
		return p.right()
	}
	return p.left()
}

// covers says whether leaf i is in the subtree of x.
func (x nodeIndex) covers(i LeafIndex) bool {
	k := x.level()
	return uint32(i.node())>>(k+1) == uint32(x)>>(k+1)
}

// rootOf is the root of a full tree with n leaves, n a power of two.
func rootOf(n uint32) nodeIndex { return nodeIndex(n) - 1 }

// fullSize is the number of leaves of the smallest full tree for n leaves.
func fullSize(n uint32) uint32 {
	if n <= 1 {
		return 1
	}
	return 1 << bits.Len32(n-1)
}
