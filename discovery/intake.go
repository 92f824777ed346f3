package discovery

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	pb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"
)

// Judging a record takes up to 60 signature checks, some 4 ms, and any peer may bring one.
// So each peer draws from a token bucket, and so do its network and all peers together that
// have brought no good record yet. A record costs one token, a bad one badRecord. An honest
// node brings the records of its own groups, each again every few hours.
const (
	badRecord = 20

	peerRecords, peerPerMinute         = 600, 60
	networkRecords, networkPerMinute   = 2400, 240
	strangerRecords, strangerPerMinute = 4800, 480 // of all whose first record it is
)

const (
	maxBringers = 2048 // peers and networks with tokens of their own
	maxBringing = 4096 // records that are remembered with the peers that brought them
)

// intake knows which peer brought which record, and limits the cost of judging them.
type intake struct {
	mu       sync.Mutex
	from     *simplelru.LRU[[32]byte, holder]
	peers    *simplelru.LRU[peer.ID, *rate.Limiter] // of peers that brought nothing good yet, or something bad last
	good     *simplelru.LRU[peer.ID, *rate.Limiter] // of the others: no number of strangers displaces them
	networks *simplelru.LRU[string, *rate.Limiter]
	others   *rate.Limiter // of all peers together that brought nothing good yet
}

func newIntake() *intake {
	in := &intake{others: rate.NewLimiter(rate.Limit(strangerPerMinute)/60, strangerRecords)}
	in.from, _ = simplelru.NewLRU[[32]byte, holder](maxBringing, nil) // the sizes are positive
	in.peers, _ = simplelru.NewLRU[peer.ID, *rate.Limiter](maxBringers, nil)
	in.good, _ = simplelru.NewLRU[peer.ID, *rate.Limiter](maxBringers, nil)
	in.networks, _ = simplelru.NewLRU[string, *rate.Limiter](maxBringers, nil)
	return in
}

// watch returns the function that the DHT calls with each request before it serves it.
func (in *intake) watch(h host.Host) func(context.Context, network.Stream, *pb.Message) {
	return func(_ context.Context, s network.Stream, m *pb.Message) {
		if rec := m.GetRecord(); m.GetType() == pb.Message_PUT_VALUE && rec != nil {
			in.brought(string(rec.GetKey()), rec.GetValue(), holderOf(h, s.Conn().RemotePeer()))
		}
	}
}

func (in *intake) brought(key string, value []byte, by holder) {
	id := recordID(key, value)
	in.mu.Lock()
	defer in.mu.Unlock()
	in.from.Add(id, by)
}

// bringerOf returns the peer that brought a record; the zero holder is this node itself.
func (in *intake) bringerOf(id [32]byte) holder {
	in.mu.Lock()
	defer in.mu.Unlock()
	by, _ := in.from.Get(id)
	return by
}

// buckets returns the token buckets that a holder draws from, its own first. The caller
// holds in.mu.
func (in *intake) buckets(by holder) []*rate.Limiter {
	n, ok := in.networks.Get(by.network)
	if !ok {
		n = rate.NewLimiter(rate.Limit(networkPerMinute)/60, networkRecords)
		in.networks.Add(by.network, n)
	}
	if b, ok := in.good.Get(by.peer); ok {
		return []*rate.Limiter{b, n}
	}
	b, ok := in.peers.Get(by.peer)
	if !ok {
		b = rate.NewLimiter(rate.Limit(peerPerMinute)/60, peerRecords)
		in.peers.Add(by.peer, b)
	}
	return []*rate.Limiter{b, n, in.others}
}

// admit says whether a record is to be judged now, and why not.
func (in *intake) admit(now time.Time, by holder) error {
	if by == (holder{}) {
		return nil
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, l := range in.buckets(by) {
		if l.TokensAt(now) < 1 {
			return fmt.Errorf("%w: records of peer %v", errLimited, by.peer)
		}
	}
	return nil
}

// judged notes the verdict on a record. A bad record may cost more tokens than are left:
// the debt is paid off before the next one is judged.
func (in *intake) judged(now time.Time, by holder, good bool) {
	if by == (holder{}) {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	cost, to, from := 1, in.good, in.peers
	if !good {
		cost, to, from = badRecord, in.peers, in.good
	}
	buckets := in.buckets(by)
	for _, l := range buckets {
		l.ReserveN(now, cost)
	}
	from.Remove(by.peer)
	to.Add(by.peer, buckets[0])
}
