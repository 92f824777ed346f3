//go:build unix && !linux

package main

import "syscall"

// dieWithParent makes a child the leader of its own process group. Elsewhere than
// on Linux it outlives a parent that is killed with SIGKILL.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
