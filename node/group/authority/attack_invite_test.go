package authority

import (
	"testing"

	"github.com/pandanode/pandanode/node/wire"
)

func inviteOf(signer string, role wire.Role) *Invite {
	return &Invite{ID: id[wire.InviteID]("invite"), Signer: id[wire.UserID](signer), Role: role}
}

func serveOf(name string, i *Invite) *Op {
	op := addOf(name, i.Role)
	op.Why, op.Invite, op.Claim = wire.WhyInvite, i, id[wire.Hash](name)
	return op
}

func openOf(name string) *Op {
	op := addOf(name, wire.RoleMember)
	op.Why = wire.WhyOpen
	return op
}

// bringIn has a device let a user in, whose device has the same name.
func (s *script) bringIn(device, user string, incarnation uint64, op *Op, name string, named ...*entry) *entry {
	e := s.write(device, user, incarnation, op, named...)
	s.logOf[name] = wire.LogID{Device: id[wire.DeviceID](name), Incarnation: wire.FirstIncarnation(e.hash)}
	return e
}

func (s *script) in(user string) bool { return s.r.Roster().users.has(id[wire.UserID](user)) }

// afresh forgets the roster, so that it is resolved from scratch.
func (s *script) afresh() { s.r.Recount() }

// Somebody whom a plain member let in as an admin, by an invite, is an admin.
func TestAdminsByInvite(t *testing.T) {
	t.Parallel()
	s := quarrelling()
	invite := inviteOf("u0", wire.RoleAdmin)
	s.write("u0", "u0", 0, &Op{Type: wire.OpInvite, Invite: invite})
	s.bringIn("u4", "u4", 0, serveOf("boss", invite), "boss")
	s.write("boss", "boss", 0, removeOf("u5"))
	for _, how := range []string{"on top of the rest", "from scratch"} {
		if s.in("u5") {
			t.Errorf("%s: the admin's removal does not count", how)
		}
		s.afresh()
	}
}

// closings are the ways in which a way into the group is closed: by what admins do, and what
// a member can serve by naming the time before.
var closings = map[string]struct {
	open, shut func() *Op
	serve      func(name string) *Op
	signer     string
}{
	"an invite is revoked": {
		func() *Op { return &Op{Type: wire.OpInvite, Invite: inviteOf("u1", wire.RoleMember)} },
		func() *Op { return &Op{Type: wire.OpRevoke, Revokes: inviteOf("u1", wire.RoleMember).ID} },
		func(name string) *Op { return serveOf(name, inviteOf("u1", wire.RoleMember)) }, "u1",
	},
	"an invite for admins is revoked": {
		func() *Op { return &Op{Type: wire.OpInvite, Invite: inviteOf("u1", wire.RoleAdmin)} },
		func() *Op { return &Op{Type: wire.OpRevoke, Revokes: inviteOf("u1", wire.RoleAdmin).ID} },
		func(name string) *Op { return serveOf(name, inviteOf("u1", wire.RoleAdmin)) }, "u1",
	},
	"an invite's signer is removed": {
		func() *Op { return &Op{Type: wire.OpInvite, Invite: inviteOf("u1", wire.RoleMember)} },
		func() *Op { return removeOf("u1") },
		func(name string) *Op { return serveOf(name, inviteOf("u1", wire.RoleMember)) }, "u1",
	},
	"an invite's signer is admin no more": {
		func() *Op { return &Op{Type: wire.OpInvite, Invite: inviteOf("u1", wire.RoleAdmin)} },
		func() *Op { return roleOf("u1", wire.RoleMember) },
		func(name string) *Op { return serveOf(name, inviteOf("u1", wire.RoleAdmin)) }, "u1",
	},
	"the door is closed": {
		func() *Op { return policyOf(wire.PolicyOpen) },
		func() *Op { return policyOf(wire.PolicyRequest) },
		openOf, "u1",
	},
}

// A member's device that never wrote lets nobody in by a way that was closed since, and
// nobody whom it lets in removes anybody or decides a quarrel.
func TestReserveDeviceOpensNoDoor(t *testing.T) {
	t.Parallel()
	for name, c := range closings {
		s := quarrelling()
		s.bringIn("u5", "u5", 0, deviceOf("u5", "reserve"), "reserve")
		s.write(c.signer, c.signer, 0, c.open())
		old := s.heads()
		s.write("u0", "u0", 0, c.shut())
		for range 2 {
			for _, d := range []string{"u0", "u2", "u3", "u4", "u5"} {
				s.write(d, d, 0, nil)
			}
		}
		served := s.bringIn("reserve", "u5", 0, c.serve("spy"), "spy", old...)
		remove := s.write("spy", "spy", 0, removeOf("u4"), served)
		for n := range 4 {
			s.bringIn("reserve", "u5", 0, c.serve("spy"+string(rune('0'+n))), "spy"+string(rune('0'+n)), old...)
		}
		if !s.ops[served].Permitted() {
			t.Fatalf("%s: it may not, as far as it knew", name)
		}
		for _, how := range []string{"on top of the rest", "from scratch", "after others got it"} {
			if s.in("spy") || !s.in("u4") {
				t.Errorf("%s, %s: the spy is in (%v), or has removed somebody (%v)", name, how, s.in("spy"), !s.in("u4"))
			}
			if how == "from scratch" {
				s.write("u0", "u0", 0, nil)
				s.write("u3", "u3", 0, nil)
			}
			s.afresh()
		}
		_, second := quarrel(s)
		for n := range 4 {
			guest := "spy" + string(rune('0'+n))
			s.write(guest, guest, 0, nil, second)
		}
		if !s.in("u2") || s.in("u3") {
			t.Errorf("%s: spies decided a quarrel", name)
		}
		_ = remove
	}
}

// Honest guests stay, who came in on one side of a cut while a way in was closed on the
// other, if a member there has seen them come in.
func TestGuestsOfAClosedDoorStay(t *testing.T) {
	t.Parallel()
	for name, c := range closings {
		for _, seen := range []bool{true, false} {
			s := quarrelling()
			s.write(c.signer, c.signer, 0, c.open())
			old := s.heads()
			s.write("u0", "u0", 0, c.shut(), old...)
			e := s.bringIn("u5", "u5", 0, c.serve("guest"), "guest", old...)
			if seen {
				s.write("u4", "u4", 0, nil, append(old, e)...)
			}
			s.write("u0", "u0", 0, nil)
			if s.in("guest") != seen {
				t.Errorf("%s: the guest is in: %v, although somebody saw it come: %v", name, s.in("guest"), seen)
			}
			if u, _ := s.r.Roster().User(id[wire.UserID]("guest")); seen && u.Role != wire.RoleMember {
				t.Errorf("%s: the guest is %v", name, u.Role)
			}
		}
	}
}

// A removed admin's guest, who never came in, makes nobody admin by an invite that is used
// up since.
func TestVoidGuestsMakeNoAdmins(t *testing.T) {
	t.Parallel()
	s := quarrelling()
	invite := inviteOf("u2", wire.RoleAdmin)
	invite.Uses = 1
	s.write("u2", "u2", 0, &Op{Type: wire.OpInvite, Invite: invite})
	old := s.heads()
	s.bringIn("u4", "u4", 0, serveOf("honest", invite), "honest")
	s.write("u0", "u0", 0, removeOf("u1"))
	for range 2 {
		for _, d := range []string{"u0", "u2", "u3", "u4", "u5"} {
			s.write(d, d, 0, nil)
		}
	}
	guest := s.bringIn("u1", "u1", 99, addOf("clerk", wire.RoleMember), "clerk", old...)
	spy := s.bringIn("clerk", "clerk", 0, serveOf("spy", invite), "spy", guest)
	s.write("spy", "spy", 0, removeOf("u5"), spy)
	s.write("u0", "u0", 0, nil)
	for range 2 {
		if s.in("clerk") || s.in("spy") || !s.in("u5") {
			t.Errorf("the clerk is in (%v), the spy is in (%v), or has removed somebody (%v)", s.in("clerk"), s.in("spy"), !s.in("u5"))
		}
		s.afresh()
	}
}

// An invite that a revoked device gave out beside its revocation lets nobody in, whether the
// addition is applied on top of the rest or the roster resolved from scratch.
func TestInviteOfARevokedDevice(t *testing.T) {
	t.Parallel()
	s := quarrelling()
	s.bringIn("u1", "u1", 0, deviceOf("u1", "phone"), "phone")
	old := s.heads()
	s.write("u1", "u1", 0, revokeOf("phone"), old...)
	s.write("phone", "u1", 0, &Op{Type: wire.OpInvite, Invite: inviteOf("u1", wire.RoleMember)}, old...)
	for _, d := range []string{"u0", "u2", "u3"} {
		s.write(d, d, 0, nil)
	}
	s.bringIn("u4", "u4", 0, serveOf("guest", inviteOf("u1", wire.RoleMember)), "guest")
	for _, how := range []string{"on top of the rest", "from scratch"} {
		if s.in("guest") {
			t.Errorf("%s: the guest is in", how)
		}
		s.afresh()
	}
}
