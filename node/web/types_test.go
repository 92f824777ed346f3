package web

import (
	"encoding"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

var update = flag.Bool("update", false, "write the page's types anew")

// The types of the page are those of the routes that it may use.
func TestTypesOfThePage(t *testing.T) {
	t.Parallel()
	seen := map[string]reflect.Type{}
	for _, r := range api.Routes() {
		if api.PageMay(r) {
			collect(r.Response, seen)
		}
	}
	var b strings.Builder
	b.WriteString("// The answers of the routes that the page may use, as node/api has them. Made by\n// `go test ./node/web -run TestTypesOfThePage -update`.\n\n")
	b.WriteString("export interface APIError {\n  code: string\n  message: string\n  hint?: string\n  retryable: boolean\n}\n")
	for _, name := range slices.Sorted(maps.Keys(seen)) {
		fmt.Fprintf(&b, "\nexport interface %s {\n", name)
		for f := range fieldsOf(seen[name]) {
			b.WriteString("  " + f + "\n")
		}
		b.WriteString("}\n")
	}
	const path = "page/src/api.gen.d.ts"
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil { //nolint:gosec // a source
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// The routes may say more than the page knows, and nothing else.
	said, in := map[string]bool{}, ""
	for line := range strings.Lines(b.String()) {
		if strings.HasPrefix(line, "export") {
			in = line
		}
		said[in+line] = true
	}
	lines := 0
	in = ""
	for line := range strings.Lines(string(got)) {
		if strings.HasPrefix(line, "export") {
			in = line
		}
		lines++
		if !said[in+line] {
			t.Errorf("%s: the routes do not say %q of %q: run the test with -update, then make page", path, line, in)
		}
	}
	if len(seen) < 25 || lines < 150 {
		t.Errorf("%d types, %d lines", len(seen), lines)
	}
}

// collect gathers the structs that travel as JSON objects.
func collect(t reflect.Type, seen map[string]reflect.Type) {
	switch {
	case t.Kind() == reflect.Pointer, t.Kind() == reflect.Slice, t.Kind() == reflect.Map:
		collect(t.Elem(), seen)
	case t.Kind() == reflect.Struct && !isText(t) && seen[t.Name()] == nil:
		seen[t.Name()] = t
		for i := range t.NumField() {
			collect(t.Field(i).Type, seen)
		}
	}
}

func isText(t reflect.Type) bool {
	return t == reflect.TypeFor[time.Time]() || t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) || t.Implements(reflect.TypeFor[json.Marshaler]())
}

// fieldsOf gives the fields of a struct as TypeScript has them.
func fieldsOf(t reflect.Type) func(func(string) bool) {
	return func(yield func(string) bool) {
		for i := range t.NumField() {
			f := t.Field(i)
			if f.Anonymous {
				for inner := range fieldsOf(f.Type) {
					if !yield(inner) {
						return
					}
				}
				continue
			}
			name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" || name == "-" {
				continue
			}
			if strings.Contains(options, "omit") {
				name += "?"
			}
			if !yield(name + ": " + typeScript(f.Type)) {
				return
			}
		}
	}
}

func typeScript(t reflect.Type) string {
	switch k := t.Kind(); {
	case isText(t), k == reflect.String:
		return "string"
	case k == reflect.Bool:
		return "boolean"
	case k >= reflect.Int && k <= reflect.Float64:
		return "number"
	case k == reflect.Pointer:
		return typeScript(t.Elem())
	case k == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		return "string" // base64
	case k == reflect.Slice:
		return typeScript(t.Elem()) + "[]"
	case k == reflect.Map:
		return "Record<string, " + typeScript(t.Elem()) + ">"
	}
	return t.Name()
}
