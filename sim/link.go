package sim

import (
	"time"

	"github.com/pandanode/pandanode/node/group"
)

// network says which devices reach each other. Gossip goes from a device straight to all
// that it reaches, as in a full mesh. Where reach is not transitive, syncs carry messages
// further.
type network struct {
	w     *core
	side  []int           // partition: nodes of different sides do not reach each other
	cut   map[[2]int]bool // one way
	links map[[2]int]Link
	quiet bool // envelopes do not travel
	was   map[[2]int]bool
	from  []*partition // for the report
}

type partition struct {
	From, To time.Time // To zero: to the end
	Side     []int
}

func newNetwork(w *core) *network {
	n := &network{w: w, side: make([]int, len(w.sc.Nodes)), cut: map[[2]int]bool{}, links: map[[2]int]Link{}, was: map[[2]int]bool{}}
	for _, l := range w.sc.Links {
		a, b := w.sc.node(l.A), w.sc.node(l.B)
		n.links[[2]int{a, b}], n.links[[2]int{b, a}] = l.Link, l.Link
	}
	return n
}

func (n *network) link(a, b int) Link {
	if l, ok := n.links[[2]int{a, b}]; ok {
		return l
	}
	return n.w.sc.Link
}

// reaches says whether messages of a get to b.
func (n *network) reaches(a, b *cnode) bool {
	return a != b && a.up && b.up && a.online && b.online && n.side[a.index] == n.side[b.index] && !n.cut[[2]int{a.index, b.index}] && !twins(a, b)
}

// hears says whether what a publishes gets to b: a device that runs twice hears itself
// through others.
func (n *network) hears(a, b *cnode) bool {
	return n.reaches(a, b) || twins(a, b) && n.between(a, b) != nil
}

// connected says whether the two can have a stream.
func (n *network) connected(a, b *cnode) bool { return n.reaches(a, b) && n.reaches(b, a) }

// changed lets devices that can reach each other again sync, each with a few others.
func (n *network) changed() {
	for _, a := range n.w.nodes {
		var fresh []*cnode
		for _, b := range n.w.nodes {
			k := [2]int{a.index, b.index}
			now := n.connected(a, b)
			if now && !n.was[k] && len(n.was) > 0 {
				fresh = append(fresh, b)
			}
			if now {
				n.was[k] = true
			} else {
				delete(n.was, k)
			}
		}
		n.w.chance.Shuffle(len(fresh), func(i, j int) { fresh[i], fresh[j] = fresh[j], fresh[i] })
		for _, b := range fresh[:min(len(fresh), 3)] {
			for _, s := range a.eachSeat() {
				if o := b.seats[s.g.index]; o != nil {
					n.w.after(100*time.Millisecond+n.jitter(time.Second), func() { n.w.sync(s, o) })
				}
			}
		}
	}
}

func (n *network) jitter(most time.Duration) time.Duration {
	if most <= 0 {
		return 0
	}
	return time.Duration(n.w.chance.Int64N(int64(most)))
}

// split makes sides; -1 is the side of the devices that are not named.
func (n *network) split(side []int) {
	n.heal()
	n.side = side
	n.from = append(n.from, &partition{From: n.w.now, Side: side})
	n.changed()
}

func (n *network) heal() {
	if k := len(n.from); k > 0 && n.from[k-1].To.IsZero() {
		n.from[k-1].To = n.w.now
	}
	n.side = make([]int, len(n.side))
	n.changed()
}

// publish sends an envelope to all devices that the device reaches, or to some of them.
func (n *network) publish(s *seat, envelope []byte, only map[*cnode]bool) {
	if n.quiet {
		return
	}
	for _, o := range s.g.seats {
		if o == s || !o.opened || only != nil && !only[o.n] || !n.hears(s.n, o.n) {
			continue
		}
		l := n.link(s.n.index, o.n.index)
		s.traffic.gossip += len(envelope)
		copies := 1
		if l.Duplicate > 0 && n.w.chance.Float64() < l.Duplicate {
			copies = 2
		}
		for range copies {
			if l.Loss > 0 && n.w.chance.Float64() < l.Loss {
				n.w.hist.lostEnvelopes++
				continue
			}
			d := l.Latency + n.jitter(l.Jitter)
			if l.Reorder > 0 && n.w.chance.Float64() < l.Reorder {
				d += n.jitter(2 * time.Second)
			}
			n.w.after(d, func() { n.deliver(s, o, envelope) })
		}
	}
}

// tell gives an envelope to one device, or to all if it does not reach that one.
func (n *network) tell(s *seat, t group.Tell) {
	var to []*seat // two, if that device runs twice
	for _, o := range s.g.seats {
		if o.n.dev.ID == t.Device && o.opened && n.connected(s.n, o.n) {
			to = append(to, o)
		}
	}
	if len(to) > 1 {
		to[0] = to[n.w.chance.IntN(len(to))]
	}
	if len(to) > 0 {
		n.publish(s, t.Envelope, map[*cnode]bool{to[0].n: true})
		return
	}
	if t.Gossip {
		n.publish(s, t.Envelope, nil)
	}
}

func (n *network) deliver(from, to *seat, envelope []byte) {
	if !n.hears(from.n, to.n) {
		return
	}
	if to.n.hostile && len(to.tape) < 4096 {
		to.tape = append(to.tape, envelope)
	}
	if l := n.link(from.n.index, to.n.index); l.Overtake > 0 {
		n.overtake(from, to, envelope, l.Overtake)
		return
	}
	_, _ = to.step(group.Envelope{Bytes: envelope})
}

// overtaken is how long an envelope waits inside its receiver for the next one to pass it.
const overtaken = 50 * time.Millisecond

// overtake has an envelope wait inside its receiver until the next one of the same sender
// has passed it, with some probability, as validators that run beside each other do.
func (n *network) overtake(from, to *seat, envelope []byte, p float64) {
	first := to.passing[from]
	delete(to.passing, from)
	if first == nil && n.w.chance.Float64() < p {
		to.passing[from] = &envelope
		n.w.after(overtaken, func() {
			if to.passing[from] == &envelope {
				delete(to.passing, from)
				_, _ = to.step(group.Envelope{Bytes: envelope})
			}
		})
		return
	}
	_, _ = to.step(group.Envelope{Bytes: envelope})
	if first != nil {
		n.w.hist.overtaken++
		_, _ = to.step(group.Envelope{Bytes: *first})
	}
}
