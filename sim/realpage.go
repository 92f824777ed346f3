package sim

import (
	"cmp"
	"context"
	"errors"
	"io"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// Whole nodes have the same page as group machines: the entries and events of the nodes,
// and the actions on them, are put where the core backend keeps its history.

// realMark is an action on a node.
type realMark struct {
	at   time.Time
	node int
	kind string
	text string
}

func (h *realWorld) mark(_ Action, name, kind, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.marks = append(h.marks, realMark{time.Now(), h.sc.node(name), kind, text})
}

// sided notes the sides of a partition, and the end of the one before; nil: it is over.
func (h *realWorld) sided(side []int) {
	if n := len(h.sides); n > 0 && h.sides[n-1].To.IsZero() {
		h.sides[n-1].To = h.virtual(time.Now())
	}
	if side != nil {
		h.sides = append(h.sides, &partition{From: h.virtual(time.Now()), Side: side})
	}
}

// virtual is a time of the run as the core backend counts it.
func (h *realWorld) virtual(t time.Time) time.Time { return epochZero.Add(t.Sub(h.begun)) }

// WriteHTML writes the report as one self-contained page, if RealOptions.Page was set.
func (r *RealReport) WriteHTML(out io.Writer) error {
	if r.page == nil {
		return errors.New("no page was asked for")
	}
	return r.page.WriteHTML(out)
}

// draw collects the data of the page.
func (h *realWorld) draw(ctx context.Context) error {
	sc := *h.sc
	sc.Run = time.Since(h.begun).Round(time.Second)
	w := &core{sc: &sc, net: &network{from: h.sides}}
	r := &Report{
		Scenario: sc.Name, Title: sc.Title, Seed: sc.Seed, Backend: h.report.Backend, Judged: h.report.Judged, Violations: h.report.Violations,
		Unexpected: h.report.Unexpected, Records: h.report.Records, Counts: map[string]int{}, Virtual: sc.Run.Seconds(),
		Replay: "pandanode sim run " + sc.Name + " --backend " + h.report.Backend, world: w, text: &sc,
	}
	for i, n := range sc.Nodes {
		device, err := wire.ParseDeviceID(h.nodes[i].device())
		if err != nil {
			return err
		}
		w.nodes = append(w.nodes, &cnode{index: i, name: n.Name, dev: &identity.Device{ID: device}, seats: map[int]*seat{}})
	}
	for _, m := range h.marks {
		w.hist.marks = append(w.hist.marks, mark{At: h.virtual(m.at), Node: w.nodes[m.node], Kind: m.kind, Text: m.text})
	}
	for i, g := range h.groups {
		o, err := h.observe(ctx, w, i, g)
		if err != nil {
			return err
		}
		r.obs = append(r.obs, o)
		r.Counts["forks"] += o.Forks
		r.Counts["epochs"] += len(o.Dag.epochs)
	}
	for _, m := range w.hist.marks {
		switch m.Kind {
		case "crash":
			r.Counts["crashes"]++
		case "switch":
			r.Counts["switches"]++
		}
	}
	for _, n := range h.report.Nodes {
		r.Devices = append(r.Devices, DeviceReport{Name: n.Name, Group: n.Group, State: n.State, Epoch: n.Epoch, Shown: n.Held})
	}
	h.report.page = r
	return nil
}

// observe reads a group's entries and events from its nodes.
func (h *realWorld) observe(ctx context.Context, w *core, i int, g *realGroup) (*observation, error) {
	o := &observation{Group: g.decl.Name}
	live := h.live(g)
	if len(live) == 0 {
		return nil, errors.New("nobody is left to ask")
	}
	genesis, raws, err := h.shared(ctx, g, live[0])
	if err != nil {
		return nil, err
	}
	o.Dag = readDag(genesis, engine.MLS(genesis.Suite), raws)
	o.Forks = o.Dag.forks()
	cg := &cgroup{decl: g.decl, index: i, genesis: genesis}
	w.groups = append(w.groups, cg)
	for n, p := range h.nodes {
		if g.seats[n] == nil {
			continue
		}
		s := &seat{n: w.nodes[n], g: cg}
		w.nodes[n].seats[i] = s
		cg.seats = append(cg.seats, s)
		v := &deviceView{Name: s.n.name, Device: s.n.dev.ID, Live: slices.Contains(live, n)}
		o.Devices = append(o.Devices, v)
		if !p.alive() {
			continue
		}
		st, err := p.status(ctx, g.id)
		if err != nil {
			return nil, err
		}
		v.Status.State = group.State(st.State)
		if id, err := wire.ParseEntryHash(st.EpochID); err == nil && n == live[0] {
			o.Head = o.Dag.epochs[wire.EpochID(id)]
		}
		events, err := p.events(ctx, g.id)
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			if err := h.happened(w, s, e); err != nil {
				return nil, err
			}
		}
	}
	for _, m := range g.sent {
		id, err := wire.ParseEntryHash(m.id)
		if err != nil {
			return nil, err
		}
		o.Sent = append(o.Sent, &accepted{ID: id, At: h.virtual(m.at), Seat: w.nodes[m.node].seats[i]})
	}
	byTime := func(a, b time.Time) int { return cmp.Compare(a.UnixNano(), b.UnixNano()) }
	slices.SortStableFunc(w.hist.moves, func(a, b move) int { return byTime(a.At, b.At) })
	slices.SortStableFunc(w.hist.marks, func(a, b mark) int { return byTime(a.At, b.At) })
	return o, nil
}

// shared gives a group's genesis and entries as one node has them.
func (h *realWorld) shared(ctx context.Context, g *realGroup, node int) (*identity.Genesis, map[wire.EntryHash][]byte, error) {
	all, err := h.nodes[node].entries(ctx, g.id)
	if err != nil {
		return nil, nil, err
	}
	if len(all) == 0 {
		return nil, nil, errors.New("a group without a genesis")
	}
	signed, err := wire.DecodeSigned(all[0].Genesis, wire.MaxGenesis+128)
	if err != nil {
		return nil, nil, err
	}
	genesis, err := identity.VerifyGenesis(signed)
	if err != nil {
		return nil, nil, err
	}
	raws := map[wire.EntryHash][]byte{}
	for _, e := range all[1:] {
		signed, err := wire.DecodeSigned(e.Entry, wire.MaxEntry+128)
		if err != nil {
			return nil, nil, err
		}
		raws[wire.EntryHashOf(genesis.ID, signed.Payload)] = e.Entry
	}
	return genesis, raws, nil
}

// happened adds an event of a node to the data of the page.
func (h *realWorld) happened(w *core, s *seat, e api.Event) error {
	at := h.virtual(e.At)
	switch e.Kind {
	case api.EventEpoch, api.EventJoined: // a joiner begins where it was welcomed
		id, err := wire.ParseEntryHash(e.EpochID) // hashes have one text form
		if err != nil {
			return err
		}
		w.hist.moves = append(w.hist.moves, move{At: at, Seat: s, To: wire.EpochID(id)})
	case api.EventMessage:
		id, err := wire.ParseEntryHash(e.Message)
		if err != nil {
			return err
		}
		w.hist.reads = append(w.hist.reads, read{At: at, Seat: s, ID: id})
	case api.EventOut:
		w.hist.marks = append(w.hist.marks, mark{At: at, Node: s.n, Kind: "out"})
	case api.EventForkHealed:
		w.hist.marks = append(w.hist.marks, mark{At: at, Node: s.n, Kind: "switch", Text: e.Detail})
	default:
	}
	return nil
}
