//go:build !linux

package storage

import "os"

// syncsMapped says that to sync a file writes what was written to it by a mapping.
const syncsMapped = false

// syncData makes the content of a file durable.
func syncData(f *os.File) error { return f.Sync() }
