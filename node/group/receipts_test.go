package group

import (
	"bytes"
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/dag/dagtest"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// heldBy says how many devices have said that they can read a message.
func (d *device) heldBy(id wire.MessageID) int {
	d.w.t.Helper()
	m, ok, err := d.m.Journal().Message(id)
	if err != nil || !ok {
		d.w.t.Fatalf("message %v: %v, %v", id, ok, err)
	}
	if (m.Delivery == DeliveryHeld) != (m.HeldBy > 0) {
		d.w.t.Errorf("%v, held by %d of %d", m.Delivery, m.HeldBy, m.Readers)
	}
	return m.HeldBy
}

// vectorTo gives o what d says of itself on a stream.
func (d *device) vectorTo(o *device) {
	d.w.t.Helper()
	v := d.m.VectorFor(o.dev.ID)
	if _, err := o.step(PeerVector{Device: d.dev.ID, Vector: &v}); err != nil {
		d.w.t.Fatal(err)
	}
}

// receipt is one by d as it travels, changed before it is signed.
func (d *device) receipt(it *dag.Item, change func(*wire.Receipt)) []byte {
	r := &wire.Receipt{V: wire.Version, Log: d.m.own.log, Count: d.m.tx.cursor, Read: wire.Mark{Log: it.Log, Seq: it.Seq, Hash: it.Hash}}
	if change != nil {
		change(r)
	}
	return d.log.Sign(wire.DomainReceipt, d.w.group, r.Encode()).Encode()
}

// TestHeldSoon: an author knows within a second who reads what it wrote, without any
// exchange, however long the group was quiet; many messages cost each reader one receipt a
// second.
func TestHeldSoon(t *testing.T) {
	t.Parallel()
	w, a, b, c := trio(t, 70)
	w.gossip = true
	w.run(24 * time.Hour)
	asked := a.asked()
	id := a.send("hello")
	w.run(receiptWait + 200*time.Millisecond)
	if n := a.heldBy(id); n != 2 {
		t.Errorf("held by %d of 2", n)
	}
	told := 0
	w.hold = func(from, _ *device, _ []byte) bool {
		if from != a {
			told++
		}
		return false
	}
	for i := range 100 {
		id = a.send(fmt.Sprint(i))
		w.run(20 * time.Millisecond)
	}
	w.run(2 * time.Second)
	if n := a.heldBy(id); n != 2 {
		t.Errorf("the last of many is held by %d of 2", n)
	}
	if !a.asked().Equal(asked) {
		t.Error("a sync was asked for")
	}
	if n := b.receiptsDue() + c.receiptsDue(); n > 0 || told > 0 {
		t.Errorf("%d receipts are still due, and %d envelopes went to all", n, told)
	}
	b.rests()
}

// TestOnlyWhatIsReadIsHeld: an entry that is parked, or without a seal, is not held, whatever
// the vector covers.
func TestOnlyWhatIsReadIsHeld(t *testing.T) {
	t.Parallel()
	for name, give := range map[string]func(w *world, b *device, envelopes [][]byte){
		"parked": func(_ *world, b *device, envelopes [][]byte) { _, _ = b.step(Envelope{Bytes: envelopes[1]}) },
		"without a seal": func(w *world, b *device, envelopes [][]byte) {
			for _, e := range envelopes {
				u, err := b.opened(e)
				if err != nil {
					w.t.Fatal(err)
				}
				_, _ = b.step(Envelope{Bytes: b.envelope(wire.Bundle{Entries: u.Entries})})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, a, b, _ := trio(t, 71)
			w.cut = func(_, _ *device) bool { return true }
			w.run(2 * time.Hour)
			a.send("one")
			first := a.last
			id := a.send("two")
			give(w, b, [][]byte{first, a.last})
			w.run(time.Second)
			b.vectorTo(a)
			if n := a.heldBy(id); n != 0 {
				t.Errorf("held by %d", n)
			}
			why := a.m.Explain(w.now, id, nil)
			for _, f := range why.Facts {
				if bytes.Contains([]byte(f), []byte("held by b")) {
					t.Errorf("%+v", why)
				}
			}
			w.now = w.now.Add(2 * time.Hour) // every clock is right
			for _, e := range [][]byte{first, a.last} {
				_, _ = b.step(Envelope{Bytes: e})
			}
			b.vectorTo(a)
			if n := a.heldBy(id); n != 1 {
				t.Errorf("held by %d once it is read", n)
			}
		})
	}
}

// TestReceiptsRefused: nobody can speak for another, and nothing that is not there is held.
func TestReceiptsRefused(t *testing.T) {
	t.Parallel()
	w, a, b, c := trio(t, 72)
	w.cut = func(_, _ *device) bool { return true }
	id := a.send("hello")
	it := a.record(id)
	stranger := w.device("nobody")
	elsewhere := func(r *wire.Receipt) { r.Read.Hash[0] ^= 1 }
	for _, r := range []struct {
		name    string
		raw     []byte
		want    error
		verdict verdict.Verdict
	}{
		{"garbage", []byte{1}, wire.ErrMalformed, verdict.Reject},
		{"by another key", c.receipt(it, func(r *wire.Receipt) { r.Log = b.m.own.log }), verdict.ErrForged, verdict.Reject},
		{"by a stranger", stranger.log.Sign(wire.DomainReceipt, w.group, (&wire.Receipt{V: wire.Version, Log: wire.LogID{Device: stranger.dev.ID}, Count: 1, Read: wire.Mark{Log: it.Log, Seq: it.Seq, Hash: it.Hash}}).Encode()).Encode(), verdict.ErrNotMember, verdict.Ignore},
		{"for an entry that is not here", b.receipt(it, elsewhere), verdict.ErrIncomplete, verdict.Ignore},
		{"with another number", b.receipt(it, func(r *wire.Receipt) { r.Read.Seq++ }), verdict.ErrIncomplete, verdict.Ignore},
		{"for an entry of somebody else", b.receipt(it, func(r *wire.Receipt) { r.Read.Hash = c.m.logs.Head(c.m.own.log).Hash }), verdict.ErrIncomplete, verdict.Ignore},
		{"of this device", a.receipt(c.m.logs.Head(c.m.own.log), nil), nil, verdict.Accept},
	} {
		refusal{r.name, Envelope{Bytes: c.envelope(wire.Bundle{Receipts: [][]byte{r.raw}})}, r.want, r.verdict}.check(t, a)
	}
	if n := a.heldBy(id); n != 0 {
		t.Errorf("held by %d", n)
	}
	a.must(Envelope{Bytes: c.envelope(wire.Bundle{Receipts: [][]byte{b.receipt(it, nil)}})})
	if n := a.heldBy(id); n != 1 {
		t.Errorf("held by %d after b's word, which c carried", n)
	}
	// Known word for word, but not signed so.
	again, err := wire.DecodeSigned(b.receipt(it, nil), wire.MaxReceipt+128)
	if err != nil {
		t.Fatal(err)
	}
	again.Signature[0] ^= 1
	refusal{"said before, with another signature", Envelope{Bytes: c.envelope(wire.Bundle{Receipts: [][]byte{again.Encode()}})}, verdict.ErrForged, verdict.Reject}.check(t, a)
	w.cut, w.gossip = nil, true
	a.must(RemoveUser{User: b.dev.User})
	w.run(time.Minute)
	w.agree(a, c)
	if n := a.heldBy(id); n > 1 {
		t.Errorf("held by %d, a removed one among them", n)
	}
	refusal{"of a removed member", Envelope{Bytes: c.envelope(wire.Bundle{Receipts: [][]byte{b.receipt(it, nil)}})}, verdict.ErrNotMember, verdict.Ignore}.check(t, a)
}

// TestReceiptsAcrossARollback: what a device said before its store went back counts no more
// once it is seen to have begun anew, and cannot be said again by somebody who recorded it.
func TestReceiptsAcrossARollback(t *testing.T) {
	t.Parallel()
	w, a, b, c := trio(t, 73)
	w.gossip = true
	old := maps.Clone(b.rows)
	w.run(time.Minute)
	c.online = false
	id := a.send("hello")
	w.run(2 * time.Second)
	if n := a.heldBy(id); n != 1 {
		t.Fatalf("held by %d", n)
	}
	recorded := b.receipt(a.record(id), nil)
	w.cut = func(_, _ *device) bool { return true }
	b.rows, b.inc = old, b.inc+1
	b.open()
	// Its first entry says that it began anew.
	raw := b.forge(wire.KindVote, &wire.Vote{Position: b.m.own.Position}, []wire.EntryHash{a.m.logs.Head(a.m.own.log).Hash}, func(e *wire.Entry) {
		e.Incarnation = b.inc
		e.HLC = max(uint64(crdt.HLCFromTime(w.now)), uint64(a.m.logs.Clock.Last())+1)
	})
	a.must(Envelope{Bytes: b.envelope(wire.Bundle{Entries: [][]byte{raw}})})
	if n := a.heldBy(id); n != 0 {
		t.Errorf("held by %d after its store went back", n)
	}
	refusal{"from before", Envelope{Bytes: c.envelope(wire.Bundle{Receipts: [][]byte{recorded}})}, verdict.ErrUsed, verdict.Ignore}.check(t, a)
	a.open()
	refusal{"from before, after a restart of the author", Envelope{Bytes: c.envelope(wire.Bundle{Receipts: [][]byte{recorded}})}, verdict.ErrUsed, verdict.Ignore}.check(t, a)
	if n := a.heldBy(id); n != 0 {
		t.Errorf("held by %d by its old word", n)
	}
}

// TestReceiptsSurvive: a receipt that is lost is covered by the next, by one that is sent
// again, and by an exchange; after a restart the author knows no more than it is told.
func TestReceiptsSurvive(t *testing.T) {
	t.Parallel()
	w, a, b, c := trio(t, 74)
	w.gossip, c.online = true, false
	lose := true
	w.cut = func(x, y *device) bool { return lose && (x == b || y == b) }
	lose = false
	id := a.send("hello")
	w.run(100 * time.Millisecond)
	lose = true
	w.run(time.Second) // its receipt goes nowhere
	if n := a.heldBy(id); n != 0 {
		t.Fatalf("held by %d", n)
	}
	lose = false
	b.must(Untold{Device: a.dev.ID})
	w.run(receiptRetry + 100*time.Millisecond)
	if n := a.heldBy(id); n != 1 {
		t.Errorf("held by %d after it was sent again", n)
	}
	for range 10 {
		b.must(Untold{Device: a.dev.ID})
		w.run(time.Minute)
	}
	if n := b.m.messages.receipts.tries; len(n) != 1 || b.receiptsDue() != 0 {
		t.Errorf("it tries for ever: %v", n)
	}
	a.open()
	if n := a.heldBy(id); n != 0 {
		t.Errorf("held by %d after a restart, and nobody has said so", n)
	}
	b.vectorTo(a)
	if n := a.heldBy(id); n != 1 {
		t.Errorf("held by %d after an exchange", n)
	}
}

// TestHeardWakes: a receipt writes nothing, and who waits for it is woken all the same.
func TestHeardWakes(t *testing.T) {
	t.Parallel()
	w, a, b, _ := trio(t, 75)
	w.cut = func(_, _ *device) bool { return true }
	id := a.send("hello")
	if _, err := a.m.Step(w.now, Envelope{Bytes: b.envelope(wire.Bundle{Receipts: [][]byte{b.receipt(a.record(id), nil)}})}); err != nil {
		t.Fatal(err)
	}
	if r, ok := a.m.Ready(); !ok || !r.Heard || len(r.Writes) > 0 {
		t.Errorf("%v: %+v", ok, r)
	}
	a.m.Advance()
	if _, ok := a.m.Ready(); ok {
		t.Error("it is ready for ever")
	}
}

// TestReceiptsAreBounded: what a hostile member says that it has read takes no room and is
// not carried on for ever; a receipt fits the smallest envelope.
func TestReceiptsAreBounded(t *testing.T) {
	t.Parallel()
	w, a, b, c := trio(t, 76)
	w.cut = func(_, _ *device) bool { return true }
	it := c.m.logs.Head(c.m.own.log)
	passed := 0
	for i := range 500 {
		raw := b.receipt(it, func(r *wire.Receipt) {
			r.Count = uint64(1000 + i)
			if i%2 == 0 {
				r.Read.Log = wire.LogID{Device: wire.DeviceID(w.bytes()), Incarnation: 1}
			}
		})
		if out, _ := a.step(Envelope{Bytes: b.envelope(wire.Bundle{Receipts: [][]byte{raw}})}); out.Verdict == verdict.Accept {
			passed++
		}
	}
	if n := len(a.m.messages.receipts.read[b.dev.ID].counts); passed > receiptsPassed || n > maxReceiptCounts {
		t.Errorf("%d were passed on, %d logs are remembered", passed, n)
	}
	for range 4 * maxStale {
		w.now = w.now.Add(time.Second)
		raw := b.receipt(it, func(r *wire.Receipt) { r.Log.Incarnation = w.rand.Uint64() })
		_, _ = a.step(Envelope{Bytes: b.envelope(wire.Bundle{Receipts: [][]byte{raw}})})
	}
	if n := len(a.m.messages.receipts.read[b.dev.ID].stale); n > maxStale {
		t.Errorf("%d incarnations are remembered", n)
	}
	raw := b.receipt(it, func(r *wire.Receipt) { r.Count, r.Read.Seq = 1<<40, 1<<40 })
	if n := len(b.envelope(wire.Bundle{Receipts: [][]byte{raw}})); n != 321 {
		t.Errorf("a receipt's envelope has %d bytes", n)
	}
}

// TestReceiptsInALargeGroup: a few devices tell the author at once, and all others a few at
// a time, so that a thousand are heard within a quarter of an hour.
func TestReceiptsInALargeGroup(t *testing.T) {
	t.Parallel()
	const members = 1000
	w, a, b, _ := trio(t, 77)
	it := a.m.logs.Head(a.m.own.log)
	b0 := b.m.own.log.Device
	a.crowd(b.m, members)
	at := map[time.Duration]int{}
	var last time.Duration
	for i := range members {
		b.m.own.log.Device = dagtest.TestDevice(i)
		b.forgetReceipts()
		b.m.messages.receipts.plan(w.now, 0, it)
		d := b.m.messages.receipts.due[0].Sub(w.now)
		at[d]++
		last = max(last, d)
	}
	for d, n := range at {
		if n > 3*receiptFew {
			t.Errorf("%d devices tell after %v", n, d)
		}
	}
	if n := at[receiptWait]; n < 1 || last > 15*time.Minute {
		t.Errorf("%d devices tell at once, the last after %v", n, last)
	}
	b.m.own.log.Device = b0
	b.forgetReceipts()
	b.m.messages.receipts.from(From{Peer: a.dev.Cert.Peer})
	b.m.messages.receipts.plan(w.now, 0, it)
	if d := b.m.messages.receipts.due[0].Sub(w.now); d != receiptWait {
		t.Errorf("who has it from its author tells after %v", d)
	}
}
