package mls

import (
	"fmt"
	"slices"
)

// checkJoined verifies a ratchet tree that came from outside: RFC 9420, Section
// 12.4.3.1, the tree's part.
func (t *tree) checkJoined(ctx *groupContext, v CredentialValidator) error {
	if err := t.checkStructure(); err != nil {
		return err
	}
	if err := t.checkParentHashes(); err != nil {
		return err
	}
	if err := t.checkLeaves(ctx, v); err != nil {
		return err
	}
	return t.reindex(nil)
}

// checkStructure verifies unmerged_leaves: ascending, non-blank, below the node,
// and unmerged at every non-blank node between (RFC 9420, Section 12.4.3.1); and that
// something can be sealed to each parent.
func (t *tree) checkStructure() (err error) {
	t.root.each(t.rootIndex(), func(x nodeIndex, n *node) {
		if n.parent == nil || err != nil {
			return
		}
		if err = t.suite.kem.checkPublic(n.parent.encryptionKey); err != nil {
			err = fmt.Errorf("encryption_key of node %d: %w", x, err)
			return
		}
		for k, i := range n.parent.unmerged {
			switch {
			case k > 0 && n.parent.unmerged[k-1] >= i:
				err = fmt.Errorf("%w: unmerged_leaves of node %d are not ascending", ErrInvalid, x)
			case uint32(i) >= t.leaves || !x.covers(i): // covers wraps beyond 2^31
				err = fmt.Errorf("%w: unmerged leaf %d is not below node %d", ErrInvalid, i, x)
			case !n.unmergedBelow(x, i):
				err = fmt.Errorf("%w: unmerged leaf %d of node %d is blank or merged below", ErrInvalid, i, x)
			}
			if err != nil {
				return
			}
		}
	})
	return err
}

// unmergedBelow says whether leaf i is non-blank and unmerged at n and every
// non-blank parent between.
func (n *node) unmergedBelow(x nodeIndex, i LeafIndex) bool {
	for !x.isLeaf() {
		if n.parent != nil {
			if _, ok := slices.BinarySearch(n.parent.unmerged, i); !ok {
				return false
			}
		}
		if i.node() < x {
			n, x = n.left, x.left()
		} else {
			n, x = n.right, x.right()
		}
	}
	return n.leaf != nil
}

// checkParentHashes verifies that every non-blank parent is parent-hash valid: RFC
// 9420, Section 7.9.2.
func (t *tree) checkParentHashes() (err error) {
	t.freeze()
	t.root.each(t.rootIndex(), func(x nodeIndex, n *node) {
		if err != nil || n.parent == nil {
			return
		}
		if !t.suite.linked(n.parent, n.left, x.left(), n.right, x.right()) &&
			!t.suite.linked(n.parent, n.right, x.right(), n.left, x.left()) {
			err = fmt.Errorf("%w: node %d is not parent-hash valid", ErrInvalid, x)
		}
	})
	return err
}

// linked says whether p, whose children are c and s, is the parent-hash parent of a
// node in c's resolution: RFC 9420, Section 7.9.2.
func (s *suite) linked(p *parentNode, c *node, cx nodeIndex, sib *node, sx nodeIndex) bool {
	unmerged := within(cx, p.unmerged)
	res := c.resolution(cx, nil)
	if len(res) != len(unmerged)+1 {
		return false
	}
	// The one node of the resolution that is not an unmerged leaf of p.
	var d *node
	for _, x := range res {
		if x.isLeaf() {
			if _, ok := slices.BinarySearch(unmerged, x.leaf()); ok {
				continue
			}
		}
		if d != nil {
			return false
		}
		d = c.descend(cx, x)
	}
	if d == nil {
		return false
	}
	want := s.parentHash(p, sib.hashWithout(s, sx, p.unmerged))
	if d.leaf != nil {
		l := d.leaf.decode()
		return l.Source == LeafFromCommit && macEqual(l.ParentHash, want)
	}
	return macEqual(d.parent.parentHash, want)
}

// descend gives the node at x below n, which is at from.
func (n *node) descend(from, x nodeIndex) *node {
	for from != x {
		if x < from {
			n, from = n.left, from.left()
		} else {
			n, from = n.right, from.right()
		}
	}
	return n
}

// checkLeaves verifies every leaf: RFC 9420, Sections 7.3 and 12.4.3.1. Lifetimes are not
// checked: a member whose KeyPackage ran out is still a member.
func (t *tree) checkLeaves(ctx *groupContext, v CredentialValidator) error {
	type job struct {
		i LeafIndex
		l *LeafNode
	}
	var jobs []job
	t.root.eachLeaf(t.rootIndex(), func(i LeafIndex, l *LeafNode) bool {
		jobs = append(jobs, job{i, l})
		return true
	})
	asked, err := demandsOf(ctx.extensions)
	if err != nil {
		return err
	}
	if err := inParallel(len(jobs), func(k int) error {
		j := jobs[k]
		if err := j.l.checkSelf(t.suite); err != nil {
			return fmt.Errorf("leaf %d: %w", j.i, err)
		}
		if err := j.l.meets(asked); err != nil {
			return fmt.Errorf("leaf %d: %w", j.i, err)
		}
		if err := j.l.verifySignature(t.suite, ctx.groupID, j.i); err != nil {
			return fmt.Errorf("leaf %d: %w", j.i, err)
		}
		return nil
	}); err != nil {
		return err
	}
	for _, j := range jobs {
		if err := v.check(j.l); err != nil {
			return fmt.Errorf("leaf %d: %w", j.i, err)
		}
	}
	return nil
}

// checkCredentialTypes verifies that every member supports every credential type in
// use: RFC 9420, Section 7.3.
func (t *tree) checkCredentialTypes() error {
	if t.index.census.consistent(t.root.members) {
		return nil
	}
	err := fmt.Errorf("%w: a credential type in use is not supported by all", ErrInvalid)
	t.root.eachLeaf(t.rootIndex(), func(i LeafIndex, l *LeafNode) bool {
		for k, users := range t.index.census.users {
			if c := CredentialType(k + 1); users > 0 && !slices.Contains(l.Capabilities.Credentials, c) {
				err = fmt.Errorf("%w: leaf %d does not support credential type %d", ErrInvalid, i, c)
				return false
			}
		}
		return true
	})
	return err
}

// checkUnique verifies that signature keys are unique among leaves and encryption
// keys among all nodes: RFC 9420, Sections 7.3, 12.2 (a client twice, or a member added
// again), 12.4.2 and 12.4.3.1. It looks at every node; [tree.reindex] asks it only when the
// index has seen a fingerprint twice.
func (t *tree) checkUnique() (err error) {
	signature := make(map[string]struct{}, t.root.members)
	encryption := make(map[string]struct{}, 2*t.root.members)
	t.root.each(t.rootIndex(), func(x nodeIndex, n *node) {
		if n.blank() || err != nil {
			return
		}
		if n.leaf != nil {
			k := string(n.leaf.signatureKey())
			if _, dup := signature[k]; dup {
				err = fmt.Errorf("%w: signature key of leaf %d is another's too", ErrInvalid, x.leaf())
				return
			}
			signature[k] = struct{}{}
		}
		k := string(n.publicKey())
		if _, dup := encryption[k]; dup {
			err = fmt.Errorf("%w: encryption key of node %d is another's too", ErrInvalid, x)
			return
		}
		encryption[k] = struct{}{}
	})
	return err
}
