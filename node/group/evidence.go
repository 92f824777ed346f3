package group

import (
	"fmt"
	"slices"

	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// putAside keeps an entry that nobody needs, and says why it is not taken.
func (m *Machine) putAside(s *signedEntry) error {
	m.logs.shelve(s)
	if m.logs.evidence[s.entry.Log()] == nil {
		return fmt.Errorf("log of device %v: %w: %d incarnations", s.entry.Device, ErrFull, maxLogs)
	}
	return fmt.Errorf("entry %d of device %v: %w", s.entry.Seq, s.entry.Device, ErrEquivocation)
}

// rivalOf gives an entry with the same number of the same log as signed: of the set,
// or of those that are kept beside it; nil: there is none.
func (m *Machine) rivalOf(s *signedEntry) (hash wire.EntryHash, raw []byte, err error) {
	if it := m.logs.rival(s); it != nil {
		raw, err := m.tx.get(itemKey(it))
		if err != nil || raw == nil {
			m.tx.fail(fmt.Errorf("%w: entry %v is gone: %w", ErrCorrupt, it.hash, err))
			return hash, nil, m.tx.broken
		}
		return it.hash, raw, nil
	}
	o := m.logs.kept[s.slot()]
	if o == nil || o.hash == s.hash {
		return hash, nil, nil
	}
	if d := m.logs.devices[o.entry.Device]; identity.Verify(d.Cert.LogKey, wire.DomainEntry, m.group, o.signed) != nil {
		m.logs.drop(o)        // it was parked when its device was not known
		return hash, nil, nil //nolint:nilerr // what does not verify is no second entry
	}
	return o.hash, o.raw, nil
}

// accuse compares an entry that arrived with those that are here, also with those that
// wait: the signatures alone are what counts, so that whoever is shown them agrees. Two entries with one
// sequence number are evidence against their log: it is kept, told to people and
// to the group, and what was derived from the entries is derived again. This
// device's own log forks if its store went back in time; it begins another.
func (m *Machine) accuse(s *signedEntry) error {
	log := s.entry.Log()
	d := m.logs.devices[log.Device]
	if d == nil || m.logs.evidence[log] != nil {
		return nil
	}
	hash, other, err := m.rivalOf(s)
	if other == nil {
		return err
	}
	if err := identity.Verify(d.Cert.LogKey, wire.DomainEntry, m.group, s.signed); err != nil {
		return fmt.Errorf("%v of device %v: %w: %w", s.entry.Kind, log.Device, ErrForged, err)
	}
	e := &evidence{log: log, pair: [2][]byte{other, s.raw}}
	if slices.Compare(hash[:], s.hash[:]) > 0 {
		e.pair = [2][]byte{s.raw, other}
	}
	m.tx.put(rowEvidence+logKey(log), wire.Marshal(&evidenceRow{Pair: e.pair}))
	m.holdAgainst(e)
	m.outgoing.Entries = append(m.outgoing.Entries, e.pair[:]...)
	m.tx.emit(m.now, Event{
		Kind: EventEvidence, User: d.User, Device: d.ID,
		Detail: fmt.Sprintf("the device signed two different entries with sequence number %d: it was restored wrongly, or somebody else has its key", s.entry.Seq),
	})
	return nil
}

func (m *Machine) holdAgainst(e *evidence) {
	m.logs.evidence[e.log] = e
	m.logs.covered = nil
	m.recount()
	// What waits of that log waits aside from now on, unless somebody needs it.
	for _, s := range m.logs.parked {
		if s.entry.Log() == e.log && !m.logs.wanted(s.hash, s.entry) {
			m.logs.drop(s)
			m.logs.shelve(s)
		}
	}
}

// recount derives again what depends on which entries count.
func (m *Machine) recount() {
	m.logs.recounted()
	m.rosters.recount()
	m.sendKey = nil
	m.recountTransport()
}

func (m *Machine) loadEvidence() error {
	return m.tx.scan(rowEvidence, func(_ string, v []byte) error {
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

// evidenceRow is evidence at rest.
type evidenceRow struct {
	Pair [2][]byte `cbor:"1,keyasint"`
}
