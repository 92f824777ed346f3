package archtest

import (
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"go/types"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// secretRow is a line of the table in docs/SECRETS.md, names as the code has them:
// package.Type, package.Type.Field, package.Func, package.Type.Method.
type secretRow struct{ places, born, cleared, tests []string }

// readSecrets reads the table: the names in the second to fifth column of each line.
func readSecrets(doc string) (rows []secretRow) {
	named := regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(doc) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 7 || strings.HasPrefix(cells[1], "-") || strings.Contains(cells[5], " test ") {
			continue
		}
		var of [4][]string
		for i := range of {
			for _, m := range named.FindAllStringSubmatch(cells[i+2], -1) {
				of[i] = append(of[i], m[1])
			}
		}
		rows = append(rows, secretRow{of[0], of[1], of[2], of[3]})
	}
	return rows
}

// Names that a secret may have, and what a comment says of one.
var (
	secretName    = regexp.MustCompile(`(?i)secret|private|seed|passphrase|password|signer|key|psk|kek|salt|transport|token`)
	secretComment = regexp.MustCompile(`(?i)\b(secret|private key|seed)\b`)
	secretType    = regexp.MustCompile(`byte|PrivKey|PrivateKey`)
)

// secretsIn gives the places of a package where a secret may lie: fields and types of bytes
// that have the name of one or are said to be one, and types that do not print what they hold.
func secretsIn(dir string, files []*ast.File) (places []string) {
	add := func(name string) { places = append(places, dir+"."+name) }
	for _, f := range files {
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv != nil && d.Name.Name == "LogValue" {
					add(strings.TrimSuffix(methodOf(d), "."))
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					t, ok := s.(*ast.TypeSpec)
					if !ok {
						continue
					}
					st, ok := t.Type.(*ast.StructType)
					if !ok {
						if secretName.MatchString(t.Name.Name) && secretType.MatchString(types.ExprString(t.Type)) {
							add(t.Name.Name)
						}
						continue
					}
					for _, field := range st.Fields.List {
						if !secretType.MatchString(types.ExprString(field.Type)) {
							continue
						}
						for _, n := range field.Names {
							if secretName.MatchString(n.Name) || secretComment.MatchString(field.Comment.Text()) {
								add(t.Name.Name + "." + n.Name)
							}
						}
					}
				}
			}
		}
	}
	return places
}

// comparison is one, and the name in it that is not among those of public values.
type comparison struct {
	at         token.Position
	text, name string
}

// comparisons says which values files compare in a time that depends on their content, and
// whose names are not among those of public values. Comparisons of secrets take
// crypto/subtle or hmac.Equal.
func comparisons(fset *token.FileSet, files []*ast.File, public map[string]bool) (wrong []comparison) {
	comparing := map[string]bool{
		"bytes.Equal": true, "slices.Equal": true,
		"reflect.DeepEqual": true,
	}
	onlySecret := regexp.MustCompile(`(?i)^(\w*secret|seed|private|passphrase|signer|kek|mac)$`)
	say := func(at ast.Node, name string) {
		var text strings.Builder
		_ = printer.Fprint(&text, fset, at)
		wrong = append(wrong, comparison{fset.Position(at.Pos()), text.String(), name})
	}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if !comparing[types.ExprString(n.Fun)] {
					return true
				}
				for _, arg := range n.Args {
					if name := operand(arg); name != "" && !public[name] {
						say(n, name)
					}
				}
			case *ast.BinaryExpr:
				if n.Op != token.EQL && n.Op != token.NEQ || types.ExprString(n.Y) == "nil" || isLiteral(n.Y) {
					return true
				}
				for _, side := range []ast.Expr{n.X, n.Y} {
					if name := operand(side); onlySecret.MatchString(name) && !public[name] {
						say(n, name)
					}
				}
			}
			return true
		})
	}
	return wrong
}

func isLiteral(e ast.Expr) bool { _, ok := e.(*ast.BasicLit); return ok }

// operand gives the name of what is compared: of the variable, the field or the function that
// gives it; empty for a constant.
func operand(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	case *ast.CallExpr:
		if len(e.Args) == 1 {
			if _, conversion := e.Fun.(*ast.ArrayType); conversion || types.ExprString(e.Fun) == "string" {
				return operand(e.Args[0])
			}
		}
		return operand(e.Fun)
	case *ast.SliceExpr:
		return operand(e.X)
	case *ast.IndexExpr:
		return operand(e.X)
	case *ast.StarExpr:
		return operand(e.X)
	case *ast.UnaryExpr:
		return operand(e.X)
	case *ast.ParenExpr:
		return operand(e.X)
	}
	return ""
}

// parsePackages parses the files that are built into the program, by folder.
func parsePackages(root fs.FS, skip func(dir string) bool) (*token.FileSet, map[string][]*ast.File, error) {
	fset, out := token.NewFileSet(), map[string][]*ast.File{}
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if skip(name) {
				return fs.SkipDir
			}
			return enter(root, name)
		}
		if path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		out[path.Dir(name)] = append(out[path.Dir(name)], f)
		return nil
	})
	return fset, out, err
}

// covers says whether rows have a place: itself, or the type that it is of.
func covers(rows []secretRow, place string) bool {
	return slices.ContainsFunc(rows, func(r secretRow) bool {
		return slices.ContainsFunc(r.places, func(p string) bool { return p == place || strings.HasPrefix(place, p+".") })
	})
}

// methodOf gives the type of a method with a dot behind it; empty for a function.
func methodOf(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return ""
	}
	t := d.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if id, ok := t.(*ast.Ident); ok {
		return id.Name + "."
	}
	return ""
}
