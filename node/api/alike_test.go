package api

import (
	"strings"
	"testing"
)

func TestAlike(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"anna", "anna", true},
		{"anna", "Anna", true},
		{"anna", "\u0430nna", true},                   // Cyrillic а
		{"anna", "\uff41\uff4e\uff4e\uff41", true},    // full width
		{"anna", "\U0001d41anna", true},               // mathematical bold
		{"anna", "an\u200bna", true},                  // zero width space
		{"anna", "\u202eanna", true},                  // right-to-left override
		{"anna", "an\u0331na", true},                  // a mark below
		{"anna", "a\ufe00nna", true},                  // a variation selector
		{"anna", "\u115fanna", true},                  // a blank Hangul letter
		{"anna", "a\u00f1na", true},                   // an accent
		{"tea house", "tea\u00a0\u2003house ", true},  // other spaces
		{"BOARD", "\u0412\u041e\u0410RD", true},       // Cyrillic capitals
		{"board", "\u0412\u041e\u0410RD", true},       // and in the other case
		{"\u0420\u0410\u0423", "PAY", true},           // a whole word
		{"Ian", "lan", true},                          // capital i, small l
		{"Ian", "ian", true},                          // capital i, small i
		{"paul", "pau1", true},                        // a digit
		{"bob0", "b0bo", true},                        //
		{"modern", "rnodem", true},                    // rn is like m
		{"\u03bf\u03c1\u03b1", "opa", true},           // Greek
		{"\u03bb\u03b1", "aa", false},                 // λ is not a
		{"\u05d0\u05b7\u05d1", "\u05d0\u05d1", false}, // Hebrew vowels are no accents
		{"anna", "anne", false},
		{"anna", "hanna", false},
		{"\u5c0f\u660e", "\u5c0f\u7ea2", false},
		{"\u200b", "\u200b", false}, // nothing is seen
		{"", "", false},
	} {
		if got := Alike(c.a, c.b); got != c.want {
			t.Errorf("%+q and %+q: alike %v", c.a, c.b, got)
		}
		if Alike(c.a, c.b) != Alike(c.b, c.a) {
			t.Errorf("%+q and %+q: not the same both ways", c.a, c.b)
		}
		if SameName(c.a, c.b) && !Alike(c.a, c.b) && c.a != "\u200b" {
			t.Errorf("%+q and %+q: the same name, and not alike", c.a, c.b)
		}
	}
}

func TestDoubtfulNames(t *testing.T) {
	genuine, fake, other, odd := Candidate{ID: "1", Name: "anna"}, Candidate{ID: "2", Name: "\u0430nn\u0430"}, Candidate{ID: "3", Name: "ben"}, Candidate{ID: "4", Name: "p\u0430ypal"}
	view := NamesOf(genuine, fake, other, odd)
	for c, want := range map[Candidate]string{genuine: "name like another's", fake: "name like another's", other: "", odd: "mixed alphabets", {ID: "5", Name: "Ben"}: "name like another's", {ID: "3", Name: "BEN"}: "", {ID: "6", Name: ""}: ""} {
		if got := view.Doubt(c); got != want {
			t.Errorf("%+q of %s: %q, want %q", c.Name, c.ID, got, want)
		}
	}
}

// A user with the name of somebody who was verified, or one that looks like it, is not that one;
// of two who were verified under one name each is only like the other.
func TestVerifiedNames(t *testing.T) {
	ben, liar, other := Candidate{ID: "1", Name: "ben", Verified: true}, Candidate{ID: "2", Name: "b\u0435n"}, Candidate{ID: "3", Name: "Ben"}
	view := NamesOf(liar, ben, other)
	for c, want := range map[Candidate]string{ben: "name like another's", liar: NotVerified, other: NotVerified, {ID: "4", Name: "benny"}: ""} {
		if got := view.Doubt(c); got != want {
			t.Errorf("%+q of %s: %q, want %q", c.Name, c.ID, got, want)
		}
	}
	if got := view.Marked("1", "ben"); got != Mark+" ben" || view.Marked("2", "ben") != "ben" || !view.Verified("1") || view.Verified("3") {
		t.Errorf("marked: %q, %q", got, view.Marked("2", "ben"))
	}
	both := NamesOf(ben, Candidate{ID: "5", Name: "Ben", Verified: true})
	if got := both.Doubt(ben); got != "name like another's" {
		t.Errorf("of two who were verified: %q", got)
	}
	for _, name := range []string{Mark + " ben", "ben \u2714", "\u2705ben", "\u2611\ufe0f ben", "\U0001f5f8ben"} {
		if got := Unmarked(name); strings.ContainsAny(got, "\u2713\u2714\u2705\u2611\U0001f5f8") || !strings.Contains(got, "ben") {
			t.Errorf("%+q is %+q without a mark", name, got)
		}
	}
}

// TestNamesThatSpeak: a name that could be taken for words of the program is doubtful, and nobody
// gives it here.
func TestNamesThatSpeak(t *testing.T) {
	for _, name := range []string{
		"you", "You", "YOU.", "\uff59ou", "yоu", " you ", "y\u200bou", "me", "(me)", "nodea (you)", "nodea ( You )", "nodea (owner)", "nodea (name like another's)",
		"nodea/4nlcgtc4o3hvorxa", "nodea\uff0f4nlcgtc4o3hvorxa", "nodea\u20444nlcgtc4o3hvorxa", "nodea\u22154nlcgtc4o3hvorxa", "nodea/4nlcgtc4o3hvorxa\u200b", "nodea/асеорх",
		"Ben, calls itself nodeb", "nodea · verified", "NOT the one you verified", "somebody",
	} {
		if why := NamesOf().Doubt(Candidate{ID: "1", Name: name}); why == "" {
			t.Errorf("%+q is not doubtful", name)
		}
		if CheckName(name) == nil {
			t.Errorf("%+q can be given", name)
		}
	}
	for _, name := range []string{"yousef", "Youssou N'Dour", "Meg", "the owner", "anna (work)", "anna/ben", "анна/борисова", "tea 10/100000", "Ben / phone", "Memo", "you and me"} {
		if why := NamesOf().Doubt(Candidate{ID: "1", Name: name}); why != "" {
			t.Errorf("%+q is doubtful: %s", name, why)
		}
		if err := CheckName(name); err != nil {
			t.Error(err)
		}
	}
}

func TestCheckName(t *testing.T) {
	for name, want := range map[string]string{
		"anna": "", "Anna Иванова": "", "Καφές-Bar": "", "Müller": "", "José 3": "", "日本語カラオケ": "", "東京Tower": "", "김Lee": "",
		"עברית": "", "ไทย": "", "हिन्दी": "", "می\u200cخواهم": "", "tea ☕\ufe0f": "", "👩\u200d👧": "", "1\ufe0f\u20e3": "", "\U0001f3f4\U000e0067\U000e0062\U000e007f": "",
		"p\u0430ypal":           "Cyrillic, Latin",
		"\u0391nna":             "Greek, Latin",
		"\u13a0nna":             "Cherokee, Latin",
		"ч\u03b1й":              "Cyrillic, Greek",
		"an\u200bna":            "U+200B",
		"an\u200dna":            "U+200D",
		"anna\u202eold":         "U+202E",
		"anna\u2066":            "U+2066",
		"an\u00adna":            "U+00AD",
		"\u115fanna":            "U+115F",
		"anna\U000e0061":        "U+E0061",
		"an\ufe00na":            "U+FE00",
		"\uff50\u0430\uff59pal": "Cyrillic, Latin",
	} {
		err := CheckName(name)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%+q: %v, want %q", name, err, want)
		}
	}
}
