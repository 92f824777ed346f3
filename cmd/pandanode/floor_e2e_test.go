//go:build e2e && linux

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/pandanode/pandanode/internal/freeport"
	"github.com/pandanode/pandanode/node/api"
)

// TestBenchFloor measures groups of real nodes beside plain libp2p hosts with GossipSub, in
// one run, with the same mesh, heartbeat and size of a message: one by one, in a closed loop
// (eight in flight, four in groups of more than 20), and in an open loop. A message is done
// when all others show it. `make bench-floor` runs it.
//
// PANDANODE_MEMBERS is the sizes of the groups, 2,10,50 if it is not set; PANDANODE_MESSAGES
// how many messages are behind a figure, 400 if it is not; PANDANODE_ROUNDS how often all is
// measured in turns; PANDANODE_BEFORE a program that is measured beside this one.
func TestBenchFloor(t *testing.T) {
	floor, err1 := exec.LookPath("floor")
	now, err2 := exec.LookPath("pandanode")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	number := func(name string, value int) int {
		if s := os.Getenv(name); s != "" {
			var err error
			if value, err = strconv.Atoi(s); err != nil || value < 1 {
				t.Fatalf("%s=%q", name, s)
			}
		}
		return value
	}
	sizes := "2,10,50"
	if s := os.Getenv("PANDANODE_MEMBERS"); s != "" {
		sizes = s
	}
	messages, rounds := number("PANDANODE_MESSAGES", 400), number("PANDANODE_ROUNDS", 1)
	programs := [][2]string{{"node", now}}
	if before := os.Getenv("PANDANODE_BEFORE"); before != "" {
		programs = append(programs, [2]string{"before", before})
	}
	for text := range strings.SplitSeq(sizes, ",") {
		members, err := strconv.Atoi(text)
		if err != nil || members < 2 {
			t.Fatalf("PANDANODE_MEMBERS=%q", sizes)
		}
		o := loops{members: members, messages: messages, flight: 8, rate: max(1, 60/members)}
		if members > 20 {
			o.messages, o.flight = max(1, messages/4), 4
		}
		var rows []loopRow
		for round := range rounds {
			for _, p := range programs {
				more, size := besideFloor(t, p[0], p[1], o)
				o.size = max(o.size, size)
				rows = append(rows, more...)
			}
			slices.Reverse(programs) // each is first as often as the other
			modes := []string{"true", "false"}
			for _, fsync := range modes[:max(1, len(modes)-round)] { // without is said once
				run := exec.CommandContext(t.Context(), floor, "-json", "-fsync", fsync, "-members", text, "-messages", strconv.Itoa(o.messages), //nolint:gosec // the floor
					"-flight", strconv.Itoa(o.flight), "-rate", strconv.Itoa(o.rate), "-size", strconv.Itoa(o.size))
				var said strings.Builder
				run.Stderr = &said
				out, err := run.Output()
				if err != nil {
					t.Logf("\n%s", loopTable(rows))
					t.Fatalf("%v: %s", err, said.String())
				}
				for d := json.NewDecoder(strings.NewReader(string(out))); d.More(); {
					var r loopRow
					if err := d.Decode(&r); err != nil {
						t.Fatal(err)
					}
					r.who = "floor"
					if r.Fsync {
						r.who = floorSyncs
					}
					rows = append(rows, r)
				}
			}
		}
		t.Logf("%s; %d messages, the medians of %d rounds\n%s", rows[len(rows)-1].Of, o.messages, rounds, loopTable(rows))
	}
}

// loops are what is measured of a group.
type loops struct{ members, messages, flight, rate, size int }

// floorSyncs is the floor that a node is compared with.
const floorSyncs = "floor, synced"

// loopRow is one loop of one program, as the floor prints it: seconds, and bytes on loopback.
type loopRow struct {
	who   string
	Of    string // of the floor: what is measured
	Fsync bool
	Loop  string
	Rate  float64
	P50   float64
	P99   float64
	P100  float64
	Queue float64 // p99 of the time until the sender had a message
	CPU   float64 // of a message, of all processes
	Wire  int64   // of a message
	slow  int     // messages that took more than a second
}

// loopTable prints the medians of the rounds, and their ratio to the floor that syncs.
func loopTable(rows []loopRow) string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "LOOP\t\tRATE\tp50\tp99\tSLOWEST\tOVER 1 s\tQUEUE p99\tCPU A MESSAGE\tBYTES\tOF THE FLOOR: RATE\tp99\tCPU\tBYTES\t")
	var names []string
	all := make(map[string][]loopRow)
	for _, r := range rows {
		name := r.Loop + "\t" + r.who
		if all[name] == nil {
			names = append(names, name)
		}
		all[name] = append(all[name], r)
	}
	slices.SortStableFunc(names, func(a, b string) int {
		loop := func(name string) int {
			return slices.IndexFunc(names, func(n string) bool { return strings.Split(n, "\t")[0] == strings.Split(name, "\t")[0] })
		}
		return loop(a) - loop(b)
	})
	median := func(rows []loopRow, of func(loopRow) float64) float64 {
		var v []float64
		for _, r := range rows {
			v = append(v, of(r))
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	figures := []func(loopRow) float64{
		func(r loopRow) float64 { return r.Rate }, func(r loopRow) float64 { return r.P99 },
		func(r loopRow) float64 { return r.CPU }, func(r loopRow) float64 { return float64(r.Wire) },
	}
	for _, name := range names {
		mine := all[name]
		worst, slow := 0.0, 0
		for _, r := range mine {
			worst, slow = max(worst, r.P100), slow+r.slow
		}
		fmt.Fprintf(w, "%s\t%.0f/s\t%.1fms\t%.1fms\t%.0fms\t%d\t%.1fms\t%.2fms\t%.0f\t", name, median(mine, figures[0]), 1e3*median(mine, func(r loopRow) float64 { return r.P50 }),
			1e3*median(mine, figures[1]), 1e3*worst, slow, 1e3*median(mine, func(r loopRow) float64 { return r.Queue }), 1e3*median(mine, figures[2]), median(mine, figures[3]))
		under := all[strings.Split(name, "\t")[0]+"\t"+floorSyncs]
		for _, of := range figures {
			// Of each round by itself: the machine is not the same in all of them.
			var v []float64
			for i := range min(len(mine), len(under)) {
				v = append(v, of(mine[i])/of(under[i]))
			}
			if slices.Sort(v); len(v) > 0 {
				fmt.Fprintf(w, "%.2f\t", v[len(v)/2])
			}
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush()
	return out.String()
}

// besideFloor gives a node's rows of the floor's table, and how long its envelopes are.
func besideFloor(t *testing.T, who, program string, o loops) (rows []loopRow, size int) {
	t.Helper()
	c := newClusterOf(t, program, o.members, 20*time.Minute)
	defer func() {
		for _, p := range c.procs {
			_ = p.kill()
		}
	}()
	ports, err := freeport.Draw(c.ctx, "127.0.0.1", 1)
	if err != nil {
		t.Fatal(err)
	}
	metrics := fmt.Sprintf("127.0.0.1:%d", ports[0])
	if _, err := c.procs[0].cli(c.ctx, "", "config", "set", "metrics.address", metrics); err != nil {
		t.Fatal(err)
	}
	c.procs[0].mustStop(t)
	c.start(0)
	g := c.group("floor", o.members)
	published := func(name string) float64 {
		request, err := http.NewRequestWithContext(c.ctx, http.MethodGet, "http://"+metrics+"/metrics", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
			if value, is := strings.CutPrefix(lines.Text(), name+" "); is {
				v, err := strconv.ParseFloat(value, 64)
				if err != nil {
					t.Fatal(err)
				}
				return v
			}
		}
		return 0 // an earlier program may not count it
	}
	c.loop(g, o, "warm", 32, 8, 0)
	const count, bytes = "pandanode_envelopes_published_total", "pandanode_envelopes_published_bytes_total"
	n, b := published(count), published(bytes)
	for _, l := range []struct {
		name      string
		n, flight int
		every     time.Duration
	}{
		{"one by one", min(o.messages, 200), 1, 0},
		{fmt.Sprintf("%d in flight", o.flight), o.messages, o.flight, 0},
		{fmt.Sprintf("%d a second", o.rate), min(o.messages, 10*o.rate), o.messages, time.Second / time.Duration(o.rate)},
	} {
		r := c.loop(g, o, l.name, l.n, l.flight, l.every)
		r.who = who
		rows = append(rows, r)
	}
	return rows, int((published(bytes) - b) / max(1, published(count)-n))
}

// wire is how many bytes this network namespace has carried on loopback.
func (c *cluster) wire() int64 {
	raw, err := os.ReadFile("/proc/self/net/dev")
	if err != nil {
		c.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), " lo:")
	n, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		c.Fatal(err)
	}
	return n
}

// loop sends n messages, at most so many in flight and not before their time: every says how
// far apart that is. A message is no longer in flight when all other members show it.
func (c *cluster) loop(group string, o loops, name string, n, flight int, every time.Duration) loopRow {
	c.Helper()
	type flying struct {
		due  time.Time
		left int
	}
	var mu sync.Mutex
	var took, queued []time.Duration
	air := make(map[string]*flying) // by text
	places := make(chan struct{}, flight)
	var reading, sending sync.WaitGroup
	for i := 1; i < o.members; i++ {
		one, err := c.api[i].Group(c.ctx, api.GroupRequest{Group: group})
		if err != nil {
			c.Fatal(err)
		}
		reading.Go(func() {
			c.tailSince(i, group, one.Cursor, n, func(m api.Message) {
				mu.Lock()
				defer mu.Unlock()
				f := air[m.Text]
				if f == nil {
					c.Errorf("%s showed %q", c.procs[i].name, m.Text)
					return
				}
				if f.left--; f.left == 0 {
					took = append(took, time.Since(f.due))
					<-places
				}
			})
		})
	}
	used := func() (sum float64) {
		for i := range c.procs {
			sum += c.cpu(i)
		}
		return sum
	}
	c.sent++
	began, was, carried := time.Now(), used(), c.wire()
	for k := range n {
		select {
		case places <- struct{}{}:
		case <-c.ctx.Done():
			c.Fatal("a message did not arrive")
		}
		due := time.Now()
		if every > 0 {
			due = began.Add(time.Duration(k) * every)
			select {
			case <-time.After(time.Until(due)):
			case <-c.ctx.Done():
			}
		}
		text := fmt.Sprintf("%d.%d, as long as people write", c.sent, k)
		mu.Lock()
		air[text] = &flying{due, o.members - 1}
		mu.Unlock()
		sending.Go(func() {
			if _, err := c.api[0].Send(c.ctx, api.SendRequest{Group: group, Text: text}); err != nil {
				c.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			queued = append(queued, time.Since(due))
		})
	}
	sending.Wait()
	reading.Wait()
	if len(took) != n {
		c.Fatalf("%d of %d messages were shown by all", len(took), n)
	}
	r := loopRow{
		Loop: name, Rate: float64(n) / time.Since(began).Seconds(), CPU: (used() - was) / float64(n), Wire: (c.wire() - carried) / int64(n),
		P50: percentile(took, 50).Seconds(), P99: percentile(took, 99).Seconds(), P100: percentile(took, 100).Seconds(), Queue: percentile(queued, 99).Seconds(),
	}
	for _, d := range took {
		if d > time.Second {
			r.slow++
		}
	}
	return r
}
