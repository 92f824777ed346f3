package group

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// flood is what one hostile member writes: entries that are valid by themselves.
type flood struct {
	name  string
	write func(c *device, until func(raws [][]byte) bool) [][]byte
	out   bool // its author was removed before
}

var floods = []flood{
	{"logs beside each other", logsBeside, false},
	{"logs in a line", logsInALine, false},
	{"forked logs", forkedLogs, false},
	{"one log", oneLog, false},
	{"devices, each with 16 logs", manyDevices, false},
	{"operations without a right", withoutRight, false},
	{"logs in a line, of who is out", logsInALine, true},
	{"one log, of who is out", oneLog, true},
}

// logsBeside are logs of one entry each, of which none knows another.
func logsBeside(c *device, until func([][]byte) bool) (raws [][]byte) {
	at := c.m.logs.Head(c.m.own.log)
	for !until(raws) {
		p := c.fresh()
		p.write(wire.KindRecord, &wire.Record{}, at)
		raws = append(raws, p.raws...)
	}
	return raws
}

// logsInALine are logs of one entry each, of which each knows the one before, as those of a
// device that is restored again and again.
func logsInALine(c *device, until func([][]byte) bool) (raws [][]byte) {
	at := c.m.logs.Head(c.m.own.log)
	last, hlc := at.Hash, uint64(at.HLC)
	for !until(raws) {
		p := c.fresh()
		hlc++
		last = p.writeAt(hlc, wire.KindRecord, &wire.Record{}, last)
		raws = append(raws, p.raws...)
	}
	return raws
}

// forkedLogs are pairs of entries with one number.
func forkedLogs(c *device, until func([][]byte) bool) (raws [][]byte) {
	at := c.m.logs.Head(c.m.own.log)
	for !until(raws) {
		p := c.fresh()
		p.write(wire.KindRecord, &wire.Record{}, at)
		q := &pen{d: c, inc: p.inc}
		q.write(wire.KindRecord, &wire.Record{Commitment: wire.Hash{1}}, at)
		raws = append(append(raws, p.raws...), q.raws...)
	}
	return raws
}

// oneLog is a log of entries that each name what was there long ago.
func oneLog(c *device, until func([][]byte) bool) (raws [][]byte) {
	p := c.fresh()
	p.write(wire.KindRecord, &wire.Record{}, c.m.logs.Head(c.m.own.log))
	for !until(p.raws) {
		p.write(wire.KindRecord, &wire.Record{})
	}
	return p.raws
}

// withoutRight is a log of operations that a plain member may not make.
func withoutRight(c *device, until func([][]byte) bool) (raws [][]byte) {
	p := c.fresh()
	p.op(&wire.Op{Type: wire.OpRole, User: &c.dev.User, Role: wire.RoleAdmin}, c.m.logs.Head(c.m.own.log))
	for !until(p.raws) {
		p.op(&wire.Op{Type: wire.OpRole, User: &c.dev.User, Role: wire.RoleAdmin})
	}
	return p.raws
}

// manyDevices are devices that a user adds and revokes, each of which begins as many logs as
// it may.
func manyDevices(c *device, until func([][]byte) bool) (raws [][]byte) {
	at := c.m.logs.Head(c.m.own.log)
	p := c.fresh()
	for n := 0; !until(raws); n++ {
		x, op := c.w.adds(c, fmt.Sprint("device ", n))
		if n == 0 {
			p.op(op, at)
		} else {
			p.op(op)
		}
		add := p.prev
		for range 16 {
			q := x.fresh()
			q.writeAt(p.hlc+1, wire.KindRecord, &wire.Record{}, add)
			raws = append(raws, q.raws...)
		}
		p.op(&wire.Op{Type: wire.OpDeviceRevoke, Device: &x.dev.ID})
		raws = append(raws, p.raws...)
		p.raws = nil
	}
	return raws
}

// beforeFlood is a group in which a and b, who are alone from here on, and c have written, and c
// is going to flood it: as a member, or after it was removed.
func beforeFlood(t *testing.T, seed uint64, out bool) (w *world, a, b, c *device) {
	w, a, b, c = three(t, seed)
	for range 20 {
		for _, d := range []*device{a, b, c} {
			d.send("hello")
			w.run(time.Second)
		}
	}
	c.online, w.gossip = false, false
	if out {
		a.must(RemoveUser{User: c.dev.User})
		w.sync(a, b)
		w.run(10 * time.Minute)
	}
	w.cut = func(_, _ *device) bool { return true }
	return w, a, b, c
}

// BenchmarkFloods prints what floods of valid entries by one member cost the others, and what
// an exchange of two of them costs before and after: by the process clock, and in bytes. It
// fails if one costs more than twice as much after the flood.
//
//	go test ./node/group -run '^$' -bench '^BenchmarkFloods$' -benchtime 1x
func BenchmarkFloods(b *testing.B) {
	mb := 46
	if n, err := strconv.Atoi(os.Getenv("PANDANODE_FLOOD_MB")); err == nil {
		mb = n
	}
	for range b.N {
		out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
		fmt.Fprintf(out, "%d MB of\tentries\tattacker's CPU\tvictim's CPU\ttaken\tlogs\ton disk\tvector\ttaking it\tan exchange\tratio\t\n", mb)
		for _, f := range floods {
			if only := os.Getenv("PANDANODE_FLOOD"); only != "" && only != f.name {
				continue
			}
			w, x, y, c := beforeFlood(&testing.T{}, 1900, f.out)
			before, _ := w.exchange(x, y, true)
			_, size := w.exchange(x, y, false)
			vector := size
			start := clock()
			total := 0
			raws := f.write(c, func(raws [][]byte) bool {
				if len(raws) > 0 {
					total = len(raws) * len(raws[len(raws)-1])
				}
				return total > mb<<20
			})
			forging := clock() - start
			rows, count := len(x.rows), x.m.logs.Count
			start = clock()
			for some := range slices.Chunk(raws, 256) {
				_, _ = x.m.Step(w.now, Entries{Entries: some})
				x.keep()
			}
			taking := clock() - start
			for some := range slices.Chunk(raws, 256) {
				_, _ = y.m.Step(w.now, Entries{Entries: some})
				y.keep()
			}
			w.run(time.Minute)
			y.takeAll(x, 64<<10)
			x.takeAll(y, 64<<10)
			after, _ := w.exchange(x, y, true)
			whole, size := w.exchange(x, y, false)
			disk := 0
			for key, v := range x.rows {
				disk += len(key) + len(v)
			}
			ratio := float64(after) / float64(before)
			bound := "holds"
			if ratio > 2 && after > time.Millisecond || size > 64<<10 {
				bound = "MISSED"
				b.Errorf("%s: an exchange costs %v and %d bytes, before %v and %d", f.name, after, size, before, vector)
			}
			fmt.Fprintf(out, "%s\t%d\t%v\t%v\t%d\t%d\t%.1f MB in %d rows\t%d B, was %d\t%v\t%v, was %v\t%.1f %s\t\n", f.name, len(raws), forging.Round(time.Millisecond), taking.Round(time.Millisecond),
				x.m.logs.Count-count, len(x.m.logs.Lists), float64(disk)/1e6, len(x.rows)-rows, size, vector, whole, after, before, ratio, bound)
			_ = out.Flush()
		}
	}
}

// exchange says what an exchange of two members costs that know the same: of several the
// median, and the bytes that travel. Unless they may notice that by the hashes of their
// marks, both vectors travel whole.
func (w *world) exchange(x, y *device, same bool) (cost time.Duration, bytes int) {
	var costs []time.Duration
	for range 21 {
		start := clock()
		in := PeerVector{Device: x.dev.ID}
		vector, marks, theirs := x.m.VectorFor(y.dev.ID), y.m.Marks(), x.m.Marks()
		if vector.Same = 0; same && x.m.MarksHash() == y.m.MarksHash() {
			vector.Marks, vector.Same, marks, in.Same = nil, 1, x.m.Marks(), y.m.MarksHash()
		}
		bytes = len(wire.Marshal(&vector))
		entries, _, err := x.m.EntriesAfter(y.dev.ID, marks, wire.EntryHash{}, 64<<10)
		if err != nil {
			panic(err)
		}
		vector.Marks = theirs
		in.Vector = &vector
		_, _ = y.step(in)
		costs = append(costs, clock()-start)
		for _, e := range entries {
			bytes += len(e)
		}
	}
	slices.Sort(costs)
	return costs[len(costs)/2], bytes
}
