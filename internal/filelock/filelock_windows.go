package filelock

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// A lock of Windows keeps others from reading the bytes that it covers, so the locked byte
// lies beyond the end of any file.
const far = 1 << 30

// take asks for the exclusive lock, share for one that several lookers can have at the same
// time.
func take(f *os.File) error  { return lock(f, windows.LOCKFILE_EXCLUSIVE_LOCK) }
func share(f *os.File) error { return lock(f, 0) }
func free(f *os.File) error {
	return windows.UnlockFileEx(windows.Handle(f.Fd()), 0, 1, 0, &windows.Overlapped{OffsetHigh: far})
}

func lock(f *os.File, how uint32) error {
	err := windows.LockFileEx(windows.Handle(f.Fd()), how|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &windows.Overlapped{OffsetHigh: far})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return ErrHeld
	}
	return err
}
