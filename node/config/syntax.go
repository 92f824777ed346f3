package config

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// SyntaxError is what is wrong in a configuration file, and where.
type SyntaxError struct {
	Path         string
	Line, Column int    // from 1; the column counts characters
	Why          string // in words
	Text         string // the line
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("%s:%d:%d: %s", e.Path, e.Line, e.Column, e.Why)
}

// Excerpt gives the line, and under it a caret that points at the place.
func (e *SyntaxError) Excerpt() [2]string {
	const before, after = 50, 20 // characters that are shown around the place
	line, at := []rune(strings.ReplaceAll(e.Text, "\t", " ")), e.Column-1
	from := max(0, min(at, len(line))-before)
	to := min(len(line), max(at+after, before+after))
	return [2]string{string(line[from:to]), strings.Repeat(" ", at-from) + "^"}
}

// mistake places what is wrong at a line and a byte of it, both from 1.
func mistake(path string, text []byte, line, column int, why string) *SyntaxError {
	lines := strings.Split(string(text), "\n")
	if line < 1 || line > len(lines) {
		return &SyntaxError{Path: path, Line: max(line, 1), Column: 1, Why: why}
	}
	at := strings.TrimSuffix(lines[line-1], "\r")
	start := at[:min(max(column-1, 0), len(at))]
	return &SyntaxError{Path: path, Line: line, Column: utf8.RuneCountInString(start) + 1, Why: why, Text: strings.ToValidUTF8(at, "\uFFFD")}
}

// notUTF8 places the first byte of a text that is no UTF-8. Nil: all of it is.
func notUTF8(path string, text []byte) *SyntaxError {
	line, column := 1, 1
	for at := 0; at < len(text); {
		r, n := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && n == 1 {
			return mistake(path, text, line, column, "this character is not UTF-8: save the file as UTF-8")
		}
		if column += n; r == '\n' {
			line, column = line+1, 1
		}
		at += n
	}
	return nil
}

// unreadable is said of what is no TOML in a way that has no words here.
const unreadable = "this cannot be read as TOML"

// wordsFor says for people what a parser complains about at a place of the text. The words
// of the parser are its own affair: they are looked at, and not shown.
func wordsFor(complaint string, text []byte, line, column int) string {
	lines := strings.Split(string(text), "\n")
	if line < 1 || line > len(lines) {
		return unreadable
	}
	at := strings.TrimSuffix(lines[line-1], "\r")
	rest := at[min(max(column-1, 0), len(at)):]
	says := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(complaint, p) {
				return true
			}
		}
		return false
	}
	named := func(before, after string) string {
		_, name, _ := strings.Cut(complaint, before)
		name, _, _ = strings.Cut(name, after)
		return name
	}
	switch {
	case says("expected '='"):
		if strings.HasPrefix(rest, ":") {
			return `there is ":" where "=" belongs: KEY = VALUE`
		}
		return `"=" is missing after the key: KEY = VALUE`
	case says("cannot have new lines", "unterminated", "not terminated"):
		return "a quote is missing: the text in quotes has no end"
	case says("escape", `need a character after \`):
		return `in double quotes a backslash begins an escape such as \n: write \\ for a backslash, or put the text in single quotes`
	case says("is already defined"):
		return fmt.Sprintf("the key %q is there twice", named("key ", " is already"))
	case says("table ") && says("already exists"):
		return fmt.Sprintf("the section [%s] is there twice", named("table ", " already"))
	case says("control character", "carriage return"):
		return "a character that cannot be seen stands here"
	case says("expected ',' or ']'"):
		return `in a list, "," or "]" is missing before this`
	case says("array is incomplete"):
		return `the list has no "]" at its end`
	case says("to close"):
		return `"]" is missing after the name of the section`
	case says("inline table is incomplete"):
		return `"}" is missing`
	case says("expected newline"):
		if value := valueOf(at); value != "" && strings.HasPrefix(value, "=") {
			return mistaken(lines, line)
		}
		return "nothing may follow here: each key and each section has a line of its own, and a comment begins with #"
	case says("start of key"):
		if strings.HasPrefix(rest, "=") {
			return `there is no key before "="`
		}
		return "no key can begin with this character"
	case says("too large"):
		return "the number is too large"
	case says("start of value", "expected value", "keyword", "must be quoted", "digit", "zeroes", "number", "integer", "float", "exponent", "sign", "radix", "date", "hour", "minute", "second"):
		return mistaken(lines, line)
	}
	return unreadable
}

// valueOf gives what stands after the "=" of a line, without a comment.
func valueOf(line string) string {
	_, value, _ := strings.Cut(line, "=")
	value, _, _ = strings.Cut(value, "#")
	return strings.TrimSpace(value)
}

// mistaken says what is wrong with the value of a line, by what its key should hold.
func mistaken(lines []string, line int) string {
	const generic = "this is no value: text stands in quotes; true, false and numbers stand without"
	name, _, ok := strings.Cut(lines[line-1], "=")
	if name = strings.TrimSpace(name); !ok || strings.HasPrefix(name, "#") {
		return generic
	}
	for i := line - 2; i >= 0; i-- {
		if head := strings.TrimSpace(lines[i]); strings.HasPrefix(head, "[") {
			section, _, _ := strings.Cut(head[1:], "]")
			name = strings.TrimSpace(section) + "." + name
			break
		}
	}
	value := valueOf(lines[line-1])
	switch {
	case value == "":
		return name + ` has no value after "="`
	case strings.ContainsAny(value, "\u201c\u201d\u201e\u2018\u2019\u00ab\u00bb"):
		return `these quotes are curly: text stands in straight ones, "like this"`
	}
	for _, k := range keys {
		if k.Path == name {
			return fmt.Sprintf("%s is to be %s, not %s", name, k.expects(), value)
		}
	}
	return generic
}
