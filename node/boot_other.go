//go:build !linux

package node

import "time"

// sinceBoot is not to be had here: a machine that slept looks like one whose clock jumped.
func sinceBoot() (time.Duration, bool) { return 0, false }
