package group

import (
	"fmt"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// tx is what a turn makes durable, and what is to be done after it: the next Ready. It
// reads rows as they will be once it is carried out.
//
// What a turn makes durable is one transaction, and a transaction has a limit: a machine
// whose turn exceeds it can never take that turn. So whatever can follow from one input in
// any amount is begun only while the turn is not full, and goes on in the next, at once.
type tx struct {
	rows     Rows // durable
	ready    Ready
	pending  map[string]int // key → index in ready.Writes
	size     int            // bytes of ready.Writes, about
	most     int            // maxTurn, but in tests
	outgoing outgoing       // what this device wrote, not yet in envelopes
	deferred bool           // something waits for the next turn
	cursor   uint64         // of the newest event
	broken   error          // memory may be ahead of what is durable
}

// maxTurn is how many bytes of rows a turn may have put for more to be begun in it. What
// an input brings itself, and what one more step adds, comes on top.
const maxTurn = 1 << 20

// rowOverhead is about what a store adds to a row.
const rowOverhead = 64

func newTx(rows Rows) *tx { return &tx{rows: rows, pending: map[string]int{}, most: maxTurn} }

// advance begins the next turn: the last one is carried out.
func (t *tx) advance() {
	t.ready = Ready{NextWake: t.ready.NextWake}
	clear(t.pending)
	t.size = 0
}

// fail makes the machine refuse everything from now on: its memory may be ahead
// of what is durable, so that it must be made anew.
func (t *tx) fail(err error) {
	if t.broken == nil && err != nil {
		t.broken = err
	}
}

// full says whether what else is to be done has to wait for the next turn, and asks for
// that.
func (t *tx) full() bool {
	t.deferred = t.deferred || t.size > t.most
	return t.size > t.most
}

// emit records an event: a row with the next cursor, and a notification.
func (t *tx) emit(now time.Time, e Event) uint64 {
	t.cursor++
	e.Cursor, e.At = t.cursor, uint64(now.UnixMilli()) //nolint:gosec // after 1970
	t.put(rowEvent+num(e.Cursor), wire.Marshal(&e))
	t.ready.Events = append(t.ready.Events, e)
	return e.Cursor
}

// send has the network do something once this turn is durable.
func (t *tx) send(o Outbound) { t.ready.Messages = append(t.ready.Messages, o) }

// drop destroys a vault once this turn is durable.
func (t *tx) drop(v Vault) { t.ready.Drop = append(t.ready.Drop, v) }

// put puts a row, in the store's own vault.
func (t *tx) put(key string, value []byte) { t.putIn(Vault{}, key, value) }

func (t *tx) del(key string) { t.putIn(Vault{}, key, nil) }

// putIn puts a row. A later write of the same key replaces it.
func (t *tx) putIn(v Vault, key string, value []byte) {
	if i, ok := t.pending[key]; ok {
		t.size += len(value) - len(t.ready.Writes[i].Value)
		t.ready.Writes[i] = Write{Key: key, Value: value, Vault: v}
		return
	}
	t.size += len(key) + len(value) + rowOverhead
	t.pending[key] = len(t.ready.Writes)
	t.ready.Writes = append(t.ready.Writes, Write{Key: key, Value: value, Vault: v})
}

// get reads a row, pending or durable; nil if it is not there.
func (t *tx) get(key string) ([]byte, error) {
	if i, ok := t.pending[key]; ok {
		return t.ready.Writes[i].Value, nil
	}
	b, err := t.rows.Get(key)
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", key, err)
	}
	return b, nil
}

// scan goes through the rows with a prefix, durable ones in order and then the
// pending ones in the order in which they were put.
func (t *tx) scan(prefix string, fn func(key string, value []byte) error) error {
	return t.scanFrom(prefix, prefix, fn)
}

// scanFrom is scan; of what is durable it leaves out, if Rows can, what is below from.
// Otherwise a reader with a cursor costs as much as there is, again for each message.
func (t *tx) scanFrom(prefix, from string, fn func(key string, value []byte) error) error {
	durable := t.rows.Scan
	if r, ok := t.rows.(RowsFrom); ok && from != prefix {
		durable = func(prefix string, fn func(string, []byte) error) error { return r.ScanFrom(prefix, from, fn) }
	}
	err := durable(prefix, func(key string, value []byte) error {
		if _, ok := t.pending[key]; ok {
			return nil
		}
		return fn(key, value)
	})
	if err != nil {
		return fmt.Errorf("scanning %q: %w", prefix, err)
	}
	for _, w := range t.ready.Writes {
		if w.Value != nil && strings.HasPrefix(w.Key, prefix) {
			if err := fn(w.Key, w.Value); err != nil {
				return err
			}
		}
	}
	return nil
}

// durableKeys goes through the keys of what is durable.
func (t *tx) durableKeys(prefix string, fn func(key string) error) error {
	var err error
	if r, ok := t.rows.(RowKeys); ok {
		err = r.ScanKeys(prefix, fn)
	} else {
		err = t.rows.Scan(prefix, func(key string, _ []byte) error { return fn(key) })
	}
	if err != nil {
		return fmt.Errorf("scanning %q: %w", prefix, err)
	}
	return nil
}

// scanKeys is scan without the values.
func (t *tx) scanKeys(prefix string, fn func(key string) error) error {
	if err := t.durableKeys(prefix, func(key string) error {
		if _, ok := t.pending[key]; ok {
			return nil
		}
		return fn(key)
	}); err != nil {
		return err
	}
	for _, w := range t.ready.Writes {
		if w.Value != nil && strings.HasPrefix(w.Key, prefix) {
			if err := fn(w.Key); err != nil {
				return err
			}
		}
	}
	return nil
}
