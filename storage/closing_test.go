package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// endLeft closes the database of a store at the end of the test, which a process that ends does
// not have to.
func endLeft(t *testing.T, s *Store) {
	db := s.db.Load()
	t.Cleanup(func() { check(t, db.Close()) })
}

// TestCloseOnAFullDisk: on a full disk the store closes without writing a table, and nothing
// that was applied is lost. The same process opens it again.
func TestCloseOnAFullDisk(t *testing.T) {
	dir, s := newStore(t)
	for i := range 40 {
		check(t, s.Apply(Batch{Writes: []Write{put(fmt.Sprint("k", i), fmt.Sprint("value ", i), VaultID{byte(i % 3)})}}))
	}
	before := content(t, s)
	endLeft(t, s)
	s.keep = 1 << 62
	check(t, s.Close())
	if tables := must(filesOf(filepath.Join(dir, "db"), ".sst"))(t); len(tables) > 0 {
		t.Errorf("%q: on a full disk that ends the process", tables)
	}
	full := testOptions()
	full.keep = 1 << 62
	for _, o := range []Options{full, testOptions()} {
		s = must(Open(dir, o))(t)
		check(t, s.Verify(t.Context()))
		if now := content(t, s); fmt.Sprint(now) != fmt.Sprint(before) {
			t.Errorf("%v; before: %v", now, before)
		}
		check(t, s.Close())
	}
}

// TestCloseWithoutAFolder: a store whose folder is gone closes at once, says so, and is not opened
// again by this process.
func TestCloseWithoutAFolder(t *testing.T) {
	dir, s := newStore(t)
	check(t, s.Apply(Batch{Writes: []Write{put("k", "v")}}))
	endLeft(t, s)
	aside := dir + ".aside"
	check(t, os.Rename(dir, aside))
	if err := s.Close(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("closing a store whose folder is gone: %v", err)
	}
	check(t, os.Rename(aside, dir))
	if _, err := Open(dir, testOptions()); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "this one") {
		t.Errorf("opening it again beside the database that was left: %v", err)
	}
}

// TestNoFileCanBeMade: a folder that takes no files is no damage.
func TestNoFileCanBeMade(t *testing.T) {
	dir, s := newStore(t)
	check(t, s.Apply(Batch{Writes: []Write{put("k", "v")}}))
	check(t, s.Close())
	check(t, os.Mkdir(filepath.Join(dir, "db", "probe"), 0o700)) // in the way, also for root
	if _, err := Open(dir, testOptions()); err == nil || errors.Is(err, ErrCorrupt) {
		t.Errorf("%v; it is not corrupt", err)
	}
	check(t, os.Remove(filepath.Join(dir, "db", "probe")))
	s = must(Open(dir, testOptions()))(t)
	check(t, s.Close())
}

// TestPassphrasePanics: who recovers from a panic of its own callback can open the store.
func TestPassphrasePanics(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	o := testOptions()
	o.KeyFile, o.KDF = "", KDF{MemoryKiB: 64, Passes: 1, Lanes: 1}
	o.Passphrase = func() ([]byte, error) { return []byte("secret"), nil }
	check(t, must(Create(dir, o))(t).Close())
	failing := o
	failing.Passphrase = func() ([]byte, error) { panic("no terminal") }
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic of a callback is swallowed")
			}
		}()
		_, _ = Open(dir, failing)
	}()
	s := must(Open(dir, o))(t)
	check(t, s.Close())
}
