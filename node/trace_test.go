package node

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// spanLine is what a test looks at in a span.
type spanLine struct {
	Name               string
	SpanContext        struct{ TraceID, SpanID string }
	Parent             struct{ SpanID string }
	StartTime, EndTime time.Time
	Status             struct{ Code string }
	Attributes         []struct {
		Key   string
		Value struct{ Value any }
	}
}

func spansOf(t *testing.T, file string) (raw []byte, byName map[string][]spanLine) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	byName = make(map[string][]spanLine)
	for line := range bytes.Lines(raw) {
		var s spanLine
		if err := json.Unmarshal(line, &s); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		byName[s.Name] = append(byName[s.Name], s)
	}
	return raw, byName
}

// TestTraces follows a join, the commit for it and a catch-up by their spans, and looks
// for what no span may tell.
func TestTraces(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		file := func(i int) string { return filepath.Join(w.dir, fmt.Sprint(i, ".trace")) }
		w.with = func(i int, cfg *Config) {
			if i < 2 {
				cfg.TraceFile = file(i)
			}
		}
		a, b := w.open(0), w.open(1, 0)
		off := w.open(2, 0)
		const name, text = "a telling name", "what was said"
		id := w.create(a, name)
		w.join(b, id)
		w.join(off, id)
		w.send(b, id, text)
		w.shows(a, id, time.Minute, text)
		w.net.Partition([]int{1}, []int{0, 2})
		time.Sleep(10 * time.Minute) // virtual
		w.send(a, id, text+" meanwhile")
		w.net.HealAll()
		w.shows(b, id, 10*time.Minute, text, text+" meanwhile")
		if _, span := off.tracing.begin(w.Context(), spanJoin, id, off.host.ID()); span.IsRecording() {
			w.Error("a span is recorded by a node that does not trace")
		}
		secrets := []string{name, text, id.String()}
		for i, n := range []*Node{a, b, off} {
			secrets = append(secrets, n.host.ID().String(), n.Device().User.String(), n.Device().ID.String(), n.Device().Cert.Name)
			w.close(i)
		}

		var all []byte
		raw, of := spansOf(t, file(0))
		all = append(all, raw...)
		if len(of[spanCommit]) != 2 || len(of[spanJoinServe]) == 0 || len(of[spanCatchUp])+len(of[spanCatchUpServe]) == 0 {
			w.Errorf("the founder's spans: %d commits, %d joins served", len(of[spanCommit]), len(of[spanJoinServe]))
		}
		raw, of = spansOf(t, file(1))
		all = append(all, raw...)
		if len(of[spanJoin]) != 1 || len(of[spanEpoch]) == 0 {
			t.Fatalf("the joiner's spans: %d joins, %d epochs", len(of[spanJoin]), len(of[spanEpoch]))
		}
		join := of[spanJoin][0]
		within := 0
		for _, ask := range of[spanJoinAsk] {
			if ask.SpanContext.TraceID == join.SpanContext.TraceID && ask.Parent.SpanID == join.SpanContext.SpanID &&
				!ask.StartTime.Before(join.StartTime) && !ask.EndTime.After(join.EndTime) {
				within++
			}
		}
		if within == 0 || within != len(of[spanJoinAsk]) || join.Status.Code == "Error" || !join.EndTime.After(join.StartTime) {
			w.Errorf("%d of %d members were asked within %+v", within, len(of[spanJoinAsk]), join)
		}
		caught := 0.0
		for _, s := range append(of[spanCatchUp], of[spanCatchUpServe]...) {
			for _, attr := range s.Attributes {
				if attr.Key == "entries_in" {
					caught += attr.Value.Value.(float64)
				}
			}
		}
		if caught == 0 {
			w.Error("no span of a catch-up tells of an entry that came in")
		}
		for _, secret := range secrets {
			if bytes.Contains(all, []byte(secret)) {
				w.Errorf("the spans tell %q", secret)
			}
		}
		if _, err := os.Stat(file(2)); !os.IsNotExist(err) {
			w.Errorf("a node that does not trace has a file for it: %v", err)
		}
	})
}
