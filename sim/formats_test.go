package sim

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// keysOf lists the keys of a type's JSON: of lists with [], of maps and of what is not a
// struct of this package nothing inside.
func keysOf(t reflect.Type, prefix string) (out []string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() == reflect.Slice {
		if inner := t.Elem(); inner.Kind() == reflect.Struct || inner.Kind() == reflect.Pointer {
			return keysOf(inner, prefix+"[]")
		}
	}
	if t.Kind() != reflect.Struct {
		return []string{prefix}
	}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous:
			out = append(out, keysOf(f.Type, prefix)...)
		case !f.IsExported() || name == "-":
		default:
			at := name
			if prefix != "" {
				at = prefix + "." + name
			}
			out = append(out, keysOf(f.Type, at)...)
		}
	}
	return out
}

// TestFormats compares the keys that docs/SCENARIOS.md explains with those that are written.
func TestFormats(t *testing.T) {
	doc, err := os.ReadFile("../docs/SCENARIOS.md")
	if err != nil {
		t.Fatal(err)
	}
	first := regexp.MustCompile("(?m)^\\| (`[^|]*`) \\|")
	code := regexp.MustCompile("`([^`]+)`")
	for _, c := range []struct {
		heading string
		of      any
		least   int
	}{
		{"### The report of a run", Report{}, 60},
		{"### A comparison", Comparison{}, 25},
		{"### A line of a sweep", Swept{}, 15},
	} {
		_, section, ok := strings.Cut(string(doc), "\n"+c.heading+"\n")
		if !ok {
			t.Errorf("there is no section %q", c.heading)
			continue
		}
		section, _, _ = strings.Cut(section, "\n#")
		var said []string
		for _, row := range first.FindAllStringSubmatch(section, -1) {
			for _, k := range code.FindAllStringSubmatch(row[1], -1) {
				said = append(said, k[1])
			}
		}
		written := keysOf(reflect.TypeOf(c.of), "")
		if len(written) < c.least {
			t.Errorf("%s: only %d keys", c.heading, len(written))
		}
		for _, k := range written {
			if !slices.Contains(said, k) {
				t.Errorf("%s: %s is written and not explained", c.heading, k)
			}
		}
		for _, k := range said {
			if !slices.Contains(written, k) {
				t.Errorf("%s: %s is explained and not written", c.heading, k)
			}
		}
	}
}

// TestSeries checks that the series of a run end where its totals are, and that they are the
// same when it is played again, but for CPU and heap.
func TestSeries(t *testing.T) {
	play := func() *Report {
		sc, err := Load("1")
		if err != nil {
			t.Fatal(err)
		}
		r, err := Run(t.Context(), sc, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := play()
	s := r.Series
	n := len(s.At)
	if n != seriesSteps+1 || s.At[0] != 0 || s.At[n-1] != r.Virtual {
		t.Fatalf("%d times, from %v to %v", n, s.At[0], s.At[n-1])
	}
	last := func(x []int) int { return x[n-1] }
	if last(s.Sent) != r.Records.Sent || last(s.Owed) != r.Records.Owed || last(s.Held) != r.Records.Held || last(s.Forks) != r.Counts["forks"] || last(s.Standing) != 1 {
		t.Errorf("%d sent, %d owed, %d held, %d forks, %d standing; the report: %v, %v", last(s.Sent), last(s.Owed), last(s.Held), last(s.Forks), last(s.Standing), r.Records, r.Counts)
	}
	if most := slices.Max(s.Standing); most < 3 {
		t.Errorf("three sides stand in %d epochs at most", most)
	}
	gossip := 0
	for _, d := range r.Devices {
		gossip += d.Gossip
	}
	if at := last(s.Gossip); at == 0 || at > gossip { // at the end everybody writes once more
		t.Errorf("%d bytes of gossip, and %d in all", at, gossip)
	}
	for _, x := range [][]int{s.Sent, s.Owed, s.Held, s.Epochs, s.Forks, s.Gossip, s.Sync} {
		if len(x) != n || !slices.IsSorted(x) {
			t.Errorf("%d values, or one falls: %v", len(x), x)
		}
	}
	again := play().Series
	s.CPU, s.Heap, again.CPU, again.Heap = nil, nil, nil, nil
	if !reflect.DeepEqual(s, again) {
		t.Error("another run of the same has other series")
	}
}

// TestQuietTail checks that a page draws nothing of a tail in which nothing happens, and all
// of a run that has none.
func TestQuietTail(t *testing.T) {
	for _, c := range []struct {
		run  string
		want bool
	}{{"run 10h", true}, {"run 2m10s", false}} {
		r := playText(t, "tail", "# A tail\nnodes anna ben\ngroup tea founder=anna\n"+c.run+"\n0s join ben\n1m send anna\n2m send ben\n")
		if quiet := r.quiet(); (quiet != "") != c.want || c.want && (!strings.Contains(quiet, "at 10h,") || r.eventful().Minutes() > 3) {
			t.Errorf("%s: %q", c.run, quiet)
		}
		b, err := json.Marshal(r)
		if err != nil || !strings.Contains(string(b), `"at_seconds"`) {
			t.Errorf("%v", err)
		}
	}
}
