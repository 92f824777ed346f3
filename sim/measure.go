package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// Measure is a figure that runs are compared by.
type Measure struct {
	Key   string `json:"key"`
	Title string `json:"title"`
	Unit  string `json:"unit"` // count, bytes, seconds

	of func(*Report, *Cost) float64 // Cost nil: not known
}

// Text is a value of the measure for people.
func (m Measure) Text(v float64) string {
	switch m.Unit {
	case unitBytes:
		return size(v)
	case unitSeconds:
		return seconds(v)
	}
	if v == float64(int64(v)) {
		return fmt.Sprint(int64(v))
	}
	return fmt.Sprintf("%.1f", v)
}

const (
	unitCount   = "count"
	unitBytes   = "bytes"
	unitSeconds = "seconds"
)

func size(b float64) string {
	sign := ""
	if b < 0 {
		sign, b = "-", -b
	}
	for _, u := range []string{"B", "KB", "MB"} {
		if b < 999.5 {
			return fmt.Sprintf("%s%.3g %s", sign, b, u)
		}
		b /= 1000
	}
	return fmt.Sprintf("%s%.3g GB", sign, b)
}

func seconds(s float64) string {
	sign := ""
	if s < 0 {
		sign, s = "-", -s
	}
	switch {
	case s == 0:
		return "0 s"
	case s < 0.9995:
		return fmt.Sprintf("%s%.3g ms", sign, 1000*s)
	case s < 99.5:
		return fmt.Sprintf("%s%.3g s", sign, s)
	case s < 99.5*60:
		return fmt.Sprintf("%s%.3g min", sign, s/60)
	case s < 99.5*3600:
		return fmt.Sprintf("%s%.3g h", sign, s/3600)
	}
	return fmt.Sprintf("%s%.3g d", sign, s/86400)
}

func counted(key, title string) Measure {
	return Measure{key, title, unitCount, func(r *Report, _ *Cost) float64 { return float64(r.Counts[key]) }}
}

// each is a mean over the devices.
func each(key, title string, of func(DeviceReport) int) Measure {
	return Measure{key, title, unitBytes, func(r *Report, _ *Cost) (v float64) {
		for _, d := range r.Devices {
			v += float64(of(d)) / float64(len(r.Devices))
		}
		return v
	}}
}

// Measures lists the figures, in the order of the table. Those of bytes are means over
// devices, cpu and heap are of the process, and only known if it plays one world at a time.
var Measures = []Measure{
	{"violations", "violations", unitCount, func(r *Report, _ *Cost) float64 { return float64(len(r.Violations)) }},
	{"unexpected", "unmet expectations", unitCount, func(r *Report, _ *Cost) float64 { return float64(len(r.Unexpected)) }},
	counted("records", "messages sent"),
	counted("owed", "copies owed"),
	counted("lost", "copies lost"),
	{"twice", "copies shown twice", unitCount, func(r *Report, _ *Cost) float64 { return float64(r.Records.Twice) }},
	{"delivery_median", "delivery, median", unitSeconds, func(r *Report, _ *Cost) float64 { return quantile(r.deliveryTimes(), 0.5) }},
	{"delivery_p99", "delivery, 99 %", unitSeconds, func(r *Report, _ *Cost) float64 { return quantile(r.deliveryTimes(), 0.99) }},
	{"delivery_most", "delivery, slowest", unitSeconds, func(r *Report, _ *Cost) float64 { return quantile(r.deliveryTimes(), 1) }},
	{"apart", "time apart", unitSeconds, func(r *Report, _ *Cost) float64 { return r.apart().Seconds() }},
	{"stranded", "stranded in the end", unitCount, func(r *Report, _ *Cost) (v float64) {
		for _, o := range r.obs {
			v += float64(o.stranded())
		}
		return v
	}},
	counted("epochs", "epochs"),
	counted("forks", "forks"),
	counted("commits", "commits"),
	counted("switches", "changes of branch"),
	{"back", "epochs back, most", unitCount, func(r *Report, _ *Cost) (v float64) {
		for i := range r.obs {
			v = max(v, float64(r.furthestBack(i)))
		}
		return v
	}},
	each("gossip", "gossip a device", func(d DeviceReport) int { return d.Gossip }),
	each("sync", "syncs a device", func(d DeviceReport) int { return d.Sync }),
	each("log", "log a device", func(d DeviceReport) int { return d.LogBytes }),
	each("disk", "disk a device", func(d DeviceReport) int { return d.DiskBytes }),
	{"cpu", "CPU", unitSeconds, func(_ *Report, c *Cost) float64 {
		if c == nil {
			return 0
		}
		return c.CPU.Seconds()
	}},
	{"heap", "heap, most", unitBytes, func(_ *Report, c *Cost) float64 {
		if c == nil {
			return 0
		}
		return float64(c.Heap)
	}},
}

// quantile of ascending values: the smallest that so much of them does not exceed.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, max(0, int(q*float64(len(sorted))+0.9999999)-1))]
}

// readers are the live members to whom each message of a group is owed that is shown by
// itself.
func (o *observation) readers() map[wire.MessageID]map[wire.DeviceID]bool {
	out, sent, taken := map[wire.MessageID]map[wire.DeviceID]bool{}, o.sent(), o.taken()
	for _, a := range o.Sent {
		r := o.Dag.by[a.ID]
		if r == nil || a.Kind != kindMessage || a.Void || a.Probe || a.Unsure || taken[a.ID] {
			continue
		}
		out[a.ID] = map[wire.DeviceID]bool{}
		for _, v := range o.live() {
			if o.Dag.owed(r, v.Device) && !o.moot(a, v.Device, sent) {
				out[a.ID][v.Device] = true
			}
		}
	}
	return out
}

// deliveryTimes are the seconds from a message's sending to its being shown, of all copies
// that are owed to somebody else, ascending.
func (r *Report) deliveryTimes() []float64 {
	if r.delivered != nil {
		return r.delivered
	}
	r.delivered = []float64{}
	for i, o := range r.obs {
		for _, d := range o.deliverySteps(i, r.world.hist.reads) {
			if d.other {
				r.delivered = append(r.delivered, d.after.Seconds())
			}
		}
	}
	slices.Sort(r.delivered)
	return r.delivered
}

// apart is for how long the live members of a group stood in different epochs, of the group
// that did so longest.
func (r *Report) apart() (most time.Duration) {
	for i := range r.obs {
		var sum time.Duration
		last := stand{at: epochZero, epochs: 1}
		for _, s := range append(r.standing(i), stand{at: epochZero.Add(r.text.Run)}) {
			if last.epochs > 1 {
				sum += s.at.Sub(last.at)
			}
			last = s
		}
		most = max(most, sum)
	}
	return most
}

// movesByTime is the moves in their order: some are noted later, when a device starts again.
func (h *history) movesByTime() []move {
	return slices.SortedStableFunc(slices.Values(h.moves), func(a, b move) int { return a.At.Compare(b.At) })
}

// stranded counts the live devices that are not members where most of them are.
func (o *observation) stranded() int {
	at := map[string]int{}
	live, most := 0, 0
	for _, d := range o.live() {
		live++
		key := fmt.Sprint(d.Status.State, d.Status.Position)
		if at[key]++; d.Status.State == group.StateMember {
			most = max(most, at[key])
		}
	}
	return live - most
}

// furthestBack is how many epochs an honest device of a group left behind itself in one
// move, at most.
func (r *Report) furthestBack(i int) (most int) {
	at := map[*seat]*dagEpoch{}
	epochs := r.obs[i].Dag.epochs
	for _, m := range r.world.hist.moves {
		if m.Seat.g.index != i || m.Seat.n.hostile {
			continue
		}
		to, back := epochs[m.To], 0
		for from := at[m.Seat]; from != nil && to != nil && !to.under(from); from = from.parent {
			back++
		}
		most = max(most, back)
		at[m.Seat] = to
	}
	return most
}
