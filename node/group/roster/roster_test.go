package roster

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/dag/dagtest"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// members is a group of operations without signatures: user i has device i, and
// user 0 is the founder.
type members struct {
	*dagtest.Graph
	genesis *identity.Genesis
}

func newMembers(seed uint64) *members {
	g := &members{Graph: dagtest.NewGraph(seed), genesis: &identity.Genesis{Device: &identity.Device{ID: dagtest.TestDevice(0), User: dagtest.TestUser(0)}}}
	g.genesis.Policy = wire.PolicyOpen
	for i := range 64 {
		g.Users[dagtest.TestDevice(i)] = dagtest.TestUser(i)
	}
	return g
}

func (g *members) by(user int, op *wire.Op, after ...wire.EntryHash) wire.EntryHash {
	body := &dag.Body{Op: op}
	if op.Type == wire.OpAdd {
		body.Target = &dag.Target{Device: &identity.Device{ID: *op.Device, User: *op.User}}
	}
	return g.Grow(wire.LogID{Device: dagtest.TestDevice(user)}, after, body)
}

func (g *members) add(user, whom int, role wire.Role, after ...wire.EntryHash) wire.EntryHash {
	u, d := dagtest.TestUser(whom), dagtest.TestDevice(whom)
	why := wire.WhyRole
	if role == wire.RoleMember {
		why = wire.WhyOpen
	}
	return g.by(user, &wire.Op{Type: wire.OpAdd, User: &u, Device: &d, Role: role, Why: why}, after...)
}

func (g *members) remove(user, whom int, after ...wire.EntryHash) wire.EntryHash {
	u := dagtest.TestUser(whom)
	return g.by(user, &wire.Op{Type: wire.OpRemove, User: &u}, after...)
}

func (g *members) leave(user int, after ...wire.EntryHash) wire.EntryHash {
	return g.by(user, &wire.Op{Type: wire.OpLeave}, after...)
}

// resolve inserts everything in some causal order, and gives who is in the roster, with
// roles.
func (g *members) resolve(t *testing.T, order *rand.Rand) (map[int]wire.Role, *Roster) {
	t.Helper()
	var s *Resolver
	g.Insert(t, order, func(l *dag.Logs, it *dag.Item) {
		if s == nil {
			s = NewResolver(g.genesis, l)
		}
		s.Came(it)
	})
	r := s.Now()
	in := map[int]wire.Role{}
	for i := range 64 {
		if u := r.User(dagtest.TestUser(i)); u != nil {
			in[i] = u.Role
		}
	}
	return in, r
}

func (g *members) want(t *testing.T, what string, users ...int) {
	t.Helper()
	for n := range uint64(8) {
		in, _ := g.resolve(t, rand.New(rand.NewPCG(n, 7)))
		var got []int
		for i := range 64 {
			if _, ok := in[i]; ok {
				got = append(got, i)
			}
		}
		if !slices.Equal(got, users) {
			t.Errorf("%s: members %v, want %v", what, got, users)
			return
		}
	}
}

// docs/ARCHITECTURE.md, Roster: that removal is strong, sentence by sentence.
func TestStrongRemoval(t *testing.T) {
	// grown is a founder with admins 1 and 2 and members 3 and 4, all known to all.
	grown := func() (*members, wire.EntryHash) {
		g := newMembers(1)
		var h wire.EntryHash
		for i, role := range []wire.Role{wire.RoleAdmin, wire.RoleAdmin, wire.RoleMember, wire.RoleMember} {
			h = g.add(0, i+1, role)
		}
		return g, h
	}

	g, h := grown()
	g.remove(1, 3, h)
	g.add(3, 9, wire.RoleMember, h)
	g.want(t, "a removal voids what its target does concurrently", 0, 1, 2, 4)

	g, h = grown()
	a := g.add(3, 9, wire.RoleMember, h)
	g.remove(1, 3, a)
	g.want(t, "and not what it knew of", 0, 1, 2, 4, 9)

	g, h = grown()
	r := g.remove(1, 3, h)
	g.add(3, 9, wire.RoleMember, r)
	g.want(t, "afterwards its target can do nothing", 0, 1, 2, 4)

	g, h = grown()
	r = g.remove(1, 3, h)
	g.add(2, 3, wire.RoleMember, h)
	g.add(4, 3, wire.RoleMember, r)
	g.want(t, "the open door does not lead back in", 0, 1, 2, 4)
	g.by(1, &wire.Op{
		Type: wire.OpAdd, User: ptr(dagtest.TestUser(3)), Device: ptr(dagtest.TestDevice(3)), Role: wire.RoleMember, Why: wire.WhyRole,
	}, r)
	g.want(t, "an admin who knows of the removal does", 0, 1, 2, 3, 4)

	g, h = grown()
	g.remove(0, 1, h)
	x := g.add(1, 9, wire.RoleAdmin, h)
	g.remove(9, 2, x)
	g.want(t, "nobody outruns its removal through a puppet's removals", 0, 2, 3, 4)

	revoke := func(user, device int, after wire.EntryHash) {
		g.by(user, &wire.Op{Type: wire.OpDeviceRevoke, Device: ptr(dagtest.TestDevice(device))}, after)
	}
	g, h = grown()
	revoke(0, 1, h)
	g.remove(1, 3, h)
	g.add(1, 9, wire.RoleMember, h)
	g.want(t, "a revoked device does nothing concurrently", 0, 1, 2, 3, 4)

	g, h = grown()
	revoke(1, 3, h)
	g.remove(0, 1, h)
	if _, r := g.resolve(t, g.Rand); !r.Has(dagtest.TestDevice(3)) {
		t.Error("who is removed concurrently revokes a device")
	}

	g, h = grown()
	g.remove(0, 1, h)
	g.remove(1, 2, h)
	g.want(t, "of removals whose author is removed the higher stands", 0, 2, 3, 4)

	g, h = grown()
	g.remove(1, 2, h)
	g.remove(2, 1, h)
	g.want(t, "equals who remove each other both go", 0, 3, 4)

	g, h = grown()
	x = g.add(0, 5, wire.RoleOwner, h)
	g.remove(5, 1, x)
	g.remove(1, 2, x)
	g.want(t, "an admin cannot remove while an owner removes it", 0, 2, 3, 4, 5)

	g, h = grown()
	g.remove(3, 4, h)
	g.remove(1, 0, h)
	g.want(t, "nobody removes above its role", 0, 1, 2, 3, 4)

	g, h = grown()
	g.leave(0, h)
	g.want(t, "the last owner stays", 0, 1, 2, 3, 4)

	g, h = grown()
	g.leave(3, h)
	g.want(t, "others leave", 0, 1, 2, 4)

	g, h = grown()
	x = g.add(0, 5, wire.RoleOwner, h)
	g.remove(0, 5, x)
	g.remove(5, 0, x)
	if in, _ := g.resolve(t, g.Rand); len(in) != 5 || (in[0] == wire.RoleOwner) == (in[5] == wire.RoleOwner) {
		t.Errorf("of two last owners who remove each other one stays: %v", in)
	}

	g, h = grown()
	x = g.add(0, 5, wire.RoleOwner, h)
	g.leave(0, x)
	g.leave(5, x)
	if in, _ := g.resolve(t, g.Rand); len(in) != 5 || (in[0] == wire.RoleOwner) == (in[5] == wire.RoleOwner) {
		t.Errorf("of two last owners who leave at once one stays: %v", in)
	}

	g, h = grown()
	g.remove(1, 2, h)
	g.remove(2, 1, h)
	g.remove(0, 1, h)
	_, roster := g.resolve(t, g.Rand)
	if len(roster.Cancelled()) == 0 {
		t.Error("a removal whose author was removed is not reported as cancelled")
	}
}

func ptr[T any](v T) *T { return &v }

// The roster of a set of operations does not depend on the order in which they
// came; somebody is always an owner; who is gone was taken out by an operation.
func TestRosterDoesNotDependOnOrder(t *testing.T) {
	gone, members, cancelled := 0, 0, 0
	for seed := range uint64(400) {
		g := newMembers(seed)
		h := []wire.EntryHash{g.add(0, 1, wire.RoleOwner)}
		for range 30 {
			who, whom := g.Rand.IntN(7), g.Rand.IntN(7)
			var after []wire.EntryHash
			for range 1 + g.Rand.IntN(2) {
				if x := h[max(0, len(h)-1-g.Rand.IntN(8))]; !slices.Contains(after, x) {
					after = append(after, x)
				}
			}
			var x wire.EntryHash
			switch g.Rand.IntN(10) {
			case 0, 1, 2, 3, 4:
				x = g.add(who, whom, wire.RoleOwner+wire.Role(g.Rand.IntN(3)), after...)
			case 5, 6, 7:
				x = g.remove(who, whom, after...)
			case 8:
				x = g.by(who, &wire.Op{Type: wire.OpDeviceRevoke, Device: ptr(dagtest.TestDevice(whom))}, after...)
			default:
				x = g.leave(who, after...)
			}
			h = append(h, x)
		}
		first, r := g.resolve(t, rand.New(rand.NewPCG(seed, 0)))
		owners := 0
		for _, role := range first {
			if role == wire.RoleOwner {
				owners++
			}
		}
		if len(first) > 0 && owners == 0 {
			t.Fatalf("seed %d: members %v, none an owner", seed, first)
		}
		out := slices.Collect(r.Departures())
		for _, by := range out {
			if by.Op.Type == wire.OpRemove && r.HasUser(*by.Op.User) || by.Op.Type == wire.OpLeave && r.HasUser(by.User) {
				t.Fatalf("seed %d: a user is in and gone by %+v", seed, by.Op)
			}
		}
		gone, members, cancelled = gone+len(out), members+len(first), cancelled+len(r.Cancelled())
		for n := range uint64(6) {
			again, r2 := g.resolve(t, rand.New(rand.NewPCG(seed, n+1)))
			if len(again) != len(first) || r2.NumDevices() != r.NumDevices() || len(slices.Collect(r2.Departures())) != len(out) || len(r2.Cancelled()) != len(r.Cancelled()) {
				t.Fatalf("seed %d: %v in one order, %v in another", seed, first, again)
			}
			for u, role := range first {
				if again[u] != role {
					t.Fatalf("seed %d: %v in one order, %v in another", seed, first, again)
				}
			}
		}
	}
	if gone < 300 || members < 600 || cancelled < 5 {
		t.Errorf("the worlds are too tame: %d gone, %d members, %d cancelled", gone, members, cancelled)
	}
	t.Logf("%d gone, %d members, %d cancelled", gone, members, cancelled)
}
