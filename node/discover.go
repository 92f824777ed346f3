package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/discovery"
	"github.com/pandanode/pandanode/node/admission"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// How often what this device says of a group is renewed, and how long a search for
// a group's record pauses.
const (
	headEvery     = time.Hour
	renewEvery    = 10 * time.Minute
	lookupTimeout = 30 * time.Second
	lookupRetry   = 2 * time.Second
	lookupMax     = time.Minute
	maxCandidates = 32
)

// discover starts everything of package discovery.
func (n *Node) discover() (err error) {
	bootstrap, err := n.cfg.bootstrap()
	if err != nil {
		return err
	}
	n.known = discovery.NewKnown(n.saveInfo)
	if err := n.loadInfos(); err != nil {
		return err
	}
	if n.dht, err = discovery.NewDHT(discovery.DHTConfig{
		Host: n.host, Mode: n.cfg.DHT, Bootstrap: bootstrap, Known: n.known, BucketSize: n.cfg.BucketSize,
		Walked: n.metrics.walked,
	}); err != nil {
		return err
	}
	if n.peers, err = discovery.NewPeers(discovery.PeersConfig{
		Host: n.host, Bootstrap: bootstrap, Book: peerBook{n}, Enough: admission.LowWater(n.cfg.Connections), Log: n.log.With("subsystem", "peers"),
	}); err != nil {
		return err
	}
	if n.cfg.MDNS {
		if n.mdns, err = discovery.StartMDNS(n.host, n.peers); err != nil {
			n.log.Warn("no peers will be found on the local network", "err", err)
		}
	}
	n.publisher = discovery.NewPublisher(discovery.PublisherConfig{DHT: n.dht})
	n.finder = discovery.NewFinder(discovery.FinderConfig{Host: n.host, DHT: n.dht, Peers: n.peers, Catalog: n.publisher, Admit: func(p peer.ID) bool { return n.limits.Opens(wire.ProtocolFind, p, admission.Unknown) }})
	n.life.start(n.renew)
	return nil
}

// peerBook keeps remembered peers in the node's store.
type peerBook struct{ n *Node }

// LoadPeers gives what SavePeer took.
func (b peerBook) LoadPeers() (map[string][]byte, error) {
	out := make(map[string][]byte)
	err := b.n.store.Scan([]byte(keyPeers), func(key, value []byte) error {
		out[string(key[len(keyPeers):])] = value
		return nil
	})
	return out, err
}

// SavePeer puts one value.
func (b peerBook) SavePeer(id string, value []byte) error {
	return b.n.apply(storage.Batch{Writes: []storage.Write{{Key: []byte(keyPeers + id), Value: value}}})
}

// DropPeer deletes one value.
func (b peerBook) DropPeer(id string) error {
	return b.n.apply(storage.Batch{Writes: []storage.Write{{Key: []byte(keyPeers + id)}}})
}

func (n *Node) closeDiscovery() error {
	var errs []error
	if n.mdns != nil {
		errs = append(errs, n.mdns.Close())
	}
	if n.finder != nil {
		n.finder.Close()
	}
	if n.publisher != nil {
		n.publisher.Close()
	}
	if n.peers != nil {
		errs = append(errs, n.peers.Close())
	}
	if n.dht != nil {
		errs = append(errs, n.dht.Close())
	}
	return errors.Join(errs...)
}

// saveInfo keeps the records of groups that this node has; what else it hears of
// lives in memory, since anyone can make records.
func (n *Node) saveInfo(id wire.GroupID, record []byte) {
	if n.groups.get(id) == nil {
		return
	}
	if err := n.apply(storage.Batch{Writes: []storage.Write{{Key: []byte(keyInfo + string(id[:])), Value: record}}}); err != nil {
		n.log.Warn("a group's record was not kept", "group", id, "err", err)
	}
}

func (n *Node) loadInfos() error {
	return n.store.Scan([]byte(keyInfo), func(_, value []byte) error {
		if _, err := n.known.Load(value, n.now()); err != nil {
			n.log.Warn("a kept record does not hold any more", "err", err) // such as one whose rules have changed
		}
		return nil
	})
}

// renew keeps the heads of this device's groups fresh.
func (n *Node) renew(ctx context.Context) {
	ticker := time.NewTicker(renewEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			for _, g := range n.groups.all() {
				g.publish(ctx)
			}
		}
	}
}

// publish says in the DHT what this device may say of a group it is a member of:
// that it is one, and, with a user in the group's authority, profile and head.
func (g *groupSession) publish(ctx context.Context) {
	st, err := g.status(ctx)
	if err != nil {
		return
	}
	switch st.State {
	case group.StateMember, group.StateSyncing:
	case group.StateOut:
		g.n.publisher.Withdraw(g.id)
		return
	default:
		return
	}
	if g.genesis.Private {
		g.n.publisher.Meet(g.id, g.meetAt())
		return
	}
	now := g.n.now()
	info := g.n.known.Get(g.id)
	if info == nil {
		if info, err = discovery.New(g.genesis.Raw, now); err != nil {
			g.log.Error("the group's record cannot be made", "err", err)
			return
		}
	}
	if info, err = g.addOwnStatements(info, st, now); err != nil {
		g.log.Warn("the group's record cannot be renewed", "err", err)
	}
	if _, err := g.n.publisher.Publish(info); err != nil {
		g.log.Warn("the group's record is not published", "err", err)
	}
}

// addOwnStatements puts into a record what this device's user may say. What it may not, or
// what the record has already, stays as it is.
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
			take(info.SetProfile(me.user, hlc(item.HLC), item))
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

// Find looks for groups by the words of their names. Results come as they are
// found, until all sources were asked or ctx ends.
func (n *Node) Find(ctx context.Context, q discovery.Query) (<-chan discovery.Result, error) {
	found, err := n.finder.Find(ctx, q)
	if err != nil {
		return nil, err
	}
	out := make(chan discovery.Result)
	if !n.life.start(func(life context.Context) {
		defer close(out)
		for r := range found { // ends with ctx, and when the finder closes
			if best, _, err := n.known.Add(r.Info); err == nil {
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

// Lookup gives the public record of a group: the best of what the DHT has and what
// this node knows. ErrNotFound and ErrNoPeers say why there is none.
func (n *Node) Lookup(ctx context.Context, id wire.GroupID) (*discovery.Info, error) {
	return looked(n.dht.Lookup(ctx, id))
}

// looked gives errors of a search the names of this package.
func looked(info *discovery.Info, err error) (*discovery.Info, error) {
	switch {
	case info != nil:
		return info, nil
	case errors.Is(err, discovery.ErrNotFound):
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return nil, err
}
