package discovery

import (
	"math/rand/v2"
	"slices"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	manet "github.com/multiformats/go-multiaddr/net"
)

// holder names the peer that brought something, and its network. Peer IDs cost nothing,
// addresses cost a little. The zero holder is this node.
type holder struct {
	network string // an IPv4 /24 or an IPv6 /48; empty: not known
	peer    peer.ID
}

// holderOf returns a connected peer with its network. Behind a relay, that is the relay's
// network.
func holderOf(h host.Host, p peer.ID) holder {
	out := holder{peer: p}
	for _, c := range h.Network().ConnsToPeer(p) {
		ip, err := manet.ToIP(c.RemoteMultiaddr())
		if err != nil {
			continue
		}
		if v4 := ip.To4(); v4 != nil {
			out.network = string(v4[:3])
		} else {
			out.network = string(ip.To16()[:6])
		}
		return out
	}
	return out
}

// NetworkOf returns the network that a connected peer is in, an IPv4 /24 or an IPv6 /48;
// empty: it is not known.
func NetworkOf(h host.Host, p peer.ID) string { return holderOf(h, p).network }

// shares decides which entry makes room in a full table that any peer may write to: one of
// the peer that holds most, in the network that holds most. So a flood by one peer, or by
// many peers of one network, displaces its own entries and not the few of others. An entry
// that several peers brought counts for the one of them that holds least: else a flood
// could displace it by bringing it too. Entries of this node itself are never displaced. It
// is not safe for concurrent use.
type shares[K comparable] struct {
	all       []*share[K]
	at        map[K]*share[K]
	ofNetwork map[string]int // weight
	ofPeer    map[peer.ID]int
	total     int
}

type share[K comparable] struct {
	key     K
	holders []holder // the peers that brought it; none: it is this node's own
	weight  int
	index   int // in all; -1: this node's own
}

// maxHolders is how many bringers of one thing are remembered.
const maxHolders = 4

func newShares[K comparable]() *shares[K] {
	return &shares[K]{at: make(map[K]*share[K]), ofNetwork: make(map[string]int), ofPeer: make(map[peer.ID]int)}
}

func (s *shares[K]) len() int { return len(s.at) }

// put notes the holders of an entry and its weight. It replaces an entry of the same key.
func (s *shares[K]) put(key K, weight int, holders ...holder) {
	s.drop(key)
	e := &share[K]{key, holders, weight, -1}
	s.at[key] = e
	s.total += weight
	if slices.Contains(holders, holder{}) {
		e.holders = nil
		return
	}
	e.index = len(s.all)
	s.all = append(s.all, e)
	s.weigh(e, weight)
}

// weigh adds weight to the account of each holder of e.
func (s *shares[K]) weigh(e *share[K], weight int) {
	for _, h := range e.holders {
		if s.ofNetwork[h.network] += weight; s.ofNetwork[h.network] == 0 {
			delete(s.ofNetwork, h.network)
		}
		if s.ofPeer[h.peer] += weight; s.ofPeer[h.peer] == 0 {
			delete(s.ofPeer, h.peer)
		}
	}
}

// with returns the holders of the entry under a key, and one more. If there are too many,
// it leaves out the one that holds most.
func (s *shares[K]) with(key K, h holder) []holder {
	e := s.at[key]
	if e == nil {
		return []holder{h}
	}
	if e.index < 0 || slices.Contains(e.holders, h) {
		return append([]holder(nil), e.holders...)
	}
	out := append([]holder{h}, e.holders...)
	if len(out) > maxHolders {
		most := 0
		for n := range out {
			if s.heavier(out[n], out[most]) {
				most = n
			}
		}
		out = slices.Delete(out, most, most+1)
	}
	return out
}

func (s *shares[K]) drop(key K) {
	e := s.at[key]
	if e == nil {
		return
	}
	delete(s.at, key)
	s.total -= e.weight
	if e.index < 0 {
		return
	}
	last := s.all[len(s.all)-1]
	s.all[e.index], last.index = last, e.index
	s.all = s.all[:len(s.all)-1]
	s.weigh(e, -e.weight)
}

// sampleSize is how many entries heaviest looks at. It misses a holder of half the table once in
// 2^32.
const sampleSize = 32

// heaviest returns a random entry of a heavy holder, or false if all entries are this
// node's own. It draws entries with equal chances: a holder of more entries is found more
// surely, and the cost does not grow with the table.
func (s *shares[K]) heaviest() (key K, ok bool) {
	var worst *share[K]
	for range sampleSize {
		if len(s.all) == 0 {
			return key, false
		}
		e := s.all[rand.IntN(len(s.all))] //nolint:gosec // an attacker who could foresee it would gain nothing
		if worst == nil || s.heavier(s.lightest(e), s.lightest(worst)) {
			worst = e
		}
	}
	return worst.key, true
}

// lightest returns the holder of e that holds least.
func (s *shares[K]) lightest(e *share[K]) holder {
	least := e.holders[0]
	for _, h := range e.holders[1:] {
		if s.heavier(least, h) {
			least = h
		}
	}
	return least
}

// heavier says whether a holds more than b: its network, or else the peer.
func (s *shares[K]) heavier(a, b holder) bool {
	if x, y := s.ofNetwork[a.network], s.ofNetwork[b.network]; x != y {
		return x > y
	}
	return s.ofPeer[a.peer] > s.ofPeer[b.peer]
}
