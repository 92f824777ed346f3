//go:build unix

package config

import (
	"os"
	"syscall"
)

// homeVariables name the variables that say where the user's own files are.
var homeVariables = []string{"HOME"}

// private says whether a directory is this user's alone.
func private(dir string) bool {
	st, err := os.Lstat(dir)
	if err != nil || !st.IsDir() || st.Mode().Perm()&0o077 != 0 {
		return false
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	return ok && int(sys.Uid) == os.Getuid()
}
