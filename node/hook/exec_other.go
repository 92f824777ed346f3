//go:build unix && !linux

package hook

import "syscall"

// dieWithNode does nothing: this system cannot do it.
func dieWithNode(*syscall.SysProcAttr) {}
