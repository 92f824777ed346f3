package hook

import (
	"math/bits"
	"time"
)

// State is what is durable of a hook, beside its cursors: the event that it fails at. The zero
// value is that of a hook that works.
type State struct {
	Group    string // with Cursor, the event
	Cursor   uint64
	Failures int       // of that event, without a success since
	Since    time.Time // of the first of them
	Next     time.Time // when it is tried again
	Why      string    // it failed the last time
	Parked   bool      // nothing is tried until somebody says so
	Config   []byte    // a hash of its part of the configuration
}

// Pauses after a failure, of which each is twice the one before. A hook that fails after the
// last one too is parked: that is two hours and eight minutes after the first failure.
const (
	FirstPause = time.Second
	LastPause  = time.Hour
)

// maxWhy is how much is kept of what a hook said when it failed, in bytes.
const maxWhy = 500

// pauseAfter is how long a hook rests after so many failures.
func pauseAfter(failures int) time.Duration {
	if failures > bits.Len64(uint64(LastPause/FirstPause)) {
		return LastPause
	}
	return min(FirstPause<<(failures-1), LastPause)
}

// failed gives the state after another failure of an event.
func (s State) failed(now time.Time, group string, cursor uint64, why string) State {
	if s.Group != group || s.Cursor != cursor || s.Failures == 0 {
		s = State{Group: group, Cursor: cursor, Since: now, Config: s.Config}
	}
	s.Parked = s.Failures > 0 && pauseAfter(s.Failures) == LastPause
	s.Failures++
	s.Why = cut(why, maxWhy)
	s.Next = now.Add(pauseAfter(s.Failures))
	if s.Parked {
		s.Next = time.Time{}
	}
	return s
}

// works gives the state of a hook that does.
func (s State) works() State { return State{Config: s.Config} }

// wait is how long nothing is to be tried.
func (s State) wait(now time.Time) time.Duration {
	if s.Failures == 0 {
		return 0
	}
	return max(0, s.Next.Sub(now))
}

// read gives a state as it is when a process begins with it: a clock that was set back
// meanwhile makes no pause longer.
func (s State) read(now time.Time) State {
	if s.Failures > 0 && !s.Parked {
		s.Next = now.Add(min(s.wait(now), pauseAfter(s.Failures)))
	}
	return s
}
