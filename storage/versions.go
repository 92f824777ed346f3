package storage

import "github.com/dgraph-io/badger/v4"

// Versions calls fn with every version of every record that Badger has, those that were
// replaced or deleted too, until [Store.Compact] has given them up: its key, the bytes that
// are sealed, and what is in them. The value is nil if no key opens it that is left. It is
// what somebody finds who has the store and its keys, for tests of what is erased. The
// slices are fn's own. Errors: ErrCorrupt, ErrClosed; an error of fn ends it, and is
// returned unchanged.
func (s *Store) Versions(fn func(key, sealed, value []byte) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.active.Done()
	txn := s.db.Load().NewTransaction(false)
	defer txn.Discard()
	o := badger.IteratorOptions{Prefix: []byte{classRecord}, AllVersions: true}
	return iterateBy(txn, o, o.Prefix, func(item *badger.Item) error {
		k := item.KeyCopy(nil)
		stored, err := item.ValueCopy(nil)
		if err != nil {
			return corrupt("%s: %w", class(k), err)
		}
		if len(stored) == 0 {
			return nil // that it was deleted
		}
		value, err := s.unseal(k, stored)
		if err != nil {
			value = nil
		}
		return fn(k[1:], stored, value)
	})
}
