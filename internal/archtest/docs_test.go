package archtest

import (
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every test that the documents name exists: a defence or a bound that is not tested any
// more is not claimed.
func TestDocumentsNameTests(t *testing.T) {
	root := os.DirFS("../..")
	tests := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)\w+)\(`)
	if err := fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := fs.ReadFile(root, path)
		for _, m := range function.FindAllSubmatch(b, -1) {
			tests[string(m[1])] = true
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	docs, err := fs.Glob(root, "docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	if len(docs) < 10 {
		t.Errorf("docs has %d documents", len(docs))
	}
	least := map[string]int{"docs/SECURITY.md": 150, "docs/AUTHORITY.md": 20, "docs/LIMITS.md": 15, "docs/SECRETS.md": 20, "README.md": 1}
	for _, doc := range append(docs, "README.md") {
		text, err := fs.ReadFile(root, doc)
		if err != nil {
			t.Fatal(err)
		}
		named := regexp.MustCompile("`((?:Test|Benchmark|Fuzz)\\w+)`").FindAllSubmatch(text, -1)
		if len(named) < least[doc] {
			t.Errorf("%s names %d tests", doc, len(named))
		}
		for _, m := range named {
			if !tests[string(m[1])] {
				t.Errorf("%s names %s, which there is not", doc, m[1])
			}
		}
	}
}

// The table of docs/ARCHITECTURE.md has the packages of the layout and their arrows, the
// pure ones in italics.
func TestArchitectureDrawsTheLayout(t *testing.T) {
	doc, err := os.ReadFile("../../docs/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| (\\*?)`([\\w/]+)`\\*? \\|.*\\|(?: (.*) )?\\|$")
	_, table, _ := strings.Cut(string(doc), "## The map")
	table, _, _ = strings.Cut(table, "\n## ")
	drawn := map[string]Row{}
	for _, m := range row.FindAllStringSubmatch(table, -1) {
		r := Row{Pure: m[1] != ""}
		for _, to := range regexp.MustCompile("`([\\w/]+)`").FindAllStringSubmatch(m[3], -1) {
			r.Imports = append(r.Imports, to[1])
		}
		drawn[m[2]] = r
	}
	for _, dir := range slices.Sorted(maps.Keys(Layout)) {
		want, got := Layout[dir], drawn[dir]
		slices.Sort(got.Imports)
		if imports := slices.Sorted(slices.Values(want.Imports)); !slices.Equal(got.Imports, imports) || got.Pure != want.Pure {
			t.Errorf("docs/ARCHITECTURE.md, The map: %s imports %q, pure: %v; layout.go says %q, %v", dir, got.Imports, got.Pure, imports, want.Pure)
		}
		if _, ok := drawn[dir]; !ok {
			t.Errorf("docs/ARCHITECTURE.md, The map, has no row for %s", dir)
		}
	}
	if len(drawn) != len(Layout) {
		t.Errorf("docs/ARCHITECTURE.md, The map, has %d packages, layout.go has %d", len(drawn), len(Layout))
	}
}

// Every file that these documents name exists, and declares the methods that stand before it
// ("`Machine.send` in `send.go`"). A name without a folder is that of a file in node/group
// or below.
func TestDocumentsNameFiles(t *testing.T) {
	root := os.DirFS("../..")
	files := map[string][]string{} // by name, with and without folder → paths
	if err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return enter(root, name)
		case path.Ext(name) == ".go":
			files[name] = []string{name}
			if strings.HasPrefix(name, "node/group/") {
				files[path.Base(name)] = append(files[path.Base(name)], name)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	file := regexp.MustCompile("`([\\w./-]+\\.go)`")
	placed := regexp.MustCompile("((?:`\\w+\\.\\w+`,\\s)*`\\w+\\.\\w+`)\\sin\\s`([\\w./-]+\\.go)`")
	method := regexp.MustCompile("`(\\w+)\\.(\\w+)`")
	for doc, least := range map[string][2]int{"docs/ARCHITECTURE.md": {50, 20}, "docs/DECISIONS.md": {3, 0}, "README.md": {50, 0}} {
		text, err := fs.ReadFile(root, doc)
		if err != nil {
			t.Fatal(err)
		}
		named := file.FindAllSubmatch(text, -1)
		for _, m := range named {
			if files[string(m[1])] == nil {
				t.Errorf("%s names %s, which there is not", doc, m[1])
			}
		}
		methods := 0
		for _, m := range placed.FindAllSubmatch(text, -1) {
			var code []byte
			for _, name := range files[string(m[2])] {
				b, err := fs.ReadFile(root, name)
				if err != nil {
					t.Fatal(err)
				}
				code = append(code, b...)
			}
			for _, f := range method.FindAllSubmatch(m[1], -1) {
				methods++
				if !regexp.MustCompile(`(?m)^func \((\w+ )?\*?` + string(f[1]) + `\) ` + string(f[2]) + `\(`).Match(code) {
					t.Errorf("%s: there is no %s.%s in %s", doc, f[1], f[2], m[2])
				}
			}
		}
		if len(named) < least[0] || methods < least[1] {
			t.Errorf("%s names %d files and %d methods, fewer than %v", doc, len(named), methods, least)
		}
	}
}
