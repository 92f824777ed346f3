package storage

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
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
	check(t, s.Verify())
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
