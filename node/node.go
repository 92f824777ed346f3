package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/admission"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/web"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// Node is an open device. Its methods may be called from any goroutine. After Close all calls
// of API give ErrClosed, and so do the methods that give an error; the others answer as before.
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
	callers *life       // those inside the node at this moment

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

// Close ends everything that the node started and closes its store. It waits until that is
// done, calls in progress included, which end soon, and may be called again. The function that
// a stream of API calls may call it, too.
func (n *Node) Close() error { return n.close() }

func (n *Node) shut() error {
	n.callers.end()
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
func (n *Node) Run(ctx context.Context) error { return APIError(n.run(ctx)) }

func (n *Node) run(ctx context.Context) error {
	if n.callers.over() {
		return ErrClosed
	}
	if !n.running.CompareAndSwap(false, true) {
		return ErrRunning
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
