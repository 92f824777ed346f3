package group

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/wire"
)

// forge signs an entry with a device's real log key: the first one of a fresh
// incarnation, unless change says otherwise.
func (d *device) forge(kind wire.Kind, body any, deps []wire.EntryHash, change func(*wire.Entry)) []byte {
	d.w.t.Helper()
	e := &wire.Entry{
		V: wire.Version, Group: d.w.group, Device: d.dev.ID, Incarnation: d.w.rand.Uint64(), Seq: 1, Deps: deps, Kind: kind,
		HLC: uint64(crdt.HLCFromTime(d.w.now)), Body: wire.Marshal(body),
	}
	if change != nil {
		change(e)
	}
	return d.log.Sign(wire.DomainEntry, d.w.group, e.Encode()).Encode()
}

// next makes a forged entry follow the newest one of the device's log that o knows.
func (d *device) next(o *device) func(*wire.Entry) {
	return func(e *wire.Entry) {
		e.Incarnation = d.inc
		if h := o.m.logs.head(wire.LogID{Device: d.dev.ID, Incarnation: d.inc}); h != nil {
			e.Seq, e.Prev = h.seq+1, h.hash
		}
		e.HLC = max(uint64(crdt.HLCFromTime(d.w.now)), uint64(o.m.clock.Last())+1)
	}
}

// envelope seals a bundle under the transport key that d sends under.
func (d *device) envelope(b wire.Bundle) []byte {
	d.w.t.Helper()
	id, ok := d.m.TransportKey()
	if !ok {
		d.w.t.Fatalf("%s has no transport key", d.name)
	}
	env, err := wire.SealEnvelope(d.w.rand, d.w.group, d.m.transport[id], &b)
	if err != nil {
		d.w.t.Fatal(err)
	}
	return env
}

// rests fails unless the device's next wake lies ahead, as a caller's timer needs.
func (d *device) rests() {
	d.w.t.Helper()
	_, _ = d.step(Tick{})
	if at := d.m.NextWake(); !at.IsZero() && !at.After(d.w.now) {
		d.w.t.Errorf("%s: NextWake lies %v in the past after a Tick: %+v", d.name, d.w.now.Sub(at), d.m.duty)
	}
}

// evict is a commit by c, with its real keys, that removes a member whom nobody removed.
func evict(w *world, c, victim, o *device) (raw []byte, child wire.EpochID) {
	w.t.Helper()
	n := c.m.tree.nodes[c.m.own.Position]
	e, err := c.m.epoch(n.id)
	if err != nil {
		w.t.Fatal(err)
	}
	i := slices.IndexFunc(e.Leaves(), func(l Leaf) bool {
		d, err := c.m.deviceOf(l)
		return err == nil && d.ID == victim.dev.ID
	})
	made, err := e.Commit(w.rand, Change{
		Now: w.now, Signer: c.m.own.Signer, Removes: []uint32{e.Leaves()[i].Index}, JoinSecrets: []byte{1}, Check: c.m.checkCredential,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	child = wire.EpochIDOf(w.group, n.generation, n.number+1, made.Epoch.Interim())
	body := &wire.Commit{Parent: n.id, Child: child, Commit: made.Commit}
	return c.forge(wire.KindCommit, body, []wire.EntryHash{o.m.logs.head(o.m.log).hash}, c.next(o)), child
}

// A member evicts another without any operation. Nobody follows it, the votes name
// it, nobody spins while it may still be made good, and one sibling answers it
// (DESIGN.md, Section 5, "What needs state goes through refused").
func TestUnjustifiedCommitIsRefusedAndAnsweredOnce(t *testing.T) {
	for seed := range uint64(6) {
		w, a, b, c := three(t, 500+seed)
		raw, child := evict(w, c, b, a)
		before := a.m.Status()
		c.online = false
		for _, x := range []*device{a, b} {
			x.must(Entries{Entries: [][]byte{raw}})
		}
		w.now = w.now.Add(5 * time.Second)
		for _, x := range []*device{a, b} {
			x.rests()
			if p := x.m.Status().Position; p != before.Position {
				t.Errorf("seed %d: %s moved to %v", seed, x.name, p)
			}
			vote := x.m.logs.votes[x.dev.ID]
			if vote == nil || vote.vote == nil || !slices.Contains(vote.vote.Refused, child) {
				t.Errorf("seed %d: %s does not name the child in its vote", seed, x.name)
			}
		}
		w.run(3 * time.Minute)
		for _, x := range []*device{a, b} {
			if n := x.m.Status().Epoch - before.Epoch; n < 1 || n > 2 {
				t.Errorf("seed %d: %s is %d epochs further, want one sibling of the refused child", seed, x.name, n)
			}
			x.rests()
		}
		if pa, pb := a.m.Status().Position, b.m.Status().Position; pa != pb {
			t.Errorf("seed %d: anna is at %v, ben at %v", seed, pa, pb)
		}
		if t.Failed() {
			return
		}
	}
}

// Another device's COMMIT claims an honest commit's child, dated before it, with
// bytes that differ where no hash covers them: a device that comes later is not
// misled (DESIGN.md, Section 10, scenario 28).
func TestCopiedCommitDoesNotPoisonTheChild(t *testing.T) {
	w, a, b, c := three(t, 510)
	b.online = false
	parent := a.m.tree.nodes[a.m.own.Position]
	before := a.m.clock.Last()
	w.run(time.Second)
	d := w.device("dora")
	w.join(d)
	n := a.m.tree.nodes[a.m.own.Position]
	if n == parent {
		t.Fatal("no commit was made")
	}
	bad := *n.commit()
	bad.Commit = bytes.Clone(bad.Commit)
	bad.Commit[len(bad.Commit)-1] ^= 1 // the membership_tag comes last (RFC 9420, Section 6.2)
	raw := c.forge(wire.KindCommit, &bad, []wire.EntryHash{parent.by().hash}, func(e *wire.Entry) {
		e.HLC = uint64(max(before, parent.by().hlc) + 1)
	})
	a.must(Entries{Entries: [][]byte{raw}})
	if n.by().log.Device != c.dev.ID {
		t.Fatal("the copy does not come first: this test shows nothing")
	}
	b.online = true
	w.syncSomebody(b)
	w.run(time.Minute)
	if len(b.errs) > 0 {
		t.Errorf("ben refused: %v", b.errs)
	}
	w.agree(a, b, c, d)
}

// An admin may revoke a user's only device: the user stays, with no weight.
func TestForkAfterAnOnlyDeviceWasRevoked(t *testing.T) {
	w, a, b, c := three(t, 520)
	a.must(RevokeDevice{Device: c.dev.ID})
	w.run(30 * time.Second)
	d, e := w.device("dora"), w.device("emil")
	held := true
	w.cut = func(x, y *device) bool {
		annas := func(x *device) bool { return x == a || x == d }
		return held && annas(x) != annas(y)
	}
	w.join(d)
	w.join(e)
	if a.m.Status().Position == b.m.Status().Position {
		t.Fatal("no fork")
	}
	held = false
	for _, x := range w.devices {
		w.syncSomebody(x)
	}
	w.run(2 * time.Minute)
	for _, x := range []*device{b, d, e} {
		if x.m.Status().Position != a.m.Status().Position {
			t.Errorf("%s is at %v, anna at %v", x.name, x.m.Status().Position, a.m.Status().Position)
		}
	}
}

// A device that is out has nothing to wake up for, however long it stays.
func TestRemovedDeviceRests(t *testing.T) {
	w, a, _, c := three(t, 530)
	a.must(RemoveUser{User: c.dev.User})
	w.run(time.Minute)
	if s := c.m.Status().State; s != StateOut {
		t.Fatalf("carl is %q", s)
	}
	for _, days := range []time.Duration{1, 3, 31, 400} {
		w.now = w.now.Add(days * 24 * time.Hour)
		c.rests()
	}
}

// A request to be added again whose KeyPackage nobody can add: its device comes
// back with another one, and the syncs come to rest.
func TestUnusableRejoinDoesNotStrand(t *testing.T) {
	w, a, b, c := three(t, 540)
	kp, err := MLS(1).NewKeyPackage(w.rand, w.now.Add(-365*24*time.Hour), c.m.own.Signer, c.m.credential())
	if err != nil {
		t.Fatal(err)
	}
	r := wire.Rejoin{V: wire.Version, Device: c.dev.ID, HLC: 5, KeyPackage: kp.Public}
	s := c.log.Sign(wire.DomainRejoin, w.group, r.Encode())
	public := c.m.transportPublic()
	beacon := wire.Beacon{
		V: wire.Version, Log: c.m.log, HLC: uint64(crdt.HLCFromTime(w.now)), Rejoin: &s, TransportKey: public[:], Position: c.m.own.Position,
	}
	env := c.envelope(wire.Bundle{Beacons: [][]byte{c.log.Sign(wire.DomainBeacon, w.group, beacon.Encode()).Encode()}})
	for _, x := range []*device{a, b} {
		x.must(Envelope{Bytes: env})
	}
	w.run(10 * time.Minute)
	w.agree(a, b, c)
}

// What EnvelopeOf makes again was published: else one key of AES-GCM, under one
// nonce, has sealed two plaintexts.
func TestEnvelopeOfGivesPublishedBytes(t *testing.T) {
	checked, absent := 0, 0
	for seed := range uint64(6) {
		w, a, b, _ := three(t, 550+seed)
		published := map[string]bool{}
		held := true
		w.hold = func(_, _ *device, env []byte) bool { published[string(env)] = true; return held }
		d, e := w.device("dora"), w.device("emil")
		w.cut = func(x, y *device) bool {
			annas := func(x *device) bool { return x == a || x == d }
			return held && annas(x) != annas(y)
		}
		w.join(d)
		w.join(e)
		a.send("from anna")
		b.send("from ben")
		w.run(2 * time.Second)
		held = false
		for _, x := range w.devices {
			w.syncSomebody(x)
		}
		w.run(2 * time.Minute)
		a.send("afterwards")
		b.send("afterwards")
		w.run(time.Second)
		for _, x := range []*device{a, b} {
			for id, it := range x.m.mail.records {
				if it.log.Device != x.dev.ID {
					continue
				}
				env, err := x.m.EnvelopeOf(id)
				switch {
				case isErr(err, ErrUnknown):
					absent++
				case err != nil:
					t.Error(err)
				case !published[string(env)]:
					t.Errorf("seed %d: %s makes bytes that were never published", seed, x.name)
				default:
					checked++
				}
			}
		}
	}
	if checked < 12 {
		t.Errorf("only %d envelopes made again, %d not remembered", checked, absent)
	}
}
