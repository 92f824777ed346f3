package group

import (
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// TestLimits: what a group uses of its bounds grows with it.
func TestLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	a := w.device("anna")
	w.found(a, wire.PolicyOpen)
	used := func() map[LimitName]int {
		out := map[LimitName]int{}
		for _, l := range Limits(a.m) {
			if out[l.Name] = l.Used; l.Most <= 0 || l.Share() <= 0 || l.Share() > 0.01 {
				t.Errorf("%+v: %f", l, l.Share())
			}
		}
		return out
	}
	alone := used()
	if alone[LimitLogs] != 1 || alone[LimitPath] == 0 {
		t.Errorf("alone: %v", alone)
	}
	for _, name := range []string{"ben", "carl", "dora"} {
		d := w.device(name)
		w.join(d)
		d.send("hello")
	}
	w.run(time.Minute)
	if four := used(); four[LimitLogs] != 4 || four[LimitPath] <= alone[LimitPath] {
		t.Errorf("four: %v, alone: %v", four, alone)
	}
}
