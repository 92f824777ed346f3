package discovery

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
	"github.com/pandanode/pandanode/node/wire"
)

// Source says how this node came to know a peer, or a group.
type Source string

// Sources.
const (
	sourceMDNS       Source = "mdns"       // the local network
	SourceDHT        Source = "dht"        // a provider record
	sourceBootstrap  Source = "bootstrap"  // the configuration
	sourceRemembered Source = "remembered" // an earlier run
	sourceIncoming   Source = "incoming"   // it called first
	SourceConnected  Source = "connected"  // a connection that was there already
)

// Bounds of the book of peers.
const (
	maxPeers            = 1000
	maxAddrs            = 8 // of one peer
	redialEvery         = 15 * time.Second
	dialsPerRound       = 4 // peers dialled in one round
	lonelyEvery         = 5 * time.Second
	lonelyDialsPerRound = 16
	// A peer that does not answer rests twice as long after each failed dial, up to these
	// limits, so that a thousand dead peers do not keep a live one waiting.
	backoffLonely   = 20 * time.Second // of members and bootstrap peers, for a node that has no member connected
	backoffMember   = time.Minute
	backoffStranger = 10 * time.Minute
)

// book holds what the node remembers of peers. It has no clock, lock or network of its own.
type book struct {
	peers map[peer.ID]*entry
	hurry bool // a peer was reached, and what matters of it is not stored yet
}

type entry struct {
	info     peer.AddrInfo
	source   Source
	seen     time.Time // last connected; zero if never
	found    time.Time // last heard of
	fails    int       // dials in a row that failed
	retryAt  time.Time // not dialled before
	member   bool      // of a group of ours
	fixed    bool      // a bootstrap peer: never forgotten
	worked   bool      // connected in this run
	unstored bool      // changed since it was last stored
}

// stored is the form of an entry on disk.
type stored struct {
	V     uint64   `cbor:"1,keyasint"`
	Addrs [][]byte `cbor:"2,keyasint"`
	Seen  int64    `cbor:"3,keyasint"` // seconds since 1970
	Found int64    `cbor:"4,keyasint"`
}

func (e *entry) encode() []byte {
	s := stored{V: wire.Version, Seen: e.seen.Unix(), Found: e.found.Unix()}
	for _, a := range e.info.Addrs {
		s.Addrs = append(s.Addrs, a.Bytes())
	}
	return wire.Marshal(&s)
}

func decodeEntry(id string, b []byte) (*entry, error) {
	p, err := peer.IDFromBytes([]byte(id))
	if err != nil {
		return nil, fmt.Errorf("remembered peer: %w", err)
	}
	var s stored
	if err := wire.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("remembered peer %s: %w", p, err)
	}
	if s.V != wire.Version {
		return nil, fmt.Errorf("remembered peer %s: %w: %d", p, wire.ErrVersion, s.V)
	}
	e := &entry{info: peer.AddrInfo{ID: p}, source: sourceRemembered, seen: time.Unix(s.Seen, 0), found: time.Unix(s.Found, 0)}
	for _, raw := range s.Addrs[:min(len(s.Addrs), maxAddrs)] {
		a, err := multiaddr.NewMultiaddrBytes(raw)
		if err != nil {
			return nil, fmt.Errorf("remembered peer %s: %w", p, err)
		}
		e.info.Addrs = append(e.info.Addrs, a)
	}
	return e, nil
}

// note adds a peer, or newer addresses of a known one. A peer keeps the first source that
// named it. A source of this run replaces SourceRemembered until the peer has been reached;
// a mere connection replaces nothing.
func (b *book) note(p peer.AddrInfo, source Source, now time.Time) *entry {
	e := b.peers[p.ID]
	if e == nil {
		e = &entry{info: peer.AddrInfo{ID: p.ID}, source: source}
		b.peers[p.ID] = e
	}
	if e.source == sourceRemembered && !e.worked && source != SourceConnected {
		e.source = source
	}
	e.fixed = e.fixed || source == sourceBootstrap
	// New addresses first; they push out the oldest.
	var addrs []multiaddr.Multiaddr
	for _, a := range slices.Concat(p.Addrs, e.info.Addrs) {
		if len(addrs) < maxAddrs && !slices.ContainsFunc(addrs, a.Equal) {
			addrs = append(addrs, a)
		}
	}
	if now.Sub(e.found).Abs() >= time.Hour || !slices.EqualFunc(addrs, e.info.Addrs, multiaddr.Multiaddr.Equal) {
		e.unstored = true // an hour's precision is enough on disk
	}
	e.info.Addrs, e.found = addrs, now
	return e
}

// connected notes a connection. If the peer had not answered for a while, a cut may have
// ended: then all members and bootstrap peers may be dialled at once, and news says so.
func (b *book) connected(p peer.AddrInfo, source Source, now time.Time) (news bool) {
	e := b.note(p, source, now)
	news = e.fails > 1 // the first is the dial that may have led here
	e.unstored = e.unstored || now.Sub(e.seen).Abs() >= time.Hour
	b.hurry = b.hurry || e.unstored
	e.seen, e.fails, e.retryAt, e.worked = now, 0, time.Time{}, true
	if news {
		for _, o := range b.peers {
			if o.member || o.fixed {
				o.retryAt = time.Time{}
			}
		}
	}
	return news
}

// gone notes that the last connection to a peer ended, or that this node stops: the peer
// was there until now. Peers seen last are dialled first, so the time is stored to the
// minute.
func (b *book) gone(p peer.ID, now time.Time) {
	if e := b.peers[p]; e != nil {
		e.unstored = e.unstored || now.Sub(e.seen).Abs() >= time.Minute
		e.seen = now
	}
}

// failed notes a failed dial. lonely says that the node has no member connected.
func (b *book) failed(p peer.ID, now time.Time, lonely bool) {
	e := b.peers[p]
	if e == nil {
		return
	}
	most := backoffStranger
	if e.member || e.fixed {
		most = backoffMember
		if lonely {
			most = backoffLonely
		}
	}
	e.retryAt = now.Add(jitter(min(redialEvery<<min(e.fails, 10), most)))
	e.fails++
}

// dialBudget is how many peers are dialled in one round.
type dialBudget struct {
	most      int
	strangers int // of these, no members
	every     time.Duration
}

func (d dialBudget) lonely() bool { return d.every == lonelyEvery }

// budget depends on the connected peers. A node without any connection dials many peers
// at once. A node without a connected member, or with members it has not tried yet, dials
// as many members.
func (b *book) budget(now time.Time, isConnected func(peer.ID) bool) dialBudget {
	anybody, members, memberConnected, untried := false, 0, false, 0
	for id, e := range b.peers {
		there := isConnected(id)
		anybody = anybody || there
		if !e.member {
			continue
		}
		members++
		memberConnected = memberConnected || there
		if !there && e.fails == 0 && !now.Before(e.retryAt) && len(e.info.Addrs) > 0 {
			untried++
		}
	}
	switch {
	case !anybody:
		return dialBudget{lonelyDialsPerRound, lonelyDialsPerRound, lonelyEvery}
	case members > 0 && !memberConnected:
		return dialBudget{lonelyDialsPerRound, dialsPerRound, lonelyEvery}
	}
	return dialBudget{max(dialsPerRound, min(untried, lonelyDialsPerRound)), dialsPerRound, redialEvery}
}

// next picks the peers to dial now, among those that are neither connected nor resting:
// members first, then bootstrap peers, then the most recently seen. If there are many, a
// quarter is drawn at random from the rest, those with the fewest failures first, so that
// no fixed order keeps a live peer waiting behind dead ones.
func (b *book) next(d dialBudget, now time.Time, isConnected func(peer.ID) bool) []peer.AddrInfo {
	var due []*entry
	for _, e := range b.peers {
		if len(e.info.Addrs) > 0 && !now.Before(e.retryAt) && !isConnected(e.info.ID) {
			due = append(due, e)
		}
	}
	slices.SortFunc(due, func(x, y *entry) int {
		return cmp.Or(-compareBool(x.member, y.member), -compareBool(x.fixed, y.fixed), y.seen.Compare(x.seen), y.found.Compare(x.found), cmp.Compare(x.info.ID, y.info.ID))
	})
	if strangers := slices.IndexFunc(due, func(e *entry) bool { return !e.member }); strangers >= 0 {
		due = due[:min(len(due), strangers+d.strangers)]
	}
	if len(due) > d.most && d.most > dialsPerRound {
		ranked := d.most - d.most/4
		rest := due[ranked:]
		rand.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] }) //nolint:gosec // whom is no secret
		slices.SortStableFunc(rest, func(x, y *entry) int { return cmp.Compare(x.fails, y.fails) })
	}
	out := make([]peer.AddrInfo, 0, d.most)
	for _, e := range due[:min(d.most, len(due))] {
		out = append(out, e.info)
	}
	return out
}

// randomMember picks the peer to dial when the node has connections enough: one member at
// random, no matter when it was seen. So the two halves of a large group find each other
// after a cut, although each half has enough connections within itself.
func (b *book) randomMember(now time.Time, isConnected func(peer.ID) bool) []peer.AddrInfo {
	var due []peer.AddrInfo
	for _, e := range b.peers {
		if e.member && len(e.info.Addrs) > 0 && !now.Before(e.retryAt) && !isConnected(e.info.ID) {
			due = append(due, e.info)
		}
	}
	if len(due) == 0 {
		return nil
	}
	i := rand.IntN(len(due)) //nolint:gosec // whom is no secret
	return due[i : i+1]
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// prune forgets the least useful peers beyond maxPeers and returns them. Bootstrap peers
// stay. Age alone is no reason to forget a peer: a clock that is a year ahead would forget
// them all.
func (b *book) prune(isConnected func(peer.ID) bool) []peer.ID {
	var loose []*entry
	var out []peer.ID
	for id, e := range b.peers {
		if !e.fixed && !isConnected(id) {
			loose = append(loose, e)
		}
	}
	if over := len(b.peers) - maxPeers; over > 0 {
		slices.SortFunc(loose, func(x, y *entry) int {
			return cmp.Or(compareBool(x.member, y.member), x.seen.Compare(y.seen), x.found.Compare(y.found), cmp.Compare(x.info.ID, y.info.ID))
		})
		for _, e := range loose[:min(over, len(loose))] {
			out = append(out, e.info.ID)
			delete(b.peers, e.info.ID)
		}
	}
	return out
}
