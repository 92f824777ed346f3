//go:build e2e && linux

package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/pandanode/pandanode/internal/freeport"
	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/config"
)

// cluster holds real nodes on 127.0.0.1, each a process, driven through their APIs.
type cluster struct {
	*testing.T
	ctx   context.Context //nolint:containedctx // of one test
	procs []*process
	api   []*api.Client
	sent  int // runs of spread
}

// newCluster starts n nodes that know the first.
func newCluster(t *testing.T, n int, limit time.Duration) *cluster {
	t.Helper()
	binary, err := exec.LookPath("pandanode")
	if err != nil {
		t.Fatal(err)
	}
	return newClusterOf(t, binary, n, limit)
}

// newClusterOf is newCluster of a program.
func newClusterOf(t *testing.T, binary string, n int, limit time.Duration) *cluster {
	t.Helper()
	runtime.LockOSThread() // processes die with the thread that started them
	t.Cleanup(runtime.UnlockOSThread)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	c := &cluster{T: t, ctx: ctx, api: make([]*api.Client, n)}
	dir := shortDir(t)
	ports, err := freeport.Draw(ctx, "127.0.0.1", n)
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		p := &process{name: fmt.Sprint("n", i), home: filepath.Join(dir, fmt.Sprint(i)), binary: binary}
		p.listen = fmt.Sprintf("/ip4/127.0.0.1/udp/%d/quic-v1", ports[i])
		if i > 0 {
			p.seeds = c.procs[0].addr
		}
		c.procs = append(c.procs, p)
		if err := os.Mkdir(p.home, 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := p.cli(ctx, "", "init", "--name", p.name, "--key-file", p.home+".key", "--listen", p.listen, "--mdns=false"); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.kill() })
		c.start(i)
	}
	return c
}

// start starts a node and returns the time until it was ready.
func (c *cluster) start(i int) time.Duration {
	c.Helper()
	p := c.procs[i]
	_ = os.Remove(filepath.Join(p.home, "socket")) // so that the old one is not found
	begun := time.Now()
	if err := p.start(); err != nil {
		c.Fatal(err)
	}
	for {
		socket, err := config.FindSocket(p.home)
		if err == nil {
			client := api.NewClient(socket)
			st, err := client.Status(c.ctx, api.StatusRequest{Wait: api.LevelReady})
			if err == nil {
				took := time.Since(begun)
				c.api[i], p.addr, p.user = client, st.Listen[0], st.User
				return took
			}
			client.Close()
		}
		select {
		case <-c.ctx.Done():
			c.Fatalf("%s does not come up: %v\n%s", p.name, err, p.logTail())
		case <-p.done:
			c.Fatalf("%s ended:\n%s", p.name, p.logTail())
		case <-time.After(2 * time.Millisecond): // a process that starts tells nobody
		}
	}
}

// group founds one on node 0 and has the others join.
func (c *cluster) group(name string, members int) string {
	c.Helper()
	g, err := c.api[0].CreateGroup(c.ctx, api.CreateGroupRequest{Name: name, Policy: api.PolicyOpen})
	if err != nil {
		c.Fatal(err)
	}
	for i := 1; i < members; i++ {
		c.join(i, g.ID)
	}
	return g.ID
}

func (c *cluster) join(i int, group string) {
	c.Helper()
	if err := c.api[i].Join(c.ctx, api.JoinRequest{Group: group, Until: api.StageSynced}, func(api.JoinUpdate) error { return nil }); err != nil {
		c.Fatalf("%s does not join: %v\n%s", c.procs[i].name, err, c.procs[i].logTail())
	}
}

// batches sends n short messages, as many at once as the node takes.
func (c *cluster) batches(i int, group string, n int) time.Duration {
	c.Helper()
	begun := time.Now()
	for sent := 0; sent < n; {
		texts := make([]string, min(256, n-sent))
		for k := range texts {
			texts[k] = fmt.Sprintf("message %d of %d, as long as people write", sent+k, n)
		}
		if _, err := c.api[i].Send(c.ctx, api.SendRequest{Group: group, Texts: texts}); err != nil {
			c.Fatal(err)
		}
		sent += len(texts)
	}
	return time.Since(begun)
}

// tail waits until a node has shown n messages, and calls each for every one.
func (c *cluster) tail(i int, group string, n int, each func(api.Message)) {
	c.tailSince(i, group, 0, n, each)
}

func (c *cluster) tailSince(i int, group string, since uint64, n int, each func(api.Message)) {
	seen := 0
	stop := errors.New("enough")
	err := c.api[i].Tail(c.ctx, api.TailRequest{Group: group, Since: since}, func(m api.Message) error {
		each(m)
		if seen++; seen == n {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) {
		c.Errorf("%s has %d of %d messages: %v", c.procs[i].name, seen, n, err)
	}
}

func percentile(all []time.Duration, p int) time.Duration {
	slices.Sort(all)
	return all[(len(all)-1)*p/100].Round(100 * time.Microsecond)
}

// cpu returns the seconds of processor time that node i has used.
func (c *cluster) cpu(i int) float64 {
	c.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.procs[i].cmd.Process.Pid))
	if err != nil {
		c.Fatal(err)
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:])) // proc(5): state is the first
	user, err1 := strconv.ParseFloat(f[11], 64)
	system, err2 := strconv.ParseFloat(f[12], 64)
	if err := errors.Join(err1, err2); err != nil {
		c.Fatal(err)
	}
	return (user + system) / 100 // ticks, on every Linux there is
}

// readers returns the nodes that must show a message of the first node: all other members,
// or the node itself if it is alone.
func readers(members int) (out []int) {
	for i := 1; i < members; i++ {
		out = append(out, i)
	}
	if out == nil {
		out = []int{0}
	}
	return out
}

// spread sends n messages round the groups and waits until every reader has shown them:
// as fast as the node takes them, or, one by one, each when the one before is everywhere.
// It gives how long each took to be everywhere, and how many were in a second.
func (c *cluster) spread(groups []string, members, n int, oneByOne bool) (all []time.Duration, rate float64) {
	c.Helper()
	var mu sync.Mutex
	begun := make(map[string]time.Time) // by text
	missing := make(map[string]int)
	everywhere := make(chan struct{}, n)
	to := readers(members)
	var reading sync.WaitGroup
	per := n / len(groups)
	c.sent++
	for _, g := range groups {
		for _, i := range to {
			since := uint64(0)
			if one, err := c.api[i].Group(c.ctx, api.GroupRequest{Group: g}); err == nil {
				since = one.Cursor
			}
			reading.Go(func() {
				c.tailSince(i, g, since, per, func(m api.Message) {
					mu.Lock()
					defer mu.Unlock()
					if missing[m.Text]--; missing[m.Text] == 0 {
						all = append(all, time.Since(begun[m.Text]))
						everywhere <- struct{}{}
					}
				})
			})
		}
	}
	start := time.Now()
	for k := range per * len(groups) {
		g := groups[k%len(groups)]
		text := fmt.Sprintf("%d.%d in %s", c.sent, k, g)
		mu.Lock()
		begun[text], missing[text] = time.Now(), len(to)
		mu.Unlock()
		if _, err := c.api[0].Send(c.ctx, api.SendRequest{Group: g, Text: text}); err != nil {
			c.Fatal(err)
		}
		if oneByOne {
			select {
			case <-everywhere:
			case <-c.ctx.Done():
				c.Fatal("a message did not arrive")
			}
		}
	}
	reading.Wait()
	if len(all) != per*len(groups) {
		c.Fatalf("%d of %d messages arrived", len(all), per*len(groups))
	}
	return all, float64(len(all)) / time.Since(start).Seconds()
}

// floor returns how many messages a second this machine could carry to n readers if only
// signatures took time: the sender makes two, and each reader verifies two.
func floor(readers int) float64 {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	text := make([]byte, 300)
	const n = 400
	begun := time.Now()
	for range n {
		ed25519.Sign(key, text)
	}
	sign := time.Since(begun) / n
	signature := ed25519.Sign(key, text)
	begun = time.Now()
	for range n {
		ed25519.Verify(key.Public().(ed25519.PublicKey), text, signature)
	}
	verify := time.Since(begun) / n
	return float64(runtime.NumCPU()) / (2*sign + time.Duration(readers)*2*verify).Seconds()
}

// bars are the bounds that the figures have to reach.
type bar struct {
	what, got, want string
	missed          bool
}

// TestBenchNode measures real nodes on one machine and prints one table; it fails
// where a bar is missed. `make bench-node` runs it.
func TestBenchNode(t *testing.T) {
	var rows []bar
	add := func(what, want string, missed bool, format string, args ...any) {
		rows = append(rows, bar{what, fmt.Sprintf(format, args...), want, missed})
		t.Logf("%s: %s", what, rows[len(rows)-1].got)
	}
	t.Run("latency", func(t *testing.T) {
		for _, v := range []struct{ members, groups, fast, slow int }{{1, 1, 500, 200}, {2, 1, 500, 200}, {10, 1, 300, 100}, {50, 1, 100, 30}, {2, 100, 500, 200}} {
			c := newCluster(t, v.members, 10*time.Minute)
			var groups []string
			for k := range v.groups {
				groups = append(groups, c.group(fmt.Sprint("load ", k), v.members))
			}
			_, rate := c.spread(groups, v.members, v.fast, false)
			all, _ := c.spread(groups, v.members, v.slow, true)
			add(fmt.Sprintf("send to tail of all, %d members, %d groups", v.members, v.groups), "", false,
				"%.0f/s; one by one p50 %v, p99 %v; the signatures alone %.0f/s", rate, percentile(all, 50), percentile(all, 99), floor(len(readers(v.members))))
			for _, p := range c.procs {
				_ = p.kill()
			}
		}
	})
	t.Run("batches", func(t *testing.T) {
		c := newCluster(t, 2, 5*time.Minute)
		g := c.group("batches", 2)
		const n = 10_000
		begun := time.Now()
		was := c.cpu(0)
		took := c.batches(0, g, n)
		used := c.cpu(0) - was
		c.tail(1, g, n, func(api.Message) {})
		arrived := time.Since(begun)
		rate := n / took.Seconds()
		add("durable at the sender, 256 at once, one reader online", ">= 5000/s", rate < 5000, "%.0f/s (%.0f per second of its CPU)", rate, n/used)
		add("of those, shown by the reader", "", false, "%.0f/s", n/arrived.Seconds())

		c.procs[1].mustStop(t)
		was = c.cpu(0)
		took = c.batches(0, g, n)
		used = c.cpu(0) - was
		rate = n / took.Seconds()
		add("durable at the sender, 256 at once, nobody online", ">= 5000/s", rate < 5000, "%.0f/s (%.0f per second of its CPU)", rate, n/used)
		begun = time.Now()
		c.start(1)
		c.tail(1, g, 2*n, func(api.Message) {})
		took = time.Since(begun)
		add("start and catch up with 10,000 messages", "<= 10 s", took > 10*time.Second, "%.1f s", took.Seconds())
	})
	t.Run("start", func(t *testing.T) {
		c := newCluster(t, 1, 10*time.Minute)
		g := c.group("long", 1)
		const n = 100_000
		took := c.batches(0, g, n)
		add("durable at a group of one, 256 at once", "", false, "%.0f/s", n/took.Seconds())
		c.procs[0].mustStop(t)
		restart := func(how string) {
			begun := time.Now()
			ready := c.start(0)
			if _, err := c.api[0].Group(c.ctx, api.GroupRequest{Group: g}); err != nil { // waits until it is loaded
				t.Fatal(err)
			}
			loaded := time.Since(begun)
			add("start to ready, 100,000 messages stored, "+how, "<= 1 s", ready > time.Second, "%.2f s", ready.Seconds())
			add("start to their group loaded, "+how, "<= 1 s", loaded > time.Second, "%.2f s", loaded.Seconds())
		}
		restart("stopped before")
		if err := c.procs[0].kill(); err != nil {
			t.Fatal(err)
		}
		restart("killed before")
		begun := time.Now()
		if _, err := c.api[0].Send(c.ctx, api.SendRequest{Group: g, Text: "one more"}); err != nil {
			t.Fatal(err)
		}
		add("first message after that", "", false, "%.2f s", time.Since(begun).Seconds())
	})
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHAT\tMEASURED\tBAR\t")
	for _, r := range rows {
		verdict := ""
		if r.missed {
			verdict = "MISSED"
			t.Errorf("%s: %s, the bar is %s", r.what, r.got, r.want)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", r.what, r.got, r.want, verdict)
	}
	_ = w.Flush()
	t.Logf("%d cores\n%s", runtime.NumCPU(), out.String())
	if len(rows) < 14 {
		t.Errorf("%d figures", len(rows))
	}
}

func (p *process) mustStop(t *testing.T) {
	t.Helper()
	if err := p.stop(30 * time.Second); err != nil {
		t.Fatal(err)
	}
}
