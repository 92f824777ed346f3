package node

import (
	"context"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/wire"
)

// TestTurnstile fills the places with streams of each standing: those who are unknown
// give way, the oldest first, and take nobody else's place.
func TestTurnstile(t *testing.T) {
	var ts turnstile
	shut := make(map[int]bool)
	next, taken := 0, 0
	enter := func(as standing) *place {
		i := next
		next++
		return ts.enter(peer.ID(fmt.Sprint(i/maxPeerStreams)), as, func() {
			if shut[i] = true; as != unknown {
				taken++
			}
		})
	}
	var unknowns []*place
	for i := range 2 * maxStreams {
		pl := enter(unknown)
		if pl == nil {
			t.Fatalf("stream %d found no place", i)
		}
		unknowns = append(unknowns, pl)
	}
	if len(shut) != 2*maxStreams-placesFor[unknown] || !shut[0] || shut[2*maxStreams-1] {
		t.Fatalf("%d were shut", len(shut))
	}
	kept := unknowns[len(unknowns)-1]
	kept.prove()
	unknowns[0].prove() // it has gone
	for _, more := range []struct {
		as   standing
		want int
	}{{proven, placesFor[proven] - 1}, {fellow, maxStreams - placesFor[proven]}, {unknown, 0}} {
		got, before := 0, taken
		for enter(more.as) != nil && taken == before {
			got++
		}
		if got != more.want {
			t.Errorf("%d of standing %d entered, wants %d", got, more.as, more.want)
		}
	}
	if ts.taken[unknown]+ts.taken[proven]+ts.taken[fellow] != maxStreams || kept.gone {
		t.Fatalf("taken: %v", ts.taken)
	}
	for _, pl := range unknowns {
		pl.leave()
		pl.leave()
	}
	if ts.taken[unknown] != 0 || slices.ContainsFunc(ts.all, func(pl *place) bool { return pl.as == unknown }) {
		t.Fatalf("taken: %v", ts.taken)
	}
}

// TestTurnstileIsFair has a few peers that are proven take all places: who comes with less
// gets some of theirs, never one of a better standing, and no more than they keep.
func TestTurnstileIsFair(t *testing.T) {
	var ts turnstile
	closed := make(map[peer.ID]int)
	enter := func(p string, as standing) bool {
		return ts.enter(peer.ID(p), as, func() { closed[peer.ID(p)]++ }) != nil
	}
	if !enter("friend", fellow) {
		t.Fatal("there is no place")
	}
	for i := range placesFor[proven] / maxPeerStreams {
		for range maxPeerStreams {
			if !enter(fmt.Sprint("greedy ", i), proven) {
				t.Fatal("there is no place")
			}
		}
	}
	if len(closed) > 0 {
		t.Fatalf("they closed each other's: %v", closed)
	}
	got := 0
	for range maxPeerStreams {
		if enter("modest", proven) {
			got++
		}
	}
	if got != maxPeerStreams-1 || closed["friend"] > 0 || closed["modest"] > 0 || len(closed) != got {
		t.Fatalf("%d places, and these closed: %v", got, closed)
	}
	if enter("greedy 11", proven) || enter("nobody", unknown) {
		t.Fatal("who has many, or is unknown, takes another's place")
	}
}

// idle has as many strangers as could take all places open streams to node 0, say
// nothing, and come again when they are shut, until end.
func (w *world) idle(protocol string) (end func()) {
	ctx, quit := context.WithCancel(w.Context())
	var hosts []host.Host
	for i := range maxStreams / maxPeerStreams {
		h := w.hostile(10+i, 0)
		hosts = append(hosts, h)
		for range maxPeerStreams {
			go func() {
				for ctx.Err() == nil {
					if s, err := h.NewStream(ctx, w.net.PeerID(0), protocolID(protocol)); err == nil {
						_, _ = s.Write([]byte{0})
						_, _ = io.ReadAll(s)
						_ = s.Reset()
					}
					time.Sleep(time.Second) // virtual
				}
			}()
		}
	}
	return func() {
		quit()
		for _, h := range hosts {
			_ = h.Close()
		}
	}
}

// TestIdleStrangersAtAMailbox has strangers open streams to a mailbox and say nothing:
// who may open boxes there, or has used one, still gets to it.
func TestIdleStrangersAtAMailbox(t *testing.T) {
	for name, closed := range map[string]bool{"open to all": false, "closed": true} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				cfg := MailboxConfig{}
				if closed {
					cfg.Allow = []peer.ID{w.net.PeerID(1)}
				}
				w.postOffice(0, cfg)
				a := w.open(1, 0)
				id := w.create(a, "locked out")
				w.assign(a, id, 0)
				w.send(a, id, "before")
				w.delivered(a, id)
				defer w.idle(wire.ProtocolMail)()
				time.Sleep(10 * time.Second) // virtual
				w.send(a, id, "meanwhile")
				time.Sleep(5 * time.Minute) // virtual
				if all, err := a.Mailboxes(w.Context(), id); err != nil || all[0].Waiting > 0 {
					w.Fatalf("%+v, %v", all, err)
				}
			})
		})
	}
}

// TestIdleStrangersAndFellows is the same with the streams of a sync: there is always a
// place for a fellow.
func TestIdleStrangersAndFellows(t *testing.T) {
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id := w.create(a, "locked out")
		w.join(b, id)
		defer w.idle(wire.ProtocolSync)()
		for range 60 {
			time.Sleep(5 * time.Second) // virtual
			a.streams.mu.Lock()
			room, strangers := a.streams.room(fellow), a.streams.taken[unknown]
			a.streams.mu.Unlock()
			if !room || strangers == 0 {
				w.Fatalf("room for a fellow: %v, among %d strangers", room, strangers)
			}
		}
	})
}
