package authority

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pandanode/pandanode/node/wire"
)

// People act beside each other, and now and then somebody knows all. Each roster is the one that
// is resolved from scratch, and so is that of each operation's past.
func TestMilestones(t *testing.T) {
	t.Parallel()
	onTop, scratch := 0, 0
	for seed := range uint64(*orderSets) * 8 {
		r := rand.New(rand.NewPCG(seed, 7))
		s := newScript()
		people := []string{"u0"}
		for i := range 4 {
			name := fmt.Sprint("admin", i)
			s.admit("u0", name, wire.RoleAdmin)
			people = append(people, name)
		}
		if seed%3 == 0 {
			s.write("u0", "u0", 0, roleOf("admin0", wire.RoleOwner))
		}
		s.write("u0", "u0", 0, &Op{Type: wire.OpProfile, Profile: &Register{Field: wire.FieldPolicy, Policy: wire.PolicyOpen}})
		invites := []*Invite{{ID: id[wire.InviteID]("from the start"), Signer: id[wire.UserID]("u0"), Role: wire.RoleMember}}
		start := s.all.order[len(s.all.order)-1]
		for i := range 60 {
			who := people[r.IntN(len(people))]
			user, incarnation := who, uint64(0)
			if r.IntN(20) == 0 || seed%4 == 2 && r.IntN(4) == 0 {
				incarnation = 1 + r.Uint64N(2) // it was restored, or plays it
			}
			named := []*entry{start}
			for _, h := range s.heads() {
				if r.IntN(3) > 0 {
					named = append(named, h)
				}
			}
			if r.IntN(3) == 0 {
				named = s.heads()
			}
			op := anyOf(r, i, people, &invites, who)
			switch {
			case seed%4 == 2 && r.IntN(3) == 0:
				op = nil
			case seed%4 == 3 && r.IntN(2) == 0: // owners come and go
				op = roleOf(people[r.IntN(3)], wire.Role(1+r.IntN(4))) //nolint:gosec // small
				if r.IntN(3) == 0 {
					op = removeOf(people[r.IntN(3)])
				}
			}
			e := s.write(who, user, incarnation, op, named...)
			if op == nil {
				continue
			}
			if name := fmt.Sprint("x", i); s.ops[e].Permitted() && op.Type == wire.OpAdd {
				s.logOf[name] = wire.LogID{Device: op.Subject, Incarnation: wire.FirstIncarnation(e.hash)}
				people = append(people, name)
			}
			all := s.r.all()
			want := s.r.resolve(all)
			if got := s.r.Roster(); fingerprint(got) != fingerprint(want) {
				t.Fatalf("seed %d: after operation %d, %v\n%s\nfrom scratch\n%s", seed, i, op.Type, fingerprint(got), fingerprint(want))
			} else if missing := s.r.undisputed(got); len(missing) > 0 {
				t.Fatalf("seed %d: after operation %d, %v: %v are disputed, and not named", seed, i, op.Type, missing)
			}
			if got, want := fingerprint(s.r.At(e.ref)), fingerprint(s.r.resolve(s.r.before(e.ref))); got != want {
				t.Fatalf("seed %d: before operation %d, %v\n%s\nfrom scratch\n%s", seed, i, op.Type, got, want)
			}
			if len(s.r.heads) > 1 {
				if s.r.sinceMilestone(all) != nil {
					onTop++
				} else {
					scratch++
				}
			}
		}
	}
	t.Logf("beside each other: %d on top of a milestone, %d from scratch", onTop, scratch)
	if onTop < 20**orderSets || scratch < *orderSets {
		t.Errorf("%d rosters were resolved on top of a milestone, %d from scratch", onTop, scratch)
	}
}

// undisputed gives the losses and grants that count, with others beside them, that a roster does
// not name as disputed.
func (r *Resolver) undisputed(to *Roster) (out []Ref) {
	ops := slices.DeleteFunc(slices.Clone(r.ops), func(x *Op) bool { return !x.loss() && !x.grants() || !to.Counts(x) })
	for _, x := range ops {
		beside := func(y *Op) bool { return r.concurrent(x.Ref, y.Ref) }
		if slices.ContainsFunc(ops, beside) && !slices.Contains(to.disputed, x.Ref) {
			out = append(out, x.Ref)
		}
	}
	return out
}

// anyOf is any operation, or no operation. Few names are drawn, so that many are about the same.
func anyOf(r *rand.Rand, i int, people []string, invites *[]*Invite, who string) *Op {
	other := people[r.IntN(len(people))]
	invite := (*invites)[r.IntN(len(*invites))]
	add := addOf(fmt.Sprint("x", i), wire.RoleMember)
	if r.IntN(4) == 0 {
		add = addOf(fmt.Sprint("x", r.IntN(i+1)), wire.RoleMember)
	}
	switch r.IntN(16) {
	case 0:
		return deviceOf(who, fmt.Sprint("d", r.IntN(12)))
	case 1:
		return &Op{Type: wire.OpProfile, Profile: &Register{Field: wire.ProfileField(1 + r.IntN(4)), Policy: wire.PolicyOpen}} //nolint:gosec // small
	case 2:
		return &Op{Type: wire.OpSetting, Profile: &Register{Key: fmt.Sprint(r.IntN(3))}}
	case 3:
		*invites = append(*invites, &Invite{ID: id[wire.InviteID](fmt.Sprint("invite ", i)), Signer: id[wire.UserID](who), Role: wire.Role(2 + r.IntN(2))}) //nolint:gosec // small
		return &Op{Type: wire.OpInvite, Invite: (*invites)[len(*invites)-1]}
	case 4, 5:
		add.Why, add.Invite, add.Claim, add.Role = wire.WhyInvite, invite, id[wire.Hash](fmt.Sprint(i)), invite.Role
	case 6:
		add.Role = wire.RoleAdmin
	case 7:
		if r.IntN(3) == 0 {
			return &Op{Type: wire.OpLeave}
		}
		return nil
	case 8:
		return revokeOf(fmt.Sprint("d", r.IntN(12)))
	case 9:
		return &Op{Type: wire.OpRevoke, Revokes: invite.ID}
	case 10:
		return roleOf(other, wire.Role(1+r.IntN(4))) //nolint:gosec // small
	case 11:
		add.Why = wire.WhyOpen
	case 12, 13:
		return removeOf(other)
	}
	return add
}
