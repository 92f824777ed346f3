package main

import (
	"os"
	"syscall"

	"golang.org/x/sys/windows"
)

// ownSession starts a child without a console, so that neither keys nor the closing of the
// console reach it.
func ownSession() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: windows.DETACHED_PROCESS | windows.CREATE_NEW_PROCESS_GROUP}
}

// terminate ends a process: Windows cannot ask one that has no console.
func terminate(p *os.Process) error { return p.Kill() }

// killGroup ends a process. Processes that it has started go on.
func killGroup(p *os.Process) error { return p.Kill() }

// dieWithParent does nothing: on Windows a child outlives a parent that is killed.
func dieWithParent() *syscall.SysProcAttr { return nil }

// keepSecrets does nothing: the home's access list guards its files, and Windows dumps no
// process unless an administrator has it do so.
func keepSecrets() {}

// hasTerminal is for a signal that Windows does not have.
func hasTerminal() bool { return true }

// inForeground says whether this process may read from a terminal.
func inForeground(*os.File) bool { return true }
