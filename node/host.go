package node

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	relayv2 "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	"go.uber.org/fx"

	"github.com/pandanode/pandanode/node/admission"
)

// reachChecks is how often a minute a peer may ask whether it can be called.
const reachChecks = 3

// newHost makes the libp2p host: QUIC and TCP, no other transport. It listens on these
// addresses.
func newHost(cfg Config, listen []multiaddr.Multiaddr, me *self) (host.Host, error) {
	through, err := cfg.relayThrough()
	if err != nil {
		return nil, err
	}
	cm, err := admission.NewConnManager(cfg.Connections)
	if err != nil {
		return nil, err
	}
	rm, err := admission.NewResourceManager(cfg.Connections)
	if err != nil {
		return nil, errors.Join(err, cm.Close())
	}
	opts := []libp2p.Option{
		libp2p.ConnectionManager(cm), libp2p.ResourceManager(rm), libp2p.UserAgent("pandanode"), secured(),
		// Dials that fail for hours are usual here, and no reason to stop.
		libp2p.UDPBlackHoleSuccessCounter(nil), libp2p.IPv6BlackHoleSuccessCounter(nil),
	}
	if cfg.NewHost == nil || len(through) > 0 {
		opts = append(opts, libp2p.EnableRelay())
	}
	if cfg.NewHost != nil {
		h, err := cfg.NewHost(opts...)
		if err != nil {
			return nil, errors.Join(err, rm.Close(), cm.Close())
		}
		if !me.peerID().MatchesPrivateKey(h.Peerstore().PrivKey(h.ID())) {
			return nil, errors.Join(fmt.Errorf("%w: the host is another peer than the store says", ErrInvalid), h.Close())
		}
		return h, nil
	}
	if cfg.RelayFor == RelayForNobody {
		opts = append(opts, libp2p.EnableRelayService(relayv2.WithResources(admission.RelayForAll()))) // once others reach it
	}
	if slices.ContainsFunc(cfg.Listen, outside) {
		opts = append(opts, libp2p.NATPortMap()) // a router's, by UPnP or NAT-PMP
	}
	carried, err := transports()
	if err != nil {
		return nil, errors.Join(err, rm.Close(), cm.Close())
	}
	var made host.Host // libp2p leaves it open if it cannot start it
	h, err := libp2p.New(append(opts,
		libp2p.Identity(me.peer),
		libp2p.ListenAddrs(listen...),
		carried,
		libp2p.EnableHolePunching(),
		libp2p.EnableNATService(), // tells others whether they can be called
		libp2p.AutoNATServiceRateLimit(admission.MaxInbound(cfg.Connections), reachChecks, time.Minute),
		libp2p.DisableMetrics(),
		libp2p.WithFxOption(fx.NopLogger, fx.Populate(&made)), // what it would write to stderr is in the error
	)...)
	if err != nil {
		err = fmt.Errorf("starting libp2p: %w", err)
		if made != nil {
			err = errors.Join(err, made.Close())
		}
		return nil, errors.Join(err, rm.Close(), cm.Close())
	}
	return h, nil
}

// outside says whether an address to listen on is more than this machine's own.
func outside(listen string) bool {
	a, err := multiaddr.NewMultiaddr(listen)
	return err == nil && !manet.IsIPLoopback(a)
}

func (m *self) peerID() peer.ID { return peer.ID(m.device.Cert.Peer) }
