package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// fuse lets a node crash at the nth time that it passes a boundary.
type fuse struct {
	mu    sync.Mutex
	at    boundary
	left  int // 0: not lit
	blown chan struct{}
}

func (f *fuse) light(at boundary, nth int) <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.at, f.left, f.blown = at, nth, make(chan struct{})
	return f.blown
}

func (f *fuse) pass(_ wire.GroupID, b boundary) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.blown == nil {
		return false
	}
	select {
	case <-f.blown:
		return true // the dead stay dead
	default:
	}
	if f.left == 0 || b != f.at {
		return false
	}
	if f.left--; f.left > 0 {
		return false
	}
	close(f.blown)
	return true
}

func (f *fuse) out() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left, f.blown = 0, nil
}

var boundaries = []boundary{beforeWrites, afterWrites, afterMessages, afterEvents, afterAdvance}

// once checks what every crash must leave: each event's cursor follows the one
// before, and no message was shown twice.
func (w *world) once(n *Node, id wire.GroupID) {
	w.Helper()
	events, err := n.Events(w.Context(), id, 0, 0)
	if err != nil {
		w.Fatal(err)
	}
	if len(events) == 0 {
		w.Fatal("no events")
	}
	shown := make(map[wire.MessageID]bool)
	for i, e := range events {
		if e.Cursor != uint64(i)+1 {
			w.Fatalf("event %d has cursor %d", i, e.Cursor)
		}
		if e.Kind != group.EventMessage {
			continue
		}
		if shown[e.Message] {
			w.Fatalf("message %v was shown twice", e.Message)
		}
		shown[e.Message] = true
	}
}

// TestCrashAtEveryBoundary kills a sender and a receiver at each boundary of a
// Ready, in each of the Readies that a message makes necessary, and opens them
// again on what is durable.
func TestCrashAtEveryBoundary(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		var fuses [2]fuse
		for i := range fuses {
			w.crash[i] = fuses[i].pass
		}
		nodes := [2]*Node{w.open(0), w.open(1, 0)}
		id := w.create(nodes[0], "crashes")
		w.join(nodes[1], id)

		acknowledged := make(map[string]bool) // by text; false: its sender died before it knew
		crashes := make(map[boundary]int)
		for victim := range fuses {
			for _, at := range boundaries {
				for nth := 1; nth <= 3; nth++ {
					text := fmt.Sprintf("%d dies %s %d", victim, at, nth)
					blown := fuses[victim].light(at, nth)
					sent := make(chan error, 1)
					go func() {
						_, err := nodes[0].Send(context.Background(), id, wire.Content{MediaType: "text/plain", Data: []byte(text)})
						sent <- err
					}()
					select {
					case <-blown:
						crashes[at]++
					case <-time.After(time.Minute): // virtual: the message made fewer Readies
					}
					w.close(victim)
					fuses[victim].out()
					err := <-sent
					if err != nil && !errors.Is(err, ErrClosed) {
						w.Fatalf("%s: %v", text, err)
					}
					acknowledged[text] = err == nil
					nodes[victim] = w.open(victim, 1-victim)
				}
			}
		}
		for _, at := range boundaries {
			if crashes[at] < 2 {
				w.Errorf("%d crashes %s: the test does not test", crashes[at], at)
			}
		}
		for i, n := range nodes {
			if err := n.Wait(w.within(10*time.Minute), api.LevelSynced); err != nil {
				w.Fatalf("node %d: %v", i, err)
			}
		}
		var want []string
		for _, text := range w.texts(nodes[0], id) {
			if _, ok := acknowledged[text]; !ok {
				w.Fatalf("%q was never sent", text)
			}
			want = append(want, text)
		}
		for text, acked := range acknowledged {
			if acked && !contains(want, text) {
				w.Errorf("%q was acknowledged and is lost", text)
			}
		}
		w.shows(nodes[1], id, 10*time.Minute, want...)
		for _, n := range nodes {
			w.once(n, id)
		}
		w.Logf("%d messages, %d of them acknowledged, crashes: %v", len(acknowledged), count(acknowledged), crashes)
	})
}

func contains(all []string, s string) bool {
	for _, a := range all {
		if a == s {
			return true
		}
	}
	return false
}

func count(m map[string]bool) (n int) {
	for _, v := range m {
		if v {
			n++
		}
	}
	return n
}

// TestCrashWhileJoining kills the joiner and the member that lets it in at each
// boundary of the Readies that a join makes necessary.
func TestCrashWhileJoining(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		var fuses [2]fuse
		w.crash[0] = fuses[0].pass
		founder := w.open(0)
		id := w.create(founder, "joins")
		joiner, crashes := 1, 0
		for victim := range fuses {
			for _, at := range boundaries {
				for nth := 1; nth <= 3; nth++ {
					w.crash[joiner] = fuses[1].pass
					n := w.open(joiner, 0)
					if err := n.Wait(w.within(time.Minute), api.LevelOnline); err != nil {
						w.Fatalf("%d %s %d: %v", victim, at, nth, err)
					}
					blown := fuses[victim].light(at, nth)
					asked := make(chan error, 1)
					go func() { asked <- n.Join(context.Background(), id) }()
					select {
					case <-blown:
						crashes++
					case <-time.After(time.Minute): // virtual: fewer Readies than that
					}
					which := []int{0, joiner}[victim]
					w.close(which)
					fuses[victim].out()
					if err := <-asked; err != nil && !errors.Is(err, ErrClosed) {
						w.Fatal(err)
					}
					if which == 0 {
						founder = w.open(0, joiner)
					} else {
						n = w.open(joiner, 0)
					}
					w.join(n, id) // again, if the crash came before the request was durable
					w.once(n, id)
					w.close(joiner)
					joiner++
				}
			}
		}
		if crashes < 2*len(boundaries) {
			w.Errorf("%d crashes: the test does not test", crashes)
		}
		members, err := founder.Members(w.Context(), id)
		if err != nil || len(members) != joiner {
			w.Fatalf("%d members, wants %d (%v)", len(members), joiner, err)
		}
		w.once(founder, id)
	})
}
