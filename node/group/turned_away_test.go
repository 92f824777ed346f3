package group

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// meetAgain ends a cut, and has all exchange what they have while a device asks.
func (w *world) meetAgain(d *device) {
	w.t.Helper()
	w.cut = nil
	for range 6 {
		for _, x := range w.devices {
			w.syncSomebody(x)
		}
		w.run(time.Minute)
		if r := d.request(); r != nil {
			w.tryJoin(d, *r, time.Minute)
		}
	}
	w.run(10 * time.Minute)
}

// told fails unless the device's journal says, after a cursor, that it is out.
func (d *device) told(after uint64) {
	d.w.t.Helper()
	events, err := d.m.Journal().Events(after, 0)
	if err != nil {
		d.w.t.Fatal(err)
	}
	if !slices.ContainsFunc(events, func(e Event) bool { return e.Kind == EventOut && e.User == d.dev.User }) {
		d.w.t.Errorf("%s is not told that it is out", d.name)
	}
}

// Dora comes in through an admin who is removed at the same time, on the other side of a
// partition, before anybody else could vouch for her. She is told, comes back by the invite
// that she had, and what she sent reaches all.
func TestTurnedAwayComesBack(t *testing.T) {
	t.Parallel()
	for _, policy := range []wire.Policy{wire.PolicyInvite, wire.PolicyOpen} {
		t.Run(policy.String(), func(t *testing.T) {
			w, a, b, c := closed(t, 1401, wire.PolicyInvite)
			if policy == wire.PolicyOpen {
				item := wire.ProfileItem{V: wire.Version, Field: wire.FieldPolicy, HLC: 1, Policy: policy, Signer: a.user.Public()}
				a.must(SetProfile{Item: a.user.Sign(wire.DomainProfile, w.group, item.Encode())})
				w.run(time.Minute)
			}
			l := a.mustInvite(func(i *wire.Invite) { i.Uses = 1 })
			w.run(time.Minute)
			d := w.device("dora")
			w.cut = func(x, y *device) bool { return (x == b || x == d) != (y == b || y == d) }
			if policy == wire.PolicyInvite {
				w.joinBy(d, l)
			} else {
				w.join(d)
			}
			d.send("hello, ben")
			w.run(time.Minute)
			w.agree(b, d)
			a.must(RemoveUser{User: b.dev.User})
			w.run(time.Minute)
			w.meetAgain(d)
			d.told(0)
			w.agree(a, c, d)
			d.send("here again")
			w.run(time.Minute)
			for _, x := range []*device{a, c} {
				if got := x.texts(); !slices.Contains(got, "here again") || !slices.Contains(got, "hello, ben") {
					t.Errorf("%s shows %q", x.name, got)
				}
			}
			if got := b.m.Status().State; got != StateOut {
				t.Errorf("ben says %q", got)
			}
		})
	}
}

// A user leaves, or is removed, comes back through somebody who is removed at the same time,
// and is told that it is out: it comes back by the invite that it had, or by the open door, and
// what it sent is not accepted and lost.
func TestBackThroughTheRemoved(t *testing.T) {
	t.Parallel()
	for _, policy := range []wire.Policy{wire.PolicyOpen, wire.PolicyInvite} {
		for _, removed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, removed %v", policy, removed), func(t *testing.T) {
				t.Parallel()
				w, a, b, c := closed(t, 1402, policy)
				d := w.device("dora")
				w.joinBy(d, a.mustInvite(nil))
				w.run(time.Minute)
				w.agree(a, b, c, d)
				if removed {
					a.must(RemoveUser{User: d.dev.User})
				} else {
					d.must(Leave{})
				}
				w.run(time.Minute)
				w.sync(a, d)
				w.run(time.Minute)
				d.told(0)
				before := d.m.Journal().Cursor()
				l := a.mustInvite(func(i *wire.Invite) { i.Uses = 1 })
				w.run(time.Minute)
				w.cut = func(x, y *device) bool { return (x == b || x == d) != (y == b || y == d) }
				if policy == wire.PolicyOpen && !removed {
					w.join(d)
				} else {
					w.joinBy(d, l)
				}
				w.run(2 * time.Second)
				d.send("back already")
				a.must(RemoveUser{User: b.dev.User})
				w.run(time.Minute)
				w.meetAgain(d)
				d.told(before)
				w.agree(a, c, d)
				d.send("and here")
				w.run(time.Minute)
				for _, x := range []*device{a, c} {
					if got := x.texts(); !slices.Contains(got, "back already") || !slices.Contains(got, "and here") {
						t.Errorf("%s shows %q", x.name, got)
					}
				}
			})
		}
	}
}

// A user is removed and invited again, and comes back with its phone while its laptop is
// off. The laptop is told, asks by itself, and comes in through the phone. All get what it sent
// before it knew, also what it sealed in an epoch that nobody else is under.
func TestOtherDeviceOfWhoCameBack(t *testing.T) {
	t.Parallel()
	w, a, b, c := closed(t, 1403, wire.PolicyInvite)
	laptop := w.device("laptop")
	laptop.user = c.user
	var err error
	if laptop.dev, err = identity.Certify(c.user, wire.DeviceCert{
		LogKey: laptop.log.Public(), Peer: []byte("p"), Name: laptop.name, Issued: uint64(w.now.Unix()), //nolint:gosec // after 1970
	}); err != nil {
		t.Fatal(err)
	}
	w.join(laptop)
	w.run(time.Minute)
	w.agree(a, b, c, laptop)
	laptop.online = false
	a.must(RemoveUser{User: c.dev.User})
	w.run(time.Minute)
	w.joinBy(c, a.mustInvite(nil))
	w.run(time.Minute)
	w.agree(a, b, c)
	laptop.renewKeys()
	ofItsOwn := laptop.m.Status().Position
	alone := laptop.send("from an epoch of its own")
	laptop.online = true
	laptop.send("from the laptop")
	back := false
	w.watch = func(x *device, r Ready) {
		if x == laptop && slices.ContainsFunc(r.Events, func(e Event) bool { return e.Kind == EventJoined }) {
			back, laptop.online = true, false // before anybody can ask for what it wrote
		}
	}
	for range 4 {
		w.sync(laptop, a)
		w.run(time.Minute)
		if r := laptop.request(); r != nil && !back {
			w.carryJoin(laptop, *r)
		}
	}
	if !slices.ContainsFunc(laptop.record(alone).Sealed, func(e wire.EpochID) bool {
		return laptop.m.tree.Nodes[e].Contains(laptop.m.tree.Nodes[laptop.m.own.Position])
	}) {
		t.Errorf("back is %v, and the laptop does not seal again by itself what nobody else can read", back)
	}
	w.watch, laptop.online = nil, true
	w.sync(laptop, a)
	w.run(time.Minute)
	if in := a.m.rosters.now.Has(laptop.dev.ID); laptop.m.In() != in {
		t.Fatalf("the laptop says %q, and that it is in is %v", laptop.m.Status().State, in)
	}
	w.run(5 * time.Minute)
	w.agree(a, b, c, laptop)
	for _, x := range []*device{a, b, c, laptop} {
		if got := x.texts(); !slices.Contains(got, "from the laptop") || !slices.Contains(got, "from an epoch of its own") {
			t.Errorf("%s shows %q", x.name, got)
		}
		if n := x.m.tree.Nodes[ofItsOwn]; n == nil || n.Contains(x.m.tree.Nodes[x.m.Status().Position]) {
			t.Errorf("%s is under the laptop's epoch", x.name)
		}
	}
	laptop.told(0)
}

// The invite by which a device came in is kept for thirty days, in a vault, and no longer.
func TestInviteOfBeforeIsForgotten(t *testing.T) {
	t.Parallel()
	w, a, b, _ := closed(t, 1404, wire.PolicyInvite)
	d := w.device("dora")
	w.joinBy(d, a.mustInvite(nil))
	w.run(time.Minute)
	if d.count(rowCameBy) != 1 {
		t.Fatal("it is not kept")
	}
	w.run(cameByFor + 48*time.Hour)
	d.must(Tick{}) // what is kept for months is no reason to wake
	if d.count(rowCameBy) != 0 {
		t.Error("it is kept for ever")
	}
	e := w.device("emil")
	w.joinBy(e, a.mustInvite(nil))
	w.run(time.Minute)
	a.must(RemoveUser{User: e.dev.User})
	w.run(time.Minute)
	w.sync(e, b)
	w.run(time.Minute)
	if e.count(rowCameBy) != 0 {
		t.Errorf("who was removed keeps it: %v", slices.Sorted(maps.Keys(e.rows)))
	}
}

// An admin floods the group with logs, each of which lets somebody in. Entries of a flood
// that nobody names do not count, and no member can vouch for them by naming them. So the
// members are silent about them, and do not answer each other's votes by votes.
func TestAdditionsOfAFlood(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 1410)
	a.must(SetRole{User: c.dev.User, Role: wire.RoleAdmin})
	w.run(time.Minute)
	c.online = false
	heads := a.heads()
	var raws [][]byte
	for range dag.MaxBeside + 1 {
		_, add := w.spy("spy")
		p := c.fresh()
		p.op(add, heads...)
		raws = append(raws, p.raws...)
	}
	for _, x := range []*device{a, b} {
		_, _ = x.step(Entries{Entries: raws})
		if x.m.logs.Floods[c.dev.ID] == nil {
			t.Fatalf("%s has not found the flood", x.name)
		}
	}
	w.run(time.Minute)
	before := a.m.logs.Count
	for i := range 20 {
		a.send(fmt.Sprint("message ", i))
		w.run(time.Second)
	}
	if n := a.m.logs.Count - before; n > 25 {
		t.Errorf("20 messages came with %d other entries", n-20)
	}
	w.agree(a, b)
}
