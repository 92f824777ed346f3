package group

import (
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// Two members let the same device in without knowing of each other. It learns first of
// the addition that came later and knew more: what lies between is owed to it once it
// learns of the other, and shown without a restart.
func TestFloorMovesBack(t *testing.T) {
	w := newWorld(t, 914)
	a, b, d := w.device("anna"), w.device("ben"), w.device("dora")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.run(time.Minute)
	w.agree(a, b)
	w.cut = func(x, y *device) bool { return true }
	d.open()
	d.must(Join{})
	r := *d.m.request
	a.must(JoinAsked{Request: r})
	w.run(time.Second)
	b.send("between")
	w.run(time.Second)
	w.cut = func(x, y *device) bool { return x == a || y == a }
	w.run(time.Minute)
	if s := d.m.Status(); s.State != StateMember || len(d.texts()) != 0 {
		t.Fatalf("%+v, %v", s, d.texts())
	}
	w.cut = nil
	w.sync(a, b)
	w.sync(b, d)
	w.run(5 * time.Minute)
	w.agree(a, b, d)
	floor := d.m.roster.devices[d.dev.ID].by
	if floor.log != a.m.log {
		t.Fatal("the other addition counts")
	}
	live := d.texts()
	d.open()
	w.run(time.Minute)
	if !slices.Contains(d.texts(), "between") {
		t.Fatalf("after a restart: %v", d.texts())
	}
	if !slices.Contains(live, "between") {
		t.Errorf("before a restart it shows %v", live)
	}
}
