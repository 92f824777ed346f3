package discovery

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestWords(t *testing.T) {
	for name, want := range map[string][]string{
		"":                                  nil,
		" - !?":                             nil,
		"Red Pandas":                        {"red", "pandas"},
		"red  RED-Red_rEd":                  {"red"},
		"Straße 42":                         {"strasse", "42"},
		"ＦＵＬＬ ﬁsh":                          {"full", "fish"},
		"e\u0301t\u00e9 \u00c9T\u00c9":      {"ete"},
		"Café Über":                         {"cafe", "uber"},
		"Łódź ÆRØ İstanbul ılık":            {"lodz", "aero", "istanbul", "ilik"},
		"Καφενείο ΟΔΟΣ Ёлка":                {"καφενειο", "οδοσ", "елка"},
		"がぎぐ 가나 ไทย":                        {"がぎぐ", "가나", "ไทย"}, // marks that are no accents
		"読書会 Tokyo":                         {"読書会", "tokyo"},
		"हिन्दी समूह":                       {"हिन्दी", "समूह"},
		"a b c d e f g h i j":               {"a", "b", "c", "d", "e", "f", "g", "h"},
		strings.Repeat("ж", 40) + " x":      {strings.Repeat("ж", 32), "x"},
		"x" + strings.Repeat("ж", 40):       {"x" + strings.Repeat("ж", 31)},
		strings.Repeat("é", 40) + " x":      {strings.Repeat("e", 40), "x"},
		"ǣ ǿ":                               {"ae", "o"},
		"bad\xff\xfeutf8":                   {"bad", "utf8"},
		"tabs\tand\nlines \U0001F43C panda": {"tabs", "and", "lines", "panda"},
	} {
		if got := words(name); !reflect.DeepEqual(got, want) {
			t.Errorf("%q has the words %q, want %q", name, got, want)
		}
	}
}

func TestWordsAreStable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(rapid.String(), rapid.Custom(func(t *rapid.T) string {
			return string(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
		})).Draw(t, "name")
		w := words(name)
		if len(w) > maxWords {
			t.Fatalf("%d words", len(w))
		}
		for _, x := range w {
			if x == "" || len(x) > maxWordSize || !utf8.ValidString(x) {
				t.Fatalf("word %q", x)
			}
		}
		if again := words(strings.Join(w, " ")); !slices.Equal(again, w) {
			t.Fatalf("the words of %q are %q", w, again)
		}
	})
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		fits          bool
	}{
		{"", "anything", true},
		{"pandas red", "Red Pandas", true},
		{"panda", "Red Pandas", false},
		{"panda*", "Red Pandas", true},
		{"*ANDA*", "Red Pandas", true},
		{"p*s", "Red Pandas", true},
		{"p*s*", "Red Pandas", true},
		{"pan*pan", "pan", false},
		{"pan*das", "pandas", true},
		{"panda*s", "pandas", true},
		{"*x", "Red Pandas", false},
		{"r* p*", "Red Pandas", true},
		{"r* q*", "Red Pandas", false},
		{"*", "", false},
		{"*", "one", true},
		{"***", "one", true},
		{"ÉT*", "été", true},
		{"cafe uber", "Café Über", true},
		{"CAFÉ", "cafe", true},
		{"caf*", "Café", true},
		{"*afé", "CAFE", true},
		{"re-d*", "Red Pandas", true}, // normalised as a name is
	} {
		if got := parsePattern(c.pattern).matches(c.name); got != c.fits {
			t.Errorf("%q fits %q: %t", c.pattern, c.name, got)
		}
		if p := parsePattern(c.pattern); parsePattern(p.String()).matches(c.name) != c.fits {
			t.Errorf("%q travels as %q", c.pattern, p)
		}
	}
}
