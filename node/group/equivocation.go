package group

import (
	"fmt"
	"maps"
	"slices"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// A device that signs two entries with one sequence number splits its log in two.
// Both branches may have been built upon before anybody saw both, so neither can
// be refused: the log becomes a tree, and entries on different branches are
// concurrent. The two signatures are evidence, and from then on an entry of that
// log counts only if a log without evidence names it. That is a function of the
// set of entries alone, so that members who saw the branches in different orders
// agree; and since honest devices name nothing of such a log that nobody else
// named, each of them can add one branch at the most, and the log ends.

// evidence is two entries with one sequence number of one log, as signed.
type evidence struct {
	log  wire.LogID
	pair [2][]byte // encoded Signeds, ascending by hash
}

// evidenceRow is evidence at rest.
type evidenceRow struct {
	Pair [2][]byte `cbor:"1,keyasint"`
}

// accused says whether there is evidence against any log of a device.
func (l *logs) accused(d wire.DeviceID) bool {
	for id := range l.evidence {
		if id.Device == d {
			return true
		}
	}
	return false
}

// counts says whether an entry has an effect: its log is without evidence, or a
// log without evidence has it in its past.
func (l *logs) counts(it *item) bool {
	return l.evidence[it.log] == nil || l.cover().seq(it.list) >= it.seq
}

// cover is the union of the pasts of all logs without evidence.
func (l *logs) cover() past {
	if l.covered == nil {
		l.covered = past{}
		for _, list := range l.lists {
			if l.evidence[list.id] == nil {
				l.covered = l.covered.join(list.head().past)
			}
		}
	}
	return l.covered
}

// extendCover keeps the cover up to date with an item that comes in.
func (l *logs) extendCover(it *item) {
	if l.covered == nil || l.evidence[it.log] != nil {
		return
	}
	for i, list := range l.lists {
		l.grew = l.grew || l.evidence[list.id] != nil && it.past.seq(i) > l.covered.seq(i)
	}
	l.covered = l.covered.join(it.past)
}

// lastHeard is the newest time of an entry of each user that counts.
func (l *logs) lastHeard() map[wire.UserID]crdt.HLC {
	if len(l.evidence) == 0 {
		return l.newest // of every entry
	}
	out := make(map[wire.UserID]crdt.HLC, len(l.newest))
	for i, list := range l.lists {
		last := list.head()
		if l.evidence[list.id] != nil {
			last = list.at(l.cover().seq(i))
		}
		if last != nil {
			out[last.user] = max(out[last.user], last.hlc)
		}
	}
	return out
}

// rival gives an entry of the set with the same seq of the same log, if there is one.
func (l *logs) rival(s *signedEntry) *item {
	for _, i := range l.index[s.entry.Log()] {
		if it := l.lists[i].at(s.entry.Seq); it != nil && it.hash != s.hash {
			return it
		}
	}
	return nil
}

// wanted says whether something that waits here needs an entry, by a log without
// evidence in the end.
func (l *logs) wanted(h wire.EntryHash) bool {
	seen := map[wire.EntryHash]bool{}
	var needs func(wire.EntryHash) bool
	needs = func(h wire.EntryHash) bool {
		if seen[h] {
			return false
		}
		seen[h] = true
		return slices.ContainsFunc(l.waiting[h], func(w wire.EntryHash) bool {
			s := l.parked[w]
			return s != nil && (l.evidence[s.entry.Log()] == nil && l.devices[s.entry.Device] != nil || needs(w))
		})
	}
	return needs(h)
}

// putAside keeps an entry that counts for nothing until somebody names it. It is
// not durable: a sync brings it again.
func (l *logs) putAside(s *signedEntry) {
	n := 0
	for _, o := range l.aside {
		if o.entry.Device == s.entry.Device {
			n++
		}
	}
	if n < maxParked && len(l.aside) < maxParkedDevices*maxParked/16 {
		l.aside[s.hash] = s
	}
}

// named takes out of what lies aside what is now needed.
func (l *logs) named() []*signedEntry {
	var out []*signedEntry
	for _, h := range slices.SortedFunc(maps.Keys(l.aside), func(a, b wire.EntryHash) int { return slices.Compare(a[:], b[:]) }) {
		if l.wanted(h) {
			out = append(out, l.aside[h])
			delete(l.aside, h)
		}
	}
	return out
}

// accuse compares an entry that arrived with the set. Two entries with one
// sequence number are evidence against their log: it is kept, told to people and
// to the group, and what was derived from the entries is derived again. This
// device's own log forks if its store went back in time; it begins another.
func (m *Machine) accuse(s *signedEntry) error {
	log := s.entry.Log()
	rival := m.logs.rival(s)
	if rival == nil || m.logs.evidence[log] != nil {
		return nil
	}
	d := m.logs.devices[log.Device]
	if err := identity.Verify(d.Cert.LogKey, wire.DomainEntry, m.group, s.signed); err != nil {
		return fmt.Errorf("%v of device %v: %w: %w", s.entry.Kind, log.Device, ErrForged, err)
	}
	other, err := m.get(itemKey(rival))
	if err != nil || other == nil {
		m.fail(fmt.Errorf("%w: entry %v is gone: %w", ErrCorrupt, rival.hash, err))
		return m.broken
	}
	e := &evidence{log: log, pair: [2][]byte{other, s.raw}}
	if slices.Compare(rival.hash[:], s.hash[:]) > 0 {
		e.pair = [2][]byte{s.raw, other}
	}
	m.put(rowEvidence+logKey(log), wire.Marshal(&evidenceRow{Pair: e.pair}))
	m.holdAgainst(e)
	m.outgoing.Entries = append(m.outgoing.Entries, e.pair[:]...)
	m.emit(m.now, Event{
		Kind: EventEvidence, User: d.User, Device: d.ID,
		Detail: fmt.Sprintf("the device signed two different entries with sequence number %d: it was restored wrongly, or somebody else has its key", s.entry.Seq),
	})
	return nil
}

func (m *Machine) holdAgainst(e *evidence) {
	m.logs.evidence[e.log] = e
	m.logs.covered = nil
	m.recount()
}

// recount derives again what depends on which entries count.
func (m *Machine) recount() {
	m.logs.grew = false
	m.stale, m.chosen, m.sendKey = true, nil, nil
	clear(m.rosters)
}

func (m *Machine) loadEvidence() error {
	return m.scan(rowEvidence, func(_ string, v []byte) error {
		var row evidenceRow
		if err := wire.Unmarshal(v, &row); err != nil {
			return fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		s, err := readEntry(m.group, row.Pair[0])
		if err != nil {
			return fmt.Errorf("%w: evidence: %w", ErrCorrupt, err)
		}
		m.holdAgainst(&evidence{log: s.entry.Log(), pair: row.Pair})
		return nil
	})
}
