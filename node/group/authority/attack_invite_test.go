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

// A revoked device gives out an invite beside its revocation, and a member's reserve device
// serves it. The addition counts for nothing, although it is dated before the invite, which
// its author need not know.
func TestAdditionDatedBeforeItsInvite(t *testing.T) {
	t.Parallel()
	s := quarrelling()
	s.bringIn("u1", "u1", 0, deviceOf("u1", "phone"), "phone")
	s.bringIn("u5", "u5", 0, deviceOf("u5", "reserve"), "reserve")
	old := s.heads()
	for range 3 {
		s.write("u0", "u0", 0, nil)
	}
	known := s.heads()
	s.write("u1", "u1", 0, revokeOf("phone"), known...)
	late := s.write("phone", "u1", 0, &Op{Type: wire.OpInvite, Invite: inviteOf("u1", wire.RoleMember)}, known...)
	for _, d := range []string{"u0", "u2", "u3", "u4"} {
		s.write(d, d, 0, nil)
	}
	served := s.bringIn("reserve", "u5", 0, serveOf("spy", inviteOf("u1", wire.RoleMember)), "spy", old...)
	if served.hlc >= late.hlc {
		t.Fatal("the addition is not dated before the invite")
	}
	s.afresh()
	if s.in("spy") {
		t.Error("the spy is in")
	}
}

// An owner serves an invite for admins while an admin revokes it. Nothing counts of what the
// newcomer does by that role, nor of what somebody does whom the newcomer made an admin: that
// one has seen the newcomer come, who stays as a plain member.
func TestAdminByAnInviteThatAnAdminRevokes(t *testing.T) {
	t.Parallel()
	for _, role := range []wire.Role{wire.RoleAdmin, wire.RoleOwner} {
		for _, host := range []string{"u0", "u4"} {
			s := quarrelling()
			s.bringIn("u1", "u1", 0, deviceOf("u1", "phone"), "phone")
			invite := inviteOf("u0", role)
			s.write("u0", "u0", 0, &Op{Type: wire.OpInvite, Invite: invite})
			old := s.heads()
			s.write("u2", "u2", 0, &Op{Type: wire.OpRevoke, Revokes: invite.ID}, old...)
			guest := s.bringIn(host, host, 0, serveOf("boss", invite), "boss", old...)
			puppet := s.write("boss", "boss", 0, roleOf("u5", role), guest)
			s.write("boss", "boss", 0, removeOf("u3"), guest)
			s.write("boss", "boss", 0, revokeOf("phone"), guest)
			s.write("u5", "u5", 0, removeOf("u4"), puppet)
			s.write("u3", "u3", 0, nil)
			s.afresh()
			devices := s.r.Roster().devices
			boss, in := s.r.Roster().User(id[wire.UserID]("boss"))
			if in && boss.Role < wire.RoleMember || !s.in("u3") || !s.in("u4") || !devices.has(id[wire.DeviceID]("phone")) {
				t.Errorf("as %v, served by %s: boss is %v, u3 in %v, u4 in %v, phone in %v", role, host, boss.Role, s.in("u3"), s.in("u4"), devices.has(id[wire.DeviceID]("phone")))
			}
		}
	}
}

// Somebody who is alone in a group revokes a device. The device, or whoever was in the group
// before, does not take that back by an operation of an old past.
func TestRevocationBySomebodyAlone(t *testing.T) {
	t.Parallel()
	for _, by := range []string{"phone", "u1"} {
		s := newScript()
		s.admit("u0", "u1", wire.RoleAdmin)
		s.bringIn("u0", "u0", 0, deviceOf("u0", "phone"), "phone")
		s.write("phone", "u0", 0, nil)
		old := s.heads()
		s.write("u0", "u0", 0, removeOf("u1"))
		s.write("u0", "u0", 0, revokeOf("phone"))
		user := map[string]string{"phone": "u0", "u1": "u1"}[by]
		s.write(by, user, 0, deviceOf(user, "another"), old...)
		s.afresh()
		if devices := s.r.Roster().devices; devices.has(id[wire.DeviceID]("phone")) || devices.has(id[wire.DeviceID]("another")) {
			t.Errorf("%s took the revocation back", by)
		}
	}
}
