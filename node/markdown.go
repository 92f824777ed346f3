package node

import (
	"net/url"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/yuin/goldmark/ast"
	extast "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/util"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/content"
)

const maxSpanDeep = 32

// spans gives a text in Markdown as a tree, for those who show it.
func spans(source string) []api.Span {
	b := []byte(source)
	tree := content.ParseMarkdown(b)
	if tree == nil {
		return []api.Span{{Kind: api.SpanText, Text: source}}
	}
	return children(tree, b, maxSpanDeep)
}

func children(n ast.Node, source []byte, deep int) (out []api.Span) {
	if deep == 0 {
		return nil
	}
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		for _, s := range span(c, source, deep-1) {
			if last := len(out) - 1; s.Kind == api.SpanText && last >= 0 && out[last].Kind == api.SpanText {
				out[last].Text += s.Text
				continue
			}
			out = append(out, s)
		}
	}
	return out
}

// span gives one node; several if its children stand for it.
func span(n ast.Node, source []byte, deep int) []api.Span {
	one := func(s api.Span) []api.Span {
		if s.Spans == nil {
			s.Spans = children(n, source, deep)
		}
		return []api.Span{s}
	}
	plain := func(s string) []api.Span { return []api.Span{{Kind: api.SpanText, Text: s}} }
	switch n := n.(type) {
	case *ast.Text:
		s := string(n.Value(source))
		if !n.IsRaw() {
			s = unescaped(s)
		}
		switch {
		case n.HardLineBreak():
			return []api.Span{{Kind: api.SpanText, Text: s}, {Kind: api.SpanBreak}}
		case n.SoftLineBreak():
			s += "\n"
		}
		return plain(s)
	case *ast.String:
		return plain(string(n.Value))
	case *ast.CodeSpan:
		return []api.Span{{Kind: api.SpanCode, Text: strings.ReplaceAll(string(raw(n, source)), "\n", " ")}}
	case *ast.Emphasis:
		if n.Level >= 2 {
			return one(api.Span{Kind: api.SpanStrong})
		}
		return one(api.Span{Kind: api.SpanEmphasis})
	case *extast.Strikethrough:
		return one(api.Span{Kind: api.SpanStrike})
	case *ast.Link:
		return link(string(n.Destination), children(n, source, deep))
	case *ast.Image: // nobody fetches it
		return link(string(n.Destination), children(n, source, deep))
	case *ast.AutoLink:
		return plain("<" + string(n.Label(source)) + ">")
	case *ast.RawHTML:
		return plain(string(n.Segments.Value(source)))
	case *ast.HTMLBlock:
		s := string(lines(n, source))
		if n.HasClosure() {
			s += string(n.ClosureLine.Value(source))
		}
		return []api.Span{{Kind: api.SpanParagraph, Spans: plain(s)}}
	case *ast.Paragraph, *ast.TextBlock:
		return one(api.Span{Kind: api.SpanParagraph})
	case *ast.Heading:
		return one(api.Span{Kind: api.SpanHeading, Level: n.Level})
	case *ast.Blockquote:
		return one(api.Span{Kind: api.SpanQuote})
	case *ast.List:
		return one(api.Span{Kind: api.SpanList, Ordered: n.IsOrdered(), Start: n.Start})
	case *ast.ListItem:
		return one(api.Span{Kind: api.SpanItem})
	case *ast.ThematicBreak:
		return []api.Span{{Kind: api.SpanRule}}
	case *ast.FencedCodeBlock:
		return []api.Span{{Kind: api.SpanCodeBlock, Text: string(lines(n, source)), Language: string(n.Language(source))}}
	case *ast.CodeBlock:
		return []api.Span{{Kind: api.SpanCodeBlock, Text: string(lines(n, source))}}
	case *extast.TaskCheckBox:
		return []api.Span{{Kind: api.SpanTask, Checked: n.IsChecked}}
	case *extast.Table:
		return one(api.Span{Kind: api.SpanTable})
	case *extast.TableHeader:
		return one(api.Span{Kind: api.SpanRow, Header: true})
	case *extast.TableRow:
		return one(api.Span{Kind: api.SpanRow})
	case *extast.TableCell:
		return one(api.Span{Kind: api.SpanCell})
	}
	return children(n, source, deep)
}

// link gives a link whose address is of a kind that does no harm; of any other only its text.
func link(to string, words []api.Span) []api.Span {
	if user, ok := strings.CutPrefix(to, content.UserPrefix); ok {
		return []api.Span{{Kind: api.SpanMention, User: user, Spans: words}}
	}
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "mailto" {
		return words
	}
	return []api.Span{{Kind: api.SpanLink, URL: u.String(), Spans: words}}
}

func lines(n ast.Node, source []byte) []byte { return n.Lines().Value(source) }

func raw(n ast.Node, source []byte) (out []byte) {
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		if t, ok := c.(*ast.Text); ok {
			out = append(out, t.Value(source)...)
		}
	}
	return out
}

// unescaped resolves the escapes of Markdown and the entities of HTML in a text.
func unescaped(s string) string {
	var out strings.Builder
	for {
		i := strings.IndexByte(s, '\\')
		if i < 0 || i+1 == len(s) {
			break
		}
		literal := 1
		if util.IsPunct(s[i+1]) {
			literal = 2
		}
		out.WriteString(resolved(s[:i]))
		out.WriteString(s[i+literal-1 : i+literal])
		s = s[i+literal:]
	}
	out.WriteString(resolved(s))
	return out.String()
}

func resolved(s string) string {
	return string(util.ResolveEntityNames(util.ResolveNumericReferences([]byte(s))))
}

// mentioned completes "@name" in a text by a link to the member whose name that is, where it can
// be no other's. The text is Markdown then, and reads as it did; it is left alone if nobody is
// named, or if Markdown would take it for something else.
func mentioned(source string, isMarkdown bool, members []api.Candidate) (string, bool) {
	if !strings.Contains(source, "@") || !isMarkdown && indented.MatchString(source) {
		return source, isMarkdown
	}
	names := api.NamesOf(members...)
	found := false
	var out strings.Builder
	text := func(s string) {
		if !isMarkdown {
			s = strings.ReplaceAll(punctuation.ReplaceAllString(s, `\$0`), "\n", "\\\n")
			s = strings.ReplaceAll(s, "\\\n\\\n", "\n\n")
		}
		out.WriteString(s)
	}
	rest := source
	for {
		i := strings.IndexByte(rest, '@')
		if i < 0 {
			break
		}
		before, _ := utf8.DecodeLastRuneInString(rest[:i])
		member, length := api.Candidate{}, 0
		if !inWord(before) {
			member, length = namedAt(rest[i+1:], members, names)
		}
		if length == 0 {
			text(rest[:i+1])
			rest = rest[i+1:]
			continue
		}
		found = true
		text(rest[:i])
		out.WriteString("[" + punctuation.ReplaceAllString(rest[i:i+1+length], `\$0`) + "](" + content.UserPrefix + member.ID + ")")
		rest = rest[i+1+length:]
	}
	text(rest)
	if !found {
		return source, isMarkdown
	}
	return out.String(), true
}

var (
	punctuation = regexp.MustCompile("[[:punct:]]")
	indented    = regexp.MustCompile(`(?m)^(?: {2,}|\t)`)
)

// namedAt finds the member with the longest name that a text begins with, and the length of
// that in the text; 0: none, or a name that could be taken for another's.
func namedAt(text string, members []api.Candidate, names *api.Names) (member api.Candidate, length int) {
	for _, m := range members {
		n := len(m.Name)
		if n <= length || n > len(text) || !strings.EqualFold(text[:n], m.Name) {
			continue
		}
		if last, _ := utf8.DecodeLastRuneInString(m.Name); !edge(last, firstRune(text[n:])) {
			continue
		}
		member, length = m, n
	}
	if length > 0 && names.Doubt(member) != "" {
		return member, 0
	}
	return member, length
}

func firstRune(s string) rune {
	r, _ := utf8.DecodeRuneInString(s)
	return r
}
