package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/discovery"
	"github.com/pandanode/pandanode/node/admission"
	"github.com/pandanode/pandanode/node/clock"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// How often this device's statements about a group are renewed, and how long a search for a
// group's record pauses.
const (
	headEvery     = time.Hour
	renewEvery    = 10 * time.Minute
	lookupTimeout = 30 * time.Second
	lookupRetry   = 2 * time.Second
	lookupMax     = time.Minute
	maxCandidates = 64
)

// directory is where this node finds groups and peers, and where others find it: everything
// of package discovery that it runs.
type directory struct {
	store *storage.Store
	apply func(storage.Batch) error
	log   *slog.Logger

	known     *discovery.Known
	dht       *discovery.DHT
	publisher *discovery.Publisher
	finder    *discovery.Finder
	peers     *discovery.Peers
	mdns      io.Closer // nil: off
}

// discover starts everything of package discovery.
func (n *Node) discover(context.Context) error {
	d := &directory{store: n.store, apply: n.apply, log: n.log}
	n.directory = d // closed with the node, however far this gets
	bootstrap, err := n.cfg.bootstrap()
	if err != nil {
		return err
	}
	d.known = discovery.NewKnown(func(id wire.GroupID, record []byte) {
		if n.groups.get(id) != nil { // what else it hears of lives in memory, since anyone can make records
			d.save(id, record)
		}
	})
	if err := d.load(); err != nil {
		return err
	}
	if d.dht, err = discovery.NewDHT(discovery.DHTConfig{
		Host: n.host, Mode: n.cfg.DHT, Bootstrap: bootstrap, Known: d.known, BucketSize: n.cfg.BucketSize, Clock: n.clock.now,
		Walked: n.metrics.walked,
	}); err != nil {
		return err
	}
	if d.peers, err = discovery.NewPeers(discovery.PeersConfig{
		Host: n.host, Bootstrap: bootstrap, Book: peerBook{d}, Enough: admission.LowWater(n.cfg.Connections), Log: n.log.With("subsystem", "peers"),
	}); err != nil {
		return err
	}
	if n.cfg.MDNS {
		if d.mdns, err = discovery.StartMDNS(n.host, d.peers); err != nil {
			n.log.Warn("no peers will be found on the local network", "err", err)
		}
	}
	d.publisher = discovery.NewPublisher(discovery.PublisherConfig{DHT: d.dht})
	d.finder = discovery.NewFinder(discovery.FinderConfig{
		Host: n.host, DHT: d.dht, Peers: d.peers, Catalog: d.publisher,
		Admit: func(p peer.ID) bool { return n.door.limits.Opens(wire.ProtocolFind, p, admission.Unknown) },
	})
	n.life.start(func(ctx context.Context) { renewHeads(ctx, n.groups) })
	return nil
}

// peerBook keeps remembered peers in the node's store.
type peerBook struct{ d *directory }

// LoadPeers returns the values that SavePeer stored.
func (b peerBook) LoadPeers() (map[string][]byte, error) {
	out := make(map[string][]byte)
	err := b.d.store.Scan([]byte(keyPeers), func(key, value []byte) error {
		out[string(key[len(keyPeers):])] = value
		return nil
	})
	return out, err
}

// SavePeer puts one value.
func (b peerBook) SavePeer(id string, value []byte) error {
	return b.d.apply(storage.Batch{Writes: []storage.Write{{Key: []byte(keyPeers + id), Value: value}}})
}

// DropPeer deletes one value.
func (b peerBook) DropPeer(id string) error {
	return b.d.apply(storage.Batch{Writes: []storage.Write{{Key: []byte(keyPeers + id)}}})
}

// close ends what runs.
func (d *directory) close() error {
	var errs []error
	if d.mdns != nil {
		errs = append(errs, d.mdns.Close())
	}
	if d.finder != nil {
		d.finder.Close()
	}
	if d.publisher != nil {
		d.publisher.Close()
	}
	if d.peers != nil {
		errs = append(errs, d.peers.Close())
	}
	if d.dht != nil {
		errs = append(errs, d.dht.Close())
	}
	return errors.Join(errs...)
}

// save keeps the record of a group.
func (d *directory) save(id wire.GroupID, record []byte) {
	if err := d.apply(storage.Batch{Writes: []storage.Write{{Key: []byte(keyInfo + string(id[:])), Value: record}}}); err != nil {
		d.log.Warn("a group's record was not kept", "group", id, "err", err)
	}
}

// load takes up the records that are kept.
func (d *directory) load() error {
	return d.store.Scan([]byte(keyInfo), func(_, value []byte) error {
		if _, err := d.known.Load(value); err != nil {
			d.log.Warn("a kept record does not hold any more", "err", err) // such as one whose rules have changed
		}
		return nil
	})
}

// renewHeads keeps the heads of this device's groups fresh.
func renewHeads(ctx context.Context, t *groupTable) {
	ticker := time.NewTicker(renewEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			for _, g := range t.all() {
				g.publish(ctx)
			}
		}
	}
}

// publish announces in the DHT that this device is a member of a group. If its user is in
// the group's authority, it also publishes profile and head.
func (g *groupSession) publish(ctx context.Context) {
	st, err := g.status(ctx)
	if err != nil {
		return
	}
	switch st.State {
	case group.StateMember, group.StateSyncing:
	case group.StateOut:
		g.n.directory.publisher.Withdraw(g.id)
		return
	default:
		return
	}
	if g.genesis.Private {
		g.n.directory.publisher.Meet(g.id, g.meetAt())
		return
	}
	now := g.n.clock.now()
	g.n.directory.known.TakeBack(g.id, g.n.me.user.Public(), now)
	info := g.n.directory.known.Get(g.id)
	if info == nil {
		if info, err = discovery.New(g.genesis.Raw, now); err != nil {
			g.log.Error("the group's record cannot be made", "err", err)
			return
		}
	}
	if info, err = g.addOwnStatements(info, st, now); err != nil {
		g.log.Warn("the group's record cannot be renewed", "err", err)
	}
	if _, err := g.n.directory.publisher.Publish(info); err != nil {
		g.log.Warn("the group's record is not published", "err", err)
	}
}

// addOwnStatements puts into a record the statements that this device's user
// may make. All others, and those that the record has already, stay as they are.
func (g *groupSession) addOwnStatements(info *discovery.Info, st group.Status, now time.Time) (*discovery.Info, error) {
	me := g.n.me
	own := me.user.Public()
	if !slices.ContainsFunc(info.Authority, func(k wire.AuthorityKey) bool { return string(k.User) == string(own) }) {
		return info, nil
	}
	var errs []error
	take := func(next *discovery.Info, err error) {
		switch {
		case err == nil:
			info = next
		case !errors.Is(err, discovery.ErrStale):
			errs = append(errs, err)
		}
	}
	for _, item := range st.Profile {
		if string(item.Signer) == string(own) && item.Field != wire.FieldMailboxes { // that is for members alone
			at := hlc(item.HLC)
			if at.Ahead(now) > clock.Slack { // set while a clock was ahead; with that date everybody refuses it
				if info.Says(item) {
					continue
				}
				at = hlcOf(now)
			}
			take(info.SetProfile(me.user, at, item))
		}
	}
	fresh := slices.ContainsFunc(info.Heads, func(h discovery.Head) bool {
		return h.Device.ID == me.device.ID && now.Sub(hlc(h.HLC).Time()) < headEvery
	})
	if !fresh && len(st.TreeHash) == len(wire.Hash{}) {
		take(info.SetHead(me.device, me.log, hlcOf(now), wire.Head{
			Epoch: st.Epoch, EpochID: st.Position, TreeHash: wire.Hash(st.TreeHash), Members: uint64(st.Members), //nolint:gosec // a count
		}))
	}
	return info, errors.Join(errs...)
}

// rank looks for groups as find does, and gives all of them with the best first.
func (d *directory) rank(ctx context.Context, q discovery.Query) ([]discovery.Ranked, error) {
	all, err := d.finder.Rank(ctx, q)
	for i, r := range all {
		if best, _, err := d.known.Add(r.Info); err == nil {
			all[i].Info = best
		}
	}
	return all, err
}

// find looks for groups by the words of their names. Results come as they are
// found, until all sources were asked or ctx ends.
func (d *directory) find(ctx context.Context, within *life, q discovery.Query) (<-chan discovery.Result, error) {
	found, err := d.finder.Find(ctx, q)
	if err != nil {
		return nil, err
	}
	out := make(chan discovery.Result)
	if !within.start(func(life context.Context) {
		defer close(out)
		for r := range found { // ends with ctx, and when the finder closes
			if best, _, err := d.known.Add(r.Info); err == nil {
				r.Info = best
			}
			select {
			case out <- r:
			case <-ctx.Done():
			case <-life.Done():
			}
		}
	}) {
		return nil, ErrClosed
	}
	return out, nil
}

// lookup gives the public record of a group: the best of what the DHT has and what
// this node knows. errNotFound and errNoPeers say why there is none.
func (d *directory) lookup(ctx context.Context, id wire.GroupID) (*discovery.Info, error) {
	return looked(d.dht.Lookup(ctx, id))
}

// looked gives errors of a search the names of this package.
func looked(info *discovery.Info, err error) (*discovery.Info, error) {
	switch {
	case info != nil:
		return info, nil
	case errors.Is(err, discovery.ErrNotFound):
		return nil, fmt.Errorf("%w: %w", errNotFound, err)
	}
	return nil, err
}
