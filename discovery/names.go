package discovery

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/pandanode/pandanode/node/wire"
)

// Bounds on the words that a name is searched by.
const (
	maxWords    = 8  // of a name or query; more are not looked at
	maxWordSize = 64 // bytes of a word after normalisation; longer ones are cut
)

// words are the words of a name as discovery compares and announces them:
// compatibility-composed (NFKC), lower-case runs of letters, marks and digits, each
// once, in order, at most maxWords of them, without the accents of Latin, Greek and
// Cyrillic letters. Text in a script without spaces is one word.
func words(name string) []string {
	var out []string
	split := func(r rune) bool { return !unicode.In(r, unicode.Letter, unicode.Digit, unicode.Mark) }
	// Lower-casing can undo the composition (İ), so it comes first and last.
	text := unaccented(norm.NFKC.String(strings.ToLower(norm.NFKC.String(name))))
	seen := make(map[string]bool, maxWords)
	for w := range strings.FieldsFuncSeq(text, split) {
		if len(w) > maxWordSize {
			w = strings.ToValidUTF8(w[:maxWordSize], "")
		}
		if seen[w] {
			continue
		}
		if len(out) == maxWords {
			break
		}
		seen[w] = true
		out = append(out, w)
	}
	return out
}

// letters replaces letters that people type as others, and that Unicode does not decompose
// into a letter and an accent.
var letters = strings.NewReplacer("ß", "ss", "æ", "ae", "œ", "oe", "ø", "o", "đ", "d", "ð", "d", "ł", "l", "ħ", "h", "ı", "i", "þ", "th", "ς", "σ")

// unaccented removes the accents of Latin, Greek and Cyrillic letters, because people type
// names without them. Marks of other scripts stay: they are vowels and the like.
func unaccented(s string) string {
	var b strings.Builder
	accents := false // the last letter loses its accents
	for _, r := range norm.NFKD.String(s) {
		if !unicode.Is(unicode.Mn, r) {
			accents = unicode.In(r, unicode.Latin, unicode.Greek, unicode.Cyrillic)
		} else if accents {
			continue
		}
		b.WriteRune(r)
	}
	return norm.NFKC.String(letters.Replace(b.String()))
}

// tagText is a tag as it is announced and compared.
func tagText(tag string) string { return strings.Join(words(tag), " ") }

// pattern holds the words that a name must contain, and words with stars, each of which
// stands for any letters.
type pattern struct {
	words []string
	globs []string // normalised, stars kept
}

func parsePattern(name string) pattern {
	var p pattern
	var plain []string
	for _, f := range strings.Fields(name) {
		if !strings.Contains(f, "*") {
			plain = append(plain, f)
			continue
		}
		var pieces []string
		for piece := range strings.SplitSeq(f, "*") {
			pieces = append(pieces, strings.Join(words(piece), ""))
		}
		if len(p.globs) < maxWords {
			p.globs = append(p.globs, strings.Join(pieces, "*"))
		}
	}
	p.words = words(strings.Join(plain, " "))
	return p
}

// String is the pattern as it travels: as many of its words as fit into a request.
func (p pattern) String() string {
	all := append(slices.Clone(p.words), p.globs...)
	for len(all) > 0 && len(strings.Join(all, " ")) > wire.MaxQuery {
		all = all[:len(all)-1]
	}
	return strings.Join(all, " ")
}

func (p pattern) matches(name string) bool {
	have := words(name)
	for _, w := range p.words {
		if !slices.Contains(have, w) {
			return false
		}
	}
	for _, g := range p.globs {
		if !slices.ContainsFunc(have, func(h string) bool { return matchesGlob(g, h) }) {
			return false
		}
	}
	return true
}

// matchesGlob says whether a glob matches a word.
func matchesGlob(glob, word string) bool {
	pieces := strings.Split(glob, "*")
	word, ok := strings.CutPrefix(word, pieces[0])
	if !ok {
		return false
	}
	last := len(pieces) - 1
	for _, p := range pieces[1:last] {
		at := strings.Index(word, p)
		if at < 0 {
			return false
		}
		word = word[at+len(p):]
	}
	return strings.HasSuffix(word, pieces[last])
}
