package group

import (
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// Anybody with the transport key republishes an honest PrivateMessage under
// another sealer's name, and it comes first: the key is used up.
func TestRelabelledSealDoesNotBurnTheKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 402)
	a, b := w.device("anna"), w.device("ben")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.run(30 * time.Second)
	var honest []byte
	w.hold = func(from, to *device, env []byte) bool {
		if from == a && honest == nil {
			honest = env
			return true
		}
		return false
	}
	id := a.send("important")
	u, err := b.opened(honest)
	if err != nil {
		t.Fatal(err)
	}
	s, err := wire.DecodeSeal(u.Seals[0])
	if err != nil {
		t.Fatal(err)
	}
	s.Sealer[0] ^= 1
	// MLS proves who sealed it: a false label changes nothing.
	_, err = b.step(Envelope{Bytes: b.envelope(wire.Bundle{Entries: u.Entries, Seals: [][]byte{wire.Marshal(s)}})})
	t.Logf("the relabelled one: %v", err)
	_, err = b.step(Envelope{Bytes: honest})
	t.Logf("the real one: %v", err)
	w.run(10 * time.Minute)
	if got := b.texts(); !slices.Contains(got, "important") {
		t.Errorf("ben shows %q: the message is lost (gap %v)", got, b.lacks(id))
	}
}

// A removed member writes and seals under an epoch from before its removal.
func TestRemovedMemberCannotSpeak(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 405)
	old := c.m.epochs.held[c.m.own.Position]
	oldID := c.m.own.Position
	if _, err := c.m.epochs.whole(oldID); err != nil {
		t.Fatal(err)
	}
	a.must(RemoveUser{User: c.dev.User})
	w.run(time.Minute)
	w.agree(a, b)
	o := wire.Opened{Body: wire.Marshal(&wire.Content{MediaType: "text/plain", Data: []byte("still here")})}
	raw, hash := forged(c, wire.KindRecord, &wire.Record{Commitment: o.Commitment()}, nil, c.next(a))
	pm, _, err := old.epoch.Seal(w.rand, c.m.own.Signer, hash[:], wire.Marshal(&o))
	if err != nil {
		t.Fatal(err)
	}
	seal := wire.Marshal(&wire.Seal{Message: hash, Epoch: oldID, Sealer: c.dev.ID, PrivateMessage: pm})
	out, err := b.step(Envelope{Bytes: b.envelope(wire.Bundle{Entries: [][]byte{raw}, Seals: [][]byte{seal}})})
	t.Logf("%+v %v", out, err)
	b.open() // bug 1 hides it until a restart
	if got := b.texts(); slices.Contains(got, "still here") {
		t.Errorf("ben shows %q a minute after its author was removed", got)
	}
}

// A read-only member writes.
func TestReadOnlyMemberCannotSpeak(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 406)
	a.must(SetRole{User: c.dev.User, Role: wire.RoleReadOnly})
	w.run(time.Minute)
	o := wire.Opened{Body: wire.Marshal(&wire.Content{MediaType: "text/plain", Data: []byte("not allowed")})}
	raw, hash := forged(c, wire.KindRecord, &wire.Record{Commitment: o.Commitment()}, []wire.EntryHash{a.m.logs.Head(a.m.own.log).Hash}, c.next(a))
	e, _ := c.m.epochs.whole(c.m.own.Position)
	pm, _, err := e.Seal(w.rand, c.m.own.Signer, hash[:], wire.Marshal(&o))
	if err != nil {
		t.Fatal(err)
	}
	seal := wire.Marshal(&wire.Seal{Message: hash, Epoch: c.m.own.Position, Sealer: c.dev.ID, PrivateMessage: pm})
	_, err = b.step(Envelope{Bytes: b.envelope(wire.Bundle{Entries: [][]byte{raw}, Seals: [][]byte{seal}})})
	t.Log(err)
	if got := b.texts(); slices.Contains(got, "not allowed") {
		t.Errorf("ben shows %q", got)
	}
}

// puppet certifies a new user and device, with the signature key of one's choice.
func puppet(t *testing.T, w *world, name string, signer, public []byte, now time.Time) (*device, *wire.Op) {
	t.Helper()
	p := w.device(name)
	w.devices = w.devices[:len(w.devices)-1]
	cred := identity.NewCredential(p.dev, p.log, w.group, 1, public, [32]byte{9})
	kp, err := engine.MLS(1).NewKeyPackage(w.rand, now, signer, cred)
	if err != nil {
		t.Fatal(err)
	}
	return p, &wire.Op{Type: wire.OpAdd, Cert: &p.dev.Raw, Role: wire.RoleMember, KeyPackage: kp.Public, Why: wire.WhyOpen}
}

// A member adds two puppets that share one MLS signature key: no commit can
// hold both, so no commit is ever made again, and the gate stays closed.
func TestSharedSignatureKeyDoesNotStopHealing(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 407)
	secret, public, _ := engine.MLS(1).NewSigner(w.rand)
	for _, name := range []string{"p1", "p2"} {
		_, op := puppet(t, w, name, secret, public, w.now)
		raw, _ := forged(c, wire.KindOp, op, []wire.EntryHash{a.m.logs.Head(a.m.own.log).Hash}, c.next(a))
		for _, x := range []*device{a, b} {
			x.must(Entries{Entries: [][]byte{raw}})
		}
	}
	w.run(time.Minute)
	a.must(RemoveUser{User: c.dev.User})
	w.run(10 * time.Minute)
	id := a.send("after")
	w.run(time.Minute)
	if m, _, err := a.m.Journal().Message(id); err != nil || m.Delivery == DeliveryQueued {
		t.Errorf("gate closed for ever: %v %v; %v", m.Delivery, err, a.errs[max(0, len(a.errs)-1):])
	}
}

// Forged entries in a victim's name fill its place for waiting entries.
func TestForgedEntriesDoNotTakeAVictimsRoom(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 451)
	_ = a
	for range dag.MaxParked {
		raw, _ := forged(c, wire.KindRecord, &wire.Record{}, nil, func(e *wire.Entry) {
			e.Device, e.Seq = a.dev.ID, 9
			e.Prev[0], e.Prev[1] = byte(w.rand.Uint64()|1), byte(w.rand.Uint64())
		})
		_, _ = b.step(Entries{Entries: [][]byte{raw}})
	}
	if n := b.m.logs.Parking.Quota[a.dev.ID]; n > 0 {
		t.Errorf("%d entries with forged signatures are kept in anna's name", n)
	}
}

// A removed device makes itself everybody's transport key.
func TestRemovedDeviceCannotNameTheTransportKey(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 453)
	a.must(RemoveUser{User: c.dev.User})
	w.run(time.Minute)
	w.agree(a, b)
	key := slices.Repeat([]byte{3}, 32)
	tkey := &wire.TKey{ID: wire.KeyIDOf(w.group, key)}
	for id := range a.m.keys.keys {
		tkey.Supersedes = append(tkey.Supersedes, id)
	}
	slices.SortFunc(tkey.Supersedes, func(x, y wire.KeyID) int { return slices.Compare(x[:], y[:]) })
	for _, x := range []*device{a, b} {
		public := x.wrapKey()
		wr, err := wrap(w.rand, w.group, tkey.ID, key, x.dev.ID, public)
		if err != nil {
			t.Fatal(err)
		}
		tkey.Wraps = append(tkey.Wraps, wr)
	}
	slices.SortFunc(tkey.Wraps, func(x, y wire.Wrap) int { return slices.Compare(x.Device[:], y.Device[:]) })
	raw, _ := forged(c, wire.KindTKey, tkey, []wire.EntryHash{a.m.logs.Head(a.m.own.log).Hash}, c.next(a))
	_, err := a.step(Entries{Entries: [][]byte{raw}})
	t.Log(err)
	if id, _ := a.m.Transport().Key(); id == tkey.ID {
		t.Error("anna sends under a key that a removed member made after its removal")
	}
}

// forged is forge with the entry's hash.
func forged(d *device, kind wire.Kind, body any, deps []wire.EntryHash, change func(*wire.Entry)) ([]byte, wire.EntryHash) {
	raw := d.forge(kind, body, deps, change)
	s, err := wire.DecodeSigned(raw, wire.MaxEntry+128)
	if err != nil {
		d.w.t.Fatal(err)
	}
	return raw, wire.EntryHashOf(d.w.group, s.Payload)
}
