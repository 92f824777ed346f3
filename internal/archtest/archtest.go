// Package archtest guards the map of the project: which package may import which, which
// packages are pure, that each package says what it is for, and that no code sleeps except
// in virtual time. The map is the table in layout.go; docs/ARCHITECTURE.md draws it. A new
// package is drawn there first, then gets its row, then is written.
//
// It counts, too: how large the types and files of some packages are, and which exported names
// nobody outside uses (counts.go).
//
// It parses the files of the module itself, test files and files for other systems
// included. It does not look at other modules, at testdata, or into the functions of
// the packages it imports: a pure package that calls something impure through an
// allowed import goes unnoticed.
package archtest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Row is the entry of one package in the map. Packages are named by their directory below
// the root of the module.
type Row struct {
	Imports []string // packages of the project that it may import
	Tests   []string // those that its test files may import besides; itself always
	Pure    bool     // no I/O, no clock and no randomness of its own; tests are free
	Planned bool     // drawn but not written yet
}

// Check compares the files of a module with its map. It returns the violations, sorted,
// each with its file and line where there is one.
func Check(root fs.FS, module string, layout map[string]Row) ([]string, error) {
	c := &check{module: module, layout: layout, seen: map[string]*seen{}}
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return enter(root, name)
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		return c.file(name, text)
	})
	if err != nil {
		return nil, err
	}
	c.packages()
	slices.Sort(c.wrong)
	return slices.Compact(c.wrong), nil
}

// enter says whether a directory belongs to the module.
func enter(root fs.FS, name string) error {
	base := path.Base(name)
	if name != "." && (base == "testdata" || base == "vendor" || base[0] == '.' || base[0] == '_') {
		return fs.SkipDir
	}
	if _, err := fs.Stat(root, path.Join(name, "go.mod")); err == nil && name != "." {
		return fs.SkipDir // a module of its own
	}
	return nil
}

type check struct {
	module string
	layout map[string]Row
	seen   map[string]*seen
	wrong  []string
}

// seen holds the facts that Check gathers about one package.
type seen struct {
	name      string
	commented bool
	code      bool // it has files besides tests
	virtual   bool // it imports testing/synctest or internal/simhost: its time is virtual
	sleeps    []string
}

func (c *check) say(format string, args ...any) {
	c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
}

func (c *check) file(name string, text []byte) error {
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, name, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	dir := path.Dir(name)
	test := strings.HasSuffix(name, "_test.go")
	s := c.seen[dir]
	if s == nil {
		s = &seen{}
		c.seen[dir] = s
	}
	if !test {
		s.code, s.name = true, f.Name.Name
		if f.Doc != nil && opens(f.Doc.Text(), f.Name.Name, path.Base(dir)) {
			s.commented = true
		}
	}
	at := func(n ast.Node) string { return files.Position(n.Pos()).String() }
	row := c.layout[dir]
	for _, spec := range f.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return err
		}
		c.arrow(at(spec), dir, p, row, test)
		s.virtual = s.virtual || p == "testing/synctest" || p == c.module+"/internal/simhost"
		if row.Pure && !test {
			if slices.Contains(impureImports, p) {
				c.say("%s: %s is pure and imports %s", at(spec), dir, p)
			}
			if _, watched := impureNames[p]; watched && spec.Name != nil && spec.Name.Name == "." {
				c.say("%s: %s is pure and imports %s with a dot", at(spec), dir, p)
			}
		}
	}
	uses(f, map[string][]string{"time": {"Sleep"}}, func(n ast.Node, _ string) { s.sleeps = append(s.sleeps, at(n)) })
	if !slices.Contains(measuring, dir) {
		ast.Inspect(f, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok && id.Name == measured {
				c.say("%s: %s names a fork choice that is for measurements only", at(id), dir)
			}
			return true
		})
	}
	if row.Pure && !test {
		uses(f, impureNames, func(n ast.Node, what string) { c.say("%s: %s is pure and uses %s", at(n), dir, what) })
	}
	return nil
}

// opens says whether a comment opens as that of a package or a command does.
func opens(doc, pkg, dir string) bool {
	if pkg == "main" {
		return strings.HasPrefix(doc, "Command "+dir+" ")
	}
	return strings.HasPrefix(doc, "Package "+pkg+" ")
}

// arrow checks one import against the map.
func (c *check) arrow(at, dir, imported string, row Row, test bool) {
	if imported != c.module && !strings.HasPrefix(imported, c.module+"/") {
		return
	}
	to := strings.TrimPrefix(strings.TrimPrefix(imported, c.module), "/")
	switch {
	case slices.Contains(row.Imports, to):
	case test && (to == dir || slices.Contains(row.Tests, to)):
	case test:
		c.say("%s: tests of %s may not import %s", at, dir, to)
	default:
		c.say("%s: %s may not import %s", at, dir, to)
	}
}

// impureImports are the packages that a pure package may not import. log/slog is allowed,
// for the LogValue of a secret.
var impureImports = []string{
	"crypto/rand", "io/ioutil", "log", "math/rand", "math/rand/v2", "net", "net/http", "os", "os/exec", "os/signal", "plugin", "syscall",
}

// impureNames are the names that a pure package may not use, by package.
var impureNames = map[string][]string{
	"time":    {"After", "AfterFunc", "NewTicker", "NewTimer", "Now", "Since", "Sleep", "Tick", "Until"},
	"context": {"WithTimeout", "WithTimeoutCause", "WithDeadline", "WithDeadlineCause"},
}

// measured is the field of node/group.Config that switches to another fork choice;
// measuring are the packages that may name it: a node runs ours.
const measured = "Alternative"

var measuring = []string{"node/group", "sim", "node/group/epochs"}

// uses finds where a file uses names of packages, called or not.
func uses(f *ast.File, names map[string][]string, found func(n ast.Node, what string)) {
	local := map[string]string{} // name in the file → import path
	for _, spec := range f.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if _, watched := names[p]; err != nil || !watched {
			continue
		}
		if spec.Name != nil {
			local[spec.Name.Name] = p
		} else {
			local[path.Base(p)] = p
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		sel, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && slices.Contains(names[local[x.Name]], sel.Sel.Name) {
			found(sel, local[x.Name]+"."+sel.Sel.Name)
		}
		return true
	})
}

// packages compares the packages that were seen with the rows.
func (c *check) packages() {
	for _, dir := range slices.Sorted(maps.Keys(c.seen)) {
		s := c.seen[dir]
		row, mapped := c.layout[dir]
		switch {
		case !mapped:
			c.say("%s: the package is not on the map: draw it in docs/ARCHITECTURE.md, then give it a row in internal/archtest/layout.go", dir)
		case row.Planned:
			c.say("%s: the package is there, and its row says that it is planned", dir)
		}
		for _, at := range s.sleeps {
			if !s.virtual {
				c.say("%s: sleeps in real time: wait for what you wait for, with a deadline", at)
			}
		}
		if s.code && !s.commented {
			c.say("%s: no file opens with a comment that begins \"Package %s\", or \"Command %s\" for a command", dir, s.name, path.Base(dir))
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(c.layout)) {
		row := c.layout[dir]
		if c.seen[dir] == nil && !row.Planned {
			c.say("%s: the map has a row for it, and there is no such package", dir)
		}
		for _, to := range slices.Concat(row.Imports, row.Tests) {
			if _, ok := c.layout[to]; !ok {
				c.say("%s: its row names %s, which has none", dir, to)
			}
			if c.layout[dir].Pure && slices.Contains(row.Imports, to) && !c.layout[to].Pure {
				c.say("%s: it is pure and may import %s, which is not", dir, to)
			}
		}
	}
}
