package main

import (
	"testing"

	"golang.org/x/sys/unix"
)

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
