package main

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

// series is one figure of one node over time.
type series struct{ at, value []float64 }

func (s *series) add(at time.Duration, v int64) {
	s.at, s.value = append(s.at, at.Minutes()), append(s.value, float64(v))
}

// Bounds of a figure that is to be level, in a run of settled or more. A shorter one is mostly
// noise, so that its thirds alone are compared.
const (
	settled  = 30 * time.Minute
	steepest = 1.0 // percent in 10 minutes
)

// grows says why a figure is not level; empty: it is. The last third may be so many times the
// second, and in a long run its slope may not be above the bound, as far as the slope is certain.
func (s *series) grows(most float64, long time.Duration) string {
	if second, last := s.third(1), s.third(2); last > most*second {
		return fmt.Sprintf("from %.0f in the second third to %.0f in the last", second, last)
	}
	slope, doubt := s.slope()
	if long >= settled && !(slope-doubt < steepest) { // also if it is not a number
		return fmt.Sprintf("by %.2f %% in 10 minutes of the last third, give or take %.2f", slope, doubt)
	}
	return ""
}

// slope is that of the least squares line through the last third: percent of its mean in 10
// minutes. The other number is twice its standard error, by the means of ten parts: samples
// that follow each other are not independent.
func (s *series) slope() (percent, doubt float64) {
	from := len(s.at) * 2 / 3
	x, y := s.at[from:], s.value[from:]
	if len(x) == 0 {
		return math.NaN(), math.NaN()
	}
	scale := 10 * 100 / mean(y)
	if mean(y) == 0 {
		scale = 0 // it is nothing all the time
	}
	per, _ := fit(x, y)
	const parts = 10
	if len(x) < 2*parts {
		return per * scale, math.Inf(1)
	}
	var px, py []float64
	for i := range parts {
		a, b := len(x)*i/parts, len(x)*(i+1)/parts
		px, py = append(px, mean(x[a:b])), append(py, mean(y[a:b]))
	}
	_, wrong := fit(px, py)
	return per * scale, 2 * wrong * math.Abs(scale)
}

// fit gives the slope of the least squares line, and its standard error.
func fit(x, y []float64) (slope, wrong float64) {
	mx, my := mean(x), mean(y)
	var num, den, rest float64
	for i := range x {
		num += (x[i] - mx) * (y[i] - my)
		den += (x[i] - mx) * (x[i] - mx)
	}
	slope = num / den
	for i := range x {
		off := y[i] - my - slope*(x[i]-mx)
		rest += off * off
	}
	return slope, math.Sqrt(rest / float64(len(x)-2) / den)
}

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// third is the mean of the first, second or last third.
func (s *series) third(n int) float64 {
	return mean(s.value[len(s.value)*n/3 : len(s.value)*(n+1)/3])
}

// The slope of the last third is found to a hundredth of a percent where there is no noise, within
// its doubt where there is some, and is that of the last third alone. A run is judged by it from
// half an hour on, by its thirds always, and a figure that falls is good.
func TestSlope(t *testing.T) {
	t.Parallel()
	const hour = 3600
	made := func(seconds int, value func(minute float64) float64) *series {
		s := new(series)
		for i := range seconds {
			s.add(time.Duration(i)*time.Second, int64(value(float64(i)/60)))
		}
		return s
	}
	saw := func(minute float64) float64 { return 1e6 * 0.2 * (minute/1.7 - math.Floor(minute/1.7)) } // a heap between two collections
	for _, c := range []struct {
		what    string
		s       *series
		long    time.Duration
		percent float64 // at the middle of the last third
		why     string  // that it grows; empty: it does not
	}{
		{"level", made(hour, func(float64) float64 { return 1e6 }), time.Hour, 0, ""},
		{"nothing", made(hour, func(float64) float64 { return 0 }), time.Hour, 0, ""},
		{"half a percent", made(hour, func(m float64) float64 { return 1e6 * (1 + 0.0005*(m-50)) }), time.Hour, 0.5, ""},
		{"two percent", made(hour, func(m float64) float64 { return 1e6 * (1 + 0.002*(m-50)) }), time.Hour, 2, "by 2.00 %"},
		{"two percent, in a short run", made(1200, func(m float64) float64 { return 1e6 * (1 + 0.002*(m-16.67)) }), 20 * time.Minute, 2, ""},
		{"falls", made(hour, func(m float64) float64 { return 1e6 * (1 - 0.01*(m-50)) }), time.Hour, -10, ""},
		{"level at last", made(hour, func(m float64) float64 { return 1e6 * min(1, 0.5+m/60) }), time.Hour, 0, ""},
		{"grows at last", made(hour, func(m float64) float64 { return 1e6 * (1 + 0.02*max(0, m-50)) }), time.Hour, 9.5, "give or take"},
		{"thirds", made(120, func(m float64) float64 { return 1e6 * (1 + 2*math.Floor(m/1.3)) }), 2 * time.Minute, 0, "second third to"},
		{"a saw", made(hour, func(m float64) float64 { return 1e6 + saw(m) }), time.Hour, 0, ""},
		{"a coarse saw, half an hour", made(hour/2, func(m float64) float64 { return 1e6 + 5*saw(m+0.8) }), settled, 0, ""},
		{"a saw that grows", made(hour, func(m float64) float64 { return (1e6 + saw(m)) * (1 + 0.005*(m-50)) }), time.Hour, 5, "give or take"},
	} {
		slope, doubt := c.s.slope()
		if math.Abs(slope-c.percent) > 0.05+doubt || doubt > 30 {
			t.Errorf("%s: %.3f %% in 10 minutes, give or take %.3f, and not %.2f", c.what, slope, doubt, c.percent)
		}
		if why := c.s.grows(1.5, c.long); (why == "") != (c.why == "") || !strings.Contains(why, c.why) {
			t.Errorf("%s: %q", c.what, why)
		}
	}
	if why := new(series).grows(1.5, time.Hour); why == "" {
		t.Error("a run without a figure is good")
	}
}
