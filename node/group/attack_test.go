package group

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/group/roster"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// A member writes an operation that adds a device, and with that device an entry that does
// not know of it, dated before it. A member that took the entry could not start again.
// Where the operation does not count, others would never get the entry, nor the entries
// that build on it.
func TestEntryThatDoesNotKnowItsDevice(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 700)
	secret, public, _ := engine.MLS(1).NewSigner(w.rand)
	p, op := puppet(t, w, "puppet", secret, public, w.now)
	add, _ := forged(c, wire.KindOp, op, []wire.EntryHash{a.m.logs.Head(a.m.own.log).Hash}, c.next(a))
	a.must(Entries{Entries: [][]byte{add}})
	for _, hlc := range []uint64{1 << 16, uint64(a.m.logs.Clock.Last()) + 1} {
		old, _ := forged(p, wire.KindRecord, &wire.Record{}, nil, func(e *wire.Entry) { e.HLC = hlc })
		if _, err := a.step(Entries{Entries: [][]byte{old}}); !isErr(err, verdict.ErrNotMember) {
			t.Errorf("it is taken: %v", err)
		}
	}
	a.open()
	a.send("after")
	w.run(5 * time.Minute)
	if !slices.Contains(b.texts(), "after") {
		t.Errorf("ben does not follow: %v, %v", b.texts(), b.errs)
	}
}

// Queries about a group with evidence are answered.
func TestReportWithEvidence(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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
			x.m.timers.set(timerUpdate, w.now)
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
		if a.m.tree.Nodes[one].Contains(a.m.tree.Nodes[a.m.own.Position]) {
			continue // the tie-break went the other way
		}
		c.online = false
		w.run(50 * time.Hour)
		if h := a.m.epochs.held[one]; h == nil || !h.row.Thin {
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

// A committer puts rubbish where the Welcome of whom it adds should be. Nobody has a
// better one: after an hour the joiner asks anew, to be added again.
func TestRubbishForAWelcome(t *testing.T) {
	t.Parallel()
	w, a, _, _ := three(t, 705)
	d := w.device("dora")
	w.cut = func(x, y *device) bool { return x == d || y == d }
	d.open()
	d.must(Join{})
	first := *d.request()
	a.must(JoinAsked{Request: first})
	w.run(time.Second)
	n := a.m.tree.Nodes[a.m.own.Position]
	if !slices.Contains(n.Adds(), sha256.Sum256(first.KeyPackage)) {
		t.Fatal("dora was not added")
	}
	for _, minutes := range []time.Duration{0, 30, 25} {
		w.run(minutes * time.Minute)
		before := d.rows.digest()
		if _, err := d.step(JoinAnswered{Epoch: n.ID, Welcome: []byte{1, 2, 3}, Tree: must(a.m.epochs.whole(n.ID)).Tree()}); !errors.Is(err, verdict.ErrInvalidWelcome) {
			t.Fatalf("rubbish gives %v", err)
		}
		if d.rows.digest() != before || !bytes.Equal(d.request().KeyPackage, first.KeyPackage) {
			t.Fatal("what was refused changed something, or within the hour it asks anew")
		}
	}
	w.run(10 * time.Minute)
	if d.renewal() == nil || bytes.Equal(d.renewal().KeyPackage, first.KeyPackage) || d.renewal().Rejoin == nil {
		t.Fatal("dora asks with the same KeyPackage for ever")
	}
	w.cut = nil
	w.run(10 * time.Minute)
	w.agree(a, d)
}

// branch makes n records of c that follow each other, in a log and from a seq on.
func branch(c *device, incarnation uint64, n int, deps []wire.EntryHash, at crdt.HLC) (raws [][]byte, hashes []wire.EntryHash) {
	c.w.t.Helper()
	for i := range n {
		o := wire.Opened{Body: fmt.Append(nil, c.w.rand.Uint64())}
		raw, hash := forged(c, wire.KindRecord, &wire.Record{Commitment: o.Commitment()}, nil, func(e *wire.Entry) {
			e.Incarnation, e.Seq, e.HLC = incarnation, uint64(i+1), uint64(at)+uint64(i)
			if i == 0 {
				e.Deps = deps
			} else {
				e.Prev = hashes[i-1]
			}
		})
		raws, hashes = append(raws, raw), append(hashes, hash)
	}
	return raws, hashes
}

// A device was restored twice and wrote a lot on both branches of its log. A member that
// saw one branch takes the entries that others built upon the other one, however long it
// is.
func TestLongBranch(t *testing.T) {
	t.Parallel()
	lengths := []int{2, 100, 700}
	if testing.Short() { // the race detector
		lengths = lengths[:2]
	}
	for _, n := range lengths {
		for _, flooded := range []bool{false, true} {
			w, a, b, c := three(t, 702)
			c.online, w.gossip = false, false
			held := true
			w.cut = func(x, y *device) bool { return held }
			inc := w.rand.Uint64()
			deps := []wire.EntryHash{a.m.logs.Head(a.m.own.log).Hash}
			at := max(crdt.HLCFromTime(w.now), a.m.logs.Clock.Last()+1, b.m.logs.Clock.Last()+1)
			one, _ := branch(c, inc, 1, deps, at)
			two, hashes := branch(c, inc, n, deps, at)
			a.must(Entries{Entries: one})
			b.must(Entries{Entries: two})
			b.send("on the other branch")
			if flooded {
				// Its own entries, and some of nobody, fill what a keeps of those that wait.
				for i := range dag.MaxParked {
					raw, _ := forged(c, wire.KindRecord, &wire.Record{}, nil, func(e *wire.Entry) { e.Seq, e.Prev = 9, wire.EntryHash{byte(i), 1} })
					_, _ = a.step(Entries{Entries: [][]byte{raw}})
				}
				for i := range 64 {
					raw, _ := forged(c, wire.KindRecord, &wire.Record{}, nil, func(e *wire.Entry) { e.Device[0], e.Seq, e.Prev = byte(i), 9, wire.EntryHash{1} })
					_, _ = a.step(Entries{Entries: [][]byte{raw}})
				}
			}
			held = false
			for range 3 {
				w.sync(a, b)
				w.run(time.Minute)
			}
			if it := a.m.logs.Items.At(hashes[n-1]); it == nil || !a.m.logs.Counts(it) || !slices.Contains(a.texts(), "on the other branch") {
				t.Errorf("branch of %d, flooded %v: anna does not take what ben built upon: %d parked, %d aside", n, flooded, len(a.m.logs.Parking.Entries), len(a.m.logs.Quarantine.Entries))
			}
		}
	}
}

// marksOf counts the marks of a device in another's vector.
func (d *device) marksOf(of *device) (n int) {
	for _, m := range d.m.Marks() {
		if m.Log.Device == of.dev.ID {
			n++
		}
	}
	return n
}

// A device begins logs without end, each beside the others, or forks log after log. It gets
// few places in a vector, all agree that it floods, whichever entries they saw first, and
// they still take what others had built upon before they knew.
func TestFloodOfLogs(t *testing.T) {
	t.Parallel()
	for _, forks := range []bool{false, true} {
		w, a, b, c := three(t, 703)
		c.online, w.gossip = false, false
		held := true
		w.cut = func(x, y *device) bool { return held }
		deps := []wire.EntryHash{a.m.rosters.now.Device(c.dev.ID).By.Hash}
		var raws [][]byte
		for range 20 * dag.MaxBeside {
			inc, at := w.rand.Uint64(), max(crdt.HLCFromTime(w.now), a.m.logs.Clock.Last()+1)
			for range map[bool]int{true: 2, false: 1}[forks] {
				raw, _ := branch(c, inc, 1, deps, at)
				raws = append(raws, raw...)
			}
		}
		for _, raw := range raws {
			_, _ = a.step(Entries{Entries: [][]byte{raw}})
		}
		a.send("from anna, who saw some")
		slices.Reverse(raws)
		for _, raw := range raws {
			_, _ = b.step(Entries{Entries: [][]byte{raw}})
		}
		b.send("from ben, who saw others")
		for _, x := range []*device{a, b} {
			if x.m.logs.Floods[c.dev.ID] == nil || x.marksOf(c) > 1 || x.m.logs.Count > 200 {
				t.Errorf("forks %v: %s: a flood %v, %d marks, %d entries", forks, x.name, x.m.logs.Floods[c.dev.ID] != nil, x.marksOf(c), x.m.logs.Count)
			}
		}
		held = false
		for range 3 {
			w.sync(a, b)
			w.run(time.Minute)
		}
		w.agree(a, b)
		if a.m.conclusions() != b.m.conclusions() {
			t.Errorf("forks %v: anna concludes\n%s\nand ben\n%s", forks, a.m.conclusions(), b.m.conclusions())
		}
		if again, _, err := a.m.EntriesAfter(b.dev.ID, b.m.Marks(), wire.EntryHash{}, 1<<20); err != nil || len(again) > 0 {
			t.Errorf("forks %v: ben knows all, and gets %d entries with each exchange: %v", forks, len(again), err)
		}
		if len(a.texts()) != 2 || len(b.texts()) != 2 {
			t.Errorf("forks %v: anna shows %v, ben %v", forks, a.texts(), b.texts())
		}
		before := a.m.conclusions()
		a.open()
		if a.m.conclusions() != before {
			t.Errorf("forks %v: another conclusion after a restart", forks)
		}
	}
}

// A device that lets somebody in and then floods, so that the addition counts no more, keeps nobody
// vouching for the newcomer.
func TestFloodAfterAnAddition(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 707)
	c.online = false
	deps := []wire.EntryHash{a.m.rosters.now.Device(c.dev.ID).By.Hash}
	p := w.device("pia")
	w.devices = w.devices[:len(w.devices)-1]
	kp := p.keyPackage(w.group, w.now)
	raws := [][]byte{c.forge(wire.KindOp, &wire.Op{Type: wire.OpAdd, Cert: &p.dev.Raw, Role: wire.RoleMember, KeyPackage: kp, Why: wire.WhyOpen}, deps, nil)}
	for range dag.MaxBeside + 1 {
		raw, _ := branch(c, w.rand.Uint64(), 1, deps, crdt.HLCFromTime(w.now))
		raws = append(raws, raw...)
	}
	for _, x := range []*device{a, b} {
		_, _ = x.step(Entries{Entries: raws})
		if x.m.logs.Floods[c.dev.ID] == nil {
			t.Fatalf("%s knows of no flood", x.name)
		}
	}
	before := a.m.logs.Count
	w.run(time.Minute)
	if n := a.m.logs.Count - before; n > 4 {
		t.Errorf("%d entries were written in a minute", n)
	}
}

// An entry that only one of a forked log builds on, which counts no more, is in the pasts of
// what others write all the same: nothing else would name it.
func TestPastUnderAForkedLog(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 708)
	c.online = false
	id := b.send("from ben")
	w.run(time.Minute)
	inc, at := w.rand.Uint64(), a.m.logs.Clock.Last()+1
	deps := []wire.EntryHash{id}
	for _, h := range a.heads() {
		if h.Hash != id && h.Log != a.m.own.log {
			deps = append(deps, h.Hash)
		}
	}
	slices.SortFunc(deps, func(a, b wire.EntryHash) int { return bytes.Compare(a[:], b[:]) })
	for range 2 {
		raws, _ := branch(c, inc, 1, deps, at)
		_, _ = a.step(Entries{Entries: raws})
	}
	if len(a.m.logs.Evidence) != 1 {
		t.Fatalf("%d logs have evidence", len(a.m.logs.Evidence))
	}
	a.send("from anna")
	head := a.m.logs.Head(a.m.own.log)
	for _, l := range a.m.logs.Lists {
		if l.ID.Device != c.dev.ID && !a.m.logs.InPast(l.Head(), head) {
			t.Errorf("what anna writes does not know %v of %v", l.Head().Kind, l.ID.Device == b.dev.ID)
		}
	}
}

// A device tells one half of the group of seventeen logs and the other of an entry that knows
// them all. They agree once they meet.
func TestFloodShownToSome(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 705)
	c.online, w.gossip = false, false
	held := true
	w.cut = func(x, y *device) bool { return held }
	at := max(crdt.HLCFromTime(w.now), a.m.logs.Clock.Last()+1)
	deps := []wire.EntryHash{a.m.rosters.now.Device(c.dev.ID).By.Hash}
	var raws [][]byte
	var firsts []wire.EntryHash
	for range dag.MaxBeside + 1 {
		raw, hashes := branch(c, w.rand.Uint64(), 1, deps, at)
		raws, firsts = append(raws, raw...), append(firsts, hashes...)
	}
	slices.SortFunc(firsts, func(a, b wire.EntryHash) int { return bytes.Compare(a[:], b[:]) })
	all, _ := branch(c, w.rand.Uint64(), 1, firsts, at+100)
	_, _ = a.step(Entries{Entries: raws})
	for i, raw := range raws[:dag.MaxBeside] { // ben never sees seventeen at once
		_, _ = b.step(Entries{Entries: [][]byte{raw}})
		if i == dag.MaxBeside-1 {
			one, _ := branch(c, w.rand.Uint64(), 1, firsts[:dag.MaxBeside/2], at+50)
			_, _ = b.step(Entries{Entries: append(one, raws[dag.MaxBeside], all[0])})
		}
	}
	held = false
	for range 4 {
		w.sync(a, b)
		w.run(time.Minute)
	}
	w.agree(a, b)
	if a.m.conclusions() != b.m.conclusions() || a.m.logs.Floods[c.dev.ID] == nil || b.m.logs.Floods[c.dev.ID] == nil {
		t.Errorf("anna concludes\n%s\nand ben\n%s", a.m.conclusions(), b.m.conclusions())
	}
}

// A device that is restored again and again floods nothing: each log names the one before.
func TestFortyRestores(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 706)
	for range 40 {
		b.inc++
		b.open()
		w.sync(a, b)
		w.run(2 * time.Minute)
		b.send("restored")
		w.run(time.Minute)
	}
	w.agree(a, b, c)
	if a.m.logs.Floods[b.dev.ID] != nil || a.marksOf(b) > 2 || len(a.texts()) != 40 {
		t.Errorf("ben floods: %v, %d marks, %d messages", a.m.logs.Floods[b.dev.ID] != nil, a.marksOf(b), len(a.texts()))
	}
}

// Two entries with one number are evidence for whoever is shown them, also if what
// they follow is known to nobody else.
func TestEvidenceWithoutItsPast(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 704)
	c.online, w.gossip = false, false
	inc := w.rand.Uint64()
	at := max(crdt.HLCFromTime(w.now), a.m.logs.Clock.Last()+1)
	raws, hashes := branch(c, inc, 2, nil, at)
	rival, _ := forged(c, wire.KindRecord, &wire.Record{Commitment: wire.Hash{1}}, nil, func(e *wire.Entry) {
		e.Incarnation, e.Seq, e.Prev, e.HLC = inc, 2, hashes[0], uint64(at)+9
	})
	_, _ = a.step(Entries{Entries: append(raws, rival)})
	if !a.m.logs.Accused(c.dev.ID) {
		t.Fatal("anna has no evidence")
	}
	for range 3 {
		w.sync(a, b)
		w.run(time.Minute)
	}
	if !b.m.logs.Accused(c.dev.ID) {
		t.Error("carl weighs something for ben and nothing for anna")
	}
	w.agree(a, b)
}

// Somebody claims, through entries dated far ahead, that a device knows what it does
// not: others must not keep it from it.
func TestFutureMarksStarveNobody(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 707)
	c.online, w.gossip = false, false
	b.online = false
	a.send("while ben is away")
	inc := w.rand.Uint64()
	// Everybody but ben has a log of carl's that builds upon everything.
	one, _ := branch(c, inc, 1, []wire.EntryHash{a.m.logs.Head(a.m.own.log).Hash}, a.m.logs.Clock.Last()+1)
	a.must(Entries{Entries: one})
	// Ben has one with more entries, far ahead.
	two, _ := branch(c, inc, 3, nil, crdt.HLCFromTime(w.now.Add(1000*24*time.Hour)))
	b.online = true
	for _, raw := range two {
		_, _ = b.step(Entries{Entries: [][]byte{raw}})
	}
	for range 3 {
		w.sync(a, b)
		w.run(time.Minute)
	}
	if !slices.Contains(b.texts(), "while ben is away") {
		t.Errorf("ben shows %v", b.texts())
	}
	if a.m.Status().Position != b.m.Status().Position {
		t.Error("ben is in another epoch")
	}
}

// A device whose old log has evidence against it, since its store went back, leaves.
func TestLeaveWithAForkedLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 721)
	a, b := w.device("anna"), w.device("ben")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.run(time.Minute)
	old := maps.Clone(b.rows)
	b.send("one")
	w.run(time.Minute)
	b.rows = old
	w.cut = func(x, y *device) bool { return true }
	b.open()
	b.send("two")
	w.cut = nil
	w.sync(a, b)
	w.run(5 * time.Minute)
	w.agree(a, b)
	if !a.m.logs.Accused(b.dev.ID) {
		t.Fatal("no evidence")
	}
	a.open() // what was said before is forgotten
	b.open()
	w.sync(a, b)
	b.must(Leave{})
	for range 5 {
		w.run(10 * time.Minute)
		w.sync(a, b)
	}
	if s := b.m.Status(); s.State != StateOut {
		t.Errorf("ben is %q, leaving %v", s.State, s.Leaving)
	}
}

// However many epochs come at once, few are kept.
func TestFewEpochsAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 722)
	a, b := w.device("anna"), w.device("ben")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.run(time.Minute)
	b.online = false
	for range 2 * maxHeld {
		a.m.timers.set(timerUpdate, w.now)
		a.must(Tick{})
		w.run(time.Second)
	}
	b.online = true
	w.sync(a, b)
	w.run(time.Minute)
	w.agree(a, b)
	for _, x := range []*device{a, b} {
		if n := x.heldEpochs(); n > maxHeld {
			t.Errorf("%s holds %d epochs", x.name, n)
		}
	}
}

// A device is revoked. Entries that it signs without knowing of that, at whatever time,
// have no effect: it does not come back, and does nothing to others.
func TestRevokedDeviceCannotComeBack(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 720)
	a.must(SetRole{User: c.dev.User, Role: wire.RoleAdmin})
	w.run(time.Minute)
	before := []wire.EntryHash{a.m.logs.Head(a.m.own.log).Hash}
	a.must(RevokeDevice{Device: c.dev.ID})
	w.run(time.Minute)
	c.online = false
	later := func(e *wire.Entry) { e.HLC = uint64(a.m.logs.Clock.Last()) + 1<<20 }
	back := c.forge(wire.KindOp, &wire.Op{Type: wire.OpDeviceAdd, Cert: &c.dev.Raw, KeyPackage: c.keyPackage(w.group, w.now)}, before, later)
	out := c.forge(wire.KindOp, &wire.Op{Type: wire.OpRemove, User: &b.dev.User}, before, later)
	for _, x := range []*device{a, b} {
		_, _ = x.step(Entries{Entries: [][]byte{back}})
		_, _ = x.step(Entries{Entries: [][]byte{out}})
	}
	w.run(time.Minute)
	for _, x := range []*device{a, b} {
		if x.m.rosters.now.Has(c.dev.ID) {
			t.Errorf("%s: the revoked device is back", x.name)
		}
		if !x.m.rosters.now.Has(b.dev.ID) {
			t.Errorf("%s: the revoked device removed ben", x.name)
		}
	}
}

// A gap falls due while the gate is closed: it is filled when the gate opens.
func TestGapDueWhileTheGateIsClosed(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 730)
	id := a.send("one")
	w.run(time.Minute)
	a.planSeal(b, id, w.now.Add(time.Second))
	w.cut = func(x, y *device) bool { return true }
	a.must(Tick{})
	// Somebody who is out is in the tree, and another makes the commit.
	_ = c
	a.closeGate()
	w.run(2 * time.Second)
	if a.plannedSeal(b, id).IsZero() {
		t.Fatal("the gate was not closed")
	}
	a.m.timers.set(timerUpdate, w.now)
	a.must(Tick{}) // moves on
	w.run(time.Minute)
	if at := a.plannedSeal(b, id); !at.IsZero() {
		t.Errorf("the gap waits since %v, and nothing wakes the device: %+v", at, a.m.timers)
	}
}

// With evidence in the group, what a message costs does not grow with the operations.
func TestRostersAreSharedWithEvidence(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 731)
	raws, _ := forked(c, a)
	a.must(Entries{Entries: raws[:1]})
	_, _ = a.step(Entries{Entries: raws[1:]})
	for range 5 {
		w.run(time.Minute)
		b.send("x")
	}
	w.run(time.Minute)
	seen := map[*roster.Roster]bool{}
	for it := range a.records() {
		if it.Log.Device == b.dev.ID {
			seen[a.m.rosters.At(it)] = true
		}
	}
	if len(seen) != 1 {
		t.Errorf("%d rosters were made for records that know the same operations", len(seen))
	}
}
