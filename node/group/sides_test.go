package group

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/wire"
)

// docs/ARCHITECTURE.md, Fork choice: whether a COMMIT makes a node is a function of the
// set. A device signs two branches of a log, takes a side on one and refuses it on the
// other, and commits with both in the past: in any order of arrival that is the same.
func TestSidesOnBranchesOfALog(t *testing.T) {
	w, a, b, c := three(t, 910)
	e := w.device("emil")
	w.join(e)
	w.run(time.Minute)
	w.cut = func(x, y *device) bool { return x == c || y == c }
	parent := a.m.tree.nodes[a.m.own.Position]
	if c.m.own.Position != parent.id {
		t.Fatal("carl is elsewhere")
	}
	a.m.timers.set(timerUpdate, w.now)
	a.must(Tick{})
	w.run(time.Minute)
	x := a.m.tree.nodes[a.m.own.Position]
	if x.parent != parent || b.m.own.Position != x.id || e.m.own.Position != x.id {
		t.Fatal("anna made no epoch")
	}
	c.m.timers.set(timerUpdate, w.now)
	c.must(Tick{})
	own := c.m.tree.nodes[c.m.own.Position].by()
	commit, _, err := c.m.read.commit(own)
	if err != nil || commit.Parent != parent.id {
		t.Fatal(err)
	}
	at := uint64(crdt.HLCFromTime(w.now)) + 1<<20
	inc := w.rand.Uint64()
	entry := func(kind wire.Kind, body any, seq uint64, prev wire.EntryHash, deps ...wire.EntryHash) ([]byte, wire.EntryHash) {
		slices.SortFunc(deps, func(a, b wire.EntryHash) int { return bytes.Compare(a[:], b[:]) })
		at++
		return forged(c, kind, body, deps, func(e *wire.Entry) { e.Incarnation, e.Seq, e.Prev, e.HLC = inc, seq, prev, at })
	}
	first, one := entry(wire.KindVote, &wire.Vote{Position: parent.id}, 1, wire.EntryHash{}, x.by().hash)
	refuses, two := entry(wire.KindVote, &wire.Vote{Position: parent.id, Refused: []wire.EpochID{x.id}}, 2, one)
	takes, other := entry(wire.KindVote, &wire.Vote{Position: x.id}, 2, one)
	both, three := entry(wire.KindCommit, commit, 3, other, two)
	inc = w.rand.Uint64()
	names, _ := entry(wire.KindRecord, &wire.Record{}, 1, wire.EntryHash{}, three)
	w.cut = func(x, y *device) bool { return true }
	for _, raw := range [][]byte{first, refuses, takes, both, names} {
		_, _ = a.step(Entries{Entries: [][]byte{raw}})
	}
	for _, raw := range [][]byte{first, takes, refuses, both, names} {
		_, _ = b.step(Entries{Entries: [][]byte{raw}})
	}
	for _, d := range []*device{a, b} {
		if it := d.m.logs.items.at(three); it == nil || !d.m.logs.counts(it) {
			t.Fatalf("%s: the commit does not count", d.name)
		}
	}
	na, nb := a.m.tree.nodes[commit.Child], b.m.tree.nodes[commit.Child]
	if na.void != nb.void {
		t.Errorf("void here %v, there %v", na.void, nb.void)
	}
	for _, d := range []*device{a, b} {
		before := d.m.tree.nodes[commit.Child].void
		d.open()
		if after := d.m.tree.nodes[commit.Child].void; after != before {
			t.Errorf("%s: void %v, after a restart %v", d.name, before, after)
		}
	}
}
