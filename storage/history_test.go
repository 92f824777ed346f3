package storage

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dgraph-io/badger/v4"
)

// A store of epochs that come and go. Every Badger file that ever was is kept, as it was after each transaction and each
// compaction. With the passphrase and today's keys, no version of any record of a dropped vault opens, in any of them;
// those of living vaults do.
func TestEveryFileThatEverWas(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := testOptions()
	o.MaxBatch = 1 // small tables
	s := must(Create(dir, o))(t)
	past := t.TempDir()
	images := 0
	keep := func() {
		copyDir(t, filepath.Join(dir, "db"), filepath.Join(past, fmt.Sprint(images)))
		images++
	}
	epoch := func(i int) VaultID { return VaultID{1, byte(i)} }
	const epochs, living = 12, 2
	filler := bytes.Repeat([]byte{7}, 60<<10)
	for i := range epochs {
		head := fmt.Sprintf("epoch %02d", i)
		writes := []Write{put(head, "secret of "+head, epoch(i)), put("current", head), {Key: []byte("filler/" + head), Value: filler}}
		check(t, s.Apply(Batch{Writes: writes}))
		keep()
		for gen := range 3 { // a row of message keys, replaced again and again
			check(t, s.Apply(Batch{Writes: []Write{put(head+"/keys", fmt.Sprintf("keys %d of %s", gen, head), epoch(i))}}))
			keep()
		}
		if i >= living {
			check(t, s.Apply(Batch{Drop: []VaultID{epoch(i - living)}}))
			keep()
		}
		if i%4 == 3 { // tables are written, and compacted
			check(t, s.Close())
			s = must(Open(dir, o))(t)
			check(t, s.Compact())
			keep()
		}
	}
	check(t, s.Close())
	keep()

	l, ring, err := readKeys(dir, o) // today's
	check(t, err)
	defer l.kek.wipe()
	keys := append(slices.Collect(maps.Values(ring.vaults)), newVault(ring.data), newVault(l.kek))
	if len(keys) != living+2 {
		t.Fatalf("%d keys today", len(keys))
	}
	met := make(map[VaultID]map[string]bool) // sealed values, by vault: the test has looked at them
	opened := make(map[VaultID]map[string]bool)
	note := func(m map[VaultID]map[string]bool, id VaultID, value []byte) {
		if m[id] == nil {
			m[id] = make(map[string]bool)
		}
		m[id][string(value)] = true
	}
	for i := range images {
		db := must(openBadger(filepath.Join(past, fmt.Sprint(i)), o, false, true))(t)
		check(t, db.View(func(txn *badger.Txn) error {
			it := txn.NewIterator(badger.IteratorOptions{AllVersions: true})
			defer it.Close()
			for it.Rewind(); it.Valid(); it.Next() {
				key := it.Item().KeyCopy(nil)
				stored, err := it.Item().ValueCopy(nil)
				if err != nil || key[0] != classRecord || it.Item().IsDeletedOrExpired() {
					continue
				}
				id, n, err := vaultOf(stored)
				if err != nil || id == (VaultID{}) {
					continue
				}
				note(met, id, stored)
				for _, k := range keys {
					if plain, err := k.sealer.open(stored[n:], associated(stored[:n], key)); err == nil {
						note(opened, id, plain)
					}
				}
			}
			return nil
		}))
		check(t, db.Close())
		check(t, os.RemoveAll(filepath.Join(past, fmt.Sprint(i))))
	}
	for i := range epochs {
		id, alive := epoch(i), i >= epochs-living
		switch got := opened[id]; {
		case len(met[id]) < 4:
			t.Errorf("epoch %d: only %d values of it were ever on the disk", i, len(met[id]))
		case !alive && len(got) != 0:
			t.Errorf("epoch %d is deleted, and %d of its values open", i, len(got))
		case alive && !got[fmt.Sprintf("secret of epoch %02d", i)]:
			t.Errorf("epoch %d lives, and its secret does not open: %v", i, got)
		}
	}
	t.Logf("%d states of the files, %d keys tried on each value", images, len(keys))
}
