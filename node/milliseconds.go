package node

import "time"

// milliseconds gives a time as rows and messages have it: in milliseconds since 1970; 0: the
// zero time, which is no time at all.
func milliseconds(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(t.UnixMilli()) //nolint:gosec // after 1970
}

// timeOf is the inverse of milliseconds.
func timeOf(ms uint64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(ms)) //nolint:gosec // a date
}
