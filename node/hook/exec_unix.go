//go:build unix

package hook

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup makes a program the leader of a process group of its own.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithNode(cmd.SysProcAttr)
}

// killGroup ends a program, and all that is in its group.
func killGroup(p *os.Process) error { return syscall.Kill(-p.Pid, syscall.SIGKILL) }
