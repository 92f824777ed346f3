package node

import (
	"errors"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"

	"github.com/pandanode/pandanode/node/admission"
	"github.com/pandanode/pandanode/node/wire"
)

// TestOnePeerIsBounded lets one peer open connections and streams without end, and
// hold them.
func TestOnePeerIsBounded(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		b := w.open(1, 0)
		id := w.create(a, "besieged")
		w.join(b, id)
		bad := w.hostile(9, 0)

		t := bad.Network().(*swarm.Swarm).TransportForDialing(w.net.Addr(0))
		for range 40 {
			_, _ = t.Dial(w.within(time.Minute), w.net.Addr(0), a.host.ID()) // libp2p itself would take the one there is
		}
		time.Sleep(5 * time.Second) // virtual
		if got := len(a.host.Network().ConnsToPeer(bad.ID())); got == 0 || got > admission.MaxPeerConns {
			w.Errorf("%d connections of one peer", got)
		}
		for _, p := range []protocol.ID{pubsub.GossipSubID_v11, wire.ProtocolJoin, wire.ProtocolFind, wire.ProtocolDHT + "/kad/1.0.0"} {
			opened := 0
			for range 100 {
				s, err := bad.NewStream(w.within(time.Minute), a.host.ID(), p)
				if err != nil {
					break // it is the connections that are reset, or the peer is
				}
				_, _ = s.Write([]byte{0})
				opened++
			}
			time.Sleep(time.Second) // virtual
			got := 0
			for _, c := range a.host.Network().ConnsToPeer(bad.ID()) {
				for _, s := range c.GetStreams() {
					if s.Stat().Direction == network.DirInbound && s.Protocol() == p {
						got++
					}
				}
			}
			if opened < 20 || got > admission.MaxProtocolStreams {
				w.Errorf("%s: %d of %d streams of one peer are open", p, got, opened)
			}
		}
		w.send(a, id, "besieged")
		w.shows(b, id, time.Minute, "besieged")
	})
}

// TestConnectionsAreTrimmed connects a crowd to a node that keeps few connections: the
// crowd goes, members stay.
func TestConnectionsAreTrimmed(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.with = func(_ int, cfg *Config) { cfg.Connections = admission.MinConnections }
		a := w.open(0)
		b := w.open(1, 0)
		id := w.create(a, "besieged")
		w.join(b, id)
		var crowd []host.Host
		for i := range 30 {
			crowd = append(crowd, w.hostile(10+i, 0))
		}
		time.Sleep(admission.ConnGrace + 30*time.Second) // virtual
		left := 0
		for _, h := range crowd {
			if a.isConnected(h.ID()) {
				left++
			}
		}
		if left > admission.MinConnections {
			w.Errorf("%d of a crowd of %d are connected", left, len(crowd))
		}
		if !a.isConnected(b.host.ID()) {
			w.Error("a member lost its connection")
		}
	})
	cfg := Config{Home: "x", Connections: admission.MinConnections - 1}
	if err := cfg.validate(); !errors.Is(err, ErrInvalid) {
		t.Errorf("too few connections: %v", err)
	}
}
