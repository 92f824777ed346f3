package group

import (
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// Whatever a private group's envelope is for, gossip or a mailbox, it carries the tag of
// its key's topic: a member makes it whole again from its box, which has no other.
func TestPrivateEnvelopes(t *testing.T) {
	w, a, _, _ := three(t, 780)
	w.gossip = false
	w.cut = func(_, _ *device) bool { return true }
	genesis := *a.m.cfg.Genesis
	genesis.Private = true
	a.m.cfg.Genesis = &genesis
	var published, posted int
	for _, in := range []Input{Send{Content: wire.Content{MediaType: "text/plain", Data: []byte("psst")}}, Backlog{}} {
		if _, err := a.m.Step(w.now.Add(time.Second), in); err != nil {
			t.Fatal(err)
		}
		r, _ := a.m.Ready()
		for _, o := range r.Messages {
			var envelope []byte
			switch o := o.(type) {
			case Publish:
				envelope = o.Envelope
				published++
			case Post:
				envelope = o.Envelope
				posted++
			default:
				continue
			}
			h, err := wire.ParseEnvelopeHeader(envelope)
			if err != nil {
				t.Fatal(err)
			}
			if h.Tag != w.group.PrivateTopicTag(a.m.transport[h.Key]) {
				t.Errorf("an envelope of %T has the tag %x", o, h.Tag)
			}
		}
		a.keep()
	}
	if published == 0 || posted == 0 {
		t.Errorf("%d envelopes published, %d posted", published, posted)
	}
}
