package api

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"go.mau.fi/util/confusable"
	"golang.org/x/text/unicode/norm"
)

// Alike says whether one name could be taken for the other: it is the same but for case,
// spaces, accents, characters that cannot be seen, and letters that look like each other
// (Unicode Technical Standard 39, Section 4). A name of which nothing is seen is like no other.
func Alike(a, b string) bool { return alike(a)(b) }

// alike compares names with one.
func alike(name string) func(other string) bool {
	own := looks(name)
	return func(other string) bool {
		return len(own) > 0 && slices.ContainsFunc(looks(other), func(x string) bool { return slices.Contains(own, x) })
	}
}

// looks returns what a name looks like, twice: letters that look like each other are made
// one before their case is (I is like l, and В like B), or afterwards (I is also i).
func looks(name string) []string {
	seen := strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if hidden(r) {
			return -1
		}
		return r
	}, norm.NFKC.String(name))), " ")
	if seen == "" {
		return nil
	}
	return slices.Compact([]string{skeleton(strings.ToLower(skeleton(seen))), skeleton(strings.ToLower(seen))})
}

// skeleton is the standard's, without accents.
func skeleton(s string) string { return Unaccented(confusable.Skeleton(Unaccented(s))) }

// strokes are letters whose accent is part of them.
var strokes = map[rune]rune{'ł': 'l', 'Ł': 'L', 'ø': 'o', 'Ø': 'O', 'đ': 'd', 'Đ': 'D', 'ı': 'i', 'ħ': 'h', 'Ħ': 'H'}

// Unaccented takes the accents from Latin, Greek and Cyrillic letters. Marks of other scripts
// are vowels and the like, and stay.
func Unaccented(s string) string {
	accents := false // the last letter loses its accents
	return strings.Map(func(r rune) rune {
		switch {
		case !unicode.Is(unicode.Mn, r):
			accents = unicode.In(r, unicode.Latin, unicode.Greek, unicode.Cyrillic)
			if plain, ok := strokes[r]; ok {
				return plain
			}
		case accents:
			return -1
		}
		return r
	}, norm.NFKD.String(s))
}

// hidden says whether a character takes no room, or could act on its neighbours unseen.
func hidden(r rune) bool {
	return !unicode.IsSpace(r) && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}

// Names are names in one view, such as those of a group's members, and who has them.
type Names struct {
	by       map[string]map[string]bool // what a name looks like, IDs
	verified map[string]bool            // IDs
}

// NamesOf has the names of the candidates.
func NamesOf(all ...Candidate) *Names {
	n := &Names{map[string]map[string]bool{}, map[string]bool{}}
	for _, c := range all {
		n.Add(c)
	}
	return n
}

// Add puts a name into the view. Somebody may have several.
func (n *Names) Add(c Candidate) {
	if c.Verified {
		n.verified[c.ID] = true
	}
	for _, x := range looks(c.Name) {
		if n.by[x] == nil {
			n.by[x] = map[string]bool{}
		}
		n.by[x][c.ID] = true
	}
}

// Verified says whether somebody in the view was verified.
func (n *Names) Verified(id string) bool { return n.verified[id] }

// Marked is a name with the mark of those who were verified.
func (n *Names) Marked(id, name string) string {
	if n.verified[id] {
		return Mark + " " + name
	}
	return name
}

// NotVerified is the doubt about a name that is, or looks like, that of somebody who was
// verified, and is somebody else's.
const NotVerified = "NOT the one you verified"

// Doubt says in a few words why a name could be taken for something else; empty if it could
// not.
func (n *Names) Doubt(c Candidate) (why string) {
	for _, x := range looks(c.Name) {
		for id := range n.by[x] {
			switch {
			case id == c.ID:
			case n.verified[id] && !n.verified[c.ID]:
				return NotVerified
			default:
				why = "name like another's"
			}
		}
	}
	switch word, _ := mixed(c.Name); {
	case why != "":
	case word != "":
		why = "mixed alphabets"
	case speaks(c.Name):
		why = "not a name"
	}
	return why
}

// spoken are what words look like with which the program speaks of people: a name that is one of
// the whole ones, or has one of the parts in it, could be taken for what the program says itself.
var spoken = sync.OnceValue(func() (w struct{ whole, parts []string }) {
	for _, word := range []string{"you", "me", "myself", "somebody", "nobody", "everybody"} {
		w.whole = append(w.whole, looks(word)...)
	}
	for _, word := range []string{
		"(you", "(me)", "(owner)", "(admin)", "(member)", "(read-only)", "(blocked)", "(new device)",
		"(name like", "(mixed alphabets", "(not a name", NotVerified, "calls itself", "(verified", "· verified",
	} {
		for _, x := range looks(word) {
			w.parts = append(w.parts, strings.ReplaceAll(x, " ", ""))
		}
	}
	return w
})

// identified is the end of a name that has its user's ID behind it.
var identified = regexp.MustCompile(`/[a-z2-7]{6,}$`)

// ascii puts in place of characters that are not ASCII those of it that they look like.
func ascii(name string) string {
	return strings.TrimSpace(strings.ToLower(strings.Map(func(r rune) rune {
		if hidden(r) {
			return -1
		}
		if like := []rune(confusable.Skeleton(string(r))); r >= utf8.RuneSelf && len(like) == 1 {
			return like[0]
		}
		return r
	}, norm.NFKC.String(name))))
}

// speaks says whether a name could be taken for words of the program.
func speaks(name string) bool {
	return identified.MatchString(ascii(name)) || slices.ContainsFunc(looks(name), func(seen string) bool {
		tight := strings.ReplaceAll(seen, " ", "")
		return slices.Contains(spoken().whole, strings.Trim(seen, " .,:;!?-_()[]")) ||
			slices.ContainsFunc(spoken().parts, func(part string) bool { return strings.Contains(tight, part) })
	})
}

// CheckName refuses what a name that is given here and now should not have: characters that
// are not seen, words whose letters are of several alphabets, and words of the program. Names that come from others
// are shown with a doubt instead.
func CheckName(name string) error {
	last := ' '
	for _, r := range name {
		if hidden(r) && !joins(last, r) {
			return fmt.Errorf("the name has a character that is not seen (U+%04X); type it anew without that", r)
		}
		last = r
	}
	if word, scripts := mixed(name); word != "" {
		return fmt.Errorf("%q has letters of several alphabets (%s), which look alike; write each word in one", word, strings.Join(scripts, ", "))
	}
	if speaks(name) {
		return fmt.Errorf("%q could be taken for words of the program, such as \"you\" or what stands behind names; take another name", name)
	}
	return nil
}

// joins says whether a character that is not seen has its place after another one: in emoji,
// and in scripts whose letters join.
func joins(after, r rune) bool {
	switch {
	case r == 0x200c || r == 0x200d || unicode.Is(unicode.Variation_Selector, r):
		return after > unicode.MaxLatin1 && !unicode.In(after, unicode.Latin, unicode.Greek, unicode.Cyrillic) || r == 0xfe0f
	case r >= 0xe0020 && r <= 0xe007f: // of a flag
		return after == 0x1f3f4 || after >= 0xe0020 && after <= 0xe007f
	}
	return false
}

// written lists which scripts one word can have: those of Japanese, Chinese and Korean, with
// Latin letters among them (the level "highly restrictive" of the standard's Section 5.2).
// Any other word has one script.
var written = [][]string{
	{"Latin", "Han", "Hiragana", "Katakana"},
	{"Latin", "Han", "Bopomofo"},
	{"Latin", "Han", "Hangul"},
}

// mixed finds a word whose letters are of scripts that are not written together, and names
// these.
func mixed(name string) (word string, scripts []string) {
	for _, word := range strings.FieldsFunc(norm.NFKC.String(name), func(r rune) bool { return !unicode.In(r, unicode.L, unicode.M, unicode.N) }) {
		var all []string
		for _, r := range word {
			if s := scriptOf(r); s != "" && !slices.Contains(all, s) {
				all = append(all, s)
			}
		}
		if len(all) > 1 && !slices.ContainsFunc(written, func(w []string) bool {
			return !slices.ContainsFunc(all, func(s string) bool { return !slices.Contains(w, s) })
		}) {
			slices.Sort(all)
			return word, all
		}
	}
	return "", nil
}

// usual are the scripts that are looked at first.
var usual = []string{"Latin", "Cyrillic", "Greek", "Han", "Hiragana", "Katakana", "Hangul", "Arabic", "Hebrew", "Devanagari", "Thai"}

// scriptOf names the script of a character; empty if it has none of its own.
func scriptOf(r rune) string {
	if unicode.In(r, unicode.Common, unicode.Inherited) {
		return ""
	}
	for _, common := range usual {
		if unicode.Is(unicode.Scripts[common], r) {
			return common
		}
	}
	for name, table := range unicode.Scripts {
		if unicode.Is(table, r) {
			return name
		}
	}
	return ""
}
