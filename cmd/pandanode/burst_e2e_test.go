//go:build e2e && linux

package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

// TestBenchBurst measures bursts between real nodes: a closed loop that keeps eight
// messages in flight, and an open loop that sends at a fixed rate, with the time in the
// sender's queue apart. It fails if a delivery takes more than a second. `make bench-burst`
// runs it; with PANDANODE_BEFORE it runs another program beside this one, in the same run,
// without a bar. PANDANODE_DELIVERIES is the number of messages behind each figure, 10,000
// if it is not set.
func TestBenchBurst(t *testing.T) {
	now, err := exec.LookPath("pandanode")
	if err != nil {
		t.Fatal(err)
	}
	deliveries := 10_000
	if s := os.Getenv("PANDANODE_DELIVERIES"); s != "" {
		if deliveries, err = strconv.Atoi(s); err != nil || deliveries < 100 {
			t.Fatalf("PANDANODE_DELIVERIES=%q", s)
		}
	}
	programs := [][2]string{{"now", now}}
	if before := os.Getenv("PANDANODE_BEFORE"); before != "" {
		programs = append([][2]string{{"before", before}}, programs...)
	}
	var out strings.Builder
	table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "PROGRAM\tMEMBERS\tLOOP\tDELIVERIES\tp50\tp99\tSLOWEST\tOVER 1 s\tQUEUE p50\tQUEUE p99\tHELD p99\tNOT HELD\t")
	for _, v := range []struct{ members, rate int }{{2, 100}, {10, 30}} {
		for _, p := range programs {
			c := newClusterOf(t, p[1], v.members, 20*time.Minute)
			g := c.group("burst", v.members)
			n := deliveries / (v.members - 1)
			for _, rate := range []int{0, v.rate} {
				b := c.burst(g, v.members, n, rate)
				loop := "8 in flight"
				if rate > 0 {
					loop = fmt.Sprintf("%d a second", rate)
				}
				slow := 0
				for _, d := range b.delivered {
					if d > time.Second {
						slow++
					}
				}
				if slow > 0 && p[0] == "now" {
					t.Errorf("%d members, %s: %d of %d deliveries took more than a second", v.members, loop, slow, len(b.delivered))
				}
				if b.unheld > 0 && p[0] == "now" {
					t.Errorf("%d members, %s: %d of %d messages were held by nobody after ten seconds", v.members, loop, b.unheld, len(b.held))
				}
				fmt.Fprintf(table, "%s\t%d\t%s\t%d\t%v\t%v\t%v\t%d\t%v\t%v\t%v\t%d\t\n", p[0], v.members, loop, len(b.delivered), percentile(b.delivered, 50),
					percentile(b.delivered, 99), percentile(b.delivered, 100), slow, percentile(b.queued, 50), percentile(b.queued, 99), percentile(b.held, 99), b.unheld)
			}
			for _, o := range c.procs {
				_ = o.kill()
			}
		}
	}
	_ = table.Flush()
	t.Log("\n" + out.String())
}

// bursts holds the times of a burst, for each message: until it is durable at the sender,
// from then to each reader's screen, and from then to the first reader's receipt.
type bursts struct {
	delivered, queued, held []time.Duration
	unheld                  int // held by nobody after ten seconds
}

// burst sends n messages: each as soon as fewer than eight are under way, or, with a rate,
// that many a second in any case.
func (c *cluster) burst(group string, members, n, rate int) (b bursts) {
	c.Helper()
	var mu sync.Mutex
	accepted := make(map[string]time.Time) // by text
	shown := make(map[string][]time.Time)
	missing := make(map[string]chan struct{})
	settled := 0
	settle := func(text string) { // mu is held
		if at, ok := accepted[text]; ok && len(shown[text]) == members-1 {
			if settled++; !at.IsZero() {
				for _, s := range shown[text] {
					b.delivered = append(b.delivered, max(0, s.Sub(at)))
				}
			}
			close(missing[text])
			delete(shown, text)
		}
	}
	var reading sync.WaitGroup
	for i := 1; i < members; i++ {
		since := uint64(0)
		if one, err := c.api[i].Group(c.ctx, api.GroupRequest{Group: group}); err == nil {
			since = one.Cursor
		}
		reading.Go(func() {
			c.tailSince(i, group, since, n, func(m api.Message) {
				mu.Lock()
				defer mu.Unlock()
				shown[m.Text] = append(shown[m.Text], time.Now())
				settle(m.Text)
			})
		})
	}
	c.sent++
	send := func(k int, due time.Time) {
		text := fmt.Sprintf("%d.%d", c.sent, k)
		mu.Lock()
		done := make(chan struct{})
		missing[text] = done
		mu.Unlock()
		request := api.SendRequest{Group: group, Text: text}
		if k%100 == 99 { // now and then it waits for the first receipt too
			request.Wait, request.Timeout = api.DeliveryHeld, api.Duration(10*time.Second)
		}
		sent, err := c.api[0].Send(c.ctx, request)
		if err != nil {
			c.Error(err)
			return
		}
		at := time.Now()
		mu.Lock()
		if request.Wait != "" {
			b.held = append(b.held, at.Sub(due))
			if sent.State != api.DeliveryHeld {
				b.unheld++
			}
			at = time.Time{} // when it was durable is not known
		} else {
			b.queued = append(b.queued, at.Sub(due))
		}
		accepted[text] = at
		settle(text)
		mu.Unlock()
		if rate > 0 {
			return
		}
		select {
		case <-done:
		case <-c.ctx.Done():
			c.Error(errors.New("a message did not arrive"))
		}
	}
	type job struct {
		k   int
		due time.Time
	}
	jobs := make(chan job, n)
	var sending sync.WaitGroup
	for range 8 {
		sending.Go(func() {
			for j := range jobs {
				if j.due.IsZero() {
					j.due = time.Now()
				}
				send(j.k, j.due)
			}
		})
	}
	if rate == 0 {
		for k := range n {
			jobs <- job{k: k}
		}
	} else {
		tick := time.NewTicker(time.Second / time.Duration(rate))
		for k := range n {
			jobs <- job{k, <-tick.C}
		}
		tick.Stop()
	}
	close(jobs)
	sending.Wait()
	reading.Wait()
	if settled != n {
		c.Fatalf("%d of %d messages were shown by all", settled, n)
	}
	for _, all := range []*[]time.Duration{&b.queued, &b.held} {
		slices.SortFunc(*all, cmp.Compare)
	}
	return b
}
