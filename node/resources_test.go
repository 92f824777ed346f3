package node

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/multiformats/go-multiaddr"

	"github.com/pandanode/pandanode/node/wire"
)

// TestOnePeerIsBounded lets one peer open connections and streams without end, and
// hold them.
func TestOnePeerIsBounded(t *testing.T) {
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
		if got := len(a.host.Network().ConnsToPeer(bad.ID())); got == 0 || got > maxPeerConns {
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
			if opened < 20 || got > maxProtocolStreams {
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
	inWorld(t, func(w *world) {
		w.with = func(_ int, cfg *Config) { cfg.Connections = minConnections }
		a := w.open(0)
		b := w.open(1, 0)
		id := w.create(a, "besieged")
		w.join(b, id)
		var crowd []host.Host
		for i := range 30 {
			crowd = append(crowd, w.hostile(10+i, 0))
		}
		time.Sleep(connGrace + 30*time.Second) // virtual
		left := 0
		for _, h := range crowd {
			if a.isConnected(h.ID()) {
				left++
			}
		}
		if left > minConnections {
			w.Errorf("%d of a crowd of %d are connected", left, len(crowd))
		}
		if !a.isConnected(b.host.ID()) {
			w.Error("a member lost its connection")
		}
	})
	cfg := Config{Home: "x", Connections: minConnections - 1}
	if err := cfg.validate(); !errors.Is(err, ErrInvalid) {
		t.Errorf("too few connections: %v", err)
	}
}

// throng opens connections to a resource manager, each of another peer, and keeps them.
type throng struct {
	*testing.T
	rm     network.ResourceManager
	scopes []network.ConnManagementScope
}

// open opens up to most connections from an address, and gives how many were allowed.
func (c *throng) open(from string, most int) int {
	c.Helper()
	for n := range most {
		if !c.begin(from) {
			return n
		}
		s := c.scopes[len(c.scopes)-1]
		if err := s.SetPeer(peer.ID(fmt.Sprint("peer ", len(c.scopes)))); err != nil {
			c.Fatal(err)
		}
	}
	return most
}

// begin opens a connection whose handshake does not end.
func (c *throng) begin(from string) bool {
	s, err := c.rm.OpenConnection(network.DirInbound, true, multiaddr.StringCast(from+"/tcp/4001"))
	if err == nil {
		c.scopes = append(c.scopes, s)
	}
	return err == nil
}

func (c *throng) leave() {
	for _, s := range c.scopes {
		s.Done()
	}
	c.scopes = nil
}

// TestConnectionsOfOnePlace: an office of devices behind one address is let in, and can
// neither take all connections nor can the network around it. Loopback is exempt in
// libp2p, so these addresses are others.
func TestConnectionsOfOnePlace(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]struct{ home, sameHome, nextDoor, elsewhere string }{
		"IPv4": {"/ip4/203.0.113.7", "/ip4/203.0.113.7", "/ip4/203.0.113.8", "/ip4/198.51.100.1"},
		"IPv6": {"/ip6/2001:db8:1:100::1", "/ip6/2001:db8:1:1ff::2", "/ip6/2001:db8:1:200::1", "/ip6/2001:db8:2::1"},
	} {
		for _, connections := range []int{minConnections, defaultConnections} {
			rm, err := newResourceManager(connections)
			if err != nil {
				t.Fatal(err)
			}
			c := &throng{T: t, rm: rm}
			address, network, all := perAddress(connections), perNetwork(connections), maxInbound(connections)
			if half := address / 2; c.open(at.home, half) != half || c.open(at.sameHome, all) != address-half {
				t.Errorf("%s, %d connections: %d of one address, want %d", name, connections, len(c.scopes), address)
			}
			if got := c.open(at.nextDoor, all); got != network-address {
				t.Errorf("%s, %d connections: %d of its network beside, want %d", name, connections, got, network-address)
			}
			if got := c.open(at.elsewhere, all); got != min(address, all-network) {
				t.Errorf("%s, %d connections: %d of elsewhere when one network has all that it may, want %d", name, connections, got, all-network)
			}
			c.leave()
			for c.begin(at.home) {
			}
			if got := c.open(at.elsewhere, minConnections); len(c.scopes) != address+got || got != minConnections {
				t.Errorf("%s, %d connections: %d of elsewhere beside %d that never end their handshake", name, connections, got, len(c.scopes)-got)
			}
			c.leave()
			if err := rm.Close(); err != nil {
				t.Error(err)
			}
			if c.rm, err = newResourceManager(connections); err != nil {
				t.Fatal(err)
			}
			for range triesAtOnce { // the power comes back, and goes, and comes back
				if got := c.open(at.home, address); got != address {
					t.Errorf("%s, %d connections: %d of %d come back at once", name, connections, got, address)
				}
				c.leave()
			}
			if got := c.open(at.home, 2); got != 0 {
				t.Errorf("%s, %d connections: an address may open connections as fast as it likes", name, connections)
			}
			if address < 16 || address > all/2 || network >= all {
				t.Errorf("%d connections: %d an address, %d a network, %d in all", connections, address, network, all)
			}
			if err := c.rm.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// TestPlacesOfOneAddress: more than eight devices of one address are relayed for.
func TestPlacesOfOneAddress(t *testing.T) {
	t.Parallel()
	r := relayForAll()
	if r.MaxReservationsPerIP <= 8 || r.MaxReservationsPerIP >= r.MaxReservations || r.MaxReservationsPerASN < r.MaxReservations {
		t.Errorf("%+v", r)
	}
}
