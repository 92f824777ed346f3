package group

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/mls"
	"github.com/pandanode/pandanode/node/group/dag/dagtest"
	"github.com/pandanode/pandanode/node/wire"
)

// A device that is asked for a message again and again seals it once in an epoch.
func TestSealsOnceAnEpoch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 61)
	a, b := w.device("a"), w.device("b")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.run(time.Minute)
	id := a.send("once")
	w.run(time.Minute)
	for range 10 {
		a.must(PeerVector{Device: b.dev.ID, Gaps: []wire.MessageID{id}})
		w.run(2 * resealAfter)
	}
	if at := a.record(id).Sealed; len(at) != 1 {
		t.Errorf("it is sealed %d times, in %d epochs", len(at), len(slices.Compact(at)))
	}
	a.m.timers.set(timerUpdate, w.now)
	a.must(Tick{})
	w.run(time.Minute)
	for range 4 {
		a.must(PeerVector{Device: b.dev.ID, Gaps: []wire.MessageID{id}})
		w.run(2 * resealAfter)
	}
	if at := a.record(id).Sealed; len(at) != 2 {
		t.Errorf("in two epochs it is sealed %d times", len(at))
	}
}

// A device that a sender's ratchet has run away from, by seals that it never got, renews
// its keys, and reads on. It does so no more often than need be.
func TestWornRatchet(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 62)
	a, b, c := w.device("a"), w.device("b"), w.device("c")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.join(c)
	w.run(time.Minute)
	epoch := c.m.Status().Epoch
	runAway := func() {
		_, e := a.m.position()
		for range mls.MaxForward + 1 {
			_, rows, err := e.Seal(w.rand, a.m.own.Signer, nil, []byte("of no use to anybody"))
			if err != nil {
				t.Fatal(err)
			}
			a.m.epochs.putKeys(a.m.own.Position, rows)
		}
		a.must(Tick{})
	}
	runAway()
	a.send("out of reach")
	b.send("b goes on as before") // who can be read proves nothing of others
	w.run(outOfReachAfter / 2)
	if c.m.Status().Gaps != 1 {
		t.Fatalf("c has %d gaps, want the one", c.m.Status().Gaps)
	}
	for i := range 5 {
		b.send(fmt.Sprint("and on ", i))
		w.run(time.Minute)
	}
	w.run(5 * time.Minute)
	w.agree(a, b, c)
	if now := c.m.Status().Epoch; now != epoch+1 { // b cannot follow a either, and need not renew too
		t.Errorf("from epoch %d to %d", epoch, now)
	}
	epoch = c.m.Status().Epoch
	b.renewedForReach(w.now)
	c.renewedForReach(w.now)
	runAway()
	a.send("out of reach again")
	w.run(renewAgainAfter / 2)
	if now := c.m.Status().Epoch; now != epoch {
		t.Errorf("keys are renewed again after half an hour: from epoch %d to %d", epoch, now)
	}
	w.run(renewAgainAfter)
	w.agree(a, b, c)
}

// A device that takes a ratchet for worn out and is removed before it renews its keys
// goes to rest.
func TestWornThenOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 71)
	a, b, c := w.device("a"), w.device("b"), w.device("c")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.join(c)
	w.run(time.Minute)
	a.outrun()
	a.send("out of reach")
	w.run(time.Second)
	if !c.m.timers.running(timerRatchet) {
		t.Fatal("nothing is worn out")
	}
	a.must(RemoveUser{User: c.dev.User})
	w.run(outOfReachAfter + time.Minute)
	c.must(Tick{})
	if wake := c.m.NextWake(); !wake.IsZero() && !wake.After(w.now) {
		t.Errorf("c, out since %v, wants to be woken at %v, which is over: it is %v", outOfReachAfter, wake, w.now)
	}
}

// Anybody can put any label on a seal. Labels that name no device of the group say nothing
// of a ratchet, and are not kept.
func TestWornLabels(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 72)
	a, b := w.device("a"), w.device("b")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.run(time.Minute)
	a.outrun()
	a.send("out of reach")
	w.run(time.Second)
	if n := b.outOfReach(); n != 1 {
		t.Fatalf("%d ratchets are taken for worn out", n)
	}
	seals, err := a.m.SealsFor(b.dev.ID, b.m.messages.lacks())
	if err != nil || len(seals) != 1 {
		t.Fatal(len(seals), err)
	}
	s, err := wire.DecodeSeal(seals[0])
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		s.Sealer = dagtest.TestDevice(1000 + i)
		_, _ = b.step(Seals{Seals: [][]byte{wire.Marshal(s)}})
	}
	if n := b.outOfReach(); n != 1 {
		t.Errorf("%d ratchets are taken for worn out, of 2 devices", n)
	}
	w.run(outOfReachAfter + 5*time.Minute)
	w.agree(a, b)
}
