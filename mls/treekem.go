package mls

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
)

// pathKeys are the private HPKE keys a member holds: its leaf's and those of the
// non-blank nodes above it that it knows.
type pathKeys map[nodeIndex]secret

// kept gives copies of the keys whose nodes are still in t with the same content as before.
func (k pathKeys) kept(before, t *tree) pathKeys {
	out := make(pathKeys, len(k))
	for x, key := range k {
		n := t.at(x)
		if n != nil && !n.blank() && bytes.Equal(n.publicKey(), before.at(x).publicKey()) {
			out[x] = key.clone()
		}
	}
	return out
}

// put has another key of a node, and wipes the one before.
func (k pathKeys) put(x nodeIndex, key secret) {
	k[x].wipe()
	k[x] = key
}

func (k pathKeys) wipe() {
	for _, key := range k {
		key.wipe()
	}
}

func (k pathKeys) sorted() []nodeIndex { return slices.Sorted(maps.Keys(k)) }

// nodeKey derives a node's key pair from its path secret: RFC 9420, Section 7.4.
func (s *suite) nodeKey(pathSecret secret) (secret, []byte, error) {
	nodeSecret := s.deriveSecret(pathSecret, "node")
	defer nodeSecret.wipe()
	return s.kem.deriveKeyPair(nodeSecret.bytes())
}

// newPath is what a committer makes: the path that it has put into the tree, and
// the secrets of it.
type newPath struct {
	steps   []pathStep
	secrets []secret // path secret of each step
	keys    pathKeys // of the steps and of the leaf
	last    secret   // commit_secret
	leaf    *LeafNode
}

// wipe destroys what only the making of the commit needs.
func (p *newPath) wipe() {
	if p == nil {
		return
	}
	for _, k := range p.secrets {
		k.wipe()
	}
	p.last.wipe()
}

// generatePath is RFC 9420, Section 7.4 and 7.5: it draws a leaf key and
// path_secret[0], in this order, and replaces leaf i and its direct path in t.
// leaf is the template of the new leaf.
func (t *tree) generatePath(rand io.Reader, i LeafIndex, leaf LeafNode, signer *SignatureKey, groupID []byte) (_ *newPath, err error) {
	s := t.suite
	leafKey, leafPub, err := s.drawKeyPair(rand)
	if err != nil {
		return nil, err
	}
	first, err := draw(rand, s.nh)
	if err != nil {
		return nil, err
	}
	p := &newPath{steps: t.filteredPath(i), keys: pathKeys{i.node(): leafKey}}
	defer func() {
		if err != nil {
			p.wipe()
			p.keys.wipe()
		}
	}()
	current := newSecret(first)
	public := make([][]byte, len(p.steps))
	for k, step := range p.steps {
		key, pub, err := s.nodeKey(current)
		if err != nil {
			return nil, err
		}
		p.keys[step.x] = key
		p.secrets = append(p.secrets, current)
		public[k] = pub
		current = s.deriveSecret(current, "path")
	}
	p.last = current
	leaf.ParentHash = t.setPath(i, p.steps, public)
	leaf.EncryptionKey = leafPub
	leaf.Source = LeafFromCommit
	if p.leaf, err = leaf.signed(s, signer, groupID, i); err != nil {
		return nil, err
	}
	t.setLeaf(i, p.leaf)
	return p, nil
}

// setPath puts new parents on the filtered direct path of leaf i, blanks the rest of
// the direct path, and gives the leaf's parent hash: RFC 9420, Sections 7.5 and 7.9.1.
func (t *tree) setPath(i LeafIndex, steps []pathStep, public [][]byte) []byte {
	fresh := make(map[nodeIndex]*parentNode, len(steps))
	var above []byte // parent hash that the next node down carries
	for k := len(steps) - 1; k >= 0; k-- {
		p := &parentNode{encryptionKey: public[k], parentHash: above}
		p.own()
		fresh[steps[k].x] = p
		above = t.suite.parentHash(p, steps[k].sibling.treeHash(t.suite, steps[k].copath))
	}
	t.walk(i, func(x nodeIndex, n *node) {
		if !x.isLeaf() {
			n.parent = fresh[x]
		}
	})
	return above
}

func (t *tree) setLeaf(i LeafIndex, l *LeafNode) {
	t.walk(i, func(x nodeIndex, n *node) {
		if x.isLeaf() {
			n.leaf = pack(l)
		}
	})
}

// recipients is the resolution of a step's copath child less the leaves that this
// commit added: they get the path secret in their Welcome.
func (p pathStep) recipients(added []LeafIndex) []nodeIndex {
	res := p.sibling.resolution(p.copath, nil)
	if len(added) == 0 {
		return res
	}
	return slices.DeleteFunc(res, func(x nodeIndex) bool {
		if !x.isLeaf() {
			return false
		}
		_, isNew := slices.BinarySearch(added, x.leaf())
		return isNew
	})
}

// sealPath encrypts each path secret to its recipients: RFC 9420, Section 7.6. The
// randomness is drawn in order before the sealing, which runs in parallel. added is
// ascending.
func (t *tree) sealPath(rand io.Reader, p *newPath, added []LeafIndex, context []byte) (*updatePath, error) {
	type job struct {
		step, slot int
		to         []byte
		ikm        []byte
	}
	var jobs []job
	out := &updatePath{leaf: p.leaf, nodes: make([]updatePathNode, len(p.steps))}
	for k, step := range p.steps {
		to := step.recipients(added)
		out.nodes[k] = updatePathNode{
			encryptionKey: t.at(step.x).parent.encryptionKey,
			sealed:        make([]hpkeCiphertext, len(to)),
		}
		for j, x := range to {
			ikm, err := draw(rand, t.suite.kem.encapSize())
			if err != nil {
				return nil, err
			}
			jobs = append(jobs, job{k, j, step.sibling.descend(step.copath, x).publicKey(), ikm})
		}
	}
	info := t.suite.labelInfo("UpdatePathNode", context)
	err := inParallel(len(jobs), func(n int) (err error) {
		j := jobs[n]
		out.nodes[j.step].sealed[j.slot], err = t.suite.hpkeSeal(j.ikm, j.to, info, nil, p.secrets[j.step].bytes())
		clear(j.ikm)
		return err
	})
	return out, err
}

// mergePath puts a received path into t, without secrets: RFC 9420, Section 7.5. It
// verifies that the path has the shape of the filtered direct path (Section 12.4.2), and
// its leaf's source (Section 7.3) and parent hash (Section 7.9.2), but not the signature.
func (t *tree) mergePath(i LeafIndex, p *updatePath) ([]pathStep, error) {
	steps := t.filteredPath(i)
	if len(steps) != len(p.nodes) {
		return nil, fmt.Errorf("%w: path of %d nodes, %d wanted", ErrInvalid, len(p.nodes), len(steps))
	}
	public := make([][]byte, len(steps))
	for k := range steps {
		public[k] = p.nodes[k].encryptionKey
		if err := t.suite.kem.checkPublic(public[k]); err != nil {
			return nil, fmt.Errorf("encryption_key of node %d in path: %w", steps[k].x, err)
		}
	}
	parentHash := t.setPath(i, steps, public)
	if p.leaf.Source != LeafFromCommit || !macEqual(parentHash, p.leaf.ParentHash) {
		return nil, fmt.Errorf("%w: parent hash of the path's leaf", ErrInvalid)
	}
	t.setLeaf(i, p.leaf)
	return steps, nil
}

// openPath decrypts the one path secret that is sealed to own and derives the keys
// above it and the commit_secret: RFC 9420, Section 7.6. Every node has to have as many
// path secrets as its copath child's resolution has members: Section 12.4.2. It adds to
// keys.
func (t *tree) openPath(own LeafIndex, keys pathKeys, steps []pathStep, p *updatePath, added []LeafIndex, context []byte) (secret, error) {
	at := slices.IndexFunc(steps, func(s pathStep) bool { return s.copath.covers(own) })
	if at < 0 {
		return secret{}, fmt.Errorf("%w: path does not reach leaf %d", ErrInvalid, own)
	}
	for k, step := range steps {
		// A leaf that was just added is unmerged, so it is in each resolution above it.
		if want := step.sibling.resolutionSize() - len(within(step.copath, added)); want != len(p.nodes[k].sealed) {
			return secret{}, fmt.Errorf("%w: %d path secrets at node %d, %d wanted", ErrInvalid, len(p.nodes[k].sealed), step.x, want)
		}
	}
	step := steps[at]
	for slot, x := range step.recipients(added) {
		key, ok := keys[x]
		if !ok {
			continue
		}
		public := step.sibling.descend(step.copath, x).publicKey()
		plain, err := t.suite.decryptWithLabel(key, public, "UpdatePathNode", context, p.nodes[at].sealed[slot])
		if err != nil {
			return secret{}, fmt.Errorf("path secret of node %d: %w", step.x, err)
		}
		if len(plain) != t.suite.nh {
			clear(plain)
			return secret{}, fmt.Errorf("%w: path secret of %d bytes", ErrInvalid, len(plain))
		}
		return t.implant(keys, steps[at:], newSecret(plain))
	}
	return secret{}, fmt.Errorf("%w: no private key for the path", ErrInvalid)
}

// implant derives the key of each step from the first one's path secret, verifies it
// against the tree (RFC 9420, Sections 12.4.2 and 12.4.3.1), adds it to keys and gives the
// commit_secret.
func (t *tree) implant(keys pathKeys, steps []pathStep, current secret) (secret, error) {
	for _, step := range steps {
		key, pub, err := t.suite.nodeKey(current)
		if err != nil {
			current.wipe()
			return secret{}, err
		}
		n := t.at(step.x)
		if n.parent == nil || !bytes.Equal(n.parent.encryptionKey, pub) {
			key.wipe()
			current.wipe()
			return secret{}, fmt.Errorf("%w: path secret does not give the key of node %d", ErrInvalid, step.x)
		}
		keys.put(step.x, key)
		next := t.suite.deriveSecret(current, "path")
		current.wipe()
		current = next
	}
	return current, nil
}
