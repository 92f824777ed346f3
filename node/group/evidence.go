package group

import (
	"fmt"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// evidenceRow is evidence at rest.
type evidenceRow struct {
	Pair [2][]byte `cbor:"1,keyasint"`
}

// watch looks for logs that fork, and keeps the evidence.
type watch struct {
	tx      *tx
	group   wire.GroupID
	logs    *dag.Logs
	rosters *rosters
	keys    *keyring
	read    reader
}

// check looks whether an entry that arrived is the second one with its sequence number.
// Then the two are kept and reported to people and to the group, and all that follows from
// the entries is derived again. This device's own log forks if its store went back in time;
// it begins another.
func (w *watch) check(now time.Time, s *dag.SignedEntry) error {
	e, err := w.logs.DetectEquivocation(w.group, s, w.read.raw)
	if e == nil {
		return err
	}
	w.tx.put(rowEvidence+logKey(e.Log), wire.Marshal(&evidenceRow{Pair: e.Pair}))
	w.record(e)
	w.tx.outgoing.Entries = append(w.tx.outgoing.Entries, e.Pair[:]...)
	d := w.logs.Devices[e.Log.Device]
	w.tx.emit(now, Event{
		Kind: EventEvidence, User: d.User, Device: d.ID,
		Detail: fmt.Sprintf("the device signed two different entries with sequence number %d: it was restored wrongly, or somebody else has its key", s.Entry.Seq),
	})
	return nil
}

func (w *watch) record(e *dag.Evidence) {
	w.logs.RecordEvidence(e)
	w.derive()
}

// recount notes that other entries count.
func (w *watch) recount() {
	w.logs.Recounted()
	w.derive()
}

// derive derives again all that depends on which entries count.
func (w *watch) derive() {
	w.rosters.Recount()
	w.keys.recount()
}

func (w *watch) load() error {
	return w.tx.scan(rowEvidence, func(_ string, v []byte) error {
		var row evidenceRow
		if err := wire.Unmarshal(v, &row); err != nil {
			return fmt.Errorf("%w: %w", verdict.ErrCorrupt, err)
		}
		s, err := dag.ReadEntry(w.group, row.Pair[0])
		if err != nil {
			return fmt.Errorf("%w: evidence: %w", verdict.ErrCorrupt, err)
		}
		w.record(&dag.Evidence{Log: s.Entry.Log(), Pair: row.Pair})
		return nil
	})
}
