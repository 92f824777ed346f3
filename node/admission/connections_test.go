package admission

import (
	"fmt"
	"testing"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
)

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
		for _, connections := range []int{MinConnections, DefaultConnections} {
			rm, err := NewResourceManager(connections)
			if err != nil {
				t.Fatal(err)
			}
			c := &throng{T: t, rm: rm}
			address, network, all := perAddress(connections), perNetwork(connections), MaxInbound(connections)
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
			if got := c.open(at.elsewhere, MinConnections); len(c.scopes) != address+got || got != MinConnections {
				t.Errorf("%s, %d connections: %d of elsewhere beside %d that never end their handshake", name, connections, got, len(c.scopes)-got)
			}
			c.leave()
			if err := rm.Close(); err != nil {
				t.Error(err)
			}
			if c.rm, err = NewResourceManager(connections); err != nil {
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
