package main

import "syscall"

// dieWithParent makes a child the leader of its own process group, and the kernel
// kill it when the thread that started it ends.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
