package sim

import (
	"cmp"
	"container/heap"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/clock"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/epochs"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// epochZero is the first moment of every core world.
var epochZero = time.UnixMilli(1_790_000_000_000).UTC()

// core is a world of group machines: the core backend. One goroutine runs it. All events
// come from one heap, ordered by time and then by sequence, and all chance from streams of
// one seed, so that a run repeats to the last bit.
type core struct {
	sc     *Scenario
	now    time.Time
	seq    uint64
	events eventHeap
	chance *rand.Rand // of the network and of the actions; machines have streams of their own
	nodes  []*cnode
	groups []*cgroup
	net    *network
	hist   history
	done   uint64 // events
	tell   func(format string, args ...any)

	sampler *sampler // nil: nobody looks

	alternative epochs.Alternative // of all machines
}

// cgroup is one group of a core world.
type cgroup struct {
	decl    GroupDecl
	index   int
	genesis *identity.Genesis
	suite   uint16
	seats   []*seat // of the nodes that founded it or asked to join, in the order of nodes
	links   map[string]link
	beyond  []string // what operations of who had no right changed, when they were made

	exchanges []*exchange
}

// cnode is one device, with all its groups.
type cnode struct {
	w        *core
	index    int
	name     string
	user     *identity.Key
	log      *identity.Key
	dev      *identity.Device
	inc      uint64        // of its store, once that was restored; else 0
	chance   *rand.ChaCha8 // cfg.Rand of its machines
	skew     time.Duration
	furthest time.Duration // ahead, ever
	started  time.Time     // its process
	died     time.Time     // the process before, or none
	down     time.Duration // how long no process ran
	judge    *clock.Clock  // of its clock, while its process runs
	last     clock.Time    // as it was when its process ended
	up       bool          // its process runs
	online   bool
	hostile  bool
	keeps    bool          // it turns hostile later, and destroys no keys
	reserve  bool          // it turns hostile before it writes
	lost     bool          // its disk died
	rolled   bool          // its disk went back once, and its program does not know
	seats    map[int]*seat // by group
	crash    *crashPlan
	backups  map[string]map[int]*disk
	boxes    map[wire.BoxID][]mail // of groups whose mailbox it is
	boxFiles map[wire.BoxID]map[wire.BlobRoot]mailFile
	mails    uint64
}

// crashPlan says to kill a node's process at the nth boundary of this kind.
type crashPlan struct {
	at      string
	nth     int
	restart time.Duration // after which it starts again; 0: not by itself
}

// stream is a source of randomness for one purpose.
func stream(seed uint64, purpose string) *rand.ChaCha8 {
	return rand.NewChaCha8(sha256.Sum256(append(binary.BigEndian.AppendUint64(nil, seed), purpose...)))
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// newCore makes the devices and groups of a scenario.
func newCore(sc *Scenario, opt Options) (*core, error) {
	w := &core{sc: sc, now: epochZero, chance: rand.New(stream(sc.Seed, "network")), tell: opt.Progress, alternative: alternative(sc.Choice)} //nolint:gosec // a simulation
	w.hist.init()
	w.net = newNetwork(w)
	users := map[string]*identity.Key{}
	for i, d := range sc.Nodes {
		n := &cnode{
			w: w, index: i, name: d.Name, up: true, online: true, chance: stream(sc.Seed, "device "+d.Name),
			seats: map[int]*seat{}, backups: map[string]map[int]*disk{},
		}
		var err error
		if users[d.User] == nil {
			if users[d.User], err = identity.NewKey(stream(sc.Seed, "user "+d.User)); err != nil {
				return nil, err
			}
		}
		n.user = users[d.User]
		n.keeps = slices.ContainsFunc(sc.Actions, func(a Action) bool { return a.Verb == "hostile" && a.Args[0] == d.Name })
		if n.log, err = identity.NewKey(n.chance); err != nil {
			return nil, err
		}
		if n.dev, err = identity.Certify(n.user, wire.DeviceCert{
			LogKey: n.log.Public(), Peer: []byte("peer of " + d.Name), Name: d.Name, Issued: uint64(w.now.Unix()), //nolint:gosec // after 1970
		}); err != nil {
			return nil, err
		}
		n.boot()
		w.nodes = append(w.nodes, n)
	}
	for i, d := range sc.Groups {
		f := w.nodes[sc.node(d.Founder)]
		signed, _, err := identity.NewGenesis(f.chance, w.now, f.user, f.dev, identity.Founding{Suite: 1, Policy: d.Policy})
		if err != nil {
			return nil, err
		}
		g := &cgroup{decl: d, index: i, suite: 1}
		if g.genesis, err = identity.VerifyGenesis(signed); err != nil {
			return nil, err
		}
		w.groups = append(w.groups, g)
		s := w.sit(f, g)
		if err := s.open(); err != nil {
			return nil, err
		}
		if _, err := s.step(group.Found{}); err != nil {
			return nil, fmt.Errorf("founding %s: %w", d.Name, err)
		}
	}
	return w, nil
}

// sit returns the node's seat in a group. The seat has no machine before open.
func (w *core) sit(n *cnode, g *cgroup) *seat {
	if s := n.seats[g.index]; s != nil {
		return s
	}
	s := newSeat(n, g)
	n.seats[g.index] = s
	g.seats = append(g.seats, s)
	slices.SortFunc(g.seats, func(a, b *seat) int { return a.n.index - b.n.index })
	return s
}

// eachSeat lists a node's seats by group.
func (n *cnode) eachSeat() []*seat {
	out := make([]*seat, 0, len(n.seats))
	for _, i := range sortedKeys(n.seats) {
		out = append(out, n.seats[i])
	}
	return out
}

// die ends a node's process: only durable state survives.
func (n *cnode) die(where string) {
	if !n.up {
		return
	}
	n.up, n.died = false, n.w.now
	n.last = n.time()
	n.w.hist.mark(n.w, n, "crash", where)
	n.w.hist.crashes++
	for _, s := range n.eachSeat() {
		s.m, s.wake = nil, time.Time{}
	}
	if p := n.crash; p != nil && p.restart > 0 {
		n.w.after(p.restart, func() { n.start() })
	}
	n.crash = nil
	n.w.net.changed()
}

// start begins a node's process anew from the durable rows.
func (n *cnode) start() {
	if n.up || n.lost {
		return
	}
	n.up = true
	n.down += n.w.now.Sub(n.died)
	n.boot()
	n.w.hist.mark(n.w, n, "start", "")
	for _, s := range n.eachSeat() {
		if err := s.open(); err != nil {
			s.broke(err)
		}
	}
	n.w.net.changed()
}

// clock returns the time by the node's own clock.
func (n *cnode) clock() time.Time { return n.w.now.Add(n.skew) }

// boot begins to estimate the time, as a process does when it starts.
func (n *cnode) boot() {
	n.started = n.w.now
	n.judge = clock.New(n.reading(), n.last, false)
}

func (n *cnode) reading() clock.Reading {
	return clock.Reading{Wall: n.clock(), Run: n.w.now.Sub(n.started)}
}

// time returns the node's estimate of the time.
func (n *cnode) time() clock.Time { return n.judge.At(n.reading()) }

// compare lets two nodes that meet hear each other's clock.
func (n *cnode) compare(o *cnode) {
	n.judge.Hear(n.reading(), string(o.dev.User[:]), o.clock())
	o.judge.Hear(o.reading(), string(n.dev.User[:]), n.clock())
}

type event struct {
	at  time.Time
	seq uint64
	run func()
}

type eventHeap []event

func (h eventHeap) Len() int { return len(h) }
func (h eventHeap) Less(i, j int) bool {
	if !h[i].at.Equal(h[j].at) {
		return h[i].at.Before(h[j].at)
	}
	return h[i].seq < h[j].seq
}
func (h eventHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push is for package heap.
func (h *eventHeap) Push(x any) { *h = append(*h, x.(event)) } //nolint:forcetypeassert // its own

// Pop is for package heap.
func (h *eventHeap) Pop() any {
	old := *h
	e := old[len(old)-1]
	old[len(old)-1] = event{}
	*h = old[:len(old)-1]
	return e
}

func (w *core) at(at time.Time, run func()) {
	if at.Before(w.now) {
		at = w.now
	}
	w.seq++
	heap.Push(&w.events, event{at: at, seq: w.seq, run: run})
}

func (w *core) after(d time.Duration, run func()) { w.at(w.now.Add(d), run) }

// restless is how many events for each seat one virtual second may have. With more, the
// world counts as one that does not come to rest.
const restless = 20_000

// until lets virtual time pass.
func (w *core) until(ctx context.Context, end time.Time) error {
	second, n := w.now, 0
	for len(w.events) > 0 && !w.events[0].at.After(end) {
		e := heap.Pop(&w.events).(event) //nolint:forcetypeassert // its own
		w.sample(e.at.Add(-1))           // as it was before
		w.now = e.at
		if w.now.Sub(second) >= time.Second {
			second, n = w.now, 0
		}
		if n++; n > restless*(len(w.nodes)+len(w.groups)) {
			return fmt.Errorf("the world does not come to rest: %d events within a second, %s after its beginning", n, w.now.Sub(epochZero))
		}
		if w.done++; w.done%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		e.run()
	}
	w.now = end
	return nil
}

// digest hashes all durable rows and all notifications of all devices: two runs with equal
// digests went alike. Without words it leaves out the details of events, which say in words
// why something was refused.
func (w *core) digest(words bool) [32]byte {
	h := sha256.New()
	for _, n := range w.nodes {
		for _, s := range n.eachSeat() {
			d := s.disk.digest(words)
			fmt.Fprintf(h, "%s %d %x %d\n", n.name, s.g.index, d, len(s.events))
			for _, e := range s.events {
				if !words {
					e.Detail = ""
				}
				h.Write(wire.Marshal(&e))
			}
		}
	}
	return [32]byte(h.Sum(nil))
}
