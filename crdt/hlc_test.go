package crdt

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// pair is the oracle's timestamp: two numbers and the definition, without any packing.
type pair struct{ ms, counter int64 }

func (p pair) next(now time.Time) pair {
	if ms := now.UnixMilli(); ms > p.ms {
		return pair{ms, 0}
	}
	if p.counter == math.MaxUint16 {
		return pair{p.ms + 1, 0}
	}
	return pair{p.ms, p.counter + 1}
}

func (p pair) before(q pair) bool { return p.ms < q.ms || p.ms == q.ms && p.counter < q.counter }

func TestClockAgainstPairs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var (
			clock Clock
			want  pair
			last  HLC
		)
		stamp := rapid.Uint64Range(0, 60<<counterBits)
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "observe") {
				h := HLC(stamp.Draw(t, "stamp"))
				if rapid.Bool().Draw(t, "last of its millisecond") {
					h |= math.MaxUint16
				}
				clock.Observe(h)
				if seen := (pair{int64(h >> 16), int64(h & 0xffff)}); want.before(seen) {
					want = seen
				}
				continue
			}
			now := time.UnixMilli(rapid.Int64Range(-5, 70).Draw(t, "ms")).Add(time.Duration(rapid.IntRange(0, 999).Draw(t, "µs")) * time.Microsecond)
			h := clock.Now(now)
			want = want.next(now)
			if got := (pair{h.Time().UnixMilli(), int64(h.Counter())}); got != want {
				t.Fatalf("Now(%v) = %v, want %v", now, got, want)
			}
			if h <= last || h != clock.Last() {
				t.Fatalf("Now(%v) = %v after %v", now, h, last)
			}
			last = h
		}
	})
}

func TestNextIsAboveItsCausesAndTheWall(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		after := HLC(rapid.Uint64Range(0, uint64(MaxHLC)-1).Draw(t, "after"))
		now := time.UnixMilli(rapid.Int64Range(0, maxMillis).Draw(t, "ms"))
		h := Next(after, now)
		if h <= after || h < HLCFromTime(now) || h.Compare(after) != 1 || after.Compare(h) != -1 || h.Compare(h) != 0 {
			t.Fatalf("Next(%d, %v) = %d", after, now, h)
		}
		if h != after+1 && h != HLCFromTime(now) {
			t.Fatalf("Next(%d, %v) = %d is higher than it needs to be", after, now, h)
		}
	})
}

func TestHLCLimits(t *testing.T) {
	last := time.UnixMilli(maxMillis).UTC()
	for _, c := range []struct {
		name      string
		got, want HLC
	}{
		{"before 1970", HLCFromTime(time.UnixMilli(-1)), 0},
		{"last millisecond", HLCFromTime(last), MaxHLC - math.MaxUint16},
		{"after the last millisecond", HLCFromTime(last.Add(time.Hour)), MaxHLC - math.MaxUint16},
		{"carry", Next(5<<16|math.MaxUint16, time.UnixMilli(5)), 6 << 16},
		{"saturation", Next(MaxHLC, time.UnixMilli(5)), MaxHLC},
	} {
		if c.got != c.want {
			t.Errorf("%s: %#x, want %#x", c.name, uint64(c.got), uint64(c.want))
		}
	}
	if got := MaxHLC.Time(); !got.Equal(last) || got.Year() != 10889 {
		t.Errorf("MaxHLC.Time() = %v", got)
	}
	if MaxHLC.Ahead(time.UnixMilli(0)) != math.MaxInt64 {
		t.Error("Ahead does not saturate")
	}
	if got := HLC(90_000 << 16).Ahead(time.UnixMilli(30_000)); got != time.Minute {
		t.Errorf("Ahead = %v", got)
	}
	if got := HLCFromTime(time.UnixMilli(1_767_323_045_006)) + 7; got.String() != "2026-01-02T03:04:05.006Z+7" {
		t.Errorf("String() = %s", got)
	}
}
