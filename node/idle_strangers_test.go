package node

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/admission"
	"github.com/pandanode/pandanode/node/wire"
)

// idle has as many strangers as could take all places open streams to node 0, say
// nothing, and come again when they are shut, until end.
func (w *world) idle(protocol string) (end func()) {
	ctx, quit := context.WithCancel(w.Context())
	var hosts []host.Host
	for i := range admission.MaxStreams / admission.MaxPeerStreams {
		h := w.hostile(10+i, 0)
		hosts = append(hosts, h)
		for range admission.MaxPeerStreams {
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
	t.Parallel()
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
				began := time.Now()
				w.delivered(a, id)
				if took := time.Since(began); took > 5*time.Minute {
					w.Errorf("it came to the mailbox after %v", took)
				}
			})
		})
	}
}

// TestIdleStrangersAndMembers is the same with the streams of a sync: there is always a
// slot for a member.
func TestIdleStrangersAndMembers(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id := w.create(a, "locked out")
		w.join(b, id)
		defer w.idle(wire.ProtocolSync)()
		for range 60 {
			time.Sleep(5 * time.Second) // virtual
			taken, strangers := 0, a.door.streams.Taken(admission.Unknown)
			for _, as := range []admission.Trust{admission.Unknown, admission.Proven, admission.Member} {
				taken += a.door.streams.Taken(as)
			}
			if taken >= admission.MaxStreams || strangers == 0 {
				w.Fatalf("%d slots are taken, %d by strangers", taken, strangers)
			}
		}
	})
}
