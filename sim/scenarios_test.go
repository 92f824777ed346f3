package sim

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// knownFailing are the scenarios that fail today, each with the invariants that it
// violates; "expect" stands for its own expectations. A scenario that fails
// otherwise, or not any more, fails the test: nothing is skipped.
var knownFailing = map[string][]string{}

// wanted is how many scenarios there are; some have parts a and b.
const wanted = 44

func TestScenarios(t *testing.T) {
	numbers := map[string]bool{}
	for _, name := range Names() {
		numbers[name[:2]] = true
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sc, err := Load(name)
			if err != nil {
				t.Fatal(err)
			}
			r, err := Run(t.Context(), sc, Options{})
			if err != nil {
				t.Fatal(err)
			}
			checkDigest(t, name, r)
			got := r.failures()
			if want := knownFailing[name]; !slices.Equal(got, want) {
				t.Errorf("violates %v, known are %v; replay with: pandanode sim run %s", got, want, name)
				for i, v := range r.Violations {
					if i < 20 {
						t.Log(v)
					}
				}
				t.Log(strings.Join(r.Unexpected, "\n"))
			}
			if !slices.ContainsFunc(sc.Expect, func(e Expectation) bool { return e.What == "refused" }) && len(r.Refused) > 0 {
				t.Errorf("what shall happen did not, and no expectation says so: %q", r.Refused)
			}
			for _, c := range counts {
				if _, ok := r.Counts[c]; !ok {
					t.Errorf("nobody counts %s", c)
				}
			}
			t.Logf("records %+v, counts %v, refused %q", r.Records, r.Counts, r.Refused)
			if len(got) == 0 && (r.Records.Owed != r.Records.Held || r.Records.Owed == 0) {
				t.Errorf("%+v, and no invariant says so", r.Records)
			}
		})
	}
	if len(numbers) != wanted {
		t.Errorf("%d scenarios, want %d", len(numbers), wanted)
	}
	for name := range knownFailing {
		if !slices.Contains(Names(), name) {
			t.Errorf("%s is known to fail and not there", name)
		}
	}
}

// failures lists the violations and failed expectations of a report, in order.
func (r *Report) failures() []string {
	var out []string
	for _, i := range Invariants {
		if slices.ContainsFunc(r.Violations, func(v Violation) bool { return v.Invariant == i.Number }) {
			out = append(out, i.Name)
		}
	}
	if len(r.Unexpected) > 0 {
		out = append(out, "expect")
	}
	return out
}

// TestDocumentation: docs/SCENARIOS.md names every verb, option and expectation, every
// scenario with its title, and its example is one.
func TestDocumentation(t *testing.T) {
	b, err := os.ReadFile("../docs/SCENARIOS.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range verbs {
		if !strings.Contains(string(b), "`"+name) {
			t.Errorf("the verb %s is not described", name)
		}
		for _, o := range v.opts {
			if !strings.Contains(string(b), o+"=") {
				t.Errorf("the option %s of %s is not described", o, name)
			}
		}
	}
	for kind := range backdated {
		if !strings.Contains(string(b), "`"+kind) {
			t.Errorf("what is back-dated with %s is not described", kind)
		}
	}
	for _, c := range counts {
		if !strings.Contains(string(b), "`"+c+"`") {
			t.Errorf("the count %s is not described", c)
		}
	}
	for _, name := range Names() {
		sc, err := Load(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(b), fmt.Sprintf("| `%s` | %s |\n", name, sc.Title)) {
			t.Errorf("the scenario %s is not listed with its title", name)
		}
	}
	_, example, _ := strings.Cut(string(b), "```\n# ")
	example, _, ok := strings.Cut(example, "```")
	sc, err := ParseBytes("example", []byte("# "+example))
	if !ok || err != nil {
		t.Fatalf("the example is no scenario: %v", err)
	}
	if r, err := Run(t.Context(), sc, Options{}); err != nil || !r.OK() || len(r.Refused) > 0 || r.Records.Held == 0 {
		t.Errorf("the example does not hold: %v %v", err, r)
	}
}
