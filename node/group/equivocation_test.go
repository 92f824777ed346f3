package group

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/dag/dagtest"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// TestBranches holds a set with forked logs against reachability, in any order of
// arrival: what is in a past, which entries count, and what a peer is given.
func TestBranches(t *testing.T) {
	t.Parallel()
	forks, uncounted, given := 0, 0, 0
	for seed := range uint64(60) {
		g := dagtest.NewGraph(1000 + seed)
		for range 8 {
			g.Random(7, 4)
			if n := g.Rand.IntN(3); n > 0 {
				log := g.Entries[g.Rand.IntN(len(g.Entries))].Log()
				g.Fork(log, g.Hashes[:g.Rand.IntN(2)])
			}
		}
		seqs := map[wire.LogID]map[uint64]int{}
		accused := map[wire.LogID]bool{}
		for _, e := range g.Entries {
			if seqs[e.Log()] == nil {
				seqs[e.Log()] = map[uint64]int{}
			}
			if seqs[e.Log()][e.Seq]++; seqs[e.Log()][e.Seq] > 1 {
				accused[e.Log()] = true
			}
		}
		forks += len(accused)
		build := func() *dag.Logs {
			l := g.Insert(t, g.Rand, nil)
			for log := range accused {
				l.Evidence[log] = &dag.Evidence{Log: log}
				l.Adders[log.Device] = []*dag.Item{{Author: new(dag.Author)}} // an entry that counts
			}
			l.Covered = nil
			return l
		}
		a, b := build(), build()
		covered := map[wire.EntryHash]bool{}
		for i, h := range g.Hashes {
			if !accused[g.Entries[i].Log()] {
				maps.Copy(covered, g.Past(h, map[wire.EntryHash]bool{}))
			}
		}
		for i, h := range g.Hashes {
			past := g.Past(h, map[wire.EntryHash]bool{})
			for _, o := range g.Hashes {
				if got := a.InPast(a.Items.At(o), a.Items.At(h)); got != past[o] {
					t.Fatalf("seed %d: inPast is %v, reachability %v", seed, got, past[o])
				}
			}
			want := !accused[g.Entries[i].Log()] || covered[h]
			if !want {
				uncounted++
			}
			if a.Counts(a.Items.At(h)) != want || b.Counts(b.Items.At(h)) != want {
				t.Fatalf("seed %d: counts: %v and %v, want %v", seed, a.Counts(a.Items.At(h)), b.Counts(b.Items.At(h)), want)
			}
		}
		if !slices.Equal(a.Marks(), b.Marks()) {
			t.Fatalf("seed %d: the vectors differ with the order of arrival", seed)
		}
		got, _ := a.LastHeard(dag.EndOfTime)
		if want, _ := b.LastHeard(dag.EndOfTime); !maps.Equal(got, want) {
			t.Fatalf("seed %d: who was heard when differs with the order of arrival", seed)
		}
		all := func(*dag.Item) bool { return true }
		if out, evid := slices.Collect(a.After(b.Marks(), nil, all)), a.AccusedBeyond(b.Marks()); len(out)+len(evid) != 0 {
			t.Fatalf("seed %d: equals give each other %d entries and %d pieces of evidence", seed, len(out), len(evid))
		}
		// Somebody who knows nothing gets all that counts, causes first, and the evidence.
		out, evid := slices.Collect(a.After(nil, nil, all)), a.AccusedBeyond(nil)
		for i, it := range out {
			if rest := slices.Collect(a.After(nil, it, all)); !slices.Equal(rest, out[i+1:]) {
				t.Fatalf("seed %d: behind entry %d there are %d, want %d", seed, i, len(rest), len(out)-i-1)
			}
		}
		if len(evid) != len(accused) {
			t.Fatalf("seed %d: %d pieces of evidence, want %d", seed, len(evid), len(accused))
		}
		fresh := dag.NewLogs(&identity.Device{ID: dagtest.TestDevice(0)})
		for _, it := range out {
			i := slices.Index(g.Hashes, it.Hash)
			if len(fresh.Missing(g.Entries[i])) > 0 {
				t.Fatalf("seed %d: an entry is given before its causes", seed)
			}
			fresh.Add(g.Item(fresh, i), g.Entries[i])
			given++
		}
		for _, h := range g.Hashes {
			if (fresh.Items.At(h) != nil) != a.Counts(a.Items.At(h)) {
				t.Fatalf("seed %d: what is given is not what counts", seed)
			}
		}
	}
	if forks < 60 || uncounted < 60 || given < 1000 {
		t.Errorf("%d forked logs, %d entries that do not count, %d given", forks, uncounted, given)
	}
}

// forked makes c sign two records with one sequence number.
func forked(c *device, at *device) (raws [2][]byte, hashes [2]wire.EntryHash) {
	inc := c.w.rand.Uint64()
	for i := range raws {
		o := wire.Opened{Body: []byte{byte(i)}}
		raws[i] = c.forge(wire.KindRecord, &wire.Record{Commitment: o.Commitment()}, []wire.EntryHash{at.m.logs.Head(at.m.own.log).Hash}, func(e *wire.Entry) {
			e.Incarnation, e.HLC = inc, uint64(max(crdt.HLCFromTime(c.w.now), at.m.logs.Clock.Last()+1))
		})
		s, err := dag.ReadEntry(c.w.group, raws[i])
		if err != nil {
			c.w.t.Fatal(err)
		}
		hashes[i] = s.Hash
	}
	return raws, hashes
}

// A member signs two entries with one number. A member that sees both has evidence. It
// keeps the evidence and reports it, and takes the second entry only because an honest
// member built upon it.
func TestEquivocation(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 77)
	a, b, c := w.device("anna"), w.device("ben"), w.device("mallory")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.join(c)
	w.run(time.Minute)
	c.online = false
	w.gossip = false
	w.cut = func(x, y *device) bool { return true }
	raws, hashes := forked(c, a)
	a.must(Entries{Entries: raws[:1]})

	before := a.rows.digest()
	out, err := a.step(Entries{Entries: raws[1:]})
	if !isErr(err, verdict.ErrEquivocation) || out.Verdict != verdict.Ignore || a.m.logs.Items.At(hashes[1]) != nil {
		t.Fatalf("the second: %v, %v", out, err)
	}
	if a.rows.digest() == before {
		t.Error("evidence is not durable")
	}
	told := func(d *device) (n int) {
		events, err := d.m.Journal().Events(0, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			if e.Kind == EventEvidence && e.Device == c.dev.ID {
				n++
			}
		}
		return n
	}
	held := a.rows.digest()
	if _, err := a.step(Entries{Entries: raws[:]}); !isErr(err, verdict.ErrEquivocation) || a.rows.digest() != held || told(a) != 1 {
		t.Errorf("once more: %v, told %d times, or the rows have changed", err, told(a))
	}
	if a.m.logs.Counts(a.m.logs.Items.At(hashes[0])) {
		t.Error("an entry counts that nobody built upon")
	}

	// Ben saw the other one first, and wrote upon it: it counts, and so does his.
	b.must(Entries{Entries: raws[1:]})
	b.send("on the other branch")
	w.cut = nil
	w.sync(a, b)
	w.run(2 * time.Minute)
	for _, d := range []*device{a, b} {
		if told(d) != 1 || !d.m.logs.Accused(c.dev.ID) {
			t.Errorf("%s was told %d times", d.name, told(d))
		}
		if it := d.m.logs.Items.At(hashes[1]); it == nil || !d.m.logs.Counts(it) {
			t.Errorf("%s: what ben built upon does not count", d.name)
		}
		if !slices.Contains(d.texts(), "on the other branch") {
			t.Errorf("%s shows %v", d.name, d.texts())
		}
	}
	digest, marks := a.rows.digest(), a.m.Marks()
	a.open()
	if a.rows.digest() != digest || !slices.Equal(a.m.Marks(), marks) || !a.m.logs.Accused(c.dev.ID) || told(a) != 1 {
		t.Error("a restart changes what is held against mallory")
	}

	// A signature that does not hold is no evidence.
	x, _ := forked(b, a)
	a.must(Entries{Entries: x[:1]})
	held = a.rows.digest()
	if _, err := a.step(Entries{Entries: [][]byte{flipped(x[1], len(x[1])-5)}}); err == nil || a.rows.digest() != held || a.m.logs.Accused(b.dev.ID) {
		t.Errorf("a forged accusation: %v", err)
	}
}

// A store goes back in time behind its owner's back. The device finds out by its own
// entries that others hold, begins a new log, gets back what it wrote, and seals
// nothing before it has new keys.
func TestStoreGoesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 78)
	a, b := w.device("anna"), w.device("ben")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.run(time.Minute)
	old := maps.Clone(b.rows)
	for _, text := range []string{"one", "two", "three"} {
		b.send(text)
	}
	w.run(time.Minute)
	log, epoch := b.m.own.log, b.m.own.Position
	b.rows = old
	b.open()
	if b.m.own.log != log {
		t.Fatal("a restart alone begins a new log")
	}
	w.sync(a, b)
	w.run(2 * time.Minute)
	if b.m.own.log == log || b.m.own.log.Device != log.Device {
		t.Fatal("the device goes on with a log that others know better")
	}
	if b.m.own.Position == epoch || b.m.mustRenew(b.m.tree.Nodes[b.m.own.Position]) {
		t.Error("the device did not renew its keys")
	}
	b.send("four")
	w.run(time.Minute)
	w.agree(a, b)
	for _, d := range []*device{a, b} {
		if got := d.texts(); len(got) != 4 || got[3] != "four" {
			t.Errorf("%s shows %v", d.name, got)
		}
	}
	inc := b.m.own.log
	b.open()
	if b.m.own.log != inc {
		t.Error("the new log does not outlive a restart")
	}
	// A backup whose owner says that it is one.
	b.inc++
	stale := b.m.own.Position
	b.open()
	if b.m.own.log.Incarnation != b.inc || b.m.own.Position == stale || !b.m.mustRenew(b.m.tree.Nodes[stale]) {
		t.Error("a restored backup goes on with its old log or keys")
	}
	b.send("five")
	if n := b.m.Status().Outbox; n != 0 {
		t.Errorf("%d in the outbox", n)
	}
	w.run(time.Minute)
	w.agree(a, b)
}

// A store goes back behind its owner's back, and the device goes on from there each time, until
// its logs show that it floods. From then on it accepts nothing, and says so: nobody would
// count it. It renews no keys either, over and over again.
func TestStoreGoesBackTooOften(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 178)
	a, b := w.device("anna"), w.device("ben")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.run(time.Minute)
	for i := range dag.MaxForked + 1 {
		if _, err := b.step(Send{wire.Content{Data: []byte("before the last of them")}}); err != nil {
			t.Fatalf("%d times: %v", i, err)
		}
		w.run(time.Minute)
		old := maps.Clone(b.rows)
		b.send("lost here")
		w.run(time.Second)
		b.rows = old
		w.cut = func(x, y *device) bool { return true }
		b.open()
		b.send("written instead")
		w.cut = nil
		w.sync(a, b)
		w.run(2 * time.Minute)
	}
	if a.m.logs.Floods[b.dev.ID] == nil || b.m.logs.Floods[b.dev.ID] == nil {
		t.Fatal("ben's device does not flood")
	}
	held := b.m.logs.Count
	for _, in := range []Input{Send{wire.Content{Data: []byte("for nobody")}}, SendAll{Contents: []wire.Content{{}}}, RevokeDevice{Device: b.dev.ID}, Leave{}} {
		if _, err := b.step(in); !errors.Is(err, verdict.ErrDiscounted) {
			t.Errorf("%T: %v", in, err)
		}
	}
	b.renewKeys()
	w.run(time.Hour)
	if n := b.m.logs.Count - held; n > 100 {
		t.Errorf("%d entries in an hour", n)
	}
	a.send("without ben")
	w.run(time.Minute)
	if got := b.texts(); got[len(got)-1] != "without ben" {
		t.Errorf("ben reads %v", got)
	}
	// An admin takes the user out, as any other.
	a.must(RemoveUser{User: b.dev.User})
	w.run(time.Minute)
	w.agree(a)
}

// A home is copied, the copy writes to one member and is gone before anybody tells it that it
// runs twice; the home writes to another member. Neither of the two writes anything before it
// learns that the log has forked. All are owed what each has shown.
func TestShownBeforeEvidence(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 79)
	w.run(10 * time.Minute)
	between := func(x, y *device) {
		w.cut = func(from, to *device) bool {
			return !slices.Contains([]*device{x, y}, from) || !slices.Contains([]*device{x, y}, to)
		}
	}
	home := maps.Clone(c.rows)
	between(b, c)
	c.send("from the copy")
	w.run(time.Second)
	c.rows = home
	c.open()
	between(a, c)
	c.send("from the home")
	w.run(time.Second)
	c.online = false
	written := map[*device]uint64{}
	for d, text := range map[*device]string{a: "from the home", b: "from the copy"} {
		last := d.m.logs.Lists[d.m.logs.Index[c.m.own.log][0]].Head()
		if texts := d.texts(); last.Kind != wire.KindRecord || d.m.logs.CountsWithout(last) || !slices.Equal(texts, []string{text}) {
			t.Fatalf("%s shows %v, and its last of carl is a %v", d.name, texts, last.Kind)
		}
		written[d] = d.m.logs.Head(d.m.own.log).Seq
	}
	w.cut = nil
	w.sync(a, b)
	for _, d := range []*device{a, b} {
		if n := d.m.logs.Head(d.m.own.log).Seq - written[d]; !d.m.logs.Accused(c.dev.ID) || n != 1 {
			t.Errorf("%s wrote %d entries, to keep what it has shown: one is enough", d.name, n)
		}
	}
	c.online = true
	w.run(5 * time.Minute)
	w.agree(a, b, c)
	for _, d := range []*device{a, b, c} {
		texts := d.texts()
		if slices.Sort(texts); !slices.Equal(texts, []string{"from the copy", "from the home"}) {
			t.Errorf("%s shows %v", d.name, texts)
		}
	}
}

// Somebody forks logs without end. Members say nothing to that, but once of a log of which
// they have shown something that no other log names.
func TestEvidenceMakesNobodyWrite(t *testing.T) {
	t.Parallel()
	w, _, b, c := three(t, 81)
	w.run(10 * time.Minute)
	seq := b.m.logs.Head(b.m.own.log).Seq
	c.online, w.gossip = false, false
	w.cut = func(_, _ *device) bool { return true }
	for raw := range slices.Chunk(forkedLogs(c, func(raws [][]byte) bool { return len(raws) >= 100 }), 1) {
		_, _ = b.step(Entries{Entries: raw}) // the second of each two is refused
	}
	if n := b.m.logs.Head(b.m.own.log).Seq - seq; n != 0 || !b.m.logs.Accused(c.dev.ID) {
		t.Errorf("ben wrote %d entries about logs of which he has shown nothing", n)
	}
}

// An admin gives the group fresh keys; everybody goes on, and of two who do it at
// once one wins.
func TestReboot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 80)
	a, b, c := w.device("anna"), w.device("ben"), w.device("carl")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.join(c)
	if _, err := c.step(Reboot{}); !isErr(err, verdict.ErrNotPermitted) {
		t.Errorf("a member reboots: %v", err)
	}
	a.must(SetRole{User: b.dev.User, Role: wire.RoleAdmin})
	w.run(time.Minute)
	w.cut = func(x, y *device) bool { return true }
	a.must(Reboot{})
	b.must(Reboot{})
	c.send("meanwhile")
	w.cut = nil
	w.sync(a, b)
	w.sync(b, c)
	w.run(3 * time.Minute)
	w.agree(a, b, c)
	if n := a.m.tree.Nodes[a.m.own.Position]; n.Generation != 1 {
		t.Errorf("generation %d", n.Generation)
	}
	a.send("with new keys")
	w.run(time.Minute)
	for _, d := range []*device{a, b, c} {
		if got := d.texts(); len(got) != 2 {
			t.Errorf("%s shows %v", d.name, got)
		}
	}
}

// docs/ARCHITECTURE.md, Fork choice: whether a COMMIT makes a node is a function of the
// set. A device signs two branches of a log, takes a side on one and refuses it on the
// other, and commits with both in the past: in any order of arrival that is the same.
func TestSidesOnBranchesOfALog(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 910)
	e := w.device("emil")
	w.join(e)
	w.run(time.Minute)
	w.cut = func(x, y *device) bool { return x == c || y == c }
	parent := a.m.tree.Nodes[a.m.own.Position]
	if c.m.own.Position != parent.ID {
		t.Fatal("carl is elsewhere")
	}
	a.m.timers.set(timerUpdate, w.now)
	a.must(Tick{})
	w.run(time.Minute)
	x := a.m.tree.Nodes[a.m.own.Position]
	if x.Parent != parent || b.m.own.Position != x.ID || e.m.own.Position != x.ID {
		t.Fatal("anna made no epoch")
	}
	c.m.timers.set(timerUpdate, w.now)
	c.must(Tick{})
	own := c.m.tree.Nodes[c.m.own.Position].By()
	commit, _, err := c.m.messages.read.commit(own)
	if err != nil || commit.Parent != parent.ID {
		t.Fatal(err)
	}
	at := uint64(crdt.HLCFromTime(w.now)) + 1<<20
	inc := w.rand.Uint64()
	entry := func(kind wire.Kind, body any, seq uint64, prev wire.EntryHash, deps ...wire.EntryHash) ([]byte, wire.EntryHash) {
		slices.SortFunc(deps, func(a, b wire.EntryHash) int { return bytes.Compare(a[:], b[:]) })
		at++
		return forged(c, kind, body, deps, func(e *wire.Entry) { e.Incarnation, e.Seq, e.Prev, e.HLC = inc, seq, prev, at })
	}
	first, one := entry(wire.KindVote, &wire.Vote{Position: parent.ID}, 1, wire.EntryHash{}, x.By().Hash)
	refuses, two := entry(wire.KindVote, &wire.Vote{Position: parent.ID, Refused: []wire.EpochID{x.ID}}, 2, one)
	takes, other := entry(wire.KindVote, &wire.Vote{Position: x.ID}, 2, one)
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
		if it := d.m.logs.Items.At(three); it == nil || !d.m.logs.Counts(it) {
			t.Fatalf("%s: the commit does not count", d.name)
		}
	}
	na, nb := a.m.tree.Nodes[commit.Child], b.m.tree.Nodes[commit.Child]
	if na.Void != nb.Void {
		t.Errorf("void here %v, there %v", na.Void, nb.Void)
	}
	for _, d := range []*device{a, b} {
		before := d.m.tree.Nodes[commit.Child].Void
		d.open()
		if after := d.m.tree.Nodes[commit.Child].Void; after != before {
			t.Errorf("%s: void %v, after a restart %v", d.name, before, after)
		}
	}
}
