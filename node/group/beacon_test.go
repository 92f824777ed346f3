package group

import (
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/dag/dagtest"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// beaconOf is an envelope with a beacon of a device: how far it is now, what it lacks, and
// maybe its request to be added again, and what a later program says of what its user read.
func (d *device) beaconOf(gaps []wire.MessageID, again *wire.Signed, reads ...byte) Envelope {
	public := d.wrapKey()
	b := wire.Beacon{
		V: wire.Version, Log: d.m.own.log, HLC: uint64(d.m.logs.Clock.Now(d.w.now)) + 1, Vector: d.m.logs.Marks(), Gaps: gaps,
		Position: d.m.own.Position, TransportKey: public[:], Rejoin: again, Reads: reads,
	}
	return Envelope{Bytes: d.envelope(wire.Bundle{Beacons: [][]byte{d.log.Sign(wire.DomainBeacon, d.w.group, b.Encode()).Encode()}})}
}

// A fellow plays an old beacon again, after a restart of whom it tells: it takes back
// nothing that its device has said since, has nobody seal again or add the device again, and
// is no news. A beacon of now is.
func TestOldBeaconIsNoWord(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 790)
	id := a.send("read long ago")
	w.run(5 * time.Second)
	r := wire.Rejoin{V: wire.Version, Device: c.dev.ID, HLC: uint64(crdt.HLCFromTime(w.now)), KeyPackage: c.keyPackage(w.group, w.now)}
	again := c.log.Sign(wire.DomainRejoin, w.group, r.Encode())
	old := c.beaconOf([]wire.MessageID{id}, &again)
	c.send("it has all")
	w.run(5 * time.Second)
	b.open()
	if out := b.must(old); out.News != 0 || out.Verdict != 0 {
		t.Errorf("an old beacon is news: %+v", out)
	}
	if p := b.knows(c); p.rejoin != nil || len(p.lacks) > 0 || !b.plannedSeal(c, id).IsZero() {
		t.Errorf("an old beacon counts: %d messages are lacking, a seal is due at %v, added again: %v", len(p.lacks), b.plannedSeal(c, id), p.rejoin != nil)
	}
	now := c.beaconOf([]wire.MessageID{id}, nil)
	if out := b.must(now); out.News != 1 || !b.knows(c).lacks[id] {
		t.Errorf("a beacon of now does not count: %+v", out)
	}
	if out := b.must(now); out.News != 0 {
		t.Errorf("the same beacon is news again: %+v", out)
	}
}

// A beacon that says, as a later program's may, how far its user has read is taken like any
// other, so that it is passed on, and nobody is blamed for it.
func TestBeaconWithReads(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 792)
	id := a.send("read by some")
	w.run(5 * time.Second)
	before := len(b.m.logs.Evidence)
	in := c.beaconOf([]wire.MessageID{id}, nil, make([]byte, wire.MaxReads)...)
	u, err := b.opened(in.Bytes)
	if err != nil || len(u.Beacons) != 1 || len(u.Beacons[0]) < wire.MaxReads {
		t.Fatalf("%+v, %v", u, err)
	}
	if out := b.must(in); out.News != 1 || out.Verdict != verdict.Accept {
		t.Errorf("it is not taken: %+v", out)
	}
	if !b.knows(c).lacks[id] || len(b.m.logs.Evidence) != before {
		t.Errorf("of its device is known %v, and there are %d pieces of evidence", b.knows(c).lacks, len(b.m.logs.Evidence))
	}
	w.run(time.Minute)
	w.agree(a, b, c)
}

// A seal that is here already is no news, with its record or alone.
func TestOldSealIsNoNews(t *testing.T) {
	t.Parallel()
	w, a, b, _ := three(t, 791)
	id := a.send("sealed once")
	w.run(5 * time.Second)
	env, err := a.m.EnvelopeOf(id)
	if err != nil {
		t.Fatal(err)
	}
	u, err := b.opened(env)
	if err != nil || len(u.Seals) != 1 {
		t.Fatalf("%d seals: %v", len(u.Seals), err)
	}
	for what, in := range map[string][]byte{"with its record": env, "alone": a.envelope(wire.Bundle{Seals: u.Seals})} {
		if out := b.must(Envelope{Bytes: in}); out.News != 0 || out.New != 0 {
			t.Errorf("%s: %+v", what, out)
		}
	}
}

// A beacon of a group with more logs than it has room for names its own device's, by which
// others tell how old it is, and the newest.
func TestBeaconOfManyLogs(t *testing.T) {
	t.Parallel()
	_, a, _, c := three(t, 792)
	a.w.gossip = false
	c.send("its own, older than all the others")
	const logs = maxMarksTold + 50
	head := c.m.logs.Head(c.m.own.log)
	for i := range logs {
		e := &wire.Entry{
			Device: dagtest.TestDevice(i), Incarnation: 1, Seq: 1, Kind: wire.KindRecord, HLC: uint64(head.HLC) + uint64(i) + 1, Deps: []wire.EntryHash{head.Hash}, //nolint:gosec // small
		}
		it := c.m.logs.FillPast(&dag.Item{
			Author: &dag.Author{Log: e.Log(), User: dagtest.TestUser(i)}, Body: &dag.Body{Kind: e.Kind}, Seq: 1, HLC: crdt.HLC(e.HLC), List: -1,
			Hash: wire.EntryHash(wire.HashOf(wire.DomainEntry, wire.U64(e.HLC))),
		}, e)
		c.m.logs.Add(it, e)
	}
	c.m.joining.retract = true
	c.m.timers.set(timerBeacon, c.w.now)
	c.m.sendBeacon(c.w.now)
	if n := len(c.m.tx.outgoing.Beacons); n != 1 {
		t.Fatalf("%d beacons", n)
	}
	s, err := wire.DecodeSigned(c.m.tx.outgoing.Beacons[0], wire.MaxEnvelope)
	if err != nil {
		t.Fatal(err)
	}
	b, err := wire.DecodeBeacon(s.Payload)
	if err != nil {
		t.Fatal(err)
	}
	has := func(d wire.DeviceID) bool {
		return slices.ContainsFunc(b.Vector, func(m wire.Mark) bool { return m.Log.Device == d })
	}
	if len(b.Vector) != 1024 || !has(c.dev.ID) || !has(dagtest.TestDevice(logs-1)) || has(dagtest.TestDevice(0)) {
		t.Errorf("%d marks; its own: %v, the newest: %v, the oldest: %v", len(b.Vector), has(c.dev.ID), has(dagtest.TestDevice(logs-1)), has(dagtest.TestDevice(0)))
	}
}
