package storage

// Room returns ErrNoSpace if a file system has less than so many bytes beside what a store
// leaves free on it.
func Room(dir string, bytes int64) error {
	return checkSpace(dir, new(Options).reserve()+uint64(max(bytes, 0))) //nolint:gosec // not negative
}
