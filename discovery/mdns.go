package discovery

import (
	"fmt"
	"io"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
)

// serviceName is the mDNS service of pandanodes.
const serviceName = "_panda._udp"

// StartMDNS announces the host on the local network and hands peers that it finds
// there to the book, which dials them. It opens multicast sockets: not for bubbles.
func StartMDNS(h host.Host, peers *Peers) (io.Closer, error) {
	s := mdns.NewMdnsService(h, serviceName, mdnsFound{peers})
	if err := s.Start(); err != nil {
		return nil, fmt.Errorf("starting mDNS: %w", err)
	}
	return s, nil
}

type mdnsFound struct{ peers *Peers }

func (m mdnsFound) HandlePeerFound(p peer.AddrInfo) { m.peers.Found(p, sourceMDNS) }
