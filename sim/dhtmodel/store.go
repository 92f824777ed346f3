package dhtmodel

import (
	"slices"
	"time"
)

// Bounds as in discovery/provided.go.
const (
	maxProvided = 16 << 10
	recordAge   = 48 * time.Hour
	sampleSize  = 32
	given       = 64 // providers in one answer
	scanned     = 64 // records of one key that are looked through without an index
)

// store is what a server keeps for others: provider records with the quotas of package
// discovery, and group records.
type store struct {
	all       []provided
	keys      map[uint64]*listed
	ofNetwork map[uint32]int
	values    map[uint64]time.Duration
	ofKey     int // bound on the records of one key; 0: none
}

type provided struct {
	key   uint64
	peer  int32
	net   uint32
	place int32 // in the key's list
	since time.Duration
}

// listed is the records of one key.
type listed struct {
	at    []int32         // in store.all
	index map[int32]int32 // provider → place; nil while the list is short
}

func newStore(ofKey int) *store {
	return &store{keys: map[uint64]*listed{}, ofNetwork: map[uint32]int{}, values: map[uint64]time.Duration{}, ofKey: ofKey}
}

func (s *store) find(l *listed, peer int32) (int32, bool) {
	if l.index != nil {
		place, ok := l.index[peer]
		if !ok {
			return 0, false
		}
		return l.at[place], true
	}
	for _, i := range l.at {
		if s.all[i].peer == peer {
			return i, true
		}
	}
	return 0, false
}

// add keeps a record, and says whether another one made room.
func (s *store) add(r *rng, key uint64, peer int32, net uint32, now time.Duration) (displaced bool) {
	l := s.keys[key]
	if l == nil {
		l = &listed{}
		s.keys[key] = l
	}
	if i, ok := s.find(l, peer); ok {
		s.all[i].since = now
		return false
	}
	switch {
	case s.ofKey > 0 && len(l.at) >= s.ofKey:
		s.remove(s.heaviest(func() int32 { return l.at[r.n(len(l.at))] }))
		displaced = true
	case len(s.all) >= maxProvided:
		s.remove(s.heaviest(func() int32 { return int32(r.n(len(s.all))) })) //nolint:gosec // at most maxProvided
		displaced = true
	}
	if s.keys[key] == nil { // it was the key's last
		s.keys[key] = l
	}
	i, place := int32(len(s.all)), int32(len(l.at)) //nolint:gosec // at most maxProvided
	s.all = append(s.all, provided{key, peer, net, place, now})
	l.at = append(l.at, i)
	s.ofNetwork[net]++
	switch {
	case l.index != nil:
		l.index[peer] = place
	case len(l.at) > scanned:
		l.index = make(map[int32]int32, 2*scanned)
		for p, i := range l.at {
			l.index[s.all[i].peer] = int32(p) //nolint:gosec // the same
		}
	}
	return displaced
}

// heaviest draws records, and gives one of the network that holds most.
func (s *store) heaviest(draw func() int32) int32 {
	worst := draw()
	for range sampleSize - 1 {
		if i := draw(); s.ofNetwork[s.all[i].net] > s.ofNetwork[s.all[worst].net] {
			worst = i
		}
	}
	return worst
}

func (s *store) remove(i int32) {
	e := s.all[i]
	l := s.keys[e.key]
	moved := l.at[len(l.at)-1]
	l.at[e.place] = moved
	s.all[moved].place = e.place
	l.at = l.at[:len(l.at)-1]
	if l.index != nil {
		l.index[s.all[moved].peer] = e.place
		delete(l.index, e.peer)
	}
	if len(l.at) == 0 {
		delete(s.keys, e.key)
	}
	last := int32(len(s.all) - 1) //nolint:gosec // at most maxProvided
	if i != last {
		s.all[i] = s.all[last]
		s.keys[s.all[i].key].at[s.all[i].place] = i
	}
	s.all = s.all[:last]
	if s.ofNetwork[e.net]--; s.ofNetwork[e.net] == 0 {
		delete(s.ofNetwork, e.net)
	}
}

// providers appends those that provide a key: all, or so many drawn at random. In the node
// networks take turns; here nearly every device has a network of its own.
func (s *store) providers(r *rng, key uint64, now time.Duration, out []int32) []int32 {
	l := s.keys[key]
	if l == nil {
		return out
	}
	from := len(out)
	if len(l.at) <= given {
		for _, i := range l.at {
			if now-s.all[i].since <= recordAge {
				out = append(out, s.all[i].peer)
			}
		}
		return out
	}
	for range 2 * given {
		e := s.all[l.at[r.n(len(l.at))]]
		if now-e.since <= recordAge && !slices.Contains(out[from:], e.peer) {
			if out = append(out, e.peer); len(out)-from == given {
				break
			}
		}
	}
	return out
}

// count is how many records there are of a key.
func (s *store) count(key uint64) int {
	if l := s.keys[key]; l != nil {
		return len(l.at)
	}
	return 0
}
