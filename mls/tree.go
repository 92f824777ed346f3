package mls

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
)

// tree is the ratchet tree of RFC 9420, Section 7, as a persistent structure:
// changing a copy leaves the original as it was and shares every node that is not
// on a changed path. A node without a hash belongs to one edit alone and may be
// changed in place; freeze gives every node its tree hash, and only frozen trees
// are kept or copied.
type tree struct {
	suite  *suite
	root   *node
	leaves uint32    // a power of two, blank leaves included
	index  *keyIndex // of the keys in the tree; stale in a tree that is being edited
}

type node struct {
	left, right *node       // nil in leaves
	leaf        *leafData   // nil in parents and blank leaves
	parent      *parentNode // nil in leaves and blank parents
	members     uint32      // non-blank leaves below
	hash        []byte      // tree hash; nil while being edited
}

// leafData is a LeafNode as the tree keeps it: encoded, and decoded when somebody
// asks. Decoded leaves take several times the room.
type leafData struct{ raw []byte }

// pack copies l, so that a tree does not keep the message alive that brought it.
func pack(l *LeafNode) *leafData { return &leafData{slices.Clip(clone(l.raw))} }

func (l *leafData) encryptionKey() []byte {
	r := reader{b: l.raw}
	return r.vec()
}

// credentialTypes gives the type of its credential and those it supports, without the rest.
func (l *leafData) credentialTypes() (uses CredentialType, supports []CredentialType) {
	r := reader{b: l.raw}
	r.vec()
	r.vec()
	uses = readCredential(&r).Type
	for range 4 { // versions, cipher suites, extensions, proposals
		r.vec()
	}
	return uses, readU16s[CredentialType](&r)
}

func (l *leafData) signatureKey() []byte {
	r := reader{b: l.raw}
	r.vec()
	return r.vec()
}

func (l *leafData) decode() *LeafNode {
	r := reader{b: l.raw}
	return readLeafNode(&r)
}

// parentNode is ParentNode of RFC 9420, Section 7.1. It is immutable.
type parentNode struct {
	encryptionKey []byte
	parentHash    []byte
	unmerged      []LeafIndex // ascending
}

func (p *parentNode) encode(w *writer) { w.b = p.append(w.b) }

func (p *parentNode) append(b []byte) []byte {
	b = appendVec(appendVec(b, p.encryptionKey), p.parentHash)
	b = appendLength(b, 4*len(p.unmerged))
	for _, i := range p.unmerged {
		b = binary.BigEndian.AppendUint32(b, uint32(i))
	}
	return b
}

func readParentNode(r *reader) *parentNode {
	p := &parentNode{encryptionKey: r.vec(), parentHash: r.vec()}
	r.list(func(r *reader) { p.unmerged = append(p.unmerged, LeafIndex(r.u32())) })
	return p
}

// own copies what p has aliased, so that it does not keep a larger buffer alive.
func (p *parentNode) own() {
	both := append(append(make([]byte, 0, len(p.encryptionKey)+len(p.parentHash)), p.encryptionKey...), p.parentHash...)
	k := len(p.encryptionKey)
	p.encryptionKey, p.parentHash = both[:k:k], both[k:]
}

func newTree(s *suite) *tree {
	return &tree{suite: s, root: &node{}, leaves: 1, index: &keyIndex{}}
}

// edit gives a copy to change; t must be frozen.
func (t *tree) edit() *tree {
	c := *t
	return &c
}

func (t *tree) rootIndex() nodeIndex { return rootOf(t.leaves) }

// at gives the node at x, or nil outside the tree.
func (t *tree) at(x nodeIndex) *node {
	at := t.rootIndex()
	if x > 2*at {
		return nil
	}
	n := t.root
	for at != x {
		if x < at {
			n, at = n.left, at.left()
		} else {
			n, at = n.right, at.right()
		}
	}
	return n
}

// leaf gives the leaf at i, nil if it is blank or outside the tree.
func (t *tree) leaf(i LeafIndex) *LeafNode {
	if uint32(i) >= t.leaves {
		return nil
	}
	if l := t.at(i.node()).leaf; l != nil {
		return l.decode()
	}
	return nil
}

// signatureKey gives the signature key of leaf i, nil if it is blank or outside.
func (t *tree) signatureKey(i LeafIndex) []byte {
	if uint32(i) >= t.leaves {
		return nil
	}
	if l := t.at(i.node()).leaf; l != nil {
		return l.signatureKey()
	}
	return nil
}

func (n *node) blank() bool { return n.leaf == nil && n.parent == nil }

func (n *node) publicKey() []byte {
	switch {
	case n.leaf != nil:
		return n.leaf.encryptionKey()
	case n.parent != nil:
		return n.parent.encryptionKey
	}
	return nil
}

// walk copies the path from the root to leaf i, as far as it is shared, and calls
// visit on each of its nodes, leaf first.
func (t *tree) walk(i LeafIndex, visit func(x nodeIndex, n *node)) {
	var down func(n *node, at nodeIndex) *node
	down = func(n *node, at nodeIndex) *node {
		if n.hash != nil {
			c := *n
			c.hash = nil
			n = &c
		}
		if at.isLeaf() {
			visit(at, n)
			n.members = 0
			if n.leaf != nil {
				n.members = 1
			}
			return n
		}
		if i.node() < at {
			n.left = down(n.left, at.left())
		} else {
			n.right = down(n.right, at.right())
		}
		n.members = n.left.members + n.right.members
		visit(at, n)
		return n
	}
	t.root = down(t.root, t.rootIndex())
}

// blankTree gives 2^height blank leaves.
func blankTree(height int) *node {
	if height == 0 {
		return &node{}
	}
	return &node{left: blankTree(height - 1), right: blankTree(height - 1)}
}

// next gives the leftmost blank leaf, where the next member goes; a full tree grows
// first: RFC 9420, Section 7.7.
func (t *tree) next() (LeafIndex, error) {
	if t.root.members == t.leaves {
		if t.leaves >= maxLeaves {
			return 0, fmt.Errorf("%w: more than %d members", ErrUnsupported, maxLeaves)
		}
		height := t.rootIndex().level()
		t.root = &node{left: t.root, right: blankTree(height), members: t.root.members}
		t.leaves *= 2
	}
	return t.firstBlank(), nil
}

// add puts l into the next leaf, unmerged at every non-blank parent above it: RFC
// 9420, Section 7.7.
func (t *tree) add(l *LeafNode) (LeafIndex, error) {
	i, err := t.next()
	if err != nil {
		return 0, err
	}
	t.walk(i, func(_ nodeIndex, n *node) {
		if n.left == nil {
			n.leaf = pack(l)
		} else if n.parent != nil {
			p := *n.parent
			at, _ := slices.BinarySearch(p.unmerged, i)
			p.unmerged = slices.Insert(slices.Clone(p.unmerged), at, i)
			n.parent = &p
		}
	})
	return i, nil
}

// firstBlank gives the leftmost blank leaf of a tree that has one.
func (t *tree) firstBlank() LeafIndex {
	n, at := t.root, t.rootIndex()
	for !at.isLeaf() {
		if n.left.members < 1<<(at.level()-1) {
			n, at = n.left, at.left()
		} else {
			n, at = n.right, at.right()
		}
	}
	return at.leaf()
}

// update replaces leaf i and blanks its direct path: RFC 9420, Section 12.1.2.
func (t *tree) update(i LeafIndex, l *LeafNode) {
	t.walk(i, func(x nodeIndex, n *node) {
		n.leaf, n.parent = nil, nil
		if x.isLeaf() {
			n.leaf = pack(l)
		}
	})
}

// remove blanks leaf i and its direct path and drops the right half while it is
// blank: RFC 9420, Sections 12.1.3 and 7.7.
func (t *tree) remove(i LeafIndex) {
	t.walk(i, func(_ nodeIndex, n *node) { n.leaf, n.parent = nil, nil })
	for t.leaves > 1 && t.root.right.members == 0 {
		t.root = t.root.left
		t.leaves /= 2
	}
}

// resolution appends the resolution of the node at x, RFC 9420, Section 4.1.1.
func (n *node) resolution(x nodeIndex, out []nodeIndex) []nodeIndex {
	switch {
	case n.members == 0:
		return out
	case n.leaf != nil:
		return append(out, x)
	case n.parent != nil:
		out = append(out, x)
		for _, i := range n.parent.unmerged {
			out = append(out, i.node())
		}
		return out
	}
	return n.right.resolution(x.right(), n.left.resolution(x.left(), out))
}

// resolutionSize is the length of the resolution.
func (n *node) resolutionSize() int {
	switch {
	case n.members == 0:
		return 0
	case n.leaf != nil:
		return 1
	case n.parent != nil:
		return 1 + len(n.parent.unmerged)
	}
	return n.left.resolutionSize() + n.right.resolutionSize()
}

func (t *tree) resolution(x nodeIndex) []nodeIndex { return t.at(x).resolution(x, nil) }

// pathStep is a node of a direct path, with its child on the copath.
type pathStep struct {
	x, copath nodeIndex
	sibling   *node // at copath
}

// filteredPath is the filtered direct path of leaf i, lowest node first: RFC 9420,
// Section 4.1.2.
func (t *tree) filteredPath(i LeafIndex) []pathStep {
	var steps []pathStep
	n, at := t.root, t.rootIndex()
	for !at.isLeaf() {
		step := pathStep{x: at, copath: at.right(), sibling: n.right}
		next, nextAt := n.left, at.left()
		if i.node() > at {
			step.copath, step.sibling = at.left(), n.left
			next, nextAt = n.right, at.right()
		}
		if step.sibling.members > 0 {
			steps = append(steps, step)
		}
		n, at = next, nextAt
	}
	slices.Reverse(steps)
	return steps
}

// Tree hashes, RFC 9420, Section 7.8.

const (
	nodeTypeLeaf   = 1
	nodeTypeParent = 2
)

// leafHash is the hash of leaf i; raw is nil if it is blank.
func (s *suite) leafHash(i LeafIndex, raw []byte) []byte {
	var buf [onStack]byte
	b := binary.BigEndian.AppendUint32(append(buf[:0], nodeTypeLeaf), uint32(i))
	if raw == nil {
		return s.hash.sum(append(b, 0))
	}
	return s.hash.sum(append(append(b, 1), raw...))
}

func (s *suite) parentTreeHash(p *parentNode, left, right []byte) []byte {
	var buf [onStack]byte
	b := append(buf[:0], nodeTypeParent)
	if p == nil {
		b = append(b, 0)
	} else {
		b = p.append(append(b, 1))
	}
	return s.hash.sum(appendVec(appendVec(b, left), right))
}

func (n *node) leafRaw() []byte {
	if n.leaf == nil {
		return nil
	}
	return n.leaf.raw
}

// treeHash gives the hash of n, which is at x, and freezes what is below it.
func (n *node) treeHash(s *suite, x nodeIndex) []byte {
	if n.hash == nil {
		if x.isLeaf() {
			n.hash = s.leafHash(x.leaf(), n.leafRaw())
		} else {
			n.hash = s.parentTreeHash(n.parent, n.left.treeHash(s, x.left()), n.right.treeHash(s, x.right()))
		}
	}
	return n.hash
}

// freeze computes all tree hashes that are missing and gives the root's.
func (t *tree) freeze() []byte { return t.root.treeHash(t.suite, t.rootIndex()) }

// hashWithout is the tree hash of n as it was before the given leaves (ascending)
// were added: the original tree hash of RFC 9420, Section 7.9.
func (n *node) hashWithout(s *suite, x nodeIndex, leaves []LeafIndex) []byte {
	leaves = within(x, leaves)
	if len(leaves) == 0 {
		return n.treeHash(s, x)
	}
	if x.isLeaf() {
		return s.leafHash(x.leaf(), nil)
	}
	p := n.parent
	if p != nil && len(p.unmerged) > 0 {
		c := *p
		c.unmerged = nil
		for _, i := range p.unmerged {
			if _, out := slices.BinarySearch(leaves, i); !out {
				c.unmerged = append(c.unmerged, i)
			}
		}
		p = &c
	}
	return s.parentTreeHash(p, n.left.hashWithout(s, x.left(), leaves), n.right.hashWithout(s, x.right(), leaves))
}

// within gives the part of an ascending list that lies below x.
func within(x nodeIndex, leaves []LeafIndex) []LeafIndex {
	half := nodeIndex(1)<<x.level() - 1
	first, last := (x - half).leaf(), (x + half).leaf()
	lo, _ := slices.BinarySearch(leaves, first)
	hi, found := slices.BinarySearchFunc(leaves, last, cmp.Compare[LeafIndex])
	if found {
		hi++
	}
	return leaves[lo:hi]
}

// parentHash is ParentHashInput of RFC 9420, Section 7.9, hashed; sibling is the
// original tree hash of p's child on the copath.
func (s *suite) parentHash(p *parentNode, sibling []byte) []byte {
	var buf [onStack]byte
	return s.hash.sum(appendVec(appendVec(appendVec(buf[:0], p.encryptionKey), p.parentHash), sibling))
}

// readRatchetTree decodes ratchet_tree, RFC 9420, Section 12.4.3.3. Node positions
// and types are checked here, contents by checkJoined.
func readRatchetTree(s *suite, b []byte) (*tree, error) {
	r := reader{b: b}
	var nodes []*node
	r.list(func(r *reader) {
		n := &node{}
		x := nodeIndex(len(nodes))
		if r.optional() {
			switch typ := r.u8(); {
			case typ == nodeTypeLeaf && x.isLeaf():
				n.leaf = readLeafData(r)
				n.members = 1
			case typ == nodeTypeParent && !x.isLeaf():
				n.parent = readParentNode(r)
				n.parent.own()
			default:
				r.fail("node type %d at position %d", typ, x)
			}
		}
		if len(nodes) >= 2*maxLeaves-1 {
			r.fail("ratchet tree of more than %d leaves", maxLeaves)
		}
		nodes = append(nodes, n)
	})
	if err := r.done("ratchet_tree"); err != nil {
		return nil, err
	}
	if len(nodes) == 0 || nodes[len(nodes)-1].blank() {
		return nil, fmt.Errorf("ratchet_tree: %w: it is empty or ends in a blank node", ErrMalformed)
	}
	t := &tree{suite: s, leaves: fullSize(uint32(len(nodes)/2 + 1))}
	var build func(x nodeIndex) *node
	build = func(x nodeIndex) *node {
		n := &node{}
		if int(x) < len(nodes) {
			n = nodes[x]
		}
		if !x.isLeaf() {
			n.left, n.right = build(x.left()), build(x.right())
			n.members = n.left.members + n.right.members
		}
		return n
	}
	t.root = build(t.rootIndex())
	return t, nil
}

// readLeafData reads a LeafNode for its form only.
func readLeafData(r *reader) *leafData { return pack(readLeafNode(r)) }

// encode gives ratchet_tree, without the blank nodes at the right end.
func (t *tree) encode() []byte {
	var w, pending writer
	w.list(func() {
		t.root.each(t.rootIndex(), func(_ nodeIndex, n *node) {
			switch {
			case n.blank():
				pending.u8(0)
				return
			case n.leaf != nil:
				pending.u8(1)
				pending.u8(nodeTypeLeaf)
				pending.raw(n.leaf.raw)
			default:
				pending.u8(1)
				pending.u8(nodeTypeParent)
				n.parent.encode(&pending)
			}
			w.raw(pending.b)
			pending.b = pending.b[:0]
		})
	})
	return w.b
}

// each visits the nodes in array order.
func (n *node) each(x nodeIndex, visit func(nodeIndex, *node)) {
	if x.isLeaf() {
		visit(x, n)
		return
	}
	n.left.each(x.left(), visit)
	visit(x, n)
	n.right.each(x.right(), visit)
}

// eachLeaf visits the non-blank leaves in order until visit gives false.
func (n *node) eachLeaf(x nodeIndex, visit func(LeafIndex, *LeafNode) bool) bool {
	switch {
	case n.members == 0:
		return true
	case x.isLeaf():
		return visit(x.leaf(), n.leaf.decode())
	}
	return n.left.eachLeaf(x.left(), visit) && n.right.eachLeaf(x.right(), visit)
}
