package group

import (
	"errors"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group/verdict"
)

// update has a device commit alone at its position, and gives the envelope.
func (d *device) update() []byte {
	d.w.t.Helper()
	before := d.m.Status().Position
	d.m.timers.set(timerUpdate, d.w.now)
	d.must(Tick{})
	if d.m.Status().Position == before {
		d.w.t.Fatalf("%s has not committed", d.name)
	}
	return d.last
}

// Members who committed at the same time keep a device that is behind at the epoch where
// they did, and not at the one where it was.
func TestForkHoldsNobodyBeforeIt(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 33)
	w.cut = func(x, y *device) bool { return x == c || y == c }
	var way [][]byte
	for range 2 {
		way = append(way, a.update())
		w.run(time.Second)
	}
	fork := a.m.Status().Position
	if b.m.Status().Position != fork || c.m.Status().Position == fork {
		t.Fatal("b is not where a is, or c is")
	}
	w.cut = func(*device, *device) bool { return true }
	for _, env := range [][]byte{a.update(), b.update(), way[1], way[0]} { // all but the last wait for it
		if _, err := c.step(Envelope{Bytes: env}); err != nil && !errors.Is(err, verdict.ErrIncomplete) {
			t.Fatal(err)
		}
	}
	st := c.m.Status()
	if st.Position != fork || st.State != StateSyncing {
		t.Errorf("c is at %v, %v; it can get to %v, where the fork is", st.Position, st.State, fork)
	}
	if !c.m.timers.at(timerSettle).After(w.now) {
		t.Error("c has judged the fork already")
	}
	w.cut = nil
	w.sync(a, b)
	w.run(time.Minute)
	w.agree(a, b, c)
}

// An entry that was written before this device knew of the fork prolongs the wait. A later
// one that agrees with its choice does not: its author may have judged the fork.
func TestAgreementProlongsNoWait(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 35)
	w.cut = func(*device, *device) bool { return true }
	first := [][]byte{a.update(), b.update()}
	w.run(time.Second)
	old := map[*device][]byte{a: a.update(), b: b.update()}
	w.run(time.Second)
	give := func(env []byte) time.Time {
		t.Helper()
		c.must(Envelope{Bytes: env})
		return c.m.timers.at(timerSettle)
	}
	give(first[0])
	until := give(first[1])
	if until.IsZero() {
		// It followed the first to come, which is the one that is chosen.
		t.Fatal("c does not wait: take another seed")
	}
	winner, loser := a, b
	if b.m.tree.Nodes[b.m.own.Position].Parent.ID == c.m.fork.chosen.at.ID {
		winner, loser = b, a
	}
	w.run(time.Second)
	later := give(old[loser])
	if !later.After(until) {
		t.Errorf("an old commit leaves the wait at %v", until)
	}
	give(old[winner])
	later = c.m.timers.at(timerSettle)
	w.run(time.Second)
	if got := give(winner.update()); !got.Equal(later) {
		t.Errorf("a commit on the chosen branch prolongs the wait from %v to %v", later, got)
	}
	w.run(3 * time.Second)
	if got, want := c.m.Status().Position, winner.m.Status().Position; got != want {
		t.Errorf("c is at %v and not at %v", got, want)
	}
	w.cut = nil
	w.sync(a, b)
	w.run(time.Minute)
	w.agree(a, b, c)
}
