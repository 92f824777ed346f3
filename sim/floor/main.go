//go:build linux

// Command floor measures what a group of plain libp2p hosts needs on this machine: the
// floor under the figures of real nodes. Each host is a process with GossipSub over QUIC on
// loopback, which signs (StrictSign) and encrypts nothing:
//
//	floor [-members N] [-size BYTES] [-messages N] [-flight N] [-rate N] [-d N] [-fsync=false]
//
// The first host sends: one by one, each message when the one before is everywhere; in a
// closed loop with so many in flight; and in an open loop at a rate, with the time in the
// sender's queue apart. With -fsync each host appends a message to a file and syncs that
// before it sends it or shows it, as a node does. Without the flag both are measured. A row
// has the rate, the time until a message was everywhere, and the CPU time of all hosts
// together for each message.
package main

import (
	"bufio"
	"context"
	"encoding/binary"
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
)

const topicName = "floor"

// options are what the flags say.
type options struct {
	members, size, messages, flight, rate, d int
	fsync                                    string // true, false or both
	appendTo                                 string // of a host: the file that it appends to; empty: none
	host                                     bool   // this process is one
}

func main() {
	var o options
	flag.IntVar(&o.members, "members", 10, "hosts")
	flag.IntVar(&o.size, "size", 705, "bytes of a message: an envelope of a short text has about so many")
	flag.IntVar(&o.messages, "messages", 500, "messages behind each figure")
	flag.IntVar(&o.flight, "flight", 8, "messages in flight in the closed loop")
	flag.IntVar(&o.rate, "rate", 30, "messages a second in the open loop")
	flag.IntVar(&o.d, "d", 0, "mesh degree D; 0: GossipSub's own")
	flag.StringVar(&o.fsync, "fsync", "both", "sync an append for each message: true, false or both")
	flag.StringVar(&o.appendTo, "append", "", "used by floor itself")
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

// params are GossipSub's, with a mesh of another degree if one is given.
func params(d int) pubsub.GossipSubParams {
	p := pubsub.DefaultGossipSubParams()
	if d > 0 {
		p.D, p.Dlo, p.Dhi, p.Dscore, p.Dout = d, max(d-1, 1), 2*d, max(d-2, 1), min(d/2-1, max(d-2, 0))
		p.Dout = max(p.Dout, 0)
	}
	return p
}

// serve is one host. It says its address, then "got N" for each message that came, and
// takes "dial ADDRESS" and "send N" as lines.
func serve(ctx context.Context, o options) error {
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/udp/0/quic-v1"), libp2p.DisableMetrics(), libp2p.DisableRelay())
	if err != nil {
		return err
	}
	defer func() { _ = h.Close() }()
	ps, err := pubsub.NewGossipSub(ctx, h, pubsub.WithMessageSignaturePolicy(pubsub.StrictSign), pubsub.WithGossipSubParams(params(o.d)),
		pubsub.WithPeerExchange(true), pubsub.WithValidateQueueSize(256), pubsub.WithPeerOutboundQueueSize(256))
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
		}
	}
	return nil
}

// group is the hosts, as the process that measures sees them.
type group struct {
	procs []*exec.Cmd
	in    []io.Writer
	got   chan uint64 // a message came to one host
	next  uint64
}

func start(ctx context.Context, o options, dir string, fsync bool) (*group, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	g := &group{got: make(chan uint64, 1<<16)}
	first := ""
	for i := range o.members {
		args := []string{"-host", "-size", strconv.Itoa(o.size), "-d", strconv.Itoa(o.d)}
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
		if at := strings.TrimPrefix(lines.Text(), "at "); i == 0 {
			first = at
		} else if _, err := fmt.Fprintln(in, "dial", first); err != nil {
			return g, err
		}
		go func() {
			for lines.Scan() {
				if n, err := strconv.ParseUint(strings.TrimPrefix(lines.Text(), "got "), 10, 64); err == nil {
					g.got <- n
				}
			}
		}()
	}
	// It may take some heartbeats until the mesh reaches all.
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		id, err := g.send()
		if err != nil {
			return g, err
		}
		left, wait := o.members-1, time.After(2*time.Second)
		for left > 0 && wait != nil {
			select {
			case n := <-g.got:
				if n == id {
					left--
				}
			case <-wait:
				wait = nil
			}
		}
		if left == 0 {
			return g, nil
		}
	}
	return g, errors.New("no message reached all hosts within a minute")
}

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

// result is one loop of messages.
type result struct {
	took, queued []time.Duration // until a message was everywhere; that it waited before it was sent
	rate         float64
	cpu          time.Duration // of one message
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
	began, before := time.Now(), g.cpu()
	deadline := time.After(5 * time.Minute)
	for sent := 0; len(r.took) < n; {
		due := began.Add(time.Duration(sent) * every)
		var turn <-chan time.Time
		if sent < n && len(air) < flight {
			turn = time.After(time.Until(due))
		}
		select {
		case <-turn:
			at := time.Now()
			if every > 0 {
				r.queued = append(r.queued, at.Sub(due))
			}
			id, err := g.send()
			if err != nil {
				return r, err
			}
			air[id] = &flying{at, o.members - 1}
			sent++
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
	r.cpu = (g.cpu() - before) / time.Duration(n)
	return r, nil
}

func percentile(all []time.Duration, p int) string {
	if len(all) == 0 {
		return "-"
	}
	slices.Sort(all)
	return all[(len(all)-1)*p/100].Round(100 * time.Microsecond).String()
}

func measure(ctx context.Context, o options) error {
	if o.members < 2 || o.messages < 1 || o.flight < 1 || o.rate < 1 {
		return errors.New("it takes two hosts, a message, one in flight and a rate")
	}
	modes := map[string][]bool{"both": {false, true}, "true": {true}, "false": {false}}[o.fsync]
	if modes == nil {
		return fmt.Errorf("fsync is %q", o.fsync)
	}
	p := params(o.d)
	fmt.Fprintf(os.Stdout, "%d hosts, messages of %d bytes, mesh D %d (%d to %d), heartbeat %v\n", o.members, o.size, p.D, p.Dlo, p.Dhi, p.HeartbeatInterval)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "FSYNC\tLOOP\tRATE\tp50\tp99\tSLOWEST\tQUEUE p99\tCPU A MESSAGE\t")
	for _, fsync := range modes {
		if err := measureOne(ctx, o, fsync, w); err != nil {
			return err
		}
	}
	return w.Flush()
}

func measureOne(ctx context.Context, o options, fsync bool, w io.Writer) error {
	dir, err := os.MkdirTemp("", "floor")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	g, err := start(ctx, o, dir, fsync)
	if g != nil {
		defer g.end()
	}
	if err != nil {
		return err
	}
	for _, l := range []struct {
		name   string
		flight int
		every  time.Duration
	}{
		{"one by one", 1, 0},
		{fmt.Sprintf("%d in flight", o.flight), o.flight, 0},
		{fmt.Sprintf("%d a second", o.rate), 1 << 20, time.Second / time.Duration(o.rate)},
	} {
		r, err := g.loop(o, o.messages, l.flight, l.every)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%v\t%s\t%.0f/s\t%s\t%s\t%s\t%s\t%v\t\n", fsync, l.name, r.rate, percentile(r.took, 50), percentile(r.took, 99), percentile(r.took, 100),
			percentile(r.queued, 99), r.cpu.Round(10*time.Microsecond))
	}
	return nil
}
