package storage

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// tighten takes the rights of other users away from the directories of a store, and from
// the files of the database, so that the store is this user's alone whatever the umask of
// the program, and the mode of a directory that was there before. Files that the database
// makes later have the mode that it asks for, in directories that nobody else enters. On
// Windows there are no such modes.
func tighten(dir string, o Options) {
	if runtime.GOOS == "windows" {
		return
	}
	db := filepath.Join(dir, "db")
	for _, d := range []string{dir, db} {
		if wide, err := restrict(d, 0o700); err != nil {
			o.logger().Warn("other users may be able to enter the store", "path", d, "err", err)
		} else if wide {
			o.logger().Warn("other users could enter the store, and cannot any more", "path", d)
		}
	}
	files, _ := os.ReadDir(db) // without one there are no files
	for _, f := range files {
		if !f.Type().IsRegular() {
			continue
		}
		if _, err := restrict(filepath.Join(db, f.Name()), 0o600); err != nil {
			o.logger().Warn("other users may be able to read a file of the store", "path", filepath.Join(db, f.Name()), "err", err)
		}
	}
}

// restrict takes all rights but these from what is at a path, if it has more.
func restrict(path string, mode fs.FileMode) (wide bool, err error) {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && st.Mode().Perm()&^mode == 0 {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, os.Chmod(path, mode)
}
