package sim

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/pandanode/pandanode/node/api"
)

func TestHostScenario(t *testing.T) {
	b, err := os.ReadFile("scenarios/host/one-minute-cut.sim")
	if err != nil {
		t.Fatal(err)
	}
	sc, err := ParseBytes("one-minute-cut", b)
	if err != nil {
		t.Fatal(err)
	}
	actions, err := realActions(sc)
	if err != nil || len(actions) != len(sc.Actions) {
		t.Fatalf("%d actions of %d: %v", len(actions), len(sc.Actions), err)
	}
}

// TestHostRefusesWhatItCannotDo: a scenario with anything that only other backends
// can do is refused before anything is started.
func TestHostRefusesWhatItCannotDo(t *testing.T) {
	const head = "# t\nnodes anna ben\ngroup tea founder=anna\nrun 1h\n"
	for _, c := range []struct{ text, says string }{
		{head + "1m clock ben +1h", `"clock"`},
		{head + "1m crash ben at=torn", "at="},
		{head + "1m send ben as=one", "as="},
		{head + "expect forks >= 1", "forks"},
		{strings.Replace(head, "ben", "ben phone=anna", 1), "one device"},
	} {
		sc, err := ParseBytes("t", []byte(c.text))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := RunHost(t.Context(), sc, RealOptions{Binary: "/nowhere"}); !errors.Is(err, ErrScenario) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v", c.text, err)
		}
	}
	sc, err := ParseBytes("t", []byte(head+"1m crash ben restart=5s\n64s send anna\n"))
	if err != nil {
		t.Fatal(err)
	}
	actions, err := realActions(sc)
	if err != nil || len(actions) != 3 || actions[2].String() != "1m5s restart ben" {
		t.Errorf("a crash with a restart becomes %v, %v", actions, err)
	}
}

// TestHostDeliveries checks that the host backend reports nodes that lose messages, show
// them twice, out of order, altered, or to somebody who is out.
func TestHostDeliveries(t *testing.T) {
	// anna removed gil and then hugo, who has a home of before; carl came in the cut, on ben's side
	const anna, ben, carl, gil, hugo = 0, 1, 2, 3, 4
	cut := map[[2]int]bool{{anna, ben}: true, {anna, carl}: true, {ben, anna}: true, {carl, anna}: true}
	h := &realWorld{history: []map[[2]int]bool{{}, cut}, sc: &Scenario{}}
	for _, n := range []string{"anna", "ben", "carl", "gil", "hugo"} {
		h.sc.Nodes = append(h.sc.Nodes, NodeDecl{Name: n, User: n})
	}
	g := &realGroup{seats: map[int]*realSeat{
		anna: {in: 1}, ben: {in: 2}, carl: {in: 20, net: 1, mayBeOlder: true}, gil: {in: 3, out: 30, by: anna},
		hugo: {in: 4, out: 30, by: anna, behind: true},
	}}
	for _, m := range []realMessage{
		{id: "old", node: ben, when: 10},
		{id: "anna1", node: anna, when: 11, net: 1}, // carl's addition cannot know of it
		{id: "ben1", node: ben, when: 12, net: 1},   // and may know of this
		{id: "anna2", node: anna, when: 31, net: 1},
		{id: "ben2", node: ben, when: 32, net: 1},
		{id: "gil1", node: gil, when: 33, net: 1, beyond: true},
	} {
		m.text = m.id
		g.sent = append(g.sent, &m)
	}
	for _, c := range []struct {
		node              int
		shows             string
		owed, lost, twice int
		says              string // all that is wrong
	}{
		{ben, "old ben1 anna1 anna2 ben2", 5, 0, 0, ""},
		{ben, "old ben1 anna1 ben2", 5, 1, 0, `"anna2" is not shown`},
		{ben, "old ben1 anna1 anna2 ben2 old", 5, 0, 1, `"old" is shown 2 times`},
		{anna, "old ben1 anna2 ben2 anna1", 5, 0, 0, `"anna2" is shown before`},
		{anna, "old ben1 anna1 anna2 ben2 x", 5, 0, 0, `"x" is shown, which nobody sent`},
		{carl, "anna1 anna2 ben2", 3, 0, 0, ""},
		{carl, "ben1 anna1 anna2 ben2", 3, 0, 0, ""},
		{carl, "anna2 ben2", 3, 1, 0, `"anna1" is not shown`},
		{gil, "old ben1", 0, 0, 0, ""},
		{gil, "old ben2", 0, 0, 0, ""}, // ben did not know that gil is out
		{gil, "old gil1", 0, 0, 0, ""},
		{ben, "old ben1 anna1 anna2 ben2 gil1", 5, 0, 0, `"gil1" is shown by ben, and who sent it was out`},
		{hugo, "old ben1 gil1", 0, 0, 0, ""}, // neither knew that the other is out
		{hugo, "old anna2", 0, 0, 0, `"anna2" is shown to one who was out`},
		{gil, "old anna2", 0, 0, 0, `"anna2" is shown to one who was out`},
	} {
		v := &realView{node: c.node}
		for _, id := range strings.Fields(c.shows) {
			v.messages = append(v.messages, api.Message{ID: id, Text: id})
		}
		d := h.deliveries(g, v)
		if d.owed != c.owed || d.lost != c.lost || d.twice != c.twice || d.held != c.owed-c.lost {
			t.Errorf("%d showing %s: %+v", c.node, c.shows, d)
		}
		if (c.says == "") != (len(d.wrong) == 0) || !strings.Contains(strings.Join(d.wrong, "; "), c.says) {
			t.Errorf("%d showing %s: %q, want %q", c.node, c.shows, d.wrong, c.says)
		}
	}
	altered := h.deliveries(g, &realView{node: carl, messages: []api.Message{{ID: "anna1", Text: "no"}, {ID: "anna2", Text: "anna2"}, {ID: "ben2", Text: "ben2"}}})
	if len(altered.wrong) != 1 || !strings.Contains(altered.wrong[0], `"anna1" is shown as "no"`) {
		t.Errorf("an altered message: %q", altered.wrong)
	}
}

// Only whole nodes settle.
func TestCoreDoesNotSettle(t *testing.T) {
	sc, err := ParseBytes("t", []byte("# t\nnodes anna ben\ngroup tea founder=anna\nrun 1h\nexpect settled <= 60\n"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), sc, Options{}); !errors.Is(err, ErrScenario) {
		t.Errorf("the core backend says %v", err)
	}
}
