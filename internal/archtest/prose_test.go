package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// riddle matches a sentence that opens with a free relative clause, as "Who is
// removed sends nothing" does. Questions do not count.
var riddle = regexp.MustCompile(`^(Who|Whom|What|Whose|Whoever|Whomever|Whatever) [^?]*$`)

// riddles gives the sentences of a paragraph that open with a free relative clause.
func riddles(paragraph string) []string {
	var found []string
	for _, s := range sentences(strings.Join(strings.Fields(paragraph), " ")) {
		if riddle.MatchString(strings.TrimLeft(s, "*_(\"`>")) {
			found = append(found, s)
		}
	}
	return found
}

// sentences splits a line of text after each '.', '!' and '?' that a space follows.
func sentences(text string) []string {
	var out []string
	start := 0
	for _, end := range regexp.MustCompile(`[.!?][)*_"]* `).FindAllStringIndex(text, -1) {
		out = append(out, text[start:end[1]-1])
		start = end[1]
	}
	return append(out, text[start:])
}

// paragraphs of a Markdown file: its blocks, list items and table cells, without
// headings and code.
func paragraphs(markdown string) []string {
	var out []string
	block := ""
	end := func() { out, block = append(out, block), "" }
	code := false
	for line := range strings.Lines(markdown) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "```"):
			end()
			code = !code
		case code:
		case line == "" || strings.HasPrefix(line, "#"):
			end()
		case strings.HasPrefix(line, "|"):
			end()
			for cell := range strings.SplitSeq(line, "|") {
				out = append(out, strings.TrimSpace(cell))
			}
		case strings.HasPrefix(line, "- ") || strings.HasPrefix(line, "* "):
			end()
			block = line[2:]
		default:
			block += " " + line
		}
	}
	end()
	return out
}

// commentsOf gives the paragraphs of the comments of a Go file.
func commentsOf(f *ast.File) []string {
	var out []string
	for _, g := range f.Comments {
		for p := range strings.SplitSeq(g.Text(), "\n\n") {
			if !strings.HasPrefix(p, "#") {
				out = append(out, p)
			}
		}
	}
	return out
}

// house gives the folder that a folder is counted with: what the house of the group
// machine, or of the node, is made of is counted with it.
func house(dir string) string {
	_, rest, ok := strings.Cut(dir, "node/group/")
	switch {
	case ok && rest != "roster" && !strings.HasPrefix(rest, "roster/"):
		return "node/group"
	case dir == "node/admission":
		return "node"
	}
	return dir
}

// prose gives the riddles of each folder of the project.
func prose(root fs.FS) (map[string][]string, error) {
	out := map[string][]string{}
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := path.Base(name); name != "." && (base[0] == '.' || base[0] == '_') {
				return fs.SkipDir
			}
			return nil
		}
		var found []string
		switch path.Ext(name) {
		case ".md", ".go":
			text, err := fs.ReadFile(root, name)
			if err != nil {
				return err
			}
			found = paragraphs(string(text))
			if path.Ext(name) == ".go" {
				f, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ParseComments|parser.SkipObjectResolution)
				if err != nil {
					return err
				}
				found = commentsOf(f)
			}
		}
		for _, p := range found {
			for _, r := range riddles(p) {
				of := house(path.Dir(name))
				out[of] = append(out[of], name+": "+r)
			}
		}
		return nil
	})
	return out, err
}

// Comments and documents say what does something first: subject, verb, object. The
// bounds may only shrink.
func TestSentencesOpenWithTheirSubject(t *testing.T) {
	bounds := map[string]int{"node": 3, "node/group": 3}
	const elsewhere = 5
	found, err := prose(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	rest := 0
	for _, dir := range slices.Sorted(maps.Keys(found)) {
		t.Logf("%4d %s", len(found[dir]), dir)
		bound, own := bounds[dir]
		if !own {
			rest += len(found[dir])
		} else if n := len(found[dir]); n > bound {
			t.Errorf("%s: %d sentences open with Who, Whom, What or Whose and a clause, and at most %d may:\n%s", dir, n, bound, strings.Join(found[dir], "\n"))
		}
	}
	if rest > elsewhere {
		for dir, r := range found {
			if _, own := bounds[dir]; !own {
				t.Log(strings.Join(r, "\n"))
			}
		}
		t.Errorf("%d sentences elsewhere open with Who, Whom, What or Whose and a clause, and at most %d may", rest, elsewhere)
	}
}

// Documents fit into a terminal, but for their tables and what stands in code.
func TestLinesOfDocuments(t *testing.T) {
	root := os.DirFS("../..")
	files, err := fs.Glob(root, "docs/*.md")
	if err != nil || len(files) < 5 {
		t.Fatalf("%d documents: %v", len(files), err)
	}
	for _, name := range append(files, "README.md") {
		text, err := fs.ReadFile(root, name)
		if err != nil {
			t.Fatal(err)
		}
		code, n := false, 0
		for line := range strings.Lines(string(text)) {
			n++
			code = code != strings.HasPrefix(line, "```")
			if size := utf8.RuneCountInString(strings.TrimSpace(line)); size > 100 && !code &&
				!strings.HasPrefix(line, "|") && !strings.HasPrefix(line, "![") {
				t.Errorf("%s:%d has %d characters, and at most 100 may be", name, n, size)
			}
		}
	}
}

func TestRiddles(t *testing.T) {
	for text, want := range map[string]int{
		"Who was removed comes back only by an invite.":                      1,
		"A word. Whose addition is void removes nobody.":                     1,
		"A word: whom it asks. (What is left is kept.)":                      1,
		"**Whoever comes late waits.** What helps? Whatever there is helps.": 2,
		"Who is it? What now?":                                               0,
		"The member who waits is told. Whole nodes run.":                     0,
	} {
		if got := riddles(text); len(got) != want {
			t.Errorf("%q: %q, want %d", text, got, want)
		}
	}
	text := "# What is kept\n\nOne line.\nWhat is kept\nis kept.\n\n- What is one\n- two\n\n| what | What is three |\n\n```\nWhat is code\n```\n"
	n := 0
	for _, p := range paragraphs(text) {
		n += len(riddles(p))
	}
	if n != 3 {
		t.Errorf("%d in %q, want 3", n, paragraphs(text))
	}
}
