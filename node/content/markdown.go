package content

import (
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	mdtext "github.com/yuin/goldmark/text"

	"github.com/pandanode/pandanode/node/wire"
)

// markdown reads GFM without autolinks. It has no renderer: HTML is shown as text.
var markdown = goldmark.New(
	goldmark.WithExtensions(extension.Table, extension.Strikethrough, extension.TaskList),
	goldmark.WithParserOptions(parser.WithEscapedSpace()),
).Parser()

// Bounds of Markdown that is parsed: others write it. A text that exceeds one is shown as it stands.
const (
	MaxMarkdown = 16 << 10 // bytes
	maxNested   = 16       // characters that open something, in a row or in a line's beginning
)

// ParseMarkdown reads a text in Markdown; nil: it exceeds a bound, and is shown as it stands.
func ParseMarkdown(source []byte) ast.Node {
	if len(source) > MaxMarkdown || nested(string(source)) {
		return nil
	}
	return markdown.Parse(mdtext.NewReader(source))
}

// nested says whether a text opens so much in one place that parsing it could take long.
func nested(source string) bool {
	for line := range strings.Lines(source) {
		opens := 0
		for _, r := range line {
			if strings.ContainsRune(" \t", r) {
				continue
			}
			if !strings.ContainsRune(">-+*", r) && (r < '0' || r > '9') && r != '.' && r != ')' {
				break
			}
			opens++
		}
		if opens > 2*maxNested {
			return true
		}
	}
	run := 0
	for _, r := range source {
		if strings.ContainsRune("[]*_~!`<(", r) {
			if run++; run > 4*maxNested {
				return true
			}
		} else {
			run = 0
		}
	}
	return false
}

// mentionsIn lists the users that a text in Markdown links to, in their order: as it is drawn,
// so that what stands in code is no link.
func mentionsIn(source []byte) (out []wire.UserID) {
	if !strings.Contains(string(source), UserPrefix) {
		return nil
	}
	tree := ParseMarkdown(source)
	if tree == nil {
		return nil
	}
	_ = ast.Walk(tree, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		var to []byte
		switch n := n.(type) {
		case *ast.Link:
			to = n.Destination
		case *ast.Image: // drawn as a link
			to = n.Destination
		}
		if id, ok := strings.CutPrefix(string(to), UserPrefix); ok && entering {
			if u, err := wire.ParseUserID(id); err == nil {
				out = append(out, u)
			}
		}
		return ast.WalkContinue, nil
	})
	return out
}
