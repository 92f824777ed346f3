package admission

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/x/rate"

	"github.com/pandanode/pandanode/node/wire"
)

// How many connections a node keeps. With fewer than the least, a mesh and the DHT
// do not fit in.
const (
	DefaultConnections = 60
	MinConnections     = 8
)

// ConnGrace is how long a new connection is kept in any case, until identify and GossipSub
// show what it is good for.
const ConnGrace = time.Minute

// LowWater is how many of too many connections are left. A node that has as many dials
// nobody new.
func LowWater(connections int) int { return (connections + 1) / 2 }

// MemberTag is the weight of a shared group for the connection manager: more than that of
// the DHT's uses. It is no protection, since a large group has more members than a node has
// connections.
const MemberTag = 50

// NewConnManager closes the least useful connections when there are too many. Those of
// GossipSub's meshes are protected.
func NewConnManager(connections int) (*connmgr.BasicConnMgr, error) {
	cm, err := connmgr.NewConnManager(LowWater(connections), connections, connmgr.WithGracePeriod(ConnGrace))
	if err != nil {
		return nil, fmt.Errorf("starting the connection manager: %w", err)
	}
	return cm, nil
}

// The most that libp2p uses, whatever peers do: a laptop's share. libp2p's own limits grow
// with the machine, these do not.
const (
	resourceMemory = 512 << 20
	resourceFiles  = 512

	MaxPeerConns       = 8  // of one peer: both ends dial at once, QUIC and TCP, and one may not know yet that an older one is dead
	MaxProtocolStreams = 16 // that one peer has open to this node, of one protocol
)

// MaxInbound bounds the connections that peers open to a node which keeps so many.
func MaxInbound(connections int) int { return 2*connections + 32 }

func maxOutbound(connections int) int { return 2*connections + 128 } // a lonely node dials many addresses at once: see discovery.Peers

// Many devices may be behind one address: a household's, an office's, a provider's.
// libp2p allows 8 connections. Here one address may have as many as the connection
// manager keeps, and some while it chooses, which is half of all that come in; the
// network that the address is in may have three quarters. So neither can take all. An
// address of IPv6 is a /56, which is what a provider gives a household.
func perAddress(connections int) int { return MaxInbound(connections) / 2 }
func perNetwork(connections int) int { return MaxInbound(connections) * 3 / 4 }

const (
	address4, network4 = 32, 24 // bits
	address6, network6 = 56, 48
)

// fromOnePlace bounds the connections of an address and of a network, both directions
// and those through a relay there included. Loopback has no bound.
func fromOnePlace(connections int) rcmgr.Option {
	limits := func(address, network int) []rcmgr.ConnLimitPerSubnet {
		return []rcmgr.ConnLimitPerSubnet{
			{PrefixLength: address, ConnCount: perAddress(connections)}, {PrefixLength: network, ConnCount: perNetwork(connections)},
		}
	}
	return rcmgr.WithLimitPerSubnet(limits(address4, network4), limits(address6, network6))
}

// How many connections a second an address and its network may open for long. When all
// devices behind it come back at once, as after the power did, each has some tries.
const (
	addressPerSecond = 8
	networkPerSecond = 16
	triesAtOnce      = 4 // for each connection that may be open
)

// inARow bounds how fast connections are opened, both directions: libp2p allows an
// address 16, and then one in 5 seconds.
func inARow(connections int) rcmgr.Option {
	limits := func(address, network int) []rate.SubnetLimit {
		return []rate.SubnetLimit{
			{PrefixLength: address, Limit: rate.Limit{RPS: addressPerSecond, Burst: triesAtOnce * perAddress(connections)}},
			{PrefixLength: network, Limit: rate.Limit{RPS: networkPerSecond, Burst: triesAtOnce * perNetwork(connections)}},
		}
	}
	return rcmgr.WithConnRateLimiters(&rate.Limiter{
		NetworkPrefixLimits: []rate.PrefixLimit{{Prefix: netip.MustParsePrefix("127.0.0.0/8")}, {Prefix: netip.MustParsePrefix("::1/128")}},
		SubnetRateLimiter: rate.SubnetLimiter{
			IPv4SubnetLimits: limits(address4, network4), IPv6SubnetLimits: limits(address6, network6), GracePeriod: time.Minute,
		},
	})
}

// NewResourceManager bounds connections, streams and memory.
func NewResourceManager(connections int) (network.ResourceManager, error) {
	scaled := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&scaled)
	perProtocol := map[protocol.ID]rcmgr.ResourceLimits{}
	perProtocolPeer := map[protocol.ID]rcmgr.ResourceLimits{}
	for _, p := range wire.Protocols {
		// More than are served, so that the handler resets the streams beyond that.
		perProtocol[protocol.ID(p)] = rcmgr.ResourceLimits{StreamsInbound: 2 * MaxStreams}
		perProtocolPeer[protocol.ID(p)] = rcmgr.ResourceLimits{StreamsInbound: 2 * MaxPeerStreams}
	}
	limits := rcmgr.PartialLimitConfig{
		System: rcmgr.ResourceLimits{ // above what the connection manager keeps, which needs time to choose
			Conns:         rcmgr.LimitVal(MaxInbound(connections) + maxOutbound(connections)),
			ConnsInbound:  rcmgr.LimitVal(MaxInbound(connections)),
			ConnsOutbound: rcmgr.LimitVal(maxOutbound(connections)),
			FD:            rcmgr.LimitVal(max(resourceFiles, MaxInbound(connections)+maxOutbound(connections))),
		},
		// As many may be in their handshake: else one address that never ends one would
		// keep everybody out.
		Transient: rcmgr.ResourceLimits{
			Conns:         rcmgr.LimitVal(MaxInbound(connections) + maxOutbound(connections)),
			ConnsInbound:  rcmgr.LimitVal(MaxInbound(connections)),
			ConnsOutbound: rcmgr.LimitVal(maxOutbound(connections)),
			FD:            rcmgr.LimitVal(MaxInbound(connections) + maxOutbound(connections)),
		},
		PeerDefault:         rcmgr.ResourceLimits{Conns: MaxPeerConns, ConnsInbound: MaxPeerConns, ConnsOutbound: MaxPeerConns},
		ProtocolPeerDefault: rcmgr.ResourceLimits{StreamsInbound: MaxProtocolStreams},
		Protocol:            perProtocol,
		ProtocolPeer:        perProtocolPeer,
	}.Build(scaled.Scale(resourceMemory, resourceFiles))
	rm, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits), rcmgr.WithMetricsDisabled(), fromOnePlace(connections), inARow(connections))
	if err != nil {
		return nil, fmt.Errorf("starting the resource manager: %w", err)
	}
	return rm, nil
}
