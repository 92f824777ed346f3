package group

import (
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// An envelope of a private group, for gossip or for a mailbox, carries the tag of
// its key's topic: a member makes it whole again from its box, which has no other.
func TestPrivateEnvelopes(t *testing.T) {
	t.Parallel()
	w, a, _, _ := three(t, 780)
	w.gossip = false
	w.cut = func(_, _ *device) bool { return true }
	genesis := *a.m.cfg.Genesis
	genesis.Private = true
	a.m.cfg.Genesis = &genesis
	var published, posted int
	tagged := func(what string, envelope []byte) {
		h, err := wire.ParseEnvelopeHeader(envelope)
		if err != nil {
			t.Fatal(err)
		}
		if h.Tag != w.group.PrivateTopicTag(a.key(h.Key)) {
			t.Errorf("an envelope for %s has the tag %x", what, h.Tag)
		}
	}
	if _, err := a.m.Step(w.now.Add(time.Second), Send{Content: wire.Content{MediaType: "text/plain", Data: []byte("psst")}}); err != nil {
		t.Fatal(err)
	}
	r, _ := a.m.Ready()
	for _, o := range r.Messages {
		if p, ok := o.(Publish); ok {
			tagged("gossip", p.Envelope)
			published++
		}
	}
	a.keep()
	owing, err := a.m.Mail().Owing(w.now.Add(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range owing {
		var entries []wire.EntryHash
		for _, e := range o.Entries {
			entries = append(entries, e.Hash)
		}
		envelopes, taken, err := a.m.Mail().EnvelopesWith(o.Key, entries, 1<<20)
		if err != nil || taken != len(entries) {
			t.Fatalf("%d of %d entries, %v", taken, len(entries), err)
		}
		for _, e := range envelopes {
			tagged("a mailbox", e)
			posted++
		}
	}
	if published == 0 || posted == 0 {
		t.Errorf("%d envelopes published, %d posted", published, posted)
	}
}
