package main

import "golang.org/x/sys/unix"

// hideMemory has the system give no other process of this user, and no program that takes
// cores through a pipe, the memory of this one. Only root still can.
func hideMemory() { _ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) } // it fails on no kernel with these arguments
