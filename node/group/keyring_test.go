package group

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/mls"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// The key under which a device takes transport keys is renewed with its leaf, and the
// one before opens what those who were away wrap for it, for 90 days.
func TestTransportKeyIsRenewedWithTheLeaf(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 770)
	old := a.wrapKey()
	for _, d := range []*device{b, c} {
		if public, ok := d.wrapsWith(a.dev.ID); !ok || public != old {
			t.Fatalf("%s has another key of anna's", d.name)
		}
	}
	a.m.timers.set(timerUpdate, w.now)
	a.must(Tick{})
	w.run(time.Minute)
	if a.wrapKey() == old {
		t.Fatal("anna has the key of before")
	}
	for _, d := range []*device{b, c} {
		if public, ok := d.wrapsWith(a.dev.ID); !ok || public != a.wrapKey() {
			t.Errorf("%s does not know anna's new key", d.name)
		}
	}
	a.open()
	key := make([]byte, wire.TransportKeyLen)
	id := wire.KeyIDOf(w.group, key)
	late, err := wrap(w.rand, w.group, id, key, a.dev.ID, old)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.m.leaf.unwrap(id, late); err != nil {
		t.Errorf("wrapped for the key of before: %v", err)
	}

	b.must(Leave{}) // anna writes a TKEY, and carl one for anna
	w.run(time.Minute)
	first, _ := a.m.Transport().Key()
	if k, _ := c.m.Transport().Key(); k != first {
		t.Error("anna and carl send under two keys")
	}

	w.now = w.now.Add(unwrapFor + 25*time.Hour)
	a.must(Tick{})
	if _, err := a.m.leaf.unwrap(id, late); err == nil {
		t.Error("after 91 days the key of before is here")
	}
	w.run(time.Minute)
	w.agree(a, c)
}

// A commit that gives its author's leaf to somebody else is refused, although the
// credential is a true one.
func TestCommitThatGivesItsLeafAway(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 771)
	w.gossip = false
	w.cut = func(_, _ *device) bool { return true }
	n := c.m.tree.Nodes[c.m.own.Position]
	e := must(c.m.epochs.whole(n.ID))
	signer := must(mls.ParseSignatureKey(mls.CipherSuite(c.m.cfg.Engine.Suite()), c.m.own.Signer))
	change := mls.CommitConfig{
		Signer: signer, Validator: mls.AcceptAnyCredential,
		Leaf: &mls.LeafUpdate{Credential: &mls.Credential{Type: mls.CredentialBasic, Identity: b.m.leaf.credential()}},
	}
	if _, err := e.(*engine.MLSEpoch).Epoch.Commit(w.rand, change); !errors.Is(err, mls.ErrCredential) {
		t.Errorf("the engine commits another device's credential: %v", err)
	}
	change.SameClient = func(_, _ *mls.LeafNode) bool { return true } // an engine of carl's own
	out, err := e.(*engine.MLSEpoch).Epoch.Commit(w.rand, change)
	if err != nil {
		t.Fatal(err)
	}
	child := wire.EpochIDOf(w.group, n.Root, n.Number+1, out.Epoch.InterimTranscriptHash())
	raw := c.forge(wire.KindCommit, &wire.Commit{Parent: n.ID, Child: child, Commit: out.Commit}, c.m.logs.Frontier(c.m.own.log, 16), c.next(c))
	a.must(Entries{Entries: [][]byte{raw}})
	w.run(time.Minute)
	if a.m.own.Position == child || !a.m.fork.refused.has(child) {
		t.Errorf("anna is at %v, refuses %v", a.m.own.Position, a.m.fork.refused.since)
	}
}

// An insider's leaf names a key for transport keys with which nobody can agree on
// anything. That is its own loss: it keeps nobody from writing a new key for the others.
func TestKeyForTransportKeysOfLowOrder(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 781)
	d := w.device("dora")
	w.join(d)
	w.run(time.Minute)
	n := c.m.tree.Nodes[c.m.own.Position]
	e := must(c.m.epochs.whole(n.ID))
	bad := identity.NewCredential(c.dev, c.log, w.group, 1, c.m.own.Public, [32]byte{})
	out, err := e.Commit(w.rand, engine.Change{Now: w.now, Signer: c.m.own.Signer, Check: c.m.epochs.checkCredential, Credential: bad})
	if err != nil {
		t.Fatal(err)
	}
	child := wire.EpochIDOf(w.group, n.Root, n.Number+1, out.Epoch.Interim())
	raw := c.forge(wire.KindCommit, &wire.Commit{Parent: n.ID, Child: child, Commit: out.Commit}, c.m.logs.Frontier(c.m.own.log, 16), c.next(c))
	c.online = false
	a.must(Entries{Entries: [][]byte{raw}})
	d.must(Entries{Entries: [][]byte{raw}})
	w.run(time.Minute)
	if a.m.own.Position != child || d.m.own.Position != child {
		t.Fatal("nobody took the commit")
	}
	old, _ := a.m.Transport().Key()
	a.must(RemoveUser{User: b.dev.User})
	w.run(10 * time.Minute)
	one, _ := a.m.Transport().Key()
	if other, _ := d.m.Transport().Key(); one == old || other != one {
		t.Errorf("anna sends under %v, dora under %v; before it was %v", one, other, old)
	}
	a.open()
	a.send("after")
	w.run(time.Minute)
	w.agree(a, d)
}

// In a group so large that one TKEY cannot hold all wraps, the rest is wrapped apart.
func TestMoreWrapsThanATKEYHolds(t *testing.T) {
	t.Parallel()
	_, a, _, _ := three(t, 782)
	known := a.m.rosters.now.NumDevices()
	for _, id := range a.crowd(a.m, wire.MaxEntry/100) {
		public := a.wrapKey()
		a.m.peers.at(id).transport = &public
	}
	r := a.m.rosters.now
	if err := a.rotate(); err != nil {
		t.Fatal(err)
	}
	tkey := a.m.logs.Head(a.m.own.log).TKey
	if left := a.m.keys.leftOut(a.m.keys.of(tkey.ID)); len(tkey.Wraps) != maxWrapped || len(tkey.Wraps)+len(left) != r.NumDevices()-1 || known != 3 {
		t.Errorf("%d wraps, %d devices left out, of %d", len(tkey.Wraps), len(left), r.NumDevices())
	}
}

// An insider names more keys than a TKEY can supersede. The one that somebody who was
// removed has is superseded all the same: else joiners would get it, and those of a
// private group would be found by it.
func TestMadeUpKeysDoNotSaveTheOldOne(t *testing.T) {
	t.Parallel()
	w, a, b, _ := three(t, 783)
	old, _ := a.m.Transport().Key()
	for i := range 2 * wire.MaxSupersedes {
		a.m.keys.of(wire.KeyID{0, byte(i)})
	}
	a.must(RemoveUser{User: b.dev.User})
	w.run(time.Minute)
	if key, _ := a.m.Transport().Key(); key == old || !a.m.keys.of(old).superseded {
		t.Errorf("the old key is superseded: %v", a.m.keys.of(old).superseded)
	}
}

// A device signs a TKEY and something else with one number. A device that took the TKEY before it
// knew goes back to the key that everybody has, also after a restart.
func TestKeyOfAForkedLog(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 782)
	before, _ := a.m.Transport().Key()
	w.cut = func(_, _ *device) bool { return true }
	var key []byte
	var id wire.KeyID
	for i := byte(0); i == 0 || bytes.Compare(id[:], before[:]) > 0; i++ { // one that would be preferred
		key = bytes.Repeat([]byte{i}, wire.TransportKeyLen)
		id = wire.KeyIDOf(w.group, key)
	}
	wrapped, err := wrap(w.rand, w.group, id, key, a.dev.ID, a.wrapKey())
	if err != nil {
		t.Fatal(err)
	}
	deps := []wire.EntryHash{a.m.logs.Head(a.m.own.log).Hash}
	inc, at := w.rand.Uint64(), uint64(a.m.logs.Clock.Last())+1
	change := func(e *wire.Entry) { e.Incarnation, e.HLC = inc, at }
	tkey, _ := forged(c, wire.KindTKey, &wire.TKey{ID: id, Supersedes: []wire.KeyID{before}, Wraps: []wire.Wrap{wrapped}}, deps, change)
	other, _ := forged(c, wire.KindRecord, &wire.Record{}, deps, change)
	a.must(Entries{Entries: [][]byte{tkey}})
	if now, _ := a.m.Transport().Key(); now != id {
		t.Fatalf("anna sends under %v", now)
	}
	for _, d := range []*device{a, b} {
		_, _ = d.step(Entries{Entries: [][]byte{other}})
		_, _ = d.step(Entries{Entries: [][]byte{tkey}})
	}
	for range 2 {
		for _, d := range []*device{a, b} {
			if now, _ := d.m.Transport().Key(); now != before {
				t.Errorf("%s sends under %v, not under %v", d.name, now, before)
			}
			d.open()
		}
	}
}

// rotate has a device write a TKEY.
func (d *device) rotate() error {
	_, e := d.m.position()
	return d.m.rotate(d.w.now, e)
}

// wrapsWith is the key with which a device wraps transport keys for another.
func (d *device) wrapsWith(to wire.DeviceID) ([32]byte, bool) {
	_, e := d.m.position()
	return wrapsWith(e, d.m.epochs, d.m.rosters.now, d.m.peers)(to)
}

// A transport key that was superseded goes once every live device knows, and a month
// has passed; who was away meanwhile is heard all the same.
func TestOldTransportKeysGo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 93)
	a, b, c, x := w.device("anna"), w.device("ben"), w.device("carl"), w.device("x")
	w.found(a, wire.PolicyOpen)
	for _, d := range []*device{b, c, x} {
		w.join(d)
	}
	w.run(time.Minute)
	first, _ := a.m.Transport().Key()
	c.online = false
	a.must(RemoveUser{User: x.dev.User})
	w.run(5 * time.Minute)
	if now, _ := a.m.Transport().Key(); now == first || a.key(first) == nil {
		t.Fatal("a removal did not rotate the key, or dropped the old one at once")
	}
	w.run(29 * 24 * time.Hour)
	if a.key(first) == nil {
		t.Error("the old key went early")
	}
	w.run(5 * 24 * time.Hour)
	if a.key(first) != nil || b.key(first) != nil || a.count(rowTransKey) != 1 {
		t.Errorf("the old key is still there: %d rows", a.count(rowTransKey))
	}
	c.online = true
	c.send("back after a month")
	w.sync(c, a)
	w.run(10 * time.Minute)
	w.agree(a, b, c)
	for _, d := range []*device{a, b, c} {
		if got := d.texts(); !slices.Contains(got, "back after a month") {
			t.Errorf("%s shows %v", d.name, got)
		}
	}
}
