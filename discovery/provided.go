package discovery

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p-kad-dht/records"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
)

// Bounds of the provider records that this node keeps for others.
const (
	maxProvided      = 16 << 10
	maxOfKey         = 4 << 10        // of one key: a common word does not displace the others
	maxOfNetwork     = 16             // of one network in one answer
	maxProvidedAddrs = 8              // of one record
	providedAddrsFor = 24 * time.Hour // the record itself is kept for maxRecordAge
	providedSweep    = time.Hour
)

// providerTable holds the provider records of the DHT's server half in memory. libp2p's own
// store keeps the newest records of any peer, so that one peer could displace all others in
// a fraction of a second.
type providerTable struct {
	host  host.Host
	limit int
	ofKey int

	mu     sync.Mutex
	keys   map[string]map[peer.ID]*provided
	shares *shares[providedKey]
	swept  time.Time
}

type providedKey struct {
	key  string
	peer peer.ID
}

type provided struct {
	addrs   []multiaddr.Multiaddr
	network string
	at      time.Time
}

var _ records.ProviderStore = (*providerTable)(nil)

func newProviderTable(h host.Host, limit int) *providerTable {
	return &providerTable{host: h, limit: limit, ofKey: maxOfKey, keys: make(map[string]map[peer.ID]*provided), shares: newShares[providedKey](), swept: time.Now()}
}

// AddProvider records that a peer provides a key. The caller has checked that the peer
// itself says so.
func (t *providerTable) AddProvider(_ context.Context, key []byte, who peer.AddrInfo) error {
	var by holder
	if who.ID != t.host.ID() {
		by = holderOf(t.host, who.ID)
	}
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Sub(t.swept) > providedSweep {
		t.sweep(now)
	}
	k := providedKey{string(key), who.ID}
	if t.shares.at[k] == nil {
		if len(t.keys[k.key]) >= t.ofKey {
			if old, ok := t.heaviestOf(k.key); ok {
				t.drop(old)
			}
		}
		for t.shares.len() >= t.limit {
			old, ok := t.shares.heaviest()
			if !ok {
				break
			}
			t.drop(old)
		}
	}
	t.shares.put(k, 1, by)
	if t.keys[k.key] == nil {
		t.keys[k.key] = make(map[peer.ID]*provided)
	}
	t.keys[k.key][k.peer] = &provided{slices.Clone(who.Addrs[:min(len(who.Addrs), maxProvidedAddrs)]), by.network, now}
	return nil
}

// GetProviders returns at most maxProviders peers that provide a key, in a random order in
// which the networks take turns: a crowd from one network does not hide peers of another,
// nor does it look like a crowd to those who ask how many there are.
func (t *providerTable) GetProviders(_ context.Context, key []byte) ([]peer.AddrInfo, error) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	byNetwork := make(map[string][]peer.AddrInfo)
	for p, r := range t.keys[string(key)] {
		age := now.Sub(r.at)
		if age > maxRecordAge {
			continue
		}
		info := peer.AddrInfo{ID: p, Addrs: r.addrs}
		if len(info.Addrs) == 0 || age > providedAddrsFor {
			info.Addrs = t.host.Peerstore().Addrs(p)
		}
		byNetwork[r.network] = append(byNetwork[r.network], info)
	}
	turns := make([][]peer.AddrInfo, 0, len(byNetwork))
	for _, list := range byNetwork {
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] }) //nolint:gosec // no secret
		turns = append(turns, list)
	}
	rand.Shuffle(len(turns), func(i, j int) { turns[i], turns[j] = turns[j], turns[i] }) //nolint:gosec // no secret
	var out []peer.AddrInfo
	for round := 0; len(out) < maxProviders && round < maxOfNetwork; round++ {
		before := len(out)
		for _, list := range turns {
			if round < len(list) && len(out) < maxProviders {
				out = append(out, list[round])
			}
		}
		if len(out) == before {
			break
		}
	}
	return out, nil
}

// heaviestOf returns a record of one key that a heavy holder brought, or false if all that it
// looked at are this node's own.
func (t *providerTable) heaviestOf(key string) (out providedKey, ok bool) {
	var worst *share[providedKey]
	looked := 0
	for p := range t.keys[key] { // begins anywhere
		if e := t.shares.at[providedKey{key, p}]; e.index >= 0 && (worst == nil || t.shares.heavier(t.shares.lightest(e), t.shares.lightest(worst))) {
			worst = e
		}
		if looked++; looked == sampleSize {
			break
		}
	}
	if worst == nil {
		return out, false
	}
	return worst.key, true
}

// Close has nothing to close.
func (t *providerTable) Close() error { return nil }

func (t *providerTable) drop(k providedKey) {
	t.shares.drop(k)
	delete(t.keys[k.key], k.peer)
	if len(t.keys[k.key]) == 0 {
		delete(t.keys, k.key)
	}
}

func (t *providerTable) sweep(now time.Time) {
	t.swept = now
	for key, list := range t.keys {
		for p, r := range list {
			if now.Sub(r.at) > maxRecordAge {
				t.drop(providedKey{key, p})
			}
		}
	}
}
