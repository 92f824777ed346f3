package sim

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pandanode/pandanode/node/group/epochs"
)

// The test binary plays a world and prints its digest when it is started with this in
// its environment: the name of a scenario, or a seed.
const digestEnv = "PANDANODE_SIM_DIGEST"

// replayed are worlds with crashes, hostile members, losses and many forks.
var replayed = []string{"01-three-way", "04-crash-everywhere", "05-equivocation", "7"}

func digestOf(ctx context.Context, what string) (string, error) {
	sc, err := Load(what)
	if seed, bad := strconv.ParseUint(what, 10, 64); bad == nil {
		sc, err = Generate(Spec{Seed: seed, Faults: FaultsMany})
	}
	if err != nil {
		return "", err
	}
	r, err := Run(ctx, sc, Options{})
	if err != nil {
		return "", err
	}
	return r.Digest, nil
}

func printDigest(what string) int {
	d, err := digestOf(context.Background(), what)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Fprintln(os.Stdout, d)
	return 0
}

// TestReplay: equal seeds give equal digests, in one process and in another.
func TestReplay(t *testing.T) {
	seen := map[string]bool{}
	for _, what := range replayed {
		first, err := digestOf(t.Context(), what)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := digestOf(t.Context(), what); err != nil || again != first {
			t.Errorf("%s: %v; two runs of one process differ: %s and %s", what, err, first, again)
		}
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), digestEnv+"="+what)
		out, err := cmd.Output()
		if other := strings.TrimSpace(string(out)); err != nil || other != first {
			t.Errorf("%s: %v; another process has %s, this one %s", what, err, other, first)
		}
		seen[first] = true
	}
	if len(seen) != len(replayed) {
		t.Errorf("%d different digests of %d worlds", len(seen), len(replayed))
	}
	// Another seed is another world.
	sc, err := Load("1")
	if err != nil {
		t.Fatal(err)
	}
	sc.Seed++
	if r, err := Run(t.Context(), sc, Options{}); err != nil || seen[r.Digest] {
		t.Errorf("another seed gives the same digest: %v", err)
	}
}

// TestShrink reduces a failing world to the actions that make it fail: nobody votes for a
// sibling of a commit that nobody can process.
func TestShrink(t *testing.T) {
	sc, err := Load("21")
	if err != nil {
		t.Fatal(err)
	}
	sc.Choice = choiceName(epochs.WithoutRefused)
	opt := Options{}
	small, r, err := Shrink(t.Context(), sc, 200, opt)
	if err != nil || small == nil {
		t.Fatalf("it does not fail: %v", err)
	}
	if len(r.Violations) == 0 || len(small.Actions) >= len(sc.Actions) || !slices.ContainsFunc(small.Actions, func(a Action) bool { return a.Verb == "broken" }) {
		t.Errorf("%d actions of %d are left, and they violate %v:\n%s", len(small.Actions), len(sc.Actions), r.failures(), small)
	}
	if len(small.Nodes) >= len(sc.Nodes) {
		t.Errorf("of %d nodes %d are left:\n%s", len(sc.Nodes), len(small.Nodes), small)
	}
	// It prints a scenario that fails by itself and needs each of its actions.
	again, err := ParseBytes("small", []byte(small.String()))
	if err != nil {
		t.Fatal(err)
	}
	if r, err := Run(t.Context(), again, opt); err != nil || r.OK() {
		t.Errorf("what is left does not fail: %v", err)
	}
	wanted := r.Violations
	for i, a := range again.Actions {
		less := *again
		less.Actions = slices.Delete(slices.Clone(again.Actions), i, i+1)
		r, err := Run(t.Context(), &less, opt)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range r.Violations {
			if slices.ContainsFunc(wanted, func(w Violation) bool { return w.Name == v.Name }) {
				t.Errorf("it fails without %q too: %v", a, v)
			}
		}
	}
	sc.Choice = ""
	if held, r, err := Shrink(t.Context(), sc, 10, Options{}); held != nil || err != nil || !r.OK() {
		t.Errorf("there is something to reduce in a world that holds: %v", err)
	}
}

// TestShrinkCounts: of many messages as many are left as the failure needs.
func TestShrinkCounts(t *testing.T) {
	t.Parallel()
	sc, err := ParseBytes("many", []byte(`# More is sent than shall be
nodes anna ben carl dora
group tea founder=anna
run 1h
expect records <= 4
0s join ben carl dora
2m send ben n=40
3m send carl n=2
`))
	if err != nil {
		t.Fatal(err)
	}
	small, _, err := Shrink(t.Context(), sc, 200, Options{})
	if err != nil || small == nil {
		t.Fatalf("it does not fail: %v", err)
	}
	n := 0
	for _, a := range small.Actions {
		if a.Verb == "send" {
			n += a.count() * len(a.Args)
		}
	}
	if n != 5 || len(small.Nodes) > 2 {
		t.Errorf("%d messages of %d nodes are left:\n%s", n, len(small.Nodes), small)
	}
}

// TestShrinkLeavesWhatCanBeRead: what is left of a failure can be read from a file. An invite
// stays as long as somebody joins by it.
func TestShrinkLeavesWhatCanBeRead(t *testing.T) {
	sc, err := ParseBytes("invited", []byte(`# By an invite
seed 7
nodes anna ben carl
group tea founder=anna policy=invite
run 10m
expect lost = 0
expect records = 7

0s invite anna all
1m join ben carl invite=all
2m send anna ben carl
3m send ben
`))
	if err != nil {
		t.Fatal(err)
	}
	small, r, err := Shrink(t.Context(), sc, 60, Options{})
	if err != nil || small == nil || r.OK() {
		t.Fatalf("it does not fail: %v", err)
	}
	if _, err := ParseBytes("small", []byte(small.String())); err != nil {
		t.Errorf("%v:\n%s", err, small)
	}
	if len(small.Actions) >= len(sc.Actions) {
		t.Errorf("nothing was dropped:\n%s", small)
	}
	s := &shrinker{ctx: t.Context(), tries: 1, best: sc, report: r, wanted: r.failure()}
	if s.fails(s.with(sc.Actions[1:])) || s.tries != 1 {
		t.Error("a join by an invite that nobody gave out was played")
	}
}

// TestShrinkKeepsTheFailure: failures among faults that are repaired do not shrink to a
// fault that is not, nor to another device's failure.
func TestShrinkKeepsTheFailure(t *testing.T) {
	for _, setting := range []struct {
		scenario string
		choice   epochs.Alternative
		needs    string // verb
	}{{"21", epochs.WithoutRefused, "broken"}, {"22", epochs.LowestHash, "late"}, {"22", epochs.WithoutVoid, "late"}} {
		sc, err := Load(setting.scenario)
		if err != nil {
			t.Fatal(err)
		}
		noise, err := ParseBytes("noise", []byte(strings.Replace(sc.String(), "\nrun ", `
0s send `+sc.Nodes[0].Name+` n=3
10s cut `+sc.Nodes[0].Name+` `+sc.Nodes[1].Name+`
20s offline `+sc.Nodes[2].Name+`
30s clock `+sc.Nodes[1].Name+` 5m
40s mend `+sc.Nodes[0].Name+` `+sc.Nodes[1].Name+`
50s online `+sc.Nodes[2].Name+`
55s clock `+sc.Nodes[1].Name+` 0s
1m partition `+sc.Nodes[0].Name+` | `+sc.Nodes[1].Name+`
2m crash `+sc.Nodes[2].Name+`
3m heal
4m restart `+sc.Nodes[2].Name+`
run `, 1)))
		if err != nil {
			t.Fatal(err)
		}
		noise.Choice = choiceName(setting.choice)
		opt := Options{}
		first, err := Run(t.Context(), noise, opt)
		if err != nil || first.OK() {
			t.Fatalf("%s: it does not fail: %v", setting.scenario, err)
		}
		small, r, err := Shrink(t.Context(), noise, 300, opt)
		if err != nil || small == nil {
			t.Fatalf("%s: it does not fail: %v", setting.scenario, err)
		}
		if first.failure() != r.failure() {
			t.Errorf("%s: it fails otherwise now: %q, before %q", setting.scenario, r.failure(), first.failure())
		}
		ends := map[string]string{"partition": "heal", "cut": "mend", "offline": "online", "crash": "restart"}
		needed := setting.needs == ""
		for _, a := range small.Actions {
			needed = needed || a.Verb == setting.needs
			if end := ends[a.Verb]; end != "" && !slices.ContainsFunc(small.Actions, func(b Action) bool { return b.Verb == end && b.At >= a.At }) {
				t.Errorf("%s: %v is not repaired any more:\n%s", setting.scenario, a, small)
			}
		}
		if !needed || len(small.Actions) >= len(noise.Actions)/2 {
			t.Errorf("%s: %d actions of %d are left:\n%s", setting.scenario, len(small.Actions), len(noise.Actions), small)
		}
	}
}

func TestNeeded(t *testing.T) {
	sc, err := ParseBytes("repairs", []byte(`# Repairs of what is whole
nodes a b c
group tea founder=a
run 1h
0s join b c
1m offline b
2m online a b c
3m heal
4m crash c restart=1m
5m restart b c
6m clock a 5m
7m clock a 0s
8m clock b 0s
9m gossip on
10m cut a b
11m mend b a
12m mend a b
`))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, a := range needed(sc.Actions) {
		got = append(got, a.String())
	}
	if want := "0s join b c,1m offline b,2m online b,4m crash c restart=1m,5m restart c,6m clock a 5m,7m clock a 0s,10m cut a b,12m mend a b"; strings.Join(got, ",") != want {
		t.Errorf("%s, want %s", strings.Join(got, ","), want)
	}
}
