package group

import (
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// logLine are logs of one entry each, of which each knows the one before, as of a device that
// is restored again and again.
func logLine(c *device, n int) (raws [][]byte) {
	at := c.m.logs.Head(c.m.own.log)
	last, hlc := at.Hash, uint64(at.HLC)
	for range n {
		p := c.fresh()
		hlc++
		last = p.writeAt(hlc, wire.KindRecord, &wire.Record{}, last)
		raws = append(raws, p.raws...)
	}
	return raws
}

func numLogs(at, of *device) int { return at.m.logs.NumLogs(of.dev.ID) }

// A device begins logs without end, each of which knows the one before. They come in only so
// fast. Those that another user built on come in at once, and nothing else is kept from anybody.
func TestFloodOfLogsInALine(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 1910)
	c.online, w.gossip = false, false
	raws := logLine(c, 300)
	for i, raw := range raws {
		_, _ = a.step(Entries{Entries: [][]byte{raw}})
		_, _ = b.step(Entries{Entries: [][]byte{raws[len(raws)-1-i]}})
	}
	_, _ = b.step(Entries{Entries: raws})
	for _, x := range []*device{a, b} {
		if n := numLogs(x, c); n < freeLogs || n > freeLogs+2 {
			t.Errorf("%s has %d logs of carl", x.name, n)
		}
		if v := x.m.VectorFor(c.dev.ID); len(wire.Marshal(&v)) > 16<<10 || x.marksOf(c) > 16 {
			t.Errorf("%s: a vector has %d bytes, and %d marks of carl", x.name, len(wire.Marshal(&v)), x.marksOf(c))
		}
	}
	said := a.send("among the flood")
	w.sync(a, b)
	w.run(time.Minute)
	if !slices.Contains(b.texts(), "among the flood") {
		t.Errorf("ben does not show anna's message %v", said)
	}
	before := numLogs(a, c)
	w.run(3 * logEvery)
	if n := numLogs(a, c); n < before+2 || n > before+4 {
		t.Errorf("anna had %d logs of carl, and %d after three more times", before, n)
	}
	// Dora, whom nothing held up, built on the last of them.
	all := append(slices.Clone(raws), b.forge(wire.KindRecord, &wire.Record{}, []wire.EntryHash{lastOf(t, c, raws)}, b.next(a)))
	for range 3 {
		_, _ = a.step(Entries{Entries: all})
	}
	if n := numLogs(a, c); n < len(raws) {
		t.Errorf("anna has %d logs of carl, and another member built on %d", n, len(raws))
	}
}

// lastOf gives the hash of the last of some entries.
func lastOf(t *testing.T, d *device, raws [][]byte) wire.EntryHash {
	t.Helper()
	all, err := readEntries(d.m.own.group, raws[len(raws)-1:])
	if err != nil {
		t.Fatal(err)
	}
	return all[0].Hash
}

// A device that was restored sixty times is heard like any other.
func TestRestoredSixtyTimes(t *testing.T) {
	t.Parallel()
	w, a, _, c := three(t, 1911)
	c.online, w.gossip = false, false
	raws := logLine(c, 60)
	a.must(Entries{Entries: raws})
	if n := numLogs(a, c); n < 60 || a.m.logs.Accused(c.dev.ID) {
		t.Errorf("anna has %d logs of carl, accused: %v", n, a.m.logs.Accused(c.dev.ID))
	}
}

// One member holds back the operations of a device that cost it too much, and another does
// not. An entry of the other brings them at once; otherwise they come within an hour. Then
// both have one roster.
func TestHeldOperationsComeIn(t *testing.T) {
	t.Parallel()
	for _, named := range []bool{false, true} {
		w, a, b, c := three(t, 1912)
		a.must(SetRole{User: c.dev.User, Role: wire.RoleAdmin})
		w.run(time.Minute)
		c.online, w.gossip = false, false
		before := c.m.logs.Head(c.m.own.log)
		w.run(time.Hour)
		a.must(SetProfile{a.profile()})
		w.sync(a, b)
		w.run(time.Hour)
		of := a.m.evidence.meter.at(c.dev.ID)
		for range meterRate {
			of.resolves = append(of.resolves, w.now)
		}
		p := c.fresh()
		p.op(&wire.Op{Type: wire.OpRole, User: &b.dev.User, Role: wire.RoleReadOnly}, before)
		p.op(&wire.Op{Type: wire.OpRole, User: &b.dev.User, Role: wire.RoleAdmin})
		_, _ = a.step(Entries{Entries: p.raws})
		b.must(Entries{Entries: p.raws})
		if a.m.logs.Items.At(p.prev) != nil || b.m.logs.Items.At(p.prev) == nil {
			t.Fatal("anna does not hold it back, or ben does")
		}
		a.send("anna is not held up")
		if named {
			b.send("ben knows of it")
		}
		w.sync(a, b)
		if got := a.m.logs.Items.At(p.prev) != nil; got != named {
			t.Errorf("named %v: anna has it: %v", named, got)
		}
		w.run(meterTime + 2*meterWait)
		w.sync(a, b)
		if a.m.logs.Items.At(p.prev) == nil || a.m.conclusions() != b.m.conclusions() {
			t.Errorf("named %v: anna concludes\n%s\nand ben\n%s", named, a.m.conclusions(), b.m.conclusions())
		}
	}
}

// The resolves that a device's entries cause are counted in a group in which they cost
// something, and only while an hour is not over.
func TestMeterCounts(t *testing.T) {
	t.Parallel()
	w, a, _, c := three(t, 1913)
	m := a.m.evidence.meter
	m.charge(w.now, c.dev.ID, meterRate)
	if m.of[c.dev.ID] != nil {
		t.Error("in a small group somebody is charged")
	}
	for range meterFrom {
		m.logs.Ops = append(m.logs.Ops, m.logs.Ops[0])
	}
	m.charge(w.now, a.dev.ID, meterRate)
	if m.of[a.dev.ID] != nil {
		t.Error("a device charges itself")
	}
	m.charge(w.now, c.dev.ID, meterRate-1)
	if m.of[c.dev.ID].inDebt(w.now) {
		t.Error("a device may cause more than that")
	}
	m.charge(w.now, c.dev.ID, 1)
	if of := m.of[c.dev.ID]; !of.inDebt(w.now.Add(meterTime-1)) || of.inDebt(w.now.Add(meterTime)) {
		t.Error("it has to wait for an hour")
	}
}

// A removed member writes without end. The others keep some of it, and all that one of them
// names. When it is in again, it is heard.
func TestFloodByWhoIsOut(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 1914)
	c.online, w.gossip = false, false
	before := c.m.logs.Head(c.m.own.log)
	p := &pen{d: c, inc: before.Log.Incarnation, seq: before.Seq, prev: before.Hash, hlc: uint64(before.HLC)}
	var wraps []wire.Wrap
	for i := range 600 {
		wraps = append(wraps, wire.Wrap{Device: wire.DeviceID{byte(i >> 8), byte(i)}, Sealed: make([]byte, 80)})
	}
	for i := range 50 {
		p.write(wire.KindTKey, &wire.TKey{ID: wire.KeyID{1, byte(i)}, Supersedes: []wire.KeyID{}, Wraps: wraps})
	}
	a.must(RemoveUser{User: c.dev.User})
	w.sync(a, b)
	_, _ = a.step(Entries{Entries: p.raws})
	_, _ = a.step(Entries{Entries: p.raws})
	written := 0
	for _, v := range a.rows {
		written += len(v)
	}
	if written < freeOut/2 || written > freeOut+1<<20 {
		t.Errorf("anna keeps %d bytes of what carl wrote after its removal", written)
	}
	// Ben had all of it, and says so.
	named := b.forge(wire.KindRecord, &wire.Record{}, []wire.EntryHash{p.prev}, b.next(a))
	for _, some := range [][][]byte{{named}, p.raws, p.raws} {
		_, _ = a.step(Entries{Entries: some})
	}
	if a.m.logs.Items.At(p.prev) == nil {
		t.Error("anna does not take what ben built on")
	}
}

// An admin, or a former one, shows removals of long ago, one by one, each of which has a roster
// resolved anew in a group with a long history. They come in only so fast, while the member
// who is shown them goes on, and within hours all of them are in.
func TestMeterOfBackDatedRemovals(t *testing.T) {
	t.Parallel()
	const removals, most = 40, meterRate + 2
	for _, out := range []bool{false, true} {
		w, x, c := longHistory(t, 1915, 300)
		hostile := c.admins[3]
		if out {
			c.write(c.founder, wire.KindOp, removes(hostile), false)
			x.takes(c.raws[len(c.raws)-1])
		}
		w.run(time.Hour)
		x.must(Tick{})
		if len(x.m.logs.Ops) < meterFrom || x.m.rosters.now.Has(hostile.dev.ID) == out {
			t.Fatalf("%d operations, hostile is out: %v", len(x.m.logs.Ops), !out)
		}
		p := hostile.fresh()
		for i := range removals {
			p.op(removes(append(slices.Clone(c.members), c.admins[4:]...)[i%36]), x.m.logs.Ops[60+i])
		}
		log := wire.LogID{Device: hostile.dev.ID, Incarnation: p.inc}
		taken := func() int {
			if head := x.m.logs.Head(log); head != nil {
				return int(head.Seq) //nolint:gosec // few
			}
			return 0
		}
		before := x.m.rosters.Resolves()
		for _, raw := range p.raws {
			_, _ = x.step(Entries{Entries: [][]byte{raw}})
		}
		held := len(x.m.logs.Quarantine.Held())
		if n := x.m.rosters.Resolves() - before; n > most || taken() == 0 || taken()+held != removals || held == 0 {
			t.Errorf("out %v: %d removals are in, %d wait, after %d resolves, at most %d", out, taken(), held, n, most)
		}
		said := x.send("ben is not held up")
		if x.m.Status().Outbox != 0 || !slices.Contains(x.texts(), "ben is not held up") {
			t.Errorf("out %v: ben's message %v waits: %+v", out, said, x.m.Status())
		}
		for range 4 {
			was := x.m.rosters.Resolves()
			w.run(meterTime)
			if n := x.m.rosters.Resolves() - was; n > most {
				t.Errorf("out %v: %d resolves in an hour, at most %d", out, n, most)
			}
		}
		if taken() != removals || len(x.m.logs.Quarantine.Held()) != 0 {
			t.Errorf("out %v: %d removals are in, %d wait", out, taken(), len(x.m.logs.Quarantine.Held()))
		}
	}
}
