//go:build !unix && !windows

package filelock

import (
	"errors"
	"os"
)

func take(*os.File) error  { return errors.ErrUnsupported }
func share(*os.File) error { return errors.ErrUnsupported }
func free(*os.File) error  { return errors.ErrUnsupported }
