package epochs

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// maxCommitsPerDay bounds the nodes that a log can make in a day of its own clock:
// more are void, so that a flood costs the flooder alone.
const maxCommitsPerDay = 1000

// Node is one epoch in the tree of epochs, known by structure alone: parent,
// computed child, who claims to have made it. No keys are needed for it.
type Node struct {
	ID         wire.EpochID
	Parent     *Node // nil for the virtual root
	Children   []*Node
	Generation uint64
	Root       wire.EpochID // that its keys descend from: its own ID if it is one
	Number     uint64       // MLS epoch number
	depth      int          // in this tree
	interim    []byte       // interim_transcript_hash
	mlsGroup   []byte
	Leaves     leafDevices // of its tree
	Claims     []*dag.Item // its committer's COMMITs with this child, or the OP that names a root, in causal order
	fair       []*dag.Item // those by a log that had not taken another side, nor made too many
	Void       bool        // it has no fair claim

	first, last int // by Choice.number
	seen        bool
}

// By is the claim to go by where any will do; nil for the virtual root.
func (n *Node) By() *dag.Item {
	if len(n.Claims) == 0 {
		return nil
	}
	return n.Claims[0]
}

// Claim is the first claim that counts, to go by where all devices must go by the
// same; nil for the virtual root.
func (n *Node) Claim(counts func(*dag.Item) bool) *dag.Item {
	if i := slices.IndexFunc(n.Claims, counts); i >= 0 {
		return n.Claims[i]
	}
	return n.By()
}

// Stands says whether a claim that counts makes n a node to choose.
func (n *Node) Stands(counts func(*dag.Item) bool) bool {
	return !n.Void && (counts == nil || slices.ContainsFunc(n.fair, counts))
}

// Info returns the fields that the commit which makes n shows; nil for a root.
func (n *Node) Info() *engine.CommitInfo {
	if b := n.By(); b != nil && b.Commit != nil {
		return &b.Commit.Info
	}
	return nil
}

// Renews says whether what makes n gives its author fresh keys: a root, or a commit with a
// path.
func (n *Node) Renews() bool { return n.Info() == nil || n.Info().Path }

// Adds lists the hashes of the KeyPackages that the commit that makes n adds.
func (n *Node) Adds() [][32]byte {
	if b := n.By(); b != nil && b.Commit != nil {
		return b.Commit.Adds
	}
	return nil
}

// Used says whether the chain to n has added a KeyPackage before: its device was there
// and asks to be added again, with another one, if it lost its way.
func (n *Node) Used(keyPackage []byte) bool {
	hash := sha256.Sum256(keyPackage)
	for ; n != nil; n = n.Parent {
		if slices.Contains(n.Adds(), hash) {
			return true
		}
	}
	return false
}

// HasWelcome says whether n's committer gave out a Welcome.
func (n *Node) HasWelcome() bool {
	return slices.ContainsFunc(n.Claims, func(claim *dag.Item) bool { return claim.Commit != nil && claim.Commit.HasWelcome })
}

// Contains says whether o lies in the subtree of n.
func (n *Node) Contains(o *Node) bool {
	for ; o != nil; o = o.Parent {
		if o == n {
			return true
		}
	}
	return false
}

// Tree is the tree of all epochs that entries name, by structure alone.
type Tree struct {
	group wire.GroupID
	Root  *Node // virtual: the genesis
	Nodes map[wire.EpochID]*Node
	Tips  int                    // nodes without children
	Stood map[wire.LogID][]stand // the votes and commits of each log, in order of arrival
	days  map[logDay][]*dag.Item // commits
}

// logDay is a day, since 1970, of a log's own clock.
type logDay struct {
	log wire.LogID
	day int64
}

// stand is a VOTE or COMMIT of a log: its position, and the epochs that it refused.
type stand struct {
	By      *dag.Item
	at      *Node
	Refused []wire.EpochID
}

// NewTree makes a tree that has its virtual root alone.
func NewTree(group wire.GroupID) *Tree {
	root := &Node{ID: wire.RootEpochID(group)}
	return &Tree{
		group: group, Root: root, Nodes: map[wire.EpochID]*Node{root.ID: root},
		Stood: map[wire.LogID][]stand{}, days: map[logDay][]*dag.Item{},
	}
}

// Reboot checks a root that an OP names and gives its node.
func (t *Tree) Reboot(it *dag.Item, inPast func(a, b *dag.Item) bool) (*Node, error) {
	r := it.Op.Reboot
	from := t.Nodes[r.From]
	if from == nil || from != t.Root && (!slices.ContainsFunc(from.Claims, func(by *dag.Item) bool { return inPast(by, it) }) || r.Generation <= from.Generation) {
		return nil, fmt.Errorf("reboot: %w: its parent epoch", verdict.ErrUnknown)
	}
	if want := wire.RebootEpochID(t.group, it.Log.Device, r); r.Root != want {
		return nil, fmt.Errorf("reboot: %w: the root it names is not the one it describes", verdict.ErrForged)
	}
	return &Node{
		ID: r.Root, Root: r.Root, Parent: from, depth: from.depth + 1, Generation: r.Generation, interim: r.Interim, mlsGroup: r.MLSGroup[:],
		Leaves: leafDevices{&it.Log.Device}, Claims: []*dag.Item{it}, fair: []*dag.Item{it},
	}, nil
}

// Commit checks a COMMIT against its parent, without keys, and gives its node:
// group, number and the child's ID, which is computed and never believed, and that
// its author has the committer's leaf. The parent must lie in the entry's own past,
// so that every device judges it alike.
func (t *Tree) Commit(it *dag.Item, engine engine.Engine, inPast func(a, b *dag.Item) bool) (*Node, error) {
	c := it.Commit
	p := t.Nodes[c.Parent]
	if p == nil || !slices.ContainsFunc(p.Claims, func(by *dag.Item) bool { return inPast(by, it) }) {
		return nil, fmt.Errorf("COMMIT: %w: its parent epoch is not in its past", verdict.ErrInvalidCommit)
	}
	if !bytes.Equal(c.Info.MLSGroup, p.mlsGroup) || c.Info.Epoch != p.Number {
		return nil, fmt.Errorf("COMMIT: %w: it is for another epoch", verdict.ErrInvalidCommit)
	}
	if !p.Leaves.of(c.Info.Sender, it.Log.Device) {
		return nil, fmt.Errorf("COMMIT: %w: the commit is another device's", verdict.ErrForged)
	}
	if p.Info() == nil {
		// Nobody can check the transcript that a root names. Under one that repeats another
		// root's, that one's commits lead to the children that they have there. Without a path
		// a commit does not say whose it is.
		if d, err := identity.ClaimedDevice(c.Info.Own); err != nil || d != it.Log.Device {
			return nil, fmt.Errorf("COMMIT: %w: the commit under a root is another device's", verdict.ErrForged)
		}
	}
	after, err := p.Leaves.change(&c.Info)
	if err != nil {
		return nil, fmt.Errorf("COMMIT: %w: %w", verdict.ErrInvalidCommit, err)
	}
	interim, err := engine.NextInterim(p.interim, c.Commit.Commit)
	if err != nil {
		return nil, fmt.Errorf("COMMIT: %w: %w", verdict.ErrInvalidCommit, err)
	}
	if want := wire.EpochIDOf(t.group, p.Root, p.Number+1, interim); want != c.Child {
		return nil, fmt.Errorf("COMMIT: %w: the child it names is not the one it leads to", verdict.ErrForged)
	}
	n := &Node{ID: c.Child, Parent: p, depth: p.depth + 1, Generation: p.Generation, Root: p.Root, Number: p.Number + 1, interim: interim, mlsGroup: p.mlsGroup, Leaves: after, Claims: []*dag.Item{it}}
	if n.Void = t.swings(it, n, inPast) || t.floods(it, inPast); !n.Void {
		n.fair = n.Claims
	}
	return n, nil
}

// swings says whether the author's log had voted or committed under another child of n's
// parent without refusing that child first: a log that takes a side is bound to it.
func (t *Tree) swings(it *dag.Item, n *Node, inPast func(a, b *dag.Item) bool) bool {
	stood := t.Stood[it.Log]
	for _, s := range stood {
		other := s.at
		if !inPast(s.By, it) {
			continue // on another branch of a forked log
		}
		for other != nil && other.depth > n.depth {
			other = other.Parent
		}
		if other == nil || other.depth < n.depth || other.Parent != n.Parent || other.ID == n.ID {
			continue
		}
		left := slices.ContainsFunc(stood, func(later stand) bool { // in its past, not in the order of arrival
			return slices.Contains(later.Refused, other.ID) && inPast(s.By, later.By) && inPast(later.By, it)
		})
		if !left {
			return true
		}
	}
	return false
}

func (t *Tree) floods(it *dag.Item, inPast func(a, b *dag.Item) bool) bool {
	n := 0
	for _, c := range t.days[logDay{it.Log, it.Dated().Time().Unix() / 86400}] {
		if inPast(c, it) {
			n++
		}
	}
	return n >= maxCommitsPerDay
}

// Add puts a checked node into the tree, or its claim to one that is there.
func (t *Tree) Add(n *Node) {
	old := t.Nodes[n.ID]
	if old == nil {
		t.Nodes[n.ID] = n
		if len(n.Parent.Children) > 0 || n.Parent == t.Root {
			t.Tips++
		}
		n.Parent.Children = append(n.Parent.Children, n)
		return
	}
	old.fair = append(slices.Clip(old.fair), n.fair...)
	old.Claims = append(slices.Clip(old.Claims), n.Claims...)
	slices.SortFunc(old.Claims, (*dag.Item).Compare)
	old.Void = old.Void && n.Void
}

// Stand notes where a log stands by a VOTE or COMMIT. A position that the entry's
// own past does not establish counts for nothing.
func (t *Tree) Stand(it *dag.Item, inPast func(a, b *dag.Item) bool) {
	switch {
	case it.Vote != nil:
		at := t.Nodes[it.Vote.Position]
		if at != nil && !slices.ContainsFunc(at.Claims, func(by *dag.Item) bool { return inPast(by, it) }) {
			at = nil
		}
		t.Stood[it.Log] = append(t.Stood[it.Log], stand{By: it, at: at, Refused: it.Vote.Refused})
	case it.Commit != nil:
		t.Stood[it.Log] = append(t.Stood[it.Log], stand{By: it, at: t.Nodes[it.Commit.Child]})
		day := logDay{it.Log, it.Dated().Time().Unix() / 86400}
		t.days[day] = append(t.days[day], it)
	}
}

// PositionOf is the epoch that a VOTE or COMMIT stands for; nil if no entry names it, or
// there is no such VOTE or COMMIT.
func (t *Tree) PositionOf(vote *dag.Item) *Node {
	switch {
	case vote == nil:
		return nil
	case vote.Vote != nil:
		return t.Nodes[vote.Vote.Position]
	}
	return t.Nodes[vote.Commit.Child]
}

// Chain lists the nodes from below ancestor down to n; nil if n does not lie under it.
func Chain(ancestor, n *Node) []*Node {
	var path []*Node
	for ; n != nil; n = n.Parent {
		if n == ancestor {
			slices.Reverse(path)
			return path
		}
		path = append(path, n)
	}
	return nil
}

// Forks says whether an entry is a COMMIT that came in as the first to take its side of a
// fork, and where that fork is.
func (t *Tree) Forks(it *dag.Item) (bool, wire.EpochID) {
	if it.Commit == nil {
		return false, wire.EpochID{}
	}
	n := t.Nodes[it.Commit.Child]
	if n == nil || n.Void || len(n.Claims) > 1 || len(n.Parent.Children) < 2 || n.Parent == t.Root {
		return false, wire.EpochID{}
	}
	return true, n.Parent.ID
}
