//go:build unix

package filelock

import (
	"path/filepath"
	"syscall"
	"testing"
)

// TestUnlockWhileAProcessStarts: a lock is free at once also if a process that is being started
// still has its file: until it runs its own program it has all that were open.
func TestUnlockWhileAProcessStarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	f, err := Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	child, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if err := Unlock(f); err != nil {
		t.Fatal(err)
	}
	again, err := Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := Unlock(again); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Close(child); err != nil {
		t.Fatal(err)
	}
}
