package mls

import (
	"bytes"
	"fmt"
)

// snapshotVersion is the first octet of a snapshot. The tree is one field of its
// own, so that a later version can name its nodes by hash and store them apart.
const snapshotVersion = 1

// MarshalSecret gives the canonical encoding of the Epoch: equal states give equal
// bytes. It holds all secrets of the epoch except the message keys ([Ratchets.Rows])
// and is meant to be sealed.
func (e *Epoch) MarshalSecret() []byte {
	return encode(func(w *writer) {
		w.u8(snapshotVersion)
		w.vec(e.context)
		w.vec(e.tree.encode())
		w.u32(uint32(e.own))
		w.vec(e.interim)
		w.vec(e.confirmationTag)
		for _, s := range e.secrets.each() {
			w.vec(s.bytes())
		}
		w.list(func() {
			for _, x := range e.keys.sorted() {
				w.u32(uint32(x))
				w.vec(e.keys[x].bytes())
			}
		})
		w.list(func() {
			for _, p := range e.pending {
				w.vec(p.public)
				w.vec(p.private.bytes())
			}
		})
	})
}

// ParseEpoch is the inverse of [Epoch.MarshalSecret]. It checks that the parts
// belong together (tree hash, transcript hash, own keys), not the signatures in the
// tree, which were verified before it was stored.
func ParseEpoch(snapshot []byte) (*Epoch, error) {
	corrupt := func(what string, err error) error {
		if err != nil {
			return fmt.Errorf("%w: snapshot: %s: %w", ErrCorrupt, what, err)
		}
		return fmt.Errorf("%w: snapshot: %s", ErrCorrupt, what)
	}
	r := reader{b: clone(snapshot)}
	if v := r.u8(); r.err == nil && v != snapshotVersion {
		return nil, fmt.Errorf("%w: snapshot version %d", ErrUnsupported, v)
	}
	e := &Epoch{context: r.vec(), keys: pathKeys{}}
	encodedTree := r.vec()
	e.own = LeafIndex(r.u32())
	e.interim, e.confirmationTag = r.vec(), r.vec()
	for _, s := range e.secrets.each() {
		*s = copySecret(r.vec())
	}
	previous := int64(-1)
	r.list(func(r *reader) {
		x := nodeIndex(r.u32())
		if int64(x) <= previous {
			r.fail("path keys are not ascending")
		}
		previous = int64(x)
		e.keys[x] = copySecret(r.vec())
	})
	r.list(func(r *reader) { e.pending = append(e.pending, pendingLeaf{r.vec(), copySecret(r.vec())}) })
	if err := r.done("fields"); err != nil {
		return nil, corrupt("encoding", err)
	}
	cr := reader{b: e.context}
	e.ctx = readGroupContext(&cr)
	if err := cr.done("GroupContext"); err != nil {
		return nil, corrupt("context", err)
	}
	s := e.suite()
	var err error
	if e.tree, err = readRatchetTree(s, encodedTree); err != nil {
		return nil, corrupt("tree", err)
	}
	if err := e.tree.reindex(nil); err != nil {
		return nil, corrupt("tree", err)
	}
	switch {
	case !bytes.Equal(e.tree.freeze(), e.ctx.treeHash):
		return nil, corrupt("tree hash", nil)
	case e.tree.leaf(e.own) == nil:
		return nil, corrupt("own leaf is blank", nil)
	case !bytes.Equal(e.interim, s.interimTranscript(e.ctx.confirmedTranscript, e.confirmationTag)):
		return nil, corrupt("transcript hash", nil)
	}
	for _, k := range e.secrets.each() {
		if len(k.bytes()) != s.nh {
			return nil, corrupt("length of a secret", nil)
		}
	}
	for x, k := range e.keys {
		n := e.tree.at(x)
		if n == nil || n.blank() || len(k.bytes()) != s.kem.privateSize() || x.isLeaf() && x != e.own.node() || !x.covers(e.own) {
			return nil, corrupt("path key", nil)
		}
	}
	if _, ok := e.keys[e.own.node()]; !ok {
		return nil, corrupt("no leaf key", nil)
	}
	return e, nil
}
