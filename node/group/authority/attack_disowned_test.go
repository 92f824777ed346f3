package authority

import (
	"slices"
	"strings"
	"testing"

	"github.com/pandanode/pandanode/node/wire"
)

func (s *script) everybody(devices ...string) {
	for range 2 {
		for _, d := range devices {
			s.write(d, d, 0, nil)
		}
	}
}

// twice has one of two copies of a device let eve in, whose first log is called name: u0, u3 and u4
// know f, which the other copy wrote then, and nobody else does. with is what all knew before, and
// some entries.
func (s *script) twice(host, name string) (f, x *entry, with func(...*entry) []*entry) {
	known := s.heads()
	with = func(e ...*entry) []*entry { return append(known[:len(known):len(known)], e...) }
	f = s.write(host, host, 0, nil, known...)
	for _, d := range []string{"u0", "u3", "u4"} {
		s.write(d, d, 0, nil, with(f)...)
	}
	return f, s.bringIn(host, host, 5, addOf("eve", wire.RoleMember), name, known...), with
}

// heard has eve say something that u5 has, and all of these hear of everything.
func (s *script) heard(x *entry, with func(...*entry) []*entry, devices ...string) (rec *entry) {
	rec = s.write("eve", "eve", 0, nil, x)
	s.write("u5", "u5", 0, nil, with(rec)...)
	s.everybody(devices...)
	return rec
}

// disownedBy are the additions that are not their authors' word and by which a device came.
func disownedBy(to *Roster, device string) (out []*Op) {
	for of := range to.Disowned(id[wire.DeviceID](device)) {
		out = append(out, of)
	}
	return out
}

// A removed admin has no accomplice. It gives one entry of its first log to some members, and a
// puppet of an old past with its message to another one, who knows of the removal, and not of
// that entry. The message must not be owed.
func TestPuppetsOfTheRemovedSayNothing(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"removed", "left"} {
		s := quarrelling()
		s.everybody("u0", "u1", "u2", "u3", "u4", "u5")
		old := s.heads()
		if name == "removed" {
			s.write("u0", "u0", 0, removeOf("u1"), old...)
		} else {
			s.write("u1", "u1", 3, &Op{Type: wire.OpLeave}, old...)
		}
		s.everybody("u0", "u2", "u3", "u4", "u5")
		honest := s.heads() // all know that it is out
		f := s.write("u1", "u1", 0, nil, old...)
		x := s.bringIn("u1", "u1", 7, addOf("puppet", wire.RoleMember), "puppet", old...)
		rec := s.write("puppet", "puppet", 0, nil, x)
		for _, d := range []string{"u0", "u2", "u3"} {
			s.write(d, d, 0, nil, append(honest[:len(honest):len(honest)], f)...)
		}
		s.write("u4", "u4", 0, nil, append(honest[:len(honest):len(honest)], rec)...)
		s.everybody("u0", "u2", "u3", "u4", "u5")
		if !s.ops[x].Permitted() || s.in("puppet") {
			t.Fatalf("%s: permitted %v, in %v", name, s.ops[x].Permitted(), s.in("puppet"))
		}
		if s.owes(rec) {
			t.Errorf("%s: what the puppet says is owed", name)
		}
	}
}

// The same by a phone that was revoked, through another device of its user, who is in.
func TestRevokedPhonesSayNothingByAnother(t *testing.T) {
	t.Parallel()
	s := quarrelling()
	s.bringIn("u4", "u4", 0, deviceOf("u4", "phone"), "phone")
	s.write("phone", "u4", 0, nil)
	s.everybody("u0", "u1", "u2", "u3", "u4", "u5")
	old := s.heads()
	s.write("u4", "u4", 0, revokeOf("phone"), old...)
	s.everybody("u0", "u1", "u2", "u3", "u4", "u5")
	honest := s.heads()
	f := s.write("phone", "u4", 0, nil, old...)
	x := s.bringIn("phone", "u4", 7, deviceOf("u4", "another"), "another", old...)
	rec := s.write("another", "u4", 0, nil, x)
	for _, d := range []string{"u0", "u2", "u3"} {
		s.write(d, d, 0, nil, append(honest[:len(honest):len(honest)], f)...)
	}
	s.write("u5", "u5", 0, nil, append(honest[:len(honest):len(honest)], rec)...)
	s.everybody("u0", "u1", "u2", "u3", "u4", "u5")
	if !s.ops[x].Permitted() {
		t.Fatal("not permitted")
	}
	if s.owes(rec) {
		t.Error("what the revoked phone's other device says is owed, as its user's word")
	}
}

// Somebody who may only read any more replays its own past: it lets a puppet in, the puppet
// speaks, and its replayed log says that it had that. Nobody else is needed.
func TestPuppetsOfTheMutedSayNothing(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"replay", "reserve", "replay, as a member", "reserve, as a member"} {
		role := wire.RoleReadOnly
		if strings.HasSuffix(how, "member") {
			role = wire.RoleMember
		}
		s := quarrelling()
		s.bringIn("u1", "u1", 0, deviceOf("u1", "reserve"), "reserve")
		s.everybody("u0", "u1", "u2", "u3", "u4", "u5")
		old := s.heads()
		s.write("u0", "u0", 0, roleOf("u1", role), old...)
		s.everybody("u0", "u1", "u2", "u3", "u4", "u5")
		device, inc := "u1", uint64(7)
		if strings.HasPrefix(how, "reserve") {
			device, inc = "reserve", 0
		}
		x := s.bringIn(device, "u1", inc, addOf("puppet", wire.RoleMember), "puppet", old...)
		rec := s.write("puppet", "puppet", 0, nil, x)
		s.write(device, "u1", inc, nil, rec)
		s.everybody("u0", "u2", "u3", "u4", "u5")
		if !s.ops[x].Permitted() {
			t.Fatal("not permitted")
		}
		if s.owes(rec) {
			t.Errorf("%s: what the puppet of a muted one says is owed", how)
		}
	}
}

// Honest: one of two copies of u1 lets eve in, u5 sees it and has her message. Somebody who is
// out adds her once more, dated back. The message stays owed.
func TestAddedOnceMoreInVain(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"replay", "reserve"} {
		s := quarrelling()
		s.bringIn("u2", "u2", 0, deviceOf("u2", "reserve"), "reserve")
		s.everybody("u0", "u1", "u2", "u3", "u4", "u5")
		old := s.heads()
		s.write("u0", "u0", 0, removeOf("u2"), old...)
		s.write("u2", "u2", 0, nil) // it hears of that
		s.everybody("u0", "u1", "u3", "u4", "u5")
		_, x, with := s.twice("u1", "eve")
		rec := s.heard(x, with, "u0", "u1", "u3", "u4", "u5")
		if !s.owes(rec) {
			t.Fatalf("%s: it is not owed", how)
		}
		if s.in("eve") {
			t.Fatal("eve is in")
		}
		device, inc := "u2", uint64(7)
		if how == "reserve" {
			device, inc = "reserve", 0
		}
		late := s.write(device, "u2", inc, nil, old...)
		for range 30 { // its clock may be as late as it likes
			late = s.write(device, "u2", inc, nil, late)
		}
		x2 := s.write(device, "u2", inc, addOf("eve", wire.RoleMember), late)
		if !s.ops[x2].Permitted() || x2.hlc <= x.hlc {
			t.Fatal("x2", s.ops[x2].Permitted(), x2.hlc, x.hlc)
		}
		if !s.owes(rec) {
			t.Errorf("%s: since somebody who is out added eve once more, her message is not owed", how)
		}
		s.everybody("u0", "u1", "u3", "u4", "u5")
		if !s.owes(rec) {
			t.Errorf("%s: and once all had that", how)
		}
		to := s.r.Roster()
		if told := disownedBy(to, "eve"); !slices.Contains(told, s.ops[x]) || !s.r.TurnedAway(to, id[wire.UserID]("eve"), id[wire.DeviceID]("eve")) {
			t.Errorf("%s: she is told of %d additions, and not of that which she came by, or not turned away", how, len(told))
		}
		for rec.hlc < x2.hlc { // behind that in the order
			rec = s.write("eve", "eve", 0, nil, rec)
		}
		// Her phone, which she lets in without knowing it, is told of the one that she came by.
		s.bringIn("eve", "eve", 0, deviceOf("eve", "phone"), "phone", rec)
		s.everybody("u0", "u1", "u3", "u4", "u5")
		if told := disownedBy(s.r.Roster(), "phone"); !slices.Contains(told, s.ops[x]) {
			t.Errorf("%s: her phone is told of %d additions, and not of hers", how, len(told))
		}
	}
}

// Honest: eve was let in beside the removal of her host first, was told, and asked again; then one
// of two copies let her in. Her message of then, which u5 had, is owed.
func TestTurnedAwayThenDisowned(t *testing.T) {
	t.Parallel()
	s := quarrelling()
	s.everybody("u0", "u1", "u2", "u3", "u4", "u5")
	old := s.heads()
	s.write("u2", "u2", 0, addOf("eve", wire.RoleMember), old...)
	s.write("u0", "u0", 0, removeOf("u2"), old...)
	s.everybody("u0", "u1", "u3", "u4", "u5")
	if s.in("eve") {
		t.Fatal("eve is in")
	}
	_, x, with := s.twice("u1", "eve")
	rec := s.heard(x, with, "u0", "u1", "u3", "u4", "u5")
	if s.in("eve") {
		t.Fatal("eve is in")
	}
	if !s.owes(rec) {
		t.Error("what eve said, and u5 had, is not owed")
	}
}

// Honest: one of two copies of u1 lets eve in; she adds a phone and lets fred in. All three are
// told, may ask again, and what they said is owed if u5 had it.
func TestGuestsOfTheDisowned(t *testing.T) {
	t.Parallel()
	s := quarrelling()
	invite := inviteOf("u0", wire.RoleMember)
	s.write("u0", "u0", 0, &Op{Type: wire.OpInvite, Invite: invite})
	s.everybody("u0", "u1", "u2", "u3", "u4", "u5")
	f, x, with := s.twice("u1", "eve")
	y := s.bringIn("eve", "eve", 0, deviceOf("eve", "phone"), "phone", x)
	z := s.bringIn("eve", "eve", 0, serveOf("fred", invite), "fred", y)
	recs := map[string]*entry{}
	recs["eve"] = s.write("eve", "eve", 0, nil, z)
	recs["phone"] = s.write("phone", "eve", 0, nil, z)
	recs["fred"] = s.write("fred", "fred", 0, nil, z)
	s.write("u5", "u5", 0, nil, with(recs["eve"], recs["phone"], recs["fred"])...)
	s.everybody("u0", "u1", "u2", "u3", "u4", "u5")
	for round := range 2 {
		to := s.r.Roster()
		for d, rec := range recs {
			user := map[string]string{"eve": "eve", "phone": "eve", "fred": "fred"}[d]
			if to.devices.has(id[wire.DeviceID](d)) {
				if round == 0 {
					t.Fatal(d, "is in")
				}
				continue
			}
			for of, rivals := range to.Disowned(id[wire.DeviceID](d)) {
				if of != s.ops[x] || len(rivals) != 1 || rivals[0] != f.ref {
					t.Errorf("round %d: %s is told of something else", round, d)
				}
			}
			if len(disownedBy(to, d)) != 1 {
				t.Errorf("round %d: %s is not told", round, d)
			}
			if !s.r.TurnedAway(to, id[wire.UserID](user), id[wire.DeviceID](d)) {
				t.Errorf("round %d: %s is not turned away", round, d)
			}
			if !s.owes(rec) {
				t.Errorf("round %d: what %s said is not owed", round, d)
			}
		}
		s.write("u0", "u0", 0, addOf("eve", wire.RoleMember)) // she asked again
		s.everybody("u0", "u1", "u2", "u3", "u4", "u5")
	}
}

// Eve is let in in vain by one of two copies, then by somebody else, and then removed, or leaves,
// or is let in in vain once more: the old addition that was not its author's word is no end, and
// she is turned away only after the last.
func TestDisownedBefore(t *testing.T) {
	t.Parallel()
	eve, dev := id[wire.UserID]("eve"), id[wire.DeviceID]("eve")
	for _, end := range []string{"removed", "left", "revoked"} {
		s := quarrelling()
		s.everybody("u0", "u1", "u2", "u3", "u4", "u5")
		_, x, with := s.twice("u1", "eve")
		rec := s.heard(x, with, "u0", "u1", "u3", "u4", "u5")
		y := s.write("u0", "u0", 0, addOf("eve", wire.RoleMember))
		if !s.in("eve") || !s.owes(rec) {
			t.Fatal("in", s.in("eve"), "owed", s.owes(rec))
		}
		s.logOf["eve2"] = wire.LogID{Device: dev, Incarnation: wire.FirstIncarnation(y.hash)}
		var q *entry
		switch end {
		case "removed":
			q = s.write("u0", "u0", 0, removeOf("eve"))
		case "left":
			q = s.write("eve2", "eve", 0, &Op{Type: wire.OpLeave})
		case "revoked":
			q = s.write("u0", "u0", 0, revokeOf("eve"))
		}
		s.everybody("u0", "u3", "u4", "u5")
		for range 2 {
			to := s.r.Roster()
			ends := to.Ends(eve, dev)
			if len(ends) != 1 || ends[0].Ref != q.ref || s.r.TurnedAway(to, eve, dev) || !s.owes(rec) {
				t.Errorf("%s: %d ends, turned away %v, owed %v", end, len(ends), s.r.TurnedAway(to, eve, dev), s.owes(rec))
			}
			s.afresh()
		}
		if end == "revoked" {
			continue // that device comes back never
		}
		_, x, _ = s.twice("u2", "eve3") // once more in vain, knowing the end
		s.everybody("u0", "u1", "u3", "u4", "u5")
		to := s.r.Roster()
		if !s.ops[x].Permitted() || s.in("eve") || !s.r.TurnedAway(to, eve, dev) {
			t.Errorf("%s, and let in in vain: permitted %v, in %v, turned away %v", end, s.ops[x].Permitted(), s.in("eve"), s.r.TurnedAway(to, eve, dev))
		}
	}
}
