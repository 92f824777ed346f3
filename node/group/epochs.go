package group

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/pandanode/pandanode/node/wire"
)

// epochTree is the tree of all epochs that entries name, by structure alone.
type epochTree struct {
	group wire.GroupID
	root  *node // virtual: the genesis
	nodes map[wire.EpochID]*node
}

func newEpochTree(group wire.GroupID) *epochTree {
	root := &node{id: wire.RootEpochID(group)}
	return &epochTree{group: group, root: root, nodes: map[wire.EpochID]*node{root.id: root}}
}

// reboot checks a root that an OP names and gives its node.
func (t *epochTree) reboot(it *item) (*node, error) {
	r := it.op.Reboot
	from := t.nodes[r.From]
	if from == nil {
		return nil, fmt.Errorf("reboot: %w: its parent epoch", ErrUnknown)
	}
	if want := wire.EpochIDOf(t.group, r.Generation, 0, r.Interim); r.Root != want {
		return nil, fmt.Errorf("reboot: %w: the root it names is not the one it describes", ErrForged)
	}
	return &node{
		id: r.Root, parent: from, generation: r.Generation, interim: r.Interim, mlsGroup: r.MLSGroup[:], by: it,
	}, nil
}

// commit checks a COMMIT against its parent, without keys, and gives its node:
// group, number and the child's ID, which is computed and never believed.
func (t *epochTree) commit(it *item, engine Engine) (*node, error) {
	c := it.commit
	p := t.nodes[c.Parent]
	if p == nil {
		return nil, fmt.Errorf("COMMIT: %w: its parent epoch", ErrUnknown)
	}
	if !bytes.Equal(it.info.MLSGroup, p.mlsGroup) || it.info.Epoch != p.number {
		return nil, fmt.Errorf("COMMIT: %w: it is for another epoch", ErrInvalidCommit)
	}
	interim, err := engine.NextInterim(p.interim, c.Commit)
	if err != nil {
		return nil, fmt.Errorf("COMMIT: %w: %w", ErrInvalidCommit, err)
	}
	if want := wire.EpochIDOf(t.group, p.generation, p.number+1, interim); want != c.Child {
		return nil, fmt.Errorf("COMMIT: %w: the child it names is not the one it leads to", ErrForged)
	}
	return &node{
		id: c.Child, parent: p, generation: p.generation, number: p.number + 1, interim: interim, mlsGroup: p.mlsGroup, by: it,
	}, nil
}

// add puts a checked node into the tree. A child that is there stays as it is.
func (t *epochTree) add(n *node) {
	if t.nodes[n.id] != nil {
		return
	}
	t.nodes[n.id] = n
	n.parent.children = append(n.parent.children, n)
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
