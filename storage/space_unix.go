//go:build linux || darwin

package storage

import (
	"io/fs"
	"syscall"
)

// freeSpace returns how many bytes the file system of dir has for this process.
func freeSpace(dir string) (n uint64, known bool) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, false
	}
	return st.Bavail * uint64(st.Bsize), true
}

// allocated returns the bytes that a file takes on the disk, without its holes.
func allocated(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return info.Size()
}
