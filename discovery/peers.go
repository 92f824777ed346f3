package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/multiformats/go-multiaddr"
)

// PeerBook keeps small values between runs: one for each remembered peer, under
// its binary peer ID. The values are this package's own.
type PeerBook interface {
	LoadPeers() (map[string][]byte, error)
	SavePeer(id string, value []byte) error
	DropPeer(id string) error
}

// PeersConfig configures Peers. Book may be nil: nothing is kept between runs.
type PeersConfig struct {
	Host      host.Host
	Bootstrap []peer.AddrInfo
	Book      PeerBook
	Enough    int          // connections with which the node needs no new ones; 0: no number is enough
	Log       *slog.Logger // nil is slog.Default
}

// Peers remembers peers and keeps dialling them. libp2p alone does not: after a cut of more
// than about ten minutes it has forgotten the addresses, and the two halves stay apart.
// Every redialEvery, give or take a tenth, Peers dials up to four known peers without a
// connection. With connections enough it dials one member, and without any connection it
// dials many peers, more often. When a peer answers that had not for a while, it tries the
// others at once.
type Peers struct {
	cfg    PeersConfig
	sub    event.Subscription
	cancel context.CancelFunc
	done   chan struct{}
	kick   chan struct{}

	mu   sync.Mutex
	book book
}

// SourceCount counts the peers that one source has contributed.
type SourceCount struct {
	Known     int // peers that it named first
	Worked    int // of those, connected at some time in this run
	Connected int // of those, connected now
}

const dialTimeout = 10 * time.Second

// The book is written once a minute. A peer that was reached is written soon: a node that
// crashes before may have no other way back. A burst of peers makes one round of writes.
const (
	storeEvery = time.Minute
	storeSoon  = time.Second
	storeGap   = 5 * time.Second // between two rounds
)

// NewPeers loads the book and starts dialling. Unreadable values are dropped.
func NewPeers(cfg PeersConfig) (*Peers, error) {
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	p := &Peers{cfg: cfg, done: make(chan struct{}), kick: make(chan struct{}, 1), book: book{peers: make(map[peer.ID]*entry)}}
	now := time.Now()
	if cfg.Book != nil {
		values, err := cfg.Book.LoadPeers()
		if err != nil {
			return nil, fmt.Errorf("loading remembered peers: %w", err)
		}
		for id, v := range values {
			e, err := decodeEntry(id, v)
			if err != nil {
				cfg.Log.Warn("forgetting a remembered peer", "err", err)
				if err := cfg.Book.DropPeer(id); err != nil {
					return nil, fmt.Errorf("forgetting a remembered peer: %w", err)
				}
				continue
			}
			p.book.peers[e.info.ID] = e
		}
	}
	for _, b := range cfg.Bootstrap {
		p.book.note(b, sourceBootstrap, now)
	}
	delete(p.book.peers, cfg.Host.ID())
	var err error
	p.sub, err = cfg.Host.EventBus().Subscribe([]any{new(event.EvtPeerIdentificationCompleted), new(event.EvtPeerConnectednessChanged)}, eventbus.BufSize(256))
	if err != nil {
		return nil, fmt.Errorf("watching connections: %w", err)
	}
	for _, id := range cfg.Host.Network().Peers() {
		p.arrived(id, nil, nil)
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	go p.run(ctx)
	return p, nil
}

// Close stops dialling and stores what changed.
func (p *Peers) Close() error {
	p.cancel()
	<-p.done
	p.mu.Lock()
	for _, id := range p.cfg.Host.Network().Peers() {
		p.book.gone(id, time.Now())
	}
	p.mu.Unlock()
	return errors.Join(p.sub.Close(), p.store())
}

// Found adds a peer that a source named. A peer on the local network is dialled at once.
// Others wait for their turn, so that many new peers cause no burst of dials.
func (p *Peers) Found(info peer.AddrInfo, source Source) {
	if info.ID == p.cfg.Host.ID() {
		return
	}
	p.mu.Lock()
	e := p.book.note(info, source, time.Now())
	fresh := e.fails == 0 && !e.worked
	p.mu.Unlock()
	if fresh && source == sourceMDNS {
		p.wake()
	}
}

// Member says that a peer is, or no longer is, in a group of ours: members are
// dialled first.
func (p *Peers) Member(id peer.ID, member bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.book.peers[id]; e != nil {
		e.member = member
	} else if member && id != p.cfg.Host.ID() {
		p.book.note(peer.AddrInfo{ID: id}, SourceConnected, time.Now()).member = true
	}
}

// Source is how this node came to know a peer; empty if it does not.
func (p *Peers) Source(id peer.ID) Source {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.book.peers[id]; e != nil {
		return e.source
	}
	return ""
}

// Counts returns what each source has contributed so far.
func (p *Peers) Counts() map[Source]SourceCount {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make(map[Source]SourceCount)
	for id, e := range p.book.peers {
		c := out[e.source]
		c.Known++
		if e.worked {
			c.Worked++
		}
		if p.isConnected(id) {
			c.Connected++
		}
		out[e.source] = c
	}
	return out
}

func (p *Peers) isConnected(id peer.ID) bool {
	return p.cfg.Host.Network().Connectedness(id) == network.Connected
}

func (p *Peers) wake() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

func (p *Peers) run(ctx context.Context) {
	defer close(p.done)
	var dials sync.WaitGroup
	defer dials.Wait()
	timer := time.NewTimer(0)
	defer timer.Stop()
	stored := time.Now().Add(-storeGap) // the first peer waits for no gap
	store := func() {
		stored = time.Now()
		if err := p.store(); err != nil {
			p.cfg.Log.Warn("storing remembered peers", "err", err)
		}
	}
	soon := time.NewTimer(storeSoon)
	defer soon.Stop()
	soon.Stop()
	armed := false
	for {
		if !armed && p.hurry() {
			armed = true
			soon.Reset(max(storeSoon, storeGap-time.Since(stored)))
		}
		select {
		case <-ctx.Done():
			return
		case <-soon.C:
			armed = false
			store()
			continue
		case ev, ok := <-p.sub.Out():
			if !ok {
				return
			}
			p.event(ev)
			continue
		case <-p.kick:
		case <-timer.C:
		}
		timer.Reset(jitter(p.redial(ctx, &dials)))
		if time.Since(stored) >= storeEvery {
			store()
		}
	}
}

// hurry says that something is to be stored soon.
func (p *Peers) hurry() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.book.hurry && p.cfg.Book != nil
}

func (p *Peers) event(ev any) {
	switch ev := ev.(type) {
	case event.EvtPeerIdentificationCompleted:
		p.arrived(ev.Peer, ev.ListenAddrs, ev.Conn)
	case event.EvtPeerConnectednessChanged:
		if ev.Connectedness != network.Connected {
			p.mu.Lock()
			p.book.gone(ev.Peer, time.Now())
			p.mu.Unlock()
		}
	}
}

// arrived notes a connection: the addresses that the peer says it listens on, and,
// if this side dialled, the one that worked.
func (p *Peers) arrived(id peer.ID, listen []multiaddr.Multiaddr, c network.Conn) {
	source := SourceConnected
	info := peer.AddrInfo{ID: id, Addrs: listen}
	if c != nil {
		if c.Stat().Direction == network.DirInbound {
			source = sourceIncoming
		} else {
			info.Addrs = append([]multiaddr.Multiaddr{c.RemoteMultiaddr()}, listen...)
		}
	}
	p.mu.Lock()
	news := p.book.connected(info, source, time.Now())
	p.mu.Unlock()
	if news {
		p.wake()
	}
}

// redial dials some peers, each with its own time limit, and does not wait for them. It
// says when to look again.
func (p *Peers) redial(ctx context.Context, dials *sync.WaitGroup) time.Duration {
	p.mu.Lock()
	now := time.Now()
	var targets []peer.AddrInfo
	a := dialBudget{every: redialEvery}
	if p.cfg.Enough > 0 && len(p.cfg.Host.Network().Peers()) >= p.cfg.Enough {
		targets = p.book.randomMember(now, p.isConnected)
	} else {
		a = p.book.budget(now, p.isConnected)
		targets = p.book.next(a, now, p.isConnected)
	}
	for _, t := range targets {
		p.book.failed(t.ID, now, a.lonely()) // until it answers; the next round leaves it alone
	}
	p.mu.Unlock()
	for _, t := range targets {
		dials.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, dialTimeout)
			defer cancel()
			// The swarm's own backoff, up to five minutes, would refuse the dial. Our own
			// backoff has decided that it is time.
			if s, ok := p.cfg.Host.Network().(interface{ Backoff() *swarm.DialBackoff }); ok {
				s.Backoff().Clear(t.ID)
			}
			if err := p.cfg.Host.Connect(ctx, t); err != nil {
				p.cfg.Log.Debug("redialling", "peer", t.ID, "err", err)
			}
		})
	}
	return a.every
}

// store writes the entries that changed, and forgets peers beyond the limit. An entry that
// could not be written is tried again with the next round.
func (p *Peers) store() error {
	p.mu.Lock()
	p.book.hurry = false
	dropped := p.book.prune(p.isConnected)
	changed := make(map[string][]byte)
	for id, e := range p.book.peers {
		if e.unstored {
			e.unstored = false
			changed[string(id)] = e.encode()
		}
	}
	p.mu.Unlock()
	if p.cfg.Book == nil {
		return nil
	}
	var errs []error
	for id, v := range changed {
		if err := p.cfg.Book.SavePeer(id, v); err != nil {
			errs = append(errs, err)
			p.mu.Lock()
			if e := p.book.peers[peer.ID(id)]; e != nil {
				e.unstored = true
			}
			p.mu.Unlock()
		}
	}
	for _, id := range dropped {
		errs = append(errs, p.cfg.Book.DropPeer(string(id)))
	}
	return errors.Join(errs...)
}
