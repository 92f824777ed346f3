package group

import (
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// three makes a world of three members who know each other.
func three(t *testing.T, seed uint64) (*world, *device, *device, *device) {
	w := newWorld(t, seed)
	a, b, c := w.device("anna"), w.device("ben"), w.device("carl")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.join(c)
	w.run(30 * time.Second)
	w.agree(a, b, c)
	return w, a, b, c
}

func sortedTexts(d *device) []string {
	out := d.texts()
	slices.Sort(out)
	return out
}

func TestThreeMembersTalk(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 1)
	a.send("one")
	w.run(time.Second)
	b.send("two")
	w.run(time.Second)
	c.send("three")
	w.run(5 * time.Second)
	want := []string{"one", "two", "three"}
	for _, d := range w.devices {
		if got := d.texts(); !slices.Equal(got, want) {
			t.Errorf("%s shows %q, want %q", d.name, got, want)
		}
	}
	w.agree(a, b, c)
}

func TestOfflineMemberCatchesUpOnce(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 2)
	b.online = false
	a.send("while you were away")
	w.run(time.Second)
	c.send("and me")
	w.run(time.Minute)
	b.online = true
	w.sync(b, a)
	w.run(10 * time.Second)
	want := []string{"and me", "while you were away"}
	if got := sortedTexts(b); !slices.Equal(got, want) {
		t.Fatalf("ben shows %q, want %q", got, want)
	}
	if len(b.shown) != 2 {
		t.Errorf("ben was told of %d messages, want 2", len(b.shown))
	}
	w.agree(a, b, c)
}

func TestRemovedMemberCannotOpenTheNextMessage(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 3)
	a.must(RemoveUser{User: c.dev.User})
	w.run(10 * time.Second)
	a.send("without carl")
	env := a.last
	w.run(10 * time.Second)
	w.agree(a, b)
	if s := c.m.Status().State; s != StateOut {
		t.Errorf("carl's state is %q, want %q", s, StateOut)
	}
	if _, err := c.step(Envelope{Bytes: env}); !isErr(err, verdict.ErrRemoved) {
		t.Errorf("carl, handed the envelope: %v, want %v", err, verdict.ErrRemoved)
	}
	out, err := b.step(Envelope{Bytes: env})
	if err != nil || len(out.Messages) != 0 && out.Messages[0] != a.shown[len(a.shown)-1] {
		t.Errorf("ben, handed the envelope: %+v, %v", out, err)
	}
	if _, err := c.step(Send{Content: wire.Content{MediaType: "text/plain"}}); !isErr(err, verdict.ErrOut) {
		t.Errorf("carl sends: %v, want %v", err, verdict.ErrOut)
	}
	if got := b.texts(); !slices.Contains(got, "without carl") {
		t.Errorf("ben shows %q", got)
	}
	if got := c.texts(); slices.Contains(got, "without carl") {
		t.Errorf("carl shows %q", got)
	}
	same, err := a.m.EnvelopeOf(a.shown[len(a.shown)-1])
	if err != nil || string(same) != string(env) {
		t.Errorf("EnvelopeOf does not give the bytes that were published: %v", err)
	}
}

// Two members commit on one parent while the links are held. Both changes get in
// and no message is lost (docs/ARCHITECTURE.md, Three layers).
func TestConcurrentCommitsBothGetIn(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		w, a, b, c := three(t, 100+seed)
		d, e := w.device("dora"), w.device("emil")
		held := true
		w.hold = func(*device, *device, []byte) bool { return held }
		w.cut = func(x, y *device) bool {
			side := func(d *device) string {
				switch d.name {
				case "anna", "dora":
					return "a"
				case "ben", "emil":
					return "b"
				}
				return "c"
			}
			return held && side(x) != side(y)
		}
		w.join(d)
		w.join(e)
		a.send("from anna's side")
		b.send("from ben's side")
		d.send("from dora")
		e.send("from emil")
		w.run(2 * time.Second)
		if pa, pb := a.m.Status(), b.m.Status(); pa.Epoch != pb.Epoch || pa.Position == pb.Position {
			t.Fatalf("seed %d: no fork: %d %v, %d %v", seed, pa.Epoch, pa.Position, pb.Epoch, pb.Position)
		}
		held = false
		for _, x := range w.devices {
			w.syncSomebody(x)
		}
		w.run(2 * time.Minute)
		w.agree(a, b, c, d, e)
		for _, x := range []*device{a, b, c} {
			if got := x.texts(); len(got) != 4 || len(x.shown) != 4 {
				t.Errorf("seed %d: %s shows %q, was told of %d", seed, x.name, got, len(x.shown))
			}
		}
		// A joiner reads what was not written before its addition: here all four.
		for _, x := range []*device{d, e} {
			if got := x.texts(); len(got) != 4 {
				t.Errorf("seed %d: %s shows %q", seed, x.name, got)
			}
		}
		if t.Failed() {
			return
		}
	}
}

func TestConcurrentRemovalAndAddition(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		w, a, b, c := three(t, 200+seed)
		d := w.device("dora")
		// Ben may add (the group is open); anna removes carl at the same time.
		held := true
		w.cut = func(x, y *device) bool { return held && (x == a || y == a) }
		a.must(RemoveUser{User: c.dev.User})
		w.join(d)
		c.send("last words")
		w.run(5 * time.Second)
		held = false
		for _, x := range w.devices {
			w.syncSomebody(x)
		}
		w.run(2 * time.Minute)
		w.agree(a, b, d)
		if s := c.m.Status().State; s != StateOut {
			t.Errorf("seed %d: carl is %q", seed, s)
		}
		if n := a.m.Status().Members; n != 3 {
			t.Errorf("seed %d: %d members, want 3", seed, n)
		}
	}
}

func TestWithoutGossipEverythingArrives(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 4)
	w.gossip = false
	for i, d := range []*device{a, b, c, a, b, c} {
		d.send(string(rune('A' + i)))
		w.run(time.Second)
	}
	for range 2 {
		for _, d := range w.devices {
			w.syncSomebody(d)
		}
		w.run(5 * time.Second)
	}
	w.agree(a, b, c)
	for _, d := range w.devices {
		if got := sortedTexts(d); !slices.Equal(got, []string{"A", "B", "C", "D", "E", "F"}) {
			t.Errorf("%s shows %q", d.name, got)
		}
	}
}

func TestLoneMemberQueues(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 5)
	a, b := w.device("anna"), w.device("ben")
	w.found(a, wire.PolicyOpen)
	id := a.send("anybody there?")
	w.run(time.Minute)
	if m, ok, err := a.m.Journal().Message(id); err != nil || !ok || m.Delivery != DeliveryPublished {
		t.Errorf("message: %+v, %v, %v", m, ok, err)
	}
	w.join(b)
	a.send("hello ben")
	w.run(30 * time.Second)
	w.agree(a, b)
	if got := b.texts(); !slices.Equal(got, []string{"hello ben"}) {
		t.Errorf("ben shows %q: what was written before him is not for him", got)
	}
}

func TestLeaveIsCarriedOutByAnother(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 6)
	c.must(Leave{})
	w.run(time.Minute)
	w.agree(a, b)
	if s := c.m.Status().State; s != StateOut {
		t.Errorf("carl is %q, want %q", s, StateOut)
	}
	if n := a.m.Status().Members; n != 2 {
		t.Errorf("%d members, want 2", n)
	}
	// Somebody who left may come back through the open door.
	c.must(Join{})
	w.run(time.Minute)
	w.agree(a, b, c)
}
