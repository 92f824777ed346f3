package sim

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/wire"
)

// observation holds the facts of one group after a run, as plain values. The invariants are
// functions of it alone.
type observation struct {
	Group   string
	Devices []*deviceView // in the order of the scenario's nodes
	Dag     *dag
	Sent    []*accepted
	Sealed  int         // messages that honest devices sealed
	Seals   []*sealView // of those, the ones under a tree with outsiders
	Traffic []*exchange
	Twice   []string
	Gone    int  // entries that honest devices wrote, and that no disk holds any more
	Hostile bool // a device is
	Head    *dagEpoch

	Now     time.Time
	Rest    time.Duration // how long before the end nothing was done to the world any more
	Forks   int
	Probed  map[wire.MessageID]string // the messages of the final probe → author
	Orders  []orderView
	Beyond  []string // what operations of who had no right changed
	Justify []string // the findings of invariant 13, which needs the machines' keys
}

// deviceView is one device in one group.
type deviceView struct {
	Name       string
	User       wire.UserID
	Device     wire.DeviceID
	Live       bool // runs, is reachable, is honest and in the roster
	Running    bool // honest, runs and is reachable
	Reached    bool // a live member and it reach each other
	Hostile    bool
	Broken     error
	Status     group.Status
	Members    []memberView
	Leaves     []wire.DeviceID // of the tree at its position, ascending
	Exporter   []byte
	Shown      []wire.MessageID // from its rows, in order
	Notified   []wire.MessageID
	Switches   int
	LateMoves  int // positions taken up in the time of rest
	Spins      int // times that its machine wanted to be woken at once, over and over
	Insisted   int // requests for a sync beyond 900 within an hour
	PeakEpochs int
	PeakParked int
	PeakTurn   int // bytes of one transaction
	PeakRow    int // and of one row
	Branches   int // most children of one fork whose keys it has in the end
	Secrets    []secretView
	Cursors    bool     // the events' cursors rise by one
	Destroyed  int      // secrets, and what it carried for others
	Early      []string // of that, what it destroyed before its time

	Pictures map[wire.MessageID]pictureView // of those of Shown
	Told     map[wire.MessageID]bool        // of what is not shown by itself
	Erased   map[wire.MessageID]bool
	Plain    map[wire.MessageID]bool
	Erasures []erasure
	Back     []string      // what it erased and has again
	Left     []string      // of what it erased
	Ends     time.Time     // what has a date of its own, by its clock
	Allows   time.Duration // for what its clock may rightly believe

	Files     map[wire.MessageID]fileView // by the message that names it
	FilesGone int                         // of messages that it erased
}

// mayWrite says whether the device's user may write messages.
func (v *deviceView) mayWrite() bool {
	return !slices.ContainsFunc(v.Members, func(m memberView) bool { return m.User == v.User && m.Role == wire.RoleReadOnly })
}

type memberView struct {
	User    wire.UserID
	Role    wire.Role
	Devices []wire.DeviceID
	InTree  bool
}

type secretView struct {
	What string
	Age  time.Duration
}

type sealView struct {
	Sealer    string
	At        time.Duration
	Message   wire.MessageID
	Outsiders []string // in the sealer's tree, not in its roster
	Openers   []string // devices that hold the epoch's keys and were not in the sealer's roster
}

// orderView is the epoch that a fresh machine chose after it got all entries in some order.
type orderView struct {
	Seed uint64
	Head wire.EpochID
}

// Limits of the keys and secrets that a device may keep (docs/ARCHITECTURE.md, What is
// kept).
const (
	maxEpochs   = 64
	maxBranches = 4
	maxParked   = 256
	maxTurn     = 4 << 20             // bytes that storage takes in one transaction
	maxRow      = 1<<20 - 1<<10       // of a row, sealing left out
	keysFor     = 48 * time.Hour      // message keys of an epoch that the device left
	secretsFor  = 7 * 24 * time.Hour  // keys that late commits on it need, and init keys
	renewsAfter = 26 * 24 * time.Hour // keys of a leaf are old then: 30 days, up to an eighth less
	grace       = time.Hour           // for timers to come round
)

// observe looks at a group. rest is when the world was left alone.
func (w *core) observe(g *cgroup, rest time.Time) *observation {
	o := &observation{Group: g.decl.Name, Now: w.now, Rest: w.now.Sub(rest), Traffic: g.exchanges, Twice: w.hist.twice[g.genesis.ID], Probed: map[wire.MessageID]string{}}
	raws := map[wire.EntryHash][]byte{}
	for _, s := range g.seats {
		if s.n.hostile {
			continue
		}
		for _, k := range s.disk.under("entry/") {
			b, err := s.disk.Get(k)
			if err != nil {
				continue
			}
			if signed, err := wire.DecodeSigned(b, wire.MaxEntry+128); err == nil {
				raws[wire.EntryHashOf(g.genesis.ID, signed.Payload)] = b
			}
		}
	}
	o.Dag = readDag(g.genesis, g.engine(), raws)
	o.Gone = w.hist.gone(g.genesis.ID, o.Dag)
	o.Dag.void, o.Beyond = w.hist.void, g.beyond
	o.Dag.pairs = g.evidence()
	o.Dag.closed = g.decl.Policy != wire.PolicyOpen && !o.Dag.setsPolicy()
	o.Forks = o.Dag.forks()
	renewed := w.renewals(g, o.Dag)
	for _, s := range g.seats {
		v := w.view(s, rest, o.Dag, renewed)
		o.Hostile = o.Hostile || v.Hostile
		o.Devices = append(o.Devices, v)
	}
	w.findLive(o, g.seats)
	for _, a := range w.hist.sent {
		if a.Seat.g == g {
			o.Sent = append(o.Sent, a)
		}
	}
	for _, s := range g.seats {
		if !s.n.hostile {
			o.Sealed += len(s.spy.seals)
			o.Seals = append(o.Seals, w.sealViews(g, s)...)
		}
	}
	o.Justify = w.unjustified(g, o)
	for seed := range uint64(2) {
		if head, err := w.reorder(g, o.Dag, seed); err == nil {
			o.Orders = append(o.Orders, orderView{Seed: seed, Head: head})
		} else {
			o.Orders = append(o.Orders, orderView{Seed: seed})
		}
	}
	return o
}

func (g *cgroup) engine() engine.Engine {
	return engine.MLS(g.suite)
}

func (w *core) view(s *seat, rest time.Time, d *dag, renewed map[wire.EpochID]bool) *deviceView {
	v := &deviceView{
		Name: s.n.name, User: s.n.dev.User, Device: s.n.dev.ID, Hostile: s.n.hostile, Broken: s.bad,
		Running:  !s.n.hostile && s.n.up && s.n.online && s.bad == nil && s.m != nil,
		Branches: d.branches(s.disk.under("held/")),
		Switches: s.switches, Spins: s.spins, Insisted: s.insisted, PeakEpochs: s.peaks.epochs, PeakParked: s.peaks.parked, PeakTurn: s.peaks.turn, PeakRow: s.peaks.row, Cursors: true, Destroyed: s.destroyed, Early: s.early, Pictures: map[wire.MessageID]pictureView{},
	}
	v.LateMoves = s.lateMoves(rest, renewed)
	for _, e := range s.events {
		if e.Kind == group.EventMessage {
			v.Notified = append(v.Notified, e.Message)
		}
	}
	if v.Running {
		v.Secrets = w.secrets(s)
	}
	v.said(s)
	v.attachedTo(s)
	if s.m == nil {
		return v
	}
	v.Status = s.m.Status()
	for _, m := range s.m.Members() {
		v.Members = append(v.Members, memberView{User: m.User, Role: m.Role, Devices: m.Devices, InTree: m.InTree})
	}
	if e := s.epochAt(d, v.Status.Position); e != nil {
		for _, i := range sortedKeys(e.leaves) {
			v.Leaves = append(v.Leaves, e.leaves[i])
		}
		slices.SortFunc(v.Leaves, func(a, b wire.DeviceID) int { return bytes.Compare(a[:], b[:]) })
		v.Exporter, _ = e.Export("sim", nil, 32)
	}
	if all, err := s.m.Journal().Messages(0, 0); err == nil {
		for _, m := range all {
			v.Shown = append(v.Shown, m.ID)
			v.Pictures[m.ID] = pictureOf(m)
			delete(v.Told, m.ID)
		}
	} else {
		v.Broken = errors.Join(v.Broken, err)
	}
	if all, err := s.m.Journal().Events(0, 0); err == nil {
		for i, e := range all {
			v.Cursors = v.Cursors && e.Cursor == uint64(i)+1 //nolint:gosec // a count
		}
	}
	return v
}

// lateMoves counts the positions that a device took up in the time of rest. Each epoch in
// which only a device renewed its keys, when they were old, is reason for one of them.
func (s *seat) lateMoves(rest time.Time, renewed map[wire.EpochID]bool) (n int) {
	seen := map[wire.EpochID]bool{}
	for _, m := range s.moves {
		if !m.At.After(rest) {
			continue
		}
		if !renewed[m.To] || seen[m.To] {
			n++
		}
		seen[m.To] = true
	}
	return n
}

// renewals finds the epochs in which a device whose keys were old renewed them, and nothing
// else changed. The true time counts: when anybody first was in an epoch.
func (w *core) renewals(g *cgroup, d *dag) map[wire.EpochID]bool {
	born := map[wire.EpochID]time.Time{}
	for _, m := range w.hist.moves {
		if _, ok := born[m.To]; !ok && m.Seat.g == g {
			born[m.To] = m.At
		}
	}
	out := map[wire.EpochID]bool{}
	for id, e := range d.epochs {
		if e.parent == nil || e.by == nil || e.by.info == nil || len(e.by.info.Adds)+len(e.by.info.Removes) > 0 {
			continue
		}
		device, since := e.by.entry.Device, epochZero
		for up := e.parent; up.parent != nil; up = up.parent {
			c := up.by
			if c.entry.Device == device || c.info != nil && slices.ContainsFunc(d.ops(wire.OpAdd, wire.OpDeviceAdd), func(op *dagEntry) bool {
				return op.target == device && slices.ContainsFunc(c.info.Adds, func(kp []byte) bool { return bytes.Equal(kp, op.op.KeyPackage) })
			}) {
				since = born[up.id]
				break
			}
		}
		out[id] = born[id].Sub(since) >= renewsAfter
	}
	return out
}

// secrets lists the kinds of secrets that a device still has, with the age of the oldest of
// each kind. Keys of an epoch age from when the device left the epoch, secrets of a
// KeyPackage from when it was made.
func (w *core) secrets(s *seat) (out []secretView) {
	left := map[string]time.Time{} // epoch, in hex → when the device was last at it
	at := ""
	for _, m := range s.moves {
		left[at] = m.At
		at = fmt.Sprintf("%x", m.To[:])
	}
	for _, b := range []string{"epoch/", "keys/", "thin/", "kp/"} {
		oldest := time.Duration(0)
		for _, k := range s.disk.under(b) {
			since := s.disk.rows[k].at
			if b != "kp/" {
				epoch := strings.Split(k, "/")[1]
				if epoch == at {
					continue
				}
				if s.disk.rows[k].vault.made.After(since) {
					since = s.disk.rows[k].vault.made
				}
				if t, ok := left[epoch]; ok && t.After(since) {
					since = t
				}
			}
			oldest = max(oldest, w.now.Sub(since))
		}
		if oldest > 0 {
			out = append(out, secretView{What: strings.TrimSuffix(b, "/"), Age: oldest})
		}
	}
	return out
}

// epochAt returns the epoch at a position, if the spy saw the device derive it.
func (s *seat) epochAt(d *dag, id wire.EpochID) *spiedEpoch {
	if e := d.epochs[id]; e != nil {
		return s.spy.epochs[string(e.interim)]
	}
	return nil
}

// findLive picks the roster that most running members hold. Its devices that run are the
// live ones. Of the devices that hold it, the one with the most entries says which epoch is
// chosen.
func (w *core) findLive(o *observation, seats []*seat) {
	holders := map[string]int{}
	rosters := map[string]*deviceView{}
	for _, v := range o.Devices {
		if !v.Running || v.Status.State != group.StateMember && v.Status.State != group.StateSyncing {
			continue
		}
		key := rosterKey(v.Members)
		holders[key]++
		if rosters[key] == nil || rosters[key].Status.Entries < v.Status.Entries {
			rosters[key] = v
		}
	}
	var ref *deviceView
	best := 0
	for _, key := range sortedKeys(holders) {
		if holders[key] > best {
			best, ref = holders[key], rosters[key]
		}
	}
	if ref == nil {
		return
	}
	in := map[wire.DeviceID]bool{}
	for _, m := range ref.Members {
		for _, d := range m.Devices {
			in[d] = true
		}
	}
	for _, v := range o.Devices {
		v.Live = v.Running && in[v.Device]
	}
	for i, v := range o.Devices {
		v.Reached = slices.ContainsFunc(o.Devices, func(l *deviceView) bool {
			return l.Live && w.net.connected(seats[i].n, w.nodeOf(l.Name))
		})
	}
	o.Head = o.Dag.epochs[ref.Status.Head]
}

func rosterKey(members []memberView) string {
	var b strings.Builder
	for _, m := range members {
		fmt.Fprintf(&b, "%x %d", m.User[:4], m.Role)
		for _, d := range m.Devices {
			fmt.Fprintf(&b, " %x", d[:4])
		}
		b.WriteByte(';')
	}
	return b.String()
}

func (w *core) sealViews(g *cgroup, s *seat) []*sealView {
	var out []*sealView
	names := map[wire.DeviceID]string{}
	for _, o := range g.seats {
		names[o.n.dev.ID] = o.n.name
	}
	for _, x := range s.spy.seals {
		if len(x.Outsiders) == 0 {
			continue
		}
		v := &sealView{Sealer: s.n.name, At: x.At.Sub(epochZero), Message: x.Message}
		for _, d := range x.Outsiders {
			v.Outsiders = append(v.Outsiders, names[d])
		}
		for _, o := range g.seats {
			if e := o.spy.epochs[string(x.Epoch.Interim())]; e != nil && e.auth == x.Epoch.auth && slices.Contains(v.Outsiders, o.n.name) {
				v.Openers = append(v.Openers, o.n.name)
			}
		}
		out = append(out, v)
	}
	return out
}

// unjustified looks at every commit on the chosen chain: what it adds and removes
// must follow from operations, or requests to rejoin, in its own past.
func (w *core) unjustified(g *cgroup, o *observation) []string {
	var out []string
	epochs := map[string]*spiedEpoch{}
	for _, s := range g.seats {
		for _, e := range s.spy.order {
			epochs[string(e.Interim())] = e
		}
	}
	for n := o.Head; n != nil; n = n.parent {
		e := n.by
		if e == nil || e.info == nil || e.commit == nil {
			continue
		}
		parent := epochs[string(n.parent.interim)]
		again := map[wire.DeviceID]bool{}
		for _, r := range e.commit.Rejoins {
			if rj, err := wire.DecodeRejoin(r.Payload); err == nil {
				again[rj.Device] = true
			}
		}
		for _, kp := range e.info.Adds {
			ok := slices.ContainsFunc(o.Dag.ops(wire.OpAdd, wire.OpDeviceAdd), func(op *dagEntry) bool {
				return bytes.Equal(op.op.KeyPackage, kp) && o.Dag.inPast(op, e)
			})
			for _, r := range e.commit.Rejoins {
				rj, err := wire.DecodeRejoin(r.Payload)
				ok = ok || err == nil && bytes.Equal(rj.KeyPackage, kp)
			}
			if !ok {
				out = append(out, fmt.Sprintf("epoch %d adds a device that nothing in its past adds", n.number))
			}
		}
		for _, i := range e.info.Removes {
			if parent == nil {
				continue
			}
			d := parent.leaves[i]
			user := o.Dag.users[d]
			ok := again[d] || slices.ContainsFunc(o.Dag.ops(wire.OpRemove, wire.OpLeave, wire.OpDeviceRevoke, wire.OpAdd, wire.OpDeviceAdd), func(op *dagEntry) bool {
				switch {
				case !o.Dag.inPast(op, e):
					return false
				case op.op.Type == wire.OpRemove:
					return *op.op.User == user || *op.op.User == o.Dag.user(op) // or its adder was removed, see below
				case op.op.Type == wire.OpDeviceRevoke:
					return *op.op.Device == d
				case op.op.Type == wire.OpLeave:
					return o.Dag.user(op) == user
				default: // its addition is void: its adder was removed, runs twice, or something else speaks against it
					return op.target == d && (len(o.Dag.takenOut(o.Dag.user(op))) > 0 || o.Dag.byTwin(op, e) ||
						slices.ContainsFunc(o.Dag.against(op), func(r *dagEntry) bool { return o.Dag.inPast(r, e) }))
				}
			})
			if !ok {
				out = append(out, fmt.Sprintf("epoch %d removes a device that nothing in its past removes", n.number))
			}
		}
	}
	return out
}

// evidence lists the pairs by which the running honest devices know that logs fork. A pair
// may be of entries that nobody takes, so the entries alone do not show it.
func (g *cgroup) evidence() [][2][]byte {
	pairs := map[string][2][]byte{}
	for _, s := range g.seats {
		if s.n.hostile {
			continue
		}
		for _, k := range s.disk.under("evidence/") {
			var row struct {
				Pair [2][]byte `cbor:"1,keyasint"`
			}
			if b, err := s.disk.Get(k); err == nil && wire.Unmarshal(b, &row) == nil {
				pairs[k] = row.Pair
			}
		}
	}
	out := make([][2][]byte, 0, len(pairs))
	for _, k := range slices.Sorted(maps.Keys(pairs)) {
		out = append(out, pairs[k])
	}
	return out
}

// fresh makes a machine of the group that has nothing yet. take gives it an entry, at a time
// when none is from the future.
func (w *core) fresh(g *cgroup, seed uint64, chance string) (m *group.Machine, take func(raw []byte), err error) {
	f, rows := g.seats[0], newDisk()
	m, err = group.New(group.Config{
		Genesis: g.genesis, Device: f.n.dev, LogKey: f.n.log, Incarnation: seed, Engine: g.engine(),
		Rand: stream(seed, chance), Rows: rows, Retention: g.decl.Retention, Alternative: w.alternative,
	}, w.now)
	late := w.now.Add(24 * time.Hour)
	return m, func(raw []byte) {
		_, _ = m.Step(late, group.Entries{Entries: [][]byte{raw}})
		if r, ok := m.Ready(); ok {
			rows.apply(late, r)
		}
		m.Advance()
	}, err
}

// reorder gives a fresh machine all entries in an order drawn from a seed, each after those
// that it builds on, and the evidence in the end; it returns the epoch that the machine chooses.
func (w *core) reorder(g *cgroup, d *dag, seed uint64) (wire.EpochID, error) {
	m, take, err := w.fresh(g, seed, "reorder")
	if err != nil {
		return wire.EpochID{}, err
	}
	rng := rand.New(stream(seed, "order")) //nolint:gosec // a simulation
	waiting := map[wire.EntryHash]int{}
	after := map[wire.EntryHash][]*dagEntry{}
	var ready []*dagEntry
	for _, e := range d.entries {
		for _, dep := range append(slices.Clone(e.entry.Deps), e.entry.Prev) {
			if d.by[dep] != nil {
				waiting[e.hash]++
				after[dep] = append(after[dep], e)
			}
		}
		if waiting[e.hash] == 0 {
			ready = append(ready, e)
		}
	}
	for len(ready) > 0 {
		i := rng.IntN(len(ready))
		e := ready[i]
		ready[i] = ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		take(e.raw)
		for _, n := range after[e.hash] {
			if waiting[n.hash]--; waiting[n.hash] == 0 {
				ready = append(ready, n)
			}
		}
	}
	for _, pair := range d.pairs {
		take(pair[0])
		take(pair[1])
	}
	return m.Status().Head, nil
}
