package group

import (
	"testing"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/wire"
)

// asks counts the syncs that a turn asks for, and begins the next turn.
func (p *peers) asksOfTurn() (n int) {
	for _, o := range p.tx.ready.Messages {
		if _, ok := o.(Ask); ok {
			n++
		}
	}
	p.tx.advance()
	return n
}

// A device asks for a sync once in a second at the most; a wait that brings no news doubles
// after eight, up to about an hour, and begins anew with news. What came too soon is asked
// when its time has come.
func TestAsksBackOff(t *testing.T) {
	t.Parallel()
	out, returns := false, false
	p := &peers{tx: newTx(wire.GroupID{}, memRows{}), timers: &timers{}, idle: func() time.Duration { return idleFor(out, returns) }}
	now := time.Unix(1_800_000_000, 0)
	next := func() time.Duration { // how long until the next one is asked for
		t.Helper()
		p.ask(now.Add(time.Millisecond), "too soon")
		if n := p.asksOfTurn(); n != 0 || !p.timers.running(timerAsk) {
			t.Fatalf("%d asks a millisecond after another, a later one is planned: %v", n, p.timers.running(timerAsk))
		}
		at := p.timers.at(timerAsk)
		if p.askLater(at.Add(-1)); p.asksOfTurn() != 0 {
			t.Fatal("asked before its time")
		}
		if p.askLater(at); p.asksOfTurn() != 1 || p.timers.running(timerAsk) {
			t.Fatal("not asked when its time had come, or planned again")
		}
		wait := at.Sub(now)
		now = at
		return wait
	}
	p.ask(now, "first")
	if n := p.asksOfTurn(); n != 1 {
		t.Fatalf("%d asks at once, want 1", n)
	}
	want := time.Second
	for i := 1; i < 200; i++ {
		if i%8 == 0 {
			want = min(want*2, time.Hour)
		}
		if got := next(); got != want {
			t.Fatalf("ask %d after %v, want %v", i, got, want)
		}
	}
	p.news()
	if got := next(); got != time.Second {
		t.Errorf("after news it waits %v", got)
	}
	out = true
	if got := next(); got != askWhenOut {
		t.Errorf("a device that is out asks after %v, want %v", got, askWhenOut)
	}
	returns = true
	for range 100 {
		p.news() // the others talk, and it may not have what they say
		if got := next(); got != askToReturn {
			t.Fatalf("a device that asks to be let in again asks for a sync after %v, want %v", got, askToReturn)
		}
	}
	p.hurry()
	if p.ask(now, "somebody asked for it"); p.asksOfTurn() != 1 {
		t.Error("somebody who asks for it is kept waiting")
	}
}

// The dates of beacons rise, also while the clock stands, and fall back to the clock once they
// are further ahead of it than others believe.
func TestBeaconDatesRise(t *testing.T) {
	t.Parallel()
	p, now := &peers{}, time.Unix(1_800_000_000, 0)
	first := p.beaconDate(now, crdt.HLCFromTime(now))
	second := p.beaconDate(now, first-5)
	if second <= first || second.Ahead(now) > dag.MaxAhead {
		t.Errorf("the second beacon is dated %v, the first %v", second, first)
	}
	p.beaconed = second + 1<<40 // as if the clock had been far ahead
	if back := p.beaconDate(now, second); back.Ahead(now) > 0 {
		t.Errorf("dated %v ahead for good", back.Ahead(now))
	}
}
