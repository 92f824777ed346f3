package wire

import (
	"bytes"
	"cmp"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ascending says whether each item stands strictly before the next one, so that
// a set has one encoding.
func ascending[T any](items []T, compare func(a, b T) int) bool {
	for i := 1; i < len(items); i++ {
		if compare(items[i-1], items[i]) >= 0 {
			return false
		}
	}
	return true
}

func compareHashes[T ~[32]byte](a, b T) int { return bytes.Compare(a[:], b[:]) }
func compareCursors(a, b uint64) int        { return cmp.Compare(a, b) }
func compareKeyIDs(a, b KeyID) int          { return bytes.Compare(a[:], b[:]) }
func compareMarks(a, b Mark) int            { return a.Log.Compare(b.Log) }
func compareWraps(a, b Wrap) int            { return bytes.Compare(a.Device[:], b.Device[:]) }

// checkMarks checks a version vector: one mark a log, ascending. A mark with seq 0
// has no hash: it says that there is evidence against the log.
func checkMarks(what string, marks []Mark) error {
	if len(marks) > MaxMarks {
		return fmt.Errorf("%w: %s with %d marks, at most %d", ErrTooLarge, what, len(marks), MaxMarks)
	}
	for _, m := range marks {
		if m.Seq == 0 && m.Hash != (EntryHash{}) {
			return fmt.Errorf("%w: %s: a mark with seq 0 and a hash", ErrMalformed, what)
		}
	}
	if !ascending(marks, compareMarks) {
		return fmt.Errorf("%w: %s: marks are not ascending", ErrMalformed, what)
	}
	return nil
}

// isText says whether s is text of at most max bytes that a terminal can be
// shown: UTF-8 without control characters, but for line ends and tabs in lines.
func isText(s string, max int, lines bool) bool {
	if len(s) > max || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if unicode.IsControl(r) && !(lines && (r == '\n' || r == '\t')) {
			return false
		}
	}
	return true
}

// Blank says whether there is nothing in s that can be seen: spaces, controls, marks of
// direction and joining, and letters that have no shape.
func Blank(s string) bool {
	for _, r := range s {
		if !unicode.IsSpace(r) && !unicode.In(r, unicode.Cc, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) && r != '\u2800' {
			return false
		}
	}
	return true
}

// checkText says in words why s is not text of at most max bytes that a terminal can be
// shown; what names it. lines as of isText.
func checkText(what, s string, max int, lines bool) error {
	switch {
	case len(s) > max:
		return fmt.Errorf("%w: %s has %d bytes, and at most %d are allowed", ErrMalformed, what, len(s), max)
	case !utf8.ValidString(s):
		return fmt.Errorf("%w: %s is not UTF-8", ErrMalformed, what)
	case !lines && strings.ContainsAny(s, "\n\r\v\f\u0085"):
		return fmt.Errorf("%w: %s has more than one line, and one is allowed", ErrMalformed, what)
	case !isText(s, max, lines):
		return fmt.Errorf("%w: %s has control characters", ErrMalformed, what)
	}
	return nil
}
