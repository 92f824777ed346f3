package group

import (
	"testing"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/engine"
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
	inOrders(t, "roots that repeat each other", 50, []*device{d}, all, func(y *device) {
		if n := y.m.tree.Nodes[x.ID]; n == nil || n.Parent.ID != root.ID {
			t.Errorf("anna's epoch is not under her root: %v", n)
		}
		epochs = len(y.m.tree.Nodes)
	})
	if want := len(d.m.tree.Nodes) + 6; epochs != want { // three roots beside anna's, and what she claims under hers

		t.Errorf("%d epochs are known, want %d: others are taken than may be", epochs, want)
	}
}

// A member signs two entries with one number, and one of them adds a puppet that names it.
// Whether the evidence or the puppet's entry comes first makes no difference, and what
// another signs in the puppet's name calls for nothing.
func TestNewcomerOfAForkedLog(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 1291)
	secret, public, _ := engine.MLS(1).NewSigner(w.rand)
	p, op := puppet(t, w, "puppet", secret, public, w.now)
	base := []wire.EntryHash{a.m.logs.Head(a.m.own.log).Hash}
	first := func(inc uint64) func(*wire.Entry) {
		return func(e *wire.Entry) { e.Incarnation, e.Seq, e.HLC = inc, 1, uint64(a.m.logs.Head(a.m.own.log).HLC)+inc }
	}
	adds, hash := forged(c, wire.KindOp, op, base, first(4))
	other, _ := forged(c, wire.KindVote, &wire.Vote{Position: c.m.own.Position}, base, first(4))
	names, _ := forged(p, wire.KindRecord, &wire.Record{Commitment: wire.Hash{1}}, []wire.EntryHash{hash}, first(9))
	inOrders(t, "a newcomer's", 50, []*device{a, b}, [][]byte{adds, other, names}, func(x *device) {
		if !x.m.logs.Counts(x.m.logs.Items.At(hash)) {
			t.Errorf("%s: the addition that is named does not count", x.name)
		}
	})
	thief := w.device("thief")
	w.devices = w.devices[:len(w.devices)-1]
	thief.dev = p.dev // in its name, with another key
	forgery, _ := forged(thief, wire.KindRecord, &wire.Record{Commitment: wire.Hash{1}}, []wire.EntryHash{hash}, first(9))
	x := a.aside(1)
	for _, raw := range [][]byte{other, forgery, adds} {
		_, _ = x.step(Entries{Entries: [][]byte{raw}})
	}
	if x.m.logs.Items.At(hash) != nil {
		t.Error("a forgery called for the addition")
	}
}
