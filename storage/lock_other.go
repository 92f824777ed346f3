//go:build !unix

package storage

import (
	"errors"
	"fmt"
	"os"
)

func lockDir(dir string) (*os.File, error) {
	return nil, fmt.Errorf("storage: locking %s: %w", dir, errors.ErrUnsupported)
}
