package storage

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// filesWith lists the files below a directory that hold some bytes.
func filesWith(t *testing.T, dir string, what []byte) (out []string) {
	t.Helper()
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, what) {
			out = append(out, filepath.Base(path))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return out
}

// After Compact no file holds a sealed value that was deleted or replaced before, in any
// version: a thief with the data key has nothing to open. That holds while the store is
// open, for values that were just written and for those that lie in a table.
func TestCompactErasesOldVersions(t *testing.T) {
	t.Parallel()
	dir, s := newStore(t)
	var sealed [][]byte
	write := func(key string, size int) {
		t.Helper()
		check(t, s.Apply(Batch{Writes: []Write{put(key, strings.Repeat("x", size))}}))
		b := must(s.stored(recordKey([]byte(key))))(t)
		sealed = append(sealed, b[len(b)-32:]) // its last bytes, the tag among them
	}
	others := map[string]string{}
	for i := range 50 {
		key := fmt.Sprint("other/", i)
		others[key] = strings.Repeat("y", 1000+i)
		check(t, s.Apply(Batch{Writes: []Write{put(key, others[key])}}))
	}
	write("a", 60<<10)
	write("a", 50<<10) // a second version
	write("b", 100)
	check(t, s.Compact())
	write("c", 60<<10)
	write("d", 100)
	live := 0
	for _, b := range sealed {
		live += len(filesWith(t, dir, b))
	}
	if live < 4 {
		t.Fatalf("the values are in %d files: nothing is there to be erased", live)
	}
	for _, key := range []string{"a", "b", "c", "d"} {
		check(t, s.Apply(Batch{Writes: []Write{{Key: []byte(key)}}}))
	}
	check(t, s.Compact())
	for i, b := range sealed {
		if files := filesWith(t, dir, b); len(files) > 0 {
			t.Errorf("value %d is still in %q", i, files)
		}
	}
	if got := content(t, s); len(got) != len(others) {
		t.Errorf("%d records are left, want %d", len(got), len(others))
	}
	check(t, s.Verify(t.Context()))
	check(t, s.Apply(Batch{Writes: []Write{put("e", "5")}}))
	check(t, s.Close())
	s = must(Open(dir, testOptions()))(t)
	check(t, s.Verify(t.Context()))
	check(t, s.Close())
}
