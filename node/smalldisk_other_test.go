//go:build !linux

package node

import (
	"errors"
	"testing"
)

func smallDisk(*testing.T, string) (resize func(size string), err error) {
	return nil, errors.ErrUnsupported
}
