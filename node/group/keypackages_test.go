package group

import (
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/wire"
)

// A member adds two puppets whose KeyPackages are out of date.
func TestExpiredKeyPackagesDoNotMakeCommitsForEver(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 408)
	secret, public, _ := engine.MLS(1).NewSigner(w.rand)
	for _, name := range []string{"p1", "p2"} {
		_, op := puppet(t, w, name, secret, public, w.now.Add(-365*24*time.Hour))
		raw, _ := forged(c, wire.KindOp, op, []wire.EntryHash{a.m.logs.Head(a.m.own.log).Hash}, c.next(a))
		for _, x := range []*device{a, b} {
			x.must(Entries{Entries: [][]byte{raw}})
		}
	}
	before := a.m.Status().Epoch
	for range 60 {
		w.now = w.now.Add(time.Second)
		for _, x := range []*device{a, b} {
			_, _ = x.step(Tick{})
		}
	}
	if n := a.m.Status().Epoch - before; n > 3 {
		t.Errorf("%d commits in a minute that change nothing", n)
	}
}
