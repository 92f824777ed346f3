package group

import (
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// The table of docs/ARCHITECTURE.md: what each role may do, said by the machine before it
// writes anything, and enforced by everybody else's roster when it is written all the same.
func TestRoles(t *testing.T) {
	t.Parallel()
	w, owner, admin, member := closed(t, 660, wire.PolicyRequest)
	reader := w.device("rita")
	w.joinBy(reader, owner.mustInvite(func(i *wire.Invite) { i.Role = wire.RoleReadOnly }))
	spare := w.device("sven")
	w.joinBy(spare, owner.mustInvite(nil))
	asker := w.device("asa")
	w.join(asker)
	kept := owner.mustInvite(nil)
	w.run(time.Minute)
	all := []*device{owner, admin, member, reader}
	w.agree(append(all, spare)...)
	w.hold = func(*device, *device, []byte) bool { return true }
	w.cut = func(*device, *device) bool { return true }

	asks := *asker.request()
	stranger := w.device("stina")
	strangers := stranger.asks(nil)
	none := wire.EntryHash{}
	user := func(d *device) *wire.UserID { return &d.dev.User }
	for _, x := range []struct {
		what string
		in   func(d *device) Input
		op   func(d *device) *wire.Op // what a program without scruples writes; nil: no operation
		may  int                      // the first so many of all
	}{
		{"send", func(*device) Input { return Send{} }, nil, 3},
		{"write down a request", func(*device) Input { return JoinAsked{Request: strangers} }, func(*device) *wire.Op {
			return &wire.Op{Type: wire.OpRequest, Cert: &strangers.Cert, KeyPackage: strangers.KeyPackage}
		}, 3},
		{"approve", func(*device) Input { return Approve{User: asker.dev.User} }, func(*device) *wire.Op {
			return &wire.Op{Type: wire.OpAdd, Cert: &asks.Cert, Role: wire.RoleMember, KeyPackage: asks.KeyPackage, Why: wire.WhyRole}
		}, 2},
		{"deny", func(*device) Input { return Deny{User: asker.dev.User} }, func(*device) *wire.Op {
			return &wire.Op{Type: wire.OpDeny, User: user(asker)}
		}, 2},
		{"invite", func(d *device) Input { return GiveInvite{Invite: d.signInvite(nil).invite} }, func(d *device) *wire.Op {
			i := d.signInvite(nil).invite
			return &wire.Op{Type: wire.OpInvite, Invite: &i}
		}, 2},
		{"revoke an invite", func(*device) Input { return RevokeInvite{Invite: kept.id} }, func(*device) *wire.Op {
			return &wire.Op{Type: wire.OpRevoke, Revokes: &kept.id}
		}, 2},
		{"set the profile", func(d *device) Input { return SetProfile{Item: d.profile()} }, func(d *device) *wire.Op {
			p := d.profile()
			return &wire.Op{Type: wire.OpProfile, Profile: &p}
		}, 2},
		{"remove a member", func(*device) Input { return RemoveUser{User: spare.dev.User} }, func(*device) *wire.Op {
			return &wire.Op{Type: wire.OpRemove, User: user(spare)}
		}, 2},
		{"revoke a member's device", func(*device) Input { return RevokeDevice{Device: spare.dev.ID} }, func(*device) *wire.Op {
			return &wire.Op{Type: wire.OpDeviceRevoke, Device: &spare.dev.ID}
		}, 2},
		{"remove an owner", func(*device) Input { return RemoveUser{User: owner.dev.User} }, func(*device) *wire.Op {
			return &wire.Op{Type: wire.OpRemove, User: user(owner)}
		}, 0},
		{"change a role", func(*device) Input { return SetRole{User: spare.dev.User, Role: wire.RoleReadOnly} }, func(*device) *wire.Op {
			return &wire.Op{Type: wire.OpRole, User: user(spare), Role: wire.RoleReadOnly}
		}, 1},
		{"give more than an admin has", func(d *device) Input { return Approve{User: asker.dev.User, Role: wire.RoleOwner} }, func(*device) *wire.Op {
			return &wire.Op{Type: wire.OpAdd, Cert: &asks.Cert, Role: wire.RoleOwner, KeyPackage: asks.KeyPackage, Why: wire.WhyRole}
		}, 1},
	} {
		for i, d := range all {
			saved := memRows{}
			for k, v := range d.rows {
				saved[k] = v
			}
			if i < x.may {
				if _, err := d.step(x.in(d)); err != nil {
					t.Errorf("a %v may %s: %v", d.role(), x.what, err)
				}
				d.rows = saved // as if it had not
				d.open()
				continue
			}
			refusal{"a " + d.role().String() + " may not " + x.what, x.in(d), verdict.ErrNotPermitted, verdict.Ignore}.check(t, d)
			if x.op == nil {
				continue
			}
			o := spare // somebody who takes it in
			before := memRows{}
			for k, v := range o.rows {
				before[k] = v
			}
			raw := d.forge(wire.KindOp, x.op(d), o.m.logs.Frontier(wire.LogID{}, wire.MaxDeps), d.next(o))
			if out, err := o.step(Entries{Entries: [][]byte{raw}}); err != nil || out.New != 1 {
				t.Fatalf("%s: %+v, %v", x.what, out, err)
			}
			acts := o.m.History()
			if a := acts[len(acts)-1]; a.User != d.dev.User || a.Void == "" || a.Hash == none {
				t.Errorf("a %v did %s, and it counts: %+v", d.role(), x.what, a)
			}
			o.rows = before
			o.open()
		}
	}
}

// role is what a device's user is by its own roster.
func (d *device) role() wire.Role { return d.m.rosters.now.User(d.dev.User).Role }

// Two owners demote each other concurrently.
func TestMutualDemotionLeavesAnOwner(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 431)
	a.must(SetRole{User: b.dev.User, Role: wire.RoleOwner})
	w.run(10 * time.Second)
	cut := true
	w.cut = func(x, y *device) bool { return cut && (x == a || y == a) }
	a.must(SetRole{User: b.dev.User, Role: wire.RoleMember})
	b.must(SetRole{User: a.dev.User, Role: wire.RoleMember})
	w.run(10 * time.Second)
	cut = false
	w.syncSomebody(a)
	w.run(time.Minute)
	w.agree(a, b, c)
	owners := 0
	for _, m := range a.m.Members() {
		if m.Role == wire.RoleOwner {
			owners++
		}
	}
	if owners == 0 {
		t.Error("the group has no owner any more")
	}
}
