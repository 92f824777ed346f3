package hook

import "syscall"

// dieWithNode has the kernel end a program when the node is gone, so that it does not run
// beside the one that the next start of the node runs.
func dieWithNode(a *syscall.SysProcAttr) { a.Pdeathsig = syscall.SIGKILL }
