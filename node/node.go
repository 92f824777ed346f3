package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/multiformats/go-multiaddr"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/discovery"
	"github.com/pandanode/pandanode/node/admission"
	"github.com/pandanode/pandanode/node/config"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/web"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// Config says how to run a device. Home, and the passphrase or key file of its store, are
// needed; every other zero value is a default.
type Config struct {
	Home         string
	Passphrase   func() ([]byte, error) // that unlocks the store; see storage.Options
	KeyFile      string                 // in its place
	Listen       []string               // multiaddrs; none: QUIC and TCP on a free port of every interface
	Bootstrap    []string               // multiaddrs with peer IDs, dialled at the start and whenever nobody is left
	Connections  int                    // that are kept; 0: 60. At least 8
	RelayThrough []string               // multiaddrs with peer IDs of relays to be called through; none: connected peers that relay
	RelayFor     RelayFor               // whom this node relays for without limits; empty: nobody
	Small        bool                   // one of many in a process, in virtual time: see storeOptions
	MDNS         bool                   // find peers on the local network
	DHT          discovery.Mode
	BucketSize   int            // of the DHT; 0: 20. All nodes of a network want the same
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
	Logger       *slog.Logger                              // nil: nothing is logged
	NewHost      func(...libp2p.Option) (host.Host, error) // makes the host in libp2p's place, with the device's peer key; for simulated networks
}

func (c *Config) validate() error {
	if c.Home == "" {
		return fmt.Errorf("%w: no home directory", ErrInvalid)
	}
	if len(c.Listen) == 0 {
		c.Listen = []string{"/ip4/0.0.0.0/udp/0/quic-v1", "/ip6/::/udp/0/quic-v1", "/ip4/0.0.0.0/tcp/0", "/ip6/::/tcp/0"}
	}
	for _, a := range c.Listen {
		if _, err := multiaddr.NewMultiaddr(a); err != nil {
			return fmt.Errorf("%w: listen address %q: %w", ErrInvalid, a, err)
		}
	}
	if _, err := c.bootstrap(); err != nil {
		return err
	}
	if _, err := c.relayThrough(); err != nil {
		return err
	}
	switch c.RelayFor {
	case "":
		c.RelayFor = RelayForNobody
	case RelayForNobody, RelayForMembers, RelayForAnyone:
	default:
		return fmt.Errorf("%w: a node relays for nobody, members or anyone, not for %q", ErrInvalid, c.RelayFor)
	}
	switch {
	case c.Connections == 0:
		c.Connections = admission.DefaultConnections
	case c.Connections < admission.MinConnections:
		return fmt.Errorf("%w: %d connections are too few: at least %d", ErrInvalid, c.Connections, admission.MinConnections)
	}
	if c.Serving == nil {
		c.Serving = func(bool) {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// bootstrap reads the bootstrap addresses.
func (c *Config) bootstrap() ([]peer.AddrInfo, error) { return peersOf("bootstrap", c.Bootstrap) }

// relayThrough reads the addresses of relays.
func (c *Config) relayThrough() ([]peer.AddrInfo, error) { return peersOf("relay", c.RelayThrough) }

func peersOf(what string, texts []string) ([]peer.AddrInfo, error) {
	addrs := make([]multiaddr.Multiaddr, len(texts))
	for i, a := range texts {
		m, err := multiaddr.NewMultiaddr(a)
		if err != nil {
			return nil, fmt.Errorf("%w: %s address %q: %w", ErrInvalid, what, a, err)
		}
		addrs[i] = m
	}
	infos, err := peer.AddrInfosFromP2pAddrs(addrs...)
	if err != nil {
		return nil, fmt.Errorf("%w: a %s address ends with /p2p/ and a peer ID: %w", ErrInvalid, what, err)
	}
	return infos, nil
}

// Node is an open device. Its methods may be called from any goroutine; they give
// ErrClosed after Close.
type Node struct {
	cfg       Config
	log       *slog.Logger
	opened    time.Time
	store     *storage.Store
	me        *self
	host      host.Host
	ears      ears
	pubsub    *pubsub.PubSub
	fellows   *fellows
	meshes    *meshes
	directory *directory
	life      *life
	feed      *feed
	changed   *signal // woken whenever readiness may have changed
	metrics   *nodeMetrics
	tracing   *tracing
	twins     *twins
	clock     *wallClock
	groups    *groupTable
	door      door
	relays    relays
	naming    *naming
	cursors   *cursors
	people    *people
	purger    *purger
	files     *fileTable
	mailbox   *mailboxServer // nil: it is none
	mailed    *mailedFiles
	hookTable hookTable
	page      *web.Page
	mailing   chan struct{} // holds one for each mailbox that this node talks to

	running atomic.Bool // since Run

	close  func() error // once
	failed chan error   // holds one: why the node cannot go on

	hooks hooks // tests only
}

// door is what decides which peers this node takes on.
type door struct {
	members admission.MemberPeers
	limits  *admission.Limits
	streams admission.StreamLimiter
}

// relays is what this node has to do with relays.
type relays struct {
	ready  chan host.Host // holds the host, as soon as there is one
	serves io.Closer      // nil: this node relays nothing without limits
	held   io.Closer      // reservations at others; nil: none are wanted
}

// hooks let tests disturb a node.
type hooks struct {
	mute    atomic.Bool                       // publishes nothing on gossip
	scatter atomic.Bool                       // envelopes overtake each other inside this node, as they do on a busy machine
	crash   func(wire.GroupID, boundary) bool // true: stop here, as a crash would
}

// Open opens a device and starts it; ctx is for the opening alone. It runs until
// Close. Errors: those of storage.Open; ErrInvalid.
func Open(ctx context.Context, cfg Config) (*Node, error) { return open(ctx, cfg, nil) }

func open(ctx context.Context, cfg Config, crash func(wire.GroupID, boundary) bool) (_ *Node, err error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, log: cfg.Logger, opened: time.Now(), life: newLife(context.WithoutCancel(ctx)), changed: new(signal), feed: newFeed(),
		failed: make(chan error, 1), mailing: make(chan struct{}, mailAtOnce),
	}
	n.hooks.crash = crash
	n.hookTable.n, n.hookTable.apply = n, n.apply
	n.relays.ready = make(chan host.Host, 1)
	n.groups = newGroupTable(n.changed, n.life.done)
	n.metrics = newMetrics(n)
	n.twins = newTwins(n)
	n.mailed = newMailedFiles(n)
	n.door.limits = admission.NewLimits(&n.door.members, func(what string) { n.metrics.Limited.WithLabelValues(what).Inc() })
	n.meshes = newMeshes()
	n.fellows = newFellows(func(p peer.ID) {
		n.door.limits.Wasted(p)
		n.metrics.Envelopes.WithLabelValues(verdict.Ignore.String()).Inc()
	}, n.isConnected, n.meshes.has)
	n.close = sync.OnceValue(n.shut)
	defer func() {
		if err != nil {
			err = errors.Join(err, n.Close())
		}
	}()
	if n.tracing, err = newTracing(cfg.TraceFile); err != nil {
		return nil, err
	}
	if n.store, err = openStore(cfg); err != nil {
		return nil, err
	}
	if n.me, err = readIdentity(n.store); err != nil {
		return nil, err
	}
	if n.clock, err = loadClock(n.store); err != nil {
		return nil, err
	}
	n.life.start(func(ctx context.Context) { n.clock.run(ctx, n.put, n.log) })
	n.purger = newPurger()
	n.life.start(func(ctx context.Context) { n.purger.run(ctx, n.store, n.log) })
	if n.files, err = loadFiles(cfg.Files, cfg.Home, n.store, n.apply, n.clock.now); err != nil {
		return nil, err
	}
	n.files.tell = n.toldOfFile
	if err := n.loadOwn(); err != nil {
		return nil, err
	}
	listen, err := n.ears.listenOn(ctx, &cfg, n.log)
	if err != nil {
		return nil, err
	}
	if n.host, err = newHost(cfg, listen, n.me); err != nil {
		return nil, err
	}
	n.life.start(func(ctx context.Context) { n.ears.listenAgain(ctx, n.host, n.log) })
	n.relays.ready <- n.host
	through, err := cfg.relayThrough()
	if err != nil {
		return nil, err
	}
	if cfg.NewHost == nil || len(through) > 0 {
		if n.relays.held, err = holdReservations(n.host, relayOptions(through, func(ctx context.Context, most int) <-chan peer.AddrInfo {
			return relayCandidates(ctx, n.relays.ready, n.life.done, most)
		})); err != nil {
			return nil, err
		}
	}
	if n.relays.serves, err = startRelay(n.host, cfg.RelayFor, &n.door.members); err != nil {
		return nil, err
	}
	n.life.start(func(ctx context.Context) { watchRelays(ctx, n.host, n.log) })
	if err := n.discover(); err != nil {
		return nil, err
	}
	if err := n.gossip(); err != nil {
		return nil, err
	}
	if cfg.Mailbox != nil {
		if n.mailbox, err = newMailboxServer(n, *cfg.Mailbox); err != nil {
			return nil, err
		}
		n.life.start(n.mailbox.run)
	}
	n.serveStreams()
	n.host.Network().Notify(&network.NotifyBundle{
		ConnectedF:    func(_ network.Network, c network.Conn) { n.connected(c.RemotePeer()) },
		DisconnectedF: func(_ network.Network, c network.Conn) { n.disconnected(c.RemotePeer()) },
	})
	if err := n.resume(); err != nil {
		return nil, err
	}
	n.life.start(n.fetchFiles)
	n.life.start(n.mailed.run)
	if err := n.SetHooks(cfg.Hooks); err != nil {
		return nil, err
	}
	n.page = web.New(web.Config{API: n.API(), Port: cfg.WebPort, Hosts: cfg.WebHosts, Log: n.log})
	return n, nil
}

// loadOwn loads what is kept for people and programs of this node alone.
func (n *Node) loadOwn() (err error) {
	if n.people, err = loadPeople(n.store, n.apply); err != nil {
		return err
	}
	n.groups.hides = n.people.hides
	n.cursors = &cursors{store: n.store, put: n.put}
	n.naming = &naming{store: n.store, put: n.put, me: n.me}
	return n.naming.load()
}

// gossip starts GossipSub for as long as the node lives.
func (n *Node) gossip() error {
	ready := make(chan error, 1)
	lost := newLosses()
	n.life.start(func(ctx context.Context) { lost.makeUp(ctx, n.groups) })
	n.life.start(func(ctx context.Context) {
		ps, err := newPubSub(ctx, n.host, n.door.limits, n.fellows, n.door.members.Has, lost, n.meshes)
		n.pubsub = ps
		ready <- err
	})
	return <-ready
}

// resume starts the groups that the store holds.
func (n *Node) resume() error {
	var found []*groupSession
	var forgotten []wire.GroupID
	if err := n.store.Scan([]byte(keyGroups), func(key, value []byte) error {
		var row groupRow
		if err := wire.Unmarshal(value, &row); err != nil {
			return err
		}
		if row.Forgotten {
			forgotten = append(forgotten, wire.GroupID(key[len(keyGroups):]))
			return nil
		}
		genesis, err := identity.VerifyGenesis(row.Genesis)
		if err != nil {
			return err
		}
		g := n.newSession(genesis)
		g.joiner.ended = row.Ended
		g.joiner.invited = row.Meet
		g.joiner.hint(row.Peers)
		if row.Link != nil {
			g.joiner.useLink(row.Link)
		}
		found = append(found, g)
		return nil
	}); err != nil {
		return fmt.Errorf("restoring the groups: %w", err)
	}
	for _, id := range forgotten { // a crash came in between
		if err := erase(n.store, n.apply, id); err != nil {
			return fmt.Errorf("forgetting group %v: %w", id, err)
		}
	}
	for _, g := range found {
		if err := g.start(); err != nil {
			return err
		}
		n.adopt(g)
	}
	return n.resumeJoins(found)
}

// Close ends everything that the node started and closes its store. It waits until
// that is done and may be called again.
func (n *Node) Close() error { return n.close() }

func (n *Node) shut() error {
	if n.page != nil {
		n.page.Close()
	}
	n.life.end()
	for _, g := range n.groups.all() {
		g.life.end()
	}
	var errs []error
	if n.directory != nil {
		errs = append(errs, n.directory.close())
	}
	if n.relays.held != nil {
		errs = append(errs, n.relays.held.Close())
	}
	if n.relays.serves != nil {
		errs = append(errs, n.relays.serves.Close())
	}
	if n.host != nil {
		errs = append(errs, n.host.Close())
	}
	if n.store != nil {
		errs = append(errs, n.store.Close())
	}
	if n.tracing != nil {
		errs = append(errs, n.tracing.close())
	}
	if n.me != nil {
		n.me.wipe()
	}
	return errors.Join(errs...)
}

// Run serves the local API, if there is to be one, until ctx ends, somebody asks
// the node to stop, or it cannot go on; then it closes the node. The error says why
// it could not go on.
//
// A Run that cannot begin leaves the node open, and says so before it calls Serving: another
// one runs (ErrRunning), or the socket or the address of the metrics cannot be had. After
// Close it gives ErrClosed.
func (n *Node) Run(ctx context.Context) error {
	if !n.running.CompareAndSwap(false, true) {
		return ErrRunning
	}
	select {
	case <-n.life.done:
		return ErrClosed
	default:
	}
	ended, stopped, end, err := serve(n)
	if err != nil {
		n.running.Store(false)
		return err
	}
	n.cfg.Serving(true)
	select {
	case <-ctx.Done():
	case <-stopped:
	case <-n.life.done:
	case err = <-n.failed:
	case err = <-ended:
	}
	n.cfg.Serving(false)
	end()
	return errors.Join(err, n.Close())
}

// fail ends Run: the node cannot go on.
func (n *Node) fail(err error) {
	select {
	case n.failed <- err:
		n.log.Error("the node cannot go on", "err", err)
	default: // the first reason counts
	}
}

// apply is the store's Apply, counted.
func (n *Node) apply(b storage.Batch) error {
	err := n.store.Apply(b)
	if err != nil {
		n.metrics.WriteErrors.Inc()
	}
	return err
}

// put writes a row of the node's own.
func (n *Node) put(key string, v any) error {
	if err := putRow(n.store, key, v); err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	return nil
}

func (n *Node) connected(p peer.ID) {
	for _, g := range n.groups.all() {
		g.scheduler.connected(p)
		g.mail.connected(p)
		g.joiner.poke()
	}
	n.groups.pokeLookups()
	n.files.stir()
	n.mailed.connected(p)
	n.twins.connected(p)
	n.feed.add(nodeEvent{Event: group.Event{Kind: eventPeerConnected}, Peer: p.String()})
	n.changed.wake()
}

func (n *Node) disconnected(p peer.ID) {
	if n.isConnected(p) {
		return // over another connection
	}
	n.fellows.disconnected(p)
	n.mailed.kick.wake()
	for _, g := range n.groups.all() {
		g.scheduler.disconnected(p)
		g.mail.disconnected(p)
	}
	n.feed.add(nodeEvent{Event: group.Event{Kind: eventPeerDisconnected}, Peer: p.String()})
	n.changed.wake()
}

// isConnected says whether there is a connection, over a relay or not.
func (n *Node) isConnected(p peer.ID) bool {
	c := n.host.Network().Connectedness(p)
	return c == network.Connected || c == network.Limited
}

// Device is this device's certificate.
func (n *Node) Device() *identity.Device { return n.me.device }

// Host is the node's libp2p host. It is the node's to close.
func (n *Node) Host() host.Host { return n.host }

func protocolID(s string) protocol.ID { return protocol.ID(s) }

func hlcOf(t time.Time) crdt.HLC { return crdt.HLCFromTime(t) }

func hlc(v uint64) crdt.HLC { return crdt.HLC(v) }

// adopt makes a started group known to streams and callers.
func (n *Node) adopt(g *groupSession) {
	n.groups.add(g)
	if info := n.directory.known.Get(g.id); info != nil {
		n.directory.save(g.id, info.Bytes())
	}
	g.changed.wake()
	n.changed.wake()
}

// Groups lists the groups of this node, those it is joining included.
func (n *Node) Groups() []wire.GroupID { return n.groups.ids() }
