//go:build linux || darwin

package storage

import (
	"fmt"
	"path/filepath"
	"slices"
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
	db, logs := filepath.Join(s.dir, "db"), map[string]bool{}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for i := 0; len(logs) < 10; i++ {
		if i > 1000 {
			t.Fatalf("%d logs after %d transactions", len(logs), i)
		}
		check(t, s.Apply(Batch{Writes: []Write{put(fmt.Sprint("k", i%300), string(value))}}))
		now := must(filesOf(db, ".mem"))(t)
		if len(now) != 1 {
			t.Fatalf("transaction %d: %d logs", i, len(now))
		}
		if logs[now[0]] {
			continue
		}
		logs[now[0]] = true
		tables, rest := must(filesOf(db, ".sst"))(t), time.Now().Add(60*time.Millisecond)
		slices.Sort(tables)
		for ; time.Now().Before(rest); <-tick.C {
			after := must(filesOf(db, ".sst"))(t)
			if slices.Sort(after); !slices.Equal(tables, after) {
				t.Fatalf("transaction %d has returned: %d tables become %d", i, len(tables), len(after))
			}
		}
	}
	if s.db.Load().Levels()[0].NumTables >= len(logs)-1 {
		t.Fatal("no table was merged")
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
