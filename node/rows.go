package node

import (
	"errors"
	"fmt"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// Keys of the store: the node's own begin with "n/", those of a group with "g/", its
// 32-byte ID and "/".
const (
	keyIdentity = "n/identity"
	keyGroups   = "n/group/"   // ‖ group ID: groupRow
	keyInfo     = "n/info/"    // ‖ group ID: PublicInfo, merged
	keyLookup   = "n/lookup/"  // ‖ group ID: lookupRow
	keySeen     = "n/seen/"    // ‖ group ID: seenRow
	keyLocal    = "n/local/"   // ‖ group ID: localRow
	keyCursor   = "n/cursor/"  // ‖ group ID ‖ name: cursorRow
	keyHook     = "n/hook/"    // ‖ name: hookRow
	keyMet      = "n/met/"     // ‖ group ID: metRow
	keyNamed    = "n/named"    // the certificate with this device's name, once it was changed
	keyCert     = "n/cert/"    // ‖ group ID: the certificate that the group knows it by, if another than the first
	keyForgot   = "n/forgot/"  // ‖ group ID: forgotRow
	keyRefused  = "n/refused/" // ‖ group ID: refusedRow
	keyPeers    = "n/peer/"    // ‖ peer ID: a remembered peer, package discovery's
)

func groupPrefix(id wire.GroupID) string { return "g/" + string(id[:]) + "/" }

// rows are the durable rows of one group, as its machine reads them.
type rows struct {
	store  *storage.Store
	prefix string
}

var (
	_ group.Rows     = rows{}
	_ group.RowsFrom = rows{}
	_ group.RowKeys  = rows{}
)

// Get gives nil, nil for a row that is not there. Other errors wrap ErrStore: after
// one the machine is made again.
func (r rows) Get(key string) ([]byte, error) {
	v, err := r.store.Get([]byte(r.prefix + key))
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrStore, err)
	}
	return v, nil
}

// GetAll calls fn with the rows of some keys, which ascend, as far as they are there.
func (r rows) GetAll(keys []string, fn func(i int, value []byte) error) error {
	full := make([][]byte, len(keys))
	for i, key := range keys {
		full[i] = []byte(r.prefix + key)
	}
	var stopped error
	err := r.store.GetAll(full, func(i int, value []byte) error {
		stopped = fn(i, value)
		return stopped
	})
	if err != nil && stopped == nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	return err
}

// Scan goes through the rows below a prefix in the order of their keys.
func (r rows) Scan(prefix string, fn func(key string, value []byte) error) error {
	return r.ScanFrom(prefix, prefix, fn)
}

// ScanFrom is Scan from the first key that is not below from.
func (r rows) ScanFrom(prefix, from string, fn func(key string, value []byte) error) error {
	var stopped error
	err := r.store.ScanFrom([]byte(r.prefix+prefix), []byte(r.prefix+from), func(key, value []byte) error {
		stopped = fn(string(key[len(r.prefix):]), value)
		return stopped
	})
	if err != nil && stopped == nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	return err
}

// ScanKeys is Scan without the values.
func (r rows) ScanKeys(prefix string, fn func(key string) error) error {
	var stopped error
	err := r.store.ScanKeys([]byte(r.prefix+prefix), func(key []byte) error {
		stopped = fn(string(key[len(r.prefix):]))
		return stopped
	})
	if err != nil && stopped == nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	return err
}

// batch is one Ready's writes as one transaction.
func (r rows) batch(ready group.Ready) storage.Batch {
	b := storage.Batch{Writes: make([]storage.Write, len(ready.Writes))}
	for i, w := range ready.Writes {
		b.Writes[i] = storage.Write{Key: []byte(r.prefix + w.Key), Value: w.Value, Vault: storage.VaultID(w.Vault)}
	}
	for _, v := range ready.Drop {
		b.Drop = append(b.Drop, storage.VaultID(v))
	}
	return b
}

// getRow reads a row of the node's own into v; false if it is not there.
func getRow(s *storage.Store, key string, v any) (bool, error) {
	b, err := s.Get([]byte(key))
	if errors.Is(err, storage.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading %q: %w", key, err)
	}
	defer clear(b)
	if err := wire.Unmarshal(b, v); err != nil {
		return false, fmt.Errorf("reading %q: %w", key, err)
	}
	return true, nil
}

// putRow writes a row of the node's own.
func putRow(s *storage.Store, key string, v any) error {
	b := wire.Marshal(v)
	defer clear(b)
	return s.Apply(storage.Batch{Writes: []storage.Write{{Key: []byte(key), Value: b}}})
}
