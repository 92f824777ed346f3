package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// Badger makes a table of what it has in memory when it is closed. On a full disk the kernel
// ends the process for that, and in a folder that takes no files Badger tries again for ever. All
// of it is in the log, too. So there the database is not closed but left, as by a process that
// ends; the next Open reads the log.

// maxClosing is how long Badger has to close the database.
const maxClosing = time.Minute

// writable returns an error if no file can be made in dir.
func writable(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, "probe"), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	if err := errors.Join(f.Close(), os.Remove(f.Name())); err != nil {
		return fmt.Errorf("storage: %w", err)
	}
	return nil
}

// closes says whether the database can be closed. An error says that it cannot, and that its
// folder is not what it should be.
func (s *Store) closes() (bool, error) {
	if s.db.Load() == nil || s.reopenBy != nil {
		return true, nil // nothing is written
	}
	if lacks(s.dir, s.keep) {
		return false, nil
	}
	err := writable(filepath.Join(s.dir, "db"))
	return err == nil, err
}

// closeDatabase closes the database that is written, if it can be closed, else leaves it; why not: see
// closes. resting says that nothing of it writes any more, so that it can be opened again.
func (s *Store) closeDatabase(can bool, why error) (resting bool, err error) {
	db := s.db.Load()
	if db == nil {
		return true, nil
	}
	if !can {
		return why == nil && s.rests(surelyAtRest), why
	}
	closed := make(chan error, 1)
	go func() { closed <- closeBadger(db) }()
	select {
	case err := <-closed:
		return true, err
	case <-time.After(maxClosing):
		return false, fmt.Errorf("storage: the database does not close within %v; what was written is safe in its log", maxClosing)
	}
}

func closeBadger(db *badger.DB) (err error) {
	defer recovered(&err, "closing")
	if err := db.Close(); err != nil {
		return fmt.Errorf("storage: closing the database: %w", err)
	}
	return nil
}

// kept are the locks of stores that were left while Badger wrote: this process opens them no
// more, since two databases would write to the same files.
var kept struct {
	sync.Mutex
	files []*os.File
}

func keepLock(f *os.File) {
	kept.Lock()
	defer kept.Unlock()
	kept.files = append(kept.files, f)
}
