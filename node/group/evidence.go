package group

import (
	"bytes"
	"fmt"
	"slices"
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
	meter   *meter
}

// take keeps evidence, two entries with a sequence number, and reports it to people and to the group, and all that follows from
// the entries is derived again. This device's own log forks if its store went back in time;
// it begins another.
func (w *watch) take(now time.Time, e *dag.Evidence, seq uint64) {
	w.tx.put(rowEvidence+logKey(e.Log), wire.Marshal(&evidenceRow{Pair: e.Pair}))
	w.record(e)
	w.tx.outgoing.Entries = append(w.tx.outgoing.Entries, e.Pair[:]...)
	d := w.logs.Devices[e.Log.Device]
	w.tx.emit(now, Event{
		Kind: EventEvidence, User: d.User, Device: d.ID,
		Detail: fmt.Sprintf("the device signed two different entries with sequence number %d: it was restored wrongly, or somebody else has its key", seq),
	})
}

func (w *watch) record(e *dag.Evidence) {
	w.logs.RecordEvidence(e)
	w.derive()
}

// flood keeps the entries that show that a device floods, and derives again all that
// follows from the entries.
func (w *watch) flood(f *wire.Flood) {
	if w.logs.Floods[f.Device] != nil {
		return
	}
	w.tx.put(rowFlood+hexed(f.Device[:]), wire.Marshal(f))
	w.logs.RecordFlood(f)
	w.derive()
}

// takeFloods takes what another device says of devices that flood, where the entries that
// show it are here.
func (w *watch) takeFloods(floods []wire.Flood) {
	for _, f := range floods {
		if w.logs.Shows(&f) {
			w.flood(&f)
		}
	}
}

// floods lists the entries that show each device that floods by its logs, ascending by
// device, for an exchange.
func (w *watch) floods() (out []wire.Flood) {
	for _, f := range w.logs.Floods {
		if len(f.Entries) > 0 {
			out = append(out, *f)
		}
	}
	slices.SortFunc(out, func(a, b wire.Flood) int { return bytes.Compare(a.Device[:], b.Device[:]) })
	return out[:min(len(out), wire.MaxFloods)]
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
	if err := w.tx.scan(rowFlood, func(_ string, v []byte) error {
		var f wire.Flood
		if err := wire.Unmarshal(v, &f); err != nil {
			return fmt.Errorf("%w: %w", verdict.ErrCorrupt, err)
		}
		w.logs.RecordFlood(&f)
		w.derive()
		return nil
	}); err != nil {
		return err
	}
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
