package storage

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// Below the reserve no transaction is begun. But Badger makes a table of a full memory table
// in the background, and merges tables then: if others take the rest of the disk meanwhile, the
// kernel ends the process. So where little more than the reserve is left, the transaction that filled
// a memory table returns when all that is done. If the disk fills between two transactions, the
// store writes nothing then.

const (
	// maxFinishing bounds that wait: somebody who reads for long keeps the log of a table that is done.
	maxFinishing = 3 * time.Second
	// atRest is how long nothing has to change: twice the time after which Badger looks for
	// tables to merge.
	atRest = 100 * time.Millisecond
	// surelyAtRest is for a database that is left to itself. A merge that looks like rest has
	// made a file of its own by then.
	surelyAtRest = time.Second
)

// finishTables waits, where space is scarce, until Badger has written what it writes in the
// background. The caller holds s.writeMu.
func (s *Store) finishTables() {
	if !lacks(s.dir, 2*s.keep) {
		return
	}
	logs, err := filesOf(filepath.Join(s.dir, "db"), ".mem")
	if err != nil || len(logs) == 0 {
		return // the next transaction says so
	}
	if newest := slices.Max(logs); newest != s.tabled {
		s.rests(atRest)
		s.tabled = newest
	}
}

// rests waits until Badger has neither made nor merged a table for so long. If that takes too
// much time, it says no.
func (s *Store) rests(quiet time.Duration) bool {
	again := time.NewTicker(2 * time.Millisecond)
	defer again.Stop()
	db, last := s.db.Load(), ""
	began := time.Now()
	for since := began; ; <-again.C {
		now, idle := s.tables(db)
		switch {
		case !idle || now != last:
			last, since = now, time.Now()
		case time.Since(since) >= quiet:
			return true
		}
		if time.Since(began) > maxFinishing {
			return false
		}
	}
}

// tables describes the tables of a database, and says whether it seems to do nothing with
// them. Badger's scores leave out what it merges already, so that they fall when a merge
// begins. The sizes count it until its end.
func (s *Store) tables(db *badger.DB) (now string, idle bool) {
	path := filepath.Join(s.dir, "db")
	logs, err := filesOf(path, ".mem")
	files, err2 := filesOf(path, ".sst")
	idle = err == nil && err2 == nil && len(logs) == 1 && len(files) == len(db.Tables())
	levels := db.Levels()
	for i, l := range levels {
		due := l.Score >= 1 || 0 < i && i < len(levels)-1 && l.Size >= l.TargetSize
		idle = idle && (!due || db.Opts().NumCompactors == 0)
		now += fmt.Sprintln(l.NumTables, l.Size)
	}
	return now, idle
}
