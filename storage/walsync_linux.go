package storage

import (
	"os"
	"syscall"
)

// syncsMapped says that to sync a file writes what was written to it by a mapping.
const syncsMapped = true

// syncData makes the content of a file durable.
func syncData(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); err != syscall.EINTR { //nolint:errorlint // as the system gives it
			return err
		}
	}
}
