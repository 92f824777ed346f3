package sim

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// insiders are worlds with hostile insiders of the past. All that they do is carried out, and
// in the end the group is as stay says.
var insiders = map[string]string{
	"who left lets somebody in": `
0s join ben mallory
1m role anna mallory admin
1m30s approve anna ben mallory
3m role anna mallory admin
4m join spy
5m hostile mallory
7m remove anna mallory
8m backdate mallory add spy known=4m30s
9m backdate mallory remove ben known=4m30s
10m backdate mallory policy open known=4m30s hlc=max
11m backdate mallory role ben admin known=4m30s to=anna
12m backdate mallory send known=4m30s
13m backdate mallory reboot known=4m30s
`,
	"a device that never wrote": `
0s join ben mallory
1m approve anna ben mallory
2m role anna mallory admin
3m reserve mallory phone
10m hostile mallory
12m remove anna mallory
14m backdate mallory revoke mallory known=5m device=phone incarnation=first
`,
	"a leave of before": `
0s join ben mallory
1m approve anna ben mallory
3m send mallory
5m hostile mallory
6m backdate mallory leave known=2m
`,
	"a ghost and floods": `
0s join ben mallory
1m approve anna ben mallory
5m ghost mallory via=ben
6m remove anna mallory
7m flood mallory incarnations n=40
8m flood mallory evidence n=20
9m abandon mallory
`,
	"a disk that dies": `
0s join ben mallory
1m approve anna ben mallory
5m send ben n=3
10m perish ben
11m restart ben
20m restore ben at=6m
30m send ben
40m sleeper mallory
`,
	"a puppet of before": `
0s join ben mallory
1m approve anna ben mallory
3m role anna mallory owner
4m join spy
5m hostile mallory
7m remove anna mallory
8m puppet mallory spy owner known=4m30s removes=anna
9m puppet mallory spy admin known=4m30s
10m puppet mallory spy admin
`,
	"keys that are none": `
0s join ben mallory
1m approve anna ben mallory
5m hostile mallory
6m rubbish mallory anna ben
7m send anna ben
20m rubbish mallory ben
`,
	"a hostile joiner": `
0s join ben mallory
1m approve anna ben mallory
5m knock spy ben n=2
6m hostile mallory
7m remove anna mallory
8m knock mallory ben
`,
	"a hostile server of a join": `
0s join ben mallory
1m approve anna ben mallory
5m hostile mallory
6m join spy
7m misserve mallory spy with=rubbish
8m misserve mallory spy with=renew
9m misserve mallory spy
9m30s send anna
11m approve anna spy
30m send spy
`,
	"an invite of before": `
0s join ben mallory
1m approve anna ben mallory
2m role anna mallory admin
5m hostile mallory
7m remove anna mallory
8m backdate mallory invite old known=4m30s
9m join spy invite=old
10m backdate mallory serve spy known=4m30s
`,
	"what was said and given out before": `
0s join ben mallory
1m approve anna ben mallory
2m role anna mallory admin
3m invite anna door
3m30s reserve mallory phone
4m join spy
5m hostile mallory
7m remove anna mallory
8m backdate mallory uninvite door known=4m30s
9m backdate mallory name casino known=4m30s hlc=max
9m30s backdate mallory name casino known=4m30s
10m backdate mallory mailboxes spy known=4m30s
11m backdate mallory setting history all known=4m30s
12m backdate mallory device phone known=3m10s
13m backdate mallory deny spy known=4m30s
14m backdate mallory ask phone known=3m10s
15m backdate mallory ask spy known=3m10s
`,
	"what a member says that may not": `
0s join ben mallory
1m approve anna ben mallory
3m invite anna door
4m join spy
5m hostile mallory
8m backdate mallory uninvite door known=4m30s
9m backdate mallory name casino known=4m30s
10m backdate mallory mailboxes spy known=4m30s
11m backdate mallory setting history all known=4m30s
13m backdate mallory deny spy known=4m30s
`,
}

// stay is who is in the groups of insiders in the end, with which role, and who may come in.
var stay = map[string]string{
	"who left lets somebody in":  "anna owner, ben member; request",
	"a device that never wrote":  "anna owner, ben member; request",
	"a leave of before":          "anna owner, ben member, mallory member; request", // others knew its own log first
	"a ghost and floods":         "anna owner, ben member; request",
	"a disk that dies":           "anna owner, ben member, mallory member; request",
	"a puppet of before":         "anna owner, ben member; request",
	"keys that are none":         "anna owner, ben member, mallory member; request",
	"a hostile joiner":           "anna owner, ben member; request",
	"a hostile server of a join": "anna owner, ben member, mallory member, spy member; request",
	"an invite of before":        "anna owner, ben member; request",

	"what was said and given out before": "anna owner, ben member; request",
	"what a member says that may not":    "anna owner, ben member, mallory member; request",
}

// stayed says it of a group, as a live member shows it; that all show one is invariant 1.
func (w *core) stayed(g *cgroup) string {
	var out []string
	for _, s := range g.seats {
		if s.n.hostile || !s.isIn() {
			continue
		}
		for _, m := range s.m.Members() {
			for _, o := range w.nodes {
				if slices.Contains(m.Devices, o.dev.ID) {
					out = append(out, fmt.Sprintf("%s %v", o.name, m.Role))
				}
			}
		}
		slices.Sort(out)
		return fmt.Sprintf("%s; %v", strings.Join(out, ", "), s.m.Report(w.now).Policy)
	}
	return "nobody"
}

func insiderWorld(t *testing.T, name string) *Report {
	t.Helper()
	sc, err := ParseBytes(name, []byte("# "+name+"\nseed 3\nnodes anna ben mallory phone=mallory spy\ngroup tea founder=anna policy=request\nrun 3h\n"+
		insiders[name]+"1h send anna ben\n"))
	if err != nil {
		t.Fatal(err)
	}
	if again, err := ParseBytes(name, []byte(sc.String())); err != nil || again.String() != sc.String() {
		t.Fatalf("it does not read back: %v", err)
	}
	r, err := Run(t.Context(), sc, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestInsiders(t *testing.T) {
	for name := range insiders {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := insiderWorld(t, name)
			for _, refused := range r.Refused {
				// The first role comes before there is somebody to have it, and the attack may
				// have taken out who sends in the end.
				if !strings.Contains(refused, "1m role") && !strings.Contains(refused, "sending: this device is not in the group") {
					t.Errorf("refused: %s", refused)
				}
			}
			for _, v := range r.Violations {
				t.Error(v)
			}
			if got := r.world.stayed(r.world.groups[0]); got != stay[name] {
				t.Errorf("in the end the group has %s; want %s", got, stay[name])
			}
		})
	}
}

// TestInsiderReach: what is back-dated reaches others as a valid first entry of a log, after
// what was known at the time that it names, and nothing later.
func TestInsiderReach(t *testing.T) {
	t.Parallel()
	r := insiderWorld(t, "who left lets somebody in")
	w := r.world
	mallory := w.nodeOf("mallory")
	d := w.groups[0].knownAt(w.now)
	fresh := 0
	for _, e := range d.entries {
		if e.entry.Device != mallory.dev.ID || e.entry.Log() == mallory.seats[0].log() {
			continue
		}
		fresh++
		for _, x := range d.entries {
			if d.inPast(x, e) && x.op != nil && x.op.Type == wire.OpRemove && *x.op.User == mallory.dev.User {
				t.Errorf("what was back-dated knows the removal of its author")
			}
		}
	}
	if len(w.hist.void) == 0 {
		t.Error("nothing that it wrote after its removal is held to be void")
	}
	t.Logf("%d fresh logs of mallory are held", fresh)
	if !slices.Equal(r.obs[0].Beyond, w.groups[0].beyond) {
		t.Error("the report does not say what changed")
	}
}

// TestBackdatedByWhoMay: each kind of what is back-dated changes the group if its author is an
// admin. Else nothing would be shown by TestInsiders, in which none does.
func TestBackdatedByWhoMay(t *testing.T) {
	t.Parallel()
	for _, what := range []string{
		"add spy", "ask spy", "device phone", "remove ben", "role ben read-only", "leave", "revoke ben", "policy open", "name casino",
		"mailboxes ben", "setting history all", "invite old", "uninvite door", "deny carl",
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			sc, err := ParseBytes("may", fmt.Appendf(nil, `# An admin writes as if it were before
seed 3
nodes anna ben mallory phone=mallory spy carl
group tea founder=anna policy=request
run 1h
0s join ben mallory
1m approve anna ben mallory
2m role anna mallory owner
3m invite anna door
3m30s join carl
5m hostile mallory
6m reserve mallory phone
7m join spy via=mallory
8m backdate mallory %s known=4m30s
`, what))
			if err != nil {
				t.Fatal(err)
			}
			r, err := Run(t.Context(), sc, Options{})
			if err != nil || len(r.Refused) > 0 {
				t.Fatalf("%v, refused: %v", err, r.Refused)
			}
			w := r.world
			g, mallory := w.groups[0], w.nodeOf("mallory")
			with := g.knownAt(w.now)
			without := map[wire.EntryHash][]byte{}
			for _, x := range with.entries {
				if x.entry.Device != mallory.dev.ID || x.entry.Log() == mallory.seats[0].log() {
					without[x.hash] = x.raw
				}
			}
			a, err := w.rosterOf(g, with)
			b, err2 := w.rosterOf(g, readDag(g.genesis, g.engine(), without))
			if err != nil || err2 != nil || a == b || len(without) == len(with.entries) {
				t.Errorf("%d entries of %d say the same as all: %v, %v", len(without), len(with.entries), err, err2)
			}
		})
	}
}

// TestLineAndVia: a link can lose one way alone and for a time, and who joins through a
// chosen member waits for that one.
func TestLineAndVia(t *testing.T) {
	t.Parallel()
	sc, err := ParseBytes("line", []byte(`# A line that loses one way, and a chosen member
nodes anna ben carl
group tea founder=anna
sync every=1h
run 3h
expect members anna ben carl
0s join ben
1m line anna ben loss=0.99
1m10s offline ben
2m join carl via=ben
10m send anna n=20
20m line anna ben
30m online ben
40m send anna ben carl
`))
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), sc, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() || len(r.Refused) > 0 {
		t.Errorf("%v, refused %v", r.First(), r.Refused)
	}
	carl := r.world.nodeOf("carl").seats[0]
	if at := carl.moves[0].At.Sub(epochZero); at < 30*60*1e9 {
		t.Errorf("carl was let in after %v, without ben", at)
	}
	w := &core{sc: sc}
	w.net = newNetwork(w)
	if err := doLine(w, sc.Actions[1]); err != nil || w.net.link(0, 1).Loss != 0.99 || w.net.link(1, 0).Loss != 0 {
		t.Errorf("%v: %v, back %v", err, w.net.link(0, 1), w.net.link(1, 0))
	}
	if err := doLine(w, sc.Actions[5]); err != nil || w.net.link(0, 1) != sc.Link {
		t.Errorf("%v: %v", err, w.net.link(0, 1))
	}
	bad := "# t\nnodes a b\ngroup g founder=a\nrun 1h\n1m "
	for _, line := range []string{"line a", "line a b loss=2", "join b via=c", "backdate a dance known=1m", "backdate a leave", "flood a noise", "reserve a b", "ghost a", "perish c", "restore a at=2m"} {
		if _, err := ParseBytes("bad", []byte(bad+line+"\n")); err == nil {
			t.Errorf("%s is taken", line)
		}
	}
}

// expecting is a line of a scenario, and what is told if it does not come true; empty: it does.
type expecting struct{ line, missed string }

// expectsEach plays a scenario with each of these lines in turn.
func expectsEach(t *testing.T, text string, all []expecting) {
	t.Helper()
	for _, c := range all {
		r := playText(t, "expecting", text+c.line)
		if len(r.Violations) > 0 || (c.missed == "") != (len(r.Unexpected) == 0) || c.missed != "" && r.Unexpected[0] != c.missed {
			t.Errorf("%q: %q, %v", c.line, r.Unexpected, r.Violations)
		}
	}
}

// TestExpectAtATime: what is expected at a time is judged then, and by every member.
func TestExpectAtATime(t *testing.T) {
	t.Parallel()
	const text = `# It looks at a time
nodes anna ben carl
group tea founder=anna
run 1h
0s join ben carl
5m expect members anna ben carl
6m role anna ben admin
7m expect role ben admin
8m remove ben carl
10m expect members anna ben
11m expect out carl
20m offline ben
21m send anna n=3
22m expect held anna
24m online ben
30m expect held anna ben
`
	expectsEach(t, text, []expecting{
		{"", ""},
		{"4m expect members anna ben\n", "4m expect members anna ben: by anna it is [anna ben carl]"},
		{"4m expect role ben owner\n", "4m expect role ben owner: by anna it is member"},
		{"4m expect out carl\n", "4m expect out carl: by carl it is not so"},
		{"23m expect held ben\n", "23m expect held ben: by ben it is no member that the others reach"},
		{"24m expect held ben\n", "24m expect held ben: by ben it is not so of 3"},
	})
}

// TestExpectOfAnotherGroup: what is expected in a group is judged by the members of that one, and
// each device of a user by itself.
func TestExpectOfAnotherGroup(t *testing.T) {
	t.Parallel()
	const text = `# Two groups, and a user with two devices
nodes anna ben carl phone=carl
group tea founder=anna
group coffee founder=ben
run 1h
0s join ben carl
1m join phone
1m in=coffee join anna carl
5m expect members anna ben carl phone
5m in=coffee expect members anna ben carl
6m in=coffee role ben anna admin
7m in=coffee expect role anna admin
7m expect role phone member
8m offline phone
9m send anna n=2
10m expect held carl
11m online phone
20m expect held carl phone
20m revoke carl phone
22m expect out phone
22m expect members anna ben carl
`
	expectsEach(t, text, []expecting{
		{"", ""},
		{"4m in=coffee expect members anna ben\n", "4m in=coffee expect members anna ben: by anna it is [anna ben carl]"},
		{"8m in=coffee expect role anna owner\n", "8m in=coffee expect role anna owner: by anna it is admin"},
		{"12m in=coffee expect out carl\n", "12m in=coffee expect out carl: by carl it is not so"},
		{"10m expect held phone\n", "10m expect held phone: by phone it is no member that the others reach"},
		{"11m expect held carl phone\n", "11m expect held carl phone: by phone it is not so of 2"},
		{"22m expect out carl\n", "22m expect out carl: by carl it is not so"},
	})
}

// TestOrderWithEvidence: evidence against a log is of the set as its entries are. A machine
// that gets the entries alone believes a commit of who signed two with one number.
func TestOrderWithEvidence(t *testing.T) {
	t.Parallel()
	r := playText(t, "evidence", "# Two with one number\nnodes anna ben mallory\ngroup tea founder=anna\nrun 1h\n0s join ben mallory\n50m hostile mallory\n")
	w, g, d := r.world, r.world.groups[0], r.obs[0].Dag
	p := w.nodeOf("mallory").seats[0].puppet
	at, err := p.at(d, "")
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.commit(at)
	if err != nil {
		t.Fatal(err)
	}
	raw, e := p.craft(d, wire.KindCommit, c)
	p.advance(e)
	p.seq, p.prev = p.seq+1, wire.EntryHash{1} // the one before is missing: nobody takes either of the two
	one, _ := p.craft(d, wire.KindVote, &wire.Vote{Position: at.id})
	two, _ := p.craft(d, wire.KindVote, &wire.Vote{Position: c.Child})
	for _, s := range g.seats {
		if !s.n.hostile {
			_, _ = s.step(group.Entries{Entries: [][]byte{raw, one, two}})
		}
	}
	o := w.observe(g, w.now)
	for _, bad := range orderFree(o) {
		t.Error(bad)
	}
	if len(o.Dag.pairs) != 1 {
		t.Fatalf("there is evidence against %d logs", len(o.Dag.pairs))
	}
	o.Dag.pairs = nil
	if head, err := w.reorder(g, o.Dag, 1); err != nil || head != c.Child {
		t.Errorf("without the evidence the choice is %.8v, want the commit, %.8v: %v", head, c.Child, err)
	}
}
