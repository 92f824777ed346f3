package group

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// forgeEntry signs an entry as a member whose keys are at hand would, so that nothing
// but what the case changes is wrong with it.
func forgeEntry(t *testing.T, d *device, kind wire.Kind, body any, change func(*wire.Entry)) []byte {
	t.Helper()
	e := &wire.Entry{
		V: wire.Version, Group: d.w.group, Device: d.dev.ID, Incarnation: d.m.own.log.Incarnation, Seq: 1,
		Deps: d.m.logs.Frontier(d.m.own.log, wire.MaxDeps), Kind: kind, HLC: uint64(d.m.logs.Clock.Last()) + 1, Body: wire.Marshal(body),
	}
	if head := d.m.logs.Head(d.m.own.log); head != nil {
		e.Seq, e.Prev = head.Seq+1, head.Hash
	}
	if change != nil {
		change(e)
	}
	return d.log.Sign(wire.DomainEntry, e.Group, e.Encode()).Encode()
}

// envelopeBy puts a bundle into an envelope as any holder of the transport key can.
func envelopeBy(t *testing.T, d *device, u wire.Bundle) []byte {
	t.Helper()
	key, ok := d.m.Transport().Key()
	if !ok {
		t.Fatal("no transport key")
	}
	b, err := wire.SealEnvelope(d.w.rand, d.w.group, d.key(key), &u)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestBadInputIsRefused gives a member, ben, what other members, strangers and the
// network could make up. Each is refused with an error and a verdict of its own,
// and what is durable is byte for byte what it was.
func TestBadInputIsRefused(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 400)
	d := w.device("dora") // no member
	d.open()
	a.send("before")
	w.run(time.Minute)
	good := a.last
	w.hold = func(*device, *device, []byte) bool { return true }
	w.cut = func(x, y *device) bool { return true }

	id := a.send("not yet seen by ben")
	unseen := a.last
	record := a.record(id)
	raw, err := a.m.tx.get(itemKey(record))
	if err != nil {
		t.Fatal(err)
	}
	position := a.m.own.Position
	carol, _, err := c.m.messages.read.commit(c.m.tree.Nodes[position].By())
	if err != nil {
		t.Fatal(err)
	}
	flip := func(b []byte, at int) []byte {
		out := bytes.Clone(b)
		out[at] ^= 1
		return out
	}
	entry := func(raw []byte) Input { return Entries{Entries: [][]byte{raw}} }
	kpOf := func(x *device, group wire.GroupID, at time.Time) []byte {
		secret, public, err := engine.MLS(1).NewSigner(w.rand)
		if err != nil {
			t.Fatal(err)
		}
		kp, err := engine.MLS(1).NewKeyPackage(w.rand, at, secret, identity.NewCredential(x.dev, x.log, group, 1, public, [32]byte{9}))
		if err != nil {
			t.Fatal(err)
		}
		return kp.Public
	}
	add := func(kp []byte) *wire.Op {
		return &wire.Op{Type: wire.OpAdd, Cert: &d.dev.Raw, Role: wire.RoleMember, KeyPackage: kp, Why: wire.WhyOpen}
	}
	join := func(kp []byte) Input {
		return JoinAsked{Request: wire.JoinRequest{V: wire.Version, Group: w.group, Cert: d.dev.Raw, KeyPackage: kp}}
	}

	cases := []struct {
		name    string
		in      Input
		want    error
		verdict verdict.Verdict
	}{
		{"envelope: empty", Envelope{}, wire.ErrMalformed, verdict.Reject},
		{"envelope: cut short", Envelope{Bytes: good[:40]}, wire.ErrMalformed, verdict.Reject},
		{"envelope: a gigabyte claimed", Envelope{Bytes: make([]byte, wire.MaxEnvelope+1)}, wire.ErrTooLarge, verdict.Reject},
		{"envelope: of a later version", Envelope{Bytes: append([]byte{wire.Version + 1}, good[1:]...)}, wire.ErrVersion, verdict.Ignore},
		{"envelope: of another group", Envelope{Bytes: flip(good, 3)}, wire.ErrMalformed, verdict.Reject},
		{"envelope: under an unknown key", Envelope{Bytes: flip(good, 10)}, wire.ErrUnknownKey, verdict.Ignore},
		{"envelope: flipped bit", Envelope{Bytes: flip(good, len(good)-1)}, wire.ErrNotAuthentic, verdict.Reject},
		{"envelope: rubbish inside", Envelope{Bytes: envelopeBy(t, a, wire.Bundle{Entries: [][]byte{{1, 2, 3}}})}, wire.ErrMalformed, verdict.Reject},
		{"envelope: rubbish seal", Envelope{Bytes: envelopeBy(t, a, wire.Bundle{Seals: [][]byte{{1, 2, 3}}})}, wire.ErrMalformed, verdict.Reject},

		{"entry: malformed", entry([]byte{0xa0}), wire.ErrMalformed, verdict.Reject},
		{"entry: flipped bit in the signature", entry(flip(raw, len(raw)-1)), verdict.ErrForged, verdict.Reject},
		{"entry: of another group", entry(forgeEntry(t, a, wire.KindVote, &wire.Vote{}, func(e *wire.Entry) { e.Group[0] ^= 1 })), verdict.ErrForeign, verdict.Reject},
		{"entry: by a stranger", entry(forgeEntry(t, c, wire.KindVote, &wire.Vote{}, func(e *wire.Entry) {
			e.Device, e.Seq, e.Prev = d.dev.ID, 1, wire.EntryHash{}
		})), verdict.ErrNotMember, verdict.Ignore},
		{"entry: signed by another member", entry(func() []byte {
			e := forgeEntry(t, c, wire.KindVote, &wire.Vote{}, nil)
			s, _ := wire.DecodeSigned(e, wire.MaxEntry)
			return a.log.Sign(wire.DomainEntry, w.group, s.Payload).Encode()
		}()), verdict.ErrForged, verdict.Reject},
		{"entry: dated after the end of time", entry(forgeEntry(t, c, wire.KindVote, &wire.Vote{}, func(e *wire.Entry) { e.HLC = uint64(dag.EndOfTime) })), verdict.ErrFuture, verdict.Ignore},
		{"entry: dated at the last date of all", entry(forgeEntry(t, c, wire.KindVote, &wire.Vote{}, func(e *wire.Entry) { e.HLC = 1<<64 - 1 })), verdict.ErrFuture, verdict.Ignore},
		{"entry: dated a little before its past", entry(forgeEntry(t, c, wire.KindVote, &wire.Vote{}, func(e *wire.Entry) { e.HLC -= uint64(dag.MaxAhead.Milliseconds()) << 16 })), verdict.ErrForged, verdict.Reject},
		{"entry: dep of another log as prev", entry(forgeEntry(t, c, wire.KindVote, &wire.Vote{}, func(e *wire.Entry) {
			e.Seq++
			e.Prev = b.m.logs.Head(b.m.own.log).Hash
			e.Deps = []wire.EntryHash{}
		})), verdict.ErrForged, verdict.Reject},
		{"OP: body of rubbish", entry(forgeEntry(t, c, wire.KindOp, &wire.Vote{}, nil)), wire.ErrMalformed, verdict.Reject},
		{"OP: KeyPackage of rubbish", entry(forgeEntry(t, c, wire.KindOp, add([]byte("no KeyPackage")), nil)), verdict.ErrInvalidKeyPackage, verdict.Ignore},
		{"OP: KeyPackage of another device", entry(forgeEntry(t, c, wire.KindOp, add(kpOf(c, w.group, w.now)), nil)), verdict.ErrInvalidKeyPackage, verdict.Ignore},
		{"OP: KeyPackage for another group", entry(forgeEntry(t, c, wire.KindOp, add(kpOf(d, wire.GroupID{1}, w.now)), nil)), verdict.ErrInvalidKeyPackage, verdict.Ignore},
		{"VOTE: body of rubbish", entry(forgeEntry(t, c, wire.KindVote, &wire.Op{Type: wire.OpLeave}, nil)), wire.ErrMalformed, verdict.Reject},

		{"COMMIT: rubbish", entry(forgeEntry(t, c, wire.KindCommit, &wire.Commit{Parent: position, Commit: []byte("no commit")}, nil)), verdict.ErrInvalidCommit, verdict.Ignore},
		{"COMMIT: unknown parent", entry(forgeEntry(t, c, wire.KindCommit, &wire.Commit{Parent: wire.EpochID{1}, Commit: carol.Commit}, nil)), verdict.ErrInvalidCommit, verdict.Ignore},
		{"COMMIT: for another epoch", entry(forgeEntry(t, c, wire.KindCommit, &wire.Commit{Parent: position, Commit: carol.Commit}, nil)), verdict.ErrInvalidCommit, verdict.Ignore},
		{"COMMIT: another child than its own", entry(forgeEntry(t, c, wire.KindCommit, &wire.Commit{Parent: carol.Parent, Child: wire.EpochID{7}, Commit: carol.Commit}, nil)), verdict.ErrForged, verdict.Reject},

		{"seal: of no record", Seals{Seals: [][]byte{wire.Marshal(&wire.Seal{Message: wire.MessageID{1}, Epoch: position, PrivateMessage: []byte{1}})}}, verdict.ErrForged, verdict.Reject},
		{"tree: nobody asked", Tree{Epoch: position, Bytes: []byte("tree")}, verdict.ErrState, verdict.Ignore},
		{"Welcome: nobody asked", JoinAnswered{Epoch: position, Welcome: []byte("welcome")}, verdict.ErrState, verdict.Ignore},

		{"request: KeyPackage of rubbish", join([]byte("no KeyPackage")), verdict.ErrInvalidKeyPackage, verdict.Ignore},
		{"request: KeyPackage of another device", join(kpOf(c, w.group, w.now)), verdict.ErrInvalidKeyPackage, verdict.Ignore},
		{"request: KeyPackage for another group", join(kpOf(d, wire.GroupID{1}, w.now)), verdict.ErrInvalidKeyPackage, verdict.Ignore},
		{"request: for another group", JoinAsked{Request: wire.JoinRequest{Group: wire.GroupID{1}, Cert: d.dev.Raw}}, verdict.ErrForeign, verdict.Reject},

		{"removing a stranger", RemoveUser{User: d.dev.User}, verdict.ErrUnknown, verdict.Ignore},
		{"removing the owner", RemoveUser{User: a.dev.User}, verdict.ErrNotPermitted, verdict.Ignore},
		{"changing a role", SetRole{User: c.dev.User, Role: wire.RoleAdmin}, verdict.ErrNotPermitted, verdict.Ignore},
		{"sending too much", Send{Content: wire.Content{Data: make([]byte, wire.MaxBody+1)}}, wire.ErrTooLarge, verdict.Reject},
		{"founding again", Found{}, verdict.ErrNotPermitted, verdict.Ignore},
		{"joining again", Join{}, verdict.ErrState, verdict.Ignore},
	}
	for _, x := range cases {
		before := b.rows.digest()
		out, err := b.m.Step(w.now, x.in)
		if !errors.Is(err, x.want) || out.Verdict != x.verdict {
			t.Errorf("%s: %v, %v; want %v, %v", x.name, out.Verdict, err, x.verdict, x.want)
		}
		if r, _ := b.m.Ready(); len(r.Writes)+len(r.Drop)+len(r.Events) > 0 {
			t.Errorf("%s: it writes %d rows and tells %d events", x.name, len(r.Writes), len(r.Events))
		}
		if err := b.carryOut(); err != nil {
			t.Fatal(err)
		}
		if b.rows.digest() != before {
			t.Errorf("%s: what is durable has changed", x.name)
		}
	}
	if len(cases) < 40 {
		t.Errorf("only %d cases", len(cases))
	}
	// After all that the member takes what is good, once.
	if out, err := b.step(Envelope{Bytes: unseen}); err != nil || !slices.Equal(out.Messages, []wire.MessageID{id}) {
		t.Errorf("the good envelope: %+v, %v", out, err)
	}
	if out, err := b.step(Envelope{Bytes: unseen}); err != nil || out.New != 0 {
		t.Errorf("the good envelope again: %+v, %v", out, err)
	}
}

// A seal that a member made wrong, with real keys, uses up its own message key and
// nothing else: the message stays missing until somebody seals it right.
func TestGarbageSealSuppressesNothing(t *testing.T) {
	t.Parallel()
	w, a, b, _ := three(t, 401)
	w.hold = func(*device, *device, []byte) bool { return true }
	id := a.send("the truth")
	record := a.record(id)
	raw, err := a.m.tx.get(itemKey(record))
	if err != nil {
		t.Fatal(err)
	}
	e, err := a.m.epochs.whole(a.m.own.Position)
	if err != nil {
		t.Fatal(err)
	}
	for name, x := range map[string]struct {
		plain []byte
		aad   []byte
	}{
		"not the commitment": {wire.Marshal(&wire.Opened{Body: wire.Marshal(&wire.Content{Data: []byte("a lie")})}), id[:]},
		"another message":    {wire.Marshal(&wire.Opened{}), make([]byte, 32)},
		"rubbish":            {[]byte("rubbish"), id[:]},
	} {
		message, _, err := e.Seal(w.rand, a.m.own.Signer, x.aad, x.plain)
		if err != nil {
			t.Fatal(err)
		}
		s := wire.Seal{Message: id, Epoch: a.m.own.Position, Sealer: a.dev.ID, PrivateMessage: message}
		env := envelopeBy(t, a, wire.Bundle{Entries: [][]byte{raw}, Seals: [][]byte{wire.Marshal(&s)}})
		if _, err := b.step(Envelope{Bytes: env}); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if got := b.texts(); len(got) != 0 {
			t.Errorf("%s: ben shows %q", name, got)
		}
	}
	if b.m.Status().Gaps != 1 {
		t.Errorf("%d gaps, want 1", b.m.Status().Gaps)
	}
	if _, err := b.step(Envelope{Bytes: a.last}); err != nil {
		t.Fatal(err)
	}
	if got := b.texts(); !slices.Equal(got, []string{"the truth"}) {
		t.Errorf("ben shows %q", got)
	}
}

// A vote that was due is not lost at a restart.
func TestRefusalIsVotedAfterARestart(t *testing.T) {
	t.Parallel()
	w, _, b, c := three(t, 450)
	_ = c
	b.send("x")
	d := w.device("dora")
	w.join(d)
	w.run(10 * time.Second)
	due := b.m.timers.at(timerVote)
	if due.IsZero() {
		t.Fatal("no vote is planned after a move")
	}
	b.open()
	if !b.m.timers.running(timerVote) {
		t.Errorf("a vote was due at %v; after a restart none is", due)
	}
}
