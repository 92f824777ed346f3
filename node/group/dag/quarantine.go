package dag

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// quarantine keeps entries that count for nothing until somebody references them. They are
// not durable: a sync brings them again, right before what needs them, so that the oldest
// make room.
type quarantine struct {
	first numbers

	Entries map[wire.EntryHash]*SignedEntry
	order   []wire.EntryHash // as they came; some are gone
	bytes   int
	held    map[wire.EntryHash]bool // for a time, though they may come in
	sizes   map[wire.DeviceID]int   // bytes of those, by device
	called  map[wire.EntryHash]bool // taken from here, since somebody references them

	brings    map[wire.EntryHash]*identity.Device // the device that an operation here would add
	newcomers map[wire.DeviceID][]wire.EntryHash  // such a device → those operations
}

func newQuarantine(first numbers) quarantine {
	return quarantine{
		first: first, Entries: map[wire.EntryHash]*SignedEntry{}, held: map[wire.EntryHash]bool{}, sizes: map[wire.DeviceID]int{}, called: map[wire.EntryHash]bool{},
		brings: map[wire.EntryHash]*identity.Device{}, newcomers: map[wire.DeviceID][]wire.EntryHash{},
	}
}

func (q *quarantine) put(s *SignedEntry) {
	if q.Entries[s.Hash] != nil {
		return
	}
	q.Entries[s.Hash] = s
	q.bytes += len(s.Raw)
	q.order = append(q.order, s.Hash)
	q.first.keep(s)
	if d := broughtBy(s.Entry); d != nil {
		q.brings[s.Hash] = d
		q.newcomers[d.ID] = append(q.newcomers[d.ID], s.Hash)
	}
	for q.bytes > maxQuarantineBytes {
		q.Remove(q.order[0])
		q.order = q.order[1:]
	}
	if len(q.order) > 2*len(q.Entries)+64 {
		q.order = slices.DeleteFunc(q.order, func(h wire.EntryHash) bool { return q.Entries[h] == nil })
	}
}

func (q *quarantine) Remove(h wire.EntryHash) {
	if s := q.Entries[h]; s != nil {
		delete(q.Entries, h)
		if q.held[h] {
			delete(q.held, h)
			if q.sizes[s.Entry.Device] -= len(s.Raw); q.sizes[s.Entry.Device] == 0 {
				delete(q.sizes, s.Entry.Device)
			}
		}
		q.bytes -= len(s.Raw)
		q.first.unkeep(s)
		if d := q.brings[h]; d != nil {
			delete(q.brings, h)
			q.newcomers[d.ID] = slices.DeleteFunc(q.newcomers[d.ID], func(o wire.EntryHash) bool { return o == h })
			if len(q.newcomers[d.ID]) == 0 {
				delete(q.newcomers, d.ID)
			}
		}
	}
}

// broughtBy returns the device that an operation would add, or nil.
func broughtBy(e *wire.Entry) *identity.Device {
	if e.Kind != wire.KindOp {
		return nil
	}
	op, err := wire.DecodeOp(e.Body)
	if err != nil || op.Type != wire.OpAdd && op.Type != wire.OpDeviceAdd {
		return nil
	}
	d, err := identity.ReadDevice(*op.Cert)
	if err != nil {
		return nil
	}
	return d
}

// recognize looks who wrote what is parked as an unknown device's: a device that only an
// operation in quarantine would add can call for that operation, as it does where the
// operation came before the evidence against its log. A forgery is forgotten.
func (l *Logs) recognize(group wire.GroupID) {
	if len(l.Quarantine.newcomers) == 0 {
		return
	}
	for _, h := range slices.Clone(l.Parking.queues[wire.DeviceID{}]) {
		s := l.Parking.Entries[h]
		if s == nil || s.newcomer != nil || len(l.Quarantine.newcomers[s.Entry.Device]) == 0 {
			continue
		}
		d := l.Quarantine.brings[l.Quarantine.newcomers[s.Entry.Device][0]]
		if identity.Verify(d.Cert.LogKey, wire.DomainEntry, group, s.Signed) != nil {
			l.Parking.drop(s)
		} else {
			s.newcomer = d
		}
	}
}

// WasCalled says, once, whether an entry was taken from here since somebody references it.
func (q *quarantine) WasCalled(h wire.EntryHash) bool {
	called := q.called[h]
	delete(q.called, h)
	return called
}

// Hold keeps an entry for a time, unless somebody needs it: some of each device.
func (q *quarantine) Hold(s *SignedEntry) {
	if q.held[s.Hash] || q.sizes[s.Entry.Device]+len(s.Raw) > maxHeldBytes {
		return
	}
	if q.put(s); q.Entries[s.Hash] != nil {
		q.held[s.Hash] = true
		q.sizes[s.Entry.Device] += len(s.Raw)
	}
}

// Held lists the entries that are kept for a time, in the order of their dates.
func (q *quarantine) Held() []*SignedEntry {
	out := make([]*SignedEntry, 0, len(q.held))
	for h := range q.held {
		out = append(out, q.Entries[h])
	}
	slices.SortFunc(out, func(a, b *SignedEntry) int {
		return cmp.Or(cmp.Compare(a.Entry.HLC, b.Entry.HLC), slices.Compare(a.Hash[:], b.Hash[:]))
	})
	return out
}

// FollowsHeld says whether an entry builds on one of its own user that is kept for a time.
func (l *Logs) FollowsHeld(e *wire.Entry, missing []wire.EntryHash) bool {
	d := l.Devices[e.Device]
	return d != nil && slices.ContainsFunc(missing, func(h wire.EntryHash) bool {
		return l.Quarantine.held[h] && l.Devices[l.Quarantine.Entries[h].Entry.Device].User == d.User
	})
}

// PutAside keeps an entry that nobody needs in quarantine, and says why it is not taken.
func (l *Logs) PutAside(s *SignedEntry) error {
	l.Quarantine.put(s)
	if l.Evidence[s.Entry.Log()] == nil {
		return fmt.Errorf("log of device %v: %w: it wrote more than %d entries that do not know each other", s.Entry.Device, verdict.ErrFull, MaxBeside)
	}
	return fmt.Errorf("entry %d of device %v: %w", s.Entry.Seq, s.Entry.Device, verdict.ErrEquivocation)
}

// Referenced takes out of quarantine what is now needed, with all it builds on there,
// causes first.
func (l *Logs) Referenced(group wire.GroupID) []*SignedEntry {
	if len(l.Quarantine.Entries) == 0 {
		return nil
	}
	l.recognize(group)
	var out []*SignedEntry
	var take []wire.EntryHash
	for h := range l.Parking.Waiting {
		if s := l.Quarantine.Entries[h]; s != nil && l.Needed(h, s.Entry) {
			take = append(take, h)
		}
	}
	for len(take) > 0 {
		s := l.Quarantine.Entries[take[len(take)-1]]
		if take = take[:len(take)-1]; s == nil {
			continue
		}
		l.Quarantine.Remove(s.Hash)
		l.Quarantine.called[s.Hash] = true
		out = append(out, s)
		take = append(take, l.Missing(s.Entry)...)
	}
	slices.SortFunc(out, func(a, b *SignedEntry) int {
		return cmp.Or(cmp.Compare(a.Entry.HLC, b.Entry.HLC), slices.Compare(a.Hash[:], b.Hash[:]))
	})
	return out
}

// Unreferenced says whether an entry is taken only if somebody else needs it: its log has
// evidence against it, or its device floods.
func (l *Logs) Unreferenced(e *wire.Entry) bool {
	return l.accused(e.Log())
}

// Needed says whether something that waits here needs such an entry: in the
// end something that is not, and for one log too many something of another device. An
// entry that is only kept for a time is needed by something of another user.
func (l *Logs) Needed(h wire.EntryHash, e *wire.Entry) bool {
	of := l.Devices[e.Device]
	other := func(by *identity.Device, o *wire.Entry) bool {
		switch {
		case l.Evidence[e.Log()] != nil:
			return true
		case l.accused(e.Log()) || of == nil:
			return o.Device != e.Device
		}
		return by.User != of.User
	}
	seen := map[wire.EntryHash]bool{}
	var needs func(wire.EntryHash) bool
	needs = func(h wire.EntryHash) bool {
		if seen[h] {
			return false
		}
		seen[h] = true
		return slices.ContainsFunc(l.Parking.Waiting[h], func(w wire.EntryHash) bool {
			s := l.Parking.Entries[w]
			if s == nil {
				return false
			}
			by := l.Devices[s.Entry.Device]
			if by == nil && l.accused(e.Log()) {
				by = s.newcomer
			}
			return by != nil && !l.Unreferenced(s.Entry) && other(by, s.Entry) || needs(w)
		})
	}
	return needs(h)
}
