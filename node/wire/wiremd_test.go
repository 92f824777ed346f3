package wire

import (
	"errors"
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// document is docs/WIRE.md of the module that this package is in.
func document(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if parent := filepath.Dir(dir); parent != dir {
			dir = parent
			continue
		}
		t.Fatal("no go.mod above this package")
	}
	b, err := os.ReadFile(filepath.Join(dir, "docs", "WIRE.md")) //nolint:gosec // of this module
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// constants are the typed and untyped constants of a file that imports nothing of
// the project.
func constants(t *testing.T, file string) map[string]string {
	t.Helper()
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	// Functions need the rest of the package; constants do not.
	var decls []ast.Decl
	for _, d := range f.Decls {
		if _, ok := d.(*ast.FuncDecl); !ok {
			decls = append(decls, d)
		}
	}
	f.Decls = decls
	config := types.Config{Error: func(error) {}}             // imports stay unresolved: constants do not need them
	pkg, _ := config.Check("wire", fset, []*ast.File{f}, nil) //nolint:errcheck // see Error above
	values := make(map[string]string)
	for _, name := range pkg.Scope().Names() {
		if c, ok := pkg.Scope().Lookup(name).(*types.Const); ok && c.Val().Kind() != constant.Unknown {
			values[name] = strings.Trim(c.Val().ExactString(), `"`)
		}
	}
	return values
}

// notation writes a type as the document does.
func notation(typ reflect.Type) string {
	switch typ.Kind() {
	case reflect.Pointer:
		return notation(typ.Elem())
	case reflect.Array:
		return fmt.Sprintf("b%d", typ.Len())
	case reflect.Slice:
		if typ.Implements(reflect.TypeFor[cbor.Marshaler]()) {
			return typ.Name()
		}
		if typ.Elem().Kind() == reflect.Uint8 {
			return "bytes"
		}
		return "[" + notation(typ.Elem()) + "]"
	case reflect.Struct:
		return typ.Name()
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "bool"
	case reflect.Uint16:
		return "u16"
	case reflect.Uint64:
		return "u64"
	}
	return "?" + typ.String()
}

// layout writes a struct's keys as the document does, and collects the structs in it.
func layout(typ reflect.Type, inner map[reflect.Type]bool) string {
	var fields []string
	for i := range typ.NumField() {
		f := typ.Field(i)
		parts := strings.Split(f.Tag.Get("cbor"), ",")
		field := parts[0] + " " + f.Name + " " + notation(f.Type)
		if len(parts) > 2 {
			field += "?"
		}
		fields = append(fields, field)
		in := f.Type
		for in.Kind() == reflect.Pointer || in.Kind() == reflect.Slice {
			in = in.Elem()
		}
		if in.Kind() == reflect.Struct {
			inner[in] = true
		}
	}
	return strings.Join(fields, " · ")
}

// The document holds every object with its keys and types, every limit, domain,
// protocol ID and golden value.
func TestDocument(t *testing.T) {
	doc := document(t)
	missing := func(what, text string) {
		t.Helper()
		if !strings.Contains(doc, text) {
			t.Errorf("docs/WIRE.md lacks %s: %s", what, text)
		}
	}
	done := layouts()
	for name, keys := range done {
		missing("an object", fmt.Sprintf("| `%s` | %s |", name, keys))
	}
	limits, domains := constants(t, "limits.go"), constants(t, "domain.go")
	for name, value := range limits {
		missing("a limit", fmt.Sprintf("| `%s` | %s |", name, value))
	}
	for _, name := range []string{"ProtocolSync", "ProtocolJoin", "ProtocolFind", "ProtocolMail", "ProtocolTwin", "ProtocolHand", "ProtocolBlob", "ProtocolMailBlob", "ProtocolDHT"} {
		missing("a protocol", "`"+constants(t, "stream.go")[name]+"`")
	}
	for name, value := range domains {
		if name != "Version" {
			missing("a domain", "| `"+value+"` |")
		}
	}
	missing("the extension", fmt.Sprintf("`0x%04X`", ExtensionJoinSecrets))
	values := golden(t)
	for name, value := range values {
		if len(value) <= 160 {
			missing("a golden value", fmt.Sprintf("| `%s` | `%s` |", name, value))
		} else {
			missing("a golden name", "`"+name+"`")
		}
	}
	// Every golden value of the document is a real one: no row outlives its value.
	rows := regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| `([^`]*)` \\|").FindAllStringSubmatch(doc, -1)
	for _, row := range rows {
		if values[row[1]] != row[2] {
			t.Errorf("docs/WIRE.md: %s is not %s", row[1], row[2])
		}
	}
	if len(done) < 35 || len(limits) < 35 || len(domains) < 20 || len(values) < 55 || len(rows) < 30 {
		t.Errorf("the test did not test: %d objects, %d limits, %d domains, %d golden values, %d rows", len(done), len(limits), len(domains), len(values), len(rows))
	}
}

// Nothing uses what the document reserves: three protocol IDs are neither among those that are
// opened and answered nor in the table of conversations, and two operation types are a later
// version's.
func TestReserved(t *testing.T) {
	doc := strings.Join(strings.Fields(document(t)), " ")
	_, reserves, _ := strings.Cut(doc, " Reserved are ")
	reserves, _, found := strings.Cut(reserves, " No program of version 2 opens or answers them")
	if names := regexp.MustCompile("`/panda/[a-z]+/1` \\(").FindAllString(reserves, -1); !found || len(names) != 3 {
		t.Fatalf("docs/WIRE.md reserves %q", names)
	}
	used := constants(t, "stream.go")
	for _, p := range []string{"/panda/link/1", "/panda/history/1", "/panda/hello/1"} {
		if !strings.Contains(reserves, "`"+p+"` (") {
			t.Errorf("docs/WIRE.md does not reserve %s", p)
		}
		for name, value := range used {
			if value == p {
				t.Errorf("%s is %s, which is reserved", name, p)
			}
		}
		if slices.Contains(Protocols, p) || strings.Contains(doc, "| `"+p+"` |") {
			t.Errorf("%s is reserved, and used", p)
		}
	}
	if len(used) < len(Protocols) || len(Protocols) < 8 {
		t.Errorf("the test did not test: %d constants, %d protocols", len(used), len(Protocols))
	}
	for of, note := range map[OpType]string{14: "operation types 14 (`device.recover`: a user", 15: "and 15 (a revocation of a device that its user's key signs)"} {
		if !strings.Contains(doc, note) {
			t.Errorf("docs/WIRE.md does not reserve operation type %d: %q", of, note)
		}
		op := []byte{0xa2, 1, byte(of), 0x16, 0xf5}
		if _, err := DecodeOp(op); !errors.Is(err, ErrVersion) || of <= lastOpType {
			t.Errorf("operation type %d is not of a later program: %v", of, err)
		}
	}
}
