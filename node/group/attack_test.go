package group

import (
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// A member writes an operation that adds a device, and with that device an entry
// dated before it: who took it starts again from what it has written down.
func TestEntryOlderThanItsDevice(t *testing.T) {
	w, a, b, c := three(t, 700)
	secret, public, _ := MLS(1).NewSigner(w.rand)
	p, op := puppet(t, w, "puppet", secret, public, w.now)
	add, _ := forged(c, wire.KindOp, op, []wire.EntryHash{a.m.logs.head(a.m.log).hash}, c.next(a))
	old, hash := forged(p, wire.KindRecord, &wire.Record{}, nil, func(e *wire.Entry) { e.HLC = 1 << 16 })
	a.must(Entries{Entries: [][]byte{add, old}})
	if a.m.logs.items[hash] == nil {
		t.Fatal("the entry is not in the set")
	}
	a.open()
	if a.m.logs.items[hash] == nil {
		t.Error("after a restart the entry is gone")
	}
	a.send("after")
	w.run(5 * time.Minute)
	w.sync(a, b)
	w.run(time.Minute)
	if b.m.logs.items[hash] == nil || !slices.Contains(b.texts(), "after") {
		t.Errorf("ben does not follow: %v, %v", b.texts(), b.errs)
	}
}

// What is asked about a group with evidence is answered.
func TestReportWithEvidence(t *testing.T) {
	w, a, _, c := three(t, 701)
	raws, _ := forked(c, a)
	a.must(Entries{Entries: raws[:1]})
	_, _ = a.step(Entries{Entries: raws[1:]})
	if r := a.m.Report(w.now); len(r.Devices) != 3 {
		t.Errorf("%d devices", len(r.Devices))
	}
}
