package filelock

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// Locks of Windows keep others from reading what they cover, so a byte is locked that no
// file is long enough to have.
const far = 1 << 30

// take and share ask for the lock alone, or with others who look at the same time.
func take(f *os.File) error  { return lock(f, windows.LOCKFILE_EXCLUSIVE_LOCK) }
func share(f *os.File) error { return lock(f, 0) }

func lock(f *os.File, how uint32) error {
	err := windows.LockFileEx(windows.Handle(f.Fd()), how|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &windows.Overlapped{OffsetHigh: far})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return ErrHeld
	}
	return err
}
