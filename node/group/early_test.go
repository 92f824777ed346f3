package group

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// trio is a group of three that are of one mind, and whose gossip the test carries.
func trio(t *testing.T, seed uint64) (w *world, a, b, c *device) {
	t.Helper()
	w = newWorld(t, seed)
	a, b, c = w.device("a"), w.device("b"), w.device("c")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.join(c)
	w.run(2 * time.Minute)
	w.agree(a, b, c)
	w.gossip = false
	return w, a, b, c
}

// says has a device send n messages and gives their envelopes.
func (d *device) says(n int) (envelopes [][]byte, texts []string) {
	d.w.t.Helper()
	for i := range n {
		texts = append(texts, fmt.Sprint("message ", i))
		d.send(texts[i])
		envelopes = append(envelopes, d.last)
	}
	return envelopes, texts
}

// TestOvertakenEnvelopes: envelopes in any order show everything, without a sync, and
// are passed on: what comes before its past was signed by a member.
func TestOvertakenEnvelopes(t *testing.T) {
	t.Parallel()
	for _, order := range [][]int{{1, 0}, {3, 2, 1, 0}, {2, 0, 3, 1}} {
		w, a, _, c := trio(t, 61)
		w.cut = func(_, _ *device) bool { return true } // nobody is there to be asked
		envelopes, texts := a.says(len(order))
		asked := c.asked()
		for _, i := range order {
			out, err := c.step(Envelope{Bytes: envelopes[i]})
			if out.Verdict != verdict.Accept || err != nil && !errors.Is(err, verdict.ErrIncomplete) {
				t.Errorf("%v: message %d: %v, %v", order, i, out.Verdict, err)
			}
		}
		if shown := c.texts(); !slices.Equal(shown, texts) {
			t.Errorf("%v: shown: %q", order, shown)
		}
		if !c.asked().Equal(asked) {
			t.Errorf("%v: a sync was asked for", order)
		}
		if st := c.m.Status(); st.Parked+st.Gaps != 0 || len(c.m.messages.early.seals) != 0 || c.m.messages.early.bytes != 0 {
			t.Errorf("%v: left behind: %+v, %d seals", order, st, len(c.m.messages.early.seals))
		}
		w.run(time.Minute)
		if !c.asked().Equal(asked) {
			t.Errorf("%v: a sync was asked for later", order)
		}
	}
}

// TestSealBeforeItsRecord: a large bundle travels in several envelopes, and the seals in
// the second may come before the records in the first.
func TestSealBeforeItsRecord(t *testing.T) {
	t.Parallel()
	w, a, _, c := trio(t, 62)
	w.cut = func(_, _ *device) bool { return true }
	a.send("apart")
	u, err := a.opened(a.last)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := c.step(Envelope{Bytes: a.envelope(wire.Bundle{Seals: u.Seals})}); out.Verdict != verdict.Ignore || !errors.Is(err, verdict.ErrIncomplete) {
		t.Errorf("the seal alone: %v, %v", out.Verdict, err)
	}
	if _, err := c.step(Envelope{Bytes: a.envelope(wire.Bundle{Entries: u.Entries})}); err != nil {
		t.Fatal(err)
	}
	if shown := c.texts(); !slices.Equal(shown, []string{"apart"}) {
		t.Errorf("shown: %q", shown)
	}
}

// TestAsksForPastAfterAWhile: what is missing is asked for once it is late, and not while
// it may still be on its way.
func TestAsksForPastAfterAWhile(t *testing.T) {
	t.Parallel()
	w, a, _, c := trio(t, 63)
	w.cut = func(_, _ *device) bool { return true }
	envelopes, _ := a.says(2)
	w.run(time.Minute)
	asked := c.asked()
	_, _ = c.step(Envelope{Bytes: envelopes[1]})
	w.run(pastGrace - time.Millisecond)
	if !c.asked().Equal(asked) {
		t.Errorf("asked after %v at the latest", pastGrace-time.Millisecond)
	}
	w.run(2 * time.Millisecond)
	if c.asked().Equal(asked) {
		t.Errorf("not asked after %v", pastGrace)
	}
	c.rests()
}

// TestParkedIsPassedOnOnce: a parked entry is passed on if a member signed it, once, and
// no more of a member's than are kept.
func TestParkedIsPassedOnOnce(t *testing.T) {
	t.Parallel()
	w, _, b, c := trio(t, 64)
	w.cut = func(_, _ *device) bool { return true }
	seq := uint64(1000)
	orphan := func(d *device) []byte {
		seq++ // two of one number would be evidence against it
		return d.forge(wire.KindRecord, &wire.Record{}, nil, func(e *wire.Entry) {
			e.Incarnation, e.Seq, e.Prev = d.m.own.log.Incarnation, seq, wire.EntryHash(w.bytes())
		})
	}
	give := func(raw []byte) verdict.Verdict {
		out, err := c.step(Envelope{Bytes: b.envelope(wire.Bundle{Entries: [][]byte{raw}})})
		if err == nil {
			t.Fatal("an entry without its past was taken")
		}
		return out.Verdict
	}
	first := orphan(b)
	if v := give(first); v != verdict.Accept {
		t.Errorf("the first: %v", v)
	}
	if v := give(first); v != verdict.Ignore {
		t.Errorf("the same again, in another envelope: %v", v)
	}
	forged := flipped(orphan(b), -1)
	if v := give(forged); v != verdict.Reject {
		t.Errorf("a forged one: %v", v)
	}
	passed := 1
	for range 2 * dag.MaxParked {
		if give(orphan(b)) == verdict.Accept {
			passed++
		}
	}
	if passed > dag.MaxParked || c.m.Parked() > dag.MaxParked {
		t.Errorf("%d were passed on and %d are parked, at most %d", passed, c.m.Parked(), dag.MaxParked)
	}
}

// TestParkedOfARemovedMember: what a removed member signs is not passed on for waiting.
func TestParkedOfARemovedMember(t *testing.T) {
	t.Parallel()
	w, a, b, c := trio(t, 66)
	w.gossip = true
	a.must(RemoveUser{User: b.dev.User})
	w.run(time.Minute)
	w.agree(a, c)
	raw := b.forge(wire.KindRecord, &wire.Record{}, nil, func(e *wire.Entry) {
		e.Incarnation, e.Seq, e.Prev = b.m.own.log.Incarnation, 1000, wire.EntryHash(w.bytes())
	})
	out, err := c.step(Envelope{Bytes: c.envelope(wire.Bundle{Entries: [][]byte{raw}})})
	if out.Verdict != verdict.Ignore || !errors.Is(err, verdict.ErrIncomplete) {
		t.Errorf("%v, %v", out.Verdict, err)
	}
}

// TestEarlySealsAreBounded: seals for records that are not here take no more room than
// they may, and those for unknown records displace none of those that a parked one needs.
func TestEarlySealsAreBounded(t *testing.T) {
	t.Parallel()
	w, a, b, c := trio(t, 65)
	w.cut = func(_, _ *device) bool { return true }
	envelopes, texts := a.says(2)
	_, _ = c.step(Envelope{Bytes: envelopes[1]})
	n, e := b.m.position()
	for i := range 3 * maxEarly {
		id := wire.MessageID(w.bytes())
		body := make([]byte, 16<<10)
		message, _, err := e.Seal(w.rand, b.m.own.Signer, id[:], body)
		if err != nil {
			t.Fatal(err)
		}
		seal := wire.Marshal(&wire.Seal{Message: id, Epoch: n.ID, Sealer: b.dev.ID, PrivateMessage: message})
		_, _ = c.step(Envelope{Bytes: b.envelope(wire.Bundle{Seals: [][]byte{seal}})})
		if k := c.m.messages.early; i%64 == 0 && (k.bytes > 2*maxEarlyBytes || len(k.seals) > 2*maxEarly) {
			t.Fatalf("%d seals of %d bytes are kept", len(k.seals), k.bytes)
		}
	}
	_, _ = c.step(Envelope{Bytes: envelopes[0]})
	if shown := c.texts(); !slices.Equal(shown, texts) {
		t.Errorf("shown: %q", shown)
	}
}

// bytes draws what nobody knows.
func (w *world) bytes() (b [32]byte) {
	_, _ = w.rand.Read(b[:])
	return b
}
