package screen

import (
	"strings"
	"unicode"

	"github.com/charmbracelet/x/ansi"
	"github.com/rivo/uniseg"

	"github.com/pandanode/pandanode/internal/printable"
	"github.com/pandanode/pandanode/node/api"
)

// measure says how many columns a text takes: terminals differ in what they know of emoji.
type measure ansi.Method

func (m measure) width(s string) int { return ansi.Method(m).StringWidth(s) }

// cut shortens a text of one line to a width. Styles take no room.
func (m measure) cut(s string, width int) string {
	s, _ = m.shortened(s, width)
	return s
}

// fit cuts a text of one line to a width, and fills it up with spaces.
func (m measure) fit(s string, width int) string {
	s, is := m.shortened(s, width)
	return s + strings.Repeat(" ", max(width-is, 0))
}

// shortened is a text of one line that takes no more than a width, and how much it takes.
func (m measure) shortened(s string, width int) (short string, is int) {
	if width <= 0 {
		return "", 0
	}
	cut, before := -1, 0 // where it ends if it is too long, and how wide it is up to there
	styled := false
	for at := 0; at < len(s); {
		if n := sequence(s[at:]); n > 0 {
			if cut < 0 {
				styled = s[at:at+n] != reset
			}
			at += n
			continue
		}
		cluster, _, _, _ := uniseg.FirstGraphemeClusterInString(s[at:], -1)
		w := m.width(cluster)
		if is+w > width-1 && cut < 0 {
			cut, before = at, is
		}
		if is += w; is > width {
			short = s[:cut] + "…"
			if styled {
				short += reset
			}
			return short, before + 1
		}
		at += len(cluster)
	}
	return s, is
}

const reset = "\x1b[m"

// sequence is the length of the style that a text begins with; 0: it begins with none.
func sequence(s string) int {
	if !strings.HasPrefix(s, "\x1b[") {
		return 0
	}
	return strings.IndexByte(s, 'm') + 1
}

// maxMarks is how many marks may stand on one letter: more would be drawn over other lines.
const maxMarks = 8

// clean makes text of other people safe, line by line.
func clean(s string) string {
	lines := strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	for i, l := range lines {
		lines[i] = fewMarks(printable.Clean(l))
	}
	return strings.Join(lines, "\n")
}

// line makes text of other people safe, as one line.
func line(s string) string { return fewMarks(printable.Clean(s)) }

func fewMarks(s string) string {
	n := 0
	return strings.Map(func(r rune) rune {
		if !unicode.In(r, unicode.Mn, unicode.Me) {
			n = 0
			return r
		}
		if n++; n > maxMarks {
			return -1
		}
		return r
	}, s)
}

// row is a piece of a text that stands in one line: its first byte, the one behind its last,
// and how many columns it takes.
type row struct{ from, to, width int }

// rows breaks a text into lines of a width: at its line ends, behind spaces, and inside of
// words that are too long. A space at the end of a line takes no room. There is always a row.
func (m measure) rows(text string, width int) []row {
	width = max(width, 1)
	var out []row
	for from := 0; ; {
		end := strings.IndexByte(text[from:], '\n')
		if end < 0 {
			return m.breaks(out, text, from, len(text), width)
		}
		out = m.breaks(out, text, from, from+end, width)
		from += end + 1
	}
}

// breaks breaks one line.
func (m measure) breaks(out []row, text string, from, end, width int) []row {
	r := row{from: from, to: from}
	space, after := -1, 0 // where the last word ends, and how wide it is up to there
	for at := from; at < end; {
		cluster, _, _, _ := uniseg.FirstGraphemeClusterInString(text[at:end], -1)
		w := m.width(cluster)
		if cluster == "\t" {
			w = 1
		}
		if r.width+w > width && at > r.from && cluster != " " {
			if space > r.from {
				out = append(out, row{r.from, space, after})
				r = row{from: space, to: at, width: m.width(text[space:at])}
			} else {
				out = append(out, r)
				r = row{from: at, to: at}
			}
			space = -1
		}
		at += len(cluster)
		r.to, r.width = at, r.width+w
		if cluster == " " || cluster == "\t" {
			space, after = at, r.width
		}
	}
	return append(out, r)
}

// styled is a text, and how pieces of it look.
type styled struct {
	text  strings.Builder
	marks []mark
}

// mark is a piece of a text that looks like that: parameters of SGR.
type mark struct {
	from, to int
	style    string
}

func (s *styled) add(text, style string) {
	from := s.text.Len()
	s.text.WriteString(text)
	if style != "" && text != "" {
		s.marks = append(s.marks, mark{from, from + len(text), style})
	}
}

// lines breaks the text and styles each line.
func (s *styled) lines(m measure, width int) []string {
	text := s.text.String()
	var out []string
	for _, r := range m.rows(text, width) {
		for r.to > r.from && text[r.to-1] == ' ' {
			r.to--
		}
		var b strings.Builder
		at := r.from
		for _, k := range s.marks {
			from, to := max(k.from, at), min(k.to, r.to)
			if from >= to {
				continue
			}
			b.WriteString(text[at:from])
			b.WriteString(paint(k.style, text[from:to]))
			at = to
		}
		b.WriteString(text[at:r.to])
		out = append(out, strings.ReplaceAll(b.String(), "\t", " "))
	}
	return out
}

// paint styles a text with parameters of SGR.
func paint(style, text string) string {
	if style == "" || text == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + reset
}

// Styles, as parameters of SGR: those that a terminal has colours of its own for, so that
// they can be read on a dark one and on a light one.
const (
	bold    = "1"
	dim     = "2"
	italic  = "3"
	under   = "4"
	reverse = "7"
	struck  = "9"
)

// body is what a message says, styled.
func body(m api.Message) *styled {
	s := new(styled)
	if m.Spans == nil {
		s.add(clean(m.Text), "")
		return s
	}
	writeSpans(s, m.Spans, "", "")
	return s
}

// looks of spans.
var spanLooks = map[api.SpanKind]string{api.SpanStrong: bold, api.SpanEmphasis: italic, api.SpanStrike: struck, api.SpanHeading: bold}

// writeSpans writes spans as api.MarkedText does, and styles them.
func writeSpans(s *styled, spans []api.Span, indent, style string) {
	next := func() { s.add("\n"+indent, "") }
	with := func(more string) string { return strings.Trim(style+";"+more, ";") }
	for i, p := range spans {
		if i > 0 && isBlock(p) && isBlock(spans[i-1]) {
			next()
		}
		switch p.Kind {
		case api.SpanText:
			s.add(strings.ReplaceAll(clean(p.Text), "\n", "\n"+indent), style)
		case api.SpanCode, api.SpanCodeBlock:
			s.add(strings.ReplaceAll(clean(strings.TrimSuffix(p.Text, "\n")), "\n", "\n"+indent), with(dim))
		case api.SpanBreak:
			next()
		case api.SpanMention:
			s.add(line(p.Mentioned()), with(bold))
		case api.SpanLink:
			words := api.PlainText(p.Spans)
			writeSpans(s, p.Spans, indent, with(under))
			if words != p.URL {
				s.add(" <"+line(p.URL)+">", with(dim))
			}
		case api.SpanTask:
			s.add(map[bool]string{true: "[x] ", false: "[ ] "}[p.Checked], style)
		case api.SpanRule:
			s.add("---", style)
		case api.SpanQuote:
			s.add("> ", with(dim))
			writeSpans(s, p.Spans, indent+"> ", style)
		case api.SpanItem:
			s.add("• ", style)
			writeSpans(s, p.Spans, indent+"  ", style)
		case api.SpanCell:
			writeSpans(s, p.Spans, indent, style)
			s.add(" | ", style)
		default:
			writeSpans(s, p.Spans, indent, with(spanLooks[p.Kind]))
		}
	}
}

func isBlock(s api.Span) bool {
	switch s.Kind {
	case api.SpanParagraph, api.SpanHeading, api.SpanQuote, api.SpanList, api.SpanItem, api.SpanCodeBlock, api.SpanRule, api.SpanTable, api.SpanRow:
		return true
	default:
		return false
	}
}
