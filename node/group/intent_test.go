package group

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// A member that is off is removed and gets a fresh invite before it can know: it comes
// back in by that one, whatever it is told first, and over a restart between.
func TestRemovedWhileOffComesBackByItsInvite(t *testing.T) {
	t.Parallel()
	for name, between := range map[string]func(*device){
		"running":      func(*device) {},
		"and restarts": func(d *device) { d.open() },
	} {
		t.Run(name, func(t *testing.T) {
			w, a, b, c := closed(t, 620, wire.PolicyInvite)
			c.online = false
			a.must(RemoveUser{User: c.dev.User})
			w.run(10 * time.Second)
			l := a.mustInvite(func(i *wire.Invite) { i.Uses = 1 })
			c.must(Join{Invite: &l.invite, Key: l.key})
			if st := c.m.Status(); st.State != StateMember || st.Intents != 1 {
				t.Fatalf("carl is %s with %d invites kept; it cannot know", st.State, st.Intents)
			}
			between(c)
			c.online = true
			w.syncSomebody(a)
			w.syncSomebody(b)
			w.sync(a, c) // tells that it is out
			w.run(time.Minute)
			w.agree(a, b, c)
			if st := c.m.Status(); st.Intents != 0 || c.rows[rowIntents] != nil {
				t.Errorf("%d invites are kept", st.Intents)
			}
		})
	}
}

// A member that is in spends nothing: once it knows of the invite's operation, the invite
// is let go of, and another can use it.
func TestMemberSpendsNoInvite(t *testing.T) {
	t.Parallel()
	w, a, b, c := closed(t, 621, wire.PolicyInvite)
	c.online = false
	l := a.mustInvite(func(i *wire.Invite) { i.Uses = 1 })
	w.run(10 * time.Second)
	c.must(Join{Invite: &l.invite, Key: l.key})
	c.must(Join{Invite: &l.invite, Key: l.key})
	if st := c.m.Status(); st.Intents != 1 {
		t.Fatalf("%d invites are kept of one", st.Intents)
	}
	c.online = true
	w.sync(a, c)
	w.run(10 * time.Second)
	if st := c.m.Status(); st.State != StateMember || st.Intents != 0 || c.rows[rowIntents] != nil {
		t.Fatalf("carl is %s and keeps %d invites", st.State, st.Intents)
	}
	d := w.device("dora")
	w.joinBy(d, l)
	w.run(30 * time.Second)
	w.agree(a, b, c, d)
}

// Of two invites the one that does not let in ends, and the other one is asked with.
func TestTwoIntents(t *testing.T) {
	t.Parallel()
	w, a, b, c := closed(t, 622, wire.PolicyInvite)
	c.online = false
	a.must(RemoveUser{User: c.dev.User})
	w.run(10 * time.Second)
	good, revoked := a.mustInvite(nil), a.mustInvite(nil)
	a.must(RevokeInvite{Invite: revoked.id})
	c.must(Join{Invite: &good.invite, Key: good.key})
	c.must(Join{Invite: &revoked.invite, Key: revoked.key})
	w.run(10 * time.Second)
	c.online = true
	w.sync(a, c)
	w.run(5 * time.Second)
	r := c.request()
	if r == nil || wire.InviteIDOf(w.group, r.Invite.Payload) != revoked.id {
		t.Fatal("carl does not ask with the newest")
	}
	if !slices.ContainsFunc(c.errs, func(err error) bool { return errors.Is(err, verdict.ErrInviteRevoked) }) {
		t.Fatalf("it was told %v", c.errs)
	}
	c.must(EndJoin{Request: r}) // as the node does after a final no
	w.run(time.Minute)
	w.agree(a, b, c)
}

// Each join ends when its user says so, also after a restart; a claim that was made is
// not asked with again.
func TestEndJoin(t *testing.T) {
	t.Parallel()
	w, a, b, c := closed(t, 623, wire.PolicyInvite)
	a.online, b.online, c.online = false, false, false
	d := w.device("dora")
	l := a.signInvite(nil)
	w.joinBy(d, l)
	if st := d.m.Status(); st.State != StateJoining {
		t.Fatal(st.State)
	}
	d.must(EndJoin{})
	d.open()
	if st := d.m.Status(); st.State != StateNew || d.request() != nil || d.rows[rowJoin] != nil {
		t.Fatalf("it is %s", st.State)
	}
	a.online, b.online, c.online = true, true, true
	w.run(time.Minute)
	if st := d.m.Status(); st.State != StateNew {
		t.Fatalf("it is %s", st.State)
	}
	if _, err := d.step(EndJoin{Request: &wire.JoinRequest{V: wire.Version}}); !errors.Is(err, verdict.ErrState) {
		t.Errorf("a join that is not there ended: %v", err)
	}
}

// A crash anywhere between an invite's coming and its use costs nothing.
func TestCrashWithAnIntent(t *testing.T) {
	t.Parallel()
	crashes := 0
	for at := range 6 {
		for _, boundary := range []string{"before writes", "before messages", "before events", "before advance"} {
			w, a, b, c := closed(t, 624, wire.PolicyInvite)
			c.online = false
			a.must(RemoveUser{User: c.dev.User})
			w.run(10 * time.Second)
			l := a.mustInvite(func(i *wire.Invite) { i.Uses = 1 })
			c.must(Join{Invite: &l.invite, Key: l.key})
			n := 0
			c.crash = func(where string) bool {
				if where != boundary {
					return false
				}
				n++
				return n == at+1
			}
			c.online = true
			w.syncSomebody(a)
			if c.online && !c.down {
				w.sync(a, c)
			}
			w.run(20 * time.Second)
			if c.down {
				crashes++
			}
			c.crash = nil
			c.open()
			w.sync(a, c)
			w.run(2 * time.Minute)
			w.agree(a, b, c)
		}
	}
	if crashes == 0 {
		t.Fatal("it crashed nowhere")
	}
}

// A user who was denied, and has stopped asking, is approved later. A new join lets the
// user in, by the KeyPackage of the approved request.
func TestApprovedAfterItsJoinEnded(t *testing.T) {
	t.Parallel()
	w, a, b, c := closed(t, 625, wire.PolicyRequest)
	d := w.device("dora")
	d.asks(nil)
	w.run(5 * time.Second)
	a.must(Deny{User: d.dev.User})
	d.must(EndJoin{Request: d.request()})
	w.run(10 * time.Second)
	a.must(Approve{User: d.dev.User})
	w.run(time.Minute)
	if st := d.m.Status(); st.State != StateNew {
		t.Fatalf("it is %s without asking", st.State)
	}
	d.open()
	d.must(Join{})
	w.run(time.Minute)
	w.agree(a, b, c, d)
	if d.rows[rowEnded] != nil {
		t.Error("the request is kept")
	}
}
