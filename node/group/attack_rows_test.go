package group

import (
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// maxRow is how long a row may be: a store takes none that is longer.
const maxRow = 1<<20 - 1<<10

// A member that names all entries in each of its own makes nobody write a row that is too
// long for a store: the machine would not run again.
func TestEntriesThatNameAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1701)
	a, b := w.device("anna"), w.device("ben")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.run(time.Minute)
	b.online = false
	for range 500 {
		a.send("x")
	}
	var deps []wire.EntryHash
	for it := range a.m.logs.Items.All() {
		if it.Log == a.m.own.log {
			deps = append(deps, it.Hash)
		}
	}
	slices.SortFunc(deps, func(a, b wire.EntryHash) int { return slices.Compare(a[:], b[:]) })
	for range 2 * packSize {
		raw, _ := forged(b, wire.KindRecord, &wire.Record{}, deps, b.next(a))
		a.must(Entries{Entries: [][]byte{raw}})
	}
	for key, value := range a.rows {
		if len(value) > maxRow {
			t.Errorf("row %s has %d bytes", key, len(value))
		}
	}
	a.open()
	w.run(time.Minute)
	if got := len(a.texts()); got != 500 {
		t.Errorf("after a restart it shows %d messages", got)
	}
}
