package main

import (
	"context"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pandanode/pandanode/node/api"
)

// A passphrase file that nobody writes does not hold up an interrupt, and what goes on for ever
// is no passphrase.
func TestPassphraseFilesWithoutAnEnd(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := &app{done: ctx.Done()}
	if _, err := a.passphraseFile(pipe, false); api.CodeOf(err) != api.CodeInterrupted {
		t.Errorf("a FIFO that nobody writes: %v", err)
	}
	a.done = nil
	if p, err := a.passphraseFile("/dev/zero", false); api.CodeOf(err) != api.CodeInvalid {
		t.Errorf("%d bytes of what has no end: %v", len(p), err)
	}
}

// A process that holds secrets is hidden from the debuggers of its user and from programs
// that take cores through a pipe, which no limit on cores keeps away.
func TestHideMemory(t *testing.T) {
	dumpable := func() int {
		is, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		return is
	}
	show := func() {
		if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil || dumpable() != 1 {
			t.Fatal(dumpable(), err)
		}
	}
	show() // a test before this one may have hidden the process
	defer show()
	keepSecrets()
	if is := dumpable(); is != 0 {
		t.Errorf("dumpable is %d", is)
	}
}
