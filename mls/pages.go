package mls

import (
	"bytes"
	"fmt"
)

// A stored epoch in parts. The head holds what changes with every epoch: context,
// secrets, path keys. The tree is cut into pages, each a subtree of pageLevels levels;
// a page is named by the tree hash of its uppermost node (RFC 9420, Section 7.8), which
// covers every octet below it. So epochs share the pages that they have in common, and
// the next epoch adds those on the changed paths.

// pageLevels is the height of a page: 16 leaves, of which one change rewrites about
// three kilobytes per level of pages.
const pageLevels = 4

const pageVersion = 1

// The kinds of nodes in a page.
const (
	pageBlank = 0 // nobody below
	pageNode  = 1 // its content, and its children's
	pageLink  = 2 // the tree hash of the page it is in
)

// PageSource finds a page by its key; the result is only read during the call that
// asked for it. Its errors are passed on.
type PageSource func(key []byte) ([]byte, error)

// maxHead is more than any head holds: its parts are a GroupContext and a key for each level
// of the tree.
const maxHead = 16 << 10

// Snapshot gives the Epoch as a head, which is secret, and the pages of its public tree
// that since does not have (nil: all of them). Pages are keyed by content: write them
// where they are not yet, in one transaction with the head. [LoadEpoch] is the inverse;
// [Epoch.MarkPages] tells which pages are still wanted.
func (e *Epoch) Snapshot(since *Epoch) (head []byte, pages []Row) {
	head = encodeSecret(maxHead, func(w *writer) {
		w.u8(formHead)
		w.vec(e.context)
		w.u32(e.tree.leaves)
		e.encodeFields(w)
		e.encodeFlags(w)
	})
	var put func(n *node, x nodeIndex)
	put = func(n *node, x nodeIndex) {
		if since != nil && since.tree.hasPage(x, n.hash) {
			return
		}
		var links []pageRoot
		w := writer{b: make([]byte, 0, 4096)}
		w.u8(pageVersion)
		w.u8(uint8(x.level()))
		e.tree.encodePage(&w, n, x, true, &links)
		pages = append(pages, Row{pageKey(n.hash), bytes.Clone(w.b)})
		for _, l := range links {
			put(l.n, l.x)
		}
	}
	put(e.tree.root, e.tree.rootIndex())
	return head, pages
}

type pageRoot struct {
	n *node
	x nodeIndex
}

func pageKey(hash []byte) []byte { return append([]byte{'t'}, hash...) }

// startsPage says whether the node at x is the uppermost of a page in every tree that
// is higher than it.
func startsPage(x nodeIndex) bool { return x.level() > 0 && x.level()%pageLevels == 0 }

// hasPage says whether t has a page at x with this hash.
func (t *tree) hasPage(x nodeIndex, hash []byte) bool {
	if x != t.rootIndex() && !startsPage(x) {
		return false
	}
	n := t.at(x)
	return n != nil && n.members > 0 && bytes.Equal(n.hash, hash)
}

func (t *tree) encodePage(w *writer, n *node, x nodeIndex, top bool, links *[]pageRoot) {
	switch {
	case n.members == 0:
		w.u8(pageBlank)
	case !top && startsPage(x):
		w.u8(pageLink)
		w.raw(n.hash)
		*links = append(*links, pageRoot{n, x})
	case x.isLeaf():
		w.u8(pageNode)
		w.vec(n.leaf.raw)
	default:
		w.u8(pageNode)
		w.optional(n.parent != nil)
		if n.parent != nil {
			n.parent.encode(w)
		}
		t.encodePage(w, n.left, x.left(), false, links)
		t.encodePage(w, n.right, x.right(), false, links)
	}
}

// MarkPages adds the keys of all pages of e to seen. A page that is there already is not
// looked into, so marking the epochs that are kept costs what they do not share; every
// stored page that was not marked is garbage.
func (e *Epoch) MarkPages(seen map[string]struct{}) {
	var mark func(n *node, x nodeIndex, top bool)
	mark = func(n *node, x nodeIndex, top bool) {
		if n.members == 0 || x.level() < pageLevels && !top {
			return
		}
		if top || startsPage(x) {
			k := string(pageKey(n.hash))
			if _, ok := seen[k]; ok {
				return
			}
			seen[k] = struct{}{}
		}
		if !x.isLeaf() {
			mark(n.left, x.left(), false)
			mark(n.right, x.right(), false)
		}
	}
	mark(e.tree.root, e.tree.rootIndex(), true)
}

// MarkStoredPages is [Epoch.MarkPages] for an epoch of which only the head is at hand.
func MarkStoredPages(head []byte, page PageSource, seen map[string]struct{}) error {
	e, leaves, err := readHead(head)
	if err != nil {
		return err
	}
	defer e.Wipe()
	var mark func(hash []byte, x nodeIndex) error
	mark = func(hash []byte, x nodeIndex) error {
		key := pageKey(hash)
		if _, ok := seen[string(key)]; ok {
			return nil
		}
		p := pageReader{suite: e.suite(), source: page}
		var links []pageLinkAt
		if err := p.scan(key, x, &links); err != nil {
			return err
		}
		seen[string(key)] = struct{}{}
		for _, l := range links {
			if err := mark(l.hash, l.x); err != nil {
				return err
			}
		}
		return nil
	}
	return mark(e.ctx.treeHash, rootOf(leaves))
}

// LoadEpoch is the inverse of [Epoch.Snapshot]. It verifies the content of every page
// against its key, and what [ParseEpoch] verifies.
func LoadEpoch(head []byte, page PageSource) (*Epoch, error) { return loadEpoch(head, page, false) }

func loadEpoch(head []byte, page PageSource, thin bool) (*Epoch, error) {
	e, leaves, err := readHead(head)
	if err != nil {
		return nil, err
	}
	p := pageReader{suite: e.suite(), source: page}
	x := rootOf(leaves)
	root, err := p.load(e.ctx.treeHash, x)
	if err != nil {
		return nil, err
	}
	e.tree = &tree{suite: e.suite(), root: root, leaves: leaves}
	return e, e.checkRestored(thin)
}

// readHead gives the epoch without its tree, and the size of the tree. It shares nothing with
// head, which is secret.
func readHead(head []byte) (*Epoch, uint32, error) {
	r := reader{b: head}
	if form := r.u8(); r.err == nil && form != formHead {
		return nil, 0, fmt.Errorf("%w: snapshot head of form %d", ErrUnsupported, form)
	}
	e := &Epoch{context: clone(r.vec())}
	leaves := r.u32()
	if leaves == 0 || leaves&(leaves-1) != 0 || leaves > maxLeaves {
		r.fail("tree of %d leaves", leaves)
	}
	e.readFields(&r)
	e.readFlags(&r)
	return e, leaves, e.readContext(&r)
}

type pageReader struct {
	suite  *suite
	source PageSource
}

type pageLinkAt struct {
	hash []byte
	x    nodeIndex
}

func (p *pageReader) open(key []byte, x nodeIndex) (*reader, error) {
	b, err := p.source(key)
	if err != nil {
		return nil, fmt.Errorf("mls: page %x: %w", key, err)
	}
	r := &reader{b: b}
	if v := r.u8(); r.err == nil && v != pageVersion {
		return nil, fmt.Errorf("%w: page version %d", ErrUnsupported, v)
	}
	if level := r.u8(); int(level) != x.level() {
		return nil, corrupt("page of another level", nil)
	}
	return r, nil
}

// load builds the subtree at x from the page with this hash and those it links to.
func (p *pageReader) load(hash []byte, x nodeIndex) (*node, error) {
	r, err := p.open(pageKey(hash), x)
	if err != nil {
		return nil, err
	}
	n, err := p.read(r, x, true)
	if err != nil {
		return nil, err
	}
	if err := r.done("page"); err != nil {
		return nil, corrupt("page", err)
	}
	if n.members == 0 || !bytes.Equal(n.treeHash(p.suite, x), hash) {
		return nil, corrupt("a page is not what its key says", nil)
	}
	return n, nil
}

func (p *pageReader) read(r *reader, x nodeIndex, top bool) (*node, error) {
	switch kind := r.u8(); {
	case r.err != nil:
	case kind == pageBlank && top:
		r.fail("a page with nobody in it")
	case kind == pageBlank:
		return blankTree(x.level()), nil
	case kind == pageLink && !top && startsPage(x):
		hash := r.take(p.suite.nh)
		if r.err == nil {
			return p.load(hash, x)
		}
	case kind != pageNode || !top && startsPage(x):
		r.fail("node of kind %d in a page", kind)
	case x.isLeaf():
		lr := reader{b: r.vec(), err: r.err}
		l := readLeafData(&lr)
		if err := lr.done("LeafNode"); err != nil {
			return nil, corrupt("page", err)
		}
		return &node{leaf: l, members: 1}, nil
	default:
		n := &node{}
		if r.optional() {
			n.parent = readParentNode(r)
			n.parent.own()
		}
		if r.err != nil {
			break
		}
		var err error
		if n.left, err = p.read(r, x.left(), false); err != nil {
			return nil, err
		}
		if n.right, err = p.read(r, x.right(), false); err != nil {
			return nil, err
		}
		if n.members = n.left.members + n.right.members; n.members == 0 {
			r.fail("a blank subtree written out")
			break
		}
		return n, nil
	}
	return nil, corrupt("page", r.err)
}

// scan reads a page for its links only.
func (p *pageReader) scan(key []byte, x nodeIndex, links *[]pageLinkAt) error {
	r, err := p.open(key, x)
	if err != nil {
		return err
	}
	var down func(x nodeIndex, top bool)
	down = func(x nodeIndex, top bool) {
		switch kind := r.u8(); {
		case r.err != nil || kind == pageBlank:
		case kind == pageLink && !top && startsPage(x):
			*links = append(*links, pageLinkAt{r.take(p.suite.nh), x})
		case kind != pageNode:
			r.fail("node of kind %d in a page", kind)
		case x.isLeaf():
			r.vec()
		default:
			if r.optional() {
				readParentNode(r)
			}
			down(x.left(), false)
			down(x.right(), false)
		}
	}
	down(x, true)
	if err := r.done("page"); err != nil {
		return corrupt("page", err)
	}
	return nil
}
