package group

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/wire"
)

// An admin removes an owner of a hundred days, and revokes its device, by naming a past in
// which it was none.
func TestOwnerOfAHundredDaysStays(t *testing.T) {
	t.Parallel()
	w, a, b, c := closed(t, 1521, wire.PolicyInvite)
	silent := b.reserve("silent")
	longAgo := []*dag.Item{a.additionOf(b), a.additionOf(c), a.additionOf(silent)}
	a.must(SetRole{User: c.dev.User, Role: wire.RoleOwner})
	w.run(time.Minute)
	members := []*device{a, b, c}
	for range 10 {
		w.run(10 * 24 * time.Hour)
		for _, x := range members {
			x.send("another ten days")
		}
		w.run(time.Minute)
	}
	w.sayWhere(members...)
	var pens []*pen
	for _, p := range []*pen{b.fresh(), silent.first(longAgo[2].Hash), silent.fresh()} {
		p.op(removes(c), longAgo...)
		p.op(&wire.Op{Type: wire.OpDeviceRevoke, Device: &c.dev.ID})
		pens = append(pens, p)
	}
	all := naming(b, pens...)
	changesNothing(t, "a removal dated back", 50, members, all)
	besiege(t, "a removal dated back", w, members, all)
}

// An admin removes another one, dated back by a month in which that one served guests. Its
// victim is out, but the guests whom others have seen stay.
func TestGuestsOfAMonthStay(t *testing.T) {
	t.Parallel()
	w, a, b, c := closed(t, 1522, wire.PolicyInvite)
	e := w.device("emil")
	w.joinBy(e, a.mustInvite(func(i *wire.Invite) { i.Role = wire.RoleAdmin }))
	w.run(time.Minute)
	silent := e.reserve("silent")
	longAgo := []*dag.Item{a.additionOf(b), a.additionOf(c), a.additionOf(silent)}
	var guests []*device
	for i := range 12 {
		g := w.device(fmt.Sprint("guest", i))
		r := g.asks(new(b.mustInvite(nil)))
		g.online = i == 0 // the others come later
		b.must(JoinAsked{Request: r})
		guests = append(guests, g)
		w.run(time.Minute)
		if i%4 == 3 {
			a.send("welcome")
			c.send("welcome")
		}
		w.run(60 * time.Hour)
	}
	members := []*device{a, c, e}
	w.agree(append(members, b)...)
	p := silent.first(longAgo[2].Hash) // another log of a device that wrote since would be void
	p.op(removes(b), longAgo...)
	all := naming(e, p)
	stay := func(x *device) {
		r := x.m.rosters.now
		if r.HasUser(b.dev.User) {
			t.Errorf("%s: the removal does not count at all", x.name)
		}
		for _, g := range guests {
			if u := r.User(g.dev.User); u == nil || u.Role != wire.RoleMember || !r.Has(g.dev.ID) {
				t.Errorf("%s: %s is out", x.name, g.name)
			}
		}
	}
	inOrders(t, "a removal dated back", 50, members, all, stay)
	for _, x := range members {
		_, _ = x.step(Entries{Entries: all})
	}
	w.run(10 * time.Minute)
	for _, x := range members {
		stay(x)
	}
	g := guests[0]
	if !g.online || g.m.Status().State != StateMember {
		t.Fatalf("the first guest is %v", g.m.Status().State)
	}
	g.send("still here")
	w.run(time.Minute)
	w.agree(a, c, e, g)
	for _, x := range members {
		if !slices.Contains(x.texts(), "still here") {
			t.Errorf("%s shows %q", x.name, x.texts())
		}
	}
}

// An admin removes another one, dated back by five days in which all talked to it. All
// that others had stays, for them and for a device that was off meanwhile.
func TestFiveDaysOfMessagesStay(t *testing.T) {
	t.Parallel()
	w, a, b, c := closed(t, 1523, wire.PolicyInvite)
	d, e := w.device("dora"), w.device("emil")
	w.joinBy(d, a.mustInvite(nil))
	w.joinBy(e, a.mustInvite(func(i *wire.Invite) { i.Role = wire.RoleAdmin }))
	w.run(time.Minute)
	silent := e.reserve("silent")
	w.agree(a, b, c, d, e)
	longAgo := []*dag.Item{a.additionOf(b), a.additionOf(c), a.additionOf(silent)}
	d.online = false
	var said []wire.MessageID
	for range 5 {
		for _, x := range []*device{b, a, c, e} {
			said = append(said, x.send("a word of "+x.name))
			w.run(time.Minute)
		}
		w.run(24 * time.Hour)
	}
	p := silent.first(longAgo[2].Hash)
	p.op(removes(b), longAgo...)
	all := naming(e, p)
	members := []*device{a, c, e}
	inOrders(t, "a removal dated back", 50, members, all, func(x *device) {
		if x.m.rosters.now.HasUser(b.dev.User) {
			t.Errorf("%s: the removal does not count at all", x.name)
		}
		for _, id := range said {
			if it := x.record(id); !x.m.messages.owed(it) && it.Log != x.m.own.log {
				t.Errorf("%s: message %v is owed no more", x.name, id)
			}
		}
	})
	for _, x := range members {
		_, _ = x.step(Entries{Entries: all})
	}
	w.run(10 * time.Minute)
	d.online = true
	w.syncSomebody(d)
	w.run(30 * time.Minute)
	w.agree(a, c, d, e)
	sameTexts(t, 20, a, c, d, e)
}

// sameTexts fails unless all show the same messages, so many of them.
func sameTexts(t *testing.T, n int, all ...*device) {
	t.Helper()
	want := sortedTexts(all[0])
	for _, x := range all {
		if got := sortedTexts(x); len(got) != n || !slices.Equal(got, want) {
			t.Errorf("%s shows %d messages, want %d:\n%q\n%s shows\n%q", x.name, len(got), n, got, all[0].name, want)
		}
	}
}

// A group falls into two halves. In one they talk with a member whom the other half
// removes. In the end all show the same, what was heard before the halves met.
func TestBothHalvesShowTheSame(t *testing.T) {
	t.Parallel()
	w, a, b, c := closed(t, 1524, wire.PolicyInvite)
	d, e := w.device("dora"), w.device("emil")
	w.joinBy(d, a.mustInvite(nil))
	w.joinBy(e, a.mustInvite(func(i *wire.Invite) { i.Role = wire.RoleAdmin }))
	w.run(time.Minute)
	w.agree(a, b, c, d, e)
	left := func(x *device) bool { return x == a || x == b || x == c }
	w.cut = func(x, y *device) bool { return left(x) != left(y) }
	for range 3 {
		for _, x := range []*device{b, a, c, d, e} {
			x.send("a word of " + x.name)
			w.run(time.Minute)
		}
	}
	e.must(RemoveUser{User: b.dev.User})
	for range 2 {
		for _, x := range []*device{b, a, c, d, e} {
			x.send("another word of " + x.name)
			w.run(time.Minute)
		}
	}
	w.cut = nil
	for range 3 {
		for _, x := range w.devices {
			w.syncSomebody(x)
		}
		w.run(10 * time.Minute)
	}
	w.agree(a, c, d, e)
	sameTexts(t, 25, a, c, d, e)
	if got := b.m.Status().State; got != StateOut {
		t.Errorf("ben is %v", got)
	}
}
