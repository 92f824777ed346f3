package node

import (
	"sync"
	"testing"
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
