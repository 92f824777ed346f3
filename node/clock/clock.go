// Package clock estimates the time where a wall clock is an input that may be wrong. It
// compares this device's clock with the clocks of others, and with the time for which the
// process has been running. It reads no clock itself.
//
// The result is three times. Now is for dates and timers: it is the wall clock's time, unless
// a jump, or most of the clocks that were heard, show that to be wrong. Kept decides when
// things are destroyed that have been here for long: it advances as the process runs, and
// leaps only to a wall clock that others confirm. So a wrong clock destroys nothing, neither
// this device's nor that of others. Ends decides what is over that has a date of its own: it
// is Kept, but never more than Slack after the newest clock that was heard, or after the wall
// clock while none was. So a clock that was wrong from the start ends nothing either, once it
// is right, or others are met.
package clock

import (
	"slices"
	"time"
)

// Slack is how far clocks may be apart before one of them is wrong.
const Slack = 10 * time.Minute

// step is how far a clock may move at once without a jump.
const step = time.Minute

// maxHeard is how many users' clocks are remembered.
const maxHeard = 64

// Reading is one reading of this machine's clocks.
type Reading struct {
	Wall time.Time
	Run  time.Duration // since the process began, including the time that the machine slept if the system tells it
}

// line is a time line, named by the time that it shows when the process begins.
type line = time.Time

func lineOf(wall time.Time, run time.Duration) line { return wall.Round(0).Add(-run) }

// Clock compares clocks. It has a single owner.
type Clock struct {
	own       line // of this device, before any jump
	confirmed bool // others confirmed it
	mayJump   bool // the machine may sleep without Run showing it
	kept      line
	ends      line
	now       line
	heard     map[string]heard
	count     uint64
	steps     uint64
}

type heard struct {
	line  line
	count uint64
}

// Time is the estimate of the time at a reading.
type Time struct {
	Now   time.Time
	Kept  time.Time     // by this time old things are destroyed
	Ends  time.Time     // by this time ends what has a date of its own; not after Kept
	Ahead time.Duration // of the wall clock before that of most others; negative: behind
	Peers int           // users whose clocks were heard
	Wrong bool          // Now is not the wall clock's
	Sure  bool          // others confirm the wall clock
	Steps uint64        // how often Now was set back
}

// New starts comparing. last is the estimate of an earlier run, or zero; of it Kept and Ends
// count. mayJump says that the machine can sleep without the readings showing it.
func New(r Reading, last Time, mayJump bool) *Clock {
	own := lineOf(r.Wall, r.Run)
	c := &Clock{own: own, kept: own, ends: own, now: own, mayJump: mayJump, heard: map[string]heard{}}
	if !last.Kept.IsZero() {
		c.kept, c.ends = lineOf(last.Kept, r.Run), lineOf(last.Kept, r.Run)
	}
	if !last.Ends.IsZero() {
		c.ends = lineOf(last.Ends, r.Run)
	}
	return c
}

// Hear notes the clock of another user. A user has one voice, however many devices it has.
func (c *Clock) Hear(r Reading, user string, theirs time.Time) {
	c.count++
	c.heard[user] = heard{lineOf(theirs, r.Run), c.count}
	if len(c.heard) > maxHeard {
		oldest := user
		for u, h := range c.heard {
			if h.count < c.heard[oldest].count {
				oldest = u
			}
		}
		delete(c.heard, oldest)
	}
}

// At returns the estimate of the time at a reading.
func (c *Clock) At(r Reading) Time {
	wall := lineOf(r.Wall, r.Run)
	others := make([]line, 0, len(c.heard)+1)
	for _, h := range c.heard {
		others = append(others, h.line)
	}
	c.follow(wall)
	agree := 0
	t := Time{Peers: len(others)}
	if len(others) > 0 {
		t.Ahead = wall.Sub(median(others, wall))
	}
	voices := slices.Concat(others, []line{c.own})
	all := median(voices, wall)
	for _, l := range voices {
		if near(l, wall, Slack) {
			agree++
		}
	}
	if t.Sure = len(others) > 0 && 2*agree > len(voices); t.Sure {
		c.own, c.confirmed = wall, true
		if wall.After(c.kept) {
			c.kept = wall
		}
	}
	ends := earlier(c.ends, wall)
	if len(others) > 0 {
		c.ends = earlier(c.kept, slices.MaxFunc(others, line.Compare).Add(Slack))
		ends = c.ends
	}
	now := wall
	if t.Wrong = !near(all, wall, Slack); t.Wrong {
		now = all
	}
	if now.Before(c.now.Add(-step)) {
		c.steps++
	}
	c.now = now
	t.Now, t.Kept, t.Ends, t.Steps = now.Add(r.Run), c.kept.Add(r.Run), ends.Add(r.Run), c.steps
	return t
}

// follow moves this device's line along with its wall clock, but not by jumps. A line that
// was never confirmed may be corrected: backwards, or to a time after the last one that was
// known.
func (c *Clock) follow(wall line) {
	switch back := wall.Before(c.own); {
	case near(wall, c.own, step):
	case !back && c.mayJump:
	case !c.confirmed && (back || c.own.Before(c.kept.Add(-Slack))):
	default:
		return
	}
	c.own = wall
}

func earlier(a, b line) line {
	if b.Before(a) {
		return b
	}
	return a
}

func near(a, b line, most time.Duration) bool { return a.Sub(b).Abs() <= most }

// median returns the middle one of some lines. Of two in the middle it returns the one
// nearer to a third line.
func median(lines []line, to line) line {
	var room [maxHeard + 1]line // every turn of a machine asks for the time: nothing is allocated
	lines = append(room[:0], lines...)
	slices.SortFunc(lines, line.Compare)
	low, high := lines[(len(lines)-1)/2], lines[len(lines)/2]
	if high.Sub(to).Abs() < low.Sub(to).Abs() {
		return high
	}
	return low
}
