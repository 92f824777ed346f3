package node

import (
	"context"
	"fmt"
	"io"
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
	next := 0
	enter := func(as standing) *place {
		i := next
		next++
		return ts.enter(peer.ID(fmt.Sprint(i/maxPeerStreams)), as, func() { shut[i] = true })
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
		got := 0
		for enter(more.as) != nil {
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
	if ts.taken[unknown] != 0 || len(ts.unknown) != 0 {
		t.Fatalf("taken: %v", ts.taken)
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
