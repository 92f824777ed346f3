package storage

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestFlippedBlocksAreFoundByOpen: a bit that flipped anywhere in a table is an error of
// Open. An iterator of Badger's that meets such a block ends without an error, or
// shows records twice.
func TestFlippedBlocksAreFoundByOpen(t *testing.T) {
	dir, s := newStore(t)
	for i := range 300 {
		check(t, s.Apply(Batch{Writes: []Write{put(fmt.Sprintf("key %06d", i), strings.Repeat(fmt.Sprint("value ", i, " "), 30))}}))
	}
	check(t, s.Close())
	tables := must(filepath.Glob(filepath.Join(dir, "db", "*.sst")))(t)
	if len(tables) == 0 {
		t.Fatal("there is no table")
	}
	rng := rand.New(rand.NewPCG(8, 9))
	for _, path := range tables {
		content := must(os.ReadFile(path))(t)
		for range 20 {
			at, bit := rng.IntN(len(content)), byte(1)<<rng.IntN(8)
			content[at] ^= bit
			check(t, os.WriteFile(path, content, 0o600))
			if s, err := Open(dir, testOptions()); !errors.Is(err, ErrCorrupt) {
				t.Errorf("byte %d of %d of %s: %v", at, len(content), filepath.Base(path), err)
				if err == nil {
					_ = s.Close()
				}
			}
			content[at] ^= bit
		}
		check(t, os.WriteFile(path, content, 0o600))
	}
	s = must(Open(dir, testOptions()))(t)
	check(t, s.Verify(t.Context()))
	check(t, s.Close())
}

// TestFlippedManifestIsFoundByOpen: a flipped bit anywhere in the manifest is an error of
// Open, and removes no table. A torn end, as a loss of power leaves it, is no error.
func TestFlippedManifestIsFoundByOpen(t *testing.T) {
	t.Parallel()
	dir, s := newStore(t)
	for round := range 4 { // a table each
		for i := range 20 {
			check(t, s.Apply(Batch{Writes: []Write{put(fmt.Sprintf("key %d %d", round, i), strings.Repeat("value ", 30))}}))
		}
		check(t, s.Close())
		s = must(Open(dir, testOptions()))(t)
	}
	check(t, s.Close())
	path := filepath.Join(dir, "db", "MANIFEST")
	content := must(os.ReadFile(path))(t)
	count := func() int { return len(must(filepath.Glob(filepath.Join(dir, "db", "*.sst")))(t)) }
	tables := count()
	if tables < 4 || len(content) < 60 {
		t.Fatalf("%d tables, a manifest of %d bytes", tables, len(content))
	}
	for at := range content {
		for bit := range 8 {
			content[at] ^= 1 << bit
			check(t, os.WriteFile(path, content, 0o600))
			if s, err := Open(dir, testOptions()); !errors.Is(err, ErrCorrupt) {
				t.Errorf("bit %d of byte %d of %d: %v", bit, at, len(content), err)
				if err == nil {
					_ = s.Close()
				}
			}
			content[at] ^= 1 << bit
			if n := count(); n != tables {
				t.Fatalf("bit %d of byte %d: %d of %d tables are left", bit, at, n, tables)
			}
		}
	}
	torn := append(slices.Clone(content), 0, 0, 0, 40, 1, 2, 3, 4, 5, 6)
	check(t, os.WriteFile(path, torn, 0o600))
	s = must(Open(dir, testOptions()))(t)
	check(t, s.Verify(t.Context()))
	check(t, s.Close())
}

// TestNoSpace: with too little space left on the disk nothing is begun, and it goes on
// as soon as there is enough.
func TestNoSpace(t *testing.T) {
	dir, s := newStore(t)
	if _, known := freeSpace(dir); !known {
		t.Fatal("nobody knows how much space there is")
	}
	check(t, s.Apply(Batch{Writes: []Write{put("a", "1")}}))
	was := s.keep
	if was == 0 {
		t.Fatal("nothing is kept free")
	}
	s.keep = 1 << 62
	if err := s.Apply(Batch{Writes: []Write{put("a", "2"), put("b", "2")}}); !errors.Is(err, ErrNoSpace) || errors.Is(err, ErrFailed) {
		t.Errorf("without space: %v", err)
	}
	if v := must(s.Get([]byte("a")))(t); string(v) != "1" {
		t.Errorf("a is %q", v)
	}
	s.keep = was
	check(t, s.Apply(Batch{Writes: []Write{put("a", "3")}}))
	check(t, s.Close())
}
