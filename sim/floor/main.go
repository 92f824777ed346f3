//go:build linux

// Command floor measures what a group of plain libp2p hosts needs on this machine: the
// floor under the figures of real nodes. Each host is a process with GossipSub over QUIC on
// loopback, with the mesh, heartbeat and queues of a node and a connection to each other one,
// which signs (StrictSign) and encrypts nothing:
//
//	floor [-members N] [-size BYTES] [-messages N] [-flight N] [-rate N] [-fsync true|false|both] [-json]
//
// The first host sends: one by one, each message when the one before is everywhere; in a
// closed loop with so many in flight; and in an open loop at a rate for ten seconds. With
// fsync each host appends a message to a file and syncs that before it sends it or shows it,
// as a node does. A row has the rate; the time from when a message was due until all others
// showed it; of that, the time until the sender had it; the CPU time of all hosts and the
// bytes on loopback for each message, all that this network namespace carries included.
package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/admission"
)

const topicName = "floor"

// options are what the flags say.
type options struct {
	members, size, messages, flight, rate int
	fsync                                 string // true, false or both
	appendTo                              string // of a host: the file that it appends to; empty: none
	host, json                            bool   // this process is one; print rows as objects
}

func main() {
	var o options
	flag.IntVar(&o.members, "members", 10, "hosts")
	flag.IntVar(&o.size, "size", 705, "bytes of a message: an envelope of a short text has about so many")
	flag.IntVar(&o.messages, "messages", 500, "messages behind each figure")
	flag.IntVar(&o.flight, "flight", 8, "messages in flight in the closed loop")
	flag.IntVar(&o.rate, "rate", 30, "messages a second in the open loop")
	flag.StringVar(&o.fsync, "fsync", "both", "sync an append for each message: true, false or both")
	flag.StringVar(&o.appendTo, "append", "", "used by floor itself")
	flag.BoolVar(&o.json, "json", false, "print a row as a JSON object, times in seconds")
	flag.BoolVar(&o.host, "host", false, "used by floor itself")
	flag.Parse()
	run := measure
	if o.host {
		run = serve
	}
	if err := run(context.Background(), o); err != nil {
		fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

// serve is one host. It says its address, then "got N" for each message that came, and
// takes "dial ADDRESS" and "send N" as lines; "sent N" says that it was synced and sent.
func serve(ctx context.Context, o options) error {
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/udp/0/quic-v1"), libp2p.DisableMetrics(), libp2p.DisableRelay())
	if err != nil {
		return err
	}
	defer func() { _ = h.Close() }()
	ps, err := pubsub.NewGossipSub(ctx, h, append(admission.Gossip(), pubsub.WithMessageSignaturePolicy(pubsub.StrictSign))...)
	if err != nil {
		return err
	}
	keep := func([]byte) error { return nil }
	if o.appendTo != "" {
		f, err := os.OpenFile(o.appendTo, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		keep = func(b []byte) error {
			_, err := f.Write(b)
			return errors.Join(err, f.Sync())
		}
	}
	t, err := ps.Join(topicName)
	if err != nil {
		return err
	}
	sub, err := t.Subscribe(pubsub.WithBufferSize(4096))
	if err != nil {
		return err
	}
	go func() {
		for {
			m, err := sub.Next(ctx)
			if err != nil {
				return
			}
			if m.ReceivedFrom == h.ID() {
				continue
			}
			if err := keep(m.Data); err != nil {
				fmt.Fprintln(os.Stderr, "floor:", err)
				os.Exit(1)
			}
			fmt.Fprintln(os.Stdout, "got", binary.BigEndian.Uint64(m.Data))
		}
	}()
	fmt.Fprintf(os.Stdout, "at %s/p2p/%s\n", h.Addrs()[0], h.ID())
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		verb, word, _ := strings.Cut(lines.Text(), " ")
		switch verb {
		case "dial":
			to, err := peer.AddrInfoFromString(word)
			if err != nil {
				return err
			}
			if err := h.Connect(ctx, *to); err != nil {
				return err
			}
		case "send":
			n, err := strconv.ParseUint(word, 10, 64)
			if err != nil {
				return err
			}
			b := make([]byte, max(o.size, 8))
			binary.BigEndian.PutUint64(b, n)
			if err := errors.Join(keep(b), t.Publish(ctx, b)); err != nil {
				return err
			}
			fmt.Fprintln(os.Stdout, "sent", n)
		}
	}
	return nil
}

// group is the hosts, as the process that measures sees them.
type group struct {
	procs []*exec.Cmd
	in    []io.Writer
	got   chan uint64 // a message came to one host
	sent  chan uint64 // the sender has one
	next  uint64
}

func start(ctx context.Context, o options, dir string, fsync bool) (*group, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	g := &group{got: make(chan uint64, 1<<16), sent: make(chan uint64, 1<<16)}
	var there []string // addresses
	for i := range o.members {
		args := []string{"-host", "-size", strconv.Itoa(o.size)}
		if fsync {
			args = append(args, "-append", filepath.Join(dir, strconv.Itoa(i)))
		}
		p := exec.CommandContext(ctx, self, args...) //nolint:gosec // this program
		p.Stderr = os.Stderr
		in, err := p.StdinPipe()
		if err != nil {
			return g, err
		}
		out, err := p.StdoutPipe()
		if err != nil {
			return g, err
		}
		if err := p.Start(); err != nil {
			return g, err
		}
		g.procs, g.in = append(g.procs, p), append(g.in, in)
		lines := bufio.NewScanner(out)
		if !lines.Scan() {
			return g, fmt.Errorf("host %d did not start", i)
		}
		for _, at := range there { // members of a group are connected with each other
			if _, err := fmt.Fprintln(in, "dial", at); err != nil {
				return g, err
			}
		}
		there = append(there, strings.TrimPrefix(lines.Text(), "at "))
		go func() {
			for lines.Scan() {
				word, number, _ := strings.Cut(lines.Text(), " ")
				n, err := strconv.ParseUint(number, 10, 64)
				switch {
				case err != nil:
				case word == "got":
					g.got <- n
				case word == "sent":
					g.sent <- n
				}
			}
		}()
	}
	// The mesh grows with each heartbeat: it is there when a message of each of some
	// heartbeats in a row has reached all.
	beat := time.NewTicker(admission.GossipParams().HeartbeatInterval)
	defer beat.Stop()
	for began, reached := time.Now(), 0; time.Since(began) < startLimit; {
		id, err := g.send()
		if err != nil {
			return g, err
		}
		for left, over := o.members-1, false; !over; {
			select {
			case <-g.sent:
			case n := <-g.got:
				if n == id {
					left--
				}
			case <-beat.C:
				over = true
				if reached++; left > 0 {
					reached = 0
				}
			}
		}
		if reached == meshed {
			return g, nil
		}
	}
	return g, fmt.Errorf("no messages reached all hosts within %v", startLimit)
}

const (
	meshed     = 4               // heartbeats in a row in which a message has to reach all hosts
	startLimit = 5 * time.Minute // until that: fifty hosts on two cores have 1,225 connections to make
)

func (g *group) end() {
	for _, p := range g.procs {
		_ = p.Process.Kill()
		_ = p.Wait()
	}
}

func (g *group) send() (uint64, error) {
	g.next++
	_, err := fmt.Fprintln(g.in[0], "send", g.next)
	return g.next, err
}

// cpu is the CPU time of all hosts.
func (g *group) cpu() (sum time.Duration) {
	for _, p := range g.procs {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Process.Pid))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(raw), ") ")
		if f := strings.Fields(rest); len(f) > 12 {
			user, _ := strconv.Atoi(f[11])
			system, _ := strconv.Atoi(f[12])
			sum += time.Duration(user+system) * 10 * time.Millisecond
		}
	}
	return sum
}

// wire is how many bytes this network namespace has carried on loopback.
func wire() (n int64) {
	raw, _ := os.ReadFile("/proc/self/net/dev")
	_, rest, _ := strings.Cut(string(raw), " lo:")
	if f := strings.Fields(rest); len(f) > 0 {
		n, _ = strconv.ParseInt(f[0], 10, 64)
	}
	return n
}

// result is one loop of messages.
type result struct {
	took, queued []time.Duration // from when a message was due until it was everywhere; until the sender had it
	rate         float64
	cpu          time.Duration // of one message
	wire         int64         // bytes of one message
}

// loop sends messages, at most so many in flight, and not before their time: every says how
// far apart that is.
func (g *group) loop(o options, n, flight int, every time.Duration) (result, error) {
	var r result
	type flying struct {
		began time.Time
		left  int
	}
	air := make(map[uint64]*flying)
	due := make(map[uint64]time.Time)
	began, before, carried := time.Now(), g.cpu(), wire()
	deadline := time.After(5 * time.Minute)
	for sent := 0; len(r.took) < n || len(r.queued) < n; {
		at := time.Now()
		if every > 0 {
			at = began.Add(time.Duration(sent) * every)
		}
		var turn <-chan time.Time
		if sent < n && len(air) < flight {
			turn = time.After(time.Until(at))
		}
		select {
		case <-turn:
			id, err := g.send()
			if err != nil {
				return r, err
			}
			air[id], due[id] = &flying{at, o.members - 1}, at
			sent++
		case id := <-g.sent:
			if at, is := due[id]; is {
				r.queued = append(r.queued, time.Since(at))
			}
		case id := <-g.got:
			if f := air[id]; f != nil {
				if f.left--; f.left == 0 {
					r.took = append(r.took, time.Since(f.began))
					delete(air, id)
				}
			}
		case <-deadline:
			return r, fmt.Errorf("%d of %d messages were everywhere after five minutes", len(r.took), n)
		}
	}
	r.rate = float64(n) / time.Since(began).Seconds()
	r.cpu, r.wire = (g.cpu()-before)/time.Duration(n), (wire()-carried)/int64(n)
	return r, nil
}

func percentile(all []time.Duration, p int) time.Duration {
	slices.Sort(all)
	return all[(len(all)-1)*p/100]
}

// heading says what is measured.
func (o options) heading() string {
	p := admission.GossipParams()
	return fmt.Sprintf("%d members, messages of %d bytes, mesh %d (%d to %d), heartbeat %v", o.members, o.size, p.D, p.Dlo, p.Dhi, p.HeartbeatInterval)
}

// row is a line of the table.
type row struct {
	Of    string  `json:"of"`
	Fsync bool    `json:"fsync"`
	Loop  string  `json:"loop"`
	Rate  float64 `json:"rate"` // messages a second
	P50   float64 `json:"p50"`  // seconds
	P99   float64 `json:"p99"`
	P100  float64 `json:"p100"`
	Queue float64 `json:"queue"` // p99
	CPU   float64 `json:"cpu"`   // of a message
	Wire  int64   `json:"wire"`  // bytes of a message
}

func measure(ctx context.Context, o options) error {
	if o.members < 2 || o.messages < 1 || o.flight < 1 || o.rate < 1 {
		return errors.New("it takes two hosts, a message, one in flight and a rate")
	}
	modes := map[string][]bool{"both": {false, true}, "true": {true}, "false": {false}}[o.fsync]
	if modes == nil {
		return fmt.Errorf("fsync is %q", o.fsync)
	}
	var rows []row
	for _, fsync := range modes {
		more, err := measureOne(ctx, o, fsync)
		if err != nil {
			return err
		}
		rows = append(rows, more...)
	}
	if o.json {
		for _, r := range rows {
			if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
				return err
			}
		}
		return nil
	}
	fmt.Fprintln(os.Stdout, o.heading())
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "FSYNC\tLOOP\tRATE\tp50\tp99\tSLOWEST\tQUEUE p99\tCPU A MESSAGE\tBYTES\t")
	for _, r := range rows {
		fmt.Fprintf(w, "%v\t%s\t%.0f/s\t%.1fms\t%.1fms\t%.1fms\t%.1fms\t%.2fms\t%d\t\n", r.Fsync, r.Loop, r.Rate, r.P50*1e3, r.P99*1e3, r.P100*1e3, r.Queue*1e3, r.CPU*1e3, r.Wire)
	}
	return w.Flush()
}

func measureOne(ctx context.Context, o options, fsync bool) (rows []row, err error) {
	dir, err := os.MkdirTemp("", "floor")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	g, err := start(ctx, o, dir, fsync)
	if g != nil {
		defer g.end()
	}
	if err != nil {
		return nil, err
	}
	for _, l := range []struct {
		name      string
		n, flight int
		every     time.Duration
	}{
		{"one by one", min(o.messages, 200), 1, 0},
		{fmt.Sprintf("%d in flight", o.flight), o.messages, o.flight, 0},
		{fmt.Sprintf("%d a second", o.rate), min(o.messages, 10*o.rate), o.messages, time.Second / time.Duration(o.rate)},
	} {
		r, err := g.loop(o, l.n, l.flight, l.every)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row{
			o.heading(), fsync, l.name, r.rate, percentile(r.took, 50).Seconds(), percentile(r.took, 99).Seconds(), percentile(r.took, 100).Seconds(),
			percentile(r.queued, 99).Seconds(), r.cpu.Seconds(), r.wire,
		})
	}
	return rows, nil
}
