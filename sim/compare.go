package sim

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
)

// Compare plays worlds of two or more setups, each with the same seeds. A seed is the same
// chance for all of them, so that what differs in a pair is the setup's doing or the luck of
// that one seed.
type Compare struct {
	Setups   []Setup
	From, To uint64 // seeds
	Jobs     int    // worlds at once; 0: one. With more, CPU and memory are not measured
	Progress func(format string, args ...any)
}

// Comparison is the result. docs/SCENARIOS.md describes its JSON.
type Comparison struct {
	Title    string     `json:"title"` // of the scenario, or what is compared
	Seeds    []uint64   `json:"seeds"`
	Settings []Compared `json:"settings"`
	Measures []Measured `json:"measures"`
	Growth   *Growth    `json:"growth,omitempty"` // of worlds that differ by their number of devices alone
}

// Compared is one of the settings. All others are compared with the first.
type Compared struct {
	Name    string   `json:"name"`
	Devices int      `json:"devices"` // of its first world
	Failed  int      `json:"failed"`  // worlds with a violation or an unmet expectation
	Failure string   `json:"failure,omitempty"`
	Again   string   `json:"again"`   // the command for the first world that fails, or the first
	Digests []string `json:"digests"` // by seed
}

// Measured is one measure in all worlds.
type Measured struct {
	Measure

	Settings    []Spread     `json:"settings"`
	Differences []Difference `json:"differences"` // of each setting but the first
}

// Spread is a measure over the seeds.
type Spread struct {
	Median float64   `json:"median"`
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
	Values []float64 `json:"values"` // by seed
}

// Difference is a setting's value less that of the first setting, seed by seed.
type Difference struct {
	Median  float64 `json:"median"`
	Min     float64 `json:"min"`
	Max     float64 `json:"max"`
	More    int     `json:"more"` // seeds in which it is above the first setting's
	Less    int     `json:"less"`
	Same    int     `json:"same"`
	P       float64 `json:"p"` // of the sign test, two-sided: 1 if all are the same
	Verdict string  `json:"verdict"`
}

// Verdicts of a difference. Of many rows that are compared, one in twenty would pass the
// sign test by luck alone: NotLuck is what passes after Holm's correction for the number of
// rows that differ (Holm 1979, A simple sequentially rejective multiple test procedure).
const (
	VerdictSame    = "same"        // in every seed
	VerdictLuck    = "may be luck" // p > 0.05
	VerdictUnclear = "unclear"     // p ≤ 0.05, and as rare as that by luck among so many rows
	VerdictNotLuck = "not luck"    // p ≤ 0.05 after Holm's correction
)

// Run plays all worlds. An error means that one could not be played; violations are
// figures.
func (c Compare) Run(ctx context.Context) (*Comparison, error) {
	if len(c.Setups) < 2 || c.To < c.From {
		return nil, fmt.Errorf("%w: two settings and a seed are compared, or more", ErrScenario)
	}
	if c.Progress == nil {
		c.Progress = func(string, ...any) {}
	}
	out := &Comparison{Measures: make([]Measured, len(Measures)), Settings: make([]Compared, len(c.Setups))}
	seeds := int(c.To - c.From + 1) //nolint:gosec // few
	for i := range seeds {
		out.Seeds = append(out.Seeds, c.From+uint64(i)) //nolint:gosec // not negative
	}
	results := make([][]*played, seeds)
	type job struct{ seed, setup int }
	var (
		mu   sync.Mutex
		wg   sync.WaitGroup
		err  error
		done int
		work = make(chan job)
	)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for range max(1, c.Jobs) {
		wg.Go(func() {
			for j := range work {
				p, e := c.play(ctx, c.Setups[j.setup], out.Seeds[j.seed])
				mu.Lock()
				if e != nil {
					err = cmp.Or(err, e)
					cancel()
				}
				results[j.seed][j.setup] = p
				if done++; done%len(c.Setups) == 0 && e == nil {
					c.Progress("%d of %d worlds", done, seeds*len(c.Setups))
				}
				mu.Unlock()
			}
		})
	}
hand:
	for i := range seeds {
		mu.Lock()
		results[i] = make([]*played, len(c.Setups))
		mu.Unlock()
		for s := range c.Setups {
			select {
			case work <- job{i, s}:
			case <-ctx.Done():
				break hand
			}
		}
	}
	close(work)
	wg.Wait()
	if err := cmp.Or(err, context.Cause(ctx)); err != nil {
		return nil, err
	}
	out.Title = title(c.Setups)
	out.fill(c.Setups, results)
	return out, nil
}

// title names what is compared: one scenario, several, or random worlds.
func title(setups []Setup) string {
	var all []string
	for _, s := range setups {
		t := "Random worlds of kind " + s.kind()
		if s.File != nil {
			t = s.File.Title
		}
		if !slices.Contains(all, t) {
			all = append(all, t)
		}
	}
	return strings.Join(all, "; ")
}

// played is what is kept of a world.
type played struct {
	values                 []float64 // by measure
	digest, failure, again string
	devices                int
}

func (c Compare) play(ctx context.Context, s Setup, seed uint64) (*played, error) {
	sc, err := s.World(seed)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Name, err)
	}
	var r *Report
	var cost *Cost
	if c.Jobs > 1 {
		r, err = Run(ctx, sc, Options{})
	} else {
		m := meter(func() { r, err = Run(ctx, sc, Options{}) })
		cost = &m
	}
	if err != nil {
		return nil, fmt.Errorf("%s, seed %d: %w", s.Name, seed, err)
	}
	p := &played{digest: r.Digest, devices: len(sc.Nodes), failure: r.failure(), again: sc.Again()}
	if !r.OK() {
		p.failure = cmp.Or(p.failure, "it fails")
	}
	for _, m := range Measures {
		p.values = append(p.values, m.of(r, cost))
	}
	return p, nil
}

// fill makes the tables.
func (c *Comparison) fill(setups []Setup, results [][]*played) {
	for s := range setups {
		x := &c.Settings[s]
		first := results[0][s]
		x.Name, x.Devices, x.Again = setups[s].Name, first.devices, first.again
		for _, seed := range results {
			if p := seed[s]; p.failure != "" {
				if x.Failed++; x.Failed == 1 {
					x.Failure, x.Again = p.failure, p.again
				}
			}
			x.Digests = append(x.Digests, seed[s].digest)
		}
	}
	for i, m := range Measures {
		c.Measures[i].Measure = m
		for s := range setups {
			var values []float64
			for _, seed := range results {
				values = append(values, seed[s].values[i])
			}
			c.Measures[i].Settings = append(c.Measures[i].Settings, spreadOf(values))
		}
		base := c.Measures[i].Settings[0].Values
		for _, s := range c.Measures[i].Settings[1:] {
			c.Measures[i].Differences = append(c.Measures[i].Differences, differ(base, s.Values))
		}
	}
	for s := range setups[1:] {
		c.judge(s)
	}
	c.grow(setups)
}

func spreadOf(values []float64) Spread {
	sorted := slices.Sorted(slices.Values(values))
	return Spread{Median: median(sorted), Min: sorted[0], Max: sorted[len(sorted)-1], Values: values}
}

// median of ascending values.
func median(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func differ(base, values []float64) Difference {
	var d Difference
	diffs := make([]float64, len(values))
	for i := range values {
		diffs[i] = values[i] - base[i]
		switch {
		case diffs[i] > 0:
			d.More++
		case diffs[i] < 0:
			d.Less++
		default:
			d.Same++
		}
	}
	s := spreadOf(diffs)
	d.Median, d.Min, d.Max, d.P = s.Median, s.Min, s.Max, signTest(d.More, d.Less)
	return d
}

// signTest is the probability that, by luck alone, seeds fall to the two sides as unevenly as
// that or more: those that are the same do not count (Conover, Practical Nonparametric
// Statistics, Section 3.4).
func signTest(more, less int) float64 {
	n, p := more+less, 0.0
	if n == 0 {
		return 1
	}
	choose := math.Pow(0.5, float64(n)) // of one side exactly k
	for k := range min(more, less) + 1 {
		p += choose
		choose *= float64(n-k) / float64(k+1)
	}
	return min(1, 2*p)
}

// judge gives the verdicts on one setting's differences.
func (c *Comparison) judge(setting int) {
	var rows []*Difference
	for i := range c.Measures {
		d := &c.Measures[i].Differences[setting]
		if d.Verdict = VerdictSame; d.More+d.Less > 0 {
			rows = append(rows, d)
		}
	}
	slices.SortStableFunc(rows, func(a, b *Difference) int { return cmp.Compare(a.P, b.P) })
	holds := true
	for i, d := range rows {
		holds = holds && d.P <= 0.05/float64(len(rows)-i)
		switch {
		case holds:
			d.Verdict = VerdictNotLuck
		case d.P <= 0.05:
			d.Verdict = VerdictUnclear
		default:
			d.Verdict = VerdictLuck
		}
	}
}

// Same lists the measures that are the same in all worlds, with their value.
func (c *Comparison) Same() (out []string) {
	for _, m := range c.Measures {
		if m.differs() {
			continue
		}
		if v := m.Settings[0].Min; m.known() {
			out = append(out, fmt.Sprintf("%s (%s)", m.Title, m.Text(v)))
		}
	}
	return out
}

// Differing lists the measures that are not.
func (c *Comparison) Differing() (out []Measured) {
	for _, m := range c.Measures {
		if m.differs() {
			out = append(out, m)
		}
	}
	return out
}

func (m Measured) differs() bool {
	for _, s := range m.Settings {
		if s.Min != m.Settings[0].Min || s.Max != s.Min {
			return true
		}
	}
	return false
}

// known says whether the measure was taken: CPU and heap are not if worlds are played
// beside each other.
func (m Measured) known() bool {
	return m.Key != "cpu" && m.Key != "heap" || m.Settings[0].Max > 0
}

// Luck says, in sentences, how far the verdicts can be trusted.
func (c *Comparison) Luck() string {
	n := len(c.Seeds)
	var b strings.Builder
	if best := signTest(n, 0); best > 0.05 {
		fmt.Fprintf(&b, "%s cannot tell a difference from luck: even all on one side happens by chance once in %.0f times. Take 6 seeds or more, better 12.", plural(n, "seed"), 1/best)
		return b.String()
	}
	b.WriteString("Luck is judged by signs: if the settings were alike, each seed would fall to one side or the other like a coin. ")
	fmt.Fprintf(&b, "“%s”: coins fall so unevenly in more than 1 of 20 tries. “%s”: in fewer, but of so many rows some look like that by chance. “%s”: too uneven for chance, for all rows together.", VerdictLuck, VerdictUnclear, VerdictNotLuck)
	return b.String()
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// Seeds says in words how a difference falls.
func (d Difference) Seeds() string {
	n := d.More + d.Less + d.Same
	switch {
	case d.More == n:
		return fmt.Sprintf("more in all %d", n)
	case d.Less == n:
		return fmt.Sprintf("less in all %d", n)
	case d.Same == n:
		return "same in all"
	case d.Less == 0:
		return fmt.Sprintf("more in %d of %d", d.More, n)
	case d.More == 0:
		return fmt.Sprintf("less in %d of %d", d.Less, n)
	}
	return fmt.Sprintf("%d more, %d less", d.More, d.Less)
}

// Failed returns the first setting with a world that fails.
func (c *Comparison) Failed() (failed int, first Compared) {
	for _, s := range slices.Backward(c.Settings) {
		if s.Failed > 0 {
			failed, first = failed+s.Failed, s
		}
	}
	return failed, first
}
