package group

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/pandanode/pandanode/node/wire"
)

// quarantine keeps entries that count for nothing until somebody references them. They are
// not durable: a sync brings them again, right before what needs them, so that the oldest
// make room.
type quarantine struct {
	first numbers

	entries map[wire.EntryHash]*signedEntry
	order   []wire.EntryHash // as they came; some are gone
	bytes   int
	called  map[wire.EntryHash]bool // taken from here, since somebody references them
}

func newQuarantine(first numbers) quarantine {
	return quarantine{first: first, entries: map[wire.EntryHash]*signedEntry{}, called: map[wire.EntryHash]bool{}}
}

func (q *quarantine) put(s *signedEntry) {
	if q.entries[s.hash] != nil {
		return
	}
	q.entries[s.hash] = s
	q.bytes += len(s.raw)
	q.order = append(q.order, s.hash)
	q.first.keep(s)
	for q.bytes > maxQuarantineBytes {
		q.remove(q.order[0])
		q.order = q.order[1:]
	}
	if len(q.order) > 2*len(q.entries)+64 {
		q.order = slices.DeleteFunc(q.order, func(h wire.EntryHash) bool { return q.entries[h] == nil })
	}
}

func (q *quarantine) remove(h wire.EntryHash) {
	if s := q.entries[h]; s != nil {
		delete(q.entries, h)
		q.bytes -= len(s.raw)
		q.first.unkeep(s)
	}
}

// wasCalled says, once, whether an entry was taken from here since somebody references it.
func (q *quarantine) wasCalled(h wire.EntryHash) bool {
	called := q.called[h]
	delete(q.called, h)
	return called
}

// putAside keeps an entry that nobody needs in quarantine, and says why it is not taken.
func (l *logs) putAside(s *signedEntry) error {
	l.quarantine.put(s)
	if l.evidence[s.entry.Log()] == nil {
		return fmt.Errorf("log of device %v: %w: %d incarnations", s.entry.Device, ErrFull, maxLogs)
	}
	return fmt.Errorf("entry %d of device %v: %w", s.entry.Seq, s.entry.Device, ErrEquivocation)
}

// referenced takes out of quarantine what is now needed, with all it builds on there,
// causes first.
func (l *logs) referenced() []*signedEntry {
	if len(l.quarantine.entries) == 0 {
		return nil
	}
	var out []*signedEntry
	var take []wire.EntryHash
	for h := range l.parking.waiting {
		if s := l.quarantine.entries[h]; s != nil && l.needed(h, s.entry) {
			take = append(take, h)
		}
	}
	for len(take) > 0 {
		s := l.quarantine.entries[take[len(take)-1]]
		if take = take[:len(take)-1]; s == nil {
			continue
		}
		l.quarantine.remove(s.hash)
		l.quarantine.called[s.hash] = true
		out = append(out, s)
		take = append(take, l.missing(s.entry)...)
	}
	slices.SortFunc(out, func(a, b *signedEntry) int {
		return cmp.Or(cmp.Compare(a.entry.HLC, b.entry.HLC), slices.Compare(a.hash[:], b.hash[:]))
	})
	return out
}

// unreferenced says whether an entry is taken only if somebody else needs it: its log has
// evidence against it, or would be one too many that its device begins.
func (l *logs) unreferenced(e *wire.Entry) bool {
	log := e.Log()
	return l.evidence[log] != nil || len(l.index[log]) == 0 && l.logsOf(log.Device) >= maxLogs
}

// needed says whether something that waits here needs such an entry: in the
// end something that is not, and for one log too many something of another device.
func (l *logs) needed(h wire.EntryHash, e *wire.Entry) bool {
	forked := l.evidence[e.Log()] != nil
	seen := map[wire.EntryHash]bool{}
	var needs func(wire.EntryHash) bool
	needs = func(h wire.EntryHash) bool {
		if seen[h] {
			return false
		}
		seen[h] = true
		return slices.ContainsFunc(l.parking.waiting[h], func(w wire.EntryHash) bool {
			s := l.parking.entries[w]
			if s == nil {
				return false
			}
			return l.devices[s.entry.Device] != nil && !l.unreferenced(s.entry) && (forked || s.entry.Device != e.Device) || needs(w)
		})
	}
	return needs(h)
}
