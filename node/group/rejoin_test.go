package group

import (
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/wire"
)

// A joiner is added and goes offline before its Welcome reaches it. When it is back
// after the keys of that epoch are gone everywhere, it is added again.
func TestJoinerBackAfterItsWelcomeIsGone(t *testing.T) {
	t.Parallel()
	for _, away := range []time.Duration{3 * 24 * time.Hour, 30 * 24 * time.Hour, engine.KeyPackageLifetime + 24*time.Hour} {
		w := newWorld(t, 92)
		a, b, d := w.device("anna"), w.device("ben"), w.device("dora")
		w.found(a, wire.PolicyOpen)
		w.join(b)
		w.run(time.Minute)
		d.open()
		d.must(Join{})
		a.must(JoinAsked{Request: *d.request()}) // and the answer is lost
		d.online = false
		w.run(time.Minute)
		if got := len(a.m.Members()); got != 3 {
			t.Fatalf("%d members", got)
		}
		w.run(away / 2)
		a.must(Reboot{}) // the group goes on
		w.sync(a, b)
		w.run(away / 2)
		d.online = true
		b.send("hello")
		w.run(3 * time.Hour)
		w.agree(a, b, d)
		if got := d.texts(); len(got) != 1 {
			t.Errorf("after %v: dora shows %v, refused: %v", away, got, d.errs)
		}
	}
}

// TestAddedAgainByStreams has a fork last until no side can follow the other's commits, and
// then nobody hears anybody on the topic: requests to be added again come on streams.
func TestAddedAgainByStreams(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 92)
	a, b, c := w.device("anna"), w.device("ben"), w.device("carl")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.join(c)
	w.run(time.Minute)
	d, e := w.device("dora"), w.device("emil")
	held := true
	w.cut = func(x, y *device) bool { return held && (x == a || x == d) != (y == a || y == d) }
	w.join(d)
	w.join(e)
	w.run(9 * 24 * time.Hour)
	held, w.gossip = false, false
	for range 30 { // a node exchanges by itself now and then
		for _, x := range w.devices {
			w.syncSomebody(x)
		}
		w.run(2 * time.Minute)
	}
	w.agree(a, b, c, d, e)
	again := 0
	for _, it := range a.m.logs.Commits {
		again += len(it.Commit.Rejoins)
	}
	if again == 0 {
		t.Error("nobody had to be added again")
	}
}
