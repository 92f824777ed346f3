package group

import (
	"bytes"
	"slices"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/wire"
)

// Envelopes of one sender overtake each other, on the way and inside a node. A seal whose
// record is not in the set yet is kept until the record is, so that a burst needs no
// exchange. It is not durable: after a crash an exchange brings it. Any holder of a
// transport key can label a seal with any message. So the kept seals are bounded for each
// device whose record is parked, and once for all records that are unknown.

// Bounds of the seals kept for records that may still come.
const (
	maxEarlyPerMsg     = 4
	maxEarly           = dag.MaxParked // of one device's records; of all that are unknown
	maxEarlyBytes      = 2 << 20       // of these
	maxEarlyBytesInAll = 16 << 20
)

// early are the seals whose records are not in the set.
type early struct {
	seals   map[wire.MessageID][]earlySeal
	buckets map[wire.DeviceID]*earlyBucket // by who wrote the record; zero: nobody knows
	bytes   int
	opened  []rawSeal // their record has come in this turn
}

type earlySeal struct {
	rawSeal

	bucket wire.DeviceID
}

type earlyBucket struct {
	order []wire.MessageID // one for each seal, oldest first; some are gone
	count int
	bytes int
}

func newEarly() early {
	return early{seals: map[wire.MessageID][]earlySeal{}, buckets: map[wire.DeviceID]*earlyBucket{}}
}

// keep keeps a seal. The newest is the most likely to be of use: the oldest of the
// same device gives way, or of the device with the most.
func (e *early) keep(bucket wire.DeviceID, s rawSeal) {
	of := e.seals[s.Message]
	if len(of) >= maxEarlyPerMsg || slices.ContainsFunc(of, func(o earlySeal) bool { return bytes.Equal(o.raw, s.raw) }) {
		return
	}
	b := e.buckets[bucket]
	if b == nil {
		b = &earlyBucket{}
		e.buckets[bucket] = b
	}
	e.seals[s.Message] = append(of, earlySeal{s, bucket})
	b.order = append(b.order, s.Message)
	b.count++
	b.bytes += len(s.raw)
	e.bytes += len(s.raw)
	for b.count > maxEarly || b.bytes > maxEarlyBytes {
		e.dropOldest(bucket)
	}
	for e.bytes > maxEarlyBytesInAll {
		var most wire.DeviceID
		size := -1
		for d, o := range e.buckets {
			if o.bytes > size || o.bytes == size && bytes.Compare(d[:], most[:]) < 0 {
				most, size = d, o.bytes
			}
		}
		e.dropOldest(most)
	}
}

// dropOldest forgets the seal of a bucket that came first.
func (e *early) dropOldest(bucket wire.DeviceID) {
	b := e.buckets[bucket]
	for len(b.order) > 0 {
		id := b.order[0]
		b.order = b.order[1:]
		of := e.seals[id]
		i := slices.IndexFunc(of, func(s earlySeal) bool { return s.bucket == bucket })
		if i < 0 {
			continue
		}
		e.forget(of[i])
		if of = slices.Delete(of, i, i+1); len(of) == 0 {
			delete(e.seals, id)
		} else {
			e.seals[id] = of
		}
		return
	}
}

// forget takes a seal out of the accounts.
func (e *early) forget(s earlySeal) {
	b := e.buckets[s.bucket]
	b.count--
	b.bytes -= len(s.raw)
	e.bytes -= len(s.raw)
	switch {
	case b.count == 0:
		delete(e.buckets, s.bucket)
	case len(b.order) > 2*b.count+64:
		b.order = slices.DeleteFunc(b.order, func(id wire.MessageID) bool { return len(e.seals[id]) == 0 })
	}
}

// arrived says that a message's record is in the set: its seals are opened in this turn.
func (e *early) arrived(id wire.MessageID) {
	of := e.seals[id]
	delete(e.seals, id)
	for _, s := range of {
		e.forget(s)
		e.opened = append(e.opened, s.rawSeal)
	}
}

// take keeps a seal whose record is not in the set, parked being that record's entry if it is
// parked, and says whether a member signed it: then it waits for nothing but its past.
func (e *early) take(parked *dag.SignedEntry, s rawSeal) (vouched bool) {
	var bucket wire.DeviceID
	if parked != nil {
		bucket, vouched = parked.Bucket, parked.Vouched
	}
	e.keep(bucket, s)
	return vouched
}
