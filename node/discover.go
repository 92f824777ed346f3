package node

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/discovery"
	"github.com/pandanode/pandanode/node/admission"
	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/identity"
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
		g.mu.Lock()
		meets := slices.Clone(g.rendezvous)
		g.mu.Unlock()
		g.n.publisher.Meet(g.id, meets)
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

// lookup is a join whose group's genesis is not known yet.
type lookup struct {
	kick chan struct{} // holds one
	stop chan struct{} // closed when it is called off

	mu       sync.Mutex
	progress JoinProgress
}

// at is where the join stands.
func (l *lookup) at() JoinProgress {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.progress
}

// fails notes why the group was not found.
func (l *lookup) fails(why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.progress.Detail = why
}

// lookupRow says that a group is to be joined as soon as its record is found.
type lookupRow struct {
	Since uint64 `cbor:"1,keyasint"` // milliseconds since 1970
}

// Join asks to be let into a group. When it returns, the request is durable: the
// node goes on trying, also after a restart, until a member has answered. JoinProgress
// tells how far it is. Joining a group that one is in calls off a leave
// that waits, and else asks the members whether one still is; one that this device is out of, or waits to get
// into, is asked again at once.
func (n *Node) Join(ctx context.Context, id wire.GroupID) error {
	if g := n.groups.get(id); g != nil {
		st, err := g.status(ctx)
		switch {
		case err != nil:
			return err
		case st.State == group.StateOut || st.Leaving:
			if err := g.resume(); err != nil {
				return err
			}
			return g.askAgain(ctx, group.Join{})
		case st.State == group.StateNew:
			if err := g.resume(); err != nil {
				return err
			}
			return g.ask(ctx)
		case st.State != group.StateJoining:
			g.confirm(ctx)
			return nil
		}
		lapsed, err := look(ctx, n, id, func(m *group.Machine) bool { return m.JoinLapsed(n.now()) })
		if err != nil {
			return err
		}
		if lapsed {
			return g.askAgain(ctx, group.Join{})
		}
		g.joiner.again()
		return nil
	}
	if info := n.known.Get(id); info != nil {
		return n.join(ctx, info.Genesis, nil)
	}
	if n.groups.lookup(id) != nil {
		return nil
	}
	if err := n.put(keyLookup+string(id[:]), &lookupRow{Since: uint64(time.Now().UnixMilli())}); err != nil { //nolint:gosec // after 1970
		return err
	}
	return n.lookUp(id)
}

// JoinProgress tells how far the way into a group is.
func (n *Node) JoinProgress(ctx context.Context, id wire.GroupID) (JoinProgress, error) {
	if l := n.groups.lookup(id); l != nil {
		return l.at(), nil
	}
	g, err := n.groups.must(id)
	if err != nil {
		return JoinProgress{}, err
	}
	st, err := g.status(ctx)
	if err != nil {
		return JoinProgress{}, err
	}
	p := g.joiner.where()
	ended := g.hasEnded()
	switch st.State {
	case group.StateMember, group.StateSyncing, group.StateJoining:
	case group.StateNew, group.StateOut:
		if ended != "" {
			return JoinProgress{Stage: StageContacting, Detail: "denied: " + ended, Denied: true, Ended: true, Since: p.Since}, nil
		}
	}
	switch st.State {
	case group.StateMember:
		sure, err := g.sure(ctx, st)
		if err != nil {
			return JoinProgress{}, err
		}
		if !sure {
			return JoinProgress{Stage: StageContacting, Detail: unsure, Since: p.Since}, nil
		}
		if missing := g.missing(st); missing != "" {
			return JoinProgress{Stage: StageWelcomed, Detail: missing, Since: p.Since}, nil
		}
		return JoinProgress{Stage: StageSynced, Since: p.Since}, nil
	case group.StateSyncing:
		return JoinProgress{Stage: StageWelcomed, Detail: g.missing(st), Since: p.Since}, nil
	case group.StateOut:
		return JoinProgress{}, fmt.Errorf("%w: this device was removed from the group, or left it", ErrDenied)
	case group.StateNew, group.StateJoining:
	}
	if p.Stage == "" {
		p = JoinProgress{Stage: StageContacting, Since: n.opened}
	}
	return p, nil
}

// lookUp searches for a group's record until it is found, and joins the group then.
func (n *Node) lookUp(id wire.GroupID) error {
	l := &lookup{kick: make(chan struct{}, 1), stop: make(chan struct{}), progress: JoinProgress{Stage: StageLookingUp, Since: time.Now()}}
	if !n.groups.addLookup(id, l) {
		return nil
	}
	if !n.life.start(func(ctx context.Context) {
		for pause := lookupRetry; ctx.Err() == nil; {
			err := n.lookUpOnce(ctx, id, l)
			if err == nil {
				return
			}
			l.fails(api.Words(err.Error()))
			n.changed.wake()
			timer := time.NewTimer(pause)
			select {
			case <-ctx.Done():
			case <-timer.C:
				pause = min(2*pause, lookupMax)
			case <-l.kick: // whoever has connected since may not have told yet what it serves
				pause = lookupRetry
			case <-l.stop:
				timer.Stop()
				return
			}
			timer.Stop()
		}
	}) {
		return ErrClosed
	}
	return nil
}

func (n *Node) lookUpOnce(ctx context.Context, id wire.GroupID, l *lookup) error {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	info, err := looked(n.dht.First(ctx, id))
	if err != nil {
		return err
	}
	return n.join(ctx, info.Genesis, l)
}

// join has a group that this device is not in be asked, unless the lookup that found it
// was called off; nil: there was none.
func (n *Node) join(ctx context.Context, genesis *identity.Genesis, l *lookup) error {
	g, _, err := n.sessionOfJoiner(genesis, nil, l)
	if g == nil || err != nil {
		return err
	}
	return g.ask(ctx)
}

// sessionOfJoiner gives the group of a joiner. If this node does not have it, it makes it: its
// row first, so that a crash repeats the rest. The link is nil for one who has none, and
// so is the lookup; it gives nil if that was called off.
func (n *Node) sessionOfJoiner(genesis *identity.Genesis, link *wire.Link, l *lookup) (g *groupSession, made bool, err error) {
	n.joining.Lock() // of two at once the second finds the first's group
	defer n.joining.Unlock()
	if l != nil && n.groups.lookup(genesis.ID) != l {
		return n.groups.get(genesis.ID), false, nil
	}
	if g := n.groups.get(genesis.ID); g != nil {
		return g, false, nil
	}
	if err := n.comeIn(genesis.ID); err != nil {
		return nil, false, err
	}
	b := storage.Batch{Writes: []storage.Write{
		{Key: []byte(keyGroups + string(genesis.ID[:])), Value: wire.Marshal(&groupRow{Genesis: genesis.Raw, Link: link})},
		{Key: []byte(keyLookup + string(genesis.ID[:]))},
	}}
	if err := n.apply(b); err != nil {
		return nil, false, fmt.Errorf("%w: %w", ErrStore, err)
	}
	g = n.newSession(genesis)
	if link != nil {
		g.useLink(link)
	}
	if err := g.start(); err != nil {
		g.stop()
		return nil, false, err
	}
	n.adopt(g)
	return g, true, nil
}

// resumeJoins goes on with what Join accepted before a restart.
func (n *Node) resumeJoins(groups []*groupSession) error {
	for _, g := range groups {
		g.life.start(func(ctx context.Context) {
			if err := g.ask(ctx); err != nil && ctx.Err() == nil {
				g.log.Error("the join is not taken up again yet", "err", err)
			}
		})
	}
	var ids []wire.GroupID
	if err := n.store.ScanKeys([]byte(keyLookup), func(key []byte) error {
		if raw := key[len(keyLookup):]; len(raw) == len(wire.GroupID{}) {
			ids = append(ids, wire.GroupID(raw))
		}
		return nil
	}); err != nil {
		return fmt.Errorf("restoring the joins: %w", err)
	}
	for _, id := range ids {
		if err := n.lookUp(id); err != nil {
			return err
		}
	}
	return nil
}

// candidates are peers that are likely to be members, the likeliest first: those that
// an invite link or the public record names and that are connected, those in the link,
// those that say so in the DHT, then the rest of those in the record.
func (g *groupSession) candidates(ctx context.Context) iter.Seq[peer.AddrInfo] {
	named := []peer.ID{peer.ID(g.genesis.Device.Cert.Peer)}
	if info := g.n.known.Get(g.id); info != nil {
		for _, h := range info.Heads {
			named = append(named, peer.ID(h.Device.Cert.Peer))
		}
	}
	return func(yield func(peer.AddrInfo) bool) {
		seen := map[peer.ID]bool{g.n.host.ID(): true}
		next := func(p peer.AddrInfo) bool {
			if seen[p.ID] {
				return true
			}
			seen[p.ID] = true
			return len(seen) <= maxCandidates+1 && yield(p)
		}
		hints := g.hinted()
		for _, p := range hints {
			if g.n.isConnected(p.ID) && !next(p) {
				return
			}
		}
		for _, p := range named {
			if g.n.isConnected(p) && !next(peer.AddrInfo{ID: p}) {
				return
			}
		}
		for _, p := range hints {
			if !next(p) {
				return
			}
		}
		// Bounded apart from ctx, since what is found is used between two finds.
		search, cancel := context.WithCancel(ctx)
		defer cancel()
		if !g.genesis.Private {
			for p := range g.n.dht.Members(search, g.id) {
				if !next(p) {
					return
				}
			}
		}
		for _, secret := range g.rendezvousPoints() {
			for p := range g.n.dht.Meeting(search, secret) {
				if !next(p) {
					return
				}
			}
		}
		for _, p := range named {
			if seen[p] {
				continue
			}
			find, cancel := context.WithTimeout(ctx, lookupTimeout)
			info, err := g.n.dht.Kad().FindPeer(find, p)
			cancel()
			if err != nil {
				info = peer.AddrInfo{ID: p} // the peerstore may know better
			}
			if !next(info) {
				return
			}
		}
	}
}
