package discovery

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// Bounds on what a name is searched by.
const (
	maxWords    = 8  // of a name or query; more are not looked at
	maxWordSize = 64 // bytes of a word after normalisation; longer ones are cut
)

// Words are the words of a name as discovery compares and announces them:
// compatibility-composed (NFKC), lower-case runs of letters, marks and digits, each
// once, in order, at most maxWords of them. Text in a script without spaces is one word.
func Words(name string) []string {
	var out []string
	split := func(r rune) bool { return !unicode.In(r, unicode.Letter, unicode.Digit, unicode.Mark) }
	// Lower-casing can undo the composition (İ), so it comes first and last.
	text := norm.NFKC.String(strings.ToLower(norm.NFKC.String(name)))
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

// tagText is a tag as it is announced and compared.
func tagText(tag string) string { return strings.Join(Words(tag), " ") }

// Matches says whether a record's name contains all the words. No words match
// every record.
func (i *Info) Matches(words []string) bool {
	have := Words(i.Name)
	for _, w := range words {
		found := false
		for _, h := range have {
			found = found || h == w
		}
		if !found {
			return false
		}
	}
	return true
}
