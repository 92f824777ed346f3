package group

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
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
		e.Incarnation = d.m.own.log.Incarnation
		if h := o.m.logs.Head(d.m.own.log); h != nil {
			e.Seq, e.Prev = h.Seq+1, h.Hash
		}
		e.HLC = max(uint64(crdt.HLCFromTime(d.w.now)), uint64(o.m.logs.Clock.Last())+1)
	}
}

// envelope seals a bundle under the transport key that d sends under.
func (d *device) envelope(b wire.Bundle) []byte {
	d.w.t.Helper()
	id, ok := d.m.Transport().Key()
	if !ok {
		d.w.t.Fatalf("%s has no transport key", d.name)
	}
	env, err := wire.SealEnvelope(d.w.rand, d.w.group, d.key(id), &b)
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
		d.w.t.Errorf("%s: NextWake lies %v in the past after a Tick: %+v", d.name, d.w.now.Sub(at), d.m.timers)
	}
}

// evict is a commit by c, with its real keys, that removes a member whom nobody removed.
func evict(w *world, c, victim, o *device) (raw []byte, child wire.EpochID) {
	w.t.Helper()
	n := c.m.tree.Nodes[c.m.own.Position]
	e, err := c.m.epochs.whole(n.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	i := slices.IndexFunc(e.Leaves(), func(l engine.Leaf) bool {
		d, err := c.m.epochs.deviceOf(l)
		return err == nil && d.ID == victim.dev.ID
	})
	made, err := e.Commit(w.rand, engine.Change{
		Now: w.now, Signer: c.m.own.Signer, Removes: []uint32{e.Leaves()[i].Index}, JoinSecrets: []byte{1}, Check: c.m.epochs.checkCredential,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	child = wire.EpochIDOf(w.group, n.Root, n.Number+1, made.Epoch.Interim())
	body := &wire.Commit{Parent: n.ID, Child: child, Commit: made.Commit}
	return c.forge(wire.KindCommit, body, []wire.EntryHash{o.m.logs.Head(o.m.own.log).Hash}, c.next(o)), child
}

// A member evicts another without any operation. Nobody follows it, the votes name
// it, nobody spins while it may still be made good, and one sibling answers it
// (docs/ARCHITECTURE.md, Fork choice).
func TestUnjustifiedCommitIsRefusedAndAnsweredOnce(t *testing.T) {
	t.Parallel()
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
			vote := x.m.logs.Votes[x.dev.ID]
			if vote == nil || vote.Vote == nil || !slices.Contains(vote.Vote.Refused, child) {
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
// bytes that differ where no hash covers them: it is refused, since the commit's sender
// has another device's leaf (scenario 28 of docs/SCENARIOS.md).
func TestCopiedCommitIsRefused(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 510)
	b.online = false
	parent := a.m.tree.Nodes[a.m.own.Position]
	before := a.m.logs.Clock.Last()
	w.run(time.Second)
	d := w.device("dora")
	w.join(d)
	n := a.m.tree.Nodes[a.m.own.Position]
	if n == parent {
		t.Fatal("no commit was made")
	}
	good, _, err := a.m.messages.read.commit(n.By())
	if err != nil {
		t.Fatal(err)
	}
	bad := *good
	bad.Commit = bytes.Clone(bad.Commit)
	bad.Commit[len(bad.Commit)-1] ^= 1 // the membership_tag comes last (RFC 9420, Section 6.2)
	raw := c.forge(wire.KindCommit, &bad, []wire.EntryHash{parent.By().Hash}, func(e *wire.Entry) {
		e.HLC = uint64(max(before, parent.By().HLC) + 1)
	})
	for _, body := range [][]byte{raw, c.forge(wire.KindCommit, good, []wire.EntryHash{parent.By().Hash}, func(e *wire.Entry) {
		e.HLC = uint64(max(before, parent.By().HLC) + 1)
	})} {
		if _, err := a.step(Entries{Entries: [][]byte{body}}); !errors.Is(err, verdict.ErrForged) {
			t.Errorf("a copied commit gives %v", err)
		}
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
	t.Parallel()
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
	t.Parallel()
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
	t.Parallel()
	w, a, b, c := three(t, 540)
	kp, err := engine.MLS(1).NewKeyPackage(w.rand, w.now.Add(-365*24*time.Hour), c.m.own.Signer, c.m.leaf.credential())
	if err != nil {
		t.Fatal(err)
	}
	r := wire.Rejoin{V: wire.Version, Device: c.dev.ID, HLC: 5, KeyPackage: kp.Public}
	s := c.log.Sign(wire.DomainRejoin, w.group, r.Encode())
	public := c.wrapKey()
	beacon := wire.Beacon{
		V: wire.Version, Log: c.m.own.log, HLC: uint64(crdt.HLCFromTime(w.now)), Rejoin: &s, TransportKey: public[:], Position: c.m.own.Position,
	}
	env := c.envelope(wire.Bundle{Beacons: [][]byte{c.log.Sign(wire.DomainBeacon, w.group, beacon.Encode()).Encode()}})
	for _, x := range []*device{a, b} {
		x.must(Envelope{Bytes: env})
	}
	w.run(10 * time.Minute)
	w.agree(a, b, c)
}

// EnvelopeOf makes only envelopes that were published. Otherwise one key of AES-GCM would
// have sealed two plaintexts under one nonce.
func TestEnvelopeOfGivesPublishedBytes(t *testing.T) {
	t.Parallel()
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
			for it := range x.records() {
				id := it.Hash
				if it.Log.Device != x.dev.ID {
					continue
				}
				env, err := x.m.EnvelopeOf(id)
				switch {
				case isErr(err, verdict.ErrUnknown):
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

// refusal is an input that must be refused.
type refusal struct {
	name    string
	in      Input
	want    error
	verdict verdict.Verdict
}

// check steps a refusal: its error, its verdict, nothing to write, and rows that
// are byte for byte what they were.
func (r refusal) check(t *testing.T, d *device) {
	t.Helper()
	before := d.rows.digest()
	out, err := d.m.Step(d.w.now, r.in)
	if !isErr(err, r.want) {
		t.Errorf("%s: %v, want %v", r.name, err, r.want)
	}
	if out.Verdict != r.verdict {
		t.Errorf("%s: verdict %v, want %v", r.name, out.Verdict, r.verdict)
	}
	if ready, _ := d.m.Ready(); len(ready.Writes)+len(ready.Drop)+len(ready.Events) > 0 {
		t.Errorf("%s: it leads to %d writes and %d events", r.name, len(ready.Writes), len(ready.Events))
	}
	if err := d.carryOut(); err != nil {
		t.Fatal(err)
	}
	if d.rows.digest() != before {
		t.Errorf("%s: the rows have changed", r.name)
	}
}

func flipped(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[(at+len(b))%len(b)] ^= 1
	return b
}

// keyPackage makes one for a leaf of a device in a group.
func (d *device) keyPackage(group wire.GroupID, at time.Time) []byte {
	d.w.t.Helper()
	secret, public, err := engine.MLS(1).NewSigner(d.w.rand)
	if err != nil {
		d.w.t.Fatal(err)
	}
	kp, err := engine.MLS(1).NewKeyPackage(d.w.rand, at, secret, identity.NewCredential(d.dev, d.log, group, 1, public, [32]byte{9}))
	if err != nil {
		d.w.t.Fatal(err)
	}
	return kp.Public
}

func (d *device) profile() wire.Signed {
	return d.user.Sign(wire.DomainProfile, d.w.group, wire.Marshal(&wire.ProfileItem{
		V: wire.Version, Field: wire.FieldName, HLC: 9, Text: "mine", Signer: d.user.Public(),
	}))
}

func TestEnvelopesRefused(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 600)
	other := w.group
	other[0] ^= 1
	seal := func(group wire.GroupID, key []byte, u wire.Bundle) Envelope {
		env, err := wire.SealEnvelope(w.rand, group, key, &u)
		if err != nil {
			t.Fatal(err)
		}
		return Envelope{Bytes: env}
	}
	id, _ := b.m.Transport().Key()
	key := b.key(id)
	good := seal(w.group, key, wire.Bundle{}).Bytes
	version := bytes.Clone(good)
	version[0] = 9
	entry := c.forge(wire.KindRecord, &wire.Record{}, nil, c.next(a))
	for _, r := range []refusal{
		{"nothing", Envelope{}, wire.ErrMalformed, verdict.Reject},
		{"half of one", Envelope{good[:len(good)/2]}, wire.ErrMalformed, verdict.Reject},
		{"too large", Envelope{make([]byte, wire.MaxEnvelope+1)}, wire.ErrTooLarge, verdict.Reject},
		{"of a later version", Envelope{version}, wire.ErrVersion, verdict.Ignore},
		{"of another group", seal(other, key, wire.Bundle{}), wire.ErrMalformed, verdict.Reject},
		{"under another key", seal(w.group, slices.Repeat([]byte{7}, 32), wire.Bundle{}), wire.ErrUnknownKey, verdict.Ignore},
		{"flipped salt", Envelope{flipped(good, 20)}, wire.ErrNotAuthentic, verdict.Reject},
		{"flipped last bit", Envelope{flipped(good, -1)}, wire.ErrNotAuthentic, verdict.Reject},
		{"garbage entry", seal(w.group, key, wire.Bundle{Entries: [][]byte{{1, 2, 3}}}), wire.ErrMalformed, verdict.Reject},
		{"garbage seal", seal(w.group, key, wire.Bundle{Seals: [][]byte{{1, 2, 3}}}), wire.ErrMalformed, verdict.Reject},
		{"garbage beacon", seal(w.group, key, wire.Bundle{Beacons: [][]byte{{1, 2, 3}}}), wire.ErrMalformed, verdict.Reject},
		{"a good entry before a garbage one", seal(w.group, key, wire.Bundle{Entries: [][]byte{entry, {1}}}), wire.ErrMalformed, verdict.Reject},
		{"a good entry before a garbage seal", seal(w.group, key, wire.Bundle{Entries: [][]byte{entry}, Seals: [][]byte{{1}}}), wire.ErrMalformed, verdict.Reject},
	} {
		r.check(t, a)
	}
}

func TestEntriesRefused(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 610)
	log := func(d *device) *dag.Item { return a.m.logs.Head(d.m.own.log) }
	stranger := w.device("mallory")
	w.devices = w.devices[:3]
	record := &wire.Record{}
	one := func(raw []byte) Entries { return Entries{Entries: [][]byte{raw}} }
	// wrong is a RECORD of carl's with one thing wrong, properly signed.
	wrong := func(change func(*wire.Entry)) Entries {
		return one(c.forge(wire.KindRecord, record, nil, func(e *wire.Entry) { c.next(a)(e); change(e) }))
	}
	garbage := func(kind wire.Kind) Entries {
		return wrong(func(e *wire.Entry) { e.Kind, e.Body = kind, []byte{0xff} })
	}
	with := func(kind wire.Kind, body any) Entries {
		return one(c.forge(kind, body, []wire.EntryHash{log(a).Hash}, c.next(a)))
	}
	good := c.forge(wire.KindRecord, record, nil, c.next(a))
	add := func(kp []byte) Entries {
		return with(wire.KindOp, &wire.Op{Type: wire.OpAdd, Cert: &stranger.dev.Raw, Role: wire.RoleMember, KeyPackage: kp, Why: wire.WhyOpen})
	}
	reboot := func(r wire.Reboot) Entries { return with(wire.KindOp, &wire.Op{Type: wire.OpReboot, Reboot: &r}) }
	other := w.group
	other[3] ^= 1
	bens := b.profile()

	// A good commit, to be claimed wrongly.
	n := c.m.tree.Nodes[c.m.own.Position]
	e, err := c.m.epochs.whole(n.ID)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := engine.MLS(1).Create(w.rand, w.now, []byte("another MLS group"), c.m.own.Signer, c.m.leaf.credential())
	if err != nil {
		t.Fatal(err)
	}
	change := engine.Change{Now: w.now, Signer: c.m.own.Signer, JoinSecrets: []byte{1}, Check: c.m.epochs.checkCredential}
	made, err := e.Commit(w.rand, change)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := foreign.Commit(w.rand, change)
	if err != nil {
		t.Fatal(err)
	}
	child := wire.EpochIDOf(w.group, n.Root, n.Number+1, made.Epoch.Interim())
	unknown := child
	unknown[0] ^= 1
	commit := func(parent, child wire.EpochID, b []byte) Entries {
		return with(wire.KindCommit, &wire.Commit{Parent: parent, Child: child, Commit: b})
	}

	// A parked entry is evidence against its log once another entry has its number.
	inLog := func(inc uint64, change func(*wire.Entry)) Entries {
		return wrong(func(e *wire.Entry) { e.Incarnation, e.Seq, e.Prev = inc, 1, wire.EntryHash{}; change(e) })
	}

	cases := []refusal{
		{"garbage", one([]byte{1, 2, 3}), wire.ErrMalformed, verdict.Reject},
		{"cut short", one(good[:len(good)-1]), wire.ErrMalformed, verdict.Reject},
		{"with a trailing byte", one(append(bytes.Clone(good), 0)), wire.ErrMalformed, verdict.Reject},
		{"of another group", wrong(func(e *wire.Entry) { e.Group[0] ^= 1 }), verdict.ErrForeign, verdict.Reject},
		{"bad signature", one(flipped(good, -1)), verdict.ErrForged, verdict.Reject},
		{"by a device nobody knows", one(stranger.forge(wire.KindRecord, record, nil, nil)), verdict.ErrNotMember, verdict.Ignore},
		{"in another device's name", wrong(func(e *wire.Entry) { b.next(a)(e); e.Device = b.dev.ID }), verdict.ErrForged, verdict.Reject},
		{"after another log's entry", wrong(func(e *wire.Entry) { e.Prev = log(b).Hash }), verdict.ErrForged, verdict.Reject},
		{"leaving out a number", wrong(func(e *wire.Entry) { e.Seq++ }), verdict.ErrForged, verdict.Reject},
		{"at the end of time", inLog(2, func(e *wire.Entry) { e.HLC = 1<<64 - 1 }), verdict.ErrFuture, verdict.Ignore},
		{"dated as the one before", wrong(func(e *wire.Entry) { e.HLC = uint64(log(c).HLC) }), verdict.ErrForged, verdict.Reject},
		{"dated as what it builds on", one(c.forge(wire.KindRecord, record, []wire.EntryHash{log(a).Hash}, func(e *wire.Entry) {
			e.HLC = uint64(log(a).HLC)
		})), verdict.ErrForged, verdict.Reject},
		{"on something unknown", inLog(3, func(e *wire.Entry) { e.Deps = []wire.EntryHash{{1}} }), verdict.ErrIncomplete, verdict.Accept},

		{"OP of garbage", garbage(wire.KindOp), wire.ErrMalformed, verdict.Reject},
		{"COMMIT of garbage", garbage(wire.KindCommit), wire.ErrMalformed, verdict.Reject},
		{"RECORD of garbage", garbage(wire.KindRecord), wire.ErrMalformed, verdict.Reject},
		{"VOTE of garbage", garbage(wire.KindVote), wire.ErrMalformed, verdict.Reject},
		{"TKEY of garbage", garbage(wire.KindTKey), wire.ErrMalformed, verdict.Reject},
		{"TKEY-WRAP of garbage", garbage(wire.KindTKeyWrap), wire.ErrMalformed, verdict.Reject},
		{"OP without its field", with(wire.KindOp, &wire.Op{Type: wire.OpRemove}), wire.ErrMalformed, verdict.Reject},
		{"profile signed by another", with(wire.KindOp, &wire.Op{Type: wire.OpProfile, Profile: &bens}), verdict.ErrForged, verdict.Reject},

		{"KeyPackage of garbage", add([]byte{1, 2, 3}), verdict.ErrInvalidKeyPackage, verdict.Ignore},
		{"KeyPackage with a flipped bit", add(flipped(stranger.keyPackage(w.group, w.now), -1)), verdict.ErrInvalidKeyPackage, verdict.Ignore},
		{"KeyPackage of another device", add(c.keyPackage(w.group, w.now)), verdict.ErrInvalidKeyPackage, verdict.Ignore},
		{"KeyPackage for another group", add(stranger.keyPackage(other, w.now)), verdict.ErrInvalidKeyPackage, verdict.Ignore},

		{"commit of garbage", commit(n.ID, child, []byte{1, 2, 3}), verdict.ErrInvalidCommit, verdict.Ignore},
		{"commit that names another child", commit(n.ID, unknown, made.Commit), verdict.ErrForged, verdict.Reject},
		{"commit on another epoch", commit(n.Parent.ID, child, made.Commit), verdict.ErrInvalidCommit, verdict.Ignore},
		{"commit on an unknown epoch", commit(unknown, child, made.Commit), verdict.ErrInvalidCommit, verdict.Ignore},
		{"commit on the virtual root", commit(wire.RootEpochID(w.group), child, made.Commit), verdict.ErrInvalidCommit, verdict.Ignore},
		{"commit of another MLS group", commit(n.ID, child, elsewhere.Commit), verdict.ErrInvalidCommit, verdict.Ignore},
		{"commit with another confirmation tag", commit(n.ID, child, flipped(made.Commit, -40)), verdict.ErrForged, verdict.Reject},
		{"reboot from an unknown epoch", reboot(wire.Reboot{From: unknown}), verdict.ErrUnknown, verdict.Ignore},
		{"reboot into the same generation", reboot(wire.Reboot{From: n.ID, Root: unknown}), verdict.ErrUnknown, verdict.Ignore},
		{"reboot to another root", reboot(wire.Reboot{From: n.ID, Generation: 1, Root: unknown}), verdict.ErrForged, verdict.Reject},
	}
	for _, r := range cases {
		r.check(t, a)
	}
	if out := a.must(one(good)); out.New != 1 {
		t.Errorf("after all that, the good entry: %+v", out)
	}
}

func TestSealsRefused(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 620)
	w.hold = func(*device, *device, []byte) bool { return true }
	id := b.send("hello")
	var raw []byte
	for k, v := range b.rows {
		if s, err := wire.DecodeSeal(v); err == nil && s.Message == id && k == sealKey(s) {
			raw = v
		}
	}
	if raw == nil {
		t.Fatal("no seal")
	}
	one := func(b []byte) Seals { return Seals{Seals: [][]byte{b}} }
	change := func(f func(*wire.Seal)) Seals {
		s, err := wire.DecodeSeal(raw)
		if err != nil {
			t.Fatal(err)
		}
		f(s)
		return one(wire.Marshal(s))
	}
	refusal{"before its record", one(raw), verdict.ErrIncomplete, verdict.Ignore}.check(t, c)
	entries, _, err := b.m.EntriesAfter(a.dev.ID, a.m.Marks(), wire.EntryHash{}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	a.must(Entries{Entries: entries})
	for _, r := range []refusal{
		{"garbage", one([]byte{1}), wire.ErrMalformed, verdict.Reject},
		{"cut short", one(raw[:len(raw)-1]), wire.ErrMalformed, verdict.Reject},
		{"of an unknown record", change(func(s *wire.Seal) { s.Message[0] ^= 1 }), verdict.ErrForged, verdict.Reject},
		{"under an unknown epoch", change(func(s *wire.Seal) { s.Epoch[0] ^= 1 }), verdict.ErrNoEpoch, verdict.Accept},
		{"a PrivateMessage of garbage", change(func(s *wire.Seal) { s.PrivateMessage = []byte{1, 2, 3} }), verdict.ErrForged, verdict.Reject},
		{"a flipped bit", change(func(s *wire.Seal) { s.PrivateMessage = flipped(s.PrivateMessage, -1) }), verdict.ErrForged, verdict.Reject},
	} {
		r.check(t, a)
	}
	if out := a.must(one(raw)); !slices.Equal(out.Messages, []wire.MessageID{id}) {
		t.Errorf("the good seal: %+v", out)
	}
	refusal{"the same again", one(raw), nil, verdict.Accept}.check(t, a)
	if got := a.texts(); !slices.Equal(got, []string{"hello"}) {
		t.Errorf("anna shows %q", got)
	}
}
