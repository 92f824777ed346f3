package node

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

// Words are found whatever their case and accents, whole or by their beginning.
func TestQuery(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		words, text string
		found       bool
	}{
		{"kettle", "The Kettle is on", true},
		{"kett", "The kettle is on", true},
		{"ettle", "The kettle is on", false},
		{"is kettle", "The kettle is on", true},
		{"kettle off", "The kettle is on", false},
		{`"kett"`, "The kettle is on", false},
		{`"kettle  IS"`, "The kettle\nis on", true},
		{`"is kettle"`, "The kettle is on", false},
		{`the "is on" KET`, "The kettle is on", true},
		{`"kettle`, "The kettle is on", true}, // the quotes do not end
		{"ete", "L'\u00c9t\u00e9", true},
		{"\u00e9t\u00e9", "l'ete", true},
		{"ete\u0301", "l'\u00e9t\u00e9", true}, // composed or not
		{"STRASSE", "Hauptstra\u00dfe, Stra\u00dfe", true},
		{"strasse", "Hauptstra\u00dfe", false},
		{"\u0141\u00f3d\u017a", "lodz", true},
		{"\u0391\u03a3", "\u03b1\u03c2", true},
		{"\uff54\uff45\uff41", "tea", true},
		{"istanbul", "\u0130stanbul", true},
		{"\u4eac\u90fd", "\u660e\u65e5\u4eac\u90fd\u3067", true}, // written without spaces
		{"\u0915", "\u0915\u093f", true},
		{`"\u0915"`, "\u0915\u093f", false}, // a vowel follows
		{"\u2764", "yes\u2764\ufe0f", true},
		{"tea,", "tea", true},
		{"(tea)", "green tea!", true},
		{"?", "why?", true},
		{"?", "why", false},
		{"3.14", "pi is 3.14159", true},
		{"tea", "", false},
		{"panda:u/x", "see panda:u/xyz", true},
		{"aab", "aaab", false},
		{"aab", "aa aab", true},
	} {
		q, err := parseQuery(c.words)
		if err != nil {
			t.Errorf("%q: %v", c.words, err)
			continue
		}
		if got := q.finds(c.text); got != c.found {
			t.Errorf("%q in %q: %v, want %v (%+v, %q)", c.words, c.text, got, c.found, q, folded(c.text))
		}
	}
	for _, bad := range []string{"", "  ", `""`, `" "`, strings.Repeat("x", maxQuery+1), strings.Repeat("x ", maxTerms+1), "\xff"} {
		if q, err := parseQuery(bad); api.CodeOf(err) != api.CodeInvalid {
			t.Errorf("%q: %+v, %v", bad, q, err)
		}
	}
}

// A search has the newest first, in pages, as messages are now: of one that was edited the
// newest version alone, of one that was deleted nothing.
func TestSearch(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id := w.create(a, "tea")
		w.join(b, id)
		tea := id.String()
		ctx := w.within(time.Hour)
		var sent []string
		say := func(text string) string {
			t.Helper()
			s, err := a.API().Send(ctx, api.SendRequest{Group: tea, Text: text})
			if err != nil {
				t.Fatal(err)
			}
			sent = append(sent, s.ID)
			return s.ID
		}
		var texts []string
		for i := range 2*searchEvents + 10 {
			texts = append(texts, fmt.Sprintf("line %d of many", i))
		}
		if _, err := a.API().Send(ctx, api.SendRequest{Group: tea, Texts: texts[:200]}); err != nil {
			t.Fatal(err)
		}
		old := say("a zebra of old")
		for rest := texts[200:]; len(rest) > 0; rest = rest[min(200, len(rest)):] {
			if _, err := a.API().Send(ctx, api.SendRequest{Group: tea, Texts: rest[:min(200, len(rest))]}); err != nil {
				t.Fatal(err)
			}
		}
		edited, gone, last := say("a zebra that was"), say("a zebra to go"), say("Z\u00e9bra, the last")
		if _, err := a.API().Edit(ctx, api.EditRequest{Group: tea, Message: edited, Text: "a gnu"}); err != nil {
			t.Fatal(err)
		}
		if _, err := a.API().Delete(ctx, api.MessageRequest{Group: tea, Message: gone}); err != nil {
			t.Fatal(err)
		}
		w.eventually(b, 10*time.Minute, "all of it", func() bool {
			m, err := b.API().Message(ctx, api.MessageRequest{Group: tea, Message: gone})
			return err == nil && m.Deleted != nil
		})
		for _, n := range []*Node{a, b} {
			find := func(r api.SearchRequest) (ids []string, before uint64) {
				t.Helper()
				r.Group = "tea"
				if err := n.API().Search(ctx, r, func(m api.Message) error {
					ids, before = append(ids, m.ID), m.Cursor
					return nil
				}); err != nil {
					t.Fatal(err)
				}
				return ids, before
			}
			if got, _ := find(api.SearchRequest{Words: "ZEBRA"}); !slices.Equal(got, []string{last, old}) {
				t.Errorf("found %v, want %v", got, []string{last, old})
			}
			if got, _ := find(api.SearchRequest{Words: "gnu"}); !slices.Equal(got, []string{edited}) {
				t.Errorf("of the edit %v were found", got)
			}
			first, before := find(api.SearchRequest{Words: "zebra", Limit: 1})
			second, _ := find(api.SearchRequest{Words: "zebra", Limit: 5, Before: before})
			if !slices.Equal(append(first, second...), []string{last, old}) {
				t.Errorf("in pages %v, %v", first, second)
			}
			if got, _ := find(api.SearchRequest{Words: "line"}); len(got) != searchHits {
				t.Errorf("%d were found", len(got))
			}
			if got, _ := find(api.SearchRequest{Words: "line", Limit: 5000}); len(got) != len(texts) {
				t.Errorf("%d were found, want %d", len(got), len(texts))
			}
			if got, _ := find(api.SearchRequest{Words: "line", Before: 1}); len(got) != 0 {
				t.Errorf("before the first %v were found", got)
			}
		}
		if err := a.API().Search(ctx, api.SearchRequest{Group: tea}, func(api.Message) error { return nil }); api.CodeOf(err) != api.CodeInvalid {
			t.Errorf("a search for nothing: %v", err)
		}
	})
}
