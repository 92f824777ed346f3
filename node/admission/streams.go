package admission

import (
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
)

// Streams that a node serves at once, of all peers and of one. A stream beyond that is
// reset, and its peer may open another one later.
const (
	MaxStreams     = 128
	MaxPeerStreams = 8
)

// Trust says what the peer at the other end of a stream has proven.
type Trust int

// Values of Trust, the lowest first.
const (
	Unknown Trust = iota
	Proven        // it has shown that it holds a group's key, or that of a box here
	Member        // it shares a group with this device, or may open boxes here
)

// slotsFor is how many slots the streams of a trust and of all lower ones may have
// together: peer IDs cost nothing, and no number of them takes what is kept for others.
var slotsFor = [...]int{Unknown: MaxStreams / 2, Proven: MaxStreams * 3 / 4, Member: MaxStreams}

// StreamLimiter gives inbound streams their slots; the zero value has all of them free.
// When none is left, it evicts the oldest stream of an unknown peer: that stream has had
// its time to prove itself, since Limits also bounds how often such streams come. Among
// peers of higher trust, one that has many slots loses one to a peer that has few.
type StreamLimiter struct {
	mu    sync.Mutex
	taken [len(slotsFor)]int
	peers map[peer.ID]int
	all   []*Slot // the oldest first
}

// Slot is the right of one stream to be served.
type Slot struct {
	l    *StreamLimiter
	p    peer.ID
	as   Trust
	shut func() // resets the stream
	gone bool
}

// Enter gives a stream a slot; nil: there is none. The limiter calls shut if it evicts the
// stream later.
func (l *StreamLimiter) Enter(p peer.ID, as Trust, shut func()) *Slot {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.peers[p] >= MaxPeerStreams {
		return nil
	}
	for !l.room(as) {
		out := l.evict(p, as)
		if out == nil {
			return nil
		}
		out.shut()
		l.free(out)
	}
	s := &Slot{l: l, p: p, as: as, shut: shut}
	if l.peers == nil {
		l.peers = make(map[peer.ID]int)
	}
	l.peers[p]++
	l.taken[as]++
	l.all = append(l.all, s)
	return s
}

// Taken is how many streams of peers of a trust have slots.
func (l *StreamLimiter) Taken(as Trust) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.taken[as]
}

// evict chooses the slot that is taken from another stream for this peer; nil: none.
func (l *StreamLimiter) evict(p peer.ID, as Trust) (out *Slot) {
	for _, s := range l.all {
		switch {
		case s.as == Unknown:
			return s
		case s.as <= as && l.peers[s.p] > l.peers[p]+1 && (out == nil || l.peers[s.p] > l.peers[out.p]):
			out = s
		}
	}
	return out
}

// room says whether one more stream of a trust fits.
func (l *StreamLimiter) room(as Trust) bool {
	taken := 0
	for t, n := range l.taken {
		if taken += n; t >= int(as) && taken >= slotsFor[t] {
			return false
		}
	}
	return true
}

// free takes a slot back. The caller holds mu.
func (l *StreamLimiter) free(s *Slot) {
	if s.gone {
		return
	}
	s.gone = true
	l.taken[s.as]--
	l.all = slices.DeleteFunc(l.all, func(o *Slot) bool { return o == s })
	if l.peers[s.p]--; l.peers[s.p] == 0 {
		delete(l.peers, s.p)
	}
}

// Prove notes that the stream's peer is not unknown any more.
func (s *Slot) Prove() {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	if s.gone || s.as != Unknown {
		return
	}
	s.l.taken[Unknown]--
	s.as = Proven
	s.l.taken[Proven]++
}

// Leave gives the slot back. It may be called again.
func (s *Slot) Leave() {
	s.l.mu.Lock()
	defer s.l.mu.Unlock()
	s.l.free(s)
}
