package storage

// Size is how much room a store takes and has left, in bytes.
type Size struct {
	Tables    int64  // of Badger, its logs of memory tables included
	ValueLog  int64  // large values
	Free      uint64 // on the disk, for this process
	FreeKnown bool   // false: the system does not tell
	Reserve   uint64 // free bytes without which the store takes no transaction
}

// Size measures the store. Tables and ValueLog are Badger's figures, which it renews once a
// minute. Error: ErrClosed.
func (s *Store) Size() (Size, error) {
	if err := s.enter(); err != nil {
		return Size{}, err
	}
	defer s.active.Done()
	size := Size{Reserve: s.keep}
	size.Tables, size.ValueLog = s.db.Load().Size()
	size.Free, size.FreeKnown = freeSpace(s.dir)
	return size, nil
}
