package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"

	"github.com/pandanode/pandanode/internal/filelock"
	"github.com/pandanode/pandanode/node/config"
)

// inHome runs what makes a store in a home, which it makes if need be. Nobody else of this or
// another process makes one there meanwhile: that is ErrInUse. If it fails, the folders that it
// made go, unless somebody has put something there.
func inHome(home, keyFile string, run func() error) (err error) {
	undo := new(undoing)
	undo.dirs(home)
	defer func() {
		if err != nil {
			err = errors.Join(err, undo.all())
		}
	}()
	free, err := lockHome(home, keyFile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, free()) }()
	return run()
}

// homeTries is how often a home is made again that another call, which failed, removes.
const homeTries = 100

// lockHome makes a home and takes its lock. The file of the lock is there as long as somebody
// has it; one that a killed process left is locked by nobody.
func lockHome(home, keyFile string) (free func() error, err error) {
	for range homeTries {
		if err = config.MakeHome(home); err != nil {
			err = fmt.Errorf("making the home: %w", err)
		} else if err = checkHome(home, keyFile); err == nil { // somebody else made it, just now
			free, err = takeLock(storeDir(home) + ".lock")
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if errors.Is(err, filelock.ErrHeld) {
		err = fmt.Errorf("%w: a device is being made in %s", ErrInUse, home)
	}
	return free, err
}

// takeLock locks a file that goes when the lock is given back. fs.ErrNotExist: somebody gave it
// back at the same moment, so that what was locked is no longer there.
func takeLock(path string) (free func() error, err error) {
	f, err := filelock.Lock(path)
	if err != nil {
		return nil, err
	}
	mine, err1 := f.Stat()
	there, err2 := os.Stat(path)
	if err := errors.Join(err1, err2); err != nil {
		return nil, errors.Join(err, filelock.Unlock(f))
	}
	if !os.SameFile(mine, there) {
		return nil, errors.Join(fs.ErrNotExist, filelock.Unlock(f))
	}
	return func() error {
		if there, err := os.Stat(path); err != nil || !os.SameFile(mine, there) { // somebody has removed it, and may have another
			return filelock.Unlock(f)
		}
		if runtime.GOOS == "windows" { // a file that somebody has open cannot be removed there
			err := filelock.Unlock(f)
			_ = os.Remove(path)
			return err
		}
		_ = os.Remove(path) // one that stays is locked by nobody
		return filelock.Unlock(f)
	}, nil
}
