package storage

import (
	"fmt"
)

// Unlocks reports whether o holds what unlocks the store at present. It returns nil or an
// error of Open.
func (s *Store) Unlocks(o Options) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.active.Done()
	l, ring, err := readKeys(s.dir, o)
	if err != nil {
		return err
	}
	l.kek.wipe()
	ring.wipe()
	return nil
}

// Relock locks the store with another passphrase or key file. o holds one of them, as for
// [Create]. Relock replaces the file keys as a whole, so that after a crash the store has
// its old lock or its new one. The keys inside do not change, so an earlier copy of the
// file still opens the store with the old passphrase. Errors: ErrLocked, ErrClosed,
// ErrFailed.
func (s *Store) Relock(o Options) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.active.Done()
	next, err := newLock(o)
	if err != nil {
		return err
	}
	s.point("relock: new lock")
	s.writeMu.Lock()
	defer s.writeMu.Unlock()
	if s.failed != nil {
		next.kek.wipe()
		return s.failed
	}
	old := s.lock
	s.lock = next
	if err := s.replaceKeys(nil, nil); err != nil {
		// The file on disk may be the old one or the new one. Either opens the store, and
		// nothing more is written.
		s.failed = fmt.Errorf("%w: %w", ErrFailed, err)
		return s.failed
	}
	old.kek.wipe()
	return nil
}

func (r *keyring) wipe() {
	r.data.wipe()
	for _, v := range r.vaults {
		v.key.wipe()
	}
}
