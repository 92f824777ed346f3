package mls

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"slices"
)

// keyIndex says which public keys are in a tree, so that a commit is checked for
// duplicates (RFC 9420, Section 7.3) at the cost of what it changed. It is immutable:
// a child's index shares the long sorted list with its parent's and has short lists of
// differences of its own, which are merged once they are longer than maxDifferences.
//
// It holds fingerprints of 64 bits under a seed of this process, which nobody outside
// can aim at. Where one occurs twice, the keys themselves decide.
type keyIndex struct {
	base   []uint64 // sorted, shared
	added  []uint64 // sorted, not in base
	gone   []uint64 // sorted, in base
	census census
}

const maxDifferences = 512

// census counts who uses and who supports each credential type (the index is the
// type less one): RFC 9420, Section 7.3, wants every type in use supported by all.
type census struct {
	users, supporters [2]uint32
}

func (c *census) count(l *leafData, by uint32) {
	uses, supports := l.credentialTypes()
	for k := range c.users {
		t := CredentialType(k + 1)
		if uses == t {
			c.users[k] += by
		}
		if slices.Contains(supports, t) {
			c.supporters[k] += by
		}
	}
}

func (c *census) consistent(members uint32) bool {
	for k, n := range c.users {
		if n > 0 && c.supporters[k] != members {
			return false
		}
	}
	return true
}

// Encryption keys and signature keys are two sets in one index.
var encryptionSeed, signatureSeed = maphash.MakeSeed(), maphash.MakeSeed()

// change gives the index after keys left and came; duplicate says that a fingerprint
// that came is there already.
func (x *keyIndex) change(left, came []uint64) (next *keyIndex, duplicate bool) {
	next = &keyIndex{base: x.base, census: x.census}
	if len(left)+len(came) > maxDifferences || len(x.base) == 0 {
		slices.Sort(left)
		slices.Sort(came)
		base, _ := merge(x.base, x.gone, x.added)
		next.base, duplicate = merge(base, left, came)
		return next, duplicate
	}
	next.added, next.gone = slices.Clone(x.added), slices.Clone(x.gone)
	for _, k := range left {
		if !remove(&next.added, k) {
			insert(&next.gone, k)
		}
	}
	for _, k := range came {
		if remove(&next.gone, k) {
			continue
		}
		if _, found := slices.BinarySearch(next.base, k); found || !insert(&next.added, k) {
			duplicate = true
		}
	}
	if len(next.added)+len(next.gone) > maxDifferences {
		next.base, _ = merge(next.base, next.gone, next.added)
		next.added, next.gone = nil, nil
	}
	return next, duplicate
}

// has says whether a fingerprint is there.
func (x *keyIndex) has(k uint64) bool {
	if _, found := slices.BinarySearch(x.added, k); found {
		return true
	}
	if _, found := slices.BinarySearch(x.gone, k); found {
		return false
	}
	_, found := slices.BinarySearch(x.base, k)
	return found
}

func insert(list *[]uint64, k uint64) bool {
	at, found := slices.BinarySearch(*list, k)
	if !found {
		*list = slices.Insert(*list, at, k)
	}
	return !found
}

func remove(list *[]uint64, k uint64) bool {
	at, found := slices.BinarySearch(*list, k)
	if found {
		*list = slices.Delete(*list, at, at+1)
	}
	return found
}

// merge gives (base less gone) with added; all are sorted.
func merge(base, gone, added []uint64) (out []uint64, duplicate bool) {
	out = make([]uint64, 0, len(base)+len(added))
	put := func(k uint64) {
		duplicate = duplicate || len(out) > 0 && out[len(out)-1] == k
		out = append(out, k)
	}
	for _, k := range base {
		for len(gone) > 0 && gone[0] < k {
			gone = gone[1:]
		}
		if len(gone) > 0 && gone[0] == k {
			gone = gone[1:]
			continue
		}
		for len(added) > 0 && added[0] < k {
			put(added[0])
			added = added[1:]
		}
		put(k)
	}
	for _, k := range added {
		put(k)
	}
	return slices.Clip(out), duplicate
}

// differences visits every place at which two trees may differ, o in old and n in t; each may
// be nil. Subtrees that the trees share are passed over.
func (t *tree) differences(old *tree, visit func(x nodeIndex, o, n *node)) {
	var down func(x nodeIndex, o, n *node)
	down = func(x nodeIndex, o, n *node) {
		if old != nil && x == old.rootIndex() {
			o = old.root
		}
		if x == t.rootIndex() {
			n = t.root
		}
		if o == n || (o == nil || o.members == 0) && (n == nil || n.members == 0) {
			return // shared, or blank on both sides
		}
		visit(x, o, n)
		if x.isLeaf() {
			return
		}
		var ol, or, nl, nr *node
		if o != nil {
			ol, or = o.left, o.right
		}
		if n != nil {
			nl, nr = n.left, n.right
		}
		down(x.left(), ol, nl)
		down(x.right(), or, nr)
	}
	top := t.rootIndex()
	if old != nil {
		top = max(top, old.rootIndex())
	}
	down(top, nil, nil)
}

// checkFresh verifies that no public key of a path is in t, which the path is still to be
// put into: RFC 9420, Section 12.4.2. Otherwise a member could commit a path whose secrets
// somebody knew before, and so keep out whoever it pretends to heal. before is the index
// of the tree that t was edited from: keys that the edit brought are compared when t is
// indexed, since the path replaces no leaf that is new.
func (t *tree) checkFresh(before *keyIndex, p *updatePath) error {
	keys := make([][]byte, 0, len(p.nodes)+1)
	keys = append(keys, p.leaf.EncryptionKey)
	for _, n := range p.nodes {
		keys = append(keys, n.encryptionKey)
	}
	for _, key := range keys {
		if before.has(maphash.Bytes(encryptionSeed, key)) && t.uses(key) {
			return fmt.Errorf("%w: a public key in the path is in the tree already", ErrInvalid)
		}
	}
	return nil
}

// uses says whether a node has this public key. It looks at every node.
func (t *tree) uses(key []byte) (found bool) {
	t.root.each(t.rootIndex(), func(_ nodeIndex, n *node) {
		found = found || !n.blank() && bytes.Equal(n.publicKey(), key)
	})
	return found
}

// reindex gives t its index, made from that of old, from which t was edited (nil: from
// nothing), and verifies what one change can break in the tree as a whole: that keys
// are unique and that credential types are supported.
func (t *tree) reindex(old *tree) error {
	from := &keyIndex{}
	if old != nil {
		from = old.index
	}
	counts := from.census
	var left, came []uint64
	t.differences(old, func(x nodeIndex, o, n *node) {
		if o != nil && o.leaf != nil && n != nil && n.leaf == o.leaf {
			return
		}
		if o != nil && !o.blank() {
			left = append(left, maphash.Bytes(encryptionSeed, o.publicKey()))
			if o.leaf != nil {
				left = append(left, maphash.Bytes(signatureSeed, o.leaf.signatureKey()))
				counts.count(o.leaf, ^uint32(0))
			}
		}
		if n != nil && !n.blank() {
			came = append(came, maphash.Bytes(encryptionSeed, n.publicKey()))
			if n.leaf != nil {
				came = append(came, maphash.Bytes(signatureSeed, n.leaf.signatureKey()))
				counts.count(n.leaf, 1)
			}
		}
	})
	index, duplicate := from.change(left, came)
	if duplicate {
		if err := t.checkUnique(); err != nil {
			return err
		}
	}
	index.census = counts
	t.index = index
	return t.checkCredentialTypes()
}
