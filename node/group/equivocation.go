package group

import (
	"fmt"
	"slices"

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
	return l.evidence[it.log] == nil || l.cover().seq(int(it.list)) >= it.seq
}

// recounted notes that what depends on which entries count is derived again.
func (l *logs) recounted() {
	l.grew = false
	l.changes++
}

// cover is the union of the pasts of all logs without evidence.
func (l *logs) cover() vector {
	if l.covered == nil {
		l.covered = vector{}
		for _, list := range l.lists {
			if l.evidence[list.id] == nil {
				l.covered = l.covered.join(list.head())
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
		l.grew = l.grew || l.evidence[list.id] != nil && it.seen(i) > l.covered.seq(i)
	}
	l.covered = l.covered.join(it)
}

// lastEntries lists the last entry that counts of each branch, but for those that their
// device built upon in another log.
func (l *logs) lastEntries() []*item {
	by := map[wire.DeviceID][]*item{}
	for i, list := range l.lists {
		last := list.head()
		if l.evidence[list.id] != nil {
			last = list.at(l.cover().seq(i))
		}
		if last != nil {
			by[list.id.Device] = append(by[list.id.Device], last)
		}
	}
	out := make([]*item, 0, len(by))
	for _, last := range by {
		for _, it := range last {
			if !slices.ContainsFunc(last, func(o *item) bool { return o != it && o.seen(int(it.list)) >= it.seq }) {
				out = append(out, it)
			}
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

// rivalOf gives an entry with the same number of the same log as signed: of the set,
// or of those that are kept beside it; nil: there is none.
func (l *logs) rivalOf(group wire.GroupID, s *signedEntry, read func(*item) ([]byte, error)) (hash wire.EntryHash, raw []byte, err error) {
	if it := l.rival(s); it != nil {
		raw, err := read(it)
		return it.hash, raw, err
	}
	o := l.first[s.slot()]
	if o == nil || o.hash == s.hash {
		return hash, nil, nil
	}
	if d := l.devices[o.entry.Device]; identity.Verify(d.Cert.LogKey, wire.DomainEntry, group, o.signed) != nil {
		l.parking.drop(o)     // it was parked when its device was not known
		return hash, nil, nil //nolint:nilerr // what does not verify is no second entry
	}
	return o.hash, o.raw, nil
}

// detectEquivocation compares an entry that arrived with those that are here, also with those
// that wait: the signatures alone are what counts, so that everybody who is shown them
// agrees. Two entries with one sequence number are evidence against their log. Nil: there
// is none, or it is known.
func (l *logs) detectEquivocation(group wire.GroupID, s *signedEntry, read func(*item) ([]byte, error)) (*evidence, error) {
	log := s.entry.Log()
	d := l.devices[log.Device]
	if d == nil || l.evidence[log] != nil {
		return nil, nil
	}
	hash, other, err := l.rivalOf(group, s, read)
	if other == nil {
		return nil, err
	}
	if err := identity.Verify(d.Cert.LogKey, wire.DomainEntry, group, s.signed); err != nil {
		return nil, fmt.Errorf("%v of device %v: %w: %w", s.entry.Kind, log.Device, ErrForged, err)
	}
	e := &evidence{log: log, pair: [2][]byte{other, s.raw}}
	if slices.Compare(hash[:], s.hash[:]) > 0 {
		e.pair = [2][]byte{s.raw, other}
	}
	return e, nil
}

// recordEvidence takes evidence into account. What depends on which entries count is to be
// derived again.
func (l *logs) recordEvidence(e *evidence) {
	l.evidence[e.log] = e
	l.covered = nil
	l.recounted()
	// What waits of that log goes into quarantine, unless somebody needs it.
	for _, s := range l.parking.entries {
		if s.entry.Log() == e.log && !l.needed(s.hash, s.entry) {
			l.parking.drop(s)
			l.quarantine.put(s)
		}
	}
}
