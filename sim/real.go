package sim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/identity"
)

// RealOptions say how to run a scenario on whole nodes.
type RealOptions struct {
	Binary   string                           // the pandanode program; host only
	Page     bool                             // keep the data that WriteHTML needs
	Keep     bool                             // leave the homes behind
	Progress func(format string, args ...any) // the transcript; nil: nobody listens
}

// RealReport is the result of a run on whole nodes: processes, or nodes in virtual time.
type RealReport struct {
	Scenario   string      `json:"scenario"`
	Title      string      `json:"title"`
	Backend    string      `json:"backend"` // host or net
	Judged     []Judged    `json:"judged"`
	Violations []Violation `json:"violations"`
	Unexpected []string    `json:"unexpected"` // expectations of the scenario that did not come true
	Records    Records     `json:"records"`
	Nodes      []RealNode  `json:"nodes"`
	Seconds    float64     `json:"seconds"`             // real ones of host, virtual ones of net
	Converged  float64     `json:"seconds_to_converge"` // from the last heal, or the last action if nothing was cut; -1: never
	Homes      string      `json:"homes,omitempty"`     // if they were kept

	page *Report
}

// RealNode is one node in one group.
type RealNode struct {
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
func (r *RealReport) OK() bool { return len(r.Violations)+len(r.Unexpected) == 0 }

func (r *RealReport) violate(invariant int, group, format string, args ...any) {
	r.Violations = append(r.Violations, Violation{invariant, invariantNumbered(invariant).Name, group, fmt.Sprintf(format, args...)})
}

// judged notes that an invariant was judged of so many more.
func (r *RealReport) judged(invariant, subjects int) {
	r.Judged = judgedOf(r.Judged, invariantNumbered(invariant), subjects)
}

// realSeat is a node's place in a group, as the player of the scenario knows it.
type realSeat struct {
	asked, in  int // when it asked, and when it was in; 0: not (yet)
	net        int // the state of the network it was in by
	out        int // when its removal was accepted, or its leaving; 0: not
	by         int // the node that removed it
	sent       int
	mayBeOlder bool // the group had messages when it came
	behind     bool // it was out when it got its home of before, which does not know who else is out
}

// realMessage is one that a node took for sending.
type realMessage struct {
	id, text string
	node     int
	when     int
	net      int
	at       time.Time
	beyond   bool // its author was out, and wrote it with a home of before
}

type realGroup struct {
	decl    GroupDecl
	id      string
	seats   map[int]*realSeat
	sent    []*realMessage
	genesis *identity.Genesis
	dag     *dag // of the entries that its nodes have, as far as that was looked at; nil: not yet
}

// realNode is a whole node as the player of the scenario sees it. IDs are in text form.
type realNode interface {
	met(ctx context.Context) error // waits until it knows other nodes
	create(ctx context.Context, name, policy string) (group string, err error)
	join(ctx context.Context, group string) error // waits until it is in
	// send sends a text, and a file of so many bytes with it, unless that is 0.
	send(ctx context.Context, group, text string, file int64) (message string, err error)
	remove(ctx context.Context, group, user string) error
	role(ctx context.Context, group, user, role string) error
	leave(ctx context.Context, group string) error
	status(ctx context.Context, group string) (api.GroupStatus, error)
	members(ctx context.Context, group string) ([]api.Member, error)
	messages(ctx context.Context, group string) ([]api.Message, error)
	entries(ctx context.Context, group string) ([]api.Entry, error) // the genesis first
	events(ctx context.Context, group string) ([]api.Event, error)  // so far

	start(ctx context.Context) error // waits until it is ready
	kill()                           // as a power cut would
	where() string                   // its home
	alive() bool
	as() string // the user's ID
	device() string
	lives() int   // how often it was started
	last() string // the end of its log
}

// realNet is the network between them: a cut is silence, in the directions given.
type realNet interface {
	cut(ctx context.Context, cuts map[[2]int]bool) error
	close() error
}

// realWorld is a world of whole nodes.
type realWorld struct {
	sc     *Scenario
	opt    RealOptions
	dir    string
	net    realNet
	nodes  []realNode
	poll   time.Duration // between two looks at the nodes
	groups []*realGroup
	report *RealReport
	begun  time.Time
	healed time.Time
	cuts   map[[2]int]bool
	starts map[int]int  // that the scenario asked for
	down   map[int]bool // that it wants down

	history []map[[2]int]bool // the cut links in each state of the network
	marks   []realMark        // actions on the nodes, for the page
	sides   []*partition

	mu    sync.Mutex
	now   int // counts requests and acceptances
	state int // of the network, counted
}

// realVerbs are the actions that are possible on whole nodes, from outside.
var realVerbs = map[string]func(*realWorld, context.Context, Action) error{
	"join": (*realWorld).join, "send": (*realWorld).send, "remove": (*realWorld).remove, "role": (*realWorld).role, "leave": (*realWorld).leave,
	"partition": (*realWorld).partition, "heal": (*realWorld).heal, "cut": (*realWorld).cutOne, "mend": (*realWorld).cutOne,
	"offline": (*realWorld).online, "online": (*realWorld).online, "crash": (*realWorld).crash, "restart": (*realWorld).restart,
	"backup": (*realWorld).backup, "rollback": (*realWorld).rollback,
}

// play carries out a scenario on running nodes, and checks the result.
func (h *realWorld) play(ctx context.Context, actions []Action) error {
	for _, a := range actions {
		if err := h.until(ctx, h.begun.Add(a.At)); err != nil {
			return err
		}
		if err := realVerbs[a.Verb](h, ctx, a); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			h.say("REFUSED: %v", err)
			h.report.violate(0, a.Group, "%v: %v", a, err)
		}
	}
	limit := h.sc.Run
	if len(actions) > 0 {
		limit -= actions[len(actions)-1].At
	}
	if err := h.converge(ctx, limit); err != nil {
		return err
	}
	h.probe(ctx)
	h.judge(ctx)
	if h.opt.Page {
		if err := h.draw(ctx); err != nil {
			return fmt.Errorf("drawing: %w", err)
		}
	}
	h.report.Seconds = time.Since(h.begun).Seconds()
	return ctx.Err()
}

// realActions are the scenario's, with a restart of its own for each crash that asks for
// one. It refuses actions that only other backends can carry out.
func realActions(sc *Scenario) ([]Action, error) {
	if slices.ContainsFunc(sc.Nodes, func(n NodeDecl) bool { return n.User != n.Name }) {
		return nil, fmt.Errorf("%w: whole nodes have one device for each user", ErrScenario)
	}
	for _, e := range sc.Expect {
		if !slices.Contains(realCounts, e.What) {
			return nil, fmt.Errorf("%w: of whole nodes one can expect %s, not %q", ErrScenario, strings.Join(realCounts, ", "), e)
		}
	}
	var out []Action
	for _, a := range sc.Actions {
		if realVerbs[a.Verb] == nil {
			return nil, fmt.Errorf("%w: whole nodes cannot do %q", ErrScenario, a.Verb)
		}
		for _, o := range []string{"at", "nth", "invite", "via", "as", "reply", "thread", "mention", "expires"} {
			if _, ok := a.opt(o); ok {
				return nil, fmt.Errorf("%w: whole nodes cannot do %q with %s=", ErrScenario, a.Verb, o)
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

func (h *realWorld) say(format string, args ...any) {
	h.opt.Progress("%6.1f s  %s", time.Since(h.begun).Seconds(), fmt.Sprintf(format, args...))
}

func (h *realWorld) until(ctx context.Context, t time.Time) error {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// found waits until the nodes have found each other and makes the groups.
func (h *realWorld) found(ctx context.Context) error {
	if len(h.nodes) > 1 {
		if err := h.each(len(h.nodes), func(i int) error { return h.nodes[i].met(ctx) }); err != nil {
			return err
		}
	}
	for _, g := range h.sc.Groups {
		founder := h.sc.node(g.Founder)
		id, err := h.nodes[founder].create(ctx, g.Name, g.Policy.String())
		if err != nil {
			return err
		}
		h.groups = append(h.groups, &realGroup{decl: g, id: id, seats: map[int]*realSeat{founder: {asked: 1, in: 1}}})
	}
	h.now = 1
	return nil
}

// each runs do for 0 to n-1 at once and joins the errors.
func (h *realWorld) each(n int, do func(int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = do(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// tick counts one more thing that happened.
func (h *realWorld) tick() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now++
	return h.now
}

// named lists nodes for people: few by name, many by the first and the last.
func named(names []string) string {
	if n := len(names); n > 12 {
		return fmt.Sprintf("%s, %s … %s (%d nodes)", names[0], names[1], names[n-1], n)
	}
	return strings.Join(names, ", ")
}

func (h *realWorld) groupOf(a Action) *realGroup { return h.groups[h.sc.groupIndex(a.Group)] }

// eachNode runs do at once for every node that the action names.
func (h *realWorld) eachNode(names []string, do func(i int, p realNode) error) error {
	return h.each(len(names), func(k int) error {
		i := h.sc.node(names[k])
		return do(i, h.nodes[i])
	})
}

func (h *realWorld) join(ctx context.Context, a Action) error {
	g := h.groupOf(a)
	for _, name := range a.Args {
		g.seats[h.sc.node(name)] = &realSeat{asked: h.tick(), net: h.state, mayBeOlder: len(g.sent) > 0}
		h.mark(a, name, "join", "")
	}
	start := time.Now()
	err := h.eachNode(a.Args, func(i int, p realNode) error {
		err := p.join(ctx, g.id)
		if err == nil {
			g.seats[i].in = h.tick()
		}
		return err
	})
	h.say("%s: group join %s --wait (%.1f s)", named(a.Args), g.decl.Name, time.Since(start).Seconds())
	return err
}

func (h *realWorld) send(ctx context.Context, a Action) error {
	g := h.groupOf(a)
	sent := make([][]*realMessage, len(a.Args))
	err := h.each(len(a.Args), func(k int) error {
		i := h.sc.node(a.Args[k])
		s := g.seats[i]
		if s == nil {
			return fmt.Errorf("%s never asked to join", a.Args[k])
		}
		for range a.count() {
			s.sent++
			m := &realMessage{text: fmt.Sprintf("%s %d", a.Args[k], s.sent), node: i, net: h.state, beyond: s.out > 0}
			id, err := h.nodes[i].send(ctx, g.id, m.text, a.fileSize())
			if err != nil {
				return err
			}
			m.id, m.when, m.at = id, h.tick(), time.Now()
			h.mark(a, a.Args[k], "send", m.text)
			sent[k] = append(sent[k], m)
		}
		return nil
	})
	g.sent = append(g.sent, slices.Concat(sent...)...)
	h.say("%s: send %s, %d each", named(a.Args), g.decl.Name, a.count())
	return err
}

func (h *realWorld) remove(ctx context.Context, a Action) error {
	g, by := h.groupOf(a), h.sc.node(a.Args[0])
	for _, whom := range a.Args[1:] {
		i := h.sc.node(whom)
		if err := h.nodes[by].remove(ctx, g.id, h.nodes[i].as()); err != nil {
			return err
		}
		if s := g.seats[i]; s != nil && g.seats[by].out == 0 { // who is out removes nobody
			s.out, s.by = h.tick(), by
		}
		h.mark(a, a.Args[0], "remove", whom)
		h.say("%s: group remove %s %s", a.Args[0], g.decl.Name, whom)
	}
	return nil
}

// role waits until the user that gets the role knows it.
func (h *realWorld) role(ctx context.Context, a Action) error {
	g, by, whom := h.groupOf(a), h.sc.node(a.Args[0]), h.sc.node(a.Args[1])
	if err := h.nodes[by].role(ctx, g.id, h.nodes[whom].as(), a.Args[2]); err != nil {
		return err
	}
	h.say("%s: group role %s %s %s", a.Args[0], g.decl.Name, a.Args[1], a.Args[2])
	if h.cuts[[2]int{by, whom}] {
		return nil
	}
	limit, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		shown, err := h.nodes[whom].status(limit, g.id)
		if err == nil && shown.Role == a.Args[2] {
			return nil
		}
		if err := h.until(limit, time.Now().Add(h.poll)); err != nil {
			return fmt.Errorf("%s does not hear that it is %s", a.Args[1], a.Args[2])
		}
	}
}

func (h *realWorld) leave(ctx context.Context, a Action) error {
	g := h.groupOf(a)
	err := h.eachNode(a.Args, func(i int, p realNode) error {
		err := p.leave(ctx, g.id)
		if err == nil && g.seats[i] != nil {
			g.seats[i].out, g.seats[i].by = h.tick(), i
			h.mark(a, h.name(i), "leave", "")
		}
		return err
	})
	h.say("%s: group leave %s", named(a.Args), g.decl.Name)
	return err
}

func (h *realWorld) partition(ctx context.Context, a Action) error {
	side := make([]int, len(h.nodes))
	for i, names := range sides(a.Args) {
		for _, n := range names {
			side[h.sc.node(n)] = i + 1
		}
	}
	h.sided(side)
	clear(h.cuts)
	for i := range side {
		for j := range side {
			if side[i] != side[j] {
				h.cuts[[2]int{i, j}] = true
			}
		}
	}
	var text []string
	for _, names := range sides(a.Args) {
		text = append(text, named(names))
	}
	return h.apply(ctx, "CUT: "+strings.Join(text, " | "))
}

func (h *realWorld) heal(ctx context.Context, _ Action) error {
	h.sided(nil)
	clear(h.cuts)
	err := h.apply(ctx, "HEAL")
	h.healed = time.Now()
	return err
}

func (h *realWorld) cutOne(ctx context.Context, a Action) error {
	link := [2]int{h.sc.node(a.Args[0]), h.sc.node(a.Args[1])}
	delete(h.cuts, link)
	if a.Verb == "cut" {
		h.cuts[link] = true
	}
	return h.apply(ctx, a.Verb+" "+strings.Join(a.Args, " → "))
}

func (h *realWorld) online(ctx context.Context, a Action) error {
	for _, name := range a.Args {
		h.mark(a, name, a.Verb, "")
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
	if err := h.apply(ctx, a.Verb+" "+named(a.Args)); err != nil {
		return err
	}
	if a.Verb == "online" {
		h.healed = time.Now()
	}
	return nil
}

func (h *realWorld) apply(ctx context.Context, what string) error {
	h.state++
	h.history = append(h.history, maps.Clone(h.cuts))
	err := h.net.cut(ctx, h.cuts)
	h.say("%s (%d of %d directions drop every packet)", what, len(h.cuts), len(h.nodes)*(len(h.nodes)-1))
	return err
}

func (h *realWorld) crash(_ context.Context, a Action) error {
	p := h.nodes[h.sc.node(a.Args[0])]
	if !p.alive() {
		return fmt.Errorf("%s is down", a.Args[0])
	}
	h.say("%s: kill -9", a.Args[0])
	p.kill()
	h.down[h.sc.node(a.Args[0])] = true
	h.mark(a, a.Args[0], "crash", "")
	return nil
}

func (h *realWorld) restart(ctx context.Context, a Action) error {
	for _, name := range a.Args {
		i := h.sc.node(name)
		h.nodes[i].kill()
		start := time.Now()
		if err := h.nodes[i].start(ctx); err != nil {
			return err
		}
		h.starts[i]++
		delete(h.down, i)
		h.mark(a, name, "start", "")
		h.say("%s: run (ready after %.2f s)", name, time.Since(start).Seconds())
	}
	return nil
}

// backup kills a node, copies its home and starts it again.
func (h *realWorld) backup(ctx context.Context, a Action) error {
	p := h.nodes[h.sc.node(a.Args[0])]
	p.kill()
	if err := copyHome(p.where()+".before", p.where()); err != nil {
		return err
	}
	h.say("%s: kill -9, and its home is copied", a.Args[0])
	return h.restart(ctx, a)
}

// rollback is what somebody does who was taken out and wants to be in: the node has its home of
// before again, and does not know that it is one.
func (h *realWorld) rollback(ctx context.Context, a Action) error {
	p := h.nodes[h.sc.node(a.Args[0])]
	p.kill()
	if err := copyHome(p.where(), p.where()+".before"); err != nil {
		return fmt.Errorf("the backup of %s: %w", a.Args[0], err)
	}
	for _, g := range h.groups {
		if s := g.seats[h.sc.node(a.Args[0])]; s != nil && s.out > 0 {
			s.behind = true
		}
	}
	h.say("%s: kill -9, and it has its home of before", a.Args[0])
	return h.restart(ctx, a)
}

// copyHome puts a copy of a home in the place of another, without the socket.
func copyHome(to, from string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		name, relErr := filepath.Rel(from, path)
		target := filepath.Join(to, name)
		switch {
		case errors.Join(err, relErr) != nil:
			return errors.Join(err, relErr)
		case e.IsDir():
			return os.MkdirAll(target, 0o700)
		case !e.Type().IsRegular():
			return nil
		}
		b, err := os.ReadFile(path) //nolint:gosec // of this world
		if err != nil {
			return err
		}
		return os.WriteFile(target, b, 0o600)
	})
}
