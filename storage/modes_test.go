//go:build unix

package storage

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A store is its user's alone, also where a program with the usual umask embeds it, in a
// directory that was there before, and where an earlier program left more rights.
func TestModesOfTheStore(t *testing.T) {
	before := unix.Umask(0o022) // of the whole process: no other test runs beside this one
	defer unix.Umask(before)
	dir := filepath.Join(t.TempDir(), "store")
	if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // too open, on purpose
		t.Fatal(err)
	}
	private := func(when string, files bool) {
		t.Helper()
		seen := 0
		if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			st, err := d.Info()
			if err != nil {
				return err
			}
			if seen++; (d.IsDir() || files) && st.Mode().Perm()&0o077 != 0 {
				t.Errorf("%s: %s has mode %v", when, path, st.Mode())
			}
			return nil
		}); err != nil || seen < 5 {
			t.Fatal(when, seen, err)
		}
	}
	o := Options{Passphrase: func() ([]byte, error) { return []byte("modes"), nil }, KDF: KDF{MemoryKiB: 64, Passes: 1, Lanes: 1}}
	s, err := Create(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	private("created", false)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{dir, filepath.Join(dir, "db")} {
		if err := os.Chmod(d, 0o755); err != nil { //nolint:gosec // as above
			t.Fatal(err)
		}
	}
	if s, err = Open(dir, o); err != nil {
		t.Fatal(err)
	}
	private("open", false)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	tighten(dir, o)
	private("tightened", true)
}
