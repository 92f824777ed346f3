package node

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// looksUp waits until a node finds a group's record.
func (w *world) looksUp(n *Node, id wire.GroupID) {
	w.Helper()
	for {
		_, err := n.directory.lookup(w.within(time.Minute), id)
		if err == nil {
			return
		}
		if !errors.Is(err, errNotFound) && !errors.Is(err, errNoPeers) {
			w.Fatal(err)
		}
		time.Sleep(time.Second) // virtual
	}
}

// TestJoinWhoseCallerHangsUp: the group is asked all the same, and another Join finds that.
func TestJoinWhoseCallerHangsUp(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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
				g := b.newSession(a.groups.get(id).genesis)
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
					_, link := w.invite(a, id, inviteTerms{})
					join = func() error { _, err := b.joinByLink(w.within(time.Minute), link); return err }
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

// TestStrangerTakesNoInvite: the only one whom a joiner by link meets for an hour tells it
// to ask anew. It does, and is let in by its invite as soon as it meets a member.
func TestStrangerTakesNoInvite(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		id := w.found(a, wire.PolicyInvite)
		_, link := w.invite(a, id, inviteTerms{Uses: 1})
		w.net.Cut(0, 1)
		stranger := w.hostile(2)
		var told atomic.Int64
		stranger.SetStreamHandler(protocolID(wire.ProtocolJoin), func(s network.Stream) {
			f := newFrames(s)
			var r wire.JoinRequest
			if f.read(&r) == nil && f.write(&wire.JoinReply{Stage: wire.JoinRenew}) == nil {
				told.Add(1)
			}
			f.close()
		})
		link.Peers = append([]wire.LinkPeer{linkPeer(stranger.ID(), stranger.Addrs())}, link.Peers...)
		b := w.open(1)
		if _, err := b.joinByLink(w.within(time.Minute), link); err != nil {
			w.Fatal(err)
		}
		time.Sleep(70 * time.Minute) // virtual: a KeyPackage is renewed after an hour at the earliest
		if r := b.groups.get(id).joiner.wanted(); told.Load() == 0 || r == nil || r.Renewal == nil {
			w.Fatalf("told so %d times, it asks with %+v", told.Load(), r)
		}
		w.net.HealAll()
		w.eventually(b, 20*time.Minute, "in", func() bool { // libp2p waits for minutes before it dials again
			p, err := b.joinProgress(w.Context(), id)
			return err == nil && p.Stage == stageSynced
		})
	})
}

// TestJoinOnASlowLine has a member let somebody in whose line takes minutes for the tree.
func TestJoinOnASlowLine(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, member := w.open(0), w.hostile(1, 0)
		tree := bytes.Repeat([]byte("tree"), 35*treePart/4)
		member.SetStreamHandler(protocolID(wire.ProtocolJoin), func(s network.Stream) {
			f := newFrames(s)
			defer f.close()
			var r wire.JoinRequest
			if err := errors.Join(f.read(&r), f.write(&wire.JoinReply{Stage: wire.JoinWelcomed, Epoch: wire.EpochID{1}, Welcome: []byte{1}})); err != nil {
				t.Error(err)
			}
			_ = writeTree(wire.EpochID{1}, tree, func(part *wire.SyncTree) error {
				time.Sleep(4 * time.Second) // virtual: at 64 kbit/s
				return f.write(part)
			})
		})
		r := wire.JoinRequest{V: wire.Version, Cert: wire.Signed{Payload: []byte{1}, Signature: make([]byte, 64)}, KeyPackage: []byte{1}}
		_, got, err := askToJoin(w.Context(), a, w.net.AddrInfo(1), r, func(wire.JoinReply) {})
		if err != nil || !bytes.Equal(got, tree) {
			w.Fatalf("%d bytes of %d: %v", len(got), len(tree), err)
		}
	})
}

// TestJoinAgainAfterLeaving: who leaves and at once thinks better of it is in again
// within seconds, though the members it asks may not know yet that it has left.
func TestJoinAgainAfterLeaving(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		for i := range 4 {
			w.open(i, 0)
		}
		id := w.create(w.nodes[0], "tea house")
		for i := 1; i < 4; i++ {
			w.join(w.nodes[i], id)
		}
		guest := w.nodes[3]
		for i := range 12 {
			if _, err := guest.leave(w.Context(), id); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(i) * 100 * time.Millisecond) // virtual
			begun := time.Now()
			w.join(guest, id)
			if took := time.Since(begun); took > 5*time.Second {
				t.Errorf("round %d: joining took %v", i, took)
			}
		}
	})
}

// TestJoinCallsOffALeave: who still waits to leave, since nobody has what it wrote, stays
// if it joins again.
func TestJoinCallsOffALeave(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id := w.create(a, "tea house")
		w.join(b, id)
		w.net.Partition([]int{0}, []int{1})
		w.send(b, id, "I am off")
		if left, err := b.leave(w.Context(), id); err != nil || !left.Waits {
			t.Fatalf("the leave waits: %+v, %v", left, err)
		}
		if err := b.Join(w.Context(), id); err != nil {
			t.Fatal(err)
		}
		w.net.HealAll()
		w.shows(a, id, 5*time.Minute, "I am off")
		time.Sleep(time.Minute) // virtual
		st, err := b.groups.get(id).status(w.Context())
		if err != nil || st.State != group.StateMember || st.Members != 2 || st.Leaving {
			t.Errorf("%+v, %v", st, err)
		}
	})
}
