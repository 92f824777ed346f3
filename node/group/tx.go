package group

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// tx holds the writes of a turn and the work after them: the next Ready. It reads rows as
// they will be once it is carried out.
//
// All writes of a turn are one transaction, and a transaction has a limit: a machine whose
// turn exceeds it can never take that turn. So work that can follow from one input in any
// amount is begun only while the turn is not full, and goes on at once in the next turn.
type tx struct {
	group    wire.GroupID
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

// maxTurn is the number of bytes of rows beyond which a turn begins no more work. The rows
// of the input itself, and of one more step, come on top.
const maxTurn = 1 << 20

// rowOverhead is about how many bytes a store adds to a row.
const rowOverhead = 64

func newTx(group wire.GroupID, rows Rows) *tx {
	return &tx{group: group, rows: rows, pending: map[string]int{}, most: maxTurn}
}

// advance begins the next turn: the last one is carried out. Secrets that were written are
// cleared here, since the garbage collector does not clear what it frees.
func (t *tx) advance() {
	for _, w := range t.ready.Writes {
		if w.Vault != (Vault{}) {
			clear(w.Value)
		}
	}
	t.ready = Ready{NextWake: t.ready.NextWake}
	clear(t.pending)
	t.size = 0
}

// fail makes the machine refuse everything from now on: its memory may be ahead of the
// durable rows, so that it must be made anew.
func (t *tx) fail(err error) {
	if t.broken == nil && err != nil {
		t.broken = err
	}
}

// full says whether further work has to wait for the next turn, and asks for that turn.
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

// drop destroys the vault that a row lies in once this turn is durable, with all its rows.
func (t *tx) drop(key string) { t.ready.Drop = append(t.ready.Drop, VaultOf(t.group, key)) }

func (t *tx) del(key string) { t.put(key, nil) }

// put puts a row, in its vault. A later write of the same key replaces it. A vault that this
// turn was to drop is kept if a row is put in it after all: no transaction can do both.
func (t *tx) put(key string, value []byte) {
	v := VaultOf(t.group, key)
	if value != nil && v != (Vault{}) {
		t.ready.Drop = slices.DeleteFunc(t.ready.Drop, func(o Vault) bool { return o == v })
	}
	if i, ok := t.pending[key]; ok {
		t.size += len(value) - len(t.ready.Writes[i].Value)
		if old := t.ready.Writes[i]; old.Vault != (Vault{}) {
			clear(old.Value)
		}
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

// secret reads a row of a vault. The caller clears what it gets.
func (t *tx) secret(key string) ([]byte, error) {
	b, err := t.get(key)
	if _, pending := t.pending[key]; pending {
		b = bytes.Clone(b)
	}
	return b, err
}

// scan goes through the rows with a prefix, durable ones in order and then the
// pending ones in the order in which they were put.
func (t *tx) scan(prefix string, fn func(key string, value []byte) error) error {
	return t.scanFrom(prefix, prefix, fn)
}

// scanFrom is scan from a key on: if Rows can, it skips durable rows below from. Otherwise
// a reader with a cursor costs as much as there is, again for each message.
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

// durableKeys goes through the keys of the durable rows.
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

// outgoing holds the objects that this Step made for the group.
type outgoing struct {
	wire.Bundle

	sealed []wire.MessageID // whose Seals these are, each at its place
	under  *wire.KeyID      // the transport key; nil: the newest
}

// unseal leaves out the seals of a message.
func (o *outgoing) unseal(id wire.MessageID) {
	for i := slices.Index(o.sealed, id); i >= 0; i = slices.Index(o.sealed, id) {
		o.Seals, o.sealed = slices.Delete(o.Seals, i, i+1), slices.Delete(o.sealed, i, i+1)
	}
}
