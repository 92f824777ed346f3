package roster

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group/authority"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/dag/dagtest"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// testInvite is an invite by a user; its name is its identity.
type testInvite struct {
	name    string
	by      int
	role    wire.Role
	uses    uint64
	expires uint64
}

func (i testInvite) read(claim string) *dag.Invited {
	in := &dag.Invited{
		ID: wire.InviteID(wire.HashOf("test invite", []byte(i.name))), Signer: dagtest.TestUser(i.by),
		Invite: &wire.Invite{Role: i.role, Uses: i.uses, Expires: i.expires},
	}
	if claim != "" {
		in.Claim = wire.HashOf("test claim", []byte(claim))
	}
	return in
}

func (g *members) give(i testInvite, after ...wire.EntryHash) wire.EntryHash {
	return g.Grow(wire.LogID{Device: dagtest.TestDevice(i.by)}, after, &dag.Body{Op: &wire.Op{Type: wire.OpInvite}, Invited: i.read("")})
}

func (g *members) revoke(user int, i testInvite, after ...wire.EntryHash) wire.EntryHash {
	id := i.read("").ID
	return g.by(user, &wire.Op{Type: wire.OpRevoke, Revokes: &id}, after...)
}

// serve has a member add somebody by an invite.
func (g *members) serve(user, whom int, i testInvite, after ...wire.EntryHash) wire.EntryHash {
	return g.serveClaim(user, whom, i, fmt.Sprint("claim of ", whom), i.role, after...)
}

func (g *members) serveClaim(user, whom int, i testInvite, claim string, role wire.Role, after ...wire.EntryHash) wire.EntryHash {
	op := &wire.Op{Type: wire.OpAdd, Role: role, Why: wire.WhyInvite}
	return g.Grow(wire.LogID{Device: dagtest.TestDevice(user)}, after, &dag.Body{
		Op: op, Invited: i.read(claim), Target: &dag.Target{Device: &identity.Device{ID: dagtest.TestDevice(whom), User: dagtest.TestUser(whom)}},
	})
}

// sees has a user write that it has seen something.
func (g *members) sees(user int, what wire.EntryHash) {
	g.Grow(wire.LogID{Device: dagtest.TestDevice(user)}, []wire.EntryHash{what}, &dag.Body{})
}

// at dates the newest entry.
func (g *members) at(ms uint64) { g.Entries[len(g.Entries)-1].HLC = ms << 16 }

// The users that an invite lets in, rule by rule (docs/ARCHITECTURE.md, Joining). The
// roster is a function of the set: want resolves it in several orders.
func TestInvitesInTheRoster(t *testing.T) {
	invite := testInvite{name: "i", by: 1, role: wire.RoleMember}
	// grown is a founder with admins 1 and 2, member 3 and read-only 4, all known to all.
	grown := func() (*members, wire.EntryHash) {
		g := newMembers(1)
		g.genesis.Policy = wire.PolicyInvite
		var h wire.EntryHash
		for i, role := range []wire.Role{wire.RoleAdmin, wire.RoleAdmin} {
			h = g.add(0, i+1, role)
		}
		for i, role := range []wire.Role{wire.RoleMember, wire.RoleReadOnly} {
			u, d := dagtest.TestUser(3+i), dagtest.TestDevice(3+i)
			h = g.by(0, &wire.Op{Type: wire.OpAdd, User: &u, Device: &d, Role: role, Why: wire.WhyRole}, h)
		}
		return g, h
	}
	role := func(g *members, user int, role wire.Role, after ...wire.EntryHash) wire.EntryHash {
		u := dagtest.TestUser(user)
		return g.by(0, &wire.Op{Type: wire.OpRole, User: &u, Role: role}, after...)
	}

	g, h := grown()
	g.add(3, 9, wire.RoleMember, h)
	g.want(t, "the door is not open", 0, 1, 2, 3, 4)

	g, h = grown()
	i := g.give(invite, h)
	g.serve(3, 9, invite, i)
	g.want(t, "a member serves an invite that an admin gave", 0, 1, 2, 3, 4, 9)

	g, h = grown()
	g.serve(3, 9, invite, h)
	g.want(t, "also one whose operation it has not got", 0, 1, 2, 3, 4, 9)

	g, h = grown()
	g.serve(4, 9, invite, h)
	g.want(t, "who may only read serves nobody", 0, 1, 2, 3, 4)

	g, h = grown()
	g.serve(8, 9, invite, h)
	g.want(t, "nor does a stranger", 0, 1, 2, 3, 4)

	g, h = grown()
	g.serve(3, 9, testInvite{name: "m", by: 3, role: wire.RoleMember}, h)
	g.want(t, "a member's word is no invite", 0, 1, 2, 3, 4)

	g, h = grown()
	g.serve(3, 9, testInvite{name: "o", by: 1, role: wire.RoleOwner}, h)
	g.want(t, "nobody gives more than it has", 0, 1, 2, 3, 4)

	g, h = grown()
	g.serveClaim(3, 9, invite, "c", wire.RoleAdmin, h)
	g.want(t, "the role is the invite's", 0, 1, 2, 3, 4)

	g, h = grown()
	g.serve(3, 9, testInvite{name: "a", by: 1, role: wire.RoleAdmin}, h)
	if in, _ := g.resolve(t, g.Rand); in[9] != wire.RoleAdmin {
		t.Errorf("a member serves an admin's invite for an admin: got role %v", in[9])
	}

	// Expiry, by the clock of the addition.
	late := testInvite{name: "l", by: 1, role: wire.RoleMember, expires: 5000}
	g, h = grown()
	g.serve(3, 9, late, h)
	g.at(4999)
	g.serve(2, 10, late, h)
	g.at(5000)
	g.want(t, "an invite ends at its time", 0, 1, 2, 3, 4, 9)

	// Revocation.
	g, h = grown()
	i = g.give(invite, h)
	x := g.revoke(2, invite, i)
	g.serve(3, 9, invite, x)
	g.want(t, "revoked before", 0, 1, 2, 3, 4)

	g, h = grown()
	i = g.give(invite, h)
	g.revoke(2, invite, i)
	x = g.serve(3, 9, invite, i)
	g.want(t, "revoked concurrently, and nobody saw the guest come", 0, 1, 2, 3, 4)
	g.sees(1, x)
	g.want(t, "revoked concurrently, and somebody did: the addition stands", 0, 1, 2, 3, 4, 9)

	g, h = grown()
	i = g.give(invite, h)
	x = g.serve(3, 9, invite, i)
	g.revoke(2, invite, x)
	g.want(t, "revoked after", 0, 1, 2, 3, 4, 9)

	g, h = grown()
	i = g.give(invite, h)
	x = g.revoke(3, invite, i)
	g.serve(2, 9, invite, x)
	g.want(t, "a member revokes nothing", 0, 1, 2, 3, 4, 9)

	// Uses.
	once := testInvite{name: "once", by: 1, role: wire.RoleMember, uses: 1}
	g, h = grown()
	x = g.serve(3, 9, once, h)
	g.serve(2, 10, once, x)
	g.want(t, "used up", 0, 1, 2, 3, 4, 9)

	g, h = grown()
	a, b := g.serve(3, 9, once, h), g.serve(2, 10, once, h)
	g.serve(1, 11, once, a, b)
	g.want(t, "used twice under partition: both stand, and no third", 0, 1, 2, 3, 4, 9, 10)
	if _, r := g.resolve(t, g.Rand); r.Invite(once.read("").ID).Uses != 2 {
		t.Error("the second use is not counted")
	}

	g, h = grown()
	twice := testInvite{name: "twice", by: 1, role: wire.RoleMember, uses: 2}
	a, b = g.serve(3, 9, twice, h), g.serve(2, 9, twice, h)
	g.serve(1, 10, twice, a, b)
	g.want(t, "one joiner whom two members serve is one use", 0, 1, 2, 3, 4, 9, 10)

	// Replay: the very claim again, after its device left.
	g, h = grown()
	x = g.serve(3, 9, invite, h)
	x = g.leave(9, x)
	g.serve(3, 9, invite, x)
	g.want(t, "a claim counts once", 0, 1, 2, 3, 4)
	g.serveClaim(3, 9, invite, "another claim of 9", wire.RoleMember, x)
	g.want(t, "and who left may use the invite again", 0, 1, 2, 3, 4, 9)

	// A removed user.
	g, h = grown()
	i = g.give(invite, h)
	x = g.serve(3, 9, invite, i)
	x = g.remove(2, 9, x)
	g.serveClaim(3, 9, invite, "again", wire.RoleMember, x)
	g.want(t, "an invite from before its removal lets nobody back in", 0, 1, 2, 3, 4)
	after := testInvite{name: "after", by: 1, role: wire.RoleMember}
	x = g.give(after, x)
	g.serveClaim(3, 9, after, "with a new one", wire.RoleMember, x)
	g.want(t, "one given out after it does", 0, 1, 2, 3, 4, 9)

	// The signer demoted.
	g, h = grown()
	i = g.give(invite, h)
	x = role(g, 1, wire.RoleMember, i)
	g.serve(3, 9, invite, x)
	g.want(t, "signer demoted before", 0, 1, 2, 3, 4)

	g, h = grown()
	i = g.give(invite, h)
	role(g, 1, wire.RoleMember, i)
	x = g.serve(3, 9, invite, i)
	g.want(t, "signer demoted concurrently, and nobody saw the guest come", 0, 1, 2, 3, 4)
	g.sees(2, x)
	g.want(t, "signer demoted concurrently, and somebody did: the addition stands", 0, 1, 2, 3, 4, 9)

	// The signer removed.
	g, h = grown()
	i = g.give(invite, h)
	x = g.remove(0, 1, i)
	g.serve(3, 9, invite, x)
	g.want(t, "signer removed before", 0, 2, 3, 4)

	g, h = grown()
	i = g.give(invite, h)
	g.remove(0, 1, i)
	x = g.serve(3, 9, invite, i)
	g.want(t, "signer removed concurrently by somebody who knew of the invite, and nobody saw the guest come", 0, 2, 3, 4)
	g.sees(2, x)
	g.want(t, "signer removed concurrently by somebody who knew of the invite, and somebody did: the addition stands", 0, 2, 3, 4, 9)

	g, h = grown()
	i = g.give(invite, h)
	g.remove(0, 1, h)
	g.serve(3, 9, invite, i)
	g.want(t, "invite given out concurrently with its signer's removal: it lets nobody in", 0, 2, 3, 4)

	g, h = grown()
	g.remove(0, 1, h)
	g.serve(3, 9, invite, h)
	g.want(t, "nor does one that no operation gave out", 0, 2, 3, 4)

	g, h = grown()
	x = g.serve(3, 9, invite, h)
	g.remove(0, 1, x)
	g.want(t, "signer removed after", 0, 2, 3, 4, 9)

	// A user that the puppet of a removed admin let in goes with the puppet.
	g, h = grown()
	i = g.give(invite, h)
	g.remove(0, 1, h)
	x = g.serve(3, 9, invite, i)
	g.serve(9, 10, testInvite{name: "x", by: 2, role: wire.RoleMember}, x)
	g.want(t, "who is void serves nobody", 0, 2, 3, 4)
}

// mayAsk says why member 2 may not write down the request of a device now.
func mayAsk(r *Roster, d *identity.Device, ms uint64) error {
	by := &identity.Device{ID: dagtest.TestDevice(2), User: dagtest.TestUser(2)}
	return r.May(by, &dag.Item{Body: &dag.Body{Op: &wire.Op{Type: wire.OpRequest}, Asker: &dag.Target{Device: d}}}, crdt.HLC(ms<<16))
}

func (g *members) ask(by, who int, keyPackage string, after ...wire.EntryHash) wire.EntryHash {
	return g.Grow(wire.LogID{Device: dagtest.TestDevice(by)}, after, &dag.Body{
		Op:    &wire.Op{Type: wire.OpRequest, KeyPackage: []byte(keyPackage)},
		Asker: &dag.Target{Device: &identity.Device{ID: dagtest.TestDevice(who), User: dagtest.TestUser(who)}},
	})
}

func (g *members) deny(by, who int, after ...wire.EntryHash) wire.EntryHash {
	u := dagtest.TestUser(who)
	return g.by(by, &wire.Op{Type: wire.OpDeny, User: &u}, after...)
}

// waits fails unless these and no others wait for an admin, at a time, in several orders.
func (g *members) waits(t *testing.T, what string, ms uint64, users ...int) {
	t.Helper()
	for n := range uint64(8) {
		_, r := g.resolve(t, rand.New(rand.NewPCG(n, 7)))
		var got []int
		for i := range 300 {
			if a := r.Asking(dagtest.TestUser(i)); a != nil && a.Open(crdt.HLC(ms<<16)) {
				got = append(got, i)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(users) {
			t.Errorf("%s: %v wait, want %v", what, got, users)
			return
		}
	}
}

func TestRequestsInTheRoster(t *testing.T) {
	const start = 1_000_000
	day := uint64((24 * time.Hour).Milliseconds())
	// grown is a founder with admin 1, members 2 and 3 and read-only 4.
	grown := func() (*members, wire.EntryHash) {
		g := newMembers(1)
		g.genesis.Policy = wire.PolicyRequest
		var h wire.EntryHash
		for i, role := range []wire.Role{wire.RoleAdmin, wire.RoleMember, wire.RoleMember, wire.RoleReadOnly} {
			u, d := dagtest.TestUser(1+i), dagtest.TestDevice(1+i)
			h = g.by(0, &wire.Op{Type: wire.OpAdd, User: &u, Device: &d, Role: role, Why: wire.WhyRole})
		}
		g.at(start)
		for i := range 300 {
			g.Users[dagtest.TestDevice(i)] = dagtest.TestUser(i)
		}
		return g, h
	}

	g, h := grown()
	g.add(2, 9, wire.RoleMember, h)
	g.want(t, "the door is not open", 0, 1, 2, 3, 4)

	g, h = grown()
	x := g.ask(2, 9, "kp", h)
	g.waits(t, "a member puts a request before the admins", start, 9)
	u, d := dagtest.TestUser(9), dagtest.TestDevice(9)
	g.by(1, &wire.Op{Type: wire.OpAdd, User: &u, Device: &d, Role: wire.RoleMember, Why: wire.WhyRole}, x)
	g.want(t, "an admin adds", 0, 1, 2, 3, 4, 9)
	g.waits(t, "and nobody waits", start)

	g, h = grown()
	g.ask(4, 9, "kp", h)
	g.ask(8, 10, "kp", h)
	g.waits(t, "who may only read, and a stranger, write no requests", start)

	g, h = grown()
	g.ask(2, 3, "kp", h)
	g.waits(t, "a member does not ask", start)

	g, h = grown()
	x = g.ask(2, 9, "kp", h)
	y := g.deny(3, 9, x)
	g.waits(t, "a member denies nothing", start, 9)
	y = g.deny(1, 9, y)
	g.waits(t, "an admin does", start)
	g.ask(2, 9, "kp", y)
	g.waits(t, "and is not asked again at once", start)
	g.ask(2, 9, "kp", y)
	g.at(start + 7*day + 2000)
	g.waits(t, "but after a week", start+7*day+3000, 9)

	g, h = grown()
	x = g.ask(2, 9, "kp", h)
	g.deny(1, 9, x)
	g.ask(3, 9, "kp", h)
	g.at(start + 1000) // later by the clock, and still concurrent
	g.waits(t, "a request that did not know of the denial stays denied", start)

	g, h = grown()
	g.ask(2, 9, "kp", h)
	g.ask(3, 9, "kp", h)
	g.waits(t, "one who asks two members asks once", start, 9)
	g.waits(t, "a request lapses", start+14*day+1000)

	// One user asks once in a while, with another KeyPackage.
	g, h = grown()
	x = g.ask(2, 9, "kp", h)
	g.ask(2, 9, "kp 2", x)
	_, r := g.resolve(t, g.Rand)
	if string(r.Asking(dagtest.TestUser(9)).By.Op.KeyPackage) != "kp" {
		t.Error("a second request at once took the place of the first")
	}
	g.ask(2, 9, "kp 3", x)
	g.at(start + uint64(authority.RequestGap.Milliseconds()) + 2000)
	if _, r = g.resolve(t, g.Rand); string(r.Asking(dagtest.TestUser(9)).By.Op.KeyPackage) != "kp 3" {
		t.Error("a request with a new KeyPackage an hour later did not")
	}

	// A flood.
	g, h = grown()
	for i := range MaxRequests + 10 {
		h = g.ask(2, 20+i, "kp", h)
	}
	_, r = g.resolve(t, g.Rand)
	if n := len(slices.Collect(maps.Keys(maps.Collect(r.Requests())))); n != MaxRequests {
		t.Errorf("%d requests count, want %d", n, MaxRequests)
	}
	dev := &identity.Device{ID: dagtest.TestDevice(299), User: dagtest.TestUser(299)}
	if err := mayAsk(r, dev, start); !errors.Is(err, verdict.ErrFull) {
		t.Errorf("one more: %v", err)
	}
	if err := mayAsk(r, dev, start+15*day); err != nil {
		t.Errorf("two weeks later: %v", err)
	}

	// The member who wrote it down is removed concurrently.
	g, h = grown()
	g.ask(2, 9, "kp", h)
	g.remove(1, 2, h)
	g.waits(t, "what a removed member wrote concurrently is void", start)
}
