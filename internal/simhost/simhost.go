// Package simhost makes libp2p hosts that talk QUIC over a simulated packet
// network, for tests and simulations inside a testing/synctest bubble: an hour of
// protocol time costs seconds, and no socket of the machine is touched.
//
// Everything above the packets is the real thing: QUIC, TLS, identify, the DHT, GossipSub.
// Between any two hosts the link can be cut and healed, and packets can be lost at a seeded
// rate; a cut is silent, as on a real network. Identities and addresses follow from a
// host's index, so a host that is closed and made again is the same peer at the same
// address.
//
// The package does not make runs repeat bit for bit: goroutines are scheduled by
// the Go runtime. Seeds fix identities, topology and loss, nothing more.
//
// Inside a bubble, end a run in this order: cancel contexts, close what uses the
// hosts, close the hosts, then [Net.Close].
package simhost

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	libp2pquic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/marcopolo/simnet"
	"github.com/multiformats/go-multiaddr"
	"github.com/quic-go/quic-go"
	"go.uber.org/fx"
)

// Config of a network. The zero value is a fast and loss-free one.
type Config struct {
	Seed          uint64
	Latency       time.Duration // one way; 0 is 10 ms
	BitsPerSecond int           // of each host's link, each way; 0 is 100 Mbit/s
	Loss          float64       // share of packets that vanish, 0 to 1; may be changed by SetLoss
}

// Settle is the virtual time that [Net.Close] lets pass so that the last
// goroutines of QUIC and libp2p see that their hosts are gone.
const Settle = 10 * time.Second

// port is where every host listens; hosts differ by IP address.
const port = 8000

// Net is a simulated network. Make it, use it and close it in one bubble.
type Net struct {
	cfg Config
	sim *simnet.Simnet

	mu    sync.Mutex
	cuts  map[[2]int]bool // from and to
	rng   *rand.Rand
	loss  float64
	hosts []host.Host

	sent, dropped atomic.Uint64
}

// New starts a network without hosts.
func New(cfg Config) *Net {
	if cfg.Latency == 0 {
		cfg.Latency = 10 * time.Millisecond
	}
	if cfg.BitsPerSecond == 0 {
		cfg.BitsPerSecond = 100 * simnet.Mibps
	}
	n := &Net{
		cfg:  cfg,
		cuts: make(map[[2]int]bool),
		rng:  rand.New(rand.NewPCG(cfg.Seed, 0x70616e6461)),
		loss: cfg.Loss,
		sim: &simnet.Simnet{
			LatencyFunc: simnet.StaticLatency(cfg.Latency),
			// The router logs packets to hosts that were never made. Tests use such
			// addresses as dead ones, so the log is discarded.
			Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		},
	}
	n.sim.Start()
	return n
}

// Host makes host i, listening at its address. Options come after those of the
// network and may override them. After its Close it may be made again.
func (n *Net) Host(i int, opts ...libp2p.Option) (host.Host, error) { return n.HostAs(i, i, opts...) }

// HostAs is Host with the identity of another one: a device that runs twice.
func (n *Net) HostAs(i, as int, opts ...libp2p.Option) (host.Host, error) {
	priv, err := n.Key(as)
	if err != nil {
		return nil, err
	}
	h, err := libp2p.New(append([]libp2p.Option{
		libp2p.Identity(priv),
		libp2p.ListenAddrs(n.Addr(i)),
		libp2p.NoTransports,
		libp2p.Transport(libp2pquic.NewTransport),
		n.packets(i),
		libp2p.DisableMetrics(),
		libp2p.DisableRelay(),
		libp2p.DisableIdentifyAddressDiscovery(),
	}, append(slices.Clip(opts), unlimited)...)...)
	if err != nil {
		return nil, fmt.Errorf("simulated host %d: %w", i, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hosts = append(n.hosts, h)
	return h, nil
}

// unlimited lifts libp2p's limits, unless others were given.
func unlimited(cfg *libp2p.Config) error {
	if cfg.ResourceManager == nil {
		cfg.ResourceManager = &network.NullResourceManager{}
	}
	return nil
}

// packets makes QUIC read and write through the simulated network.
func (n *Net) packets(i int) libp2p.Option {
	return libp2p.QUICReuse(
		func(l fx.Lifecycle, reset quic.StatelessResetKey, token quic.TokenGeneratorKey, opts ...quicreuse.Option) (*quicreuse.ConnManager, error) {
			cm, err := quicreuse.NewConnManager(reset, token, opts...)
			if err != nil {
				return nil, err
			}
			l.Append(fx.StopHook(cm.Close)) // libp2p closes only a manager that it made itself
			return cm, nil
		},
		quicreuse.OverrideSourceIPSelector(func() (quicreuse.SourceIPSelector, error) { return sourceIP(ipOf(i)), nil }),
		quicreuse.OverrideListenUDP(func(_ string, addr *net.UDPAddr) (net.PacketConn, error) {
			link := simnet.LinkSettings{BitsPerSecond: n.cfg.BitsPerSecond}
			n.mu.Lock()
			defer n.mu.Unlock()
			return &conn{SimConn: n.sim.NewEndpoint(addr, simnet.NodeBiDiLinkSettings{Downlink: link, Uplink: link}), net: n, from: i}, nil
		}),
	)
}

type sourceIP net.IP

func (s sourceIP) PreferredSourceIPForDestination(*net.UDPAddr) (net.IP, error) {
	return net.IP(s), nil
}

// conn drops packets by the cuts and the loss rate; simnet itself loses nothing.
type conn struct {
	*simnet.SimConn
	net  *Net
	from int
}

func (c *conn) WriteTo(b []byte, addr net.Addr) (int, error) {
	if udp, ok := addr.(*net.UDPAddr); ok && !c.net.passes(c.from, indexOf(udp.IP)) {
		return len(b), nil
	}
	return c.SimConn.WriteTo(b, addr)
}

func (n *Net) passes(from, to int) bool {
	n.sent.Add(1)
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cuts[[2]int{from, to}] || n.loss > 0 && n.rng.Float64() < n.loss {
		n.dropped.Add(1)
		return false
	}
	return true
}

// Cut makes the network swallow every packet between a and b, both ways. Packets that are
// already under way still arrive.
func (n *Net) Cut(a, b int) { n.set(a, b, true) }

// Heal undoes Cut.
func (n *Net) Heal(a, b int) { n.set(a, b, false) }

func (n *Net) set(a, b int, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, way := range [][2]int{{a, b}, {b, a}} {
		if cut {
			n.cuts[way] = true
		} else {
			delete(n.cuts, way)
		}
	}
}

// CutOnly makes the network swallow the packets in these directions, from and to, and
// in no other.
func (n *Net) CutOnly(ways map[[2]int]bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cuts = maps.Clone(ways)
	if n.cuts == nil {
		n.cuts = map[[2]int]bool{}
	}
}

// Partition cuts every link between hosts of different sides and heals every link
// within a side. Links of hosts that no side names stay as they are.
func (n *Net) Partition(sides ...[]int) {
	for i, side := range sides {
		for x, a := range side {
			for _, b := range side[x+1:] {
				n.Heal(a, b)
			}
			for _, other := range sides[i+1:] {
				for _, b := range other {
					n.Cut(a, b)
				}
			}
		}
	}
}

// HealAll undoes every Cut and Partition.
func (n *Net) HealAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cuts)
}

// SetLoss changes the share of packets that vanish.
func (n *Net) SetLoss(share float64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.loss = share
}

// Packets counts the packets that hosts sent, and how many of them vanished.
func (n *Net) Packets() (sent, dropped uint64) { return n.sent.Load(), n.dropped.Load() }

// Close closes the hosts that are still open, waits for [Settle] of virtual time
// and stops the network.
func (n *Net) Close() error {
	n.mu.Lock()
	hosts := n.hosts
	n.hosts = nil
	n.mu.Unlock()
	var err error
	for _, h := range slices.Backward(hosts) {
		err = errors.Join(err, h.Close())
	}
	time.Sleep(Settle) // virtual: the bubble's clock jumps
	n.sim.Close()
	return err
}

// Key is the libp2p identity of host i.
func (n *Net) Key(i int) (crypto.PrivKey, error) {
	seed := sha256.Sum256(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64([]byte("simhost"), n.cfg.Seed), uint64(i))) //nolint:gosec // an index
	return crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(seed[:]))
}

// PeerID is the peer ID of host i, made or not.
func (n *Net) PeerID(i int) peer.ID {
	priv, err := n.Key(i)
	if err != nil {
		panic(err) // a 64-byte key of crypto/ed25519 is always taken
	}
	id, err := peer.IDFromPrivateKey(priv)
	if err != nil {
		panic(err)
	}
	return id
}

// Addr is where host i listens.
func (n *Net) Addr(i int) multiaddr.Multiaddr {
	return multiaddr.StringCast(fmt.Sprintf("/ip4/%s/udp/%d/quic-v1", ipOf(i), port))
}

// AddrInfo is what another host needs to dial host i.
func (n *Net) AddrInfo(i int) peer.AddrInfo {
	return peer.AddrInfo{ID: n.PeerID(i), Addrs: []multiaddr.Multiaddr{n.Addr(i)}}
}

// Hosts have public-looking addresses, 42.1.0.0 onwards, each in a /16 of its own
// for 200 hosts, so that filters on private or crowded ranges stay out of the way.
func ipOf(i int) net.IP { return net.IPv4(42, byte(1+i%200), byte(i/200), 1).To4() }

func indexOf(ip net.IP) int {
	a, ok := netip.AddrFromSlice(ip)
	if !ok {
		return -1
	}
	b := a.Unmap().As4()
	return int(b[1]) - 1 + 200*int(b[2])
}
