package sim

import (
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// Series are figures of a run over virtual time, of all groups together: of each one value
// at every time of At. docs/SCENARIOS.md describes them.
type Series struct {
	At       []float64 `json:"at_seconds"` // since the first moment
	Sent     []int     `json:"sent"`       // messages, so far; edits, deletions and reactions are none
	Owed     []int     `json:"owed"`       // copies of them that must be held in the end
	Held     []int     `json:"held"`       // of those, the ones that are
	Epochs   []int     `json:"epochs"`     // in which somebody has stood
	Forks    []int     `json:"forks"`      // of those, the ones with more than one child
	Standing []int     `json:"standing"`   // in how many different epochs a group's live members stand, at most
	Gossip   []int     `json:"gossip_bytes"`
	Sync     []int     `json:"sync_bytes"`
	Disk     []int     `json:"disk_bytes"`
	Events   []uint64  `json:"events"`      // of the simulator, so far
	CPU      []float64 `json:"cpu_seconds"` // of the process, so far; unlike the others it is not the same in each run
	Heap     []uint64  `json:"heap_bytes"`  // of the process, and as CPU
}

// seriesSteps is how many times a run is looked at, beside its first moment.
const seriesSteps = 240

// sampler looks at a world at regular times, while it plays.
type sampler struct {
	series *Series
	step   time.Duration
	next   time.Time
	cpu    time.Duration // of the process before
}

func newSampler(run time.Duration) *sampler {
	return &sampler{series: &Series{}, step: max(run/seriesSteps, time.Millisecond), next: epochZero, cpu: cpuTime()}
}

// sample notes all times up to now. It changes nothing in the world.
func (w *core) sample(now time.Time) {
	s := w.sampler
	for s != nil && !s.next.After(now) {
		x := s.series
		x.At = append(x.At, s.next.Sub(epochZero).Seconds())
		var gossip, sync, disk int
		for _, g := range w.groups {
			for _, seat := range g.seats {
				gossip, sync = gossip+seat.traffic.gossip, sync+seat.traffic.sync
				disk += seat.disk.bytes
			}
		}
		x.Gossip, x.Sync, x.Disk = append(x.Gossip, gossip), append(x.Sync, sync), append(x.Disk, disk)
		x.Events = append(x.Events, w.done)
		x.CPU, x.Heap = append(x.CPU, (cpuTime()-s.cpu).Seconds()), append(x.Heap, heapNow())
		s.next = s.next.Add(s.step)
	}
}

// change is a step of a figure at a time.
type change struct {
	at time.Time
	by int
}

// fold gives the sums of the changes at each time of the series.
func (x *Series) fold(changes []change) []int {
	slices.SortStableFunc(changes, func(a, b change) int { return a.at.Compare(b.at) })
	out, sum, i := make([]int, len(x.At)), 0, 0
	for k, at := range x.At {
		end := epochZero.Add(time.Duration(at * float64(time.Second)))
		for ; i < len(changes) && !changes[i].at.After(end); i++ {
			sum += changes[i].by
		}
		out[k] = sum
	}
	return out
}

// complete adds what only the whole run tells.
func (x *Series) complete(r *Report) {
	var sent, owed, held, epochs, forks []change
	x.Standing = make([]int, len(x.At))
	for i, o := range r.obs {
		for _, d := range o.deliverySteps(i, r.world.hist.reads) {
			sent, owed, held = append(sent, change{d.at, d.sent}), append(owed, change{d.at, d.owed}), append(held, change{d.at, d.held})
		}
		entered, children := map[*dagEpoch]bool{}, map[*dagEpoch]int{}
		for _, m := range r.world.hist.movesByTime() {
			e := o.Dag.epochs[m.To]
			if m.Seat.g.index != i || e == nil || entered[e] {
				continue
			}
			entered[e] = true
			epochs = append(epochs, change{m.At, 1})
			if children[e.parent]++; e.parent != nil && children[e.parent] == 2 {
				forks = append(forks, change{m.At, 1})
			}
		}
		var standing []change
		last := 0
		for _, s := range r.standing(i) {
			standing = append(standing, change{s.at, s.epochs - last})
			last = s.epochs
		}
		for k, n := range x.fold(standing) {
			x.Standing[k] = max(x.Standing[k], n)
		}
	}
	x.Sent, x.Owed, x.Held, x.Epochs, x.Forks = x.fold(sent), x.fold(owed), x.fold(held), x.fold(epochs), x.fold(forks)
}

// stand is in how many different epochs the live members of a group stand from a time on.
type stand struct {
	at     time.Time
	epochs int
}

// standing follows the live members of a group. Those that have not come in yet do not count.
func (r *Report) standing(i int) (out []stand) {
	at, live := map[*seat]wire.EpochID{}, map[string]bool{}
	for _, d := range r.obs[i].live() {
		live[d.Name] = true
	}
	in := map[wire.EpochID]int{}
	for _, m := range r.world.hist.movesByTime() {
		if m.Seat.g.index != i || !live[m.Seat.n.name] || m.At.Sub(epochZero) > r.text.Run {
			continue
		}
		if was, ok := at[m.Seat]; ok {
			if in[was]--; in[was] == 0 {
				delete(in, was)
			}
		}
		at[m.Seat] = m.To
		in[m.To]++
		out = append(out, stand{m.At, len(in)})
	}
	return out
}

// delivered is a message being sent, or one copy of it that is owed being held.
type delivered struct {
	at               time.Time
	sent, owed, held int
	after            time.Duration // of a copy at another device than its author's: since it was sent
	other            bool
}

// deliverySteps follows the messages of a group, in no order.
func (o *observation) deliverySteps(group int, reads []read) (out []delivered) {
	owed, at := o.readers(), map[wire.MessageID]*accepted{}
	for _, a := range o.Sent {
		if a.Kind == kindMessage {
			at[a.ID] = a
			out = append(out, delivered{at: a.At, sent: 1, owed: len(owed[a.ID])})
		}
	}
	for _, x := range reads {
		if x.Seat.g.index != group || !owed[x.ID][x.Seat.n.dev.ID] {
			continue
		}
		delete(owed[x.ID], x.Seat.n.dev.ID) // once
		a := at[x.ID]
		out = append(out, delivered{at: x.At, held: 1, after: x.At.Sub(a.At), other: a.Seat != x.Seat})
	}
	return out
}
