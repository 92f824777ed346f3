package authority

import (
	"flag"
	"math/rand/v2"
	"slices"
	"testing"
)

var (
	orders    = flag.Int("orders", 50, "orders in which TestOrder feeds each set")
	orderSets = flag.Int("sets", 8, "sets that TestOrder feeds; TestIncremental ten times as many")
)

// Each set gives one roster and one set of owed messages, in whatever order it comes.
func TestOrder(t *testing.T) {
	t.Parallel()
	worlds := worldsOf(t, "testdata/worlds.txt.gz", 2700)
	r := rand.New(rand.NewPCG(1, 2))
	for range *orderSets {
		w := worlds[r.IntN(len(worlds))]
		var want string
		var owed []string
		for n := range *orders {
			m, _ := w.m.reordered(w.m.shuffle(r))
			p := play(m)
			for _, e := range m.order {
				p.next(e)
				if r.IntN(8) == 0 {
					p.r.Roster() // queries change nothing
				}
			}
			got, now := fingerprint(p.r.Roster()), p.owedOf()
			if n == 0 {
				want, owed = got, now
			}
			if got != want || !slices.Equal(now, owed) {
				t.Fatalf("%s: order %d gives\n%s%q\nand the first\n%s%q", w.name, n, got, now, want, owed)
			}
		}
	}
}

// After each entry the roster is the one that is resolved from scratch, and so is the
// roster of each entry's past.
func TestIncremental(t *testing.T) {
	t.Parallel()
	worlds := worldsOf(t, "testdata/worlds.txt.gz", 2700)
	r := rand.New(rand.NewPCG(3, 4))
	for range 10 * *orderSets {
		w := worlds[r.IntN(len(worlds))]
		m, _ := w.m.reordered(w.m.shuffle(r))
		p := play(m)
		for i, e := range m.order {
			p.next(e)
			if got, want := fingerprint(p.r.Roster()), fingerprint(p.r.resolve(p.r.all())); got != want {
				t.Fatalf("%s: after entry %d\n%s\nfrom scratch\n%s", w.name, i, got, want)
			}
			if got, want := fingerprint(p.r.At(e.ref)), fingerprint(p.r.resolve(p.r.before(e.ref))); got != want {
				t.Fatalf("%s: before entry %d\n%s\nfrom scratch\n%s", w.name, i, got, want)
			}
		}
	}
}
