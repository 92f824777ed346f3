package group

import (
	"fmt"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/wire"
)

// fitsTransactions fails where a device wrote more at once than a store takes in one
// transaction with room to spare, or so little that nothing was tested.
func fitsTransactions(t *testing.T, devices ...*device) {
	t.Helper()
	most := 0
	for _, d := range devices {
		most = max(most, d.peak)
		if d.peak > 2*d.m.tx.most {
			t.Errorf("%s wrote %d bytes at once", d.name, d.peak)
		}
	}
	if most < devices[0].m.tx.most {
		t.Errorf("the largest transaction is of %d bytes only", most)
	}
}

// Messages that wait behind one, which comes at last, are shown in batches that fit.
func TestManyShownAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 51)
	a, b := w.device("a"), w.device("b")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.run(time.Minute)
	const n = 8000
	w.gossip = false
	for i := range n {
		a.send(fmt.Sprint(i))
		// The seal of the first stays out; the record comes with the next.
		bundle, err := b.opened(a.last)
		if err != nil {
			t.Fatal(err)
		}
		b.must(Entries{Entries: bundle.Entries})
		if i > 0 {
			b.must(Seals{Seals: bundle.Seals})
		}
	}
	if len(b.shown) != 0 {
		t.Fatalf("%d messages are shown before the first", len(b.shown))
	}
	b.must(Envelope{Bytes: must(a.m.EnvelopeOf(firstOf(a)))})
	w.run(time.Second)
	if len(b.shown) != n {
		t.Errorf("%d of %d messages are shown", len(b.shown), n)
	}
	fitsTransactions(t, b)
	w.agree(a, b)
}

// firstOf gives the first message that a device wrote.
func firstOf(d *device) wire.MessageID {
	var first *dag.Item
	for it := range d.records() {
		if it.Log == d.m.own.log && (first == nil || it.Seq < first.Seq) {
			first = it
		}
	}
	return first.Hash
}

// Two sides of a cut write much; one of them seals all of its own again.
func TestMuchSealedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 904)
	a, b, c, d := w.device("a"), w.device("b"), w.device("c"), w.device("d")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.run(time.Minute)
	w.cut = func(x, y *device) bool { return (x == a || x == c) != (y == a || y == c) }
	w.join(c)
	d.open()
	d.must(Join{})
	w.run(10 * time.Second)
	const n, size = 60, 60 << 10
	for range n {
		for _, x := range []*device{a, b} {
			x.must(Send{Content: wire.Content{MediaType: "text/plain", Data: make([]byte, size)}})
		}
		w.run(time.Second)
	}
	w.cut = nil
	w.sync(a, b)
	w.run(10 * time.Minute)
	w.agree(a, b, c, d)
	for _, x := range []*device{a, b, c, d} {
		if len(x.shown) < 2*n {
			t.Errorf("%s shows %d messages of %d", x.name, len(x.shown), 2*n)
		}
	}
	fitsTransactions(t, a, b, c, d)
}

// A device that moves from a branch that lost to one of hundreds of epochs does so in
// batches that fit.
func TestLongWayOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 915)
	a, b, c := w.device("a"), w.device("b"), w.device("c")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.join(c)
	w.run(time.Minute)
	w.cut = func(x, y *device) bool { return (x == b) != (y == b) }
	b.renewKeys()
	b.send("from the other side")
	for range 300 {
		a.renewKeys()
		w.run(time.Second)
	}
	w.cut = nil
	b.m.tx.most, b.peak = 64<<10, 0
	b.takeAll(a, 16<<10) // it judges the fork when all is quiet
	w.run(5 * time.Minute)
	w.sync(a, b)
	w.run(5 * time.Minute)
	w.agree(a, b, c)
	if n := len(a.shown); n != 1 {
		t.Errorf("a shows %d messages", n)
	}
	fitsTransactions(t, b)
}
