package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// declaredIn gives the names that a package declares at its top: X, and T.M for methods.
func declaredIn(root fs.FS, dir string) (map[string]bool, error) {
	files, err := fs.Glob(root, path.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, name := range files {
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return nil, err
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				names[methodOf(d)+d.Name.Name] = true
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.TypeSpec:
						names[s.Name.Name] = true
					case *ast.ValueSpec:
						for _, id := range s.Names {
							names[id.Name] = true
						}
					}
				}
			}
		}
	}
	return names, nil
}

// missing says what is wrong with a place of the glossary: a folder, a file, or a name
// that a package declares (known keeps them). Nothing: it is there.
func missing(root fs.FS, place string, known map[string]map[string]bool) string {
	_, err := fs.Stat(root, place)
	if err == nil {
		return ""
	}
	dir, base := path.Split(place)
	pkg, name, ok := strings.Cut(base, ".")
	if !ok || strings.HasSuffix(place, ".go") {
		return "there is no such file or folder"
	}
	dir = path.Join(dir, pkg)
	if known[dir] == nil {
		if known[dir], err = declaredIn(root, dir); err != nil {
			return err.Error()
		}
	}
	if !known[dir][name] {
		return "the package declares no " + name
	}
	return ""
}

// The glossary is sorted, has a place for each word, and the places are there.
func TestGlossary(t *testing.T) {
	root := os.DirFS("../..")
	text, err := fs.ReadFile(root, "docs/GLOSSARY.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| ([^|]+) \\| ([^|]+) \\| `([^|`]+)` \\|$").FindAllStringSubmatch(string(text), -1)
	if n := strings.Count(string(text), "\n| ") - 1; len(rows) != n || n < 80 {
		t.Errorf("%d rows of %d have a term, a meaning and a place", len(rows), n)
	}
	known := map[string]map[string]bool{}
	var terms []string
	for _, r := range rows {
		terms = append(terms, strings.ToLower(r[1]))
		if wrong := missing(root, r[3], known); wrong != "" {
			t.Errorf("%s is to be in %s: %s", r[1], r[3], wrong)
		}
	}
	if !slices.IsSorted(terms) || len(slices.Compact(slices.Clone(terms))) != len(terms) {
		sorted := slices.Sorted(slices.Values(terms))
		for i := range terms {
			if terms[i] != sorted[i] {
				t.Fatalf("%q stands where %q should", terms[i], sorted[i])
			}
		}
		t.Error("a term is there twice")
	}
	for place, want := range map[string]bool{
		"node/wire": true, "node/wire/seal.go": true, "node/wire.Seal": true, "node/group.Machine.Step": true,
		"node/nowhere": false, "node/wire/nowhere.go": false, "node/wire.Nothing": false, "node/group.Machine.Nothing": false,
	} {
		if got := missing(root, place, known); (got == "") != want {
			t.Errorf("%s: %q", place, got)
		}
	}
}
