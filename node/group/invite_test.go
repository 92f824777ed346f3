package group

import (
	"crypto/sha256"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// link is what an invite link holds for the machine.
type link struct {
	invite wire.Signed
	key    *identity.Key
	id     wire.InviteID
}

// invite makes an invite by this device's user, and gives it out if the machine does.
func (d *device) invite(change func(*wire.Invite)) (link, error) {
	d.w.t.Helper()
	l := d.signInvite(change)
	_, err := d.step(GiveInvite{Invite: l.invite})
	return l, err
}

func (d *device) signInvite(change func(*wire.Invite)) link {
	d.w.t.Helper()
	key, err := identity.NewKey(d.w.rand)
	if err != nil {
		d.w.t.Fatal(err)
	}
	i := wire.Invite{
		V: wire.Version, Key: [32]byte(key.Public()), Role: wire.RoleMember, Created: uint64(d.w.now.UnixMilli()), Signer: d.user.Public(),
	}
	if change != nil {
		change(&i)
	}
	s := d.user.Sign(wire.DomainInvite, d.w.group, i.Encode())
	return link{s, key, wire.InviteIDOf(d.w.group, s.Payload)}
}

func (d *device) mustInvite(change func(*wire.Invite)) link {
	d.w.t.Helper()
	l, err := d.invite(change)
	if err != nil {
		d.w.t.Fatalf("%s: inviting: %v", d.name, err)
	}
	return l
}

// joinBy opens a device and has it ask with an invite.
func (w *world) joinBy(d *device, l link) {
	w.t.Helper()
	d.open()
	d.must(Join{Invite: &l.invite, Key: l.key})
	w.run(5 * time.Second)
}

// request is what a device asks with.
func (d *device) asks(l *link) wire.JoinRequest {
	d.w.t.Helper()
	d.open()
	in := Join{}
	if l != nil {
		in = Join{Invite: &l.invite, Key: l.key}
	}
	d.must(in)
	return *d.request()
}

// closed makes a group of three with a policy: an owner, an admin and a member.
func closed(t *testing.T, seed uint64, policy wire.Policy) (*world, *device, *device, *device) {
	t.Helper()
	w := newWorld(t, seed)
	a, b, c := w.device("anna"), w.device("ben"), w.device("carl")
	w.found(a, policy)
	admin := a.mustInvite(func(i *wire.Invite) { i.Role = wire.RoleAdmin })
	w.joinBy(b, admin)
	w.joinBy(c, a.mustInvite(nil))
	w.run(30 * time.Second)
	w.agree(a, b, c)
	for _, m := range a.m.Members() {
		if want := map[wire.UserID]wire.Role{a.dev.User: wire.RoleOwner, b.dev.User: wire.RoleAdmin, c.dev.User: wire.RoleMember}[m.User]; m.Role != want {
			t.Fatalf("%s is %v, want %v", m.Name, m.Role, want)
		}
	}
	return w, a, b, c
}

// The inviter is offline, and every admin with it: a member serves the invite, and
// those who come back agree.
func TestInviteNeedsNoAdmin(t *testing.T) {
	t.Parallel()
	w, a, b, c := closed(t, 600, wire.PolicyInvite)
	l := b.mustInvite(nil)
	// Ben's operation reaches nobody: the link is all there is.
	a.online, b.online = false, false
	d := w.device("dora")
	w.joinBy(d, l)
	c.send("welcome, dora")
	w.run(time.Minute)
	w.agree(c, d)
	if got := d.texts(); !slices.Equal(got, []string{"welcome, dora"}) {
		t.Errorf("dora shows %q", got)
	}
	a.online, b.online = true, true
	for _, x := range w.devices {
		w.syncSomebody(x)
	}
	w.run(2 * time.Minute)
	w.agree(a, b, c, d)
	for _, i := range a.m.Invites(w.now) {
		if i.ID == l.id && (i.Used != 1 || i.By != b.dev.User || i.Void != nil) {
			t.Errorf("anna lists %+v", i)
		}
	}
	if n := len(a.m.Invites(w.now)); n != 3 {
		t.Errorf("anna knows of %d invites, want 3", n)
	}
}

// Requests that a joiner, a thief or a member could make, and operations that a member must
// not sign into the log: each is refused with an error of its own and changes nothing.
func TestBadInvitesAreRefused(t *testing.T) {
	t.Parallel()
	w, a, b, c := closed(t, 601, wire.PolicyInvite)
	hour := func(h int) func(*wire.Invite) {
		return func(i *wire.Invite) { i.Expires = uint64(w.now.Add(time.Duration(h) * time.Hour).UnixMilli()) }
	}
	short := a.mustInvite(hour(1))
	revoked := a.mustInvite(nil)
	once := a.mustInvite(func(i *wire.Invite) { i.Uses = 1 })
	good := a.mustInvite(nil)
	w.run(time.Second)
	b.must(RevokeInvite{Invite: revoked.id})
	e := w.device("emil")
	w.joinBy(e, once)
	left := w.device("lena")
	w.joinBy(left, good)
	spent := wire.JoinRequest{}
	for _, op := range c.m.logs.Ops {
		if op.Target != nil && op.Target.Device.ID == left.dev.ID {
			spent = wire.JoinRequest{V: wire.Version, Group: w.group, Cert: *op.Op.Cert, KeyPackage: op.Op.KeyPackage, Invite: op.Op.Invite, Claim: op.Op.Claim}
		}
	}
	left.must(Leave{})
	w.run(2 * time.Hour)
	w.agree(a, b, c, e)

	d := w.device("dora")
	ask := func(l link) wire.JoinRequest {
		delete(d.rows, rowJoin)
		return d.asks(&l)
	}
	with := func(r wire.JoinRequest, change func(*wire.JoinRequest)) Input {
		change(&r)
		return JoinAsked{Request: r}
	}
	fine := ask(good)
	thief := w.device("theo")
	stolen := thief.asks(nil) // without a secret, with what an operation or dora's request shows
	otherKey, err := identity.NewKey(w.rand)
	if err != nil {
		t.Fatal(err)
	}
	forgedClaim := otherKey.Sign(wire.DomainJoin, w.group, (&wire.Claim{
		V: wire.Version, Invite: good.id, Device: thief.dev.ID, KeyPackage: sha256.Sum256(stolen.KeyPackage),
	}).Encode())
	foreign := a.user.Sign(wire.DomainInvite, wire.GroupID{1}, good.invite.Payload)
	members := c.signInvite(nil)
	owners := b.signInvite(func(i *wire.Invite) { i.Role = wire.RoleOwner })
	for _, r := range []refusal{
		{"expired", JoinAsked{Request: ask(short)}, verdict.ErrInviteExpired, verdict.Ignore},
		{"revoked", JoinAsked{Request: ask(revoked)}, verdict.ErrInviteRevoked, verdict.Ignore},
		{"used up", JoinAsked{Request: ask(once)}, verdict.ErrInviteUsed, verdict.Ignore},
		{"signed by a member", JoinAsked{Request: ask(members)}, verdict.ErrInviteSigner, verdict.Ignore},
		{"signed by a stranger", JoinAsked{Request: ask(d.signInvite(nil))}, verdict.ErrInviteSigner, verdict.Ignore},
		{"gives more than its signer has", JoinAsked{Request: ask(owners)}, verdict.ErrInviteSigner, verdict.Ignore},
		{"none", with(fine, func(r *wire.JoinRequest) { r.Invite, r.Claim = nil, nil }), verdict.ErrInviteOnly, verdict.Ignore},
		{"signature changed", with(fine, func(r *wire.JoinRequest) {
			r.Invite = &wire.Signed{Payload: good.invite.Payload, Signature: flipped(good.invite.Signature, 5)}
		}), verdict.ErrForged, verdict.Reject},
		{"of another group", with(fine, func(r *wire.JoinRequest) { r.Invite = &foreign }), verdict.ErrForged, verdict.Reject},
		{"payload of rubbish", with(fine, func(r *wire.JoinRequest) {
			s := a.user.Sign(wire.DomainInvite, w.group, []byte("rubbish"))
			r.Invite = &s
		}), wire.ErrMalformed, verdict.Reject},
		{"claim of rubbish", with(fine, func(r *wire.JoinRequest) {
			s := good.key.Sign(wire.DomainJoin, w.group, []byte("rubbish"))
			r.Claim = &s
		}), wire.ErrMalformed, verdict.Reject},
		{"claim to another invite", with(fine, func(r *wire.JoinRequest) {
			s := good.key.Sign(wire.DomainJoin, w.group, (&wire.Claim{V: wire.Version, Invite: once.id, Device: d.dev.ID, KeyPackage: sha256.Sum256(r.KeyPackage)}).Encode())
			r.Claim = &s
		}), verdict.ErrForged, verdict.Reject},
		{"claim for another device", with(fine, func(r *wire.JoinRequest) {
			s := good.key.Sign(wire.DomainJoin, w.group, (&wire.Claim{V: wire.Version, Invite: good.id, Device: c.dev.ID, KeyPackage: sha256.Sum256(r.KeyPackage)}).Encode())
			r.Claim = &s
		}), verdict.ErrForged, verdict.Reject},
		{"claim for another KeyPackage", with(fine, func(r *wire.JoinRequest) {
			s := good.key.Sign(wire.DomainJoin, w.group, (&wire.Claim{V: wire.Version, Invite: good.id, Device: d.dev.ID}).Encode())
			r.Claim = &s
		}), verdict.ErrForged, verdict.Reject},
		{"replayed by a thief", with(stolen, func(r *wire.JoinRequest) { r.Invite, r.Claim = fine.Invite, fine.Claim }), verdict.ErrForged, verdict.Reject},
		{"claimed with a key that is not the invite's", with(stolen, func(r *wire.JoinRequest) {
			r.Invite, r.Claim = fine.Invite, &forgedClaim
		}), verdict.ErrForged, verdict.Reject},
		{"the very request of somebody who has left", JoinAsked{Request: spent}, verdict.ErrInviteReplayed, verdict.Ignore},

		{"giving out a member's", GiveInvite{Invite: members.invite}, verdict.ErrInviteSigner, verdict.Ignore},
		{"giving out another user's", GiveInvite{Invite: good.invite}, verdict.ErrForged, verdict.Reject},
		{"revoking, by a member", RevokeInvite{Invite: good.id}, verdict.ErrNotPermitted, verdict.Ignore},
	} {
		r.check(t, c)
	}
	for _, r := range []refusal{
		{"giving out twice", GiveInvite{Invite: good.invite}, verdict.ErrState, verdict.Ignore},
		{"giving out what is over", GiveInvite{Invite: a.signInvite(hour(-1)).invite}, verdict.ErrInviteExpired, verdict.Ignore},
		{"revoking what nobody gave out", RevokeInvite{Invite: wire.InviteID{1}}, verdict.ErrUnknown, verdict.Ignore},
		{"revoking twice", RevokeInvite{Invite: revoked.id}, verdict.ErrState, verdict.Ignore},
	} {
		r.check(t, a)
	}
	// A member that signs it into its log all the same convinces nobody.
	for _, x := range []wire.JoinRequest{ask(short), ask(revoked), ask(once), ask(members)} {
		raw := c.forge(wire.KindOp, &wire.Op{
			Type: wire.OpAdd, Cert: &x.Cert, Role: wire.RoleMember, KeyPackage: x.KeyPackage, Why: wire.WhyInvite, Invite: x.Invite, Claim: x.Claim,
		}, c.m.logs.Frontier(wire.LogID{}, wire.MaxDeps), c.next(b))
		if out, err := b.step(Entries{Entries: [][]byte{raw}}); err != nil || out.New != 1 {
			t.Fatalf("%+v, %v", out, err)
		}
		if b.m.rosters.now.User(d.dev.User) != nil {
			t.Error("a void addition adds")
		}
	}
	// And the good one still lets dora in, who asks anew with it.
	if _, err := a.step(JoinAsked{Request: ask(good)}); err != nil {
		t.Errorf("the good invite: %v", err)
	}
}

// An entry whose invite is visibly forged is refused whole: it is not even kept (WIRE.md,
// Invites).
func TestForgedInvitesInEntries(t *testing.T) {
	t.Parallel()
	w, a, b, c := closed(t, 602, wire.PolicyInvite)
	l := a.mustInvite(nil)
	w.run(time.Second)
	d := w.device("dora")
	x := d.asks(&l)
	add := func(change func(*wire.Op)) []byte {
		op := &wire.Op{
			Type: wire.OpAdd, Cert: &x.Cert, Role: wire.RoleMember, KeyPackage: x.KeyPackage, Why: wire.WhyInvite, Invite: x.Invite, Claim: x.Claim,
		}
		change(op)
		return c.forge(wire.KindOp, op, c.m.logs.Frontier(wire.LogID{}, wire.MaxDeps), c.next(b))
	}
	broken := func(s *wire.Signed) *wire.Signed {
		return &wire.Signed{Payload: s.Payload, Signature: flipped(s.Signature, 3)}
	}
	for _, r := range []refusal{
		{"the invite's signature", Entries{[][]byte{add(func(o *wire.Op) { o.Invite = broken(o.Invite) })}}, verdict.ErrForged, verdict.Reject},
		{"the claim's signature", Entries{[][]byte{add(func(o *wire.Op) { o.Claim = broken(o.Claim) })}}, verdict.ErrForged, verdict.Reject},
		{"an invite that another user signed, given out", Entries{[][]byte{c.forge(wire.KindOp, &wire.Op{Type: wire.OpInvite, Invite: x.Invite}, nil, c.next(b))}}, verdict.ErrForged, verdict.Reject},
	} {
		r.check(t, b)
	}
}

// Somebody who was removed comes back by an invite that was given out afterwards, also
// on a device that still has its rows.
func TestRemovedComesBackByANewInvite(t *testing.T) {
	t.Parallel()
	w, a, b, c := closed(t, 603, wire.PolicyInvite)
	before := a.mustInvite(nil)
	w.run(time.Second)
	a.must(RemoveUser{User: c.dev.User})
	w.run(30 * time.Second)
	if s := c.m.Status().State; s != StateOut {
		t.Fatalf("carl is %v", s)
	}
	c.must(Join{Invite: &before.invite, Key: before.key})
	r := *c.request()
	refusal{"with an invite from before", JoinAsked{Request: r}, verdict.ErrWasRemoved, verdict.Ignore}.check(t, b)
	w.run(5 * time.Second)
	after := a.mustInvite(nil)
	w.run(time.Second)
	c.must(Join{Invite: &after.invite, Key: after.key})
	w.run(time.Minute)
	w.agree(a, b, c)
	c.send("back again")
	w.run(5 * time.Second)
	if got := b.texts(); !slices.Equal(got, []string{"back again"}) {
		t.Errorf("ben shows %q", got)
	}
}

// A joiner that asked without an invite gets one and asks with it; a restart in
// between repeats neither KeyPackage nor secret.
func TestInviteAfterAsking(t *testing.T) {
	t.Parallel()
	w, a, _, _ := closed(t, 604, wire.PolicyInvite)
	d := w.device("dora")
	w.join(d)
	if !slices.ContainsFunc(d.errs, func(err error) bool { return errors.Is(err, verdict.ErrInviteOnly) && verdict.Final(err) }) {
		t.Fatalf("dora was told %v", d.errs)
	}
	l := a.mustInvite(nil)
	other := a.mustInvite(nil)
	refusal{"the key of another invite", Join{Invite: &l.invite, Key: other.key}, verdict.ErrForged, verdict.Reject}.check(t, d)
	refusal{"no key", Join{Invite: &l.invite}, verdict.ErrState, verdict.Ignore}.check(t, d)
	d.must(Join{Invite: &l.invite, Key: l.key})
	d.open()
	w.run(time.Minute)
	w.agree(w.devices...)
}

// A joiner by invite meets nobody honest for an hour, but strangers who say that it was
// added and has to ask anew, or who send a Welcome that does not hold: it asks anew, and
// keeps the invite, whose key it has no more.
func TestNobodyTakesAnInviteAway(t *testing.T) {
	t.Parallel()
	for name, lie := range map[string]func(d *device) error{
		"renew": func(d *device) error {
			_, err := d.step(JoinAnswered{KeyPackage: d.request().KeyPackage, Renew: true})
			return err
		},
		"a bogus Welcome": func(d *device) error {
			_, err := d.step(JoinAnswered{KeyPackage: d.request().KeyPackage, Epoch: wire.EpochID{1}, Welcome: []byte("welcome")})
			if !errors.Is(err, verdict.ErrInvalidWelcome) {
				return err
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, a, b, c := closed(t, 640, wire.PolicyInvite)
			l := a.mustInvite(nil)
			w.run(time.Minute)
			a.online, b.online, c.online = false, false, false
			d := w.device("dora")
			first := d.asks(&l)
			var renewed []byte
			for range 3 {
				w.run(61 * time.Minute)
				if err := lie(d); err != nil && renewed == nil {
					t.Fatal(err)
				}
				w.run(time.Minute)
				if d.renewal() == nil || d.renewal().Rejoin == nil {
					t.Fatal("it does not ask anew")
				}
				if renewed != nil && !slices.Equal(renewed, d.renewal().KeyPackage) {
					t.Error("an answer to the first request replaces the second")
				}
				renewed = d.renewal().KeyPackage
			}
			d.open() // what it asks with is durable
			for _, r := range []*wire.JoinRequest{d.request(), d.asksWith(first.KeyPackage)} {
				if r == nil || r.Invite == nil || r.Claim == nil || !slices.Equal(r.KeyPackage, first.KeyPackage) {
					t.Fatal("the invite is gone from the request")
				}
			}
			if d.renewal() == nil || !slices.Equal(renewed, d.renewal().KeyPackage) {
				t.Fatal("the other request is gone")
			}
			// A member that says so of the second one only causes another replacement.
			w.run(61 * time.Minute)
			d.must(JoinAnswered{KeyPackage: renewed, Renew: true})
			if d.request().Invite == nil || slices.Equal(renewed, d.renewal().KeyPackage) {
				t.Error("the second request stays, or the first does not")
			}
			a.online, b.online, c.online = true, true, true
			w.run(2 * time.Hour) // it tries once an hour by now
			w.agree(a, b, c, d)
			if d.request() != nil || d.renewal() != nil || d.rows[rowJoin] != nil || d.rows[rowRenewal] != nil {
				t.Error("it still asks")
			}
		})
	}
}
