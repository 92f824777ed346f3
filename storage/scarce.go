package storage

import (
	"path/filepath"
	"slices"
	"time"
)

// Below the reserve no transaction is begun. But Badger makes a table of a full memory table
// in the background, and merges tables then: if others take the rest of the disk meanwhile, the
// kernel ends the process. So where little more than the reserve is left, the transaction that filled
// a memory table returns when all that is done. If the disk fills between two transactions, the
// store writes nothing then.

// maxFinishing bounds that wait: somebody who reads for long keeps the log of a table that is done.
const maxFinishing = 3 * time.Second

// finishTables waits, where space is scarce, until Badger has written what it writes in the
// background. The caller holds s.writeMu.
func (s *Store) finishTables() {
	if !lacks(s.dir, 2*s.keep) {
		return
	}
	again := time.NewTicker(2 * time.Millisecond)
	defer again.Stop()
	for began := time.Now(); ; <-again.C {
		logs, err := filesOf(filepath.Join(s.dir, "db"), ".mem")
		if err != nil || len(logs) == 0 {
			return // the next transaction says so
		}
		newest := slices.Max(logs)
		if newest == s.tabled {
			return
		}
		if len(logs) == 1 && !s.merges() || time.Since(began) > maxFinishing {
			s.tabled = newest
			return
		}
	}
}

// merges says whether Badger has tables to merge.
func (s *Store) merges() bool {
	for _, l := range s.db.Load().Levels() {
		if l.Score >= 1 {
			return true
		}
	}
	return false
}
