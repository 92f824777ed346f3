package sim

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

// Sweep says which random worlds to run: those of a kind with the seeds From to To.
type Sweep struct {
	Spec   Spec // without its seed
	From   uint64
	To     uint64
	Jobs   int           // at once; 0: one
	Budget time.Duration // after it no world is begun; 0: no end
	Shrink int           // how many failures of different ways are shrunk
	Tries  int           // runs for each of them

	edit func(*Scenario) // each world; nil: it stays. Tests have some fail
}

// Swept is what became of one world: a line of a sweep.
type Swept struct {
	Kind       string         `json:"kind"`
	Seed       uint64         `json:"seed"`
	OK         bool           `json:"ok"`
	Failure    string         `json:"failure,omitempty"` // the way in which it fails
	Violations []Violation    `json:"violations,omitempty"`
	Error      string         `json:"error,omitempty"` // it could not be played
	Digest     string         `json:"digest,omitempty"`
	Records    Records        `json:"records"`
	Counts     map[string]int `json:"counts"`
	Verbs      map[string]int `json:"verbs"`   // actions that were carried out
	Refused    map[string]int `json:"refused"` // and those that could not be
	Virtual    float64        `json:"virtual_seconds"`
	Seconds    float64        `json:"seconds"`
	Again      string         `json:"again"`
	Shrunk     string         `json:"shrunk,omitempty"` // a scenario
}

type world struct {
	kind string
	seed uint64
}

// Run plays the worlds that are not among those of before, and hands each to emit, which is
// called by one goroutine at a time. It returns how many are left when the budget is spent.
func (s Sweep) Run(ctx context.Context, before []Swept, emit func(Swept) error) (left int, err error) {
	done, ways := map[world]bool{}, map[string]bool{}
	for _, b := range before {
		done[world{b.Kind, b.Seed}] = true
		if b.Shrunk != "" {
			ways[b.Failure] = true
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		mu    sync.Mutex
		wg    sync.WaitGroup
		begun = time.Now()
		work  = make(chan uint64)
	)
	for range max(1, s.Jobs) {
		wg.Go(func() {
			for seed := range work {
				x, sc := s.play(ctx, seed)
				mu.Lock()
				shrink := sc != nil && !x.OK && x.Error == "" && !ways[x.Failure] && len(ways) < s.Shrink
				if shrink {
					ways[x.Failure] = true
				}
				mu.Unlock()
				if shrink {
					if small, _, err := Shrink(ctx, sc, s.Tries, Options{}); err == nil && small != nil {
						x.Shrunk = small.String()
					}
				}
				mu.Lock()
				if ctx.Err() == nil {
					if e := emit(x); e != nil {
						err = errors.Join(err, e)
						cancel()
					}
				}
				mu.Unlock()
			}
		})
	}
	for seed := s.From; seed <= s.To && seed >= s.From; seed++ {
		spec := s.Spec
		spec.Seed = seed
		if done[world{spec.kind(), seed}] {
			continue
		}
		over := s.Budget > 0 && time.Since(begun) >= s.Budget
		if over || ctx.Err() != nil {
			left++
			continue
		}
		select {
		case work <- seed:
		case <-ctx.Done():
			left++
		}
	}
	close(work)
	wg.Wait()
	return left, cmp.Or(err, context.Cause(ctx))
}

// play plays one world.
func (s Sweep) play(ctx context.Context, seed uint64) (Swept, *Scenario) {
	spec := s.Spec
	spec.Seed = seed
	x := Swept{Kind: spec.kind(), Seed: seed, Again: spec.Command()}
	start := time.Now()
	sc, err := Generate(spec)
	var r *Report
	if err == nil {
		if s.edit != nil {
			s.edit(sc)
		}
		r, err = Run(ctx, sc, Options{})
	}
	x.Seconds = time.Since(start).Seconds()
	if err != nil {
		x.Error = err.Error()
		return x, nil
	}
	x.OK, x.Failure, x.Violations = r.OK(), r.failure(), r.Violations
	x.Digest, x.Records, x.Counts, x.Virtual = r.Digest, r.Records, r.Counts, r.Virtual
	x.Verbs, x.Refused = r.Verbs, r.RefusedVerbs
	return x, sc
}

// ReadSwept reads the lines of a sweep. A last line that was cut off is left out.
func ReadSwept(r io.Reader) ([]Swept, error) {
	var out []Swept
	lines := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		var x Swept
		if err := json.Unmarshal(line, &x); err != nil || x.Kind == "" {
			return nil, fmt.Errorf("line %d is no result of a sweep", n)
		}
		out = append(out, x)
	}
}

// SweepTable sums the lines of sweeps, of which each world counts once.
type SweepTable struct {
	Worlds   int            `json:"worlds"`
	Failed   int            `json:"failed"`
	Errors   int            `json:"errors"` // could not be played
	Kinds    map[string]int `json:"kinds"`
	Failures []SweepFailure `json:"failures"` // most frequent first
	Records  Records        `json:"records"`
	Counts   map[string]int `json:"counts"`
	Verbs    map[string]int `json:"verbs"`
	Refused  map[string]int `json:"refused"`
	Virtual  float64        `json:"virtual_seconds"`
	Seconds  float64        `json:"seconds"` // of all worlds, one after the other
}

// SweepFailure is a way to fail.
type SweepFailure struct {
	Failure string `json:"failure"`
	Worlds  int    `json:"worlds"`
	Again   string `json:"again"` // the first of them
	Shrunk  string `json:"shrunk,omitempty"`
}

// once is the lines with the first of each world.
func once(lines []Swept) (out []Swept) {
	seen := map[world]bool{}
	for _, x := range lines {
		if w := (world{x.Kind, x.Seed}); !seen[w] {
			seen[w] = true
			out = append(out, x)
		}
	}
	return out
}

// SumSwept makes the table.
func SumSwept(lines []Swept) SweepTable {
	t := SweepTable{Kinds: map[string]int{}, Counts: map[string]int{}, Verbs: map[string]int{}, Refused: map[string]int{}, Failures: []SweepFailure{}}
	at := map[string]int{}
	lines = once(lines)
	slices.SortStableFunc(lines, func(a, b Swept) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Seed, b.Seed)) })
	add := func(to, from map[string]int) {
		for k, n := range from {
			to[k] += n
		}
	}
	for _, x := range lines {
		t.Worlds++
		t.Kinds[x.Kind]++
		t.Records.add(x.Records)
		add(t.Counts, x.Counts)
		add(t.Verbs, x.Verbs)
		add(t.Refused, x.Refused)
		t.Virtual += x.Virtual
		t.Seconds += x.Seconds
		way := cmp.Or(x.Failure, x.Error)
		switch {
		case x.OK:
			continue
		case x.Error != "":
			t.Errors++
		default:
			t.Failed++
		}
		i, ok := at[way]
		if !ok {
			i, at[way] = len(t.Failures), len(t.Failures)
			t.Failures = append(t.Failures, SweepFailure{Failure: way, Again: x.Again})
		}
		t.Failures[i].Worlds++
		t.Failures[i].Shrunk = cmp.Or(t.Failures[i].Shrunk, x.Shrunk)
	}
	slices.SortStableFunc(t.Failures, func(a, b SweepFailure) int { return cmp.Compare(b.Worlds, a.Worlds) })
	return t
}

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Time     float64     `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string     `xml:"classname,attr"`
	Name    string     `xml:"name,attr"`
	Time    float64    `xml:"time,attr"`
	Failure *junitText `xml:"failure"`
	Error   *junitText `xml:"error"`
}

type junitText struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes the lines of a sweep as a test report.
func WriteJUnit(w io.Writer, lines []Swept) error {
	t := SumSwept(lines)
	suite := junitSuite{Name: "sim sweep", Tests: t.Worlds, Failures: t.Failed, Errors: t.Errors, Time: t.Seconds}
	for _, x := range once(lines) {
		c := junitCase{Class: "sim." + x.Kind, Name: fmt.Sprintf("%s %d", x.Kind, x.Seed), Time: x.Seconds}
		var text strings.Builder
		for _, v := range x.Violations {
			fmt.Fprintln(&text, v)
		}
		fmt.Fprintln(&text, "again with: "+x.Again)
		if x.Shrunk != "" {
			fmt.Fprintf(&text, "\n%s", x.Shrunk)
		}
		switch {
		case x.Error != "":
			c.Error = &junitText{Message: x.Error, Text: text.String()}
		case !x.OK:
			c.Failure = &junitText{Message: x.Failure, Text: text.String()}
		}
		suite.Cases = append(suite.Cases, c)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", " ")
	if err := e.Encode(suite); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}
