package dag

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pandanode/pandanode/crdt"
)

// Whatever the places of what an entry builds on, its date is one that others take: it rises
// above each, or that one lies so far ahead that nobody expects it to.
func TestDateAfterIsTaken(t *testing.T) {
	now := time.UnixMilli(1_790_000_000_123).Add(456 * time.Microsecond)
	r := rand.New(rand.NewPCG(1, 2))
	draw := func() crdt.HLC {
		near := []time.Duration{0, time.Millisecond, MaxAhead, 2 * MaxAhead, 50 * 365 * 24 * time.Hour}[r.IntN(5)]
		return crdt.HLCFromTime(now.Add(near + time.Duration(r.Int64N(int64(2*MaxAhead)))*time.Duration(1-2*r.IntN(2))))
	}
	for range 20_000 {
		places := make([]crdt.HLC, 1+r.IntN(4))
		for i := range places {
			places[i] = draw()
		}
		last := draw()
		date := DateAfter(now, last, places...)
		for _, place := range places {
			if !mayFollow(date, place) {
				t.Fatalf("dated %v at %v, after %v: others refuse it for %v", date, now, places, place)
			}
		}
		if last.Ahead(now) <= MaxAhead && date <= last {
			t.Fatalf("dated %v, not above %v", date, last)
		}
	}
}
