//go:build unix

package filelock

import (
	"errors"
	"os"
	"syscall"
)

// take asks for the exclusive lock, share for one that several lookers can have at the same
// time.
func take(f *os.File) error  { return flock(f, syscall.LOCK_EX) }
func share(f *os.File) error { return flock(f, syscall.LOCK_SH) }
func free(f *os.File) error  { return flock(f, syscall.LOCK_UN) }

func flock(f *os.File, how int) error {
	err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return ErrHeld
	}
	return err
}
