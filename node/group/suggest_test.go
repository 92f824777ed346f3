package group

import (
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// A member that is silent for 90 days, or makes three commits that only some can process,
// is one to think of removing; every member says the same.
func TestSuggestions(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 760)
	if s := suggestions(a.m.logs, a.m.tree, a.m.rosters.now, w.now); len(s) > 0 {
		t.Errorf("at first: %+v", s)
	}
	c.online = false
	last := a.m.logs.Heard(w.now)[c.dev.User].Time()
	for _, days := range []time.Duration{45, 44, 2} {
		w.now = w.now.Add(days * 24 * time.Hour)
		a.send("still here")
		w.run(time.Hour)
		b.send("here too")
		w.run(time.Hour)
		silent := w.now.Sub(last) >= silentFor
		for _, d := range []*device{a, b} {
			switch s := suggestions(d.m.logs, d.m.tree, d.m.rosters.now, w.now); {
			case !silent && len(s) > 0:
				t.Errorf("%s, after %v: %+v", d.name, w.now.Sub(last), s)
			case silent && (len(s) != 1 || s[0].User != c.dev.User || !s[0].Silent.Equal(last) || s[0].Refused != 0):
				t.Errorf("%s, after %v: %+v", d.name, w.now.Sub(last), s)
			}
		}
	}

	var epochs []wire.EpochID
	c.online = true
	w.sync(a, c)
	w.run(10 * time.Minute) // it is back in, by somebody else's commit
	for i := range manyRefused {
		c.m.timers.set(timerUpdate, w.now)
		c.must(Tick{})
		w.run(time.Minute)
		epochs = append(epochs, c.m.own.Position)
		refused := slices.SortedFunc(slices.Values(epochs), func(a, b wire.EpochID) int { return slices.Compare(a[:], b[:]) })
		vote := b.forge(wire.KindVote, &wire.Vote{Position: a.m.own.Position, Refused: refused}, a.m.logs.Frontier(b.m.own.log, 16), b.next(a))
		b.online = false
		a.must(Entries{Entries: [][]byte{vote}})
		s := suggestions(a.m.logs, a.m.tree, a.m.rosters.now, w.now)
		if many := i == manyRefused-1; many && (len(s) != 1 || s[0].User != c.dev.User || s[0].Refused != manyRefused || !s[0].Silent.IsZero()) || !many && len(s) > 0 {
			t.Errorf("after %d invalid commits: %+v", i+1, s)
		}
	}
}
