package group

import (
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// slot is a place in a log, which one entry can take.
type slot struct {
	log wire.LogID
	seq uint64
}

func (s *signedEntry) slot() slot { return slot{s.entry.Log(), s.entry.Seq} }

// numbers are the first entries, of those that are parked or in quarantine, with each number.
type numbers map[slot]*signedEntry

func (n numbers) keep(s *signedEntry) {
	if n[s.slot()] == nil {
		n[s.slot()] = s
	}
}

func (n numbers) unkeep(s *signedEntry) {
	if n[s.slot()] == s {
		delete(n, s.slot())
	}
}

// parking keeps entries that came before what they build on, until that comes.
type parking struct {
	known   func(wire.DeviceID) bool
	missing func(*wire.Entry) []wire.EntryHash // what the set lacks of what an entry builds on
	first   numbers

	entries map[wire.EntryHash]*signedEntry
	waiting map[wire.EntryHash][]wire.EntryHash // what is missing → who waits for it
	quota   map[wire.DeviceID]int               // how many there are; zero device: of those not known
	sizes   map[wire.DeviceID]int               // and their bytes
	queues  map[wire.DeviceID][]wire.EntryHash  // oldest first; some are gone
	bytes   int                                 // of all

	deferred []*signedEntry // they lack nothing any more, and wait for a turn with room
}

func newParking(known func(wire.DeviceID) bool, missing func(*wire.Entry) []wire.EntryHash, first numbers) parking {
	return parking{
		known: known, missing: missing, first: first,
		entries: map[wire.EntryHash]*signedEntry{}, waiting: map[wire.EntryHash][]wire.EntryHash{},
		quota: map[wire.DeviceID]int{}, sizes: map[wire.DeviceID]int{}, queues: map[wire.DeviceID][]wire.EntryHash{},
	}
}

// park keeps an entry that came before what it builds on. It is not durable: a
// sync brings it again, and what came last is the most likely to be of use, so that
// it takes the place of the oldest: of the same device, or of the one with the most.
func (p *parking) park(s *signedEntry, missing []wire.EntryHash) {
	if p.entries[s.hash] != nil {
		return
	}
	s.bucket = s.entry.Device
	if !p.known(s.bucket) {
		s.bucket = wire.DeviceID{}
	}
	if p.quota[s.bucket] >= maxParked {
		p.dropOldest(s.bucket)
	}
	for p.bytes+len(s.raw) > maxParkedBytes {
		var most wire.DeviceID
		for d, size := range p.sizes {
			if size > p.sizes[most] || size == p.sizes[most] && slices.Compare(d[:], most[:]) < 0 {
				most = d
			}
		}
		p.dropOldest(most)
	}
	p.entries[s.hash] = s
	p.bytes += len(s.raw)
	p.sizes[s.bucket] += len(s.raw)
	p.quota[s.bucket]++
	p.queues[s.bucket] = append(p.queues[s.bucket], s.hash)
	p.first.keep(s)
	for _, h := range missing {
		p.waiting[h] = append(p.waiting[h], s.hash)
	}
}

// dropOldest forgets the entry of a device that was parked first.
func (p *parking) dropOldest(bucket wire.DeviceID) {
	for _, h := range p.queues[bucket] {
		if s := p.entries[h]; s != nil {
			p.drop(s)
			return
		}
	}
}

// drop forgets an entry that is parked.
func (p *parking) drop(s *signedEntry) {
	p.release(s)
	for _, h := range p.missing(s.entry) {
		p.waiting[h] = slices.DeleteFunc(p.waiting[h], func(w wire.EntryHash) bool { return w == s.hash })
		if len(p.waiting[h]) == 0 {
			delete(p.waiting, h)
		}
	}
}

// lacksPast says since when an entry has been parked that waits for one which is not here
// at all: the one that came first. False: there is none.
func (p *parking) lacksPast() (since time.Time, lacks bool) {
	for h, waiting := range p.waiting {
		if p.entries[h] != nil {
			continue
		}
		for _, w := range waiting {
			if s := p.entries[w]; s != nil && (!lacks || s.since.Before(since)) {
				since, lacks = s.since, true
			}
		}
	}
	return since, lacks
}

// unpark takes out those that waited for h and now lack nothing.
func (p *parking) unpark(h wire.EntryHash) []*signedEntry {
	var out []*signedEntry
	for _, w := range p.waiting[h] {
		if s := p.entries[w]; s != nil && len(p.missing(s.entry)) == 0 {
			out = append(out, p.release(s))
		}
	}
	delete(p.waiting, h)
	return out
}

// release takes an entry out of those that are parked.
func (p *parking) release(s *signedEntry) *signedEntry {
	delete(p.entries, s.hash)
	p.first.unkeep(s)
	p.bytes -= len(s.raw)
	p.sizes[s.bucket] -= len(s.raw)
	switch p.quota[s.bucket]--; {
	case p.quota[s.bucket] == 0:
		delete(p.quota, s.bucket)
		delete(p.sizes, s.bucket)
		delete(p.queues, s.bucket)
	case len(p.queues[s.bucket]) > 2*p.quota[s.bucket]+64 || p.queues[s.bucket][0] == s.hash:
		p.queues[s.bucket] = slices.DeleteFunc(p.queues[s.bucket], func(h wire.EntryHash) bool { return p.entries[h] == nil })
	}
	return s
}
