package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// Colours, as parameters of SGR.
const (
	bold = "1"
	dim  = "2"
	red  = "31"
)

// paint colours text if the stream is a terminal and NO_COLOR is unset.
func (a *app) paint(w io.Writer, colour, text string) string {
	if !isTerminal(w) || a.getenv("NO_COLOR") != "" || a.getenv("TERM") == "dumb" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// note tells people something that is no data; --json leaves it out.
func (a *app) note(format string, args ...any) {
	if !a.json {
		fmt.Fprintf(a.err, format+"\n", args...)
	}
}

// line prints one object as a line of JSON.
func (a *app) line(v any) error { return json.NewEncoder(a.out).Encode(v) }

// show prints one answer: as JSON, or with the function.
func (a *app) show(v any, human func()) error {
	if a.json {
		return a.line(v)
	}
	human()
	return nil
}

// list prints a list: an object per line, or a table with a header. What comes from
// other people is cleaned.
func list[T any](a *app, items []T, header string, row func(T) []string) error {
	if a.json {
		for _, it := range items {
			if err := a.line(it); err != nil {
				return err
			}
		}
		return nil
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(strings.Fields(header), "\t"))
	for _, it := range items {
		cells := row(it)
		for i := range cells {
			if cells[i] = clean(cells[i]); cells[i] == "" {
				cells[i] = "-"
			}
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for i, l := range strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n") {
		if l = strings.TrimRight(l, " "); i == 0 {
			l = a.paint(a.out, bold, l)
		}
		if _, err := fmt.Fprintln(a.out, l); err != nil {
			return err
		}
	}
	return nil
}

// facts prints names and values in two columns; pairs without a value are left out.
func (a *app) facts(pairs ...string) {
	width := 0
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			width = max(width, len(pairs[i]))
		}
	}
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(a.out, "%s  %s\n", a.paint(a.out, dim, fmt.Sprintf("%-*s", width, pairs[i])), clean(pairs[i+1]))
		}
	}
}

// clean makes text of other people safe for a terminal: what is no printable
// character, or reorders its neighbours, becomes U+FFFD. Line ends and tabs become
// spaces.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case !unicode.IsPrint(r) && !unicode.Is(unicode.Zs, r):
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// short gives the beginning of an ID, long enough to name it by.
func short(id string) string {
	const length = 10
	if len(id) > length {
		return id[:length]
	}
	return id
}

// when gives a time for people.
func when(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04")
}

// span gives a duration for people, to the second.
func span(d time.Duration) string { return d.Round(time.Second).String() }
