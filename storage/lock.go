package storage

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/pandanode/pandanode/internal/filelock"
)

// lockDir takes the directory's lock. The kernel gives it back when the process ends, however it ends; the process id in
// the file is only for people.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	f, err := filelock.Lock(path)
	if errors.Is(err, filelock.ErrHeld) {
		by := holder(path)
		if by == strconv.Itoa(os.Getpid()) {
			by += ", which is this one"
		}
		return nil, fmt.Errorf("%w by process %s", ErrInUse, by)
	}
	if err != nil {
		return nil, fmt.Errorf("storage: %w", err)
	}
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintln(f, os.Getpid())
	}
	return f, nil
}

// holder names the process that holds a lock, if the file says it.
func holder(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return "unknown"
	}
	defer f.Close()
	const longest = 20
	b, err := io.ReadAll(io.LimitReader(f, longest))
	if pid := strings.TrimSpace(string(b)); err == nil && pid != "" {
		return pid
	}
	return "unknown"
}

// SyncDir makes the names in a directory durable, on systems that offer a way.
func SyncDir(dir string) error { return syncDir(dir) }
