//go:build linux || darwin

package storage

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// TestTablesAreMadeWhereSpaceIsScarce: where little more than the reserve is free, nothing
// is written between two transactions: no table is being made or merged when Apply returns.
func TestTablesAreMadeWhereSpaceIsScarce(t *testing.T) {
	o := testOptions()
	o.MaxBatch = 1 // small tables
	s := must(Create(filepath.Join(t.TempDir(), "store"), o))(t)
	free, known := freeSpace(s.dir)
	if !known {
		t.Fatal("the free space is not known")
	}
	s.keep = free / 4 * 3
	value := make([]byte, 200<<10)
	logs := map[string]bool{}
	for i := 0; len(logs) < 12; i++ {
		if i > 1000 {
			t.Fatalf("%d logs after %d transactions", len(logs), i)
		}
		check(t, s.Apply(Batch{Writes: []Write{put(fmt.Sprint("k", i), string(value))}}))
		now := must(filesOf(filepath.Join(s.dir, "db"), ".mem"))(t)
		if len(now) != 1 || s.merges() {
			t.Fatalf("transaction %d: %d logs; tables are to be merged: %v", i, len(now), s.merges())
		}
		logs[now[0]] = true
	}

	// A reader who keeps a log for long holds a writer up for a bounded time.
	began, done := time.Now(), false
	check(t, s.Scan([]byte("k"), func(_, _ []byte) error {
		for i := 0; i < 20 && !done; i++ {
			check(t, s.Apply(Batch{Writes: []Write{put(fmt.Sprint("k", i), string(value))}}))
			done = len(must(filesOf(filepath.Join(s.dir, "db"), ".mem"))(t)) > 1
		}
		return nil
	}))
	if took := time.Since(began); !done || took < maxFinishing || took > 3*maxFinishing {
		t.Errorf("a transaction that fills a table beside a reader took %v", took)
	}
	check(t, s.Close())
}
