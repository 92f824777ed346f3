package group

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// maxCommitsPerDay bounds the nodes that a log can make in a day of its own clock:
// more are void, so that a flood costs the flooder alone.
const maxCommitsPerDay = 1000

// node is one epoch in the tree of epochs, known by structure alone: parent,
// computed child, who claims to have made it. No keys are needed for it.
type node struct {
	id         wire.EpochID
	parent     *node // nil for the virtual root
	children   []*node
	generation uint64
	number     uint64 // MLS epoch number
	depth      int    // in this tree
	interim    []byte // interim_transcript_hash
	mlsGroup   []byte
	leaves     leafDevices // of its tree
	claims     []*item     // its committer's COMMITs with this child, or the OP that names a root, in causal order
	fair       []*item     // those by a log that had not taken another side, nor made too many
	void       bool        // it has no fair claim

	first, last int // by choice.number
	seen        bool
}

// by is the claim to go by where any will do; nil for the virtual root.
func (n *node) by() *item {
	if len(n.claims) == 0 {
		return nil
	}
	return n.claims[0]
}

// claim is the first claim that counts, to go by where all devices must go by the
// same; nil for the virtual root.
func (n *node) claim(counts func(*item) bool) *item {
	if i := slices.IndexFunc(n.claims, counts); i >= 0 {
		return n.claims[i]
	}
	return n.by()
}

// stands says whether a claim that counts makes n a node to choose.
func (n *node) stands(counts func(*item) bool) bool {
	return !n.void && (counts == nil || slices.ContainsFunc(n.fair, counts))
}

// info is what the commit that makes n shows; nil for a root.
func (n *node) info() *CommitInfo {
	if b := n.by(); b != nil && b.commit != nil {
		return &b.commit.info
	}
	return nil
}

// adds lists the hashes of the KeyPackages that the commit that makes n adds.
func (n *node) adds() [][32]byte {
	if b := n.by(); b != nil && b.commit != nil {
		return b.commit.adds
	}
	return nil
}

// used says whether the chain to n has added a KeyPackage before: its device was there
// and asks to be added again, with another one, if it lost its way.
func (n *node) used(keyPackage []byte) bool {
	for ; n != nil; n = n.parent {
		if slices.Contains(n.adds(), sha256.Sum256(keyPackage)) {
			return true
		}
	}
	return false
}

// hasWelcome says whether n's committer gave out a Welcome.
func (n *node) hasWelcome() bool {
	return slices.ContainsFunc(n.claims, func(claim *item) bool { return claim.commit != nil && claim.commit.hasWelcome })
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

// epochTree is the tree of all epochs that entries name, by structure alone.
type epochTree struct {
	group wire.GroupID
	root  *node // virtual: the genesis
	nodes map[wire.EpochID]*node
	tips  int                    // nodes without children
	stood map[wire.LogID][]stand // what each log voted for or committed, in order of arrival
	days  map[logDay][]*item     // commits
}

// logDay is a day, since 1970, of a log's own clock.
type logDay struct {
	log wire.LogID
	day int64
}

// stand is a VOTE or COMMIT of a log: where it stood, and what it refused.
type stand struct {
	by      *item
	at      *node
	refused []wire.EpochID
}

func newEpochTree(group wire.GroupID) *epochTree {
	root := &node{id: wire.RootEpochID(group)}
	return &epochTree{
		group: group, root: root, nodes: map[wire.EpochID]*node{root.id: root},
		stood: map[wire.LogID][]stand{}, days: map[logDay][]*item{},
	}
}

// reboot checks a root that an OP names and gives its node.
func (t *epochTree) reboot(it *item, inPast func(a, b *item) bool) (*node, error) {
	r := it.op.Reboot
	from := t.nodes[r.From]
	if from == nil || from != t.root && (!slices.ContainsFunc(from.claims, func(by *item) bool { return inPast(by, it) }) || r.Generation <= from.generation) {
		return nil, fmt.Errorf("reboot: %w: its parent epoch", ErrUnknown)
	}
	if want := wire.RebootEpochID(t.group, it.log.Device, r); r.Root != want {
		return nil, fmt.Errorf("reboot: %w: the root it names is not the one it describes", ErrForged)
	}
	return &node{
		id: r.Root, parent: from, depth: from.depth + 1, generation: r.Generation, interim: r.Interim, mlsGroup: r.MLSGroup[:],
		leaves: leafDevices{&it.log.Device}, claims: []*item{it}, fair: []*item{it},
	}, nil
}

// commit checks a COMMIT against its parent, without keys, and gives its node:
// group, number and the child's ID, which is computed and never believed, and that
// its author has the committer's leaf. The parent must lie in the entry's own past,
// so that every device judges it alike.
func (t *epochTree) commit(it *item, engine Engine, inPast func(a, b *item) bool) (*node, error) {
	c := it.commit
	p := t.nodes[c.Parent]
	if p == nil || !slices.ContainsFunc(p.claims, func(by *item) bool { return inPast(by, it) }) {
		return nil, fmt.Errorf("COMMIT: %w: its parent epoch is not in its past", ErrInvalidCommit)
	}
	if !bytes.Equal(c.info.MLSGroup, p.mlsGroup) || c.info.Epoch != p.number {
		return nil, fmt.Errorf("COMMIT: %w: it is for another epoch", ErrInvalidCommit)
	}
	if !p.leaves.of(c.info.Sender, it.log.Device) {
		return nil, fmt.Errorf("COMMIT: %w: the commit is another device's", ErrForged)
	}
	if p.info() == nil && c.info.Path {
		// Nobody can check the transcript that a root names. Under one that repeats another
		// root's, that one's commits lead to the children that they have there.
		if d, err := identity.ClaimedDevice(c.info.Own); err != nil || d != it.log.Device {
			return nil, fmt.Errorf("COMMIT: %w: the commit under a root is another device's", ErrForged)
		}
	}
	after, err := p.leaves.change(&c.info)
	if err != nil {
		return nil, fmt.Errorf("COMMIT: %w: %w", ErrInvalidCommit, err)
	}
	interim, err := engine.NextInterim(p.interim, c.Commit.Commit)
	if err != nil {
		return nil, fmt.Errorf("COMMIT: %w: %w", ErrInvalidCommit, err)
	}
	if want := wire.EpochIDOf(t.group, p.generation, p.number+1, interim); want != c.Child {
		return nil, fmt.Errorf("COMMIT: %w: the child it names is not the one it leads to", ErrForged)
	}
	n := &node{id: c.Child, parent: p, depth: p.depth + 1, generation: p.generation, number: p.number + 1, interim: interim, mlsGroup: p.mlsGroup, leaves: after, claims: []*item{it}}
	if n.void = t.swings(it, n, inPast) || t.floods(it, inPast); !n.void {
		n.fair = n.claims
	}
	return n, nil
}

// swings says whether the author's log had voted or committed under another child
// of n's parent without refusing that child first: whoever takes a side keeps it.
func (t *epochTree) swings(it *item, n *node, inPast func(a, b *item) bool) bool {
	stood := t.stood[it.log]
	for _, s := range stood {
		other := s.at
		if !inPast(s.by, it) {
			continue // on another branch of a forked log
		}
		for other != nil && other.depth > n.depth {
			other = other.parent
		}
		if other == nil || other.depth < n.depth || other.parent != n.parent || other.id == n.id {
			continue
		}
		left := slices.ContainsFunc(stood, func(later stand) bool { // in its past, not in the order of arrival
			return slices.Contains(later.refused, other.id) && inPast(s.by, later.by) && inPast(later.by, it)
		})
		if !left {
			return true
		}
	}
	return false
}

func (t *epochTree) floods(it *item, inPast func(a, b *item) bool) bool {
	n := 0
	for _, c := range t.days[logDay{it.log, it.dated().Time().Unix() / 86400}] {
		if inPast(c, it) {
			n++
		}
	}
	return n >= maxCommitsPerDay
}

// add puts a checked node into the tree, or its claim to one that is there.
func (t *epochTree) add(n *node) {
	old := t.nodes[n.id]
	if old == nil {
		t.nodes[n.id] = n
		if len(n.parent.children) > 0 || n.parent == t.root {
			t.tips++
		}
		n.parent.children = append(n.parent.children, n)
		return
	}
	old.fair = append(slices.Clip(old.fair), n.fair...)
	old.claims = append(slices.Clip(old.claims), n.claims...)
	slices.SortFunc(old.claims, (*item).compare)
	old.void = old.void && n.void
}

// stand notes where a log stands by a VOTE or COMMIT. A position that the entry's
// own past does not establish counts for nothing.
func (t *epochTree) stand(it *item, inPast func(a, b *item) bool) {
	switch {
	case it.vote != nil:
		at := t.nodes[it.vote.Position]
		if at != nil && !slices.ContainsFunc(at.claims, func(by *item) bool { return inPast(by, it) }) {
			at = nil
		}
		t.stood[it.log] = append(t.stood[it.log], stand{by: it, at: at, refused: it.vote.Refused})
	case it.commit != nil:
		t.stood[it.log] = append(t.stood[it.log], stand{by: it, at: t.nodes[it.commit.Child]})
		day := logDay{it.log, it.dated().Time().Unix() / 86400}
		t.days[day] = append(t.days[day], it)
	}
}

// positionOf is the epoch that a VOTE or COMMIT stands for; nil if no entry names it, or
// there is no such VOTE or COMMIT.
func (t *epochTree) positionOf(vote *item) *node {
	switch {
	case vote == nil:
		return nil
	case vote.vote != nil:
		return t.nodes[vote.vote.Position]
	}
	return t.nodes[vote.commit.Child]
}

// chain lists the nodes from below ancestor down to n; nil if n does not lie under it.
func chain(ancestor, n *node) []*node {
	var path []*node
	for ; n != nil; n = n.parent {
		if n == ancestor {
			slices.Reverse(path)
			return path
		}
		path = append(path, n)
	}
	return nil
}
