package node

import (
	"os"
	"syscall"
	"testing"
)

// smallDisk mounts a disk in memory on a folder, of 400 MiB, and gives what changes its size.
func smallDisk(t *testing.T, dir string) (resize func(size string), err error) {
	t.Helper()
	if err := syscall.Mount("none", dir, "tmpfs", 0, "size=400m"); err != nil {
		return nil, os.NewSyscallError("mount", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return func(size string) {
		t.Helper()
		if err := syscall.Mount("none", dir, "tmpfs", syscall.MS_REMOUNT, "size="+size); err != nil {
			t.Error(err)
		}
	}, nil
}
