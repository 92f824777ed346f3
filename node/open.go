package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/admission"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/web"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// OpenOrInit opens the device in the home of cfg, and makes one of this name first where there
// is none: the one call with which a program begins, whether it runs for the first time or not.
// It asks for the passphrase once. A configuration that cannot be right makes nothing, and a
// crash in between leaves a home that the next call completes. Of calls at the same time one
// gets the node, and the others ErrInUse. Errors: those of Init and Open.
func OpenOrInit(ctx context.Context, cfg Config, name string) (*Node, error) {
	n, err := openOrInit(ctx, cfg, name)
	return n, APIError(err)
}

func openOrInit(ctx context.Context, cfg Config, name string) (*Node, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Passphrase != nil {
		var wipe func()
		cfg.Passphrase, wipe = askedAtMostOnce(cfg.Passphrase)
		defer wipe()
	}
	if !isStore(storeDir(cfg.Home)) {
		err := Init(ctx, InitConfig{Home: cfg.Home, Name: name, Passphrase: cfg.Passphrase, KeyFile: cfg.KeyFile})
		if err != nil && !errors.Is(err, storage.ErrExists) { // another call made it just now
			return nil, err
		}
	}
	return Open(ctx, cfg)
}

// Open opens a device and starts it; ctx is for the opening alone, which it ends between two
// steps. The node runs until Close. Errors: those of storage.Open and of ctx; ErrInvalid. All have
// a code (api.CodeOf): CodeConflict if another process has the home, CodeLocked without the right
// passphrase or key file, CodeNotFound if there is no device in it.
func Open(ctx context.Context, cfg Config) (*Node, error) {
	n, err := open(ctx, cfg, nil)
	return n, APIError(err)
}

func open(ctx context.Context, cfg Config, crash func(wire.GroupID, boundary) bool) (*Node, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	n := newNode(ctx, cfg)
	n.hooks.crash = crash
	for _, step := range []func(context.Context) error{
		n.openStore, n.loadOwn, n.listen, n.useRelays, n.discover, n.gossip, n.serveOthers, n.resume, n.begin,
	} {
		err := ctx.Err()
		if err == nil {
			err = step(ctx)
		}
		if err != nil {
			return nil, errors.Join(err, n.Close())
		}
	}
	return n, nil
}

// newNode makes a node that does nothing yet. It can be closed.
func newNode(ctx context.Context, cfg Config) *Node {
	n := &Node{
		cfg: cfg, log: cfg.Logger, opened: time.Now(), life: newLife(context.WithoutCancel(ctx)), changed: new(signal), feed: newFeed(),
		callers: newLife(context.Background()), failed: make(chan error, 1), mailing: make(chan struct{}, mailAtOnce),
	}
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
	return n
}

// openStore opens the file for traces and the store, and reads who this device is.
func (n *Node) openStore(context.Context) (err error) {
	if n.tracing, err = newTracing(n.cfg.TraceFile); err != nil {
		return err
	}
	if n.store, err = openStore(n.cfg); err != nil {
		return err
	}
	if n.me, err = readIdentity(n.store); err != nil {
		return err
	}
	if n.clock, err = loadClock(n.store); err != nil {
		return err
	}
	n.life.start(func(ctx context.Context) { n.clock.run(ctx, n.put, n.log) })
	n.purger = newPurger()
	n.life.start(func(ctx context.Context) { n.purger.run(ctx, n.store, n.log) })
	return nil
}

// loadOwn loads what is kept for people and programs of this node alone.
func (n *Node) loadOwn(context.Context) (err error) {
	if n.files, err = loadFiles(n.cfg.Files, n.cfg.Home, n.store, n.apply, n.clock.now); err != nil {
		return err
	}
	n.files.tell = n.toldOfFile
	if n.people, err = loadPeople(n.store, n.apply); err != nil {
		return err
	}
	n.groups.hides = n.people.hides
	n.cursors = &cursors{store: n.store, put: n.put}
	n.naming = &naming{store: n.store, put: n.put, me: n.me}
	return n.naming.load()
}

// listen makes the host.
func (n *Node) listen(ctx context.Context) error {
	on, err := n.ears.listenOn(ctx, &n.cfg, n.log)
	if err != nil {
		return err
	}
	if n.host, err = newHost(n.cfg, on, n.me); err != nil {
		return err
	}
	n.life.start(func(ctx context.Context) { n.ears.listenAgain(ctx, n.host, n.log) })
	n.relays.ready <- n.host
	return nil
}

// useRelays has the node be called through relays, and relay for others.
func (n *Node) useRelays(context.Context) error {
	through, err := n.cfg.relayThrough()
	if err != nil {
		return err
	}
	if n.cfg.NewHost == nil || len(through) > 0 {
		if n.relays.held, err = holdReservations(n.host, relayOptions(through, func(ctx context.Context, most int) <-chan peer.AddrInfo {
			return relayCandidates(ctx, n.relays.ready, n.life.done, most)
		})); err != nil {
			return err
		}
	}
	if n.relays.serves, err = startRelay(n.host, n.cfg.RelayFor, &n.door.members); err != nil {
		return err
	}
	n.life.start(func(ctx context.Context) { watchRelays(ctx, n.host, n.log) })
	return nil
}

// gossip starts GossipSub for as long as the node lives.
func (n *Node) gossip(context.Context) error {
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

// serveOthers lets peers ask this node.
func (n *Node) serveOthers(context.Context) (err error) {
	if n.cfg.Mailbox != nil {
		if n.mailbox, err = newMailboxServer(n, *n.cfg.Mailbox); err != nil {
			return err
		}
		n.life.start(n.mailbox.run)
	}
	n.serveStreams()
	n.host.Network().Notify(&network.NotifyBundle{
		ConnectedF:    func(_ network.Network, c network.Conn) { n.connected(c.RemotePeer()) },
		DisconnectedF: func(_ network.Network, c network.Conn) { n.disconnected(c.RemotePeer()) },
	})
	return nil
}

// resume starts the groups that the store holds.
func (n *Node) resume(ctx context.Context) error {
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
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := g.start(); err != nil {
			return err
		}
		n.adopt(g)
	}
	return n.resumeJoins(found)
}

// begin starts what works on groups.
func (n *Node) begin(context.Context) error {
	n.life.start(n.fetchFiles)
	n.life.start(n.mailed.run)
	if err := n.SetHooks(n.cfg.Hooks); err != nil {
		return err
	}
	n.page = web.New(web.Config{API: localAPI(n, nil), Port: n.cfg.WebPort, Hosts: n.cfg.WebHosts, Log: n.log})
	return nil
}
