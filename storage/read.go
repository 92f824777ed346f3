package storage

import (
	"bytes"
	"errors"

	"github.com/dgraph-io/badger/v4"
)

// Get returns the value of key. The slice is the caller's own. Errors: ErrNotFound,
// ErrCorrupt, ErrClosed.
func (s *Store) Get(key []byte) ([]byte, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.active.Done()
	k := recordKey(key)
	for {
		stored, err := s.stored(k)
		if err != nil {
			return nil, err
		}
		value, err := s.unseal(k, stored)
		if err == nil {
			return value, nil
		}
		if !s.changed(k, stored) {
			return nil, corrupt("%s: %w", class(k), err)
		}
	}
}

// GetAll calls fn with the value of each of some keys that is there, and its index among
// them. The keys are in ascending order, and are read in that order: of many, that costs a
// fraction of as many calls of Get. It sees the store as Scan does. The slice is fn's own. An
// error of fn ends it and is returned unchanged. Errors: ErrCorrupt, ErrClosed.
func (s *Store) GetAll(keys [][]byte, fn func(i int, value []byte) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.active.Done()
	if len(keys) == 0 {
		return nil
	}
	txn := s.db.Load().NewTransaction(false)
	defer txn.Discard()
	w := walk{txn: txn, prefix: recordKey(common(keys[0], keys[len(keys)-1]))}
	defer w.close()
	var k []byte
	for i, key := range keys {
		k = append(append(k[:0], classRecord), key...)
		stored, err := w.find(k)
		var value []byte
		if err == nil && stored != nil {
			value, err = s.unseal(k, stored)
		}
		if err != nil || stored == nil {
			value, err = s.Get(key) // an iterator passes over a bad block without a word, and the vault may be gone
		}
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err == nil {
			err = fn(i, value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// common is what two keys begin with.
func common(a, b []byte) []byte {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return a[:n]
}

// walk finds keys below a prefix, in ascending order.
type walk struct {
	txn    *badger.Txn
	prefix []byte
	it     *badger.Iterator // nil before the first
	stored []byte           // reused
}

func (w *walk) close() {
	if w.it != nil {
		w.it.Close()
	}
}

// near is how many records a walk goes over before it looks for the next key by the index of
// the tables, which costs as much.
const near = 8

// find gives what is under a key in Badger, until the next call; nil: nothing.
func (w *walk) find(record []byte) (stored []byte, err error) {
	defer recovered(&err, "reading")
	begun := w.it != nil
	if !begun {
		w.it = w.txn.NewIterator(badger.IteratorOptions{Prefix: w.prefix})
	}
	for i := 0; begun && i < near && w.below(record); i++ {
		w.it.Next()
	}
	if !begun || w.below(record) {
		w.it.Seek(record)
	}
	if !w.it.Valid() || !bytes.Equal(w.it.Item().Key(), record) {
		return nil, nil
	}
	w.stored, err = w.it.Item().ValueCopy(w.stored)
	return w.stored, err
}

func (w *walk) below(key []byte) bool {
	return w.it.Valid() && bytes.Compare(w.it.Item().Key(), key) < 0
}

// Scan calls fn with each key that begins with prefix and its value, in the order of the
// keys. It sees the store as it was at one moment during the call, but may leave out
// records of a vault that is dropped meanwhile. The slices are fn's own. An error of fn
// ends the scan and is returned unchanged. fn may use the store. Errors: ErrCorrupt,
// ErrClosed.
func (s *Store) Scan(prefix []byte, fn func(key, value []byte) error) error {
	return s.ScanFrom(prefix, nil, fn)
}

// ScanFrom is Scan beginning at the first key that is not below from. A reader with a
// cursor continues by it.
func (s *Store) ScanFrom(prefix, from []byte, fn func(key, value []byte) error) error {
	return s.scan(prefix, from, func(item *badger.Item) error {
		k, value, err := s.value(item)
		if err != nil || value == nil {
			return err
		}
		return fn(k[1:], value)
	})
}

// Export calls fn, as Scan does, with every record that is in no vault, and with those of
// vaults that the caller names. Other records of vaults do not leave the store.
func (s *Store) Export(ofVaults func(key []byte) bool, fn func(key, value []byte) error) error {
	return s.scan(nil, nil, func(item *badger.Item) error {
		inside := false
		if err := item.Value(func(stored []byte) error {
			id, _, err := vaultOf(stored)
			inside = id != (VaultID{})
			return err
		}); err != nil {
			return corrupt("%s: %w", class(item.Key()), err)
		}
		if inside && !ofVaults(item.Key()[1:]) {
			return nil
		}
		k, value, err := s.value(item)
		if err != nil || value == nil {
			return err
		}
		return fn(k[1:], value)
	})
}

// ScanKeys is Scan without the values. It is cheaper, and authenticates nothing. The slice
// is fn's until it returns.
func (s *Store) ScanKeys(prefix []byte, fn func(key []byte) error) error {
	return s.scan(prefix, nil, func(item *badger.Item) error { return fn(item.Key()[1:]) })
}

func (s *Store) scan(prefix, from []byte, fn func(*badger.Item) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.active.Done()
	return s.iterate(recordKey(prefix), recordKey(from), fn)
}

// value opens an item of a snapshot. It returns nil without an error if the record's vault
// was dropped after the snapshot, so that the record cannot be opened any more.
func (s *Store) value(item *badger.Item) (key, value []byte, err error) {
	key = item.KeyCopy(nil)
	stored, err := item.ValueCopy(nil)
	if err != nil {
		return nil, nil, corrupt("%s: %w", class(key), err)
	}
	value, err = s.unseal(key, stored)
	if err != nil && s.changed(key, stored) {
		return key, nil, nil
	}
	if err != nil {
		return nil, nil, corrupt("%s: %w", class(key), err)
	}
	return key, value, nil
}

// changed reports whether the stored value of key is another one by now.
func (s *Store) changed(key, stored []byte) bool {
	now, err := s.stored(key)
	return errors.Is(err, ErrNotFound) || err == nil && !bytes.Equal(now, stored)
}

// Stat is a few numbers about a store.
type Stat struct {
	Records      uint64 // records in it
	Vaults       int    // vaults in it
	Transactions uint64 // transactions since it was created
}

// Stat counts without reading.
func (s *Store) Stat() (Stat, error) {
	if err := s.enter(); err != nil {
		return Stat{}, err
	}
	defer s.active.Done()
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	return Stat{s.head.records, len(s.ring.vaults), s.head.seq}, nil
}

// Compact returns the space of deleted and replaced records to the file system. Of a value
// that was deleted or replaced before it began, no file of the store holds the sealed bytes
// once it is done. It may take long and may run beside everything else; writes wait while
// what is in memory goes to a table. Badger does not break it off, so that Close waits for it.
func (s *Store) Compact() (err error) {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.active.Done()
	defer recovered(&err, "compacting")
	if err := checkSpace(s.dir, s.keep); err != nil {
		return err
	}
	s.writeMu.Lock()
	if err = s.reopenForWriting(); err == nil {
		err = s.flush()
	}
	s.writeMu.Unlock()
	if err != nil {
		return err
	}
	if err := s.db.Load().Flatten(1); err != nil {
		return corrupt("compacting: %w", err)
	}
	for {
		switch err := s.db.Load().RunValueLogGC(0.5); {
		case errors.Is(err, badger.ErrNoRewrite), errors.Is(err, badger.ErrRejected):
			return nil
		case err != nil:
			return corrupt("compacting: %w", err)
		}
	}
}

// flush has Badger write its table in memory to a file and begin a new log. There is no call
// for that; to drop a prefix does it, if there is a key with it. A crash in between leaves
// the key, which the next flush drops. The caller holds s.writeMu.
func (s *Store) flush() error {
	db := s.db.Load()
	err := db.Update(func(t *badger.Txn) error { return t.Set(keyFlush, nil) })
	if err == nil {
		err = db.DropPrefix(keyFlush)
	}
	if err != nil {
		return corrupt("compacting: %w", err)
	}
	return nil
}

// stored reads what is under a key in Badger.
func (s *Store) stored(key []byte) (value []byte, err error) {
	defer recovered(&err, "reading")
	txn := s.db.Load().NewTransaction(false)
	defer txn.Discard()
	return get(txn, key)
}

// get is never nil without an error.
func get(txn *badger.Txn, key []byte) ([]byte, error) {
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, corrupt("%s: %w", class(key), err)
	}
	value, err := item.ValueCopy(make([]byte, 0, item.ValueSize()))
	if err != nil {
		return nil, corrupt("%s: %w", class(key), err)
	}
	return value, nil
}

// errStop ends an iteration early and without an error.
var errStop = errors.New("stop")

func (s *Store) iterate(prefix, from []byte, fn func(*badger.Item) error) error {
	txn := s.db.Load().NewTransaction(false)
	defer txn.Discard()
	return iterate(txn, prefix, from, fn)
}

// iterate calls fn with the items whose keys begin with prefix and are not below from. A panic by fn passes; one by Badger
// becomes an ErrCorrupt (values are not prefetched, because a panic in the goroutine that does so could not).
func iterate(txn *badger.Txn, prefix, from []byte, fn func(*badger.Item) error) error {
	if bytes.Compare(from, prefix) < 0 {
		from = prefix
	}
	return iterateBy(txn, badger.IteratorOptions{Prefix: prefix}, from, fn)
}

func iterateBy(txn *badger.Txn, o badger.IteratorOptions, from []byte, fn func(*badger.Item) error) (err error) {
	inside := false
	defer func() {
		if inside {
			return
		}
		if r := recover(); r != nil {
			err = corrupt("reading: the database panicked: %v", r)
		}
	}()
	it := txn.NewIterator(o)
	defer it.Close()
	for it.Seek(from); it.Valid(); it.Next() {
		inside = true
		err := fn(it.Item())
		inside = false
		if errors.Is(err, errStop) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}
