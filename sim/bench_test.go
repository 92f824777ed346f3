package sim

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// oneGroup is a day of n devices, with n as its seed.
func oneGroup(n int) string { return dayText(n, uint64(n)) } //nolint:gosec // a count

// manyGroups is groups of five among a hundred devices that are cut into three
// sides for a day. Each group is cut; one side lets in a sixth, another removes
// somebody, and everybody writes every six hours.
func manyGroups(groups int) string {
	const nodes = 100
	var b strings.Builder
	fmt.Fprintf(&b, "# %d groups of 5, cut into three for a day\nseed %d\nnodes n1..n%d\n", groups, groups, nodes)
	sides := make([][]string, 3)
	for i := range nodes {
		sides[i%3] = append(sides[i%3], fmt.Sprint("n", i+1))
	}
	// Neighbours are on different sides: members are m, m+1 … m+4, the sixth m+6.
	member := func(g, i int) string { return fmt.Sprint("n", (g*7+i)%nodes+1) }
	for g := range groups {
		fmt.Fprintf(&b, "group g%d founder=%s\n", g+1, member(g, 0))
	}
	fmt.Fprintf(&b, "sync every=5m\nrun 30h\nexpect forks >= %d\nexpect removals = %d\n", groups/2, groups)
	fmt.Fprintf(&b, "1h partition %s | %s | %s\n25h heal\n", strings.Join(sides[0], " "), strings.Join(sides[1], " "), strings.Join(sides[2], " "))
	for g := range groups {
		do := func(at, verb string, who ...int) {
			var names []string
			for _, i := range who {
				names = append(names, member(g, i))
			}
			fmt.Fprintf(&b, "%s in=g%d %s %s\n", at, g+1, verb, strings.Join(names, " "))
		}
		do("0s", "join", 1, 2, 3, 4)
		do("30m", "send", 0, 1, 2, 3, 4)
		do("2h", "join", 7)      // on the side of 1 and 4, but for the groups at the seam
		do("3h", "remove", 0, 3) // and on that of 0
		for _, at := range []string{"4h", "10h", "16h", "22h", "26h"} {
			do(at, "send", 0, 1, 2, 4)
		}
	}
	return b.String()
}

// bench is a line of the table.
type bench struct {
	name    string
	text    string
	devices int // seats
}

func benches(full bool) []bench {
	size := func(n int) bench {
		return bench{fmt.Sprintf("1 group of %d", n), oneGroup(n), n}
	}
	many := func(n int) bench {
		return bench{fmt.Sprintf("%d groups of 5", n), manyGroups(n), 5 * n}
	}
	if full {
		return []bench{size(10), size(30), many(1000), size(100)} // the longest last
	}
	return []bench{size(10), many(20)}
}

// TestBench plays groups through a partition of a virtual day and prints what that
// costs; PANDANODE_SIM_BENCH=full for the sizes of docs/SCENARIOS.md. It fails if
// anything is violated, or anything lost.
func TestBench(t *testing.T) {
	full := os.Getenv("PANDANODE_SIM_BENCH") == "full"
	if only := os.Getenv("PANDANODE_SIM_BENCH"); only != "" && !full {
		t.Fatalf("PANDANODE_SIM_BENCH=%q: it is full, or not set", only)
	}
	var table strings.Builder
	table.WriteString("| | wall | CPU | peak heap | gossip a device | syncs a device | log a device | disk a device | sent | owed | held | twice | lost | violated |\n")
	table.WriteString("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	var rows []row
	for _, b := range benches(full) {
		sc, err := ParseBytes("bench-"+strings.ReplaceAll(b.name, " ", "-"), []byte(b.text))
		if err != nil {
			t.Fatal(err)
		}
		var r *Report
		c := meter(func() { r, err = Run(t.Context(), sc, Options{Progress: progress(t)}) })
		if err != nil {
			t.Fatal(err)
		}
		x := newRow(r, c)
		rows = append(rows, x)
		fmt.Fprintf(&table, "| %s | %v\n", b.name, x)
		if full {
			t.Log("\n" + table.String()) // as far as it goes
		}
		if !r.OK() || r.Records.Lost+r.Records.Twice > 0 || r.Records.Owed == 0 || r.Records.Owed != r.Records.Held || len(r.Refused) > 0 {
			t.Errorf("%s, seed %d: records %+v, violates %v", b.name, sc.Seed, r.Records, r.failures())
			for i, v := range r.Violations {
				if i < 20 {
					t.Log(v)
				}
			}
			t.Log(strings.Join(slices.Concat(r.Unexpected, r.Refused), "\n"))
		}
		if len(r.Devices) < b.devices {
			t.Errorf("%s: %d devices", b.name, len(r.Devices))
		}
	}
	if full {
		fmt.Fprintf(&table, "| growth from 10 to 100 devices | %s\n", rows[3].over(rows[0]))
	}
	t.Log("\n" + table.String())
}

func progress(t *testing.T) func(string, ...any) {
	if os.Getenv("PANDANODE_SIM_BENCH") == "" {
		return nil
	}
	return func(format string, args ...any) { t.Logf(format, args...) }
}

// row is the figures of a line; bytes are means over devices.
type row struct {
	Cost
	gossip, sync, log, disk float64
	records                 Records
	violated                []string
}

func newRow(r *Report, c Cost) row {
	x := row{Cost: c, records: r.Records, violated: r.failures()}
	n := float64(len(r.Devices))
	for _, d := range r.Devices {
		x.gossip += float64(d.Gossip) / n
		x.sync += float64(d.Sync) / n
		x.log += float64(d.LogBytes) / n
		x.disk += float64(d.DiskBytes) / n
	}
	return x
}

func (x row) String() string {
	return fmt.Sprintf("%s | %s | %s | %s | %s | %s | %s | %d | %d | %d | %d | %d | %s |",
		x.Wall.Round(100*time.Millisecond), x.CPU.Round(100*time.Millisecond), size(float64(x.Heap)), size(x.gossip), size(x.sync), size(x.log), size(x.disk),
		x.records.Sent, x.records.Owed, x.records.Held, x.records.Twice, x.records.Lost, cmp.Or(strings.Join(x.violated, ", "), "nothing"))
}

// over tells how many times as much one line is as another.
func (x row) over(o row) string {
	var b strings.Builder
	for _, p := range [][2]float64{
		{float64(x.Wall), float64(o.Wall)},
		{float64(x.CPU), float64(o.CPU)},
		{float64(x.Heap), float64(o.Heap)},
		{x.gossip, o.gossip},
		{x.sync, o.sync},
		{x.log, o.log},
		{x.disk, o.disk},
		{float64(x.records.Sent), float64(o.records.Sent)},
		{float64(x.records.Owed), float64(o.records.Owed)},
	} {
		fmt.Fprintf(&b, "× %.1f | ", p[0]/p[1])
	}
	return b.String() + "| | | |"
}
