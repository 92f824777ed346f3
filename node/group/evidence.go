package group

import (
	"fmt"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// evidenceRow is evidence at rest.
type evidenceRow struct {
	Pair [2][]byte `cbor:"1,keyasint"`
}

// checkEquivocation looks whether an entry that arrived is the second one with its sequence
// number. Then the two are kept, told to people and to the group, and what was derived from
// the entries is derived again. This device's own log forks if its store went back in time;
// it begins another.
func (m *Machine) checkEquivocation(now time.Time, s *signedEntry) error {
	e, err := m.logs.detectEquivocation(m.group, s, m.read.raw)
	if e == nil {
		return err
	}
	m.tx.put(rowEvidence+logKey(e.log), wire.Marshal(&evidenceRow{Pair: e.pair}))
	m.recordEvidence(e)
	m.outgoing.Entries = append(m.outgoing.Entries, e.pair[:]...)
	d := m.logs.devices[e.log.Device]
	m.tx.emit(now, Event{
		Kind: EventEvidence, User: d.User, Device: d.ID,
		Detail: fmt.Sprintf("the device signed two different entries with sequence number %d: it was restored wrongly, or somebody else has its key", s.entry.Seq),
	})
	return nil
}

func (m *Machine) recordEvidence(e *evidence) {
	m.logs.recordEvidence(e)
	m.recount()
}

// recount derives again what depends on which entries count.
func (m *Machine) recount() {
	m.logs.recounted()
	m.rosters.recount()
	m.keys.recount()
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
		m.recordEvidence(&evidence{log: s.entry.Log(), pair: row.Pair})
		return nil
	})
}
