package group

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/wire"
)

// BenchmarkWritten has 6,000 honest devices each write once, so that a vector has 6,000 marks.
// One member learns half of it from another, each part of a vector fits into a frame, a Beacon
// into an envelope, and one can write.
//
//	go test ./node/group -run '^$' -bench '^BenchmarkWritten$' -benchtime 1x
func BenchmarkWritten(b *testing.B) {
	const devices = 6000
	for range b.N {
		w, x, y, c := three(&testing.T{}, 1800)
		c.send("so that it has a log")
		w.run(time.Second)
		c.online = false
		w.cut = func(_, _ *device) bool { return true }
		var adds, words [][]byte
		last, seq := c.m.logs.Head(c.m.own.log), uint64(0)
		hash, hlc := last.Hash, uint64(last.HLC)
		for i := range devices {
			secret, public, _ := engine.MLS(1).NewSigner(w.rand)
			p, op := puppet(&testing.T{}, w, fmt.Sprint("device ", i), secret, public, w.now)
			seq++
			var raw []byte
			raw, hash = forged(c, wire.KindOp, op, nil, func(e *wire.Entry) {
				e.Incarnation, e.Seq, e.Prev, e.HLC = c.m.own.log.Incarnation, last.Seq+seq, hash, hlc+2*seq
			})
			adds = append(adds, raw)
			q := p.fresh()
			q.writeAt(hlc+2*seq+1, wire.KindRecord, &wire.Record{}, hash)
			words = append(words, q.raws...)
		}
		takes := func(d *device, raws [][]byte) (cost time.Duration) {
			start := clock()
			for some := range slices.Chunk(raws, 256) {
				d.must(Entries{Entries: some})
			}
			return clock() - start
		}
		fmt.Println("additions taken in", takes(x, adds), "words in", takes(x, words))
		takes(y, adds)
		takes(y, words[:devices/2])
		start := clock()
		y.takeAll(x, 32<<10)
		fmt.Println("half of the words learned in", clock()-start)
		if y.m.MarksHash() != x.m.MarksHash() {
			b.Error("they do not hold the same")
		}
		v := x.m.VectorFor(y.dev.ID)
		parts, most, whole := 0, 0, 0
		var got wire.SyncVector
		for part := range v.Parts() {
			n := len(wire.Marshal(&wire.SyncMessage{Vector: part}))
			parts, most, whole = parts+1, max(most, n), whole+n
			if err := got.Join(part); err != nil {
				b.Error(err)
			}
		}
		fmt.Println(len(v.Marks), "marks in", parts, "parts,", whole, "bytes, at most", most)
		if len(v.Marks) < devices || len(got.Marks) != len(v.Marks) || most > wire.MaxFrame {
			b.Errorf("%d marks in parts of up to %d bytes", len(v.Marks), most)
		}
		same, _ := w.exchange(x, y, true)
		each, _ := w.exchange(x, y, false)
		fmt.Println("an exchange takes", same, "and", each, "where the vectors travel")
		for _, d := range []*device{x, y} {
			d.m.joining.retract = true
			d.m.timers.set(timerBeacon, w.now)
			d.must(Tick{})
		}
		if x.send("after all of that"); len(x.errs)+len(y.errs) > 0 {
			b.Errorf("%v %v", x.errs, y.errs)
		}
	}
}
