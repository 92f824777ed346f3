package hook

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup starts a program without a window.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{HideWindow: true} }

// killGroup ends a program. Programs that it has started go on.
func killGroup(p *os.Process) error { return p.Kill() }
