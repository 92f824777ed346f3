package group

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group/epochs"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// An admin names a root that says to have the transcript of another one, and commits under
// it what the other one's author committed: the same EpochID, under another parent. In any
// order of arrival the tree is the same.
func TestOneEpochUnderTwoRoots(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 917)
	e := w.device("emil")
	w.join(e)
	a.must(SetRole{User: c.dev.User, Role: wire.RoleAdmin})
	w.run(time.Minute)
	w.agree(a, b, c, e)
	w.cut = func(x, y *device) bool { return true }
	from := a.m.own.Position
	role := a.m.logs.Head(a.m.own.log).Hash
	marks := b.m.Marks()
	a.must(Reboot{})
	root := a.m.tree.Nodes[a.m.own.Position]
	a.m.timers.set(timerUpdate, w.now)
	a.must(Tick{})
	x := a.m.tree.Nodes[a.m.own.Position]
	if x.Parent != root || root.By().Op == nil {
		t.Fatal("anna made no epoch under her root")
	}
	commit, _, err := a.m.messages.read.commit(x.By())
	if err != nil {
		t.Fatal(err)
	}
	honest, _, err := a.m.EntriesAfter(b.dev.ID, marks, wire.EntryHash{}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	r := *root.By().Op.Reboot
	r.From = from
	r.Root = wire.RebootEpochID(w.group, c.dev.ID, &r)
	at := uint64(crdt.HLCFromTime(w.now)) + 1<<20
	inc := w.rand.Uint64()
	deps := []wire.EntryHash{role, a.m.tree.Nodes[from].By().Hash}
	slices.SortFunc(deps, func(a, b wire.EntryHash) int { return bytes.Compare(a[:], b[:]) })
	deps = slices.Compact(deps)
	copied, hash := forged(c, wire.KindOp, &wire.Op{Type: wire.OpReboot, Reboot: &r}, deps, func(e *wire.Entry) { e.Incarnation, e.HLC = inc, at })
	stolen, _ := forged(c, wire.KindCommit, &wire.Commit{Parent: r.Root, Child: x.ID, Commit: commit.Commit}, nil, func(e *wire.Entry) {
		e.Incarnation, e.Seq, e.Prev, e.HLC = inc, 2, hash, at+1
	})
	_, err1 := b.step(Entries{Entries: append(slices.Clone(honest), copied, stolen)})
	_, err2 := e.step(Entries{Entries: append([][]byte{copied, stolen}, honest...)})
	if !isErr(err1, verdict.ErrForged) || !isErr(err2, verdict.ErrForged) {
		t.Errorf("it is taken: %v, %v", err1, err2)
	}
	for _, d := range []*device{b, e} {
		n := d.m.tree.Nodes[x.ID]
		if n == nil || n.Parent.ID != root.ID {
			t.Errorf("%s: anna's epoch is not under her root: %v", d.name, n)
		}
	}
}

// The author of fresh keys is gone before it adds anybody: its disk died. The others go on
// by themselves where they were, whatever its clock said, and it finds back to them.
func TestAbandonedReboot(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{0, 50 * 365 * 24 * time.Hour, -10 * 365 * 24 * time.Hour} {
		w, a, b, c := three(t, 1301)
		a.skew = skew
		a.must(Reboot{})
		for range 100 {
			if b.m.stranded(b.m.choose(w.now)) && c.m.stranded(c.m.choose(w.now)) {
				break
			}
			w.run(20 * time.Millisecond)
		}
		if !b.m.stranded(b.m.choose(w.now)) {
			t.Fatal("the root is not known")
		}
		a.online = false
		w.run(epochs.RootWait + 2*time.Minute)
		for _, x := range []*device{b, c} {
			if x.m.stranded(x.m.choose(w.now)) || x.m.tree.Nodes[x.m.Status().Position].Generation != 0 {
				t.Errorf("clock %v off: %s does not go on", skew, x.name)
			}
		}
		b.send("without anna")
		w.run(time.Minute)
		w.agree(b, c)
		if got := c.texts(); !slices.Contains(got, "without anna") {
			t.Errorf("clock %v off: carl shows %q", skew, got)
		}
		d := w.device("dora")
		w.join(d)
		w.run(time.Minute)
		w.agree(b, c, d)
		a.online, a.skew = true, 0
		w.sync(a, b)
		w.run(10 * time.Minute)
		w.agree(a, b, c, d)
		d.send("all together")
		w.run(time.Minute)
		if got := a.texts(); !slices.Contains(got, "all together") {
			t.Errorf("clock %v off: anna shows %q", skew, got)
		}
	}
}

// The author of fresh keys is gone before it adds anybody, and is removed: before the others
// have waited for it, and they go on at once, or after that.
func TestAbandonedRebootOfTheRemoved(t *testing.T) {
	t.Parallel()
	for _, waited := range []bool{false, true} {
		w, a, b, c := three(t, 1303)
		a.must(SetRole{User: b.dev.User, Role: wire.RoleAdmin})
		w.run(time.Minute)
		w.agree(a, b, c)
		b.must(Reboot{})
		for range 100 {
			if a.m.stranded(a.m.choose(w.now)) && c.m.stranded(c.m.choose(w.now)) {
				break
			}
			w.run(20 * time.Millisecond)
		}
		if !a.m.stranded(a.m.choose(w.now)) || !c.m.stranded(c.m.choose(w.now)) {
			t.Fatal("the root is not known")
		}
		b.online = false
		if waited {
			w.run(epochs.RootWait + 5*time.Minute)
		}
		a.must(RemoveUser{User: b.dev.User})
		w.run(time.Minute)
		c.send("without ben")
		w.run(time.Minute)
		w.agree(a, c)
		for _, x := range []*device{a, c} {
			if got := x.texts(); !slices.Contains(got, "without ben") {
				t.Errorf("waited %v: %s shows %q", waited, x.name, got)
			}
		}
		d := w.device("dora")
		w.join(d)
		w.run(time.Minute)
		w.agree(a, c, d)
		b.online = true
		for _, x := range []*device{a, c, d} {
			w.sync(b, x)
		}
		w.run(10 * time.Minute)
		w.agree(a, c, d)
		d.send("and now")
		w.run(time.Minute)
		if got := a.texts(); !slices.Contains(got, "and now") || b.m.Status().State != StateOut {
			t.Errorf("waited %v: anna shows %q, ben is %v", waited, got, b.m.Status().State)
		}
	}
}

// A root that its author carries out within a few minutes is not abandoned. It stays once its
// author has left, if the others have said by votes that they are under it.
func TestRootTakenUpStays(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 1302)
	a.must(SetRole{User: b.dev.User, Role: wire.RoleAdmin})
	w.run(time.Minute)
	b.must(Reboot{})
	w.run(2 * epochs.RootWait)
	w.agree(a, b, c)
	stays := func(members ...*device) {
		t.Helper()
		for _, x := range members {
			if n := x.m.tree.Nodes[x.m.Status().Position]; n.Generation != 1 {
				t.Fatalf("%s is under generation %d", x.name, n.Generation)
			}
		}
	}
	stays(a, b, c)
	w.sayWhere(a, c)
	b.must(Leave{})
	w.run(2 * epochs.RootWait)
	w.agree(a, c)
	stays(a, c)
	c.send("without ben")
	w.run(time.Minute)
	if got := a.texts(); !slices.Contains(got, "without ben") {
		t.Errorf("anna shows %q", got)
	}
}
