package storage

import (
	"fmt"
)

// Unlocks reports whether o holds what unlocks the store, as it is locked now: nil, or an error of Open.
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

// Relock locks the store with another passphrase or key file, of which o holds one, as for [Create]. The file keys is
// replaced as a whole: after a crash it is locked in the old way or in the new one. What it seals stays as it is, so
// that a copy of keys from before still opens the store with the old passphrase. Errors: ErrLocked, ErrClosed, ErrFailed.
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
		// Whether the file is the old or the new one is not known; either opens, and nothing more is written.
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
