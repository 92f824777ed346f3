package node

import (
	"time"

	"golang.org/x/sys/unix"
)

// sinceBoot is how long the machine has been running, with the time that it slept.
func sinceBoot() (time.Duration, bool) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0, false
	}
	return time.Duration(t.Nano()), true
}
