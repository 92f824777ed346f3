package group

import (
	"testing"
	"time"
)

// Every timer wakes the machine, but for the one that only goes with others.
func TestTimersWake(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_790_000_000, 0)
	for x := range timerCount {
		var all timers
		all.set(x, at)
		if next := all.next(); next.Equal(at) != (x != timerDaily) {
			t.Errorf("timer %d: the machine wakes at %v", x, next)
		}
		all.keep(at.Add(-time.Hour), at.Add(-2*time.Hour), at)
		if next := all.next(); next.Equal(at.Add(time.Hour)) != (x == timerRetire || x == timerKeyPackages || x == timerErase) {
			t.Errorf("timer %d, with the time kept an hour behind: the machine wakes at %v", x, next)
		} else if next.Equal(at.Add(2*time.Hour)) != (x == timerExpire) {
			t.Errorf("timer %d, with the end of dates two hours behind: the machine wakes at %v", x, next)
		}
	}
}
