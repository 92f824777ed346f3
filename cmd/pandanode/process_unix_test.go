//go:build unix

package main

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A process that holds secrets dumps no core, and its files are its user's, whatever mode a
// library gives them.
func TestKeepSecrets(t *testing.T) {
	before := unix.Umask(0o022)
	defer unix.Umask(before)
	keepSecrets()
	var core unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &core); err != nil || core.Cur != 0 || core.Max != 0 {
		t.Errorf("a core may have %d bytes, %d at most, %v", core.Cur, core.Max, err)
	}
	path := filepath.Join(t.TempDir(), "table")
	if err := os.WriteFile(path, nil, 0o666); err != nil { //nolint:gosec // as Badger does
		t.Fatal(err)
	}
	if is, err := os.Stat(path); err != nil || is.Mode().Perm() != 0o600 {
		t.Errorf("a file has mode %v, %v", is.Mode(), err)
	}
}
