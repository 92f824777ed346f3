package node

import (
	"sync"
	"testing"

	"github.com/pandanode/pandanode/node/admission"
)

// TestTopicLeftAndJoinedAtOnce: a topic that is left by one goroutine and joined by
// another is joined in the end, whichever comes first.
func TestTopicLeftAndJoinedAtOnce(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		g := a.groups.get(w.create(a, "tea house"))
		name := g.id.Topic()
		for range 200 {
			var both sync.WaitGroup
			for range 4 {
				both.Go(func() { g.topics.listenOn(nil) })
				both.Go(func() {
					if _, err := g.topics.get(name); err != nil {
						w.Errorf("joining while it is left: %v", err)
					}
				})
			}
			both.Wait()
			if _, err := g.topics.get(name); err != nil || w.Failed() {
				w.Fatalf("joining after it was left: %v", err)
			}
		}
	})
}

// TestTopicOfAStoppedGroup: a group that is stopped joins no topic and leaves nothing of
// it behind, so that the group can be opened again.
func TestTopicOfAStoppedGroup(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		g := a.groups.get(w.create(a, "tea house"))
		g.stop()
		if _, err := g.topics.get(g.id.Topic()); err == nil {
			w.Fatal("a topic was joined after the end")
		}
		again := a.newSession(g.genesis)
		defer again.stop()
		if err := again.start(); err != nil {
			w.Fatal(err)
		}
	})
}

// TestShortEnvelopesAreDeclined: the envelope of the shortest text is long enough for
// GossipSub to decline it from the others once one peer has brought it.
func TestShortEnvelopesAreDeclined(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		id := w.create(a, "tea house")
		w.join(w.open(1, 0), id)
		count, size := counted(a.metrics.Published), counted(a.metrics.PublishedBytes)
		w.send(a, id, "x")
		count, size = counted(a.metrics.Published)-count, counted(a.metrics.PublishedBytes)-size
		if least := uint64(admission.GossipParams().IDontWantMessageThreshold); count == 0 || size < count*least { //nolint:gosec // small
			t.Errorf("%d envelopes of %d bytes, from %d on they are declined", count, size, least)
		}
	})
}
