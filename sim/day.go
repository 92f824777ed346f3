package sim

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// KindDay are worlds of one group that is cut into three sides for a day, without other
// faults: on each side an admin lets somebody in and removes somebody, and everybody writes
// every six hours. Their size is that of the group, so that they show what grows with it.
const KindDay = "day"

// generateDay draws such a world, of 12 devices if the spec does not say how many.
func generateDay(spec Spec) (string, error) {
	n := cmp.Or(spec.Nodes, 12)
	if n < 9 || n > 1000 || spec.Groups > 1 || spec.Duration != 0 || spec.Faults > FaultsSome {
		return "", fmt.Errorf("%w: a world of kind day has from 9 to 1000 nodes and one group, lasts 30h, and has no other faults than its partition", ErrScenario)
	}
	return dayText(n, spec.Seed), nil
}

// dayText is the text of a day with n devices.
func dayText(n int, seed uint64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %d devices, cut into three for a day\nseed %d\nnodes n1..n%d x1..x3\ngroup tea founder=n1\n", n, seed, n-3)
	fmt.Fprintf(&b, "sync every=5m\nrun 30h\nexpect forks >= 1\nexpect removals = 3\nexpect crashes = 0\n")
	all := numbered("n", 1, n-3)
	chunks(&b, "0s", "join", all[1:])
	b.WriteString("20m role n1 n2 admin\n20m role n1 n3 admin\n")
	chunks(&b, "30m", "send", all)
	sides := make([][]string, 3)
	for i, name := range all {
		sides[i%3] = append(sides[i%3], name)
	}
	var text []string
	for i := range sides {
		text = append(text, strings.Join(append(slices.Clone(sides[i]), fmt.Sprint("x", i+1)), " "))
	}
	fmt.Fprintf(&b, "1h partition %s\n", strings.Join(text, " | "))
	for i, s := range sides {
		fmt.Fprintf(&b, "2h join x%d\n", i+1)
		fmt.Fprintf(&b, "3h remove n%d %s\n", i+1, s[len(s)-1])
	}
	var stay []string
	for i, s := range sides {
		stay = append(stay, append(s[:len(s)-1], fmt.Sprint("x", i+1))...)
	}
	for _, at := range []string{"4h", "10h", "16h", "22h"} {
		chunks(&b, at, "send", stay)
	}
	b.WriteString("25h heal\n")
	chunks(&b, "26h", "send", stay)
	return b.String()
}

// chunks writes a verb for many nodes: 50 in a line.
func chunks(b *strings.Builder, at, verb string, nodes []string) {
	for c := range slices.Chunk(nodes, 50) {
		fmt.Fprintf(b, "%s %s %s\n", at, verb, strings.Join(c, " "))
	}
}

func numbered(stem string, from, to int) (out []string) {
	for i := from; i <= to; i++ {
		out = append(out, fmt.Sprint(stem, i))
	}
	return out
}
