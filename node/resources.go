package node

import (
	"fmt"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"

	"github.com/pandanode/pandanode/node/wire"
)

// How many connections a node keeps. With fewer than the least, a mesh and the DHT
// do not fit in.
const (
	defaultConnections = 60
	minConnections     = 8
)

// connGrace is how long a new connection is kept at any rate: identify and GossipSub
// have to say first what it is good for.
const connGrace = time.Minute

// lowWater is how many are left when there were more than so many connections. With as
// many nobody new is dialled.
func lowWater(connections int) int { return (connections + 1) / 2 }

// fellowTag is what sharing a group is worth to the connection manager: more than the
// DHT's uses. It is no protection, since a large group has more members than a node
// has connections.
const fellowTag = 50

// newConnManager closes the least useful connections when there are too many. Those of
// GossipSub's meshes are protected.
func newConnManager(connections int) (*connmgr.BasicConnMgr, error) {
	cm, err := connmgr.NewConnManager(lowWater(connections), connections, connmgr.WithGracePeriod(connGrace))
	if err != nil {
		return nil, fmt.Errorf("starting the connection manager: %w", err)
	}
	return cm, nil
}

// What libp2p may use, whatever peers do: a laptop's share. libp2p's own limits grow
// with the machine, these do not.
const (
	resourceMemory = 512 << 20
	resourceFiles  = 512

	maxPeerConns       = 8  // of one peer: both ends dial at once, QUIC and TCP, and one may not know yet that an older one is dead
	maxProtocolStreams = 16 // that one peer has open to this node, of one protocol
)

// newResourceManager bounds connections, streams and memory.
func newResourceManager(connections int) (network.ResourceManager, error) {
	scaled := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&scaled)
	perProtocol := map[protocol.ID]rcmgr.ResourceLimits{}
	perProtocolPeer := map[protocol.ID]rcmgr.ResourceLimits{}
	for _, p := range []string{wire.ProtocolSync, wire.ProtocolJoin, wire.ProtocolFind, wire.ProtocolMail} {
		// More than what is served, so that it is the handler that resets what exceeds that.
		perProtocol[protocol.ID(p)] = rcmgr.ResourceLimits{StreamsInbound: 2 * maxStreams}
		perProtocolPeer[protocol.ID(p)] = rcmgr.ResourceLimits{StreamsInbound: 2 * maxPeerStreams}
	}
	limits := rcmgr.PartialLimitConfig{
		System: rcmgr.ResourceLimits{ // above what the connection manager keeps, which needs time to choose
			Conns:         rcmgr.LimitVal(3*connections + 64),
			ConnsInbound:  rcmgr.LimitVal(2*connections + 32),
			ConnsOutbound: rcmgr.LimitVal(2*connections + 64),
		},
		PeerDefault:         rcmgr.ResourceLimits{Conns: maxPeerConns, ConnsInbound: maxPeerConns, ConnsOutbound: maxPeerConns},
		ProtocolPeerDefault: rcmgr.ResourceLimits{StreamsInbound: maxProtocolStreams},
		Protocol:            perProtocol,
		ProtocolPeer:        perProtocolPeer,
	}.Build(scaled.Scale(resourceMemory, resourceFiles))
	rm, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits), rcmgr.WithMetricsDisabled())
	if err != nil {
		return nil, fmt.Errorf("starting the resource manager: %w", err)
	}
	return rm, nil
}
