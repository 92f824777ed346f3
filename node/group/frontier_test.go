package group

import (
	"slices"
	"testing"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/wire"
)

// Entries that a device wrote before its store went back count only once its new log names
// them. Another member's many new logs do not take their place in the deps.
func TestOwnHeadsAreNamedFirst(t *testing.T) {
	t.Parallel()
	w, a, _, c := three(t, 919)
	w.cut = func(_, _ *device) bool { return true }
	deps := []wire.EntryHash{a.m.logs.Head(a.m.own.log).Hash}
	at := uint64(a.m.logs.Clock.Last())
	old, hash := forged(a, wire.KindRecord, &wire.Record{}, deps, func(e *wire.Entry) { e.HLC = at + 1 })
	a.must(Entries{Entries: [][]byte{old}})
	for i := range uint64(dag.MaxBeside - 1) {
		raw, _ := forged(c, wire.KindRecord, &wire.Record{}, deps, func(e *wire.Entry) { e.HLC = at + 2 + i })
		a.must(Entries{Entries: [][]byte{raw}})
	}
	a.send("names it")
	if it := a.m.logs.Items.At(hash); !a.m.logs.InPast(it, a.m.logs.Head(a.m.own.log)) {
		t.Error("it is not named")
	}
	if deps := a.m.logs.Frontier(a.m.own.log, wire.MaxDeps); slices.Contains(deps, hash) {
		t.Error("it is named twice")
	}
}
