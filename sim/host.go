package sim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

// HostOptions say how to run a scenario on real processes.
type HostOptions struct {
	Binary   string                           // the pandanode program
	Keep     bool                             // leave the homes behind
	Progress func(format string, args ...any) // the transcript; nil: nobody listens
}

// HostReport is what came of a run on real processes.
type HostReport struct {
	Scenario   string      `json:"scenario"`
	Title      string      `json:"title"`
	Backend    string      `json:"backend"` // host
	Violations []Violation `json:"violations"`
	Records    Records     `json:"records"`
	Nodes      []HostNode  `json:"nodes"`
	Real       float64     `json:"seconds"`
	Converged  float64     `json:"seconds_to_converge"` // from the last heal, or the last action if nothing was cut; -1: never
	Homes      string      `json:"homes,omitempty"`     // if they were kept
}

// HostNode is one process in one group.
type HostNode struct {
	Name          string `json:"name"`
	Group         string `json:"group"`
	State         string `json:"state"` // as the node says; "down" if it does not run
	Epoch         uint64 `json:"epoch"`
	Authenticator string `json:"epoch_authenticator"`
	Members       int    `json:"members"`
	Starts        int    `json:"starts"`
	Sent          int    `json:"sent"`
	Owed          int    `json:"owed"`
	Held          int    `json:"held"` // of those owed
	Twice         int    `json:"twice"`
	Lost          int    `json:"lost"`
}

// OK says whether everything held.
func (r *HostReport) OK() bool { return len(r.Violations) == 0 }

func (r *HostReport) violate(invariant int, group, format string, args ...any) {
	i := slices.IndexFunc(Invariants, func(i Invariant) bool { return i.Number == invariant })
	r.Violations = append(r.Violations, Violation{invariant, Invariants[i].Name, group, fmt.Sprintf(format, args...)})
}

// hostSeat is a node's place in a group, as the one who gives the orders knows it.
type hostSeat struct {
	asked, in  int // when it asked, and when it was in; 0: not (yet)
	net        int // the state of the network it was in by
	out        int // when its removal was accepted, or its leaving; 0: not
	by         int // the node that removed it
	sent       int
	mayBeOlder bool // the group had messages when it came
}

// hostMessage is one that a node took for sending.
type hostMessage struct {
	id, text string
	node     int
	when     int
	net      int
}

type hostGroup struct {
	decl  GroupDecl
	id    string
	seats map[int]*hostSeat
	sent  []*hostMessage
}

// hostWorld is a world of processes.
type hostWorld struct {
	sc     *Scenario
	opt    HostOptions
	dir    string
	net    *hostNet
	nodes  []*hostProc
	groups []*hostGroup
	report *HostReport
	begun  time.Time
	healed time.Time
	cuts   map[[2]int]bool
	starts map[int]int // that the scenario asked for

	history []map[[2]int]bool // what was cut in each state of the network

	mu    sync.Mutex
	now   int // counts what was asked and what was accepted
	state int // of the network, counted
}

// hostVerbs are what can be done to real processes from outside.
var hostVerbs = map[string]func(*hostWorld, context.Context, Action) error{
	"join": (*hostWorld).join, "send": (*hostWorld).send, "remove": (*hostWorld).remove, "role": (*hostWorld).role, "leave": (*hostWorld).leave,
	"partition": (*hostWorld).partition, "heal": (*hostWorld).heal, "cut": (*hostWorld).cutOne, "mend": (*hostWorld).cutOne,
	"offline": (*hostWorld).online, "online": (*hostWorld).online, "crash": (*hostWorld).crash, "restart": (*hostWorld).restart,
}

// RunHost plays a scenario on real processes in network namespaces, in real time.
// It needs Linux, root, iproute2 and iptables, and says so. When it returns, the
// processes and namespaces are gone. An error means that it could not be played;
// what did not hold is in the report.
func RunHost(ctx context.Context, sc *Scenario, opt HostOptions) (r *HostReport, err error) {
	if opt.Progress == nil {
		opt.Progress = func(string, ...any) {}
	}
	actions, err := hostActions(sc)
	if err != nil {
		return nil, err
	}
	runtime.LockOSThread() // nodes die with the thread that started them
	defer runtime.UnlockOSThread()
	h := &hostWorld{
		sc: sc, opt: opt, cuts: map[[2]int]bool{}, starts: map[int]int{}, history: []map[[2]int]bool{{}},
		report: &HostReport{Scenario: sc.Name, Title: sc.Title, Backend: "host", Violations: []Violation{}, Converged: -1},
	}
	if h.dir, err = os.MkdirTemp("", "panda-host-"); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	if err := h.build(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", sc.Name, err)
	}
	h.begun = time.Now()
	for _, a := range actions {
		if err := h.until(ctx, h.begun.Add(a.At)); err != nil {
			return nil, err
		}
		if err := hostVerbs[a.Verb](h, ctx, a); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			h.say("REFUSED: %v", err)
			h.report.violate(0, a.Group, "%v: %v", a, err)
		}
	}
	limit := sc.Run
	if len(actions) > 0 {
		limit -= actions[len(actions)-1].At
	}
	if err := h.converge(ctx, limit); err != nil {
		return nil, err
	}
	h.probe(ctx)
	h.judge(ctx)
	h.report.Real = time.Since(h.begun).Seconds()
	return h.report, ctx.Err()
}

// hostActions are the scenario's, with a restart of its own for each crash that asks
// for one. What only other backends can do is refused.
func hostActions(sc *Scenario) ([]Action, error) {
	if sc.Engine != "mls" {
		return nil, fmt.Errorf("%w: real processes have no engine %q", ErrScenario, sc.Engine)
	}
	if slices.ContainsFunc(sc.Nodes, func(n NodeDecl) bool { return n.User != n.Name }) {
		return nil, fmt.Errorf("%w: the host backend has one device for each user", ErrScenario)
	}
	var out []Action
	for _, a := range sc.Actions {
		if hostVerbs[a.Verb] == nil {
			return nil, fmt.Errorf("%w: the host backend cannot do %q", ErrScenario, a.Verb)
		}
		for _, o := range []string{"at", "nth", "invite"} {
			if _, ok := a.opt(o); ok {
				return nil, fmt.Errorf("%w: the host backend cannot do %q with %s=", ErrScenario, a.Verb, o)
			}
		}
		out = append(out, a)
		if s, ok := a.opt("restart"); ok {
			d, err := duration(s)
			if err != nil {
				return nil, err
			}
			out = append(out, Action{At: a.At + d, Verb: "restart", Args: a.Args})
		}
	}
	slices.SortStableFunc(out, func(a, b Action) int { return int(min(1, max(-1, a.At-b.At))) })
	return out, nil
}

func (h *hostWorld) say(format string, args ...any) {
	h.opt.Progress("%6.1f s  %s", time.Since(h.begun).Seconds(), fmt.Sprintf(format, args...))
}

func (h *hostWorld) until(ctx context.Context, t time.Time) error {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// build makes the network, the homes, the nodes and the groups.
func (h *hostWorld) build(ctx context.Context) (err error) {
	h.begun = time.Now()
	names := make([]string, len(h.sc.Nodes))
	for i, n := range h.sc.Nodes {
		names[i] = n.Name
	}
	if h.net, err = newHostNet(ctx, names); err != nil {
		return err
	}
	for i, name := range names {
		p := &hostProc{name: name, binary: h.opt.Binary, home: filepath.Join(h.dir, name), within: h.net.within(i), addr: h.net.addr(i)}
		h.nodes = append(h.nodes, p)
		if err := p.init(ctx); err != nil {
			return err
		}
		if i > 0 {
			p.seeds = h.nodes[0].address()
		}
		if err := p.start(ctx); err != nil {
			return err
		}
		h.starts[i] = 1
	}
	if err := h.each(len(h.nodes), func(i int) error {
		if len(h.nodes) == 1 {
			return nil
		}
		_, err := h.nodes[i].cli(ctx, "status", "--wait", string(api.LevelOnline), "--timeout", "50s")
		return err
	}); err != nil {
		return err
	}
	for _, g := range h.sc.Groups {
		founder := h.sc.node(g.Founder)
		made, err := hostAskOne[api.Group](ctx, h.nodes[founder], "group", "create", g.Name, "--policy", g.Policy.String())
		if err != nil {
			return err
		}
		h.groups = append(h.groups, &hostGroup{decl: g, id: made.ID, seats: map[int]*hostSeat{founder: {asked: 1, in: 1}}})
	}
	h.now = 1
	h.say("%d processes in as many network namespaces: %s; %d group(s) founded", len(names), strings.Join(names, ", "), len(h.groups))
	return nil
}

// close ends what was begun, whatever happened.
func (h *hostWorld) close() error {
	for _, p := range h.nodes {
		p.kill()
	}
	var errs []error
	if h.net != nil {
		errs = append(errs, h.net.close())
	}
	if h.opt.Keep {
		h.report.Homes = h.dir
	} else {
		errs = append(errs, os.RemoveAll(h.dir))
	}
	return errors.Join(errs...)
}

// each runs do for 0 to n-1 at once and joins the errors.
func (h *hostWorld) each(n int, do func(int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = do(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// tick counts one more thing that happened.
func (h *hostWorld) tick() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now++
	return h.now
}

func (h *hostWorld) groupOf(a Action) *hostGroup { return h.groups[h.sc.groupIndex(a.Group)] }

// eachNode runs do at once for every node that the action names.
func (h *hostWorld) eachNode(names []string, do func(i int, p *hostProc) error) error {
	return h.each(len(names), func(k int) error {
		i := h.sc.node(names[k])
		return do(i, h.nodes[i])
	})
}

func (h *hostWorld) join(ctx context.Context, a Action) error {
	g := h.groupOf(a)
	for _, name := range a.Args {
		g.seats[h.sc.node(name)] = &hostSeat{asked: h.tick(), net: h.state, mayBeOlder: len(g.sent) > 0}
	}
	start := time.Now()
	err := h.eachNode(a.Args, func(i int, p *hostProc) error {
		_, err := p.cli(ctx, "group", "join", g.id, "--wait", "--timeout", "55s")
		if err == nil {
			g.seats[i].in = h.tick()
		}
		return err
	})
	h.say("%s: group join %s --wait (%.1f s)", strings.Join(a.Args, ", "), g.decl.Name, time.Since(start).Seconds())
	return err
}

func (h *hostWorld) send(ctx context.Context, a Action) error {
	g := h.groupOf(a)
	sent := make([][]*hostMessage, len(a.Args))
	err := h.each(len(a.Args), func(k int) error {
		i := h.sc.node(a.Args[k])
		s := g.seats[i]
		if s == nil {
			return fmt.Errorf("%s never asked to join", a.Args[k])
		}
		for range a.count() {
			s.sent++
			m := &hostMessage{text: fmt.Sprintf("%s %d", a.Args[k], s.sent), node: i, net: h.state}
			out, err := hostAskOne[api.Sent](ctx, h.nodes[i], "send", g.id, m.text)
			if err != nil {
				return err
			}
			m.id, m.when = out.ID, h.tick()
			sent[k] = append(sent[k], m)
		}
		return nil
	})
	g.sent = append(g.sent, slices.Concat(sent...)...)
	h.say("%s: send %s, %d each", strings.Join(a.Args, ", "), g.decl.Name, a.count())
	return err
}

func (h *hostWorld) remove(ctx context.Context, a Action) error {
	g, by := h.groupOf(a), h.sc.node(a.Args[0])
	for _, whom := range a.Args[1:] {
		i := h.sc.node(whom)
		if _, err := h.nodes[by].cli(ctx, "group", "remove", g.id, h.nodes[i].user); err != nil {
			return err
		}
		if s := g.seats[i]; s != nil {
			s.out, s.by = h.tick(), by
		}
		h.say("%s: group remove %s %s", a.Args[0], g.decl.Name, whom)
	}
	return nil
}

// role waits until the one who is given the role knows it.
func (h *hostWorld) role(ctx context.Context, a Action) error {
	g, by, whom := h.groupOf(a), h.sc.node(a.Args[0]), h.sc.node(a.Args[1])
	if _, err := h.nodes[by].cli(ctx, "group", "role", g.id, h.nodes[whom].user, a.Args[2]); err != nil {
		return err
	}
	h.say("%s: group role %s %s %s", a.Args[0], g.decl.Name, a.Args[1], a.Args[2])
	if h.cuts[[2]int{by, whom}] {
		return nil
	}
	limit, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		shown, err := hostAskOne[api.GroupStatus](limit, h.nodes[whom], "group", "status", g.id)
		if err == nil && shown.Role == a.Args[2] {
			return nil
		}
		if err := h.until(limit, time.Now().Add(hostPoll)); err != nil {
			return fmt.Errorf("%s does not hear that it is %s", a.Args[1], a.Args[2])
		}
	}
}

func (h *hostWorld) leave(ctx context.Context, a Action) error {
	g := h.groupOf(a)
	err := h.eachNode(a.Args, func(i int, p *hostProc) error {
		_, err := p.cli(ctx, "group", "leave", g.id)
		if err == nil && g.seats[i] != nil {
			g.seats[i].out, g.seats[i].by = h.tick(), i
		}
		return err
	})
	h.say("%s: group leave %s", strings.Join(a.Args, ", "), g.decl.Name)
	return err
}

func (h *hostWorld) partition(ctx context.Context, a Action) error {
	side := make([]int, len(h.nodes))
	for i, names := range sides(a.Args) {
		for _, n := range names {
			side[h.sc.node(n)] = i + 1
		}
	}
	clear(h.cuts)
	for i := range side {
		for j := range side {
			if side[i] != side[j] {
				h.cuts[[2]int{i, j}] = true
			}
		}
	}
	return h.apply(ctx, "CUT: "+strings.Join(a.Args, " "))
}

func (h *hostWorld) heal(ctx context.Context, _ Action) error {
	clear(h.cuts)
	err := h.apply(ctx, "HEAL")
	h.healed = time.Now()
	return err
}

func (h *hostWorld) cutOne(ctx context.Context, a Action) error {
	link := [2]int{h.sc.node(a.Args[0]), h.sc.node(a.Args[1])}
	delete(h.cuts, link)
	if a.Verb == "cut" {
		h.cuts[link] = true
	}
	return h.apply(ctx, a.Verb+" "+strings.Join(a.Args, " → "))
}

func (h *hostWorld) online(ctx context.Context, a Action) error {
	for _, name := range a.Args {
		i := h.sc.node(name)
		for j := range h.nodes {
			for _, link := range [][2]int{{i, j}, {j, i}} {
				delete(h.cuts, link)
				if a.Verb == "offline" && i != j {
					h.cuts[link] = true
				}
			}
		}
	}
	if err := h.apply(ctx, a.Verb+" "+strings.Join(a.Args, ", ")); err != nil {
		return err
	}
	if a.Verb == "online" {
		h.healed = time.Now()
	}
	return nil
}

func (h *hostWorld) apply(ctx context.Context, what string) error {
	h.state++
	h.history = append(h.history, maps.Clone(h.cuts))
	err := h.net.cut(ctx, h.cuts)
	h.say("%s (%d of %d directions drop every packet)", what, len(h.cuts), len(h.nodes)*(len(h.nodes)-1))
	return err
}

func (h *hostWorld) crash(_ context.Context, a Action) error {
	p := h.nodes[h.sc.node(a.Args[0])]
	if !p.alive() {
		return fmt.Errorf("%s is down", p.name)
	}
	h.say("%s: kill -9 %d", p.name, p.cmd.Process.Pid)
	p.kill()
	return nil
}

func (h *hostWorld) restart(ctx context.Context, a Action) error {
	for _, name := range a.Args {
		i := h.sc.node(name)
		h.nodes[i].kill()
		start := time.Now()
		if err := h.nodes[i].start(ctx); err != nil {
			return err
		}
		h.starts[i]++
		h.say("%s: run (ready after %.2f s)", name, time.Since(start).Seconds())
	}
	return nil
}
