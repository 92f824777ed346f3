package sim

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// knownFailing are the scenarios that fail today, each with the invariants that it
// violates; "expect" stands for its own expectations. A scenario that fails
// otherwise, or not any more, fails the test: nothing is skipped.
var knownFailing = map[string][]string{}

// wanted is how many scenarios issue 4 asks for; some have parts a and b.
const wanted = 28

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

// failures names what a report says is wrong, in order.
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

// TestDocumentation: docs/SCENARIOS.md names every verb, option and expectation.
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
	for _, c := range counts {
		if !strings.Contains(string(b), "`"+c+"`") {
			t.Errorf("the count %s is not described", c)
		}
	}
}
