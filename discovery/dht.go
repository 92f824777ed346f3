package discovery

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	kbucket "github.com/libp2p/go-libp2p-kbucket"
	record "github.com/libp2p/go-libp2p-record"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/pandanode/pandanode/node/wire"
)

var (
	// ErrNoPeers says that the routing table is empty: this node is alone. Records to be
	// published are queued, not lost.
	ErrNoPeers = errors.New("no peers are connected")
	// ErrNotFound says that neither the DHT nor this node knows the group.
	ErrNotFound = errors.New("no record of the group was found")
	// ErrPrivate says that a record is of a group that is not to be published.
	ErrPrivate = errors.New("the group is private")
)

// Mode says whether a node serves the DHT or only uses it.
type Mode int

// Modes.
const (
	ModeAuto   Mode = iota // serve unless the node is known to be unreachable
	ModeServer             // always serve
	ModeClient             // never serve
)

// maxRecordAge is how long peers keep values and provider records. They are not
// republished for us.
const maxRecordAge = 48 * time.Hour

// DHTConfig configures a DHT. Host is needed; every other zero value is a default.
type DHTConfig struct {
	Host       host.Host
	Mode       Mode
	Bootstrap  []peer.AddrInfo  // dialled when the routing table is empty
	Known      *Known           // nil: a new one that is not saved
	BucketSize int              // k of Kademlia; 0 is 20. All nodes of a network want the same
	Refresh    time.Duration    // of the routing table; 0 is 10 minutes
	Clock      func() time.Time // to judge records by; nil is time.Now
	Walked     func(Walked)     // called after each walk; nil: nobody counts
}

// Walk is one kind of walk through the DHT.
type Walk string

// Walks.
const (
	walkLookup    Walk = "lookup"    // for all values of a group's record
	walkFirst     Walk = "first"     // for any value
	walkPublish   Walk = "publish"   // to merge, put and read back a record
	walkProvide   Walk = "provide"   // to announce this node
	walkProviders Walk = "providers" // for those who announced themselves
)

// Walks lists them.
var Walks = []Walk{walkLookup, walkFirst, walkPublish, walkProvide, walkProviders}

// Walked is a walk that ended.
type Walked struct {
	Walk Walk
	Took time.Duration
	Err  error // ErrNoPeers, ErrNotFound, that of a context, or another; nil: it came to its end
}

// DHT is the Kademlia table of all pandanodes, protocol prefix wire.ProtocolDHT.
type DHT struct {
	kad    *dht.IpfsDHT
	rpc    *pb.ProtocolMessenger
	val    *validator
	values *valueStore
	known  *Known
	sizes  sizes
	told   func(Walked)
}

// walk runs a walk and tells how long it took.
func (d *DHT) walk(w Walk, run func() error) {
	began := time.Now()
	err := run()
	d.told(Walked{w, time.Since(began), err})
}

// NewDHT joins the DHT. It returns at once; bootstrapping goes on behind.
func NewDHT(cfg DHTConfig) (*DHT, error) {
	if cfg.Known == nil {
		cfg.Known = NewKnown(nil)
	}
	if cfg.BucketSize == 0 {
		cfg.BucketSize = 20
	}
	if cfg.Refresh == 0 {
		cfg.Refresh = 10 * time.Minute
	}
	if cfg.Walked == nil {
		cfg.Walked = func(Walked) {}
	}
	mode, ok := map[Mode]dht.ModeOpt{ModeAuto: dht.ModeAutoServer, ModeServer: dht.ModeServer, ModeClient: dht.ModeClient}[cfg.Mode]
	if !ok {
		return nil, fmt.Errorf("starting the DHT: unknown mode %d", cfg.Mode)
	}
	val := newValidator(cfg.Known, cfg.Clock)
	values := newValueStore(maxStoreEntries, maxStoreBytes, func(key string, value []byte) holder {
		return val.intake.bringerOf(recordID(key, value))
	})
	kad, err := dht.New(context.Background(), cfg.Host,
		dht.ProtocolPrefix(wire.ProtocolDHT),
		dht.Validator(record.NamespacedValidator{namespace: val}),
		dht.Mode(mode),
		dht.BucketSize(cfg.BucketSize),
		dht.RoutingTableRefreshPeriod(cfg.Refresh),
		dht.MaxRecordAge(maxRecordAge),
		dht.Datastore(values),
		dht.ProviderStore(newProviderTable(cfg.Host, maxProvided)),
		dht.OnRequestHook(val.intake.watch(cfg.Host)),
		dht.WithCustomMessageSender(newSender),
		dht.BootstrapPeers(cfg.Bootstrap...),
	)
	if err != nil {
		return nil, fmt.Errorf("starting the DHT: %w", err)
	}
	rpc, err := pb.NewProtocolMessenger(kad.MessageSender())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting the DHT: %w", err), kad.Close())
	}
	if err := kad.Bootstrap(context.Background()); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the DHT: %w", err), kad.Close())
	}
	return &DHT{kad: kad, rpc: rpc, val: val, values: values, known: cfg.Known, told: cfg.Walked}, nil
}

// Close leaves the DHT and ends its goroutines. Close it before the host.
func (d *DHT) Close() error { return d.kad.Close() }

// Size is the number of peers in the routing table.
func (d *DHT) Size() int { return d.kad.RoutingTable().Size() }

// Serving says whether other nodes are served, in ModeAuto as it is now.
func (d *DHT) Serving() bool { return d.kad.Mode() == dht.ModeServer }

// Kad is the DHT as libp2p's interfaces want it, for GossipSub's discovery.
func (d *DHT) Kad() *dht.IpfsDHT { return d.kad }

const rpcTimeout = 10 * time.Second

// held is the value that a peer holds under a key. info is nil if there is none that can be
// used.
type held struct {
	peer  peer.ID
	info  *Info
	ahead *Info // instead of info: a record whose dates lie ahead of this clock
	near  bool  // it is one of the peers nearest to the key, which should hold it
}

// read asks each of the peers nearest to the group's key for its value: all of them, since
// SearchValue shows only values that rank higher than the one before, and a merge wants
// those that rank lower too. It asks connected peers as well: one of them may be a member
// of the group, and still have a record that the nearest peers have lost.
func (d *DHT) read(ctx context.Context, g wire.GroupID) ([]held, error) {
	key := recordKey(g)
	if d.Size() == 0 {
		return nil, ErrNoPeers
	}
	near, err := d.kad.GetClosestPeers(ctx, key)
	switch {
	case errors.Is(err, kbucket.ErrLookupFailure), err == nil && len(near) == 0:
		return nil, ErrNoPeers
	case err != nil:
		return nil, fmt.Errorf("looking for the peers nearest to %v: %w", g, err)
	}
	d.sizes.note(key, near)
	var out []held
	for _, p := range near {
		out = append(out, held{peer: p, near: true})
	}
	for _, p := range d.connected(near) {
		out = append(out, held{peer: p})
	}
	var wg sync.WaitGroup
	for n := range out {
		wg.Go(func() { out[n].info, out[n].ahead = d.ask(ctx, out[n].peer, g) })
	}
	wg.Wait()
	return out, ctx.Err()
}

// ask returns the record that a peer holds, in ahead if its dates lie ahead of this clock.
// A peer that does not answer, or answers with rubbish, holds nothing.
func (d *DHT) ask(ctx context.Context, p peer.ID, g wire.GroupID) (i, ahead *Info) {
	ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
	defer cancel()
	rec, _, err := d.rpc.GetValue(ctx, p, recordKey(g))
	if err != nil || rec == nil {
		return nil, nil
	}
	if i, err = d.val.judge(recordKey(g), rec.GetValue()); errors.Is(err, errFuture) {
		return nil, d.val.timeless(g, rec.GetValue())
	}
	return i, nil
}

// maxConnected is how many connected peers are asked beside those that are nearest.
const maxConnected = 16

// connected returns connected peers that serve the DHT, drawn at random, except those in
// without.
func (d *DHT) connected(without []peer.ID) []peer.ID {
	all := d.kad.Host().Network().Peers()
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] }) //nolint:gosec // no secret
	var out []peer.ID
	for _, p := range all {
		if len(out) == maxConnected {
			break
		}
		serves, err := d.kad.Host().Peerstore().SupportsProtocols(p, wire.ProtocolDHT+"/kad/1.0.0")
		if err == nil && len(serves) > 0 && !slices.Contains(without, p) {
			out = append(out, p)
		}
	}
	return out
}

// Lookup returns the best record of a group, collected from all values in the DHT and the
// record that this node knows already. It remembers the result, and puts it back at peers
// that held less. Without peers it returns the known record together with ErrNoPeers.
// ErrNotFound says that there is no record.
func (d *DHT) Lookup(ctx context.Context, g wire.GroupID) (*Info, error) {
	var i *Info
	var err error
	d.walk(walkLookup, func() error { i, _, err = d.lookup(ctx, g); return err })
	return i, err
}

// First returns the first record of a group that it finds; the genesis is the same in all
// of them. Unlike Lookup it does not wait for other peers, such as those behind a cut,
// which seem alive for half a minute. Errors as Lookup.
func (d *DHT) First(ctx context.Context, g wire.GroupID) (i *Info, err error) {
	d.walk(walkFirst, func() error { i, err = d.first(ctx, g); return err })
	return i, err
}

func (d *DHT) first(ctx context.Context, g wire.GroupID) (*Info, error) {
	if d.Size() == 0 {
		return d.known.Get(g), ErrNoPeers
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	found := make(chan *Info, maxConnected)
	var asked sync.WaitGroup
	for _, p := range d.connected(nil) {
		asked.Go(func() {
			if i, _ := d.ask(ctx, p, g); i != nil {
				found <- i
			}
		})
	}
	defer asked.Wait()
	defer cancel()
	values, err := d.kad.SearchValue(ctx, recordKey(g))
	switch {
	case errors.Is(err, kbucket.ErrLookupFailure):
		return d.known.Get(g), ErrNoPeers
	case err != nil:
		return d.known.Get(g), fmt.Errorf("looking for %v: %w", g, err)
	}
	for values != nil {
		select {
		case v, more := <-values:
			if !more {
				values = nil
				continue
			}
			info, err := d.val.judge(recordKey(g), v)
			if err != nil {
				continue
			}
			best, _, err := d.known.Add(info)
			return best, err
		case info := <-found:
			best, _, err := d.known.Add(info)
			return best, err
		}
	}
	asked.Wait() // each within rpcTimeout
	select {
	case info := <-found:
		best, _, err := d.known.Add(info)
		return best, err
	default:
	}
	if err := ctx.Err(); err != nil {
		return d.known.Get(g), err
	}
	if k := d.known.Get(g); k != nil {
		return k, nil
	}
	i, _, err := d.lookup(ctx, g) // SearchValue passes over what lies ahead of this clock
	return i, err
}

// lookup also says how many peers held a record.
func (d *DHT) lookup(ctx context.Context, g wire.GroupID) (*Info, int, error) {
	all, err := d.read(ctx, g)
	if err != nil {
		return d.known.Get(g), 0, err
	}
	values, holders := infos(all), holding(all)
	if len(values) == 0 {
		if k := d.known.Get(g); k != nil {
			return k, 0, nil
		}
		for _, h := range all {
			if h.ahead != nil {
				return h.ahead, 0, nil
			}
		}
		return nil, 0, fmt.Errorf("%w: %v", ErrNotFound, g)
	}
	best, _, err := d.known.Add(values...)
	if err != nil {
		return nil, 0, err
	}
	d.putBack(ctx, best, all)
	return best, holders, nil
}

// holding counts those of the nearest peers that hold a record.
func holding(all []held) (n int) {
	for _, h := range all {
		if h.near && h.info != nil {
			n++
		}
	}
	return n
}

func infos(all []held) []*Info {
	var out []*Info
	for _, h := range all {
		if h.info != nil {
			out = append(out, h.info)
		}
	}
	return out
}

// putBack sends the record to peers that hold another one. It ignores failures.
func (d *DHT) putBack(ctx context.Context, best *Info, all []held) {
	rec := record.MakePutRecord(recordKey(best.Group), best.Bytes())
	var wg sync.WaitGroup
	for _, h := range all {
		if !h.near || h.info != nil && h.info.equal(best) {
			continue
		}
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
			defer cancel()
			_ = d.rpc.PutValue(ctx, h.peer, rec)
		})
	}
	wg.Wait()
}

// publishRounds bounds how often publish starts over because others published meanwhile.
const publishRounds = 3

// put is the result of publishing a record.
type put struct {
	best    *Info
	before  int // of the nearest peers, how many held a record of the group already
	holders int // how many hold exactly this one now
}

// publish reads all values, merges them with what is known, puts the result and reads it
// back.
func (d *DHT) publish(ctx context.Context, g wire.GroupID) (p put, err error) {
	d.walk(walkPublish, func() error { p, err = d.mergeAndPut(ctx, g); return err })
	return p, err
}

func (d *DHT) mergeAndPut(ctx context.Context, g wire.GroupID) (p put, err error) {
	for round := range publishRounds {
		all, err := d.read(ctx, g)
		if err != nil {
			return p, err
		}
		if round == 0 {
			p.before = holding(all)
		}
		k := d.known.Get(g)
		if k == nil {
			return put{}, fmt.Errorf("%w: %v", ErrNotFound, g)
		}
		best, _, err := d.known.Add(append(infos(all), k)...)
		if err != nil {
			return put{}, err
		}
		p.best = best
		// Also stores it here. It fails if we were given something better meanwhile,
		// which known has noted: the next round has it.
		if err := d.kad.PutValue(ctx, recordKey(g), best.Bytes()); err != nil {
			if ctx.Err() != nil || errors.Is(err, kbucket.ErrLookupFailure) {
				return p, errors.Join(ErrNoPeers, err)
			}
			continue
		}
		all, err = d.read(ctx, g)
		if err != nil {
			return p, err
		}
		holders, more := 0, d.known.hasNews(g)
		for _, h := range all {
			switch {
			case h.info == nil || !h.near:
			case h.info.equal(best):
				holders++
			default:
				more = more || adds(best, h.info)
			}
		}
		if !more && holders > 0 {
			p.holders = holders
			return p, nil
		}
	}
	return p, fmt.Errorf("publishing the record of %v: it was not read back from any peer", g)
}

// provide announces this node as a provider of c.
func (d *DHT) provide(ctx context.Context, c cid.Cid) error {
	return d.announce(ctx, c, func([]peer.ID) float64 { return 1 })
}

// provideSeldom is the same for a key that many announce: the more do, the less often this
// node does.
func (d *DHT) provideSeldom(ctx context.Context, c cid.Cid) error {
	return d.announce(ctx, c, func(near []peer.ID) float64 { return ShareOfCrowd(d.crowd(ctx, c, near)) })
}

// announce tells the peers nearest to c that this node provides it, with the chance that
// share gives. It notes it here in any case, for connected peers that ask.
func (d *DHT) announce(ctx context.Context, c cid.Cid, share func(near []peer.ID) float64) error {
	var err error
	d.walk(walkProvide, func() error {
		err = d.kad.Provide(ctx, c, false)
		if err != nil {
			return err
		}
		var near []peer.ID
		near, err = d.kad.GetClosestPeers(ctx, string(c.Hash()))
		if err != nil {
			return err
		}
		d.sizes.note(string(c.Hash()), near)
		if rand.Float64() >= share(near) { //nolint:gosec // no secret
			return nil
		}
		self := peer.AddrInfo{ID: d.kad.PeerID(), Addrs: d.kad.FilteredAddrs()}
		var told sync.WaitGroup
		for _, p := range near {
			told.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, putTimeout)
				defer cancel()
				_ = d.rpc.PutProviderAddrs(ctx, p, c.Hash(), self) // others of them take it
			})
		}
		told.Wait()
		err = ctx.Err()
		return err
	})
	if errors.Is(err, kbucket.ErrLookupFailure) {
		return errors.Join(ErrNoPeers, err)
	}
	return err
}

// putTimeout is how long one peer may take for a provider record, as in kad-dht.
const putTimeout = 30 * time.Second

// providers streams peers that announced c, never this node. It takes maxProviders from the
// walk, and besides a few from each connected peer that it asks: so a single one that names
// peers that are not there does not hide those whom others name.
func (d *DHT) providers(ctx context.Context, c cid.Cid) <-chan peer.AddrInfo {
	out := make(chan peer.AddrInfo)
	go func() {
		defer close(out)
		d.walk(walkProviders, func() error {
			var mu sync.Mutex
			seen := map[peer.ID]bool{d.kad.PeerID(): true}
			give := func(p peer.AddrInfo) {
				mu.Lock()
				again := seen[p.ID]
				seen[p.ID] = true
				mu.Unlock()
				if again {
					return
				}
				select {
				case out <- p:
				case <-ctx.Done(): // the ranges below end by themselves
				}
			}
			var asked sync.WaitGroup
			for _, p := range d.connected(nil) { // see read
				asked.Go(func() {
					ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
					defer cancel()
					list, _, err := d.rpc.GetProviders(ctx, p, c.Hash())
					if err != nil {
						return
					}
					for _, who := range list[:min(len(list), maxNamed)] {
						give(*who)
					}
				})
			}
			for p := range d.kad.FindProvidersAsync(ctx, c, maxProviders) {
				give(p)
			}
			asked.Wait()
			return ctx.Err()
		})
	}()
	return out
}

// Members streams peers that say they are members of the group. Whether a peer is a member
// shows only when it is talked to.
func (d *DHT) Members(ctx context.Context, g wire.GroupID) <-chan peer.AddrInfo {
	return d.providers(ctx, membersCID(g))
}

// Meeting streams peers that know a private group's secret.
func (d *DHT) Meeting(ctx context.Context, s wire.MeetSecret) <-chan peer.AddrInfo {
	return d.providers(ctx, rendezvousCID(s))
}

// ProvideMailbox announces this node as a mailbox, for 48 h. Error: ErrNoPeers.
func (d *DHT) ProvideMailbox(ctx context.Context) error {
	return d.provide(ctx, mailboxCID(d.own(fewOffer)))
}

// Mailboxes streams peers that say they are mailboxes: some of them, if there are many.
func (d *DHT) Mailboxes(ctx context.Context) <-chan peer.AddrInfo {
	return d.anyOf(ctx, mailboxCID, fewOffer)
}

// Locate returns a peer with its addresses, which it looks up if none are known.
func (d *DHT) Locate(ctx context.Context, p peer.AddrInfo) (peer.AddrInfo, error) {
	return d.withAddrs(ctx, p)
}

const (
	maxProviders = 64
	maxNamed     = 16 // of what one connected peer names
)

// withAddrs looks up the addresses of a provider that came without.
func (d *DHT) withAddrs(ctx context.Context, p peer.AddrInfo) (peer.AddrInfo, error) {
	if len(p.Addrs) > 0 || len(d.kad.Host().Peerstore().Addrs(p.ID)) > 0 {
		return p, nil
	}
	return d.kad.FindPeer(ctx, p.ID)
}
