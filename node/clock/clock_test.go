package clock

import (
	"fmt"
	"testing"
	"time"
)

var start = time.UnixMilli(1_790_000_000_000).UTC()

const year = 365 * 24 * time.Hour

// bench is a device with a true time line and a wall clock that is off it.
type bench struct {
	c    *Clock
	run  time.Duration
	skew time.Duration
}

func (b *bench) reading() Reading { return Reading{start.Add(b.run + b.skew), b.run} }
func (b *bench) at() Time         { return b.c.At(b.reading()) }
func (b *bench) hear(user string, off time.Duration) {
	b.c.Hear(b.reading(), user, start.Add(b.run+off))
}

func begin(skew time.Duration, kept time.Time) *bench {
	b := &bench{skew: skew}
	b.c = New(b.reading(), Time{Kept: kept}, false)
	return b
}

// is compares how far a time is off the true one.
func (b *bench) is(t *testing.T, what string, got time.Time, off time.Duration) {
	t.Helper()
	if d := got.Sub(start.Add(b.run)); (d - off).Abs() > time.Second {
		t.Errorf("%s is %v off, want %v", what, d, off)
	}
}

func TestJumps(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, year, 50 * year, -time.Hour, -50 * year} {
		b := begin(0, time.Time{})
		b.hear("ben", time.Second)
		if got := b.at(); !got.Sure || got.Wrong {
			t.Errorf("at first: %+v", got)
		}
		b.run, b.skew = time.Hour, jump
		got := b.at()
		b.is(t, "now", got.Now, 0)
		b.is(t, "kept", got.Kept, 0)
		if !got.Wrong || got.Sure {
			t.Errorf("after a jump by %v: %+v", jump, got)
		}
		b.run, b.skew = 2*time.Hour, 0
		if got = b.at(); got.Wrong || got.Steps != 0 {
			t.Errorf("right again: %+v", got)
		}
		b.is(t, "now", got.Now, 0)
	}
}

// A device that first starts with a clock that is ahead ends nothing by it once it has met
// somebody, also when it is alone later; and what has been here for a while stays as long as
// elsewhere.
func TestWrongFromTheStart(t *testing.T) {
	b := begin(10*year, time.Time{})
	b.is(t, "the end of dates, alone", b.at().Ends, 10*year)
	b.hear("ben", time.Second)
	b.is(t, "the end of dates", b.at().Ends, Slack+time.Second)
	b.is(t, "kept", b.at().Kept, 10*year)
	b.run = time.Hour
	last := b.at()
	b = begin(10*year, time.Time{})
	b.at()
	b.skew = 0
	b.is(t, "its clock was put right before it met anybody: the end of dates", b.at().Ends, 0)
	for name, skew := range map[string]time.Duration{"as wrong": 10 * year, "right": time.Hour} {
		b := &bench{run: time.Hour, skew: skew}
		b.c = New(b.reading(), last, false)
		b.run += time.Hour
		b.is(t, name+", alone again: the end of dates", b.at().Ends, Slack+time.Second)
		b.hear("ben", -time.Minute)
		b.is(t, name+", met again: the end of dates", b.at().Ends, Slack-time.Minute)
		b.is(t, name+": kept", b.at().Kept, 10*year)
	}
}

// The end of dates is the newest clock that was heard, and this device's own, if that is
// behind.
func TestEndOfDates(t *testing.T) {
	b := begin(0, time.Time{})
	b.hear("ben", -year)
	b.is(t, "only a clock that is behind was heard", b.at().Ends, Slack-year)
	b.hear("cleo", 0)
	b.is(t, "a right one, too", b.at().Ends, 0)
	b.hear("dora", year)
	b.is(t, "and one that is ahead", b.at().Ends, 0)
	b = begin(-year, time.Time{})
	b.hear("ben", 0)
	b.is(t, "its own is behind", b.at().Ends, -year)
}

// Of a device that is alone nobody can say that it is wrong, and it destroys nothing before
// it ran for so long.
func TestAlone(t *testing.T) {
	b := begin(year, start.Add(-time.Hour))
	b.run = time.Hour
	got := b.at()
	if got.Wrong || got.Sure || got.Peers != 0 {
		t.Errorf("%+v", got)
	}
	b.is(t, "now", got.Now, year)
	b.is(t, "kept", got.Kept, -time.Hour)
	b.skew = 0 // NTP came
	got = b.at()
	b.is(t, "now", got.Now, 0)
	if got.Steps != 1 {
		t.Errorf("set back %d times", got.Steps)
	}
}

// A machine without a battery begins in 1970 and is corrected.
func TestNoBattery(t *testing.T) {
	b := begin(-50*year, start.Add(-time.Hour))
	b.at()
	b.run, b.skew = time.Minute, 0
	got := b.at()
	if got.Wrong {
		t.Errorf("%+v", got)
	}
	b.hear("ben", 0)
	b.is(t, "kept", b.at().Kept, 0)
}

func TestMostDecide(t *testing.T) {
	b := begin(2*time.Hour, time.Time{})
	for i := range 3 {
		b.hear(fmt.Sprint("peer ", i), time.Duration(i)*time.Second)
	}
	got := b.at()
	if !got.Wrong || got.Peers != 3 || (got.Ahead-2*time.Hour).Abs() > 2*time.Second {
		t.Errorf("%+v", got)
	}
	b.is(t, "now", got.Now, time.Second)
	behind := begin(-year, time.Time{})
	behind.hear("ben", 0)
	behind.hear("carl", 0)
	got = behind.at()
	behind.is(t, "now", got.Now, 0)
}

// One liar, with as many devices as it likes, shifts nobody and stops nobody; nor do many
// make a device destroy anything whose own clock does not agree.
func TestLiars(t *testing.T) {
	for _, lie := range []time.Duration{-50 * year, -time.Hour, time.Hour, 80 * year} {
		b := begin(0, time.Time{})
		for range 100 {
			b.hear("eve", lie)
		}
		got := b.at()
		b.is(t, "now", got.Now, 0)
		if got.Wrong {
			t.Errorf("one liar, by %v: %+v", lie, got)
		}
		b.hear("ben", 0)
		if got = b.at(); got.Wrong || !got.Sure {
			t.Errorf("one liar of two, by %v: %+v", lie, got)
		}
		for i := range 9 {
			b.hear(fmt.Sprint("eve ", i), lie)
		}
		b.is(t, "kept", b.at().Kept, 0)
	}
	// It repeats the time of a clock that has just jumped.
	b := begin(0, time.Time{})
	b.at()
	b.skew = year
	b.hear("eve", year)
	got := b.at()
	b.is(t, "kept", got.Kept, 0)
	if got.Sure {
		t.Errorf("%+v", got)
	}
}

// A laptop sleeps: where the readings show it nothing happens, where they do not the wall
// clock goes for dates, and nothing is destroyed before others bear it out.
func TestSleep(t *testing.T) {
	b := begin(0, time.Time{})
	b.c = New(b.reading(), Time{}, true)
	b.hear("ben", 0)
	b.at()
	b.skew = 8 * time.Hour // by the run time, which stood still
	got := b.at()
	b.is(t, "now", got.Now, 8*time.Hour)
	b.is(t, "kept", got.Kept, 0)
	b.hear("ben", 8*time.Hour)
	b.is(t, "kept", b.at().Kept, 8*time.Hour)
}

func TestHeardIsBounded(t *testing.T) {
	b := begin(0, time.Time{})
	for i := range 1000 {
		b.hear(fmt.Sprint(i), 0)
	}
	if got := b.at(); got.Peers != maxHeard {
		t.Errorf("%d", got.Peers)
	}
}
