package discovery

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/pandanode/pandanode/node/wire"
)

// Query says which groups to find. The zero value finds every public group.
type Query struct {
	Name       string    // words that the name must contain, in any order; a star stands for any letters of a word
	Tag        string    // that the group must have; empty: any
	MinMembers uint64    // as the newest head tells it, rounded
	MaxMembers uint64    // 0: any number
	After      time.Time // the genesis is of that moment or later
	Limit      int       // of groups; 0 is 64
}

// matches says whether a group matches the query.
func (q *preparedQuery) matches(i *Info) bool {
	m := i.Members()
	return q.name.matches(i.Name) && (q.tag == "" || slices.ContainsFunc(i.Tags, func(t string) bool { return tagText(t) == q.tag })) &&
		m >= q.MinMembers && (q.MaxMembers == 0 || m <= q.MaxMembers) && i.Genesis.Created >= q.after()
}

func (q *preparedQuery) after() uint64 {
	if q.After.IsZero() {
		return 0
	}
	return uint64(max(q.After.UnixMilli(), 0)) //nolint:gosec // not negative
}

// preparedQuery is a Query made ready.
type preparedQuery struct {
	Query
	name pattern
	tag  string
}

func (q Query) prepare() *preparedQuery {
	return &preparedQuery{Query: q, name: parsePattern(q.Name), tag: tagText(q.Tag)}
}

// Fits says whether a group matches the query.
func (q Query) Fits(i *Info) bool { return q.prepare().matches(i) }

// request is the query as it travels.
func (q *preparedQuery) request() *wire.FindRequest {
	return &wire.FindRequest{
		V: wire.Version, Name: q.name.String(), Limit: uint64(q.Limit), Tag: q.tag, MinMembers: q.MinMembers, MaxMembers: q.MaxMembers, After: q.after(), //nolint:gosec // positive
	}
}

// Result is a group that was found. Its record has been verified. A group comes
// once for each source that gave it, and again when a later answer knew more.
type Result struct {
	Info   *Info
	Source Source
	From   peer.ID
	InDHT  bool // the DHT held a record too; it is merged into Info
}

// Catalog is the public groups that this node can tell others about; a Publisher is one.
type Catalog interface {
	PublicGroups() []*Info
}

// FinderConfig configures a Finder. Peers may be nil; then no peer is known to come from
// mDNS. Catalog may be nil; then this node answers with nothing. Admit says whether a peer
// may search now; nil: every peer may.
type FinderConfig struct {
	Host    host.Host
	DHT     *DHT
	Peers   *Peers
	Catalog Catalog
	Admit   func(peer.ID) bool
}

// Finder finds groups by name and answers others who do.
type Finder struct {
	cfg     FinderConfig
	serving chan struct{}
	ctx     context.Context //nolint:containedctx // ends the handlers of incoming streams, which libp2p gives no context
	cancel  context.CancelFunc
	running sync.WaitGroup
}

const (
	defaultLimit = 64
	maxServing   = 32 // incoming searches at once
	maxAsking    = 8  // peers that begin to be asked at once by one search
	askTurn      = 250 * time.Millisecond
	askSilent    = 4 * time.Second // from the request to the first word
	askTimeout   = 15 * time.Second
	checkTimeout = 20 * time.Second
)

// NewFinder starts answering. Close it before the DHT.
func NewFinder(cfg FinderConfig) *Finder {
	f := &Finder{cfg: cfg, serving: make(chan struct{}, maxServing)}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	cfg.Host.SetStreamHandler(wire.ProtocolFind, f.handle)
	return f
}

// Close stops answering and waits for the searches that still run.
func (f *Finder) Close() {
	f.cfg.Host.RemoveStreamHandler(wire.ProtocolFind)
	f.cancel()
	f.running.Wait()
}

// handle answers one search: a request, then a reply for each group that fits.
func (f *Finder) handle(s network.Stream) {
	if f.cfg.Admit != nil && !f.cfg.Admit(s.Conn().RemotePeer()) {
		_ = s.Reset()
		return
	}
	select {
	case f.serving <- struct{}{}:
		defer func() { <-f.serving }()
	default:
		_ = s.Reset() // busy; others can answer
		return
	}
	if f.ctx.Err() != nil || f.answer(s) != nil {
		_ = s.Reset()
		return
	}
	_ = s.Close()
}

func (f *Finder) answer(s network.Stream) error {
	if err := s.SetDeadline(time.Now().Add(askTimeout)); err != nil {
		return err
	}
	var req wire.FindRequest
	if err := wire.ReadFrame(io.LimitReader(s, wire.MaxQuery+64), &req); err != nil {
		return err
	}
	if f.cfg.Catalog == nil {
		return nil
	}
	q := Query{Name: req.Name, Tag: req.Tag, MinMembers: req.MinMembers, MaxMembers: req.MaxMembers}
	if req.After > 0 {
		q.After = time.UnixMilli(int64(min(req.After, math.MaxInt64))) //nolint:gosec // not above
	}
	want, left := q.prepare(), min(req.Limit, defaultLimit)
	for _, i := range f.cfg.Catalog.PublicGroups() {
		if left == 0 {
			break
		}
		if !want.matches(i) {
			continue
		}
		left--
		if err := wire.WriteFrame(s, &wire.FindReply{PublicInfo: i.Bytes()}); err != nil {
			return err
		}
	}
	return nil
}

// ask asks one peer. Records that do not verify, or do not fit, are left out.
func (f *Finder) ask(ctx context.Context, p peer.AddrInfo, q *preparedQuery) ([]*Info, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	p, err := f.cfg.DHT.withAddrs(ctx, p)
	if err != nil {
		return nil, fmt.Errorf("finding the addresses of %s: %w", p.ID, err)
	}
	if err := f.cfg.Host.Connect(ctx, p); err != nil {
		return nil, fmt.Errorf("reaching %s: %w", p.ID, err)
	}
	s, err := f.cfg.Host.NewStream(network.WithAllowLimitedConn(ctx, "find"), p.ID, wire.ProtocolFind)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", p.ID, err)
	}
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	defer s.Close()
	if err := wire.WriteFrame(s, q.request()); err != nil {
		return nil, fmt.Errorf("asking %s: %w", p.ID, err)
	}
	_ = s.CloseWrite()
	silent := time.AfterFunc(askSilent, func() { _ = s.Reset() })
	defer silent.Stop()
	var out []*Info
	r := io.LimitReader(s, int64(q.Limit)*(wire.MaxPublicInfo+64))
	for range q.Limit {
		var reply wire.FindReply
		if err := wire.ReadFrame(r, &reply); err != nil {
			if err == io.EOF { //nolint:errorlint // ReadFrame's word for the end between frames
				break
			}
			return out, fmt.Errorf("asking %s: %w", p.ID, err)
		}
		silent.Stop()
		i, err := verifyAny(reply.PublicInfo, f.cfg.DHT.val.now())
		if errors.Is(err, errFuture) {
			if i, err = verifyAny(reply.PublicInfo, noClock); err == nil && f.cfg.DHT.known.Get(i.Group) != nil {
				continue // it is known otherwise
			}
		}
		if err != nil || !q.matches(i) {
			continue
		}
		out = append(out, i)
	}
	return out, nil
}

// Find looks for groups. It asks connected peers, and the providers that the DHT has for
// the words of the name, their pairs and the tag, or some for all public groups if those
// find nothing. Each answer is verified, and checked against the record in the DHT. Results come as they are
// found; the channel is closed when all were asked, the limit is reached, ctx is done or
// the Finder is closed. Drain it or cancel ctx.
func (f *Finder) Find(ctx context.Context, q Query) (<-chan Result, error) {
	if q.Limit <= 0 || q.Limit > wire.MaxFindLimit {
		q.Limit = defaultLimit
	}
	s, err := f.start(ctx, q, q.Limit, nil)
	if err != nil {
		return nil, err
	}
	return s.out, nil
}

// start begins a search for at most so many groups, which ends with ctx, and when the Finder
// is closed. Its channel is closed when it has ended.
func (f *Finder) start(ctx context.Context, q Query, most int, ofPlace map[string]int) (*search, error) {
	if len(q.Name)+len(q.Tag) > wire.MaxQuery {
		return nil, fmt.Errorf("%w: a search of %d bytes, at most %d", wire.ErrTooLarge, len(q.Name)+len(q.Tag), wire.MaxQuery)
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(f.ctx, cancel)
	s := &search{
		f: f, q: q.prepare(), out: make(chan Result), most: most, ofPlace: ofPlace,
		turns: make(chan struct{}, maxAsking), asked: make(map[peer.ID]*asked), groups: make(map[wire.GroupID]*finding),
	}
	f.running.Go(func() {
		defer close(s.out)
		defer stop()
		defer cancel()
		s.run(ctx)
	})
	return s, nil
}

// search is one Find.
type search struct {
	f     *Finder
	q     *preparedQuery
	out   chan Result
	turns chan struct{}
	most  int // groups

	mu      sync.Mutex
	ofPlace map[string]int // groups that a place told of first, in a ranked search; nil: they are not bounded
	asked   map[peer.ID]*asked
	groups  map[wire.GroupID]*finding
}

// asked is a peer's answer; a peer that two sources name is asked once.
type asked struct {
	done  chan struct{}
	infos []*Info
}

// finding holds the facts that a search has about one group. The search's lock guards all
// fields but checked. It is never held across a wait: that would stop time in a synctest
// bubble.
type finding struct {
	checked chan struct{} // closed when the DHT was asked, once
	inDHT   bool
	best    *Info
	sources []Source
	places  map[string]bool // where the peers are that told of it
}

func (s *search) run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, p := range s.f.cfg.Host.Network().Peers() {
		if ok, err := s.f.cfg.Host.Peerstore().SupportsProtocols(p, wire.ProtocolFind); err != nil || len(ok) == 0 {
			continue
		}
		source := SourceConnected
		if s.f.cfg.Peers != nil && s.f.cfg.Peers.Source(p) == sourceMDNS {
			source = sourceMDNS
		}
		wg.Go(func() { s.visit(ctx, peer.AddrInfo{ID: p}, source) })
	}
	wg.Go(func() { s.askProviders(ctx) })
	wg.Wait()
}

// keys are those whose providers are asked: what those that match it announce of it.
func (q *preparedQuery) keys() []cid.Cid {
	keys := pairCIDs(q.name.words)
	for _, w := range q.name.words {
		keys = append(keys, wordCID(w))
	}
	if q.tag != "" {
		keys = append(keys, tagCID(q.tag))
	}
	return keys
}

func (s *search) askProviders(ctx context.Context) {
	var wg sync.WaitGroup
	for _, key := range s.q.keys() {
		wg.Go(func() {
			for p := range s.f.cfg.DHT.providers(ctx, key) {
				wg.Go(func() { s.visit(ctx, p, SourceDHT) })
			}
		})
	}
	wg.Wait()
	if s.found(SourceDHT) {
		return
	}
	for p := range s.f.cfg.DHT.anyOf(ctx, publicCID, 1) {
		wg.Go(func() { s.visit(ctx, p, SourceDHT) })
	}
	wg.Wait()
}

func (s *search) found(by Source) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.groups {
		if slices.Contains(g.sources, by) {
			return true
		}
	}
	return false
}

// visit asks a peer, once, and reports its groups under this source. A peer that takes its
// time gives its turn to others meanwhile: any number of peers may be silent on purpose.
func (s *search) visit(ctx context.Context, p peer.AddrInfo, source Source) {
	if peers := s.f.cfg.Peers; peers != nil && source == SourceDHT {
		peers.Found(p, SourceDHT)
	}
	s.mu.Lock()
	a, ok := s.asked[p.ID]
	if !ok {
		a = &asked{done: make(chan struct{})}
		s.asked[p.ID] = a
	}
	s.mu.Unlock()
	if !ok {
		select {
		case s.turns <- struct{}{}:
			over := sync.OnceFunc(func() { <-s.turns })
			turn := time.AfterFunc(askTurn, over)
			a.infos, _ = s.f.ask(ctx, p, s.q) // one peer's failure is not the search's
			turn.Stop()
			over()
		case <-ctx.Done():
		}
		close(a.done)
	}
	select {
	case <-a.done:
	case <-ctx.Done():
		return
	}
	for _, i := range a.infos {
		s.report(ctx, p.ID, i, source)
	}
}

// report gives a group to the reader, if it is the first from this source or tells more.
func (s *search) report(ctx context.Context, from peer.ID, i *Info, source Source) {
	place := placeOf(s.f.cfg.Host, from)
	s.mu.Lock()
	g, ok := s.groups[i.Group]
	if !ok {
		if len(s.groups) == s.most || s.ofPlace[place] == placeGroups {
			s.mu.Unlock()
			return
		}
		if s.ofPlace != nil {
			s.ofPlace[place]++
		}
		g = &finding{checked: make(chan struct{}), best: i, places: make(map[string]bool)}
		s.groups[i.Group] = g
	}
	g.places[place] = true
	s.mu.Unlock()

	if !ok {
		best, inDHT := s.check(ctx, i)
		s.mu.Lock()
		g.best, g.inDHT = best, inDHT
		s.mu.Unlock()
		close(g.checked)
	}
	select {
	case <-g.checked:
	case <-ctx.Done():
		return
	}
	if r, ok := s.take(g, i, source); ok {
		r.From = from
		select {
		case s.out <- r:
		case <-ctx.Done():
		}
	}
}

// take collects an answer into a finding, and says whether it is worth a result.
func (s *search) take(g *finding, i *Info, source Source) (Result, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	best, err := collect(i, g.best)
	if err != nil || !s.q.matches(best) { // the newer record is another
		return Result{}, false
	}
	known := slices.Contains(g.sources, source)
	if known && best.equal(g.best) {
		return Result{}, false
	}
	g.best = best
	if !known {
		g.sources = append(g.sources, source)
	}
	return Result{Info: best, Source: source, InDHT: g.inDHT}, true
}

// check collects what the DHT holds of the group into i.
func (s *search) check(ctx context.Context, i *Info) (*Info, bool) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	best, holders, err := s.f.cfg.DHT.lookup(ctx, i.Group)
	if err != nil || best == nil {
		return i, false
	}
	if c, err := collect(best, i); err == nil {
		best = c
	}
	return best, holders > 0
}
