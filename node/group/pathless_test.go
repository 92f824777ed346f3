package group

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/group/epochs"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// puppetAsks is a request to be let in by a device that never runs.
func (w *world) puppetAsks(name string) wire.JoinRequest {
	w.t.Helper()
	secret, public, err := engine.MLS(1).NewSigner(w.rand)
	if err != nil {
		w.t.Fatal(err)
	}
	p, op := puppet(w.t, w, name, secret, public, w.now)
	return wire.JoinRequest{V: wire.Version, Group: w.group, Cert: p.dev.Raw, KeyPackage: op.KeyPackage}
}

// unfilled is a group of these devices and so many that never run, in whose tree nearly every
// parent is blank.
func unfilled(t *testing.T, seed uint64, puppets int, names ...string) (*world, []*device) {
	t.Helper()
	w := newWorld(t, seed)
	var out []*device
	for _, name := range names {
		out = append(out, w.device(name))
	}
	w.found(out[0], wire.PolicyOpen)
	for _, d := range out[1:] {
		w.join(d)
	}
	for i := range puppets {
		out[0].must(JoinAsked{Request: w.puppetAsks(fmt.Sprint("puppet ", i))})
	}
	w.run(30 * time.Second)
	return w, out
}

// position is the node at the device's position.
func (d *device) position() *epochs.Node { return d.m.tree.Nodes[d.m.own.Position] }

// lets has the device let in a puppet, and gives the epoch that this leads to.
func (d *device) lets(r wire.JoinRequest) *epochs.Node {
	d.w.t.Helper()
	before := d.position()
	d.must(JoinAsked{Request: r})
	if n := d.position(); n != before {
		return n
	}
	d.w.t.Fatalf("%s made no commit: %v", d.name, d.errs)
	return nil
}

// Additions to a tree of blank nodes have no path, and all members follow them. All else has.
func TestPathlessAdditions(t *testing.T) {
	t.Parallel()
	w, all := unfilled(t, 1500, 16, "anna", "ben", "carl")
	a, b, c := all[0], all[1], all[2]
	n := a.lets(w.puppetAsks("one more"))
	raw, err := a.m.tx.get(itemKey(n.By()))
	if err != nil || n.Info().Path || len(raw) > 4096 {
		t.Errorf("an addition beyond 16 nodes: path %v, COMMIT of %d bytes, %v", n.Info().Path, len(raw), err)
	}
	w.run(time.Minute)
	d := w.device("dora")
	w.join(d)
	if n := d.position(); n == nil || n.Info() == nil || n.Info().Path {
		t.Errorf("dora came by a commit with a path: %v", d.errs)
	}
	id := d.send("from dora")
	w.run(time.Minute)
	if got := c.texts(); !slices.Contains(got, "from dora") {
		t.Errorf("carl shows %q, %v", got, id)
	}
	b.open() // the epoch without a path is durable like others
	w.run(time.Minute)
	before := b.position()
	a.must(RemoveUser{User: c.dev.User})
	w.run(time.Minute)
	if n := a.position(); n == before || !n.Info().Path {
		t.Error("a removal has no path")
	}
	w.agree(a, b, d)
}

// A commit has a path, or none, by what it does.
func TestWithoutPath(t *testing.T) {
	t.Parallel()
	adds := difference{adds: [][]byte{{1}}}
	for _, c := range []struct {
		name   string
		d      difference
		renews bool
		sealed int
		want   bool
	}{
		{"adds to an unfilled tree", adds, false, 17, true},
		{"adds to a filled tree", adds, false, 16, false},
		{"adds and renews", adds, true, 1000, false},
		{"renews alone", difference{}, false, 1000, false},
		{"removes", difference{removes: []uint32{3}}, false, 1000, false},
		{"adds and removes", difference{adds: adds.adds, removes: []uint32{3}}, false, 1000, false},
		{"adds again", difference{adds: adds.adds, rejoins: []wire.Signed{{}}}, false, 1000, false},
	} {
		if got := goesWithoutPath(c.d, c.renews, c.sealed); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// An engine makes no commit without a path that does anything but add.
func TestPathlessCommitOnlyAdds(t *testing.T) {
	t.Parallel()
	w, all := unfilled(t, 1501, 2, "anna", "ben")
	a := all[0]
	_, e := a.m.position()
	kp := w.puppetAsks("x").KeyPackage
	for name, c := range map[string]engine.Change{
		"nothing":              {},
		"a removal":            {Removes: []uint32{1}},
		"an addition, removal": {Adds: [][]byte{kp}, Removes: []uint32{1}},
		"another credential":   {Adds: [][]byte{kp}, Credential: a.m.leaf.credential()},
	} {
		c.Now, c.Signer, c.Check, c.NoPath = w.now, a.m.own.Signer, a.m.epochs.checkCredential, true
		if _, err := e.Commit(w.rand, c); err == nil {
			t.Errorf("%s: a commit without a path", name)
		}
	}
}

// A device whose store went back makes the same addition again: it leads to another epoch,
// so that no key is used twice.
func TestPathlessCommitIsNeverMadeAgain(t *testing.T) {
	t.Parallel()
	w, all := unfilled(t, 1502, 18, "anna")
	a := all[0]
	rows := maps.Clone(a.rows)
	r := w.puppetAsks("x")
	first := a.lets(r)
	one := a.m.Status().Authenticator
	a.rows = rows
	a.open()
	second := a.lets(r)
	if first.Info().Path || second.Info().Path || first.Parent.ID != second.Parent.ID {
		t.Fatal("not two additions to one epoch without a path")
	}
	if first.ID == second.ID || bytes.Equal(one, a.m.Status().Authenticator) {
		t.Error("a device whose store went back enters the same epoch again")
	}
}

// An addition without a path renews no keys: the committer's renewal comes when it is due, and
// what is due comes with the next addition.
func TestPathlessCommitRenewsNothing(t *testing.T) {
	t.Parallel()
	w, all := unfilled(t, 1503, 18, "anna")
	a := all[0]
	w.run(20 * 24 * time.Hour)
	n := a.lets(w.puppetAsks("x"))
	if n.Info().Path {
		t.Fatal("the addition has a path")
	}
	w.run(11 * 24 * time.Hour)
	if at := a.position(); at == n || !at.Info().Path {
		t.Errorf("31 days after its keys were new anna has not renewed them, since it let somebody in")
	}
	a.m.timers.set(timerUpdate, w.now)
	if n := a.lets(w.puppetAsks("y")); !n.Info().Path {
		t.Error("an addition puts a renewal off that is due")
	}
	a.must(TwinSeen{})
	if n := a.lets(w.puppetAsks("z")); !n.Info().Path {
		t.Error("a device that runs twice adds without a path")
	}
}

// A device whose store went back, and knows it, seals only after a path of its own.
func TestPathlessCommitIsNoRenewalAfterARestore(t *testing.T) {
	t.Parallel()
	w, all := unfilled(t, 1504, 18, "anna")
	a := all[0]
	before := a.position()
	a.inc = 77
	a.open()
	if n := a.position(); n == before || !n.Info().Path || a.m.mustRenew(n) {
		t.Errorf("with a new incarnation it stands at epoch %d of before", n.Number)
	}
	if n := a.lets(w.puppetAsks("x")); n.Info().Path {
		t.Fatal("renewed, it still adds with a path")
	}
	// An addition by hand in yet another log, as if there were no need to renew.
	a.m.own.log.Incarnation, a.m.own.Renew = 78, false
	if n := a.lets(w.puppetAsks("y")); n.Info().Path {
		t.Fatal("it adds with a path, so that this shows nothing")
	}
	a.m.own.Renew = true
	if !a.m.mustRenew(a.position()) {
		t.Error("an addition without a path counts as a renewal")
	}
}

// Under a root nobody can check the transcript: only a path says whose a commit is.
func TestNoPathlessCommitUnderARoot(t *testing.T) {
	t.Parallel()
	w, a, b, _ := three(t, 1505)
	w.cut = func(_, _ *device) bool { return true }
	hash := a.must(Reboot{}).Entry
	op := a.m.logs.Items.At(hash)
	e, err := a.m.epochs.whole(op.Op.Reboot.Root)
	if err != nil || e == nil {
		t.Fatal("no root", err)
	}
	c, err := e.Commit(w.rand, engine.Change{
		Now: w.now, Signer: a.m.own.Signer, Adds: [][]byte{w.puppetAsks("x").KeyPackage}, NoPath: true, Check: a.m.epochs.checkCredential,
	})
	if err != nil {
		t.Fatal(err)
	}
	b.takeAll(a, 1<<20)
	n := b.m.tree.Nodes[op.Op.Reboot.Root]
	body := &wire.Commit{Parent: n.ID, Child: wire.EpochIDOf(w.group, n.Root, 1, c.Epoch.Interim()), Commit: c.Commit, Welcome: c.Welcome}
	raw, _ := forged(a, wire.KindCommit, body, nil, a.next(a))
	if _, err := b.step(Entries{Entries: [][]byte{raw}}); !errors.Is(err, verdict.ErrForged) {
		t.Errorf("a commit without a path directly under a root: %v", err)
	}
}

// A member copies another's addition without a path into its own log.
func TestPathlessCommitOfAnother(t *testing.T) {
	t.Parallel()
	w, all := unfilled(t, 1506, 18, "anna", "ben", "carl")
	a, b, c := all[0], all[1], all[2]
	w.cut = func(_, _ *device) bool { return true }
	n := a.lets(w.puppetAsks("x"))
	commit, _, err := a.m.messages.read.commit(n.By())
	if err != nil || n.Info().Path {
		t.Fatal(err, n.Info().Path)
	}
	raw, _ := forged(c, wire.KindCommit, commit, []wire.EntryHash{n.Parent.By().Hash}, c.next(b))
	if _, err := b.step(Entries{Entries: [][]byte{raw}}); !errors.Is(err, verdict.ErrForged) {
		t.Errorf("another's commit in carl's log: %v", err)
	}
}

// One side removes carl, and the other, where carl is, lets somebody in by a commit without a
// path, which carl can follow. Whichever side wins: nobody who knows of the removal seals what
// carl could open, and everybody ends in an epoch that carl cannot get to, with all it has.
func TestRemovedBesideAPathlessCommit(t *testing.T) {
	t.Parallel()
	for _, bigger := range []string{"removal", "addition"} {
		w, all := unfilled(t, 1507, 18, "anna", "ben", "carl", "dora", "emil", "fay")
		a, b, c := all[0], all[1], all[2]
		left := []*device{a}
		if bigger == "removal" {
			left = append(left, all[3:]...)
		}
		w.cut = func(x, y *device) bool { return slices.Contains(left, x) != slices.Contains(left, y) }
		parent := b.position()
		a.must(RemoveUser{User: c.dev.User})
		added := b.lets(w.puppetAsks("x"))
		w.run(time.Minute)
		if added.Info().Path || added.Parent != parent || c.position().ID != added.ID {
			t.Fatalf("%s: carl does not follow the addition: %v", bigger, c.errs)
		}
		if !a.position().Info().Path {
			t.Fatalf("%s: the removal has no path", bigger)
		}
		b.send("carl may read this")
		w.run(time.Second)
		if got := c.texts(); !slices.Contains(got, "carl may read this") {
			t.Errorf("%s: carl shows %q", bigger, got)
		}
		// From now on whoever knows of the removal is watched.
		w.watch = func(d *device, r Ready) {
			if d == c || d.m.rosters.now.Has(c.dev.ID) {
				return
			}
			for _, o := range r.Messages {
				p, ok := o.(Publish)
				if !ok {
					continue
				}
				bundle, err := d.opened(p.Envelope)
				if err != nil {
					t.Fatal(err)
				}
				for _, raw := range bundle.Seals {
					s, err := wire.DecodeSeal(raw)
					if err == nil && (c.m.epochs.has(s.Epoch) || d.m.tree.Nodes[s.Epoch].Leaves.LeafOf(c.dev.ID) != nil) {
						t.Errorf("%s: %s knows of the removal and seals for carl, in epoch %d", bigger, d.name, d.m.tree.Nodes[s.Epoch].Number)
					}
				}
			}
		}
		w.cut = nil
		w.syncSomebody(b)
		for i := range 20 {
			b.send(fmt.Sprint("after ", i))
			w.run(time.Second)
		}
		w.run(3 * time.Minute)
		w.agree(slices.Concat(all[:2], all[3:])...)
		c.takeAll(a, 1<<20)
		w.run(3 * time.Minute)
		for n := a.position(); n != nil; n = n.Parent {
			if c.m.epochs.has(n.ID) && n.Leaves.LeafOf(c.dev.ID) == nil {
				t.Errorf("%s: carl is out, and holds epoch %d", bigger, n.Number)
			}
		}
		if c.m.epochs.has(a.m.own.Position) || slices.Contains(c.texts(), "after 19") {
			t.Errorf("%s: carl reads what was written after its removal: %q", bigger, c.texts())
		}
		if got := a.texts(); !slices.Contains(got, "after 19") || !slices.Contains(got, "carl may read this") {
			t.Errorf("%s: anna shows %q", bigger, got)
		}
	}
}

// A device whose addition without a path is on a branch that lost has lost no keys.
func TestLostPathlessCommitIsNotRenewed(t *testing.T) {
	t.Parallel()
	w, all := unfilled(t, 1508, 18, "anna", "ben", "carl", "dora")
	w.cut = func(x, y *device) bool { return (x == all[0]) != (y == all[0]) }
	r := w.puppetAsks("x") // on both sides, so that the fork leaves nothing to do
	a, b := all[0].lets(r), all[1].lets(r)
	w.run(time.Minute)
	w.cut = nil
	w.syncSomebody(all[0])
	w.run(5 * time.Minute)
	w.agree(all...)
	at := all[0].position()
	if at.Info().Path || a.Info().Path || b.Info().Path {
		t.Error("a path was made after a fork of additions")
	}
	w.run(time.Hour)
	if all[0].position() != at {
		t.Error("keys were renewed that nobody had lost")
	}
}

// A device that joined and made no commit renews its keys when they are a month old, not once
// its KeyPackage is gone and somebody commits.
func TestNewcomersRenewWhenDue(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 1509)
	w.run(60 * 24 * time.Hour)
	d := w.device("dora")
	w.join(d)
	w.run(initKeysFor + 2*24*time.Hour)
	if d.keyPackages() != 0 {
		t.Fatal("dora has her KeyPackage")
	}
	a.lets(w.puppetAsks("x"))
	w.run(24 * time.Hour)
	renewed := func() bool {
		return slices.ContainsFunc(slices.Collect(maps.Values(d.m.tree.Nodes)), func(n *epochs.Node) bool {
			return n.By() != nil && n.By().Log.Device == d.dev.ID
		})
	}
	if renewed() {
		t.Error("dora renews her keys after ten days")
	}
	w.run(21 * 24 * time.Hour)
	if !renewed() {
		t.Error("dora has not renewed her keys after a month")
	}
	w.agree(a, b, c, d)
}

// A tree of many blank nodes is filled soon, by a few renewals: one device of each part makes
// one. Additions and the renewals do not wait for each other.
func TestTreesAreFilledSoon(t *testing.T) {
	t.Parallel()
	w, all := unfilled(t, 1510, 130, "anna", "ben")
	a, b := all[0], all[1]
	c := w.device("carl")
	w.join(c) // into the second half of the tree
	for i := range 130 {
		a.lets(w.puppetAsks(fmt.Sprint("more ", i)))
	}
	sealed := func(d *device) int {
		_, e := d.m.position()
		n, _ := e.PathSize(nil)
		return n
	}
	before := a.m.Status().Epoch
	if n := sealed(a); n < 200 {
		t.Fatalf("a path is sealed to %d nodes", n)
	}
	w.run(time.Hour)
	if x, y := sealed(a), sealed(c); x > 160 || y > 160 {
		t.Errorf("after an hour a path is sealed to %d and to %d nodes", x, y)
	}
	if n := a.m.Status().Epoch - before; n == 0 || n > 3 {
		t.Errorf("%d renewals", n)
	}
	w.run(24 * time.Hour)
	if n := a.m.Status().Epoch - before; n > 3 {
		t.Errorf("%d renewals in a day", n)
	}
	w.agree(a, b, c)
}

// wide is an epoch in whose tree a path is as long as it says.
type wide struct {
	engine.Epoch
	path func(removes int) int
}

func (e wide) PathSize(removes []uint32) (nodes, bytes int) {
	n := e.path(len(removes))
	return n / 84, n
}

// Nobody is added to a tree through which no path would fit, and as many are taken out at once
// as leave one that fits.
func TestPathsFitIntoAnEntry(t *testing.T) {
	t.Parallel()
	w, all := unfilled(t, 1511, 20, "anna")
	a := all[0]
	_, e := a.m.position()
	r := w.puppetAsks("x")
	if _, err := a.m.append(w.now, wire.KindOp, &wire.Op{Type: wire.OpAdd, Cert: &r.Cert, Role: wire.RoleMember, KeyPackage: r.KeyPackage, Why: wire.WhyOpen}); err != nil {
		t.Fatal(err)
	}
	a.m.rosters.refresh()
	find := func(path func(removes int) int) difference {
		d, err := a.m.differ.find(w.now, a.m.own.log, a.position(), wide{e, path}, a.m.rosters.now, nil)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if d := find(func(int) int { return maxPath - 1000 }); len(d.adds) != 1 || d.more {
		t.Errorf("a path that fits: %d added", len(d.adds))
	}
	if d := find(func(int) int { return maxPath }); len(d.adds) != 0 || !d.more {
		t.Errorf("a path that hardly fits: %d added", len(d.adds))
	}
	for _, u := range a.m.Members()[1:11] {
		a.must(RemoveUser{User: u.User})
	}
	roster := a.m.rosters.now
	find = func(path func(removes int) int) difference {
		d, err := a.m.differ.find(w.now, a.m.own.log, a.position().Parent, wide{e, path}, roster, nil)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if d := find(func(int) int { return 1000 }); len(d.removes) < 9 || d.more || !d.gate {
		t.Fatalf("%d of ten are taken out", len(d.removes))
	}
	if d := find(func(n int) int { return n * maxPath / 3 }); len(d.removes) < 1 || len(d.removes) > 3 || !d.more || !d.gate || len(d.ops) != len(d.removes) {
		t.Errorf("%d are taken out at once, by %d operations", len(d.removes), len(d.ops))
	}
	if d := find(func(int) int { return 2 * maxPath }); len(d.removes) != 1 {
		t.Errorf("%d are taken out where no path fits", len(d.removes))
	}
}

// counting is an engine that counts what it verifies.
type counting struct {
	engine.Engine
	packages, lifetimes *int
}

func (e counting) InspectKeyPackage(b []byte) (engine.KeyPackageInfo, error) {
	*e.packages++
	return e.Engine.InspectKeyPackage(b)
}

func (e counting) CheckLifetime(b []byte, now time.Time) error {
	*e.lifetimes++
	return e.Engine.CheckLifetime(b, now)
}

// A start verifies no addition again, and a KeyPackage that waits is looked at once an hour.
func TestVerifiedOnce(t *testing.T) {
	t.Parallel()
	w, all := unfilled(t, 1512, 5, "anna")
	a := all[0]
	r := w.puppetAsks("x")
	if _, err := a.m.append(w.now, wire.KindOp, &wire.Op{Type: wire.OpAdd, Cert: &r.Cert, Role: wire.RoleMember, KeyPackage: r.KeyPackage, Why: wire.WhyOpen}); err != nil {
		t.Fatal(err)
	}
	a.m.differ.leaveOut(r.KeyPackage) // until it is asked below
	a.must(Tick{})
	var packages, lifetimes int
	cfg := a.m.cfg
	cfg.Engine = counting{cfg.Engine, &packages, &lifetimes}
	m, err := New(cfg, w.now)
	if err != nil {
		t.Fatal(err)
	}
	if packages > 0 || m.rosters.now.Size() != 7 {
		t.Errorf("a start verifies %d KeyPackages of %d members", packages, m.rosters.now.Size())
	}
	by := m.rosters.now.Device(m.rosters.now.DeviceIDs()[0]).By
	lifetimes = 0
	for _, after := range []time.Duration{0, time.Minute, checkAgain - time.Second, checkAgain + time.Minute, -time.Hour} {
		if !m.differ.usable(w.now.Add(after), r.KeyPackage, by) {
			t.Errorf("after %v it cannot be added", after)
		}
	}
	if lifetimes > 3 {
		t.Errorf("its signatures were verified %d times", lifetimes)
	}
	if m.differ.usable(w.now.Add(engine.KeyPackageLifetime+time.Hour), r.KeyPackage, m.logs.Ops[len(m.logs.Ops)-1]) {
		t.Error("a KeyPackage past its time can be added")
	}
	m.differ.leaveOut(r.KeyPackage)
	if m.differ.usable(w.now, r.KeyPackage, by) {
		t.Error("a KeyPackage that no commit can add is usable")
	}
}
