package group

import (
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/wire"
)

// Floods of one member make the vectors of the others, and an exchange of two of them, hardly
// longer. So many messages that nobody can read are named in an exchange, and no more, and
// those seventeen entries which show that a device floods.
// BenchmarkFloods has what floods cost by the clock.
func TestFloodsAreShort(t *testing.T) {
	t.Parallel()
	const most, vector, marks = 1 << 20, 64 << 10, 16
	for _, f := range floods {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			w, x, y, c := beforeFlood(t, 1901, f.out)
			_, before := w.exchange(x, y, true)
			total, seen := 0, 0
			raws := f.write(c, func(raws [][]byte) bool {
				for ; seen < len(raws); seen++ {
					total += len(raws[seen])
				}
				return total > most
			})
			for _, d := range []*device{x, y} {
				count := d.m.logs.Count
				for some := range slices.Chunk(raws, 256) {
					_, _ = d.m.Step(w.now, Entries{Entries: some})
					d.keep()
				}
				if d.m.logs.Count == count {
					t.Errorf("%s took nothing of %d entries", d.name, len(raws))
				}
			}
			w.run(time.Minute)
			y.takeAll(x, 64<<10)
			x.takeAll(y, 64<<10)
			for _, d := range []*device{x, y} {
				v := d.m.VectorFor(c.dev.ID)
				of := map[wire.DeviceID]int{}
				for _, m := range v.Marks {
					of[m.Log.Device]++
				}
				size, worst := len(wire.Marshal(&v)), 0
				for _, n := range of {
					worst = max(worst, n)
				}
				if size > vector || worst > marks {
					t.Errorf("%s: a vector has %d bytes, at most %d, and %d marks of a device, at most %d", d.name, size, vector, worst, marks)
				}
			}
			_, after := w.exchange(x, y, true)
			v := x.m.VectorFor(y.dev.ID)
			whole, gaps, floods := len(wire.Marshal(&v)), len(v.Lacks), 0
			for _, of := range v.Floods {
				floods += len(of.Entries)
			}
			v.Lacks, v.Floods = nil, nil
			if named := whole - len(wire.Marshal(&v)); after-named > 2*before || gaps > wire.MaxGaps || floods > dag.MaxBeside+1 {
				t.Errorf("an exchange has %d bytes, %d of them for %d messages that are lacked and %d entries of the flood, before it %d", after, named, gaps, floods, before)
			}
		})
	}
}
