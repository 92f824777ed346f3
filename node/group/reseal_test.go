package group

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// Dora was let in by ben, concurrently with a record of carl's that anna alone of those
// who are here can read. While people write, dora tells its gap every few seconds: that
// must not put off for ever what anna plans to do about it.
func TestGapIsFilledWhilePeopleWrite(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 780)
	var away []*device
	for i := range 6 {
		d := w.device(fmt.Sprint("away ", i))
		w.join(d)
		away = append(away, d)
	}
	w.run(time.Minute)
	for _, d := range away {
		d.online = false
	}
	d := w.device("dora")
	w.cut = func(x, y *device) bool { return (x == b || x == d) != (y == b || y == d) }
	c.send("early")
	w.run(time.Second)
	d.open()
	d.must(Join{})
	for d.request() != nil {
		w.run(10 * time.Millisecond)
	}
	b.online, c.online = false, false
	w.cut = nil
	entries, _, err := b.m.EntriesAfter(a.dev.ID, a.m.Marks(), wire.EntryHash{}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	a.must(Entries{Entries: entries})
	w.sync(a, d)
	w.run(time.Second)
	if d.m.Status().Gaps == 0 || a.m.own.Position != d.m.own.Position || a.m.rank() < 2 {
		t.Fatalf("%d gaps, anna's rank is %d", d.m.Status().Gaps, a.m.rank())
	}
	for i := range 60 {
		a.send(fmt.Sprint("a ", i))
		w.run(2 * time.Second)
	}
	if got := d.texts(); !slices.Contains(got, "early") {
		t.Errorf("after two minutes dora lacks the record and shows %d others", len(got))
	}
}

// A beacon covers an entry and names gaps: that tells nobody that its own message is read
// there, so that it could leave.
func TestBeaconIsNoReceipt(t *testing.T) {
	t.Parallel()
	for _, n := range []int{maxGapsTold - 1, maxGapsTold} {
		w, a, b, _ := three(t, 785)
		w.gossip = false
		w.cut = func(_, _ *device) bool { return true }
		id := b.send("the last word")
		gaps := make([]wire.MessageID, n)
		for i := range gaps {
			gaps[i] = wire.MessageID{0, byte(i)}
		}
		public := a.wrapKey()
		beacon := wire.Beacon{
			V: wire.Version, Log: a.m.own.log, HLC: uint64(a.m.logs.Clock.Now(w.now)) + 1, Vector: b.m.logs.Marks(), Gaps: gaps,
			Position: a.m.own.Position, TransportKey: public[:],
		}
		raw := a.log.Sign(wire.DomainBeacon, w.group, beacon.Encode()).Encode()
		b.must(Envelope{Bytes: a.envelope(wire.Bundle{Beacons: [][]byte{raw}})})
		m, _, err := b.m.Journal().Message(id)
		if err != nil {
			t.Fatal(err)
		}
		if b.handedOver() || m.Delivery == DeliveryHeld {
			t.Errorf("%d gaps are told, the message is %v, handed over: %v", n, m.Delivery, b.handedOver())
		}
	}
}
