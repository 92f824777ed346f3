package sim

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/wire"
)

// realView is a group as one node shows it.
type realView struct {
	node     int
	status   api.GroupStatus
	members  []string // user, role and whether it is in the tree; sorted
	messages []api.Message
}

// files lists the files of the messages that a node shows.
func (v *realView) files() (out []api.File) {
	for _, m := range v.messages {
		out = append(out, m.Files...)
	}
	return out
}

// absent is a file that a node lacks.
type absent struct {
	node int
	what string
}

// absentFile finds a file that a node shows and has not whole, though another one has; nil:
// there is none.
func absentFile(views []*realView) *absent {
	held := map[string]bool{}
	for _, v := range views {
		for _, f := range v.files() {
			held[f.ID] = held[f.ID] || f.State == api.FileHere
		}
	}
	for _, v := range views {
		for _, f := range v.files() {
			if held[f.ID] && f.State != api.FileHere {
				return &absent{v.node, fmt.Sprintf("of a file that another node has, %d of %d bytes are here. %s", f.Have, f.Sealed, f.Why)}
			}
		}
	}
	return nil
}

func (h *realWorld) name(i int) string { return h.sc.Nodes[i].Name }

// live are the nodes that must agree in the end: those that asked to join, were not
// taken out and run.
func (h *realWorld) live(g *realGroup) (out []int) {
	for i, p := range h.nodes {
		if s := g.seats[i]; s != nil && s.out == 0 && p.alive() {
			out = append(out, i)
		}
	}
	return out
}

func (h *realWorld) look(ctx context.Context, g *realGroup, i int) (*realView, error) {
	v := &realView{node: i}
	var err error
	if v.status, err = h.nodes[i].status(ctx, g.id); err != nil {
		return nil, err
	}
	members, err := h.nodes[i].members(ctx, g.id)
	if err != nil {
		return nil, err
	}
	for _, m := range members {
		v.members = append(v.members, fmt.Sprintf("%s %s %t", m.User, m.Role, m.InTree))
	}
	slices.Sort(v.members)
	v.messages, err = h.nodes[i].messages(ctx, g.id)
	return v, err
}

// lookAll looks at a group on all live nodes.
func (h *realWorld) lookAll(ctx context.Context, g *realGroup) ([]*realView, error) {
	live := h.live(g)
	views := make([]*realView, len(live))
	err := h.each(len(live), func(k int) (err error) {
		views[k], err = h.look(ctx, g, live[k])
		return err
	})
	if err == nil && len(live) > 0 {
		err = h.learn(ctx, g, live[:1])
	}
	return views, err
}

// learn reads the group's entries from nodes: what is owed is a function of them, as in the
// core backend.
func (h *realWorld) learn(ctx context.Context, g *realGroup, nodes []int) error {
	all := map[wire.EntryHash][]byte{}
	for _, n := range nodes {
		genesis, raws, err := h.shared(ctx, g, n)
		if err != nil {
			return err
		}
		g.genesis = genesis
		maps.Copy(all, raws)
	}
	g.dag = readDag(g.genesis, engine.MLS(g.genesis.Suite), all)
	return nil
}

// owes says whether a node must show a message: by the entries of the group, if the message
// is among them, else by what the scenario did.
func (h *realWorld) owes(g *realGroup, m *realMessage, i int) bool {
	s := g.seats[i]
	if m.beyond {
		return false
	}
	if g.dag != nil && s != nil && s.in > 0 && s.out == 0 {
		id, err := wire.ParseEntryHash(m.id)
		device, err2 := wire.ParseDeviceID(h.nodes[i].device())
		if r := g.dag.by[id]; r != nil && err == nil && err2 == nil {
			return g.dag.owed(r, device)
		}
	}
	return g.owes(m, i, h.apart)
}

// converge waits until every group has come to rest, for as long as limit.
func (h *realWorld) converge(ctx context.Context, limit time.Duration) error {
	from := time.Now()
	since := from
	if !h.healed.IsZero() {
		since = h.healed
	}
	waits, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var lacks, said string
	for {
		lacks = ""
		for _, g := range h.groups {
			views, err := h.lookAll(waits, g)
			if err != nil {
				lacks = err.Error()
				break
			}
			if lacks = h.lacking(g, views); lacks != "" {
				break
			}
		}
		if lacks == "" {
			h.report.Converged = time.Since(since).Seconds()
			h.say("CONVERGED %.1f s after the heal: one epoch, one roster, nothing waits, everything is everywhere", h.report.Converged)
			return nil
		}
		if lacks != said && waits.Err() == nil {
			said = lacks
			h.say("not yet: %s", lacks)
		}
		if err := h.until(waits, time.Now().Add(h.poll)); err != nil {
			h.say("NOT CONVERGED %v after the last action: %s", limit, said)
			return ctx.Err() // judge reports the rest
		}
	}
}

// lacking says why a group is not at rest; empty: it is.
func (h *realWorld) lacking(g *realGroup, views []*realView) string {
	for _, v := range views {
		name, st := h.name(v.node), v.status
		switch first := views[0]; {
		case st.State != api.StateMember:
			return fmt.Sprintf("%s is %s", name, st.State)
		case st.Outbox+st.Gaps+st.Parked > 0:
			return fmt.Sprintf("%s has %d in its outbox, %d gaps, %d parked", name, st.Outbox, st.Gaps, st.Parked)
		case !slices.Equal(v.members, first.members):
			return fmt.Sprintf("%s and %s have different rosters", name, h.name(first.node))
		case st.EpochID != first.status.EpochID || st.Authenticator != first.status.Authenticator:
			return fmt.Sprintf("%s is at epoch %d, %s at another %d", name, st.Epoch, h.name(first.node), first.status.Epoch)
		case st.Members != len(h.live(g)) && !slices.ContainsFunc(h.nodes, func(p realNode) bool { return !p.alive() }):
			return fmt.Sprintf("%s shows %d members, there should be %d", name, st.Members, len(h.live(g)))
		}
		if d := h.deliveries(g, v); d.lost > 0 {
			return fmt.Sprintf("%s lacks %d of %d messages", name, d.lost, d.owed)
		}
	}
	if a := absentFile(views); a != nil {
		return fmt.Sprintf("%s: %s", h.name(a.node), a.what)
	}
	return ""
}

// realDelivery is one node's part of the messages of a group.
type realDelivery struct {
	owed, held, twice, lost int
	wrong                   []string
}

// owes says whether a node certainly must show a message. A message from before the node
// was let in is owed only if it cannot have been in the past of the addition, because the
// two were on different sides of one cut.
func (g *realGroup) owes(m *realMessage, i int, apart func(a, b, state int) bool) bool {
	s := g.seats[i]
	switch {
	case s == nil || s.out > 0 || s.in == 0:
		return false
	case !s.mayBeOlder || m.when > s.in || m.node == i:
		return true
	default:
		return m.net == s.net && apart(m.node, i, s.net)
	}
}

// forbids says whether a node must not show a message: the member that removed the node
// sent it later, or everybody knew of the removal.
func (g *realGroup) forbids(m *realMessage, i int) bool {
	s := g.seats[i]
	return s == nil || s.out > 0 && m.when > s.out && (m.node == s.by || m.net < 0)
}

// isBehind says whether a node that is out lives in a past in which it was not. Another node of
// that past writes to it, and neither can know, until a member tells them, that both are out.
func (g *realGroup) isBehind(i int) bool {
	s := g.seats[i]
	return s != nil && s.behind
}

func (h *realWorld) deliveries(g *realGroup, v *realView) (d realDelivery) {
	shown := map[string]int{}
	place := map[string]int{}
	for n, m := range v.messages {
		shown[m.ID]++
		place[m.ID] = n
	}
	last := map[int]int{} // by author, the place of its newest message so far
	known := map[string]bool{}
	for _, m := range g.sent {
		known[m.id] = true
		n := shown[m.id]
		if h.owes(g, m, v.node) {
			d.owed++
			if n == 0 {
				d.lost++
				d.wrong = append(d.wrong, fmt.Sprintf("%q is not shown", m.text))
			} else {
				d.held++
			}
		}
		if n > 1 {
			d.twice++
			d.wrong = append(d.wrong, fmt.Sprintf("%q is shown %d times", m.text, n))
		}
		if n == 0 {
			continue
		}
		if m.beyond && m.node != v.node && !g.isBehind(v.node) {
			d.wrong = append(d.wrong, fmt.Sprintf("%q is shown by %s, and who sent it was out", m.text, h.name(v.node)))
		}
		if !m.beyond && g.forbids(m, v.node) {
			d.wrong = append(d.wrong, fmt.Sprintf("%q is shown to one who was out", m.text))
		}
		if before, ok := last[m.node]; ok && place[m.id] < before {
			d.wrong = append(d.wrong, fmt.Sprintf("%q is shown before what its author sent earlier", m.text))
		}
		last[m.node] = place[m.id]
		if got := v.messages[place[m.id]].Text; got != m.text {
			d.wrong = append(d.wrong, fmt.Sprintf("%q is shown as %q", m.text, got))
		}
	}
	for _, m := range v.messages {
		if !known[m.ID] {
			d.wrong = append(d.wrong, fmt.Sprintf("%q is shown, which nobody sent", m.Text))
		}
	}
	return d
}

// apart says whether packets from a to b were dropped in a state of the network.
func (h *realWorld) apart(a, b, state int) bool { return h.history[state][[2]int{a, b}] }

// probe has every live member send once more, after all is at rest, and waits for it
// to be everywhere. Nobody who is out may read it.
func (h *realWorld) probe(ctx context.Context) {
	if h.report.Converged < 0 {
		return
	}
	start := time.Now()
	for _, g := range h.groups {
		for _, i := range h.live(g) {
			m := &realMessage{text: h.name(i) + ": the end", node: i, net: -1}
			id, err := h.nodes[i].send(ctx, g.id, m.text, 0)
			if err != nil {
				h.report.violate(8, g.decl.Name, "%v", err)
				continue
			}
			m.id, m.when, m.at = id, h.tick(), time.Now()
			g.seats[i].sent++
			g.sent = append(g.sent, m)
		}
		waits, cancel := context.WithTimeout(ctx, time.Minute)
		for waits.Err() == nil {
			views, err := h.lookAll(waits, g)
			if err == nil && h.lacking(g, views) == "" {
				break
			}
			if err := h.until(waits, time.Now().Add(h.poll)); err != nil {
				break // judge reports what is missing
			}
		}
		cancel()
	}
	h.say("every member sends once more; it is everywhere %.1f s later", time.Since(start).Seconds())
}

// judge fills the report.
func (h *realWorld) judge(ctx context.Context) {
	r := h.report
	for _, g := range h.groups {
		name := g.decl.Name
		r.Records.Sent += len(g.sent)
		views, err := h.lookAll(ctx, g)
		if err == nil {
			err = h.learn(ctx, g, h.live(g))
		}
		if err != nil {
			r.violate(0, name, "%v", err)
			continue
		}
		r.judged(1, len(h.live(g)))
		r.judged(5, len(h.live(g)))
		for _, v := range views {
			r.judged(20, len(v.files()))
		}
		if lacks := h.lacking(g, views); lacks != "" {
			inv := 1
			switch {
			case strings.Contains(lacks, "lacks"):
				inv = 4
			case strings.Contains(lacks, "outbox"):
				inv = 5
			case absentFile(views) != nil:
				inv = 20
			}
			r.violate(inv, name, "%s", lacks)
		}
		for i := range h.nodes {
			if g.seats[i] != nil {
				h.judgeNode(ctx, g, i)
			}
		}
	}
	got := map[string]int{"records": r.Records.Sent, "lost": r.Records.Lost, "settled": int(math.Ceil(r.Converged))}
	if r.Converged < 0 {
		got["settled"] = math.MaxInt
	}
	for _, e := range h.sc.Expect {
		if !e.met(got[e.What]) {
			r.Unexpected = append(r.Unexpected, fmt.Sprintf("%v: it is %d", e, got[e.What]))
		}
	}
	for i, p := range h.nodes {
		r.judged(0, 1)
		if p.lives() != h.starts[i] || !p.alive() && !h.down[i] {
			r.violate(0, "", "%s did not go through: started %d times, %d were asked for, runs: %t\n%s", h.name(i), p.lives(), h.starts[i], p.alive(), p.last())
		}
	}
}

func (h *realWorld) judgeNode(ctx context.Context, g *realGroup, i int) {
	r, p, s := h.report, h.nodes[i], g.seats[i]
	row := RealNode{Name: h.name(i), Group: g.decl.Name, State: "down", Starts: p.lives(), Sent: s.sent}
	defer func() { r.Nodes = append(r.Nodes, row) }()
	if !p.alive() {
		return
	}
	v, err := h.look(ctx, g, i)
	if err != nil {
		row.State = "unknown"
		r.violate(0, g.decl.Name, "%v", err)
		return
	}
	row.State, row.Epoch, row.Members = string(v.status.State), v.status.Epoch, v.status.Members
	row.Authenticator = v.status.Authenticator
	d := h.deliveries(g, v)
	row.Owed, row.Held, row.Twice, row.Lost = d.owed, d.held, d.twice, d.lost
	r.Records.Owed += d.owed
	r.Records.Held += d.held
	r.Records.Twice += d.twice
	r.Records.Lost += d.lost
	r.judged(4, d.owed)
	for _, w := range d.wrong {
		r.violate(4, g.decl.Name, "%s: %s", row.Name, w)
	}
	if s.out > 0 {
		r.judged(7, 1)
	}
	if s.out > 0 && v.status.State != api.StateOut {
		r.violate(7, g.decl.Name, "%s was removed and is %s", row.Name, v.status.State)
	}
}
