package storage

// syncDir has nothing to do: NTFS writes the names of a directory to its journal, and
// Windows syncs no directory.
func syncDir(string) error { return nil }
