package group

import (
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// TestOwing has two members away. Owing lists the entries that they may lack until they
// have written on top of them, and no longer for a member that is silent for good. A member
// that comes back after that is noticed.
func TestOwing(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 790)
	owing := func(later time.Duration) (own, all int) {
		t.Helper()
		out, err := a.m.Mail().Owing(w.now.Add(later))
		if err != nil || len(out) != 1 {
			t.Fatalf("%+v, %v", out, err)
		}
		for _, e := range out[0].Entries {
			if all++; e.Own {
				own++
			}
		}
		return own, all
	}
	w.cut = func(x, y *device) bool { return x == c || y == c }
	m := a.send("is anybody there?")
	w.run(time.Minute)
	b.send("I am")
	w.run(time.Minute)
	own, all := owing(0)
	if own == 0 || all <= own {
		t.Fatalf("%d own entries of %d", own, all)
	}
	if own, all := owing(silentFor + time.Hour); own+all != 0 {
		t.Errorf("%d own of %d are kept for who is silent", own, all)
	}
	out, _ := a.m.Mail().Owing(w.now)
	var entries []wire.EntryHash
	for _, e := range out[0].Entries {
		entries = append(entries, e.Hash)
	}
	if !slices.Contains(entries, m) {
		t.Error("the message is not among them")
	}
	envelopes, taken, err := a.m.Mail().EnvelopesWith(out[0].Key, entries, 1)
	if err != nil || taken != 1 || len(envelopes) != 1 {
		t.Errorf("%d envelopes with %d entries, %v", len(envelopes), taken, err)
	}
	if _, _, err := a.m.Mail().EnvelopesWith(wire.KeyID{1}, entries, 1); err == nil {
		t.Error("envelopes under a key that is not here")
	}

	w.cut = nil
	w.sync(a, c)
	w.run(time.Hour)
	w.agree(a, b, c)
	c.send("I have it all")
	w.run(time.Minute)
	b.send("so do I")
	w.run(time.Minute)
	for _, e := range entries {
		if out, _ := a.m.Mail().Owing(w.now); slices.ContainsFunc(out[0].Entries, func(o OwingEntry) bool { return o.Hash == e }) {
			t.Errorf("entry %v, a %v, is told of though all have it", e, a.m.logs.Items.At(e).Kind)
		}
	}
	c.m = nil
	since := w.now
	w.run(silentFor + 24*time.Hour)
	if a.m.Mail().CameBack(since, w.now) {
		t.Error("somebody came back who is away")
	}
	since = w.now.Add(-time.Second)
	c.open()
	w.run(time.Hour)
	c.send("is anybody still there?")
	w.run(time.Hour)
	if !a.m.Mail().CameBack(since, w.now) {
		t.Error("who came back is not noticed")
	}
}
