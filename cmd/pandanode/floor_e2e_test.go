//go:build e2e && linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// TestBenchFloor measures groups of real nodes beside plain libp2p hosts with GossipSub, in
// one run: one by one, in a closed loop with eight messages in flight, and in an open loop.
// `make bench-floor` runs it. PANDANODE_MEMBERS is the sizes of the groups, 2,10,50 if it is
// not set, and PANDANODE_MESSAGES how many messages are behind each figure, 400 if it is not.
func TestBenchFloor(t *testing.T) {
	floor, err := exec.LookPath("floor")
	if err != nil {
		t.Fatal(err)
	}
	sizes, messages := "2,10,50", 400
	if s := os.Getenv("PANDANODE_MEMBERS"); s != "" {
		sizes = s
	}
	if s := os.Getenv("PANDANODE_MESSAGES"); s != "" {
		if messages, err = strconv.Atoi(s); err != nil || messages < 1 {
			t.Fatalf("PANDANODE_MESSAGES=%q", s)
		}
	}
	for size := range strings.SplitSeq(sizes, ",") {
		members, err := strconv.Atoi(size)
		if err != nil || members < 2 {
			t.Fatalf("PANDANODE_MEMBERS=%q", sizes)
		}
		n := messages
		if members > 20 {
			n = max(1, n/4)
		}
		rate := max(1, 60/members)
		out, err := exec.CommandContext(t.Context(), floor, "-members", size, "-messages", strconv.Itoa(n), "-rate", strconv.Itoa(rate)).CombinedOutput() //nolint:gosec // the floor
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		t.Logf("\n%snode:\n%s", out, besideFloor(t, members, n, rate))
	}
}

// besideFloor gives a node's rows of the floor's table.
func besideFloor(t *testing.T, members, n, rate int) string {
	t.Helper()
	c := newCluster(t, members, 20*time.Minute)
	defer func() {
		for _, p := range c.procs {
			_ = p.kill()
		}
	}()
	g := c.group("floor", members)
	used := func() (sum float64) {
		for i := range c.procs {
			sum += c.cpu(i)
		}
		return sum
	}
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "LOOP\tRATE\tp50\tp99\tSLOWEST\tQUEUE p99\tCPU A MESSAGE\t")
	row := func(loop string, began time.Time, was float64, delivered, queued []time.Duration) {
		waited := "-"
		if len(queued) > 0 {
			waited = percentile(queued, 99).String()
		}
		fmt.Fprintf(w, "%s\t%.0f/s\t%v\t%v\t%v\t%s\t%.2fms\t\n", loop, float64(n)/time.Since(began).Seconds(), percentile(delivered, 50), percentile(delivered, 99),
			percentile(delivered, 100), waited, (used()-was)*1000/float64(n))
	}
	began, was := time.Now(), used()
	all, _ := c.spread([]string{g}, members, n, true)
	row("one by one", began, was, all, nil)
	began, was = time.Now(), used()
	b := c.burst(g, members, n, 0)
	row("8 in flight", began, was, b.delivered, nil)
	began, was = time.Now(), used()
	b = c.burst(g, members, n, rate)
	row(fmt.Sprintf("%d a second", rate), began, was, b.delivered, b.queued)
	_ = w.Flush()
	return out.String()
}
