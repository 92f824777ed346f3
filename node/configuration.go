package node

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/pandanode/pandanode/discovery"
	"github.com/pandanode/pandanode/node/admission"
	"github.com/pandanode/pandanode/node/config"
)

// Config says how to run a device. Home, and the passphrase or key file of its store, are
// needed; every other zero value is a default. Relative paths are made absolute once, when the
// device is opened.
type Config struct {
	Home string
	// Passphrase gives the passphrase of the store. It is called at most once by each call that
	// takes a Config, and only if the store needs it. The slice stays the caller's: the node
	// wipes its own copies alone.
	Passphrase func() ([]byte, error)
	// KeyFile takes the passphrase's place. If both are given, a home that is made gets the key
	// file, and one that is there opens with what it is locked with.
	KeyFile      string
	Listen       []string // multiaddrs that end in /tcp/PORT or /udp/PORT/quic-v1; none: QUIC and TCP on a free port of every interface
	Bootstrap    []string // multiaddrs with peer IDs, dialled at the start and whenever nobody is left
	Connections  int      // that are kept; 0: 60. 8 to 65536
	RelayThrough []string // multiaddrs with peer IDs of relays to be called through; none: connected peers that relay
	RelayFor     RelayFor // whom this node relays for without limits; empty: nobody
	Small        bool     // one of many in a process, in virtual time: see storeOptions
	MDNS         bool     // find peers on the local network
	DHT          discovery.Mode
	BucketSize   int            // of the DHT; 0: 20; at most 1000. All nodes of a network want the same
	Mailbox      *MailboxConfig // nil: this node is no mailbox
	Files        FilesConfig
	Socket       string // path of the local API's unix socket; empty: no socket
	Metrics      string // TCP address that serves metrics and health to all who reach it; empty: only the socket does
	// MetricsNames are the names under which that address is asked, besides localhost and IP
	// addresses. Others are refused.
	MetricsNames []string
	// GroupMetrics adds metrics of each group, labelled with its ID: their readers learn
	// which groups this device is in.
	GroupMetrics bool
	WebPort      int                                       // on 127.0.0.1, where the page is served once somebody asks for it; 0: a free one
	WebHosts     []string                                  // names by which the page is asked, besides those of the loopback
	TraceFile    string                                    // that spans of joins, commits and catch-up are appended to, as lines of JSON; empty: none
	Hooks        []config.Hook                             // that are run at events; see SetHooks
	Serving      func(yes bool)                            // called by Run when the local API can be used, and when the node begins to close; nil: nobody is told
	Version      string                                    // of the program, for people
	Logger       *slog.Logger                              // nil: the node logs nothing; what libp2p logs by itself, errors on stderr, GOLOG_LOG_LEVEL sets
	NewHost      func(...libp2p.Option) (host.Host, error) // makes the host in libp2p's place, with the device's peer key; for simulated networks
}

// Bounds of a configuration, beside those of node/admission.
const (
	maxConnections = 1 << 16
	maxBucket      = 1000
	maxBytes       = math.MaxInt64 / 2 // of quotas: two of them can be added
	minLifetime    = time.Second
	maxLifetime    = 366 * 24 * time.Hour
)

// validate puts defaults in place of zero values, and absolute paths in place of relative ones.
// ErrInvalid names the field that cannot be right.
func (c *Config) validate() error {
	if c.Home == "" {
		return fmt.Errorf("%w: no home directory", ErrInvalid)
	}
	if err := absolute(&c.Home, &c.KeyFile, &c.Socket, &c.TraceFile); err != nil {
		return err
	}
	c.setDefaults()
	for _, check := range []func() error{c.checkNetwork, c.checkNumbers, c.checkMailbox, c.checkServers} {
		if err := check(); err != nil {
			return err
		}
	}
	return checkHooks(c.Hooks)
}

// absolute makes paths absolute: the program may change its directory later. Empty ones stay.
func absolute(paths ...*string) error {
	for _, p := range paths {
		if *p == "" {
			continue
		}
		abs, err := filepath.Abs(*p)
		if err != nil {
			return fmt.Errorf("%w: the path %q: %w", ErrInvalid, *p, err)
		}
		*p = abs
	}
	return nil
}

func (c *Config) setDefaults() {
	if len(c.Listen) == 0 {
		c.Listen = []string{"/ip4/0.0.0.0/udp/0/quic-v1", "/ip6/::/udp/0/quic-v1", "/ip4/0.0.0.0/tcp/0", "/ip6/::/tcp/0"}
	}
	if c.Connections == 0 {
		c.Connections = admission.DefaultConnections
	}
	if c.RelayFor == "" {
		c.RelayFor = RelayForNobody
	}
	if c.Serving == nil {
		c.Serving = func(bool) {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// checkNetwork looks at addresses, and at what the node does for peers.
func (c *Config) checkNetwork() error {
	for _, a := range c.Listen {
		m, err := multiaddr.NewMultiaddr(a)
		if err != nil {
			return fmt.Errorf("%w: Listen: %q is no address: %w", ErrInvalid, a, err)
		}
		if c.NewHost == nil && !carried(m) {
			return fmt.Errorf("%w: Listen: %q is neither TCP nor QUIC: an address ends in /tcp/PORT or /udp/PORT/quic-v1", ErrInvalid, a)
		}
	}
	if _, err := c.bootstrap(); err != nil {
		return err
	}
	if _, err := c.relayThrough(); err != nil {
		return err
	}
	if !slices.Contains([]RelayFor{RelayForNobody, RelayForMembers, RelayForAnyone}, c.RelayFor) {
		return fmt.Errorf("%w: RelayFor: a node relays for nobody, members or anyone, not for %q", ErrInvalid, c.RelayFor)
	}
	if !slices.Contains([]discovery.Mode{discovery.ModeAuto, discovery.ModeServer, discovery.ModeClient}, c.DHT) {
		return fmt.Errorf("%w: DHT: there is no mode %d", ErrInvalid, c.DHT)
	}
	return nil
}

// carried says whether a transport of this node listens on such an address.
func carried(a multiaddr.Multiaddr) bool {
	var layers []string
	for _, c := range a {
		if c.Protocol().Code != multiaddr.P_IP6ZONE {
			layers = append(layers, c.Protocol().Name)
		}
	}
	_, above, _ := strings.Cut(strings.Join(layers, "/"), "/")
	return above == "tcp" || above == "udp/quic-v1"
}

func (c *Config) checkNumbers() error {
	return cmp.Or(
		bounded("Connections", int64(c.Connections), admission.MinConnections, maxConnections),
		bounded("BucketSize", int64(c.BucketSize), 0, maxBucket),
		bounded("Files.Quota", c.Files.Quota, 0, maxBytes),
		bounded("Files.Max", c.Files.Max, 0, maxBytes),
		bounded("Files.Auto", c.Files.Auto, math.MinInt64, maxBytes),
	)
}

func (c *Config) checkMailbox() error {
	m := c.Mailbox
	if m == nil {
		return nil
	}
	var lifetime error
	if m.Lifetime != 0 && (m.Lifetime < minLifetime || m.Lifetime > maxLifetime) {
		lifetime = fmt.Errorf("%w: Mailbox.Lifetime: %v is not between %v and %v", ErrInvalid, m.Lifetime, minLifetime, maxLifetime)
	}
	return cmp.Or(
		bounded("Mailbox.Quota", m.Quota, 0, maxBytes),
		bounded("Mailbox.BoxQuota", m.BoxQuota, 0, maxBytes),
		bounded("Mailbox.FileQuota", m.FileQuota, math.MinInt64, maxBytes),
		bounded("Mailbox.FileShare", m.FileShare, 0, maxBytes),
		lifetime,
	)
}

// checkServers looks at what the node serves to programs and browsers.
func (c *Config) checkServers() error {
	if key, err := (config.Web{Port: c.WebPort, Hosts: c.WebHosts}).Validate(); err != nil {
		field := map[string]string{"web.port": "WebPort", "web.hosts": "WebHosts"}[key]
		return fmt.Errorf("%w: %s: %w", ErrInvalid, field, err)
	}
	if len(c.Socket) > config.MaxSocket {
		return fmt.Errorf("%w: Socket: %q has %d bytes, and the path of a socket at most %d here", ErrInvalid, c.Socket, len(c.Socket), config.MaxSocket)
	}
	if c.Metrics == "" {
		return nil
	}
	if _, port, err := net.SplitHostPort(c.Metrics); err != nil {
		return fmt.Errorf("%w: Metrics: %q is no address like 127.0.0.1:9464", ErrInvalid, c.Metrics)
	} else if _, err := net.DefaultResolver.LookupPort(context.Background(), "tcp", port); err != nil {
		return fmt.Errorf("%w: Metrics: %q is no port", ErrInvalid, port)
	}
	return nil
}

// bounded refuses a number that is out of bounds.
func bounded(field string, is, least, most int64) error {
	if is >= least && is <= most {
		return nil
	}
	return fmt.Errorf("%w: %s: %d is not between %d and %d", ErrInvalid, field, is, max(least, 0), most)
}

// bootstrap reads the bootstrap addresses.
func (c *Config) bootstrap() ([]peer.AddrInfo, error) { return peersOf("Bootstrap", c.Bootstrap) }

// relayThrough reads the addresses of relays.
func (c *Config) relayThrough() ([]peer.AddrInfo, error) {
	return peersOf("RelayThrough", c.RelayThrough)
}

func peersOf(field string, texts []string) ([]peer.AddrInfo, error) {
	addrs := make([]multiaddr.Multiaddr, len(texts))
	for i, a := range texts {
		m, err := multiaddr.NewMultiaddr(a)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %q is no address: %w", ErrInvalid, field, a, err)
		}
		addrs[i] = m
	}
	infos, err := peer.AddrInfosFromP2pAddrs(addrs...)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: an address ends with /p2p/ and a peer ID: %w", ErrInvalid, field, err)
	}
	return infos, nil
}
