//go:build unix

package main

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownSession makes a child the leader of a session of its own, so that it has no terminal,
// and no key and no hangup of one reaches it.
func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// terminate asks a process to end.
func terminate(p *os.Process) error { return p.Signal(syscall.SIGTERM) }

// killGroup ends a process that leads a group, and all of the group.
func killGroup(p *os.Process) error { return syscall.Kill(-p.Pid, syscall.SIGKILL) }

// keepSecrets has the files that this process makes be for its user alone, also where a
// library asks for more, and has no core of it dumped: a core would hold the keys of its
// groups. On Linux no other process of this user reads its memory either.
func keepSecrets() {
	unix.Umask(0o077)
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) // less is always permitted
	hideMemory()
}

// hasTerminal says whether this process has a terminal that is there.
func hasTerminal() bool {
	f, err := os.OpenFile("/dev/tty", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	_ = f.Close()
	return true
}

// inForeground says whether this process may read from a terminal. The shell stops one
// that reads from its terminal in the background.
func inForeground(terminal *os.File) bool {
	group, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPGRP)
	return err != nil || group == unix.Getpgrp() // an error: it is not this process's terminal, and nothing stops it
}
