package node

import (
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/clock"
)

func TestClockInWords(t *testing.T) {
	for _, c := range []struct {
		at   clock.Time
		want string
	}{
		{clock.Time{}, ""},
		{clock.Time{Peers: 3, Sure: true, Ahead: time.Second}, ""},
		{clock.Time{Peers: 3, Wrong: true, Ahead: 2*time.Hour + 3*time.Minute + 4*time.Second}, "this clock is 2 h 3 min ahead of 3 peers"},
		{clock.Time{Peers: 1, Sure: true, Ahead: -90 * time.Second}, "this clock is 1 min 30 s behind 1 peer"},
		{clock.Time{Peers: 2, Wrong: true, Ahead: 365 * 24 * time.Hour}, "this clock is 1 y ahead of 2 peers"},
		{clock.Time{Wrong: true}, "this clock has jumped"},
	} {
		if got := clockText(c.at); !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%+v: %q, want %q", c.at, got, c.want)
		}
	}
}

// The readings of this machine go on, and what was kept of an earlier run counts.
func TestWallClock(t *testing.T) {
	w := newWallClock(clock.Time{Kept: time.Now().Add(-time.Hour)})
	at := w.at()
	if lag := at.Now.Sub(at.Kept); at.Wrong || at.Sure || (lag-time.Hour).Abs() > time.Minute {
		t.Errorf("%+v", at)
	}
	w.hear([32]byte{1}, time.Now())
	if at = w.at(); !at.Sure || at.Now.Sub(at.Kept).Abs() > time.Second {
		t.Errorf("once somebody agrees: %+v", at)
	}
}

// The time by which things are destroyed is not set back by a clock that is behind: what
// came in meanwhile would be too old once the clock is right.
func TestKeptIsNotSetBack(t *testing.T) {
	later := time.Now().Add(50 * 365 * 24 * time.Hour)
	if got := newWallClock(clock.Time{Kept: later}).kept(); got.Before(later) {
		t.Errorf("it is set back by %v", later.Sub(got))
	}
}
