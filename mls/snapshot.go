package mls

import (
	"bytes"
	"fmt"
)

// The forms of a stored Epoch, by their first octet. Each is canonical: equal states
// give equal bytes.
const (
	formWhole      = 1 // with the tree inside
	formWholeFlags = 2 // the same of an epoch that is thin or was ended
	formHead       = 3 // with the tree in pages apart
)

// Flags of formWholeFlags and formHead.
const (
	flagThin  = 1
	flagEnded = 2 // the ReInit follows
)

// MarshalSecret gives the canonical encoding of the Epoch: equal states give equal
// bytes. It holds all secrets of the epoch except the message keys ([Ratchets.Rows])
// and is meant to be sealed. [Epoch.Snapshot] is the incremental way.
func (e *Epoch) MarshalSecret() []byte {
	tree := e.tree.encode()
	return encodeSecret(maxHead+len(tree), func(w *writer) {
		flags := e.flags()
		if flags == 0 {
			w.u8(formWhole)
		} else {
			w.u8(formWholeFlags)
		}
		w.vec(e.context)
		w.vec(tree)
		e.encodeFields(w)
		if flags != 0 {
			e.encodeFlags(w)
		}
	})
}

func (e *Epoch) flags() (f uint8) {
	if e.thin {
		f |= flagThin
	}
	if e.reinit != nil {
		f |= flagEnded
	}
	return f
}

func (e *Epoch) encodeFlags(w *writer) {
	w.u8(e.flags())
	if e.reinit != nil {
		e.reinit.encode(w)
	}
}

func (e *Epoch) readFlags(r *reader) {
	f := r.u8()
	if f&^(flagThin|flagEnded) != 0 {
		r.fail("flags %#x", f)
	}
	e.thin = f&flagThin != 0
	if f&flagEnded != 0 {
		e.reinit = readReInit(r)
		if r.err == nil { // one that shares nothing with r
			again := reader{b: encode(e.reinit.encode)}
			e.reinit = readReInit(&again)
		}
	}
}

// encodeFields writes everything but GroupContext, tree and flags.
func (e *Epoch) encodeFields(w *writer) {
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
}

// readFields reads what encodeFields writes, and keeps no slice of it: it is secret.
func (e *Epoch) readFields(r *reader) {
	e.own = LeafIndex(r.u32())
	e.interim, e.confirmationTag = clone(r.vec()), clone(r.vec())
	for _, s := range e.secrets.each() {
		*s = copySecret(r.vec())
	}
	e.keys = pathKeys{}
	previous := int64(-1)
	r.list(func(r *reader) {
		x := nodeIndex(r.u32())
		if int64(x) <= previous {
			r.fail("path keys are not ascending")
		}
		previous = int64(x)
		e.keys[x] = copySecret(r.vec())
	})
	r.list(func(r *reader) { e.pending = append(e.pending, pendingLeaf{clone(r.vec()), copySecret(r.vec())}) })
}

// corrupt is the error of stored state that is not one of ours.
func corrupt(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%w: snapshot: %s: %w", ErrCorrupt, what, err)
	}
	return fmt.Errorf("%w: snapshot: %s", ErrCorrupt, what)
}

// ParseEpoch is the inverse of [Epoch.MarshalSecret]. It checks that the parts
// belong together (tree hash, transcript hash, own keys), not the signatures in the
// tree, which were verified before it was stored.
func ParseEpoch(snapshot []byte) (*Epoch, error) { return parseEpoch(snapshot, false) }

func parseEpoch(snapshot []byte, thin bool) (*Epoch, error) {
	r := reader{b: snapshot}
	form := r.u8()
	if r.err == nil && form != formWhole && form != formWholeFlags {
		return nil, fmt.Errorf("%w: snapshot of form %d", ErrUnsupported, form)
	}
	e := &Epoch{context: clone(r.vec())}
	encodedTree := clone(r.vec())
	e.readFields(&r)
	if form == formWholeFlags {
		e.readFlags(&r)
		if e.flags() == 0 {
			r.fail("no flags")
		}
	}
	if err := e.readContext(&r); err != nil {
		return nil, err
	}
	var err error
	if e.tree, err = readRatchetTree(e.suite(), encodedTree); err != nil {
		return nil, corrupt("tree", err)
	}
	return e, e.checkRestored(thin)
}

// readContext ends the decoding of the fields and decodes the GroupContext.
func (e *Epoch) readContext(r *reader) error {
	if err := r.done("fields"); err != nil {
		return corrupt("encoding", err)
	}
	cr := reader{b: e.context}
	e.ctx = readGroupContext(&cr)
	if err := cr.done("GroupContext"); err != nil {
		return corrupt("context", err)
	}
	return nil
}

// checkRestored verifies that the parts of a stored Epoch belong together.
func (e *Epoch) checkRestored(thin bool) error {
	s := e.suite()
	switch {
	case e.thin != thin:
		return corrupt("a thin epoch where a whole one belongs, or the reverse", nil)
	case !bytes.Equal(e.tree.freeze(), e.ctx.treeHash):
		return corrupt("tree hash", nil)
	case e.tree.signatureKey(e.own) == nil:
		return corrupt("own leaf is blank", nil)
	case !bytes.Equal(e.interim, s.interimTranscript(e.ctx.confirmedTranscript, e.confirmationTag)):
		return corrupt("transcript hash", nil)
	}
	heavy := e.secrets.heavy()
	for _, k := range e.secrets.each() {
		want := s.nh
		if thin && isOneOf(k, heavy) {
			want = 0
		}
		if len(k.bytes()) != want {
			return corrupt("length of a secret", nil)
		}
	}
	for x, k := range e.keys {
		n := e.tree.at(x)
		if n == nil || n.blank() || len(k.bytes()) != s.kem.privateSize() || x.isLeaf() && x != e.own.node() || !x.covers(e.own) {
			return corrupt("path key", nil)
		}
	}
	if _, ok := e.keys[e.own.node()]; !ok {
		return corrupt("no leaf key", nil)
	}
	if err := e.tree.reindex(nil); err != nil {
		return corrupt("tree", err)
	}
	return nil
}

func isOneOf(s *secret, list []*secret) bool {
	for _, x := range list {
		if s == x {
			return true
		}
	}
	return false
}
