package sim

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/pandanode/pandanode/internal/signature"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// Violation says that an invariant does not hold.
type Violation struct {
	Invariant int    `json:"invariant"`
	Name      string `json:"name"`
	Group     string `json:"group,omitempty"`
	Detail    string `json:"detail"`
}

func (v Violation) String() string {
	return fmt.Sprintf("invariant %d (%s): %s", v.Invariant, v.Name, v.Detail)
}

// Report is the result of a run.
type Report struct {
	Scenario   string         `json:"scenario"`
	Title      string         `json:"title"`
	Seed       uint64         `json:"seed"`
	Backend    string         `json:"backend,omitempty"` // empty: core
	Digest     string         `json:"digest"`
	Judged     []Judged       `json:"judged"`
	Violations []Violation    `json:"violations"`
	Unexpected []string       `json:"unexpected"` // expectations of the scenario that did not come true
	Records    Records        `json:"records"`
	Counts     map[string]int `json:"counts"`
	Devices    []DeviceReport `json:"devices"`
	Refused    []string       `json:"refused"` // actions that could not be carried out
	Virtual    float64        `json:"virtual_seconds"`
	Events     uint64         `json:"events"`
	Replay     string         `json:"replay"`
	Actions    int            `json:"actions"`
	Series     *Series        `json:"series,omitempty"` // nil: not of whole nodes

	Verbs        map[string]int `json:"verbs"`         // how often each was carried out
	RefusedVerbs map[string]int `json:"refused_verbs"` // and how often it could not be

	world  *core
	obs    []*observation
	text   *Scenario
	missed []string // of each of Unexpected, in which way: Shrink compares that

	delivered []float64 // see deliveryTimes
}

// Records counts messages and their readers, edits, deletions and reactions among them. A
// record is owed to a reader if it must be readable there; Lost is owed and not held.
type Records struct {
	Sent  int `json:"sent"`
	Owed  int `json:"readers_owed"`
	Held  int `json:"held"`
	Twice int `json:"shown_twice"`
	Lost  int `json:"lost"`

	Content *ContentRecords `json:"content,omitempty"` // nil: not judged
}

// String is for a table.
func (r Records) String() string {
	s := fmt.Sprintf("%d sent, %d readers owed, %d held, %d shown twice, %d lost", r.Sent, r.Owed, r.Held, r.Twice, r.Lost)
	if c := r.Content; c != nil {
		s += fmt.Sprintf("; %d edits, %d deletions, %d reactions; %d answers, %d in threads, %d mention somebody; %d profiles; %d messages expired, %d are owed to nobody; %d copies erased, %d come back", c.Edits, c.Deletes, c.Reactions, c.Answers, c.Threads, c.Mentions, c.Profiles, c.Expired, c.Taken, c.Erased, c.Back)
		s += fmt.Sprintf("; %d files, %d copies wanted, %d whole, %d gone with their message, %d in mailboxes", c.Files, c.FilesOwed, c.FilesHeld, c.FilesGone, c.FilesBoxed)
	}
	return s
}

func (r *Records) add(x Records) {
	r.Sent += x.Sent
	r.Owed += x.Owed
	r.Held += x.Held
	r.Twice += x.Twice
	r.Lost += x.Lost
	if x.Content != nil {
		if r.Content == nil {
			r.Content = &ContentRecords{}
		}
		r.Content.add(*x.Content)
	}
}

// DeviceReport is one device in one group.
type DeviceReport struct {
	Name      string `json:"name"`
	Group     string `json:"group"`
	State     string `json:"state"`
	Live      bool   `json:"live"`
	Hostile   bool   `json:"hostile,omitempty"`
	Epoch     uint64 `json:"epoch"`
	Shown     int    `json:"shown"`
	Switches  int    `json:"switches"`
	LogBytes  int    `json:"log_bytes"` // of the entries, its own and the others'
	DiskBytes int    `json:"disk_bytes"`
	Gossip    int    `json:"gossip_bytes"`
	Sync      int    `json:"sync_bytes"`
	PeakState int    `json:"peak_epochs"`
}

// OK says whether every invariant holds and every expectation came true.
func (r *Report) OK() bool { return len(r.Violations)+len(r.Unexpected) == 0 }

// Options of a run.
type Options struct {
	Progress func(format string, args ...any) // nil: nobody listens
	NoProbe  bool                             // do not let everybody send once more at the end
}

// quietTail is the part of a run, at its end, in which nothing is done to the world and in
// which the world must be at rest. It is half of the time after the last action.
func quietTail(sc *Scenario) time.Duration {
	var last time.Duration
	for _, a := range sc.Actions {
		last = max(last, a.At)
	}
	return (sc.Run - last) / 2
}

// Run plays a scenario in the core backend. An error means that the scenario could not be
// played. Invariants that did not hold are in the report.
func Run(ctx context.Context, sc *Scenario, opt Options) (*Report, error) {
	if opt.Progress == nil {
		opt.Progress = func(string, ...any) {}
	}
	if slices.ContainsFunc(sc.Expect, func(e Expectation) bool { return e.What == "settled" }) {
		return nil, fmt.Errorf("%s: %w: only whole nodes settle: --backend net or host", sc.Name, ErrScenario)
	}
	signature.Remember(1 << 18) // all devices of a world check what each of them signs
	w, err := newCore(sc, opt)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", sc.Name, err)
	}
	for i := range sc.Actions {
		a := sc.Actions[i]
		w.at(epochZero.Add(a.At), func() { w.act(a) })
	}
	for _, a := range sc.Actions {
		if at, ok := a.opt("at"); ok && a.Verb == "restore" {
			d, err := duration(at)
			if err != nil {
				return nil, err
			}
			w.at(epochZero.Add(d), func() { w.backUp(w.nodeOf(a.Args[0]), at) })
		}
	}
	w.after(sc.Sync, func() { w.syncAll(sc.Sync) })
	w.sampler = newSampler(sc.Run)
	end := epochZero.Add(sc.Run)
	var stuck error
	for step := max(sc.Run/10, time.Second); w.now.Before(end) && stuck == nil; {
		next := w.now.Add(step)
		if next.After(end) {
			next = end
		}
		stuck = w.until(ctx, next)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s: %w", sc.Name, ctx.Err())
		}
		opt.Progress("%s  %s of %s, %d events, %d messages sent, %d shown", sc.Name, span(w.now.Sub(epochZero).Round(time.Second)), span(sc.Run), w.done, len(w.hist.sent), w.hist.shownTotal)
	}
	r := &Report{
		Scenario: sc.Name, Title: sc.Title, Seed: sc.Seed, Violations: []Violation{}, Unexpected: []string{},
		Refused: []string{}, Counts: map[string]int{}, Virtual: sc.Run.Seconds(), Actions: len(sc.Actions), world: w, text: sc,
	}
	r.Replay = cmp.Or(sc.again, "pandanode sim run "+sc.Name)
	if stuck != nil {
		r.Violations = append(r.Violations, Violation{12, "rest", "", stuck.Error()})
	}
	w.sample(w.now)
	r.Series, w.sampler = w.sampler.series, nil
	rest := end.Add(-quietTail(sc))
	for _, g := range w.groups {
		r.obs = append(r.obs, w.observe(g, rest))
	}
	if !opt.NoProbe && stuck == nil {
		w.probe(ctx, r)
	}
	r.judge()
	r.count()
	r.Series.complete(r)
	d := w.digest(true)
	r.Digest, r.Events = hex.EncodeToString(d[:]), w.done
	r.Refused = append(r.Refused, w.hist.refused...)
	r.Verbs, r.RefusedVerbs = w.hist.verbs, w.hist.refusedVerbs
	return r, nil
}

// probe lets every live member send once more, and notes which devices can read that.
func (w *core) probe(ctx context.Context, r *Report) {
	for i, g := range w.groups {
		o := r.obs[i]
		for _, s := range g.seats {
			if d := o.device(s.n.name); d == nil || !d.Live {
				continue
			}
			out, err := s.step(group.Send{Content: wire.Content{MediaType: "text/plain", Data: []byte("the end")}})
			if err == nil {
				o.Probed[out.Entry] = s.n.name
			}
		}
	}
	if len(r.obs) == 0 {
		return
	}
	// Gossip may lose it, and devices meet by chance: those that lack it get more time.
	for range probeTries {
		err := w.until(ctx, w.now.Add(max(5*time.Minute, 3*w.sc.Sync)))
		if err != nil {
			r.Violations = append(r.Violations, Violation{12, "rest", "", err.Error()})
		}
		if w.noteProbed(r) || err != nil {
			break
		}
	}
}

const probeTries = 6

// noteProbed notes what live members show since they were looked at, and says whether each
// of them shows all that was sent in the end.
func (w *core) noteProbed(r *Report) bool {
	everywhere := true
	for i, g := range w.groups {
		o := r.obs[i]
		for _, s := range g.seats {
			d := o.device(s.n.name)
			if d == nil || !d.Live || s.m == nil {
				continue
			}
			if all, err := s.m.Journal().Messages(0, 0); err == nil {
				for _, m := range all[min(len(all), len(d.Shown)):] {
					d.Shown = append(d.Shown, m.ID)
				}
			}
			for id := range o.Probed {
				everywhere = everywhere && slices.Contains(d.Shown, id)
			}
		}
	}
	return everywhere
}

func (o *observation) device(name string) *deviceView {
	for _, d := range o.Devices {
		if d.Name == name {
			return d
		}
	}
	return nil
}

func (r *Report) judge() {
	for _, o := range r.obs {
		for _, inv := range Invariants {
			r.Judged = judgedOf(r.Judged, inv, inv.of(o))
			for _, detail := range inv.check(o) {
				r.Violations = append(r.Violations, Violation{inv.Number, inv.Name, o.Group, detail})
			}
		}
	}
}

// count fills the tables, and compares them with the scenario's expectations.
func (r *Report) count() {
	w := r.world
	for i, o := range r.obs {
		records, said := o.deliveries().Records, o.content()
		records.Content = &said
		r.Records.add(records)
		r.Counts["edits"] += said.Edits
		r.Counts["deletes"] += said.Deletes
		r.Counts["reactions"] += said.Reactions
		r.Counts["expired"] += said.Expired
		r.Counts["erased"] += said.Erased
		r.Counts["back"] += said.Back
		r.Counts["files"] += said.Files
		r.Counts["forks"] += o.Forks
		r.Counts["epochs"] += len(o.Dag.epochs)
		r.Counts["removals"] += len(o.Dag.ops(wire.OpRemove))
		r.Counts["live"] += len(o.live())
		r.Counts["pathless"] += 0
		r.Counts["twins"] += 0 // it is there, too, if nobody was told
		r.Counts["evidence"] += o.Dag.forkedLogs()
		for _, e := range o.Dag.entries {
			if e.commit != nil {
				r.Counts["commits"]++
				if e.info != nil && !e.info.Path {
					r.Counts["pathless"]++
				}
			}
		}
		for _, d := range o.Devices {
			s := w.nodes[w.sc.node(d.Name)].seats[i]
			r.Counts["switches"] += d.Switches
			r.Counts["destroyed"] += s.destroyed
			if s.twin {
				r.Counts["twins"]++
			}
			r.Devices = append(r.Devices, DeviceReport{
				Name: d.Name, Group: o.Group, State: string(d.Status.State), Live: d.Live, Hostile: d.Hostile, Epoch: d.Status.Epoch,
				Shown: s.shown, Switches: d.Switches, LogBytes: s.disk.size("entry/"), DiskBytes: s.disk.bytes, Gossip: s.traffic.gossip, Sync: s.traffic.sync, PeakState: d.PeakEpochs,
			})
		}
	}
	if c := r.Records.Content; c != nil {
		c.FilesBoxed = w.hist.mailedFiles
	}
	r.Counts["owed"], r.Counts["mailed"] = r.Records.Owed, w.hist.mailed
	r.Counts["records"], r.Counts["held"], r.Counts["lost"] = r.Records.Sent, r.Records.Held, r.Records.Lost
	r.Counts["crashes"], r.Counts["refused"] = w.hist.crashes, len(w.hist.refused)
	for _, text := range w.hist.missed {
		r.miss(text, kindOf(text))
	}
	for _, e := range r.text.Expect {
		r.expect(e)
	}
}

func (r *Report) expect(e Expectation) {
	if e.Op != "" {
		if got := r.Counts[e.What]; !e.met(got) {
			side := "too many"
			if got < e.Count {
				side = "too few"
			}
			r.miss(fmt.Sprintf("%v: it is %d", e, got), fmt.Sprintf("%v: %s", e, side))
		}
		return
	}
	o := r.obs[0]
	var got []string
	in := map[wire.DeviceID]bool{}
	if live := o.live(); len(live) > 0 {
		for _, m := range live[0].Members {
			if e.What == "role" && m.User == r.world.nodeOf(e.Nodes[0]).dev.User && m.Role == e.Role {
				return
			}
			for _, d := range m.Devices {
				in[d] = true
			}
		}
	}
	if e.What == "role" {
		text := fmt.Sprintf("%v: it has not", e)
		r.miss(text, text)
		return
	}
	for _, n := range r.world.nodes {
		s := n.seats[0]
		switch {
		case e.What == "members" && in[n.dev.ID]:
			got = append(got, n.name)
		case e.What == "out" && s != nil && s.m != nil && s.m.Status().State == group.StateOut:
			got = append(got, n.name)
		}
	}
	want := slices.Sorted(slices.Values(e.Nodes))
	slices.Sort(got)
	if e.What == "out" { // there may be more
		got = slices.DeleteFunc(got, func(n string) bool { return !slices.Contains(want, n) })
	}
	if !slices.Equal(want, got) {
		text := fmt.Sprintf("%v: it is %v", e, got)
		r.miss(text, text)
	}
}

// miss notes an expectation that did not come true, and in which way.
func (r *Report) miss(text, way string) {
	r.Unexpected, r.missed = append(r.Unexpected, text), append(r.missed, way)
}
