package sim

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group/epochs"
)

// TestSweep plays four worlds in two parts: the second goes on where the first ended, and
// both sum into what one sweep of all gives.
func TestSweep(t *testing.T) {
	t.Parallel()
	s := Sweep{Spec: Spec{Nodes: 4, Duration: time.Hour, Faults: FaultsSome}, From: 1, To: 4, Jobs: 2}
	var file bytes.Buffer
	emit := func(x Swept) error { return json.NewEncoder(&file).Encode(x) }
	first := s
	first.To = 2
	if left, err := first.Run(t.Context(), nil, emit); err != nil || left != 0 {
		t.Fatal(left, err)
	}
	whole := file.Len()
	file.WriteString(`{"kind":"churn","seed":3,"ok":`) // it was stopped in the middle of a line
	before, err := ReadSwept(bytes.NewReader(file.Bytes()))
	if err != nil || len(before) != 2 {
		t.Fatal(len(before), err)
	}
	file.Truncate(whole)
	spent := s
	spent.Budget = 1
	if left, err := spent.Run(t.Context(), before, emit); err != nil || left < 1 {
		t.Errorf("%d worlds are left of a budget of nothing: %v", left, err)
	}
	if before, err = ReadSwept(bytes.NewReader(file.Bytes())); err != nil {
		t.Fatal(err)
	}
	if left, err := s.Run(t.Context(), before, emit); err != nil || left != 0 {
		t.Fatal(left, err)
	}
	lines, err := ReadSwept(bytes.NewReader(file.Bytes()))
	if err != nil || len(lines) != 4 {
		t.Fatal(len(lines), err)
	}
	sum := SumSwept(append(lines, lines...)) // as when two shards overlap
	refused := 0
	for _, n := range sum.Refused {
		refused += n
	}
	if refused != sum.Counts["refused"] || refused == 0 {
		t.Errorf("%d actions were refused: %v", sum.Counts["refused"], sum.Refused)
	}
	if sum.Worlds != 4 || sum.Failed+sum.Errors > 0 || sum.Verbs["send"] < 200 || sum.Counts["crashes"] < 4 || sum.Records.Held != sum.Records.Owed {
		t.Errorf("%+v", sum)
	}
}

// TestSweepFails: what fails is counted by the way in which it fails, with the command that
// runs the first of them, in the table and in the JUnit report.
func TestSweepFails(t *testing.T) {
	lines := []Swept{
		{Kind: KindChurn, Seed: 1, OK: true},
		{Kind: KindChurn, Seed: 2, Failure: "4 g1: n2 lacks", Again: "again 2", Violations: []Violation{{4, "delivery", "g1", "n2 lacks <it>"}}},
		{Kind: KindChurn, Seed: 3, Failure: "1 g1: other", Again: "again 3"},
		{Kind: KindChurn, Seed: 4, Failure: "4 g1: n2 lacks", Again: "again 4", Shrunk: "# small"},
		{Kind: KindChurn, Seed: 5, Error: "it could not be played", Again: "again 5"},
	}
	sum := SumSwept(lines)
	if sum.Worlds != 5 || sum.Failed != 3 || sum.Errors != 1 || len(sum.Failures) != 3 {
		t.Fatalf("%+v", sum)
	}
	if f := sum.Failures[0]; f.Worlds != 2 || f.Again != "again 2" || f.Shrunk != "# small" {
		t.Errorf("%+v", f)
	}
	var b bytes.Buffer
	if err := WriteJUnit(&b, lines); err != nil {
		t.Fatal(err)
	}
	var suite junitSuite
	if err := xml.Unmarshal(b.Bytes(), &suite); err != nil {
		t.Fatal(err)
	}
	if suite.Tests != 5 || suite.Failures != 3 || suite.Errors != 1 || suite.Cases[1].Failure == nil || !strings.Contains(suite.Cases[1].Failure.Text, "n2 lacks <it>") || suite.Cases[4].Error == nil || suite.Cases[0].Failure != nil {
		t.Errorf("%s", b.Bytes())
	}
}

// TestSweepShrinks: of the worlds that fail in one way the first is shrunk, to a scenario that
// fails in that way too, and no other.
func TestSweepShrinks(t *testing.T) {
	t.Parallel()
	failing, err := Load("21")
	if err != nil {
		t.Fatal(err)
	}
	failing.Choice = choiceName(epochs.WithoutRefused)
	s := Sweep{Spec: Spec{Nodes: 4, Duration: time.Hour}, From: 1, To: 3, Shrink: 1, Tries: 60, edit: func(sc *Scenario) {
		if sc.Seed != 1 {
			*sc = *failing
		}
	}}
	var lines []Swept
	emit := func(x Swept) error { lines = append(lines, x); return nil }
	if left, err := s.Run(t.Context(), nil, emit); err != nil || left != 0 || len(lines) != 3 {
		t.Fatal(left, err, len(lines))
	}
	first := lines[1]
	if !lines[0].OK || first.OK || lines[2].Failure != first.Failure || lines[0].Shrunk != "" || lines[2].Shrunk != "" {
		t.Fatalf("%+v", lines)
	}
	small, err := ParseBytes("small", []byte(first.Shrunk))
	if err != nil {
		t.Fatal(err)
	}
	if r, err := Run(t.Context(), small, Options{}); err != nil || r.failure() != first.Failure || len(small.Actions) >= len(failing.Actions) {
		t.Errorf("%d actions of %d are left, %v:\n%s", len(small.Actions), len(failing.Actions), err, first.Shrunk)
	}
	if f := SumSwept(lines).Failures; len(f) != 1 || f[0].Worlds != 2 || f[0].Shrunk != first.Shrunk {
		t.Errorf("%+v", f)
	}
	// A sweep that goes on shrinks no way again that was shrunk.
	before := lines[:2]
	lines = nil
	if _, err := s.Run(t.Context(), before, emit); err != nil || len(lines) != 1 || lines[0].Failure != first.Failure || lines[0].Shrunk != "" {
		t.Errorf("%v, %+v", err, lines)
	}
}
