package node

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// looksUp waits until a node finds a group's record.
func (w *world) looksUp(n *Node, id wire.GroupID) {
	w.Helper()
	for {
		_, err := n.Lookup(w.within(time.Minute), id)
		if err == nil {
			return
		}
		if !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrNoPeers) {
			w.Fatal(err)
		}
		time.Sleep(time.Second) // virtual
	}
}

// TestJoinWhoseCallerHangsUp: the group is asked all the same, and another Join finds that.
func TestJoinWhoseCallerHangsUp(t *testing.T) {
	for name, again := range map[string]bool{"once": false, "and joins again": true} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				a := w.open(0)
				id := w.create(a, "tea house")
				b := w.open(1, 0)
				w.looksUp(b, id)
				gone, cancel := context.WithCancel(w.Context())
				cancel()
				if err := b.Join(gone, id); err != nil && !errors.Is(err, context.Canceled) {
					w.Fatal(err)
				}
				if again {
					if err := b.Join(w.within(time.Minute), id); err != nil {
						w.Fatal(err)
					}
				}
				w.in(b, id)
			})
		})
	}
}

// TestJoinAgainAfterAFailure: a join that the store does not take is an error, each time,
// and is made up for by itself as soon as the store takes it.
func TestJoinAgainAfterAFailure(t *testing.T) {
	for name, byLink := range map[string]bool{"by name": false, "by link": true} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				a := w.open(0)
				policy := wire.PolicyOpen
				if byLink {
					policy = wire.PolicyInvite
				}
				id := w.found(a, policy)
				b := w.open(1, 0)
				w.looksUp(b, id)
				g := b.newHosted(a.hosting(id).genesis)
				full := new(atomic.Bool)
				g.loop.apply = func(batch storage.Batch) error {
					if full.Load() {
						return storage.ErrNoSpace
					}
					return b.apply(batch)
				}
				if err := g.start(); err != nil {
					w.Fatal(err)
				}
				b.adopt(g)
				if _, err := g.status(w.Context()); err != nil {
					w.Fatal(err)
				}
				full.Store(true)
				join := func() error { return b.Join(w.within(time.Minute), id) }
				if byLink {
					_, link := w.invite(a, id, NewInvite{})
					join = func() error { _, err := b.JoinByLink(w.within(time.Minute), link); return err }
				}
				for range 3 {
					if err := join(); !errors.Is(err, storage.ErrNoSpace) {
						w.Errorf("a join that the store does not take: %v", err)
					}
					time.Sleep(10 * time.Second) // virtual
				}
				full.Store(false)
				w.in(b, id)
			})
		})
	}
}
