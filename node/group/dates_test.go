package group

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/mls"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/group/epochs"
	"github.com/pandanode/pandanode/node/group/roster"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

const year = 365 * 24 * time.Hour

// datesOf are the dates of what a device wrote that reads a set.
func (d *device) datesOf(o *device) (out []time.Time) {
	for _, it := range slices.SortedFunc(d.m.logs.Items.All(), (*dag.Item).Compare) {
		if it.Log.Device == o.dev.ID {
			out = append(out, it.Dated().Time())
		}
	}
	return out
}

// A device whose clock is ahead for one message goes on in the same log, and is read at
// once, before and after. So are those who build on what it wrote, and they give their
// entries the right dates.
func TestAheadForOneMessage(t *testing.T) {
	t.Parallel()
	for _, ahead := range []time.Duration{11 * time.Minute, time.Hour, year, 50 * year} {
		t.Run(ahead.String(), func(t *testing.T) {
			t.Parallel()
			w, a, b, c := three(t, 770)
			b.skew = ahead
			b.send("ahead")
			b.skew = 0
			w.run(time.Second)
			for i := range 3 {
				for _, d := range []*device{a, b, c} {
					d.send(fmt.Sprint(d.name, i))
					w.run(time.Second)
				}
			}
			logs := len(a.m.logs.Lists)
			w.run(time.Minute)
			w.agree(a, b, c)
			for _, d := range []*device{a, b, c} {
				if got := d.texts(); len(got) != 10 {
					t.Errorf("%s shows %v", d.name, got)
				}
				if len(d.m.logs.Lists) != logs {
					t.Errorf("%s knows %d logs, it was %d", d.name, len(d.m.logs.Lists), logs)
				}
				wrong := 0
				for _, o := range []*device{a, b, c} {
					for _, at := range d.datesOf(o) {
						if at.After(w.now.Add(dag.MaxAhead)) {
							wrong++
						}
					}
				}
				if wrong > 2 { // the message, and a VOTE that was due
					t.Errorf("%s has %d entries that are dated ahead", d.name, wrong)
				}
				before := d.m.state()
				if d.open(); d.m.state() != before {
					t.Errorf("%s differs after a restart", d.name)
				}
			}
			if msgs, err := a.m.Journal().Messages(0, 0); err != nil || msgs[len(msgs)-1].Sent.After(w.now) {
				t.Errorf("the last one was sent %v, %v", msgs[len(msgs)-1].Sent, err)
			}
		})
	}
}

// A device that is behind, by a little or a year, reads and is read.
func TestBehind(t *testing.T) {
	t.Parallel()
	for _, behind := range []time.Duration{11 * time.Minute, year, 50 * year} {
		w, a, b, c := three(t, 771)
		c.skew = -behind
		c.open()
		a.send("to who is behind")
		w.run(time.Second)
		c.send("from who is behind")
		w.run(time.Minute)
		w.agree(a, b, c)
		for _, d := range []*device{a, b, c} {
			if got := d.texts(); len(got) != 2 {
				t.Errorf("%v behind: %s shows %v", behind, d.name, got)
			}
		}
	}
}

// Somebody joins whose clock is a year off, or lets somebody in.
func TestJoinWithAWrongClock(t *testing.T) {
	t.Parallel()
	for _, skew := range []time.Duration{-50 * year, -year, year, 50 * year} {
		w := newWorld(t, 772)
		a, b, c := w.device("anna"), w.device("ben"), w.device("carl")
		a.skew, c.skew = skew, -skew
		w.found(a, wire.PolicyOpen)
		w.join(b)
		w.join(c)
		w.run(time.Minute)
		w.agree(a, b, c)
	}
}

// brief is an engine whose KeyPackages live for a day: those of nodes allow for clocks that are
// decades apart.
type brief struct{ engine.Engine }

func (e brief) NewKeyPackage(rand io.Reader, now time.Time, signer, credential []byte) (engine.KeyPackage, error) {
	k, err := mls.ParseSignatureKey(mls.CipherSuite(e.Suite()), signer)
	if err != nil {
		return engine.KeyPackage{}, err
	}
	kp, secrets, err := mls.NewKeyPackage(rand, mls.KeyPackageConfig{
		Suite: mls.CipherSuite(e.Suite()), Credential: mls.BasicCredential(credential), Signer: k,
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(24 * time.Hour),
	})
	if err != nil {
		return engine.KeyPackage{}, err
	}
	return engine.KeyPackage{Public: kp.Bytes(), Secret: secrets.MarshalSecret()}, nil
}

// Members follow an addition although the KeyPackage in it is out of its lifetime by their
// clocks, and all have one tree: the clocks of who adds and joins are decades off, or theirs.
func TestAdditionOutOfDateByTheReceiver(t *testing.T) {
	t.Parallel()
	for _, clocks := range []struct{ adder, receiver time.Duration }{{0, 50 * year}, {0, -50 * year}, {50 * year, 0}, {-50 * year, 0}} {
		w, a, b, c := three(t, 783)
		d := w.device("dora")
		a.skew, d.skew, b.skew, c.skew = clocks.adder, clocks.adder, clocks.receiver, clocks.receiver
		d.engine = brief{engine.MLS(1)}
		for _, x := range []*device{a, b, c, d} {
			x.open()
		}
		w.run(10 * time.Minute) // they renew what is old by their clocks
		w.cut = func(x, y *device) bool { return (x == a || x == d) != (y == a || y == d) }
		d.must(Join{})
		keyPackage := d.request().KeyPackage
		w.run(time.Minute)
		for _, x := range []*device{b, c} {
			if err := x.m.cfg.Engine.CheckLifetime(keyPackage, x.clock()); !errors.Is(err, mls.ErrLifetime) {
				t.Fatalf("clocks %v off: %s finds the KeyPackage in its lifetime: %v", clocks, x.name, err)
			}
		}
		w.agree(a, d)
		before := a.m.Status()
		w.cut = nil
		w.sync(c, a)
		w.sync(b, a)
		w.run(time.Second)
		for _, x := range []*device{b, c} {
			if n := x.m.tree.Nodes[before.Position]; n == nil || !n.Contains(x.m.tree.Nodes[x.m.Status().Position]) {
				t.Errorf("clocks %v off: %s is in epoch %d, not in or under epoch %d", clocks, x.name, x.m.Status().Epoch, before.Epoch)
			}
		}
		c.send("welcome")
		w.run(5 * time.Minute)
		w.agree(a, b, c, d)
		for _, x := range []*device{a, b, c, d} {
			if s := x.m.Status(); !bytes.Equal(s.TreeHash, a.m.Status().TreeHash) || !slices.Contains(x.texts(), "welcome") {
				t.Errorf("clocks %v off: %s shows %q", clocks, x.name, x.texts())
			}
		}
	}
}

// A restart reads entries, from packs and single ones, in their order before, even if many
// are dated before those that they build on.
func TestPacksKeepDates(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 773)
	a, b := w.device("anna"), w.device("ben")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.run(time.Minute)
	b.skew = 50 * year
	b.send("ahead")
	b.skew = 0
	for i := range packSize + 100 {
		a.send(fmt.Sprint("a ", i))
		if i%3 == 0 {
			w.run(10 * time.Millisecond)
			b.send(fmt.Sprint("b ", i))
		}
	}
	w.run(time.Minute)
	for _, d := range []*device{a, b} {
		if d.count(rowPack) == 0 {
			t.Fatalf("%s has no packs", d.name)
		}
		want := d.m.state()
		if got := d.restarted(); got != want {
			t.Errorf("%s differs after a restart without packs", d.name)
		}
		if d.open(); d.m.state() != want {
			t.Errorf("%s differs after a restart", d.name)
		}
	}
}

// A member that dates its entries to 2106 is nobody's clock: the others stay live in the
// fork choice, what they write is dated as before, and the set is the same in any order.
func TestHostileDates(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 774)
	until := time.Date(2106, 1, 1, 0, 0, 0, 0, time.UTC)
	c.online = false
	vote := &wire.Vote{Position: a.m.own.Position}
	first := c.forge(wire.KindVote, vote, a.m.logs.Frontier(c.m.own.log, 16), func(e *wire.Entry) {
		c.next(a)(e)
		e.HLC = uint64(crdt.HLCFromTime(until))
	})
	a.must(Entries{Entries: [][]byte{first}})
	w.run(time.Minute)
	liar := a.m.logs.Head(c.m.own.log)
	if liar == nil || liar.Dated().Time() != until {
		t.Fatalf("it is not in the set: %v", liar)
	}
	for _, d := range []*device{a, b} {
		choice := epochs.Choice{Roster: d.m.rosters.now, Newest: d.m.logs.Heard(w.now)}
		now := choice.Now()
		if now.Time().After(w.now.Add(dag.MaxAhead)) {
			t.Errorf("%s believes that it is %v", d.name, now)
		}
		for _, o := range []*device{a, b, c} {
			if !choice.IsLive(o.dev.User, now) {
				t.Errorf("%s takes %s for gone", d.name, o.name)
			}
		}
	}
	a.send("still now")
	w.run(time.Minute)
	b.send("now too")
	w.run(time.Minute)
	for _, d := range []*device{a, b} {
		dates := d.datesOf(d)
		if last := dates[len(dates)-1]; last.After(w.now) || last.Before(w.now.Add(-5*time.Minute)) {
			t.Errorf("%s dates what it writes %v", d.name, last)
		}
	}
	// Somebody who gets all of it in another order has the same.
	entries, _, err := a.m.EntriesAfter(b.dev.ID, nil, wire.EntryHash{}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(entries)
	e := w.device("emil")
	e.online = false
	e.open()
	for range 2 {
		for _, raw := range entries {
			_, _ = e.step(Entries{Entries: [][]byte{raw}})
		}
	}
	if !slices.Equal(e.m.logs.Marks(), a.m.logs.Marks()) || e.m.fork.chosen.at.ID != a.m.fork.chosen.at.ID {
		t.Error("in another order it comes to something else")
	}
	for it := range a.m.logs.Items.All() {
		if o := e.m.logs.Items.At(it.Hash); o == nil || o.HLC != it.HLC || o.Dated() != it.Dated() {
			t.Errorf("entry %v has another place or date: %v, %v", it.Hash, o, it)
		}
	}
	last := c.forge(wire.KindVote, vote, nil, func(e *wire.Entry) {
		c.next(a)(e)
		e.HLC = uint64(dag.EndOfTime)
	})
	if _, err := a.step(Entries{Entries: [][]byte{last}}); !errors.Is(err, verdict.ErrFuture) {
		t.Errorf("dated after the end of time: %v", err)
	}
}

// A user whose clock was ahead once and who is silent since does not count as live for
// ever, nor do the others count as gone.
func TestAheadAndThenSilent(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 775)
	c.skew = year
	c.send("ahead")
	c.skew = 0
	w.run(time.Second)
	c.send("right again")
	w.run(time.Minute)
	c.down = true
	for range 20 {
		w.now = w.now.Add(24 * time.Hour)
		a.send("day")
		w.run(time.Minute)
		b.send("day")
		w.run(time.Minute)
	}
	choice := epochs.Choice{Roster: a.m.rosters.now, Newest: a.m.logs.Heard(w.now)}
	if now := choice.Now(); choice.IsLive(c.dev.User, now) || !choice.IsLive(b.dev.User, now) {
		t.Errorf("as of %v: %v", now, a.m.logs.Heard(w.now))
	}
}

// A request that somebody wrote down with a clock that was ahead, and one that was denied
// so, keep nobody waiting for a year.
func TestRequestsDatedAhead(t *testing.T) {
	t.Parallel()
	w, a, b, c := closed(t, 776, wire.PolicyRequest)
	d := w.device("dora")
	b.skew = year
	b.open()
	d.open()
	d.must(Join{})
	b.must(JoinAsked{Request: *d.request()})
	b.skew = 0
	b.open()
	w.run(2 * time.Minute)
	if got := a.m.Requests(w.now); len(got) != 1 || got[0].Asked.After(w.now) {
		t.Fatalf("before the admin there are %+v, refused: %v, %v", got, d.errs, a.m.rosters.now.Asking(d.dev.User))
	}
	a.skew = year
	a.must(Deny{User: d.dev.User})
	a.skew = 0
	d.online = false
	w.run(roster.DenialFor + time.Hour)
	a.must(JoinAsked{Request: *d.request()})
	if got := a.m.Requests(w.now); len(got) != 1 {
		t.Fatalf("after the denial there are %+v", got)
	}
	d.online = true
	a.must(Approve{User: d.dev.User})
	w.run(time.Hour) // it asks now and then
	w.agree(a, b, c, d)
}

// An invite is over by the date of the addition, whatever dates that builds on.
func TestInvitesInADraggedGroup(t *testing.T) {
	t.Parallel()
	w, a, b, c := closed(t, 777, wire.PolicyInvite)
	b.skew = 50 * year
	b.send("ahead")
	b.skew = 0
	w.run(time.Minute)
	link := a.mustInvite(func(i *wire.Invite) { i.Expires = uint64(w.now.Add(time.Hour).UnixMilli()) })
	w.run(time.Minute)
	d, e := w.device("dora"), w.device("emil")
	d.open()
	e.open()
	d.online, e.online = false, false
	b.must(JoinAsked{Request: d.asks(&link)})
	w.run(time.Hour)
	if _, err := c.step(JoinAsked{Request: e.asks(&link)}); !errors.Is(err, verdict.ErrInviteExpired) {
		t.Errorf("after its end: %v", err)
	}
	if !a.m.rosters.now.Has(d.dev.ID) || a.m.rosters.now.Has(e.dev.ID) {
		t.Errorf("who is in is not who came in time: %v, %v, %v", a.m.rosters.now.Has(d.dev.ID), a.m.rosters.now.Has(e.dev.ID), d.errs)
	}
}

// Seals of who is far behind are kept as long as others'; and what it wrote waits in
// mailboxes for who lacks it.
func TestBehindIsNotOld(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 778)
	c.down = true
	b.skew = -50 * year
	b.open()
	id := b.send("from 1976")
	w.run(time.Minute)
	a.m.timers.stop(timerDaily)
	a.must(Tick{})
	if n := len(must(a.m.SealsFor(b.dev.ID, []wire.MessageID{id}))); n == 0 {
		t.Error("its seal is gone")
	}
	if !slices.ContainsFunc(unproven(a.m.logs, a.m.rosters.now, a.dev.ID, w.now), func(it *dag.Item) bool { return it.Hash == id }) {
		t.Error("nobody keeps it for carl")
	}
	_ = c
}

// Nor are they older for a device that is behind itself, so that all the others seem ahead;
// and where somebody was ahead indeed, they go when they are old.
func TestBehindIsNotOldForOneThatIsBehind(t *testing.T) {
	t.Parallel()
	for _, dragged := range []bool{false, true} {
		w, a, b, c := three(t, 782)
		if dragged {
			c.skew = 50 * year
			c.send("from 2076")
			c.skew = 0
			c.send("right again")
			w.run(time.Minute)
		}
		a.send("from today")
		w.run(time.Minute)
		c.down = true
		b.skew = -50 * year
		b.open()
		id := b.send("from 1976")
		w.run(time.Minute)
		seals := func(behind time.Duration) int {
			a.skew = -behind
			a.open()
			a.m.timers.stop(timerDaily)
			a.must(Tick{})
			return a.count(rowSeal + hexed(id[:]))
		}
		if !dragged && seals(26*time.Hour) == 0 {
			t.Error("its seal is gone at a device that is a day behind")
		}
		if seals(0) == 0 {
			t.Errorf("its seal is gone at a device that is right, dragged: %t", dragged)
		}
		w.now = w.now.Add(sealsFor + time.Hour)
		if seals(0) != 0 {
			t.Errorf("its seal is still there after ninety days, dragged: %t", dragged)
		}
	}
}

// Forty restores and forty jumps of the clock mute nobody.
func TestRestoresAndJumps(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 779)
	want := 0
	for i := range 40 {
		old := maps.Clone(b.rows)
		b.skew = time.Duration(i+1) * 30 * 24 * time.Hour
		b.open()
		b.send(fmt.Sprint("ahead ", i))
		w.run(2 * time.Second)
		b.skew = 0
		if i%2 == 0 {
			b.rows = old
			b.inc = w.rand.Uint64()
		}
		b.open()
		w.run(time.Minute)
		b.send(fmt.Sprint("right ", i))
		want += 2
		w.run(time.Minute)
	}
	w.run(10 * time.Minute)
	w.agree(a, b, c)
	for _, d := range []*device{a, b, c} {
		if got := d.texts(); len(got) != want {
			t.Errorf("%s shows %d messages, want %d", d.name, len(got), want)
		}
	}
}

// A clock that is years ahead destroys nothing, while the time that is kept stands still; and
// what is old by that goes.
func TestWrongClockDestroysNothing(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 780)
	a.must(SetRole{User: b.dev.User, Role: wire.RoleAdmin})
	for range 3 {
		a.m.timers.set(timerUpdate, w.now)
		a.must(Tick{})
		w.run(time.Minute)
	}
	count := func(d *device) int {
		return d.count(rowEpoch) + d.count(rowThin) + d.count(rowKeyPkg) + d.count(rowSeal) + d.count(rowRejoin)
	}
	before := count(b)
	kept := w.now
	for _, ahead := range []time.Duration{time.Hour, 50 * 24 * time.Hour, year, 50 * year} {
		b.m.Keep(kept, kept, w.now.Add(ahead))
		if _, err := b.m.Step(w.now.Add(ahead), Tick{}); err != nil {
			t.Fatal(err)
		}
		r, _ := b.m.Ready()
		if len(r.Drop) > 0 {
			t.Errorf("%v ahead it destroys %d vaults", ahead, len(r.Drop))
		}
		b.carryOut()
	}
	if n := count(b); n < before {
		t.Errorf("of %d secrets %d are left", before, n)
	}
	b.m.Keep(kept.Add(year), kept.Add(year), w.now.Add(year))
	if _, err := b.m.Step(w.now.Add(year), Tick{}); err != nil {
		t.Fatal(err)
	}
	if r, _ := b.m.Ready(); len(r.Drop) == 0 {
		t.Error("a year later it destroys nothing")
	}
	_ = c
}

// A clock that was behind, by what is noted since when, and is right again, destroys nothing
// either.
func TestClockThatWasBehindDestroysNothing(t *testing.T) {
	t.Parallel()
	_, a, _, _ := three(t, 781)
	right := a.w.now
	a.m.Keep(right, right, right.Add(-50*year))
	a.m.timers.set(timerUpdate, right.Add(-50*year))
	before := a.m.own.Position
	step := func(now time.Time) Ready {
		t.Helper()
		if _, err := a.m.Step(now, Tick{}); err != nil {
			t.Fatal(err)
		}
		r, _ := a.m.Ready()
		a.carryOut()
		return r
	}
	step(right.Add(-50 * year))
	if a.m.own.Position == before {
		t.Fatal("it has left no epoch")
	}
	a.m.Keep(right.Add(time.Minute), right.Add(time.Minute), right.Add(time.Minute))
	if r := step(right.Add(time.Minute)); len(r.Drop) > 0 {
		t.Errorf("once its clock is right it destroys %d vaults", len(r.Drop))
	}
	a.m.Keep(right.Add(year), right.Add(year), right.Add(year))
	if r := step(right.Add(year)); len(r.Drop) == 0 {
		t.Error("a year later it destroys nothing")
	}
}
