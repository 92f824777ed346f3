// Package printable makes text of other people safe to be shown on a terminal.
package printable

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// Clean makes text of other people safe to be part of a line of a terminal. Characters that
// could control the terminal, or that reorder their neighbours beyond the text's own end,
// become U+FFFD. So does text that hides: text that cannot be seen at all, more invisible
// characters in a row than any script has, and tags that are no flag. Line ends and tabs
// become spaces. Characters of scripts and emoji stay.
func Clean(s string) string {
	in := []rune(strings.ReplaceAll(s, "\r\n", "\n"))
	out := make([]rune, len(in))
	seen, hidden := false, 0 // how many in a row
	for i, r := range in {
		if !isHidden(r) {
			hidden = 0
		} else if hidden++; hidden > maxHidden || i > 0 && r == in[i-1] {
			r = unicode.ReplacementChar
		}
		switch {
		case r == '\n' || r == '\t' || r == '\u2028' || r == '\u2029':
			r = ' '
		case isTag(r):
			if !inFlag(in, i) {
				r = unicode.ReplacementChar
			}
		case controls(r):
			r = unicode.ReplacementChar
		}
		seen = seen || !isHidden(r)
		out[i] = r
	}
	if !seen && len(out) > 0 {
		return string(unicode.ReplacementChar)
	}
	return string(out)
}

// controls says whether a character could act on a terminal, or on the text around it,
// unseen: control characters, bidi embeddings, overrides and isolates, annotations, and the
// code points that Unicode has reserved for more of them.
func controls(r rune) bool {
	switch {
	case unicode.Is(unicode.Cf, r):
		return !unicode.Is(shaping, r)
	case unicode.Is(unicode.Cc, r), unicode.Is(unicode.Cs, r), unicode.Is(unicode.Noncharacter_Code_Point, r):
		return true
	}
	return unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) && !unicode.IsGraphic(r) // not assigned yet
}

// shaping lists the format characters of ordinary text: joiners and non-joiners, the marks
// of direction that reorder nothing beyond their neighbours, spaces without width and soft
// hyphens, and the signs of scripts that Unicode counts as such.
var shaping = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x00ad, Hi: 0x00ad, Stride: 1}, // soft hyphen
		{Lo: 0x0600, Hi: 0x0605, Stride: 1}, // Arabic number signs
		{Lo: 0x061c, Hi: 0x061c, Stride: 1}, // Arabic letter mark
		{Lo: 0x06dd, Hi: 0x06dd, Stride: 1},
		{Lo: 0x070f, Hi: 0x070f, Stride: 1},
		{Lo: 0x0890, Hi: 0x0891, Stride: 1},
		{Lo: 0x08e2, Hi: 0x08e2, Stride: 1},
		{Lo: 0x180e, Hi: 0x180e, Stride: 1}, // Mongolian vowel separator
		{Lo: 0x200b, Hi: 0x200f, Stride: 1}, // ZWSP, ZWNJ, ZWJ, LRM, RLM
		{Lo: 0x2060, Hi: 0x2060, Stride: 1}, // word joiner
	},
	R32: []unicode.Range32{
		{Lo: 0x110bd, Hi: 0x110bd, Stride: 1},
		{Lo: 0x110cd, Hi: 0x110cd, Stride: 1},
		{Lo: 0xe0020, Hi: 0xe007f, Stride: 1}, // tags: see inFlag
	},
	LatinOffset: 1,
}

// maxHidden is how many different invisible characters may follow each other: a joined
// emoji has a variation selector and a joiner.
const maxHidden = 2

// isHidden says whether a character takes no room, or is a blank letter. Many in a row, or
// a text of nothing else, hide something.
func isHidden(r rune) bool {
	switch {
	case unicode.Is(unicode.Variation_Selector, r), unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r):
		return true
	case isTag(r), r != 0x061c && r >= 0x0600 && r <= 0x08e2, r >= 0x11000: // tags, and signs that are seen
		return false
	}
	return unicode.Is(unicode.Cf, r)
}

func isTag(r rune) bool { return r >= 0xe0020 && r <= 0xe007f }

// The flag of a part of a country (UTS #51, Section 3.1.4): a black flag, the code of the
// part in letters and digits of the tags, and the tag that ends it.
const (
	blackFlag = 0x1f3f4
	endTag    = 0xe007f
	minRegion = 3
	maxRegion = 6
)

// inFlag says whether the tag at i is part of such a flag.
func inFlag(text []rune, i int) bool {
	first := i
	for first > 0 && isTag(text[first-1]) {
		first--
	}
	end := slices.Index(text[first:], endTag)
	if first == 0 || text[first-1] != blackFlag || end < minRegion || end > maxRegion || i > first+end {
		return false
	}
	for _, r := range text[first : first+end] {
		if c := r - 0xe0000; (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// Escaped returns JSON in which characters that Clean would replace are escaped.
func Escaped(text []byte) []byte {
	var b strings.Builder
	for _, r := range string(text) {
		switch {
		case !controls(r) && !isTag(r):
			b.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return []byte(b.String())
}
