package archtest

import (
	"bytes"
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

// Size is how large a type is. The members of embedded types of the same package count
// too, since a reader of the type meets them all.
type Size struct{ Fields, Methods int }

// Sizes gives the types that a package declares, tests excepted, and the lines of its
// files.
func Sizes(root fs.FS, dir string) (types map[string]Size, lines map[string]int, err error) {
	names, err := fs.Glob(root, path.Join(dir, "*.go"))
	if err != nil {
		return nil, nil, err
	}
	own := make(map[string]Size)
	embedded := make(map[string][]string)
	lines = make(map[string]int)
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return nil, nil, err
		}
		lines[path.Base(name)] = bytes.Count(text, []byte{'\n'})
		f, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
		if err != nil {
			return nil, nil, err
		}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if r := receiver(d); r != "" {
					s := own[r]
					s.Methods++
					own[r] = s
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					if t, ok := spec.(*ast.TypeSpec); ok {
						s := own[t.Name.Name]
						more, inside := declared(t.Type)
						own[t.Name.Name] = Size{s.Fields + more.Fields, s.Methods + more.Methods}
						embedded[t.Name.Name] = inside
					}
				}
			}
		}
	}
	types = make(map[string]Size, len(own))
	for name := range own {
		types[name] = withEmbedded(name, own, embedded, map[string]bool{})
	}
	return types, lines, nil
}

// declared counts the members that a type's declaration lists, and names the types that
// it embeds.
func declared(t ast.Expr) (s Size, embedded []string) {
	switch t := t.(type) {
	case *ast.StructType:
		for _, f := range t.Fields.List {
			s.Fields += max(len(f.Names), 1)
			if len(f.Names) == 0 {
				embedded = append(embedded, named(f.Type))
			}
		}
	case *ast.InterfaceType:
		for _, f := range t.Methods.List {
			s.Methods += len(f.Names)
			if len(f.Names) == 0 {
				embedded = append(embedded, named(f.Type))
			}
		}
	}
	return s, embedded
}

func withEmbedded(name string, own map[string]Size, embedded map[string][]string, seen map[string]bool) Size {
	s := own[name]
	if seen[name] {
		return Size{}
	}
	seen[name] = true
	for _, e := range embedded[name] {
		more := withEmbedded(e, own, embedded, seen)
		s.Fields += more.Fields
		s.Methods += more.Methods
	}
	return s
}

// receiver names the type that a function is a method of; empty: it is none.
func receiver(d *ast.FuncDecl) string {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return ""
	}
	return named(d.Recv.List[0].Type)
}

// named names a type of the same package; empty: it is of another one, or has no name.
func named(t ast.Expr) string {
	switch t := t.(type) {
	case *ast.Ident:
		return t.Name
	case *ast.StarExpr:
		return named(t.X)
	case *ast.IndexExpr:
		return named(t.X)
	case *ast.IndexListExpr:
		return named(t.X)
	}
	return ""
}

// Unused gives the exported names of a package that no other package uses, sorted: types,
// functions, variables and constants by their name, methods of exported types as
// Type.Method. Its own external tests and examples count as users. It reads names, no
// types: a method is used where a package that imports this one selects its name, or where
// an interface asks for it, be it of the project or one of those listed in called.
func Unused(root fs.FS, module, dir string) ([]string, error) {
	u := &users{path: module + "/" + dir, names: map[string]bool{}, asked: maps.Clone(called), selected: map[string]map[string]bool{}, importing: map[string]bool{}}
	exported := make(map[string]bool)
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
		f, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		inside := path.Dir(name) == dir && !strings.HasSuffix(f.Name.Name, "_test")
		if !inside {
			u.file(path.Dir(name), f)
			return nil
		}
		if !strings.HasSuffix(name, "_test.go") {
			exports(f, exported)
		}
		u.interfaces(f)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for d := range u.importing {
		maps.Copy(u.asked, u.selected[d])
	}
	var out []string
	for name := range exported {
		if t, method, ok := strings.Cut(name, "."); !ok && !u.names[name] || ok && ast.IsExported(t) && !u.asked[method] {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out, nil
}

// called are methods that other modules call through their interfaces.
var called = map[string]bool{
	"Error": true, "Unwrap": true, "Is": true, "As": true, "String": true, "GoString": true, "Format": true, "LogValue": true,
	"Read": true, "Write": true, "Close": true, "MarshalText": true, "UnmarshalText": true, "MarshalJSON": true, "UnmarshalJSON": true,
	"MarshalCBOR": true, "UnmarshalCBOR": true, "Validate": true, "Select": true, // a validator of DHT records
}

// exports notes the exported names of one file, and the methods as Type.Method.
func exports(f *ast.File, exported map[string]bool) {
	note := func(n *ast.Ident) {
		if n.IsExported() {
			exported[n.Name] = true
		}
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if r := receiver(d); r == "" {
				note(d.Name)
			} else if d.Name.IsExported() {
				exported[r+"."+d.Name.Name] = true
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					note(spec.Name)
				case *ast.ValueSpec:
					for _, n := range spec.Names {
						note(n)
					}
				}
			}
		}
	}
}

// users is what the rest of the project uses of a package.
type users struct {
	path      string // the package's import path
	names     map[string]bool
	asked     map[string]bool            // methods that interfaces ask for
	selected  map[string]map[string]bool // names that are selected of a value, by directory
	importing map[string]bool            // directories that import the package
}

// file notes what one file outside of the package uses.
func (u *users) file(dir string, f *ast.File) {
	u.interfaces(f)
	as := ""
	for _, spec := range f.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil && p == u.path {
			u.importing[dir] = true
			if as = path.Base(p); spec.Name != nil {
				as = spec.Name.Name
			}
		}
	}
	if u.selected[dir] == nil {
		u.selected[dir] = make(map[string]bool)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := s.X.(*ast.Ident); ok && x.Name == as {
			u.names[s.Sel.Name] = true
		} else {
			u.selected[dir][s.Sel.Name] = true
		}
		return true
	})
}

// interfaces notes the methods that interfaces of a file ask for.
func (u *users) interfaces(f *ast.File) {
	ast.Inspect(f, func(n ast.Node) bool {
		if i, ok := n.(*ast.InterfaceType); ok {
			for _, m := range i.Methods.List {
				for _, name := range m.Names {
					u.asked[name.Name] = true
				}
			}
		}
		return true
	})
}
