package dag

import (
	"fmt"
	"slices"

	"github.com/pandanode/pandanode/node/group/verdict"
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

// Evidence is two entries with one sequence number of one log, as signed.
type Evidence struct {
	Log  wire.LogID
	Pair [2][]byte // encoded Signeds, ascending by hash
}

// Accused says whether there is evidence against any log of a device.
func (l *Logs) Accused(d wire.DeviceID) bool {
	return l.Floods[d] != nil || l.forked(d) > 0
}

// Counts says whether an entry has an effect: its log is without evidence, or a
// log without evidence has it in its past.
func (l *Logs) Counts(it *Item) bool {
	return !l.accused(it.Log) || l.cover().seq(int(it.List)) >= it.Seq
}

// CountsWithout says whether an entry has an effect also with evidence against its log: a log
// without evidence other than its own names it.
func (l *Logs) CountsWithout(it *Item) bool {
	return slices.ContainsFunc(l.Lists, func(list *LogList) bool {
		return list.ID != it.Log && !l.accused(list.ID) && l.InPast(it, list.Head())
	})
}

// CountsUpTo gives the last sequence number of a branch, by its position in Lists, that has
// an effect.
func (l *Logs) CountsUpTo(list int) uint64 {
	if b := l.Lists[list]; !l.accused(b.ID) {
		return b.Head().Seq
	}
	return l.cover().seq(list)
}

// Recounted notes that all that depends on which entries count has been derived again.
func (l *Logs) Recounted() {
	l.Grew = false
	l.Changes++
}

// cover is the union of the pasts of all logs without evidence.
func (l *Logs) cover() Vector {
	if l.Covered == nil {
		l.Covered = Vector{}
		for _, list := range l.Lists {
			if !l.accused(list.ID) {
				l.Covered = l.Covered.Join(list.Head())
			}
		}
	}
	return l.Covered
}

// extendCover keeps the cover up to date with an item that comes in.
func (l *Logs) extendCover(it *Item) {
	if l.Covered == nil || l.accused(it.Log) {
		return
	}
	for i, list := range l.Lists {
		l.Grew = l.Grew || l.accused(list.ID) && it.Seen(i) > l.Covered.seq(i)
	}
	l.Covered = l.Covered.Join(it)
}

// lastEntries lists the last entry that counts of each branch, but for those that their
// device built upon in another log.
func (l *Logs) lastEntries() []*Item {
	by := map[wire.DeviceID][]*Item{}
	for i, list := range l.Lists {
		last := list.Head()
		if l.accused(list.ID) {
			last = list.At(l.cover().seq(i))
		}
		if last != nil {
			by[list.ID.Device] = append(by[list.ID.Device], last)
		}
	}
	out := make([]*Item, 0, len(by))
	for _, last := range by {
		for _, it := range last {
			if !slices.ContainsFunc(last, func(o *Item) bool { return o != it && o.Seen(int(it.List)) >= it.Seq }) {
				out = append(out, it)
			}
		}
	}
	return out
}

// Rival gives an entry of the set with the same seq of the same log, if there is one.
func (l *Logs) Rival(s *SignedEntry) *Item {
	for _, i := range l.Index[s.Entry.Log()] {
		if it := l.Lists[i].At(s.Entry.Seq); it != nil && it.Hash != s.Hash {
			return it
		}
	}
	return nil
}

// rivalOf gives an entry with the same number of the same log as signed: of the set,
// or of those that are kept beside it; nil: there is none.
func (l *Logs) rivalOf(group wire.GroupID, s *SignedEntry, read func(*Item) ([]byte, error)) (hash wire.EntryHash, raw []byte, err error) {
	if it := l.Rival(s); it != nil {
		raw, err := read(it)
		return it.Hash, raw, err
	}
	o := l.first[s.slot()]
	if o == nil || o.Hash == s.Hash {
		return hash, nil, nil
	}
	if d := l.Devices[o.Entry.Device]; identity.Verify(d.Cert.LogKey, wire.DomainEntry, group, o.Signed) != nil {
		l.Parking.drop(o)     // it was parked when its device was not known
		return hash, nil, nil //nolint:nilerr // an entry that does not verify is no second entry
	}
	return o.Hash, o.Raw, nil
}

// DetectEquivocation compares an entry that arrived with those that are here, also with those
// that wait: the signatures alone are what counts, so that everybody who is shown them
// agrees. Two entries with one sequence number are evidence against their log. Nil: there
// is none, or it is known.
func (l *Logs) DetectEquivocation(group wire.GroupID, s *SignedEntry, read func(*Item) ([]byte, error)) (*Evidence, error) {
	log := s.Entry.Log()
	d := l.Devices[log.Device]
	if d == nil || l.accused(log) {
		return nil, nil
	}
	hash, other, err := l.rivalOf(group, s, read)
	if other == nil {
		return nil, err
	}
	if err := identity.Verify(d.Cert.LogKey, wire.DomainEntry, group, s.Signed); err != nil {
		return nil, fmt.Errorf("%v of device %v: %w: %w", s.Entry.Kind, log.Device, verdict.ErrForged, err)
	}
	e := &Evidence{Log: log, Pair: [2][]byte{other, s.Raw}}
	if slices.Compare(hash[:], s.Hash[:]) > 0 {
		e.Pair = [2][]byte{s.Raw, other}
	}
	return e, nil
}

// RecordEvidence takes evidence into account. The caller then has to derive again all that
// depends on which entries count.
func (l *Logs) RecordEvidence(e *Evidence) {
	l.Evidence[e.Log] = e
	if d := e.Log.Device; l.forked(d) > MaxForked && l.Floods[d] == nil {
		l.Floods[d] = &wire.Flood{Device: d}
	}
	l.Covered = nil
	l.Recounted()
	// Parked entries of that log go into quarantine, unless other entries need them.
	for _, s := range l.Parking.Entries {
		if s.Entry.Log() == e.Log && !l.Needed(s.Hash, s.Entry) {
			l.Parking.drop(s)
			l.Quarantine.put(s)
		}
	}
}
