package group

import (
	"testing"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/wire"
)

// The author of a root and another admin make roots that differ from it in where they come
// from alone, and claim the commit under that root under those too, by the same name and by
// names of their own. Somebody who sees it all comes to one tree, in any order.
func TestOneCommitUnderManyRoots(t *testing.T) {
	t.Parallel()
	w, a, b, c := closed(t, 1561, wire.PolicyOpen)
	d := w.device("dora")
	w.join(d)
	w.run(time.Minute)
	a.must(RemoveUser{User: d.dev.User}) // it watches and writes nothing
	w.run(time.Minute)
	w.agree(a, b, c)
	w.cut = func(x, y *device) bool { return true }
	marks := d.m.Marks()
	base := b.m.logs.Head(b.m.own.log)
	known := c.heads()
	a.must(Reboot{})
	root := a.m.tree.Nodes[a.m.own.Position]
	a.renewKeys()
	x := a.m.tree.Nodes[a.m.own.Position]
	if x.Parent != root || root.By().Op == nil {
		t.Fatal("anna made no epoch under her root")
	}
	commit, _, err := a.m.messages.read.commit(x.By())
	if err != nil {
		t.Fatal(err)
	}
	all, _, err := a.m.EntriesAfter(wire.DeviceID{1}, marks, wire.EntryHash{}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	interim := must(a.m.epochs.whole(x.ID)).Interim()
	honest := root.By().Op.Reboot
	for _, from := range []wire.EpochID{honest.From, a.m.tree.Nodes[honest.From].Parent.ID} {
		for _, by := range []*device{a, b} {
			r := *honest
			r.From = from
			r.Root = wire.RebootEpochID(w.group, by.dev.ID, &r)
			for _, child := range []wire.EpochID{x.ID, wire.EpochIDOf(w.group, r.Root, x.Number, interim)} {
				p := by.fresh()
				p.hlc = uint64(crdt.HLCFromTime(w.now))
				p.op(&wire.Op{Type: wire.OpReboot, Reboot: &r}, append([]*dag.Item{base}, known...)...)
				p.write(wire.KindCommit, &wire.Commit{Parent: r.Root, Child: child, Commit: commit.Commit})
				all = append(all, p.raws...)
			}
		}
	}
	epochs := 0
	inOrders(t, "roots that repeat each other", 20, []*device{d}, all, func(y *device) {
		if n := y.m.tree.Nodes[x.ID]; n == nil || n.Parent.ID != root.ID {
			t.Errorf("anna's epoch is not under her root: %v", n)
		}
		epochs = len(y.m.tree.Nodes)
	})
	if want := len(d.m.tree.Nodes) + 6; epochs != want { // three roots beside anna's, and what she claims under hers

		t.Errorf("%d epochs are known, want %d: others are taken than may be", epochs, want)
	}
}
