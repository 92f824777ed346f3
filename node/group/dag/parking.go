package dag

import (
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// slot is a place in a log, which one entry can take.
type slot struct {
	log wire.LogID
	seq uint64
}

func (s *SignedEntry) slot() slot { return slot{s.Entry.Log(), s.Entry.Seq} }

// numbers are the first entries, of those that are parked or in quarantine, with each number.
type numbers map[slot]*SignedEntry

func (n numbers) keep(s *SignedEntry) {
	if n[s.slot()] == nil {
		n[s.slot()] = s
	}
}

func (n numbers) unkeep(s *SignedEntry) {
	if n[s.slot()] == s {
		delete(n, s.slot())
	}
}

// parking keeps entries that came before others that they build on, until those come.
type parking struct {
	known   func(wire.DeviceID) bool
	missing func(*wire.Entry) []wire.EntryHash // the missing entries that an entry builds on
	first   numbers

	Entries map[wire.EntryHash]*SignedEntry
	Waiting map[wire.EntryHash][]wire.EntryHash // missing entry → parked entries that wait for it
	Quota   map[wire.DeviceID]int               // how many there are; zero device: of those not known
	sizes   map[wire.DeviceID]int               // and their bytes
	queues  map[wire.DeviceID][]wire.EntryHash  // oldest first; some are gone
	bytes   int                                 // of all

	Deferred []*SignedEntry // they lack nothing any more, and wait for a turn with room
}

func newParking(known func(wire.DeviceID) bool, missing func(*wire.Entry) []wire.EntryHash, first numbers) parking {
	return parking{
		known: known, missing: missing, first: first,
		Entries: map[wire.EntryHash]*SignedEntry{}, Waiting: map[wire.EntryHash][]wire.EntryHash{},
		Quota: map[wire.DeviceID]int{}, sizes: map[wire.DeviceID]int{}, queues: map[wire.DeviceID][]wire.EntryHash{},
	}
}

// Park keeps an entry that came before others that it builds on. It is not durable: a sync
// brings it again. The newest entry is the most likely to be of use, so it takes the place
// of the oldest one of the same device, or of the device with the most.
func (p *parking) Park(s *SignedEntry, missing []wire.EntryHash) {
	if p.Entries[s.Hash] != nil {
		return
	}
	s.Bucket = s.Entry.Device
	if !p.known(s.Bucket) {
		s.Bucket = wire.DeviceID{}
	}
	if p.Quota[s.Bucket] >= MaxParked {
		p.dropOldest(s.Bucket)
	}
	for p.bytes+len(s.Raw) > maxParkedBytes {
		var most wire.DeviceID
		for d, size := range p.sizes {
			if size > p.sizes[most] || size == p.sizes[most] && slices.Compare(d[:], most[:]) < 0 {
				most = d
			}
		}
		p.dropOldest(most)
	}
	p.Entries[s.Hash] = s
	p.bytes += len(s.Raw)
	p.sizes[s.Bucket] += len(s.Raw)
	p.Quota[s.Bucket]++
	p.queues[s.Bucket] = append(p.queues[s.Bucket], s.Hash)
	p.first.keep(s)
	for _, h := range missing {
		p.Waiting[h] = append(p.Waiting[h], s.Hash)
	}
}

// dropOldest forgets the entry of a device that was parked first.
func (p *parking) dropOldest(bucket wire.DeviceID) {
	for _, h := range p.queues[bucket] {
		if s := p.Entries[h]; s != nil {
			p.drop(s)
			return
		}
	}
}

// drop forgets an entry that is parked.
func (p *parking) drop(s *SignedEntry) {
	p.release(s)
	for _, h := range p.missing(s.Entry) {
		p.Waiting[h] = slices.DeleteFunc(p.Waiting[h], func(w wire.EntryHash) bool { return w == s.Hash })
		if len(p.Waiting[h]) == 0 {
			delete(p.Waiting, h)
		}
	}
}

// DropForged forgets what was parked as a device's before the device was known, and is not
// signed by it: it must not call for other entries.
func (l *Logs) DropForged(group wire.GroupID, d *identity.Device) {
	for _, h := range slices.Clone(l.Parking.queues[wire.DeviceID{}]) {
		s := l.Parking.Entries[h]
		if s != nil && s.Entry.Device == d.ID && identity.Verify(d.Cert.LogKey, wire.DomainEntry, group, s.Signed) != nil {
			l.Parking.drop(s)
		}
	}
}

// LacksPast says since when an entry has been parked that waits for one which is not here
// at all: the one that came first. False: there is none.
func (p *parking) LacksPast() (since time.Time, lacks bool) {
	for h, waiting := range p.Waiting {
		if p.Entries[h] != nil {
			continue
		}
		for _, w := range waiting {
			if s := p.Entries[w]; s != nil && (!lacks || s.Since.Before(since)) {
				since, lacks = s.Since, true
			}
		}
	}
	return since, lacks
}

// Unpark takes out those that waited for h and now lack nothing.
func (p *parking) Unpark(h wire.EntryHash) []*SignedEntry {
	var out []*SignedEntry
	for _, w := range p.Waiting[h] {
		if s := p.Entries[w]; s != nil && len(p.missing(s.Entry)) == 0 {
			out = append(out, p.release(s))
		}
	}
	delete(p.Waiting, h)
	return out
}

// release takes an entry out of those that are parked.
func (p *parking) release(s *SignedEntry) *SignedEntry {
	delete(p.Entries, s.Hash)
	p.first.unkeep(s)
	p.bytes -= len(s.Raw)
	p.sizes[s.Bucket] -= len(s.Raw)
	switch p.Quota[s.Bucket]--; {
	case p.Quota[s.Bucket] == 0:
		delete(p.Quota, s.Bucket)
		delete(p.sizes, s.Bucket)
		delete(p.queues, s.Bucket)
	case len(p.queues[s.Bucket]) > 2*p.Quota[s.Bucket]+64 || p.queues[s.Bucket][0] == s.Hash:
		p.queues[s.Bucket] = slices.DeleteFunc(p.queues[s.Bucket], func(h wire.EntryHash) bool { return p.Entries[h] == nil })
	}
	return s
}
