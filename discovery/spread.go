package discovery

import (
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/ipfs/go-cid"
	kbucket "github.com/libp2p/go-libp2p-kbucket"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Keys that many nodes announce are hot: the 20 nodes nearest to such a key would hold and
// answer for all of them. Two things spread them, by figures in docs/SCALE.md.
//
// A key without a value, as that of all public groups and of all mailboxes, is split into
// shards by the first bits of the announcer's hash, the more the larger the network is. A
// reader wants a few of all, so one shard serves it.
//
// A key with a value, as a word, stays one key. A node announces it less often the more
// others do, so that a reader finds a choice that changes. Pairs of words find a group whose
// words are all common.
const (
	crowdAsked  = 5        // of the peers nearest to a key, how many are asked who is there
	crowdEnough = 256      // announcers up to this many all announce
	leastShare  = 1.0 / 16 // however many are said to be there: peers may lie

	shardSize = 512 // servers for each shard, at least
	fewOffer  = 8   // of so many nodes one is a mailbox, if that: fewer shards
	maxDepth  = 16  // bits of a shard's name
)

// Crowd estimates how many provide a key from what several peers answered, each with a
// random choice of at most so many as one answer holds: capture and recapture, by the middle
// one of all pairs of answers, so that a lying minority changes little.
func Crowd[K comparable](answers [][]K, full int) float64 {
	var guesses []float64
	for n, a := range answers {
		in := make(map[K]bool, len(a))
		for _, k := range a {
			in[k] = true
		}
		for _, b := range answers[n+1:] {
			both := 0
			for _, k := range b {
				if in[k] {
					both++
				}
			}
			x, y := float64(len(a)), float64(len(b))
			switch {
			case both > 0:
				guesses = append(guesses, x*y/float64(both))
			case len(a) >= full && len(b) >= full:
				guesses = append(guesses, 2*x*y)
			default: // one has all that it knows in its answer
				guesses = append(guesses, max(x, y))
			}
		}
	}
	if len(guesses) == 0 {
		return 0
	}
	slices.Sort(guesses)
	return guesses[len(guesses)/2]
}

// ShareOfCrowd is the chance with which one of a crowd announces a key.
func ShareOfCrowd(crowd float64) float64 { return max(leastShare, min(1, crowdEnough/max(1, crowd))) }

// NetworkSize estimates the servers of the DHT from the distances of the peers nearest to a
// key, the nearest first, as the first eight bytes of the distance say it. With few peers it
// is their number.
func NetworkSize(distances []uint64) float64 {
	n := len(distances)
	if n < fewPeers || distances[n-1] == 0 {
		return float64(n)
	}
	return float64(n-1) / (float64(distances[n-1]) / math.MaxUint64)
}

const fewPeers = 20

// Depth is how many bits name a shard in a network of so many servers.
func Depth(servers float64) int {
	if servers < 2*shardSize {
		return 0
	}
	return min(maxDepth, int(math.Log2(servers/shardSize)))
}

// Shards lists the shards of a key that a reader asks one after the other, until it has
// enough: its own draw at its depth, and others in case the announcers think the network
// smaller or larger. Bits are the reader's draw.
func Shards(depth int, bits uint16) []Shard {
	out := []Shard{shardOf(depth, bits)}
	for _, d := range []int{depth - 1, depth + 1, 0} {
		if s := shardOf(d, bits); d >= 0 && d <= maxDepth && depth > 0 && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// Shard is a part of a key: a number of so many bits. The zero Shard is the whole key.
type Shard struct {
	Depth uint8
	Bits  uint16
}

// value is how a shard is named in a key: nothing for the whole key, else its depth and its
// bits, big-endian.
func (s Shard) value() []byte {
	if s.Depth == 0 {
		return nil
	}
	return binary.BigEndian.AppendUint16([]byte{s.Depth}, s.Bits)
}

func shardOf(depth int, bits uint16) Shard {
	depth = max(0, min(maxDepth, depth))
	return Shard{uint8(depth), uint16(uint32(bits) >> (maxDepth - depth))} //nolint:gosec // at most maxDepth bits
}

// sizes remembers what the last walks said of the size of the network.
type sizes struct {
	mu   sync.Mutex
	last []float64
}

// maxSizes is how many are remembered. They are of different keys, so that IDs made near one
// key change little.
const maxSizes = 9

// note takes in the peers that a walk found nearest to a key.
func (s *sizes) note(key string, near []peer.ID) {
	size := sizeBy(kbucket.ConvertKey(key), near)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = append(s.last, size)
	s.last = s.last[max(0, len(s.last)-maxSizes):]
}

// sizeBy is NetworkSize by the peers nearest to a target.
func sizeBy(target kbucket.ID, near []peer.ID) float64 {
	var distances []uint64
	for _, p := range near {
		distances = append(distances, binary.BigEndian.Uint64(kbucket.ConvertPeerID(p))^binary.BigEndian.Uint64(target))
	}
	slices.Sort(distances)
	return NetworkSize(distances)
}

// middle returns the middle one of what is remembered; 0: nothing.
func (s *sizes) middle() float64 {
	s.mu.Lock()
	all := slices.Clone(s.last)
	s.mu.Unlock()
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// depth is the depth of shards in this network, if one node of so many announces itself. A
// node that has not walked yet judges by its own neighbours.
func (d *DHT) depth(oneOf int) int {
	size := d.sizes.middle()
	if size == 0 {
		self := kbucket.ConvertPeerID(d.kad.PeerID())
		size = sizeBy(self, d.kad.RoutingTable().NearestPeers(self, fewPeers))
	}
	return Depth(size / float64(oneOf))
}

// own is the shard that this node announces itself in, if one node of so many does.
func (d *DHT) own(oneOf int) Shard {
	return shardOf(d.depth(oneOf), binary.BigEndian.Uint16(kbucket.ConvertPeerID(d.kad.PeerID())))
}

// enoughOfShard is how many providers a reader wants before it asks no further shard.
const enoughOfShard = maxProviders / 4

// anyOf streams some of those that announced a key which is split into shards.
func (d *DHT) anyOf(ctx context.Context, key func(Shard) cid.Cid, oneOf int) <-chan peer.AddrInfo {
	out := make(chan peer.AddrInfo)
	go func() {
		defer close(out)
		seen := make(map[peer.ID]bool)
		for _, s := range Shards(d.depth(oneOf), uint16(rand.N(1<<16))) { //nolint:gosec // sixteen bits, and no secret
			for p := range d.providers(ctx, key(s)) {
				if seen[p.ID] {
					continue
				}
				seen[p.ID] = true
				select {
				case out <- p:
				case <-ctx.Done(): // the range ends by itself
				}
			}
			if len(seen) >= enoughOfShard || ctx.Err() != nil {
				return
			}
		}
	}()
	return out
}

// crowd asks a few of the peers nearest to a key, drawn at random, who provides it, and
// estimates how many do.
func (d *DHT) crowd(ctx context.Context, c cid.Cid, near []peer.ID) float64 {
	near = slices.Clone(near)
	rand.Shuffle(len(near), func(i, j int) { near[i], near[j] = near[j], near[i] }) //nolint:gosec // no secret
	answers := make([][]peer.ID, min(crowdAsked, len(near)))
	var asked sync.WaitGroup
	for n := range answers {
		asked.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, rpcTimeout)
			defer cancel()
			list, _, err := d.rpc.GetProviders(ctx, near[n], c.Hash())
			if err != nil {
				return
			}
			for _, p := range list[:min(len(list), maxProviders)] {
				answers[n] = append(answers[n], p.ID)
			}
		})
	}
	asked.Wait()
	return Crowd(answers, maxProviders)
}
