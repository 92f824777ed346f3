package group

import (
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// Two devices renew their keys on two sides of a cut. The one whose branch loses has its keys
// of before again. It renews them at once, also if it is restarted first.
func TestLostKeysAreRenewedAfterARestart(t *testing.T) {
	t.Parallel()
	for _, restart := range []bool{false, true} {
		w, a, b, c := three(t, 460)
		w.cut = func(_, _ *device) bool { return true }
		for _, x := range []*device{a, b} {
			x.m.timers.set(timerUpdate, w.now)
			x.must(Tick{})
		}
		made := map[*device]wire.EpochID{a: a.m.own.Position, b: b.m.own.Position}
		w.run(time.Minute)
		w.cut = nil
		crash := func(x *device) {
			if restart && x.m.own.Position != made[x] { // its branch lost
				x.open()
			}
		}
		for range 60 {
			w.sync(a, b)
			crash(a)
			crash(b)
			w.run(time.Second)
			if a.m.own.Position == b.m.own.Position {
				break
			}
		}
		w.sync(a, c)
		crash(a)
		crash(b)
		w.run(10 * time.Minute)
		w.agree(a, b, c)
		for _, x := range []*device{a, b} {
			renewed := false
			for n := a.m.tree.Nodes[a.m.own.Position]; n != nil; n = n.Parent {
				renewed = renewed || slices.ContainsFunc(n.Claims, func(it *dag.Item) bool { return it.Log.Device == x.dev.ID })
			}
			if !renewed {
				t.Errorf("restart %v: ten minutes after its branch lost %s has its keys of before", restart, x.name)
			}
		}
		before := a.m.Status().Epoch
		w.run(7 * 24 * time.Hour)
		if n := a.m.Status().Epoch - before; n > 0 {
			t.Errorf("restart %v: %d commits in the week after", restart, n)
		}
	}
}

// A user is added twice, by certificates with two names of its device. Everybody calls it the
// same, in whatever order the additions came.
func TestNamesDoNotDependOnOrder(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 461)
	w.cut = func(_, _ *device) bool { return true }
	secret, public, _ := engine.MLS(1).NewSigner(w.rand)
	p, op := puppet(t, w, "old name", secret, public, w.now)
	cert := p.dev.Cert
	cert.Name = "new name"
	renamed, err := identity.Certify(p.user, cert)
	if err != nil {
		t.Fatal(err)
	}
	kp, err := engine.MLS(1).NewKeyPackage(w.rand, w.now, secret, identity.NewCredential(renamed, p.log, w.group, 1, public, [32]byte{9}))
	if err != nil {
		t.Fatal(err)
	}
	again := *op
	again.Cert, again.KeyPackage = &renamed.Raw, kp.Public
	one, _ := forged(a, wire.KindOp, op, a.m.logs.Frontier(a.m.own.log, 16), a.next(a))
	two, _ := forged(b, wire.KindOp, &again, b.m.logs.Frontier(b.m.own.log, 16), b.next(b))
	for x, order := range map[*device][][]byte{c: {one, two}, a: {one, two}, b: {two, one}} {
		for _, raw := range order {
			x.must(Entries{Entries: [][]byte{raw}})
		}
	}
	for _, restart := range []bool{false, true} {
		for _, x := range []*device{a, b, c} {
			if restart {
				x.open()
			}
			if got, want := x.m.logs.NameOf(p.dev.ID), c.m.logs.NameOf(p.dev.ID); got != want {
				t.Errorf("%s calls it %q, carl %q; restarted: %v", x.name, got, want, restart)
			}
		}
	}
}

// An insider signs two entries with one number, so that more of that log is taken only if
// somebody names it. A forged entry that seems to be by a device which nobody knows yet names
// more of it. Once that device is added, the forgery names nothing.
func TestForgedEntriesOfNewcomersNameNothing(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 462)
	w.gossip = false
	w.cut = func(_, _ *device) bool { return true }
	deps := []wire.EntryHash{a.m.logs.Head(a.m.own.log).Hash}
	inc := w.rand.Uint64()
	at := uint64(a.m.logs.Clock.Last())
	in := func(seq uint64, prev wire.EntryHash) func(*wire.Entry) {
		return func(e *wire.Entry) { e.Incarnation, e.Seq, e.Prev, e.HLC = inc, seq, prev, at+seq }
	}
	record := func(n byte) *wire.Record { return &wire.Record{Commitment: wire.Hash{n}} }
	one, oneHash := forged(c, wire.KindRecord, record(1), deps, in(1, wire.EntryHash{}))
	two, _ := forged(c, wire.KindRecord, record(2), deps, in(1, wire.EntryHash{}))
	more, moreHash := forged(c, wire.KindRecord, record(3), nil, in(2, oneHash))
	secret, public, _ := engine.MLS(1).NewSigner(w.rand)
	p, op := puppet(t, w, "newcomer", secret, public, w.now)
	add, addHash := forged(b, wire.KindOp, op, b.m.logs.Frontier(b.m.own.log, 16), b.next(b))
	names := []wire.EntryHash{moreHash, addHash}
	slices.SortFunc(names, func(a, b wire.EntryHash) int { return slices.Compare(a[:], b[:]) })
	begins := func(e *wire.Entry) { e.HLC = at + 1<<20 }
	true1, _ := forged(p, wire.KindRecord, record(4), names, begins)
	p.log = c.log // who signs for it
	false1, _ := forged(p, wire.KindRecord, record(4), names, begins)
	for x, by := range map[*device][]byte{a: false1, b: true1} {
		for _, raw := range [][]byte{one, two, by, more, add} {
			_, _ = x.step(Entries{Entries: [][]byte{raw}})
		}
		if x.m.logs.Devices[p.dev.ID] == nil {
			t.Fatalf("%s does not know the newcomer", x.name)
		}
		if taken := x.m.logs.Items.At(moreHash) != nil; taken != (x == b) {
			t.Errorf("%s took what an entry names: %v", x.name, taken)
		}
		if n := len(x.m.logs.Parking.Entries); n > 0 {
			t.Errorf("%s keeps %d entries that wait", x.name, n)
		}
	}
}
