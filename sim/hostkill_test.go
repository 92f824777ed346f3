package sim

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pandanode/pandanode/internal/freeport"
	"github.com/pandanode/pandanode/node"
	"github.com/pandanode/pandanode/node/api"
)

// The test binary is a node when it is started with this in its environment: the
// home, the key file, the socket, the listen address and the bootstrap address.
const childEnv = "PANDANODE_SIM_CHILD"

func TestMain(m *testing.M) {
	if args := strings.Split(os.Getenv(childEnv), "\n"); len(args) == 5 {
		child(args)
		return
	}
	if what := os.Getenv(digestEnv); what != "" {
		os.Exit(printDigest(what))
	}
	Roomy()
	code := m.Run()
	if err := writeDigests(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func child(args []string) {
	cfg := node.Config{Home: args[0], KeyFile: args[1], Socket: args[2], Listen: []string{args[3]}}
	if args[4] != "" {
		cfg.Bootstrap = []string{args[4]}
	}
	n, err := node.Open(context.Background(), cfg)
	if err == nil {
		err = n.Run(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// process is a node in a process of its own.
type process struct {
	t      *testing.T
	args   [5]string
	cmd    *exec.Cmd
	client *api.Client
}

// start runs the process and returns when its API answers: it has reopened its store.
func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), childEnv+"="+strings.Join(p.args[:], "\n"))
	p.cmd.Stderr = os.Stderr
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.client = api.NewClient(p.args[2])
	ctx, cancel := context.WithTimeout(p.t.Context(), 30*time.Second)
	defer cancel()
	for {
		_, err := p.client.Status(ctx, api.StatusRequest{Wait: api.LevelReady})
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			p.t.Fatalf("a node does not come up: %v", err)
		case <-time.After(5 * time.Millisecond): // a process that starts tells nobody
		}
	}
}

// kill is SIGKILL, and waits until the process is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	p.client.Close()
}

// acks are the texts that a node acknowledged, each with the ID of its message, and when it
// last did.
type acks struct {
	mu    sync.Mutex
	texts map[string]string
	last  time.Time
}

func (a *acks) add(text, id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.texts[text], a.last = id, time.Now()
}

// shows counts how often the process shows each text of a group.
func (p *process) shows(ctx context.Context, group string) (map[string]int, error) {
	shown := make(map[string]int)
	for since, more := uint64(0), true; more; {
		page, err := p.client.Messages(ctx, api.MessagesRequest{Group: group, Since: since})
		if err != nil {
			return nil, err
		}
		for _, m := range page.Messages {
			shown[m.Text]++
			since = m.Cursor
		}
		more = page.More
	}
	return shown, nil
}

// explain logs, for a node that lacks messages, how each node sees the group, and what each
// knows of the first and of the last of those.
func explain(t *testing.T, nodes []*process, group string, lacks *process, all map[string]string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
	defer cancel()
	shown, err := lacks.shows(ctx, group)
	if err != nil {
		t.Log(err)
		return
	}
	missing := maps.Clone(all)
	maps.DeleteFunc(missing, func(text, _ string) bool { return shown[text] > 0 })
	texts := slices.Sorted(maps.Keys(missing))
	for i, p := range nodes {
		status, err := p.client.GroupStatus(ctx, api.GroupRequest{Group: group})
		t.Logf("node %d: %+v %v", i, status, err)
		for k, text := range texts {
			if k == 0 || k == len(texts)-1 {
				why, err := p.client.Why(ctx, api.WhyRequest{Group: group, Subject: missing[text]})
				t.Logf("node %d of %q: %+v %v", i, text, why, err)
			}
		}
	}
}

// TestKill sends SIGKILL, round after round, to one of three real processes that talk to
// each other, while they send and receive. Every acknowledged message must be shown
// everywhere, once. Rounds: 20, or as many as PANDANODE_KILLS says.
func TestKill(t *testing.T) {
	const perRound = 40
	rounds := 20
	if s := os.Getenv("PANDANODE_KILLS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < rounds {
			t.Fatalf("PANDANODE_KILLS=%q", s)
		}
		rounds = n
	}
	wantAcks, wantClose := 60*rounds, rounds/4
	dir, err := os.MkdirTemp("", "panda") // a socket's path has at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	var nodes [3]*process
	var bootstrap string
	ports, err := freeport.Draw(t.Context(), "127.0.0.1", len(nodes))
	if err != nil {
		t.Fatal(err)
	}
	for i := range nodes {
		home := filepath.Join(dir, fmt.Sprint(i))
		if err := node.Init(t.Context(), node.InitConfig{Home: home, Name: fmt.Sprint("node ", i), KeyFile: home + ".key"}); err != nil {
			t.Fatal(err)
		}
		listen := fmt.Sprintf("/ip4/127.0.0.1/udp/%d/quic-v1", ports[i])
		nodes[i] = &process{t: t, args: [5]string{home, home + ".key", home + ".sock", listen, bootstrap}}
		nodes[i].start()
		t.Cleanup(func() { nodes[i].kill() })
		id, err := nodes[i].client.ID(t.Context(), api.Empty{})
		if err != nil {
			t.Fatal(err)
		}
		bootstrap = listen + "/p2p/" + id.Peer
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute+time.Duration(rounds)*5*time.Second)
	defer cancel()
	if _, err := nodes[0].client.Status(ctx, api.StatusRequest{Wait: api.LevelOnline}); err != nil {
		t.Fatal(err)
	}
	made, err := nodes[0].client.CreateGroup(ctx, api.CreateGroupRequest{Name: "kill", Policy: api.PolicyOpen})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range nodes[1:] {
		if err := p.client.Join(ctx, api.JoinRequest{Group: made.ID, Until: api.StageSynced}, func(api.JoinUpdate) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}

	var acked [len(nodes)]*acks
	for i := range acked {
		acked[i] = &acks{texts: make(map[string]string)}
	}
	tried := make(map[string]bool)
	closeKills := 0
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range rounds {
		victim := round % len(nodes)
		fatal := 10 + rng.IntN(perRound-10) // acknowledgements until the kill
		delay := time.Duration(rng.IntN(10)) * time.Millisecond
		reached := make(chan struct{})
		var senders sync.WaitGroup
		for i := range nodes {
			texts := make([]string, perRound)
			for k := range texts {
				texts[k] = fmt.Sprintf("round %d, node %d, %d", round, i, k)
				tried[texts[k]] = true
			}
			senders.Go(func() {
				for k, text := range texts {
					sent, err := nodes[i].client.Send(ctx, api.SendRequest{Group: made.ID, Text: text})
					if err != nil {
						if i != victim {
							t.Errorf("%s: %v", text, err)
						}
						return
					}
					acked[i].add(text, sent.ID)
					if i == victim && k+1 == fatal {
						close(reached)
					}
				}
			})
		}
		select {
		case <-reached:
		case <-ctx.Done():
			t.Fatal("the victim acknowledges nothing")
		}
		time.Sleep(delay) // the kill hits whatever the victim does meanwhile
		acked[victim].mu.Lock()
		if time.Since(acked[victim].last) < 50*time.Millisecond {
			closeKills++
		}
		acked[victim].mu.Unlock()
		nodes[victim].kill()
		senders.Wait()
		nodes[victim].start()
	}
	all := make(map[string]string) // IDs by text
	for _, a := range acked {
		maps.Copy(all, a.texts)
	}
	t.Logf("%d messages acknowledged of %d, %d kills within 50 ms of an acknowledgement", len(all), len(tried), closeKills)
	if len(all) < wantAcks || closeKills < wantClose {
		t.Fatalf("wants %d acknowledged and %d close kills: the test does not test", wantAcks, wantClose)
	}

	for i, p := range nodes {
		if _, err := p.client.Status(ctx, api.StatusRequest{Wait: api.LevelSynced, Timeout: api.Duration(2 * time.Minute)}); err != nil {
			explain(t, nodes[:], made.ID, p, all)
			t.Fatalf("node %d: %v", i, err)
		}
		seen := make(map[string]int)
		missing := len(all)
		tail, stop := context.WithTimeout(ctx, 2*time.Minute)
		err := p.client.Tail(tail, api.TailRequest{Group: made.ID}, func(m api.Message) error {
			if seen[m.Text]++; all[m.Text] != "" && seen[m.Text] == 1 {
				missing--
			}
			if missing == 0 {
				stop()
			}
			return nil
		})
		stop()
		if missing > 0 {
			explain(t, nodes[:], made.ID, p, all)
			for text := range all {
				if seen[text] == 0 {
					t.Errorf("node %d: %q was acknowledged and is lost", i, text)
				}
			}
			t.Fatalf("node %d: %d of %d acknowledged messages are lost (%v)", i, missing, len(all), err)
		}
		// All of them again, now that there is nothing left to come.
		shown, err := p.shows(ctx, made.ID)
		if err != nil {
			t.Fatal(err)
		}
		for text, n := range shown {
			switch {
			case n > 1:
				t.Errorf("node %d shows %q %d times", i, text, n)
			case !tried[text]:
				t.Errorf("node %d shows %q, which nobody sent", i, text)
			}
		}
	}
}
