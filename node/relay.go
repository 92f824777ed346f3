package node

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/autorelay"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	relayv2 "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	"github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/pandanode/pandanode/node/admission"
	"github.com/pandanode/pandanode/node/api"
)

// A node that nobody can call holds a place at one or two relays and is called through
// them. A relay sees which peers are connected through it and when, and nothing else: the
// bytes are encrypted between the two ends. Where hole punching works, it is needed for the
// first seconds alone.
//
// There are two kinds. Any node that others can reach relays a little for anyone, so that
// holes can be punched: libp2p's limits, 128 KiB and two minutes a connection. Gossip
// passes over such connections; exchanges do not. And there are relays without limits,
// which people run for their groups (RelayFor).

// RelayFor says for whom a node relays without limits.
type RelayFor string

// Values of RelayFor.
const (
	RelayForNobody  RelayFor = "nobody"  // also the zero value
	RelayForMembers RelayFor = "members" // of the groups of this device; any peer may call them
	RelayForAnyone  RelayFor = "anyone"
)

// How a node looks for relays.
const (
	relaysHeld    = 2
	relayAgain    = time.Minute // after a relay has refused
	relayBoot     = 10 * time.Second
	relayInterval = 30 * time.Second
)

// relayOptions lets the host be called through relays: those that are named, else those
// that candidates gives.
func relayOptions(through []peer.AddrInfo, candidates autorelay.PeerSource) libp2p.Option {
	options := []autorelay.Option{
		autorelay.WithBackoff(relayAgain), autorelay.WithBootDelay(relayBoot), autorelay.WithMinInterval(relayInterval),
	}
	if len(through) > 0 {
		return libp2p.EnableAutoRelayWithStaticRelays(through, options...)
	}
	return libp2p.EnableAutoRelayWithPeerSource(candidates,
		append(options, autorelay.WithNumRelays(relaysHeld), autorelay.WithMinCandidates(1))...)
}

// relayCandidates gives connected peers that relay. A peer that is found through the DHT or
// otherwise is among them as soon as it is connected.
func relayCandidates(ctx context.Context, ready chan host.Host, closed <-chan struct{}, most int) <-chan peer.AddrInfo {
	out := make(chan peer.AddrInfo, most)
	defer close(out)
	var h host.Host
	select {
	case h = <-ready: // it asks before libp2p has given us the host
		ready <- h
	case <-ctx.Done():
		return out
	case <-closed:
		return out
	}
	for _, p := range h.Network().Peers() {
		speaks, err := h.Peerstore().SupportsProtocols(p, proto.ProtoIDv2Hop)
		if err != nil || len(speaks) == 0 || h.Network().Connectedness(p) != network.Connected {
			continue
		}
		select {
		case out <- peer.AddrInfo{ID: p, Addrs: h.Peerstore().Addrs(p)}:
		default:
			return out
		}
	}
	return out
}

// startRelay relays without limits, if the configuration says so; nil: it does not.
func startRelay(h host.Host, serves RelayFor, members *admission.MemberPeers) (io.Closer, error) {
	if serves == RelayForNobody {
		return nil, nil
	}
	r, err := relayv2.New(h,
		relayv2.WithResources(admission.RelayResources()),
		relayv2.WithACL(admission.RelayACL{Anyone: serves == RelayForAnyone, Members: members}),
		// A relay within a private network is one too.
		relayv2.WithReservationAddressFilter(func(a multiaddr.Multiaddr) bool { return !manet.IsIPLoopback(a) }),
	)
	if err != nil {
		return nil, fmt.Errorf("starting the relay: %w", err)
	}
	return r, nil
}

// heldRelays are the relays that this node can be called through now.
func heldRelays(addrs []multiaddr.Multiaddr) (out []peer.ID) {
	for _, a := range addrs {
		through, _ := multiaddr.SplitFunc(a, func(c multiaddr.Component) bool { return c.Protocol().Code == multiaddr.P_CIRCUIT })
		if len(through) == len(a) {
			continue
		}
		if id, err := through.ValueForProtocol(multiaddr.P_P2P); err == nil {
			if p, err := peer.Decode(id); err == nil && !slices.Contains(out, p) {
				out = append(out, p)
			}
		}
	}
	slices.Sort(out)
	return out
}

// checkRelay reports how the node uses relays.
func checkRelay(n *Node) api.Finding {
	const check = "relay"
	known, err := reachability(n.host)
	if err != nil {
		return api.HealthUnknown.Found(check, err.Error())
	}
	connected := 0
	through, _ := n.cfg.relayThrough() // Open has read it
	for _, r := range through {
		if n.isConnected(r.ID) {
			connected++
		}
	}
	return relayFinding(relayState{
		private: known == network.ReachabilityPrivate, public: known == network.ReachabilityPublic, connected: connected, held: heldRelays(n.host.Addrs()),
		named: len(n.cfg.RelayThrough), serves: n.cfg.RelayFor,
	})
}

// relayState is the input of a finding about relays.
type relayState struct {
	private   bool // others cannot call this node
	public    bool // others can; neither: nobody has tried yet
	held      []peer.ID
	named     int // relays in the configuration
	connected int // of them
	serves    RelayFor
}

func relayFinding(s relayState) api.Finding {
	const check = "relay"
	var does []string
	if s.serves != RelayForNobody {
		does = append(does, fmt.Sprintf("it relays for %s, without limits", s.serves))
	}
	if len(s.held) > 0 {
		names := make([]string, len(s.held))
		for i, p := range s.held {
			names[i] = p.String()
		}
		does = append(does, "others can call it through "+strings.Join(names, " and "))
	}
	detail := strings.Join(does, "; ")
	switch {
	case s.serves != RelayForNobody && s.private:
		return api.Finding{Check: check, Health: api.HealthWarn, Detail: detail + "; but others cannot call it", Hint: "forward the port of listen, UDP and TCP, to this machine, or relay elsewhere"}
	case len(s.held) > 0:
	case s.named > 0 && s.connected == 0 && !s.public:
		return api.Finding{Check: check, Health: api.HealthWarn, Detail: joinDetail(detail, fmt.Sprintf("none of the %d relays of relay.through can be reached", s.named)), Hint: "does it run, and is its address right? its own status shows its addresses"}
	case s.named > 0 && s.private:
		return api.Finding{Check: check, Health: api.HealthWarn, Detail: "no relay of relay.through has taken this node", Hint: "pandanode doctor there shows for whom it relays (relay.for); is its address right?"}
	case s.private:
		return api.Finding{Check: check, Health: api.HealthWarn, Detail: "others cannot call this node, and no connected peer relays for it", Hint: "run a node with relay.for = \"members\" on a machine that others can reach, and name it in relay.through here"}
	case s.named > 0 && s.public:
		detail = joinDetail(detail, "others reach this node without one")
	case s.named > 0:
		return api.HealthUnknown.Found(check, joinDetail(detail, "a relay of relay.through is connected, and none is needed as far as is known: nobody from outside has tried to call this node yet"))
	case detail == "":
		detail = "none is used"
	}
	return api.HealthOK.Found(check, detail)
}

func joinDetail(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), "; ")
}

// watchRelays logs when the relays that this node can be called through change.
func watchRelays(ctx context.Context, h host.Host, log *slog.Logger) {
	sub, err := h.EventBus().Subscribe(new(event.EvtLocalAddressesUpdated))
	if err != nil {
		log.Warn("changes of this node's addresses are not noticed", "err", err)
		return
	}
	defer sub.Close()
	var last []peer.ID
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-sub.Out():
			if !ok {
				return
			}
			if held := heldRelays(h.Addrs()); !slices.Equal(held, last) {
				log.Info("relays", "held", held)
				last = held
			}
		}
	}
}
