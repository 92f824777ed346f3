package storage

import (
	"errors"
	"fmt"
	"maps"

	"github.com/dgraph-io/badger/v4"
)

// MaxKey is the length of the longest key, in bytes.
const MaxKey = 1024

// Write sets a key to a value, or deletes it if Value is nil. A record is in one vault at a time: the one that its last
// Write named. A vault begins with the first Write that names it.
type Write struct {
	Key   []byte // 1 to MaxKey bytes, stored in the clear
	Value []byte
	Vault VaultID // zero: none, the data key
}

// Batch is one atomic change: first the writes in order, then the vaults are dropped, each
// with all of its records. A batch does not write into a vault that it drops; a later batch
// may begin it anew.
type Batch struct {
	Writes []Write
	Drop   []VaultID
}

// request is a call of ApplyAll that waits for its transaction.
type request struct {
	batches []Batch
	done    bool
	err     error
}

// Apply is ApplyAll of one batch.
func (s *Store) Apply(b Batch) error { return s.ApplyAll([]Batch{b}) }

// ApplyAll applies the batches in order, in one atomic and synced transaction. When it
// returns nil they are on the disk. When it returns an error none of them took place,
// except that after ErrFailed the next Open finds all of them or none. Calls that wait at
// the same time are put into one transaction. Errors: ErrInvalid, ErrTooLarge, ErrNoSpace,
// ErrClosed, ErrFailed.
func (s *Store) ApplyAll(batches []Batch) error {
	if err := validate(batches); err != nil {
		return err
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.active.Done()

	r := &request{batches: batches}
	s.queueMu.Lock()
	s.queue = append(s.queue, r)
	s.queueMu.Unlock()

	// The call that gets the lock writes for all that wait. Most calls find their request
	// done when their turn comes.
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	if !r.done {
		s.queueMu.Lock()
		group := s.queue
		s.queue = nil
		s.queueMu.Unlock()
		s.commit(group)
	}
	return r.err
}

func validate(batches []Batch) error {
	dropped := make(map[VaultID]bool)
	for _, b := range batches {
		for _, id := range b.Drop {
			if id == (VaultID{}) {
				return fmt.Errorf("%w: storage: the zero vault cannot be dropped", ErrInvalid)
			}
			dropped[id] = true
		}
		for _, w := range b.Writes {
			if len(w.Key) == 0 || len(w.Key) > MaxKey {
				return fmt.Errorf("%w: storage: a key of %d bytes", ErrInvalid, len(w.Key))
			}
			if w.Value != nil && dropped[w.Vault] {
				return fmt.Errorf("%w: storage: a batch writes into a vault that it drops", ErrInvalid)
			}
		}
	}
	return nil
}

// errSplit says that these requests cannot share a transaction.
var errSplit = errors.New("storage: needs another transaction")

// commit carries out the requests, in one transaction if they fit.
func (s *Store) commit(group []*request) {
	err := s.failed
	if err == nil {
		err = checkSpace(s.dir, s.keep)
	}
	if err == nil {
		err = s.reopenForWriting()
	}
	if err == nil {
		err = s.transact(group)
		s.finishTables()
	}
	if len(group) > 1 && (errors.Is(err, ErrTooLarge) || errors.Is(err, errSplit)) {
		s.commit(group[:len(group)/2])
		s.commit(group[len(group)/2:])
		return
	}
	for _, r := range group {
		r.done, r.err = true, err
	}
}

// transact applies all requests in one transaction, or none. The order matters: a vault's key is in keys before the
// first record that needs it is in the database, and leaves keys after the last one has left. A crash in between
// leaves a key without records, which the next Open removes.
func (s *Store) transact(group []*request) (err error) {
	committing := false
	defer func() {
		if err != nil && committing {
			s.failed = fmt.Errorf("%w: %w", ErrFailed, err)
			err = s.failed
		}
	}()
	defer recovered(&err, "writing")
	t := &transaction{
		Store:   s,
		txn:     s.db.Load().NewTransaction(true),
		head:    s.head,
		added:   make(map[VaultID]*vault),
		dropped: make(map[VaultID]bool),
	}
	defer t.txn.Discard()
	for _, r := range group {
		for _, b := range r.batches {
			if err := t.apply(b); err != nil {
				return tooLarge(err)
			}
		}
	}
	t.head.seq++
	if err := t.txn.Set(keyHead, s.sealHead(t.head)); err != nil {
		return tooLarge(err)
	}
	if len(t.added) > 0 {
		if err := s.replaceKeys(t.added, nil); err != nil {
			return err
		}
	}
	s.point("before the transaction")
	committing = true
	if err := t.txn.Commit(); err != nil {
		committing = !errors.Is(err, badger.ErrTxnTooBig) // found before anything is written
		return tooLarge(err)
	}
	s.point("before its sync")
	if err := s.sync(); err != nil {
		return err
	}
	s.point("after the transaction")
	s.head = t.head
	s.writeTip()
	var gone []VaultID
	for id := range t.dropped {
		if s.ring.vaults[id] != nil {
			gone = append(gone, id)
		}
	}
	if len(gone) > 0 {
		return s.replaceKeys(nil, gone)
	}
	return nil
}

func tooLarge(err error) error {
	if errors.Is(err, badger.ErrTxnTooBig) {
		return ErrTooLarge
	}
	return err
}

// replaceKeys adds and removes vaults, in the file first when adding. Readers find a vault's key from before its first
// record until after its last.
func (s *Store) replaceKeys(add map[VaultID]*vault, remove []VaultID) error {
	next := *s.ring
	next.anchor = s.head
	next.vaults = maps.Clone(s.ring.vaults)
	maps.Copy(next.vaults, add)
	for _, id := range remove {
		delete(next.vaults, id)
	}
	if err := writeKeys(s.dir, s.lock.encode(&next), s.point); err != nil {
		return fmt.Errorf("storage: replacing keys: %w", err)
	}
	s.ringMu.Lock()
	defer s.ringMu.Unlock()
	for _, id := range remove {
		s.ring.vaults[id].key.wipe()
	}
	s.ring = &next
	return nil
}

// transaction is a Badger transaction, with the changes that it makes beside the records.
type transaction struct {
	*Store
	txn     *badger.Txn
	head    head
	added   map[VaultID]*vault
	dropped map[VaultID]bool
	size    int64 // bytes set so far
}

func (t *transaction) apply(b Batch) error {
	for _, w := range b.Writes {
		if err := t.write(w); err != nil {
			return err
		}
	}
	for _, id := range b.Drop {
		if err := t.drop(id); err != nil {
			return err
		}
	}
	return nil
}

func (t *transaction) write(w Write) error {
	key := recordKey(w.Key)
	old, err := get(t.txn, key)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	var was VaultID
	if old != nil {
		if was, _, err = vaultOf(old); err != nil {
			return corrupt("%s: %w", class(key), err)
		}
	}
	if was != (VaultID{}) && (w.Value == nil || was != w.Vault) {
		if err := t.unset(indexKey(was, w.Key), []byte{}); err != nil {
			return err
		}
	}
	if w.Value == nil {
		return t.unset(key, old)
	}
	seals := t.data
	if w.Vault != (VaultID{}) {
		v, err := t.vault(w.Vault)
		if err != nil {
			return err
		}
		seals = v.sealer
		if was != w.Vault {
			if err := t.set(indexKey(w.Vault, w.Key), nil, []byte{}); err != nil {
				return err
			}
		}
	}
	header := recordHeader(w.Vault)
	return t.set(key, old, seals.seal(header, w.Value, associated(header, key)))
}

// vault returns the named vault, or a new one of that name.
func (t *transaction) vault(id VaultID) (*vault, error) {
	if t.dropped[id] {
		return nil, errSplit
	}
	v := t.ring.vaults[id]
	if v == nil {
		v = t.added[id]
	}
	if v == nil {
		v = newVault(newSecret())
		t.added[id] = v
	}
	return v, nil
}

// drop deletes the vault's records.
func (t *transaction) drop(id VaultID) error {
	t.dropped[id] = true
	prefix := indexKey(id, nil)
	var keys [][]byte
	if err := iterate(t.txn, prefix, nil, func(item *badger.Item) error {
		keys = append(keys, item.KeyCopy(nil)[len(prefix):])
		return nil
	}); err != nil {
		return err
	}
	for _, key := range keys {
		if err := t.write(Write{Key: key}); err != nil {
			return err
		}
	}
	return nil
}

// set stores a value in place of old, which is nil if there was none.
func (t *transaction) set(key, old, stored []byte) error {
	if old != nil {
		t.head.toggle(t.sums, key, old)
	}
	if t.size += int64(len(key) + len(stored)); t.size > t.max || len(stored) > t.most { // Badger does not count bytes that go to its value log
		return ErrTooLarge
	}
	t.head.toggle(t.sums, key, stored)
	if old == nil && key[0] == classRecord {
		t.head.records++
	}
	return t.txn.Set(key, stored)
}

// unset deletes the stored value old, which is nil if there is none.
func (t *transaction) unset(key, old []byte) error {
	if old == nil {
		return nil
	}
	t.head.toggle(t.sums, key, old)
	if key[0] == classRecord {
		t.head.records--
	}
	return t.txn.Delete(key)
}
