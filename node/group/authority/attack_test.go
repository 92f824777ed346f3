package authority

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pandanode/pandanode/node/wire"
)

var attacks = flag.Int("attacks", 100, "random groups that each of TestWhoIsOut, TestSilentMember and TestPlainMember attacks")

// town is a group of honest devices, in halves that come and go, and of hostile ones.
type town struct {
	*script
	rand  *rand.Rand
	user  map[string]string   // of each device
	known map[string][]uint64 // what each device has
	sides [][]string          // nil: all are connected
	sleep string              // this device reads and writes nothing
	fresh int
}

func newTown(seed uint64) *town {
	t := &town{script: newScript(), rand: rand.New(rand.NewPCG(seed, 7)), user: map[string]string{"u0": "u0"}, known: map[string][]uint64{"u0": nil}}
	t.n = int(seed) << 20 //nolint:gosec // a test's
	return t
}

func (t *town) devices() []string {
	out := make([]string, 0, len(t.known))
	for d := range t.known {
		out = append(out, d)
	}
	slices.Sort(out)
	return out
}

func (t *town) side(d string) []string {
	if t.sides == nil {
		return t.devices()
	}
	for _, s := range t.sides {
		if slices.Contains(s, d) {
			return s
		}
	}
	return []string{d}
}

// tips are entries whose pasts together are all that a device has.
func (t *town) tips(known []uint64) (out []*entry) {
	out = []*entry{}
	for log, seq := range known {
		if seq > 0 {
			out = append(out, t.all.entries[log][seq-1])
		}
	}
	return out
}

func (t *town) learn(d string, past []uint64) {
	known := slices.Clone(t.known[d])
	for log, seq := range past {
		if log >= len(known) {
			known = append(known, make([]uint64, log+1-len(known))...)
		}
		known[log] = max(known[log], seq)
	}
	t.known[d] = known
}

// do lets a device write an entry that its whole side gets at once; nil: a vote.
func (t *town) do(d string, op *Op) *entry {
	e := t.write(d, t.user[d], 0, op, t.tips(t.known[d])...)
	side := t.side(d)
	for _, o := range side {
		t.learn(o, e.past)
	}
	if op != nil && (op.Type == wire.OpAdd || op.Type == wire.OpDeviceAdd) {
		t.bringUp(d, op, e)
	}
	return e
}

// bringUp starts the device that an operation adds.
func (t *town) bringUp(by string, op *Op, e *entry) {
	for name := range t.user {
		if id[wire.DeviceID](name) == op.Subject && t.known[name] == nil {
			if _, ok := t.logOf[name]; !ok {
				t.logOf[name] = wire.LogID{Device: op.Subject, Incarnation: wire.FirstIncarnation(e.hash)}
			}
			t.known[name] = nil
			t.learn(name, e.past)
			for i, s := range t.sides {
				if slices.Contains(s, by) {
					t.sides[i] = append(s, name)
				}
			}
		}
	}
}

func (t *town) name() string {
	t.fresh++
	return fmt.Sprint("x", t.fresh)
}

// rosterOf is the roster that a device shows to people.
func (t *town) rosterOf(d string) *Roster {
	upTo := slices.Clone(t.known[d])
	t.r.grow()
	return t.r.resolve(append(upTo, make([]uint64, len(t.all.logs)-len(upTo))...))
}

// vote lets devices that are in write.
func (t *town) vote(devices []string, chance float64) {
	for _, d := range slices.Clone(devices) {
		if d != t.sleep && t.rand.Float64() < chance && t.rosterOf(d).devices.has(id[wire.DeviceID](d)) {
			t.do(d, nil)
		}
	}
}

// act lets a device do one thing that its user may do, as far as it knows.
func (t *town) act(d string) bool {
	to := t.rosterOf(d)
	u, in := to.User(id[wire.UserID](t.user[d]))
	if !in || !to.devices.has(id[wire.DeviceID](d)) {
		return false
	}
	admin := u.Role <= wire.RoleAdmin
	var others []string
	for _, n := range t.devices() {
		if v := t.user[n]; v == n && v != t.user[d] && to.users.has(id[wire.UserID](v)) {
			others = append(others, v)
		}
	}
	other := ""
	var target wire.Role
	if len(others) > 0 {
		other = others[t.rand.IntN(len(others))]
		target = to.roleOf(id[wire.UserID](other))
	}
	switch k := t.rand.IntN(13); {
	case k < 3 && admin:
		n := t.name()
		t.user[n] = n
		t.do(d, addOf(n, []wire.Role{wire.RoleMember, wire.RoleMember, max(u.Role, wire.RoleAdmin)}[t.rand.IntN(3)]))
	case k == 3 && admin && other != "" && target >= u.Role && !to.LastOwner(id[wire.UserID](other)):
		t.do(d, removeOf(other))
	case k == 4 && u.Role == wire.RoleOwner && other != "" && !to.LastOwner(id[wire.UserID](other)):
		t.do(d, roleOf(other, wire.Role(1+t.rand.IntN(4)))) //nolint:gosec // small
	case k == 5 && t.rand.IntN(3) == 0 && !to.LastOwner(u.ID):
		t.do(d, &Op{Type: wire.OpLeave})
	case k == 6 && len(u.Devices) < 3:
		n := t.name()
		t.user[n] = t.user[d]
		t.do(d, deviceOf(t.user[d], n))
	case k == 7:
		for _, n := range t.devices() {
			if n != d && t.user[n] == t.user[d] && to.devices.has(id[wire.DeviceID](n)) {
				t.do(d, revokeOf(n))
				return true
			}
		}
		return false
	case k == 8 && admin:
		n := t.name()
		t.do(d, &Op{Type: wire.OpInvite, Invite: &Invite{ID: id[wire.InviteID](n), Signer: u.ID, Role: wire.RoleMember}})
	case k == 9 && admin:
		t.do(d, policyOf(wire.Policy(1+t.rand.IntN(3)))) //nolint:gosec // small
	case k > 9 && u.Role <= wire.RoleMember:
		t.do(d, nil).record = true
	default:
		return t.serve(d, to, u)
	}
	return true
}

// serve lets somebody in by an invite.
func (t *town) serve(d string, to *Roster, u User) bool {
	var good *Invite
	to.invites.all(func(_ wire.InviteID, i Invitation) bool {
		if i.Issued != nil && i.Revoked == nil && to.roleOf(i.Issued.User) <= wire.RoleAdmin {
			good = i.Issued.Invite
		}
		return true
	})
	if good == nil || u.Role > wire.RoleMember {
		return false
	}
	n := t.name()
	t.user[n] = n
	op := addOf(n, good.Role)
	op.Why, op.Invite, op.Claim = wire.WhyInvite, good, id[wire.Hash](n)
	t.do(d, op)
	return true
}

func policyOf(p wire.Policy) *Op {
	return &Op{Type: wire.OpProfile, Profile: &Register{Field: wire.FieldPolicy, Policy: p}}
}

// live is a group with a history of its own: people, a cut or two, and all together again.
func (t *town) live(sleeper bool) {
	for i := range 2 + t.rand.IntN(4) {
		n := fmt.Sprint("u", i+1)
		t.user[n] = n
		t.do("u0", addOf(n, wire.RoleMember))
		if t.rand.IntN(5) > 1 {
			t.do("u0", roleOf(n, []wire.Role{wire.RoleOwner, wire.RoleAdmin, wire.RoleAdmin, wire.RoleReadOnly}[t.rand.IntN(4)]))
		}
	}
	t.vote(t.devices(), 1)
	if sleeper {
		t.sleep = "u1"
	}
	for range 1 + t.rand.IntN(2) {
		devices := t.devices()
		t.rand.Shuffle(len(devices), func(i, j int) { devices[i], devices[j] = devices[j], devices[i] })
		k := 2 + t.rand.IntN(2)
		t.sides = make([][]string, k)
		for i, d := range devices {
			t.sides[i%k] = append(t.sides[i%k], d)
		}
		for range 3 + t.rand.IntN(8) {
			all := t.devices()
			if d := all[t.rand.IntN(len(all))]; d != t.sleep && t.act(d) {
				t.vote(t.side(d), 0.6)
			}
		}
		t.sides = nil
		for _, d := range t.devices() {
			for _, o := range t.devices() {
				t.learn(d, t.known[o])
			}
		}
		t.vote(t.devices(), 1)
		t.vote(t.devices(), 1)
	}
}

// attack lets hostile devices write entries in fresh incarnations with pasts of their
// choice; all that a program of theirs could write.
func (t *town) attack(hostile []string) {
	honest := len(t.all.order)
	var mine []*entry
	names := t.devices()
	for range 1 + t.rand.IntN(5) {
		d := hostile[t.rand.IntN(len(hostile))]
		// The operation that adds its device is in its past, or nobody takes the entry.
		named := []*entry{t.all.order[0]}
		for _, e := range t.all.order {
			if e.op != nil && e.op.Subject == id[wire.DeviceID](d) && (e.op.Type == wire.OpAdd || e.op.Type == wire.OpDeviceAdd) {
				named = append(named, e)
				break
			}
		}
		if t.rand.IntN(2) == 0 {
			named = append(named, t.all.order[t.rand.IntN(honest)])
		}
		if len(mine) > 0 && t.rand.IntN(2) == 0 {
			named = append(named, mine[t.rand.IntN(len(mine))])
		}
		who := names[t.rand.IntN(len(names))]
		spy := fmt.Sprint("spy", t.rand.IntN(3))
		var op *Op
		switch t.rand.IntN(11) {
		case 0, 1:
			op = addOf(spy, wire.Role(1+t.rand.IntN(3))) //nolint:gosec // small
		case 2, 3, 4:
			op = removeOf(t.user[who])
		case 5:
			op = roleOf(t.user[who], wire.Role(1+t.rand.IntN(4))) //nolint:gosec // small
		case 6:
			op = &Op{Type: wire.OpLeave}
		case 7:
			op = deviceOf(t.user[d], d+"+")
			t.user[d+"+"] = t.user[d]
		case 8:
			op = revokeOf(who)
		case 9:
			op = policyOf(wire.PolicyOpen)
		}
		e := t.write(d, t.user[d], 7+uint64(t.rand.IntN(2)), op, named...)
		e.record = op == nil
		mine = append(mine, e)
		if op != nil && (op.Type == wire.OpAdd || op.Type == wire.OpDeviceAdd) {
			n := spy
			if op.Type == wire.OpDeviceAdd {
				n = d + "+"
			} else {
				t.user[spy] = spy
			}
			hostile = append(hostile, n)
		}
	}
}

// said is the visible part of a roster: roles, devices, the policy.
func (t *town) said() map[string]wire.Role {
	out := map[string]wire.Role{}
	to := t.r.Roster()
	for d, u := range t.user {
		if to.users.has(id[wire.UserID](u)) {
			out[u] = to.roleOf(id[wire.UserID](u))
		}
		if to.devices.has(id[wire.DeviceID](d)) {
			out["device "+d] = 1
		}
	}
	out["policy"] = wire.Role(t.r.policy(to))
	return out
}

func (t *town) has(d string) bool { return t.r.Roster().devices.has(id[wire.DeviceID](d)) }

// differ names the first thing that is not as before, of those that matter.
func differ(before, after map[string]wire.Role, matters func(string) bool) string {
	for _, side := range []map[string]wire.Role{before, after} {
		for what := range side {
			if before[what] != after[what] && matters(what) {
				return fmt.Sprintf("%s was %v, is %v", what, before[what], after[what])
			}
		}
	}
	return ""
}

// Users and devices that are out (removed, left, revoked) change nothing, even together,
// whatever they write: not the members, not the policy, not the messages that are owed. No
// new message of theirs is owed either.
func TestWhoIsOut(t *testing.T) {
	t.Parallel()
	tried := 0
	for seed := range *attacks {
		w := newTown(uint64(seed)) //nolint:gosec // small
		w.live(false)
		var hostile []string
		for _, d := range w.devices() {
			if !w.has(d) {
				hostile = append(hostile, d)
			}
		}
		if len(hostile) == 0 {
			continue
		}
		tried++
		before, owed := w.said(), w.owedOf()
		w.attack(hostile)
		if d := differ(before, w.said(), func(string) bool { return true }); d != "" {
			t.Errorf("seed %d: %s", seed, d)
		}
		if now := w.owedOf(); !slices.Equal(now, owed) {
			t.Errorf("seed %d: owed were %q, are %q", seed, owed, now)
		}
	}
	if tried < *attacks/4 {
		t.Errorf("%d groups of %d had somebody who is out", tried, *attacks)
	}
}

// A member who was silent cannot take out an owner, and a plain member can take out nobody.
// Messages that other members had stay owed.
func TestSilentMember(t *testing.T) {
	t.Parallel()
	tried := 0
	for seed := range *attacks {
		w := newTown(uint64(seed)) //nolint:gosec // small
		w.live(true)
		before, owed := w.said(), w.owedOf()
		role := before["u1"]
		if role <= wire.RoleOwner || !w.has("u1") {
			continue
		}
		tried++
		w.attack([]string{"u1"})
		after := w.said()
		d := differ(before, after, func(what string) bool {
			_, was := before[what]
			if role > wire.RoleAdmin {
				return was && what != "u1" && w.user[what] != "u1" && w.user[trimDevice(what)] != "u1"
			}
			return before[what] == wire.RoleOwner && w.user[what] == what
		})
		if d != "" {
			t.Errorf("seed %d: by a %v: %s", seed, role, d)
		}
		now := w.owedOf()
		for _, rec := range owed {
			if !slices.Contains(now, rec) && !w.wrote("u1", rec) {
				t.Errorf("seed %d: by a %v: message %s is owed no more", seed, role, rec)
			}
		}
	}
	if tried < *attacks/4 {
		t.Errorf("%d groups of %d had a silent member", tried, *attacks)
	}
}

func trimDevice(what string) string {
	const prefix = "device "
	if len(what) > len(prefix) && what[:len(prefix)] == prefix {
		return what[len(prefix):]
	}
	return what
}

func (t *town) wrote(user, rec string) bool {
	return slices.ContainsFunc(t.all.order, func(e *entry) bool {
		return fmt.Sprintf("%x", e.hash[:4]) == rec && t.all.logs[e.ref.Log].User == id[wire.UserID](user)
	})
}

// A group that has members has an owner, whatever anybody writes.
func TestSomebodyIsOwner(t *testing.T) {
	t.Parallel()
	for seed := range *attacks {
		w := newTown(uint64(seed) + 1<<20) //nolint:gosec // small
		w.live(seed%2 == 0)
		w.attack(w.devices())
		if to := w.r.Roster(); to.users.len() > 0 && to.owners == 0 {
			t.Errorf("seed %d: %d members and no owner", seed, to.users.len())
		}
	}
}

// quarrel lets two admins of equal rank remove each other in two halves, of which the
// larger had the first one's removal, and gives it and the other one's.
func quarrel(s *script) (first, second *entry) {
	base := s.heads()
	first = s.write("u2", "u2", 0, removeOf("u3"), base...)
	s.write("u0", "u0", 0, nil, first)
	s.write("u4", "u4", 0, nil, first)
	second = s.write("u3", "u3", 0, removeOf("u2"), base...)
	s.write("u5", "u5", 0, nil, second)
	return first, second
}

func quarrelling() *script {
	s := newScript()
	for _, n := range []string{"u1", "u2", "u3"} {
		s.admit("u0", n, wire.RoleAdmin)
	}
	s.admit("u0", "u4", wire.RoleMember)
	s.admit("u0", "u5", wire.RoleMember)
	return s
}

// In a quarrel of two admins, users with a void addition are not asked: neither guests whom
// a removed admin let in afterwards, by a past of its choice, nor guests whom a plain
// member was never allowed to let in.
func TestVoidGuestsDoNotVote(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"u1", "u5"} {
		s := quarrelling()
		old := s.heads()
		if host == "u1" {
			s.write("u0", "u0", 0, removeOf("u1"))
		}
		for n := range 5 {
			guest := fmt.Sprint("guest", n)
			e := s.write(host, host, 99, addOf(guest, wire.RoleMember), old...)
			s.logOf[guest] = wire.LogID{Device: id[wire.DeviceID](guest), Incarnation: wire.FirstIncarnation(e.hash)}
		}
		for _, d := range []string{"u0", "u2", "u3", "u4", "u5"} {
			s.write(d, d, 0, nil) // all have these in their pasts from now on
		}
		_, second := quarrel(s)
		for n := range 5 {
			guest := fmt.Sprint("guest", n)
			s.write(guest, guest, 0, nil, second)
		}
		to := s.r.Roster()
		if !to.users.has(id[wire.UserID]("u2")) || to.users.has(id[wire.UserID]("u3")) {
			t.Errorf("guests of %s decided a quarrel", host)
		}
	}
}

// A grant that is void gives nobody the right to let others in, whatever role they get and
// whoever has received the addition since.
func TestAdditionsNeedAuthority(t *testing.T) {
	t.Parallel()
	for _, role := range []wire.Role{wire.RoleAdmin, wire.RoleMember} {
		s := quarrelling()
		s.write("u0", "u0", 0, roleOf("u1", wire.RoleOwner))
		old := s.heads()
		s.write("u0", "u0", 0, removeOf("u1"))
		raise := s.write("u1", "u1", 99, roleOf("u5", wire.RoleAdmin), old...)
		s.write("u5", "u5", 0, addOf("spy", role), raise)
		for range 2 {
			if s.r.Roster().users.has(id[wire.UserID]("spy")) {
				t.Fatalf("a spy is in as %v", role)
			}
			s.write("u2", "u2", 0, nil) // an admin receives it
		}
	}
}

func (s *script) owes(rec *entry) bool { return s.r.Owed(s.r.Roster(), s.r.At(rec.ref), rec.ref) }

// A revoked phone says nothing through a device that it adds to its user's others, dated
// back.
func TestVoidDevicesSayNothing(t *testing.T) {
	t.Parallel()
	s := quarrelling()
	old := s.heads()
	e := s.write("u4", "u4", 0, deviceOf("u4", "phone"))
	s.logOf["phone"] = wire.LogID{Device: id[wire.DeviceID]("phone"), Incarnation: wire.FirstIncarnation(e.hash)}
	s.write("phone", "u4", 0, revokeOf("u4"))
	for range 2 {
		for _, d := range []string{"u0", "u1", "u2"} {
			s.write(d, d, 0, nil)
		}
	}
	e = s.write("u4", "u4", 99, deviceOf("u4", "another"), old...)
	rec := s.write("another", "u4", wire.FirstIncarnation(e.hash), nil, e)
	if s.ops[e] == nil || !s.ops[e].Permitted() {
		t.Fatal("it may not add a device as far as it knew")
	}
	if s.owes(rec) {
		t.Error("what the other device says is owed")
	}
}

// A guest that never came in cannot bring its messages in by leaving.
func TestVoidGuestsSayNothing(t *testing.T) {
	t.Parallel()
	s := quarrelling()
	old := s.heads()
	guest := s.write("u1", "u1", 0, addOf("guest", wire.RoleMember), old...)
	s.logOf["guest"] = wire.LogID{Device: id[wire.DeviceID]("guest"), Incarnation: wire.FirstIncarnation(guest.hash)}
	rec := s.write("guest", "guest", 0, nil, guest)
	s.write("u0", "u0", 0, removeOf("u1"), old...)
	for range 2 {
		for _, d := range []string{"u0", "u2", "u3"} {
			s.write(d, d, 0, nil)
		}
	}
	if s.owes(rec) {
		t.Fatal("it is owed already")
	}
	e := s.write("guest", "guest", 7, deviceOf("guest", "reserve"), guest)
	s.write("reserve", "guest", wire.FirstIncarnation(e.hash), &Op{Type: wire.OpLeave}, e)
	if s.owes(rec) {
		t.Error("since the guest left, its message is owed")
	}
}

// A user who came in as an admin by a revoked invite, served by a member that replays its
// own past, removes nobody.
func TestVoidAdminsRemoveNobody(t *testing.T) {
	t.Parallel()
	s := quarrelling()
	invite := &Invite{ID: id[wire.InviteID]("i"), Signer: id[wire.UserID]("u0"), Role: wire.RoleAdmin}
	s.write("u0", "u0", 0, &Op{Type: wire.OpInvite, Invite: invite})
	s.write("u4", "u4", 0, nil)
	old := s.heads()
	s.write("u0", "u0", 0, &Op{Type: wire.OpRevoke, Revokes: invite.ID})
	for range 2 {
		for _, d := range []string{"u0", "u1", "u2", "u4"} {
			s.write(d, d, 0, nil)
		}
	}
	op := addOf("spy", wire.RoleAdmin)
	op.Why, op.Invite = wire.WhyInvite, invite
	e := s.write("u4", "u4", 99, op, old...)
	remove := s.write("spy", "spy", wire.FirstIncarnation(e.hash), removeOf("u5"), e)
	if !s.ops[e].Permitted() || !s.ops[remove].Permitted() {
		t.Fatal("they may not, as far as they knew")
	}
	if to := s.r.Roster(); to.users.has(id[wire.UserID]("spy")) || !to.users.has(id[wire.UserID]("u5")) {
		t.Error("the spy is in, or has removed somebody")
	}
}

// A member is no witness through a device that it adds by an operation of an old past: its
// own log shows what it knew.
func TestDevicesOfAnOldPastDoNotVote(t *testing.T) {
	t.Parallel()
	s := quarrelling()
	old := s.heads()
	_, second := quarrel(s)
	for range 2 {
		for _, d := range []string{"u0", "u4", "u5"} {
			s.write(d, d, 0, nil)
		}
	}
	e := s.write("u4", "u4", 99, deviceOf("u4", "another"), old...)
	s.write("another", "u4", wire.FirstIncarnation(e.hash), nil, e, second)
	if to := s.r.Roster(); !to.users.has(id[wire.UserID]("u2")) || to.users.has(id[wire.UserID]("u3")) {
		t.Error("the other device took back what its user said")
	}
}

// Somebody who left and came back is an admin like any other: it shows that a message was
// known before its author was muted, stands by a newcomer, and is asked in a quarrel. A
// device of it that did not come back shows nothing.
func TestWhoCameBackIsAWitness(t *testing.T) {
	t.Parallel()
	for _, back := range []bool{true, false} {
		s := quarrelling()
		s.bringIn("u4", "u4", 0, deviceOf("u4", "phone"), "phone")
		s.write("u4", "u4", 0, &Op{Type: wire.OpLeave})
		if back {
			s.write("u0", "u0", 0, addOf("u4", wire.RoleAdmin))
		} else {
			op := addOf("u4", wire.RoleAdmin)
			op.Subject = id[wire.DeviceID]("phone")
			s.write("u0", "u0", 0, op)
		}
		for _, d := range []string{"u0", "u1", "u2", "u3", "u5"} {
			s.write(d, d, 0, nil)
		}
		old := s.heads()
		mute := s.write("u0", "u0", 0, roleOf("u5", wire.RoleReadOnly), old...)
		rec := s.write("u5", "u5", 0, nil, old...)
		s.write("u4", "u4", 0, nil, append(old, rec)...)
		if s.owes(rec) != back {
			t.Errorf("back %v: the message is owed: %v", back, s.owes(rec))
		}
		s.write("u0", "u0", 0, nil, append(old, mute)...)
		guest := s.bringIn("u1", "u1", 0, addOf("guest", wire.RoleMember), "guest", old...)
		s.write("u0", "u0", 0, removeOf("u1"), old...)
		s.write("u4", "u4", 0, nil, append(old, guest)...)
		if s.in("guest") != back {
			t.Errorf("back %v: the newcomer is in: %v", back, s.in("guest"))
		}
		before := s.heads()
		first := s.write("u2", "u2", 0, removeOf("u3"), before...)
		s.write("u3", "u3", 0, removeOf("u2"), before...)
		s.write("u4", "u4", 0, nil, append(before, first)...)
		if in := s.in("u2"); in != back || s.in("u3") {
			t.Errorf("back %v: who was first is in (%v), the other one %v", back, in, s.in("u3"))
		}
	}
}
