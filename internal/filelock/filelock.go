// Package filelock locks files between processes. The kernel gives a lock back when
// the process that holds it ends, however it ends, so that none is ever stale.
//
// The package does not exclude users of a file within one process, nor programs that do not
// ask for the lock.
package filelock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// ErrHeld says that another process, or another open file of this one, holds the lock.
var ErrHeld = errors.New("the lock is held")

// Lock takes the lock of a file, which it makes, mode 0600, if it is not there. Unlock gives it
// back. The content of the file is the caller's, and others can read it
// meanwhile. Errors: ErrHeld.
func Lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := take(f); err != nil {
		return nil, fmt.Errorf("locking %s: %w", path, errors.Join(err, f.Close()))
	}
	return f, nil
}

// Unlock gives a lock back, and closes its file. To close the file alone does not do it at once
// while this process starts another one: that has all open files until it runs its program.
func Unlock(f *os.File) error { return errors.Join(free(f), f.Close()) }

// Held says whether somebody holds the lock of a file. Without a file nobody does. Held
// takes a free lock itself for a moment.
func Held(path string) (bool, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := share(f); err != nil {
		err = errors.Join(err, f.Close())
		if errors.Is(err, ErrHeld) {
			return true, nil
		}
		return false, err
	}
	return false, Unlock(f)
}
