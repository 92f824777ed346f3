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

// copied is a group in which device 1 runs twice: beside its first log it writes in another one.
type copied struct {
	*members
	logs map[int]wire.LogID // the first ones
	news []wire.EntryHash   // what all know
}

func newCopied(users int) *copied {
	g := &copied{newMembers(9), map[int]wire.LogID{}, nil}
	g.logs[0] = wire.LogID{Device: dagtest.TestDevice(0), Incarnation: wire.FoundersIncarnation(g.genesis.ID)}
	for i := 1; i < users; i++ {
		g.letIn(g.logs[0], i, wire.RoleAdmin)
	}
	for i := range users {
		g.news = append(g.news, g.says(i, slices.Clone(g.news)...))
	}
	return g
}

// letIn lets a user in by an entry of a log.
func (g *copied) letIn(log wire.LogID, whom int, role wire.Role, after ...wire.EntryHash) wire.EntryHash {
	u, d := dagtest.TestUser(whom), dagtest.TestDevice(whom)
	h := g.Grow(log, after, &dag.Body{
		Op: &wire.Op{Type: wire.OpAdd, User: &u, Device: &d, Role: role, Why: wire.WhyRole}, Target: &dag.Target{Device: &identity.Device{ID: d, User: u}},
	})
	g.logs[whom] = wire.LogID{Device: d, Incarnation: wire.FirstIncarnation(h)}
	return h
}

func (g *copied) says(user int, after ...wire.EntryHash) wire.EntryHash {
	return g.Grow(g.logs[user], after, new(dag.Body))
}

func (g *copied) removes(user, whom int, after ...wire.EntryHash) wire.EntryHash {
	u := dagtest.TestUser(whom)
	return g.Grow(g.logs[user], after, &dag.Body{Op: &wire.Op{Type: wire.OpRemove, User: &u}})
}

// knowing is the group as somebody knows it who has these entries and what they build on.
func (g *copied) knowing(have ...wire.EntryHash) *copied {
	in := map[wire.EntryHash]bool{}
	for _, h := range have {
		g.Past(h, in)
	}
	graph := *g.Graph
	graph.Entries, graph.Hashes = nil, nil
	for i, h := range g.Hashes {
		if in[h] {
			graph.Entries, graph.Hashes = append(graph.Entries, g.Entries[i]), append(graph.Hashes, h)
		}
	}
	return &copied{&members{&graph, g.genesis}, g.logs, nil}
}

// told are the entries that a device may have by the roster of all.
func (g *copied) told(t *testing.T, user int) (out []wire.EntryHash) {
	t.Helper()
	in, r := g.resolve(t, rand.New(rand.NewPCG(1, 2)))
	if _, ok := in[user]; ok {
		t.Fatalf("user %d is in", user)
	}
	may := r.For(&identity.Device{ID: dagtest.TestDevice(user), User: dagtest.TestUser(user)}, nil)
	for _, h := range g.Hashes {
		if may(r.s.logs.Items.At(h)) {
			out = append(out, h)
		}
	}
	return out
}

// A device that was let in by an entry that is not its author's word learns that, also when that
// became so by the removal of somebody who had vouched for it, and gets nothing that is written
// later.
func TestDisownedIsTold(t *testing.T) {
	t.Parallel()
	copyOf1 := wire.LogID{Device: dagtest.TestDevice(1), Incarnation: 99}
	const eve = 9
	for name, play := range map[string]func(g *copied) (hers []wire.EntryHash){
		"two know the one copy, one the other": func(g *copied) []wire.EntryHash {
			f := g.says(1, g.news...)
			by0, by3 := g.says(0, f), g.says(3, f)
			x := g.letIn(copyOf1, eve, wire.RoleMember, g.news...)
			hers := []wire.EntryHash{g.says(2, x), g.says(eve, x)}
			g.news = slices.Concat(hers, []wire.EntryHash{by0, by3})
			return hers
		},
		"who vouched for it is removed": func(g *copied) []wire.EntryHash {
			f := g.says(1, g.news...)
			by0 := g.says(0, f)
			x := g.letIn(copyOf1, eve, wire.RoleMember, g.news...)
			by2 := g.says(2, x)
			hers := []wire.EntryHash{g.says(eve, x, by2, by0)}
			if in, _ := g.knowing(hers...).resolve(t, rand.New(rand.NewPCG(1, 2))); in[eve] == 0 {
				t.Fatal("she was never in")
			}
			g.removes(0, 2, x)
			g.news = slices.Concat(hers, []wire.EntryHash{by2})
			return hers
		},
		"another copy lets her in once more": func(g *copied) []wire.EntryHash {
			f, f2 := g.says(1, g.news...), g.says(2, g.news...)
			of2 := []wire.EntryHash{g.says(0, f2), g.says(3, f2)}
			of := []wire.EntryHash{g.says(0, f), g.says(3, f)}
			x := g.letIn(copyOf1, eve, wire.RoleMember, g.news...)
			hers := []wire.EntryHash{g.says(eve, x)}
			again := g.letIn(wire.LogID{Device: dagtest.TestDevice(2), Incarnation: 99}, eve, wire.RoleMember, g.news...)
			g.news = slices.Concat(hers, of, of2, []wire.EntryHash{again})
			return hers
		},
		"somebody who is out lets her in once more": func(g *copied) []wire.EntryHash {
			old := g.news
			gone := g.removes(0, 3, old...)
			g.news = []wire.EntryHash{g.says(1, gone), g.says(2, gone)}
			f := g.says(1, g.news...)
			by0, by2 := g.says(0, f), g.says(2, f)
			x := g.letIn(copyOf1, eve, wire.RoleMember, g.news...)
			hers := []wire.EntryHash{g.says(eve, x)}
			again := g.letIn(g.logs[3], eve, wire.RoleMember, old...)
			g.news = slices.Concat(hers, []wire.EntryHash{by0, by2, again})
			return hers
		},
	} {
		g := newCopied(4)
		hers := play(g)
		later := []wire.EntryHash{g.says(0, g.news...)}
		later = append(later, g.says(3, later...))
		told := g.told(t, eve)
		if in, _ := g.knowing(append(hers, told...)...).resolve(t, rand.New(rand.NewPCG(1, 2))); in[eve] != 0 {
			t.Errorf("%s: she does not learn that she is out", name)
		}
		for _, h := range later {
			if slices.Contains(told, h) {
				t.Errorf("%s: she gets what is written later", name)
			}
		}
	}
}
