package sim

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pandanode/pandanode/node/group/epochs"
)

var update = flag.Bool("update", false, "write the tables in docs anew: the fork choices (minutes)")

const forkChoiceDoc = "../docs/FORKCHOICE.md"

// measured are the scenarios of the table, of which cheap ones are run in every test.
var (
	measured = []string{"3", "6", "8", "9", "15", "21", "22", "25", "26a"}
	cheap    = []string{"6", "21", "22"}
)

// ours is the fork choice that nodes run.
const ours = epochs.Alternative("")

func rowOf(a epochs.Alternative) string {
	if a == ours {
		return "**ours**"
	}
	return string(a)
}

// loss counts the losses of a fork choice in a scenario.
type loss struct {
	invariants []int
	back       int // epochs that a device left behind itself in one move, at most
	lost       int // records
	stranded   int // live devices that are not where most are
	unexpected int // unmet expectations of the scenario
}

func (l loss) String() string {
	if len(l.invariants)+l.lost+l.stranded+l.unexpected == 0 {
		if l.back > 0 {
			return fmt.Sprintf("back %d", l.back)
		}
		return "–"
	}
	var parts []string
	if len(l.invariants) > 0 {
		parts = append(parts, "✕ "+strings.Trim(strings.ReplaceAll(fmt.Sprint(l.invariants), " ", ", "), "[]"))
	}
	for _, p := range []struct {
		what string
		n    int
	}{{"back", l.back}, {"lost", l.lost}, {"stranded", l.stranded}, {"unmet", l.unexpected}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", p.what, p.n))
		}
	}
	return strings.Join(parts, "; ")
}

// measure runs a scenario under a fork choice.
func measure(t *testing.T, a epochs.Alternative, scenario string) (loss, error) {
	sc, err := Load(scenario)
	if err != nil {
		return loss{}, err
	}
	sc.Choice = choiceName(a)
	r, err := Run(t.Context(), sc, Options{})
	if err != nil {
		return loss{}, err
	}
	l := loss{lost: r.Records.Lost, unexpected: len(r.Unexpected)}
	for _, v := range r.Violations {
		if !slices.Contains(l.invariants, v.Invariant) {
			l.invariants = append(l.invariants, v.Invariant)
		}
	}
	slices.Sort(l.invariants)
	l.stranded = r.obs[0].stranded()
	l.back = r.furthestBack(0)
	return l, nil
}

// measureAll runs scenarios under every fork choice: the cells of the table, by row.
func measureAll(t *testing.T, scenarios []string) map[epochs.Alternative][]string {
	t.Helper()
	out := map[epochs.Alternative][]string{}
	type cell struct {
		a epochs.Alternative
		i int
	}
	work := make(chan cell)
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for c := range work {
				l, err := measure(t, c.a, scenarios[c.i])
				if err != nil {
					t.Errorf("%s, scenario %s: %v", rowOf(c.a), scenarios[c.i], err)
				}
				mu.Lock()
				out[c.a][c.i] = l.String()
				mu.Unlock()
			}
		})
	}
	rows := append([]epochs.Alternative{ours}, epochs.Alternatives...)
	for _, a := range rows {
		mu.Lock()
		out[a] = make([]string, len(scenarios))
		mu.Unlock()
		for i := range scenarios {
			work <- cell{a, i}
		}
	}
	close(work)
	wg.Wait()
	return out
}

// marks around the generated part of a document.
const tableBegin, tableEnd = "<!-- table: begin -->\n", "<!-- table: end -->\n"

// between gives what lies before, in and behind the table of a document.
func between(file string) (before, table, behind []byte, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, nil, err
	}
	before, rest, ok := bytes.Cut(b, []byte(tableBegin))
	table, behind, ok2 := bytes.Cut(rest, []byte(tableEnd))
	if !ok || !ok2 {
		return nil, nil, nil, errors.New("the document has no place for a table")
	}
	return before, table, behind, nil
}

// TestAlternatives compares docs/FORKCHOICE.md with measurements: three scenarios in every
// run, and all of them with -update, which writes the table.
func TestAlternatives(t *testing.T) {
	if *update {
		writeAlternatives(t)
	}
	_, table, _, err := between(forkChoiceDoc)
	if err != nil {
		t.Fatal(err)
	}
	written := map[string][]string{}
	for line := range strings.Lines(string(table)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		written[cells[0]] = cells[1:]
	}
	compared, losses := 0, 0
	for a, cells := range measureAll(t, cheap) {
		row := written[rowOf(a)]
		if len(row) != len(measured) {
			t.Errorf("the row %q has %d cells, want %d", rowOf(a), len(row), len(measured))
			continue
		}
		for i, scenario := range cheap {
			compared++
			if strings.Contains(cells[i], "✕") {
				losses++
			}
			if was := row[slices.Index(measured, scenario)]; was != cells[i] {
				t.Errorf("%s, scenario %s: it is %q, and the document says %q; go test ./sim -run TestAlternatives -update", rowOf(a), scenario, cells[i], was)
			}
		}
	}
	t.Logf("%d cells compared, %d of them with a violation", compared, losses)
	if compared != len(cheap)*(len(epochs.Alternatives)+1) || losses < 3 {
		t.Errorf("%d cells compared, %d of them with a violation: the switch does nothing", compared, losses)
	}
}

func writeAlternatives(t *testing.T) {
	t.Helper()
	before, _, behind, err := between(forkChoiceDoc)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	b.Write(before)
	b.WriteString(tableBegin)
	fmt.Fprintf(&b, "| fork choice | %s |\n|---|%s\n", strings.Join(measured, " | "), strings.Repeat("---|", len(measured)))
	all := measureAll(t, measured)
	for _, a := range append([]epochs.Alternative{ours}, epochs.Alternatives...) {
		fmt.Fprintf(&b, "| %s | %s |\n", rowOf(a), strings.Join(all[a], " | "))
	}
	b.WriteString(tableEnd)
	b.Write(behind)
	if err := os.WriteFile(forkChoiceDoc, b.Bytes(), 0o644); err != nil { //nolint:gosec // a document
		t.Fatal(err)
	}
}
