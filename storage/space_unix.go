//go:build linux || darwin

package storage

import "syscall"

// freeSpace is how many bytes the file system of dir has for this process.
func freeSpace(dir string) (n uint64, known bool) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return 0, false
	}
	return st.Bavail * uint64(st.Bsize), true
}
