package group

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// A member writes an operation that adds a device, and with that device an entry
// dated before it: who took it starts again from what it has written down.
func TestEntryOlderThanItsDevice(t *testing.T) {
	w, a, b, c := three(t, 700)
	secret, public, _ := MLS(1).NewSigner(w.rand)
	p, op := puppet(t, w, "puppet", secret, public, w.now)
	add, _ := forged(c, wire.KindOp, op, []wire.EntryHash{a.m.logs.head(a.m.log).hash}, c.next(a))
	old, hash := forged(p, wire.KindRecord, &wire.Record{}, nil, func(e *wire.Entry) { e.HLC = 1 << 16 })
	a.must(Entries{Entries: [][]byte{add, old}})
	if a.m.logs.items[hash] == nil {
		t.Fatal("the entry is not in the set")
	}
	a.open()
	if a.m.logs.items[hash] == nil {
		t.Error("after a restart the entry is gone")
	}
	a.send("after")
	w.run(5 * time.Minute)
	w.sync(a, b)
	w.run(time.Minute)
	if b.m.logs.items[hash] == nil || !slices.Contains(b.texts(), "after") {
		t.Errorf("ben does not follow: %v, %v", b.texts(), b.errs)
	}
}

// What is asked about a group with evidence is answered.
func TestReportWithEvidence(t *testing.T) {
	w, a, _, c := three(t, 701)
	raws, _ := forked(c, a)
	a.must(Entries{Entries: raws[:1]})
	_, _ = a.step(Entries{Entries: raws[1:]})
	if r := a.m.Report(w.now); len(r.Devices) != 3 {
		t.Errorf("%d devices", len(r.Devices))
	}
}

// The choice goes back to an epoch that a device had left so long ago that its
// message keys are destroyed.
func TestBackToAThinEpoch(t *testing.T) {
	for seed := range uint64(8) {
		w := newWorld(t, 710+seed)
		var all []*device
		for i := range 5 {
			all = append(all, w.device(fmt.Sprint("u", i)))
		}
		a, c, rest := all[0], all[1], all[2:]
		w.found(a, wire.PolicyOpen)
		for _, x := range all[1:] {
			w.join(x)
		}
		w.run(time.Minute)
		w.agree(all...)
		side := map[*device]int{}
		w.cut = func(x, y *device) bool { return side[x] != side[y] }
		for i, x := range all {
			side[x] = i
		}
		for _, x := range []*device{a, c} { // both renew their keys
			x.m.duty.update = w.now
			x.must(Tick{})
		}
		one := a.m.own.Position
		if one == c.m.own.Position {
			t.Fatal("no fork")
		}
		// The rest hear of anna's epoch alone, and vote for it. Anna hears of the other.
		for _, x := range rest {
			side[x] = 9
			entries, _, err := a.m.EntriesAfter(x.dev.ID, x.m.Marks(), wire.EntryHash{}, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			x.must(Entries{Entries: entries})
		}
		w.run(2 * time.Minute)
		side[c] = side[a]
		w.sync(a, c)
		w.run(2 * time.Minute)
		if a.m.tree.nodes[one].contains(a.m.tree.nodes[a.m.own.Position]) {
			continue // the tie-break went the other way
		}
		c.online = false
		w.run(50 * time.Hour)
		if h := a.m.held[one]; h == nil || !h.row.Thin {
			t.Fatalf("seed %d: anna holds %+v", seed, h)
		}
		for _, x := range all {
			side[x] = 0
		}
		for _, x := range rest {
			w.sync(a, x)
		}
		a.send("again")
		w.run(10 * time.Minute)
		w.agree(append(rest, a)...)
		for _, x := range rest {
			if !slices.Contains(x.texts(), "again") {
				t.Errorf("seed %d: %s shows %v", seed, x.name, x.texts())
			}
		}
		return
	}
	t.Error("no seed led to the case")
}

// A copy of a COMMIT, dated before it, carries no Welcome, or a wrong one.
func TestCopiedCommitWithAnotherWelcome(t *testing.T) {
	for _, welcome := range [][]byte{nil, {1, 2, 3}} {
		w, a, b, c := three(t, 705)
		_ = b
		parent := a.m.tree.nodes[a.m.own.Position]
		before := a.m.clock.Last()
		w.run(time.Second)
		d := w.device("dora")
		w.cut = func(x, y *device) bool { return x == d || y == d }
		d.open()
		d.must(Join{})
		a.must(JoinAsked{Request: *d.m.request})
		w.run(time.Second)
		n := a.m.tree.nodes[a.m.own.Position]
		if n == parent {
			t.Fatal("no commit was made")
		}
		bad := *n.commit()
		bad.Welcome = welcome
		raw := c.forge(wire.KindCommit, &bad, []wire.EntryHash{parent.by().hash}, func(e *wire.Entry) {
			e.HLC = uint64(max(before, parent.by().hlc) + 1)
		})
		a.must(Entries{Entries: [][]byte{raw}})
		if n.by().log.Device != c.dev.ID {
			t.Fatal("the copy does not come first: this test shows nothing")
		}
		w.cut = nil
		w.run(2 * time.Minute)
		w.agree(a, d)
	}
}
