package filelock

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	held := func(want bool) {
		t.Helper()
		if got, err := Held(path); got != want || err != nil {
			t.Fatalf("held: %v, %v, want %v", got, err, want)
		}
	}
	held(false)
	if _, err := os.Stat(path); err == nil {
		t.Fatal("to look made the file")
	}
	for range 2 {
		f, err := Lock(path)
		if err != nil {
			t.Fatal(err)
		}
		held(true)
		held(true) // to look changes nothing
		if _, err := Lock(path); !errors.Is(err, ErrHeld) {
			t.Fatalf("a second time: %v", err)
		}
		if err := os.WriteFile(path, []byte("of the holder"), 0o600); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(path); string(b) != "of the holder" || err != nil {
			t.Fatalf("others read %q, %v", b, err)
		}
		if err := Unlock(f); err != nil {
			t.Fatal(err)
		}
		held(false)
	}
	looker, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := share(looker); err != nil {
		t.Fatal(err)
	}
	held(false) // another one looks at the same moment
	if err := Unlock(looker); err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(filepath.Join(path, "below")); err == nil || errors.Is(err, ErrHeld) {
		t.Fatalf("below a file: %v", err)
	}
}
