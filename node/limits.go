package node

import (
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"

	"github.com/pandanode/pandanode/node/wire"
)

// What peers may cost. Each has token buckets; whoever has emptied one is refused
// and not blamed: a stream is reset, and whoever wanted it comes again; an envelope
// is dropped unseen, and an exchange brings it if it was good. Peer IDs cost nothing,
// so strangers also share a bucket, and the fellows of this device have their own: no
// number of strangers keeps them waiting.

// allowance is what a token bucket holds at most, and gets each minute.
type allowance struct{ burst, perMinute int }

func (a allowance) rate() rate.Limit { return rate.Limit(float64(a.perMinute) / 60) }

func (a allowance) bucket() *rate.Limiter { return rate.NewLimiter(a.rate(), a.burst) }

func (a allowance) times(n int) allowance { return allowance{n * a.burst, n * a.perMinute} }

// terms are the allowances for one thing that peers do.
type terms struct {
	stranger  allowance // each
	strangers allowance // all of them together
	fellow    allowance // each, for every group it shares with this device
}

// The terms. One group makes a few exchanges a minute with each of its members.
var (
	syncTerms      = terms{allowance{30, 30}, allowance{300, 600}, allowance{60, 60}}
	joinTerms      = terms{allowance{12, 12}, allowance{120, 120}, allowance{30, 30}}
	joinBytesTerms = terms{allowance{256 << 10, 64 << 10}, allowance{4 << 20, 1 << 20}, allowance{1 << 20, 256 << 10}}
	findTerms      = terms{allowance{20, 20}, allowance{300, 300}, allowance{60, 60}}
	mailTerms      = terms{allowance{300, 300}, allowance{3000, 3000}, allowance{300, 300}} // a mailbox's customers are strangers to it
	twinTerms      = terms{allowance{12, 12}, allowance{120, 120}, allowance{12, 12}}
	handTerms      = terms{allowance{30, 30}, allowance{300, 600}, allowance{120, 120}} // a receipt a second and author
	otherTerms     = syncTerms                                                          // of a protocol without terms of its own

	// Envelopes that were ignored or rejected: those that come too late or too early
	// are among them, so that who catches up is not to be cut short.
	garbageTerms = terms{allowance{120, 60}, allowance{2000, 2000}, allowance{1200, 600}}
)

// What the metrics call what was refused, besides protocols.
const (
	limitedJoinBytes = "join-bytes"
	limitedEnvelopes = "envelopes"
)

// limits are the meters of a node.
type limits struct {
	fellows            *fellows
	streams            map[string]*meter // by protocol
	joinBytes, garbage *meter
	refused            func(what string) // counts
}

func newLimits(f *fellows, refused func(string)) *limits {
	return &limits{
		fellows: f, refused: refused, joinBytes: newMeter(joinBytesTerms), garbage: newMeter(garbageTerms),
		streams: map[string]*meter{
			wire.ProtocolSync: newMeter(syncTerms), wire.ProtocolJoin: newMeter(joinTerms), wire.ProtocolFind: newMeter(findTerms), wire.ProtocolMail: newMeter(mailTerms),
			wire.ProtocolTwin: newMeter(twinTerms), wire.ProtocolHand: newMeter(handTerms),
			"": newMeter(otherTerms),
		},
	}
}

// opens says whether a peer may open one more stream. Whoever has proven itself before
// does not share a bucket with those who never do.
func (l *limits) opens(protocol string, p peer.ID, as standing) bool {
	m := l.streams[protocol]
	if m == nil {
		m = l.streams[""]
	}
	shared := l.fellows.shared(p)
	if as > unknown {
		shared = max(shared, 1)
	}
	if m.take(p, shared, 1) {
		return true
	}
	l.refused(protocol)
	return false
}

// wasted notes an envelope that was not passed on.
func (l *limits) wasted(p peer.ID) { l.garbage.take(p, l.fellows.shared(p), 1) }

// inspect takes the envelopes out of what a peer sends that has wasted too much.
// GossipSub has not seen them then, so that the same ones are taken from others.
func (l *limits) inspect(p peer.ID, r *pubsub.RPC) error {
	if len(r.Publish) > 0 && l.garbage.empty(p, l.fellows.shared(p)) {
		r.Publish = nil
		l.refused(limitedEnvelopes)
	}
	return nil
}

var errTooMuch = errors.New("the peer sent more than it may at once")

// joining bounds what a joiner may make this node read.
func (l *limits) joining(s network.Stream) network.Stream { return meteredStream{s, l} }

type meteredStream struct {
	network.Stream
	l *limits
}

func (s meteredStream) Read(b []byte) (int, error) {
	n, err := s.Stream.Read(b)
	p := s.Conn().RemotePeer()
	if n > 0 && !s.l.joinBytes.take(p, s.l.fellows.shared(p), n) {
		s.l.refused(limitedJoinBytes)
		return 0, errTooMuch
	}
	return n, err
}

// maxMetered is how many peers of a kind have buckets of their own; who was not
// heard of for the longest loses it.
const maxMetered = 2048

// meter holds the buckets for one thing that peers do.
type meter struct {
	terms

	mu       sync.Mutex
	all      *rate.Limiter // of strangers
	each     *simplelru.LRU[peer.ID, *rate.Limiter]
	ofFellow *simplelru.LRU[peer.ID, *rate.Limiter]
}

func newMeter(t terms) *meter {
	m := &meter{terms: t, all: t.strangers.bucket()}
	m.each, _ = simplelru.NewLRU[peer.ID, *rate.Limiter](maxMetered, nil) // the size is positive
	m.ofFellow, _ = simplelru.NewLRU[peer.ID, *rate.Limiter](maxMetered, nil)
	return m
}

// buckets are those that a peer with so many shared groups draws from. m.mu is held.
func (m *meter) buckets(p peer.ID, shared int) []*rate.Limiter {
	have, want := m.each, m.stranger
	if shared > 0 {
		have, want = m.ofFellow, m.fellow.times(shared)
	}
	b, ok := have.Get(p)
	if !ok {
		b = want.bucket()
		have.Add(p, b)
	}
	if b.Burst() != want.burst { // it shares more groups now, or fewer
		b.SetLimit(want.rate())
		b.SetBurst(want.burst)
	}
	if shared > 0 {
		return []*rate.Limiter{b}
	}
	return []*rate.Limiter{b, m.all}
}

// take takes n tokens, and says whether they were there.
func (m *meter) take(p peer.ID, shared, n int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for _, b := range m.buckets(p, shared) {
		if !b.AllowN(now, n) {
			return false
		}
	}
	return true
}

// empty says whether not one token is left.
func (m *meter) empty(p peer.ID, shared int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for _, b := range m.buckets(p, shared) {
		if b.TokensAt(now) < 1 {
			return true
		}
	}
	return false
}
