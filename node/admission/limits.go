package admission

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

// Allowance is a token bucket: the most tokens that it holds, and how many it gets each
// minute.
type Allowance struct{ Burst, PerMinute int }

func (a Allowance) rate() rate.Limit { return rate.Limit(float64(a.PerMinute) / 60) }

func (a Allowance) bucket() *rate.Limiter { return rate.NewLimiter(a.rate(), a.Burst) }

func (a Allowance) times(n int) Allowance { return Allowance{n * a.Burst, n * a.PerMinute} }

// Terms are the allowances for one thing that peers do.
type Terms struct {
	Stranger  Allowance // each
	Strangers Allowance // all of them together
	Member    Allowance // each, for every group it shares with this device
}

// The terms. One group makes a few exchanges a minute with each of its members. A peer that
// has emptied its bucket is refused and not blamed: a stream is reset and may be opened
// again; an envelope is dropped unseen, and an exchange brings it later if it was good.
var (
	SyncTerms      = Terms{Allowance{30, 30}, Allowance{300, 600}, Allowance{60, 60}}
	joinTerms      = Terms{Allowance{12, 12}, Allowance{120, 120}, Allowance{30, 30}}
	joinBytesTerms = Terms{Allowance{256 << 10, 64 << 10}, Allowance{4 << 20, 1 << 20}, Allowance{1 << 20, 256 << 10}}
	findTerms      = Terms{Allowance{20, 20}, Allowance{300, 300}, Allowance{60, 60}}
	mailTerms      = Terms{Allowance{300, 300}, Allowance{3000, 3000}, Allowance{300, 300}} // a mailbox's customers are strangers to it
	twinTerms      = Terms{Allowance{12, 12}, Allowance{120, 120}, Allowance{12, 12}}
	handTerms      = Terms{Allowance{30, 30}, Allowance{300, 600}, Allowance{120, 120}} // a receipt a second and author
	blobTerms      = Terms{Allowance{12, 12}, Allowance{120, 120}, Allowance{120, 120}}
	blobBytesTerms = Terms{Allowance{}, Allowance{}, Allowance{1 << 30, 1 << 29}} // of files: strangers get none
	otherTerms     = SyncTerms                                                    // of a protocol without Terms of its own

	// Envelopes that were ignored or rejected. Those that come too late or too early are
	// among them, and a peer that catches up must not be cut short.
	GarbageTerms = Terms{Allowance{120, 60}, Allowance{2000, 2000}, Allowance{1200, 600}}
)

// Names that the metrics give to refusals, besides protocols.
const (
	LimitedJoinBytes = "join-bytes"
	LimitedBlobBytes = "file-bytes"
	LimitedEnvelopes = "envelopes"
)

// Limits are the meters of a node.
type Limits struct {
	members            *MemberPeers
	streams            map[string]*meter // by protocol
	joinBytes, garbage *meter
	blobBytes          *meter
	refused            func(what string) // counts
}

// NewLimits gives limits whose buckets are full. They call refused for whatever a peer is
// refused, with the protocol or one of the names above.
func NewLimits(m *MemberPeers, refused func(what string)) *Limits {
	return &Limits{
		members: m, refused: refused, joinBytes: newMeter(joinBytesTerms), garbage: newMeter(GarbageTerms), blobBytes: newMeter(blobBytesTerms),
		streams: map[string]*meter{
			wire.ProtocolSync: newMeter(SyncTerms), wire.ProtocolJoin: newMeter(joinTerms), wire.ProtocolFind: newMeter(findTerms), wire.ProtocolMail: newMeter(mailTerms),
			wire.ProtocolTwin: newMeter(twinTerms), wire.ProtocolHand: newMeter(handTerms), wire.ProtocolBlob: newMeter(blobTerms),
			wire.ProtocolMailBlob: newMeter(mailTerms),
			"":                    newMeter(otherTerms),
		},
	}
}

// Opens says whether a peer may open one more stream. A peer that has proven itself before
// does not share a bucket with strangers.
func (l *Limits) Opens(protocol string, p peer.ID, as Trust) bool {
	m := l.streams[protocol]
	if m == nil {
		m = l.streams[""]
	}
	shared := l.members.Shared(p)
	if as > Unknown {
		shared = max(shared, 1)
	}
	if m.take(p, shared, 1) {
		return true
	}
	l.refused(protocol)
	return false
}

// Wasted notes an envelope that was not passed on.
func (l *Limits) Wasted(p peer.ID) { l.garbage.take(p, l.members.Shared(p), 1) }

// Inspect takes the envelopes out of the RPCs of a peer that has wasted too much. GossipSub
// has not seen them then, so that the same ones are taken from others.
func (l *Limits) Inspect(p peer.ID, r *pubsub.RPC) error {
	if len(r.Publish) > 0 && l.garbage.empty(p, l.members.Shared(p)) {
		r.Publish = nil
		l.refused(LimitedEnvelopes)
	}
	return nil
}

// blobWait is how long a member waits who has been given too much of files.
const blobWait = 5 * time.Second

// Serving says how long a peer is to wait before so many bytes of files are served to it;
// zero: they may be now. Somebody who has proven that it is a member counts as one at least.
func (l *Limits) Serving(p peer.ID, n int) time.Duration {
	if l.blobBytes.take(p, max(l.members.Shared(p), 1), n) {
		return 0
	}
	l.refused(LimitedBlobBytes)
	return blobWait
}

var errTooMuch = errors.New("the peer sent more than it may at once")

// Joining bounds what a joiner may make this node read from a stream.
func (l *Limits) Joining(s network.Stream) network.Stream { return meteredStream{s, l} }

type meteredStream struct {
	network.Stream
	l *Limits
}

func (s meteredStream) Read(b []byte) (int, error) {
	n, err := s.Stream.Read(b)
	p := s.Conn().RemotePeer()
	if n > 0 && !s.l.joinBytes.take(p, s.l.members.Shared(p), n) {
		s.l.refused(LimitedJoinBytes)
		return 0, errTooMuch
	}
	return n, err
}

// maxMetered is how many peers of a kind have buckets of their own. The peer that was not
// heard of for the longest time loses its bucket.
const maxMetered = 2048

// meter holds the buckets for one thing that peers do.
type meter struct {
	Terms

	mu       sync.Mutex
	all      *rate.Limiter // of strangers
	each     *simplelru.LRU[peer.ID, *rate.Limiter]
	ofMember *simplelru.LRU[peer.ID, *rate.Limiter]
}

func newMeter(t Terms) *meter {
	m := &meter{Terms: t, all: t.Strangers.bucket()}
	m.each, _ = simplelru.NewLRU[peer.ID, *rate.Limiter](maxMetered, nil) // the size is positive
	m.ofMember, _ = simplelru.NewLRU[peer.ID, *rate.Limiter](maxMetered, nil)
	return m
}

// buckets are those that a peer with so many shared groups draws from. m.mu is held.
func (m *meter) buckets(p peer.ID, shared int) []*rate.Limiter {
	have, want := m.each, m.Stranger
	if shared > 0 {
		have, want = m.ofMember, m.Member.times(shared)
	}
	b, ok := have.Get(p)
	if !ok {
		b = want.bucket()
		have.Add(p, b)
	}
	if b.Burst() != want.Burst { // it shares more groups now, or fewer
		b.SetLimit(want.rate())
		b.SetBurst(want.Burst)
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
