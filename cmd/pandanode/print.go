package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/rivo/uniseg"

	"github.com/pandanode/pandanode/node/api"
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

// note prints a remark for people that is no data. --json leaves it out.
func (a *app) note(format string, args ...any) {
	if !a.json {
		fmt.Fprintf(a.err, format+"\n", args...)
	}
}

// line prints one object as a line of JSON.
func (a *app) line(v any) error { return lineTo(a.out, v) }

// lineTo writes one object as a line of JSON. It escapes characters that could control a
// terminal: what is read from a pipe is often printed on one. The object stays the same.
func lineTo(w io.Writer, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(escaped(text), '\n'))
	return err
}

// show prints one answer: as JSON, or with the function.
func (a *app) show(v any, human func()) error {
	if a.json {
		return a.line(v)
	}
	to := &written{Writer: a.out}
	a.out = to
	human()
	a.out = to.Writer
	return to.err
}

// written is an output that remembers the first error: its reader may be gone, or its disk full.
type written struct {
	io.Writer
	err error
}

func (w *written) Write(b []byte) (int, error) {
	n, err := w.Writer.Write(b)
	if w.err == nil {
		w.err = err
	}
	return n, err
}

// list prints a list: an object per line, or a table with a header. It cleans text of other
// people.
func list[T any](a *app, items []T, header string, row func(T) []string) error {
	if a.json {
		for _, it := range items {
			if err := a.line(it); err != nil {
				return err
			}
		}
		return nil
	}
	rows := [][]string{strings.Fields(header)}
	for _, it := range items {
		cells := row(it)
		for i := range cells {
			if cells[i] = clean(cells[i]); cells[i] == "" {
				cells[i] = "-"
			}
		}
		rows = append(rows, cells)
	}
	for i, l := range columns(rows) {
		if i == 0 {
			l = a.paint(a.out, bold, l)
		}
		if _, err := fmt.Fprintln(a.out, l); err != nil {
			return err
		}
	}
	return nil
}

// columns returns the lines of a table, with two spaces between its columns.
func columns(rows [][]string) []string {
	var widths []int
	for _, cells := range rows {
		for i, c := range cells {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], uniseg.StringWidth(c))
		}
	}
	lines := make([]string, len(rows))
	for r, cells := range rows {
		var b strings.Builder
		for i, c := range cells {
			b.WriteString(c)
			b.WriteString(strings.Repeat(" ", widths[i]-uniseg.StringWidth(c)+2))
		}
		lines[r] = strings.TrimRight(b.String(), " ")
	}
	return lines
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

// doubted returns a name with its mark, and with what in the view makes it doubtful.
func doubted(names *api.Names, id, name string) string {
	if why := names.Doubt(api.Candidate{ID: id, Name: name}); why != "" {
		return names.Marked(id, name) + " (" + why + ")"
	}
	return names.Marked(id, name)
}

// label returns the name of somebody whose ID stands nowhere else: with the ID if the name
// is doubtful, and the ID alone if there is no name.
func label(names *api.Names, id, name string) string {
	switch {
	case name == "":
		return api.Short(id)
	case names.Doubt(api.Candidate{ID: id, Name: name}) != "":
		return names.Marked(id, name) + "/" + api.Short(id)
	}
	return names.Marked(id, name)
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
