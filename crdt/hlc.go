package crdt

import (
	"cmp"
	"fmt"
	"math"
	"time"
)

// HLC is a hybrid logical timestamp: 48 bits of milliseconds since the Unix epoch above 16 bits of counter. The
// order of the integers is the order of the timestamps. Zero is below every timestamp that a [Clock] gives out.
//
// The limits: wall-clock time is clamped to 1970 through the year 10889, and more than 65,536 timestamps within one
// millisecond carry into the next one, so a clock that gives out more runs ahead of the wall.
//
// Kulkarni, Demirbas, Madeppa, Avva, Leone: Logical Physical Clocks, OPODIS 2014.
type HLC uint64

const (
	counterBits = 16
	maxMillis   = 1<<(64-counterBits) - 1

	// MaxHLC is the last timestamp. Nothing follows it: [Next] stays there.
	MaxHLC HLC = math.MaxUint64
)

// HLCFromTime is the first timestamp of t's millisecond.
func HLCFromTime(t time.Time) HLC {
	ms := min(max(t.UnixMilli(), 0), maxMillis)
	return HLC(ms) << counterBits
}

// Time is the wall-clock part, in UTC, to the millisecond.
func (h HLC) Time() time.Time { return time.UnixMilli(int64(h >> counterBits)).UTC() }

// Counter is the logical part: the place of h within its millisecond.
func (h HLC) Counter() uint16 { return uint16(h) }

// Compare is negative when h is before o, zero when they are equal, positive when h is after o.
func (h HLC) Compare(o HLC) int { return cmp.Compare(h, o) }

// Ahead is by how much h's wall-clock part exceeds now; it is negative for a timestamp of the past and saturates
// at the range of a [time.Duration].
func (h HLC) Ahead(now time.Time) time.Duration { return h.Time().Sub(now) }

// String is the wall-clock part in RFC 3339 with the counter, as in "2026-01-02T03:04:05.006Z+7".
func (h HLC) String() string {
	return fmt.Sprintf("%s+%d", h.Time().Format("2006-01-02T15:04:05.000Z07:00"), h.Counter())
}

// Next is the timestamp of an event at now whose newest cause is at after: the first one of now's millisecond, or
// the successor of after if that is later. It is above after, except that nothing is above [MaxHLC].
func Next(after HLC, now time.Time) HLC {
	if after == MaxHLC {
		return MaxHLC
	}
	return max(after+1, HLCFromTime(now))
}

// Clock gives out strictly increasing timestamps. It has a single owner. The zero value is ready; after a restart
// [Clock.Observe] the newest timestamp that was ever given out.
type Clock struct{ last HLC }

// Now is the timestamp of an event at now: above every one that the clock gave out or observed (see [Next]).
func (c *Clock) Now(now time.Time) HLC {
	c.last = Next(c.last, now)
	return c.last
}

// Observe makes all later timestamps exceed h. It believes h: one far in the future drags the clock along, so refuse
// such timestamps first.
func (c *Clock) Observe(h HLC) { c.last = max(c.last, h) }

// Last is the newest timestamp given out or observed.
func (c *Clock) Last() HLC { return c.last }
