package api

import (
	"slices"
	"strings"
)

// SpanKind says what a piece of a text in Markdown is.
type SpanKind string

// Kinds of spans: those in a line, and those that lines are in.
const (
	SpanText     SpanKind = "text" // Text, in which a line break is a space
	SpanBreak    SpanKind = "break"
	SpanStrong   SpanKind = "strong"
	SpanEmphasis SpanKind = "emphasis"
	SpanStrike   SpanKind = "strike"
	SpanCode     SpanKind = "code"    // Text
	SpanLink     SpanKind = "link"    // URL, which begins with http:, https: or mailto:
	SpanMention  SpanKind = "mention" // User, shown as Name
	SpanTask     SpanKind = "task"    // the box of an item, which is Checked or not

	SpanParagraph SpanKind = "paragraph"
	SpanHeading   SpanKind = "heading" // Level, 1 to 6
	SpanQuote     SpanKind = "quote"
	SpanList      SpanKind = "list" // Ordered from Start, or not; of items
	SpanItem      SpanKind = "item"
	SpanCodeBlock SpanKind = "code-block" // Text, in Language
	SpanRule      SpanKind = "rule"
	SpanTable     SpanKind = "table" // of rows
	SpanRow       SpanKind = "row"   // of cells; the Header or another
	SpanCell      SpanKind = "cell"
)

// Span is a piece of a text in Markdown: GFM without autolinks. HTML, and a link of any other
// kind, is text. All of it is to be shown as text: nothing in it is HTML.
type Span struct {
	Kind     SpanKind `json:"kind"`
	Text     string   `json:"text,omitempty"`
	URL      string   `json:"url,omitempty"`
	User     string   `json:"user,omitempty"`
	Name     string   `json:"name,omitempty"`     // this reader's name for User, whatever the author calls it; empty: it is not known here
	Verified bool     `json:"verified,omitempty"` // User was verified
	Doubt    string   `json:"doubt,omitempty"`    // why Name could be taken for another's, as of Member
	Level    int      `json:"level,omitempty"`
	Ordered  bool     `json:"ordered,omitempty"`
	Start    int      `json:"start,omitempty"`
	Checked  bool     `json:"checked,omitempty"`
	Header   bool     `json:"header,omitempty"`
	Language string   `json:"language,omitempty"`
	Spans    []Span   `json:"spans,omitempty"`
}

// Mentioned is how a mention is shown: the name with the mark of a user that was verified, or
// with why it could be taken for another's, and the ID then.
func (s Span) Mentioned() string {
	name := "@" + s.Name
	if s.Name == "" {
		name = "@" + Short(s.User)
	}
	if s.Verified {
		name = "@" + Mark + " " + s.Name
	}
	if s.Doubt != "" {
		name += "/" + Short(s.User) + " (" + s.Doubt + ")"
	}
	return name
}

// PlainText gives spans as text alone, for those who compare or copy it: a mention as it is
// typed.
func PlainText(spans []Span) string {
	return plain(spans, func(s Span) string { return Span{User: s.User, Name: s.Name}.Mentioned() })
}

// MarkedText is PlainText for those who read it: a mention as Mentioned has it.
func MarkedText(spans []Span) string { return plain(spans, Span.Mentioned) }

func plain(spans []Span, mention func(Span) string) string {
	var b strings.Builder
	writePlain(&b, spans, "", mention)
	return strings.TrimRight(b.String(), "\n")
}

// writePlain writes spans; each line after the first begins with the indent.
func writePlain(b *strings.Builder, spans []Span, indent string, mention func(Span) string) {
	next := func() { b.WriteString("\n" + indent) }
	for i, s := range spans {
		if i > 0 && s.block() && spans[i-1].block() {
			next()
		}
		switch s.Kind {
		case SpanText, SpanCode:
			b.WriteString(strings.ReplaceAll(s.Text, "\n", "\n"+indent))
		case SpanCodeBlock:
			b.WriteString(strings.ReplaceAll(strings.TrimSuffix(s.Text, "\n"), "\n", "\n"+indent))
		case SpanBreak:
			next()
		case SpanMention:
			b.WriteString(mention(s))
		case SpanLink:
			var words strings.Builder
			writePlain(&words, s.Spans, indent, mention)
			b.WriteString(words.String())
			if words.String() != s.URL {
				b.WriteString(" <" + s.URL + ">")
			}
		case SpanTask:
			b.WriteString(map[bool]string{true: "[x] ", false: "[ ] "}[s.Checked])
		case SpanRule:
			b.WriteString("---")
		case SpanQuote:
			b.WriteString("> ")
			writePlain(b, s.Spans, indent+"> ", mention)
		case SpanItem:
			b.WriteString("- ")
			writePlain(b, s.Spans, indent+"  ", mention)
		case SpanCell:
			writePlain(b, s.Spans, indent, mention)
			b.WriteString(" | ")
		default:
			writePlain(b, s.Spans, indent, mention)
		}
	}
}

// blocks are the kinds that stand in lines of their own.
var blocks = []SpanKind{SpanParagraph, SpanHeading, SpanQuote, SpanList, SpanItem, SpanCodeBlock, SpanRule, SpanTable, SpanRow}

func (s Span) block() bool { return slices.Contains(blocks, s.Kind) }
