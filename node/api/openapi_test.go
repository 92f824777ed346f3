package api

import (
	"bytes"
	"encoding"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write openapi.json, and add what is new to testdata/promises.txt")

type object = map[string]any

// describer makes the description, and lists what it promises, a line each.
type describer struct {
	schemas  object
	comments map[string]string // of types and "Type.Field"
	promises map[string]bool
	raw      int // routes outside of the table
}

// describe makes the description of the routes.
func describe(t *testing.T) (doc []byte, promises []string, routes int) {
	t.Helper()
	d := describer{object{}, comments(t), map[string]bool{}, 0}
	paths := object{}
	names := operations(t)
	for _, r := range Routes() {
		route := r.Method + " " + r.Path
		name := names[route]
		if name == "" {
			t.Fatalf("routes.go says nothing of %s", route)
		}
		d.promises["route "+route] = true
		op := object{"operationId": strings.ToLower(name[:1]) + name[1:], "tags": []string{strings.Split(r.Path, "/")[2]}}
		if text := d.comments[r.Request.Name()]; r.Request.NumField() > 0 && text != "" {
			op["description"] = text
		}
		var parameters []object
		for i := range r.Request.NumField() {
			f := r.Request.Field(i)
			for _, in := range []string{"path", "query"} {
				field, ok := f.Tag.Lookup(in)
				if !ok {
					continue
				}
				p := object{"name": field, "in": in, "required": in == "path", "schema": d.schema(f.Type)}
				if text := d.comments[r.Request.Name()+"."+f.Name]; text != "" {
					p["description"] = text
				}
				parameters = append(parameters, p)
				d.promise(r.Request.Name()+"."+field, f.Type)
			}
		}
		if parameters != nil {
			op["parameters"] = parameters
		}
		if body := bodyType(r.Request); hasBody(r.Method) { // of no fields it is {}
			op["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": d.object(r.Request.Name(), body, false)}}}
		}
		media := "application/json"
		if r.Stream {
			media = "text/event-stream"
			d.promises["stream "+route] = true
		}
		d.promises[fmt.Sprintf("answer %s %s", route, r.Response.Name())] = true
		d.promises[fmt.Sprintf("request %s %s", route, r.Request.Name())] = true
		op["responses"] = object{
			"200":     object{"description": answers(d.comments[r.Response.Name()], r.Stream), "content": object{media: object{"schema": d.schema(r.Response)}}},
			"default": object{"description": "An error.", "content": object{"application/json": object{"schema": d.schema(reflect.TypeFor[errorBody]())}}},
		}
		at, _ := paths[r.Path].(object)
		if at == nil {
			at = object{}
			paths[r.Path] = at
		}
		at[strings.ToLower(r.Method)] = op
	}
	d.raw = d.contents(paths)
	for c, means := range codes {
		d.promises[fmt.Sprintf("code %s %d %d", c, means.status, means.exit)] = true
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(object{
		"openapi": "3.1.0",
		"info": object{
			"title": "pandanode", "version": "1",
			"description": "The local API of a pandanode node, over HTTP on its unix socket. A stream answers with Server-Sent Events: the schema is that of the data of each, and the last one is called end, or error with an error as its data. Durations are text such as 1m30s.",
		},
		"servers":    []object{{"url": "http://node"}},
		"paths":      paths,
		"components": object{"schemas": d.schemas},
	}); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes(), slices.Sorted(maps.Keys(d.promises)), len(Routes()) + d.raw
}

func answers(comment string, stream bool) string {
	if comment == "" {
		comment = "Done."
	}
	if stream {
		return "Each item: " + comment
	}
	return comment
}

func (d *describer) promise(field string, t reflect.Type) {
	d.promises["field "+field+" "+kind(t)] = true
}

// kind names a type as it travels.
func kind(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "time"
	case t == reflect.TypeFor[[]byte]():
		return "bytes"
	case t.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return "text"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return kind(t.Elem())
	case reflect.Slice:
		return "list of " + kind(t.Elem())
	case reflect.Map:
		return "map of " + kind(t.Elem())
	case reflect.Struct:
		return t.Name()
	case reflect.Int, reflect.Int64, reflect.Int32:
		return "int"
	case reflect.Uint, reflect.Uint64, reflect.Uint32:
		return "uint"
	}
	return t.Kind().String()
}

func (d *describer) schema(t reflect.Type) object {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case t == reflect.TypeFor[[]byte]():
		return object{"type": "string", "contentEncoding": "base64"}
	case t == reflect.TypeFor[Duration]():
		return object{"type": "string", "examples": []string{"1m30s"}}
	case t.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return object{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return d.schema(t.Elem())
	case reflect.Slice:
		return object{"type": "array", "items": d.schema(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": d.schema(t.Elem())}
	case reflect.Struct:
		name := t.Name()
		if d.schemas[name] == nil {
			d.schemas[name] = object{} // it may have itself in it
			d.schemas[name] = d.object(name, t, true)
		}
		return object{"$ref": "#/components/schemas/" + name}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int32, reflect.Int64:
		return object{"type": "integer"}
	case reflect.Uint, reflect.Uint32, reflect.Uint64:
		return object{"type": "integer", "minimum": 0}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.String:
		s := object{"type": "string"}
		if values := closed[t]; values != nil {
			s["enum"] = values
			for _, v := range values {
				d.promises["value "+t.Name()+" "+v] = true
			}
		}
		return s
	}
	panic(fmt.Sprint("a field of type ", t))
}

// closed are the types of text that has no other value than these.
var closed = map[reflect.Type][]string{
	reflect.TypeFor[Delivery](): texts(Deliveries), reflect.TypeFor[Level](): texts(Levels), reflect.TypeFor[Policy](): texts(Policies), reflect.TypeFor[Stage](): texts(Stages),
}

func texts[T ~string](all []T) (out []string) {
	for _, v := range all {
		out = append(out, string(v))
	}
	return out
}

// object describes a struct as JSON has it, with the fields of those embedded in it.
func (d *describer) object(name string, t reflect.Type, answer bool) object {
	properties := object{}
	var required []string
	var add func(name string, t reflect.Type)
	add = func(name string, t reflect.Type) {
		for i := range t.NumField() {
			f := t.Field(i)
			tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
			if f.Anonymous && tag == "" {
				add(f.Type.Name(), f.Type)
				continue
			}
			if tag == "" || tag == "-" || properties[tag] != nil {
				continue
			}
			s := d.schema(f.Type)
			if text := d.comments[name+"."+f.Name]; text != "" {
				s["description"] = text
			}
			properties[tag] = s
			if answer && !strings.Contains(options, "omit") {
				required = append(required, tag)
				d.promises["always "+name+"."+tag] = true
			}
			d.promise(name+"."+tag, f.Type)
		}
	}
	add(name, t)
	out := object{"type": "object", "properties": properties}
	if text := d.comments[name]; text != "" && answer {
		out["description"] = text
	}
	if required != nil {
		out["required"] = required
	}
	return out
}

// comments reads what the sources say of types and their fields.
func comments(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, f.Name(), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			gen, ok := decl.(*ast.GenDecl)
			if !ok || gen.Tok != token.TYPE {
				continue
			}
			for _, spec := range gen.Specs {
				s, ok := spec.(*ast.TypeSpec)
				fields, is := s.Type.(*ast.StructType)
				if !ok || !is {
					continue
				}
				out[s.Name.Name] = line(gen.Doc)
				for _, field := range fields.Fields.List {
					for _, n := range field.Names {
						out[s.Name.Name+"."+n.Name] = line(field.Comment)
					}
				}
			}
		}
	}
	if len(out) < 100 {
		t.Fatalf("only %d comments", len(out))
	}
	return out
}

func line(c *ast.CommentGroup) string { return strings.Join(strings.Fields(c.Text()), " ") }

// operations reads how routes.go calls each route.
func operations(t *testing.T) map[string]string {
	t.Helper()
	source, err := os.ReadFile("routes.go")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, m := range regexp.MustCompile(`route(\w+) += (?:call|stream)\[[^{]+\{http\.Method(\w+), "([^"]+)"\}`).FindAllStringSubmatch(string(source), -1) {
		out[strings.ToUpper(m[2])+" "+m[3]] = m[1]
	}
	return out
}

// The description that is served is that of the routes as they are.
func TestOpenAPI(t *testing.T) {
	doc, _, routes := describe(t)
	if *update {
		if err := os.WriteFile("openapi.json", doc, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(doc, description) {
		t.Error("openapi.json is not what the routes say: run go test ./node/api -run 'TestOpenAPI|TestPromises' -update")
	}
	c := serve(t, &echo{})
	answer, err := c.http.Get("http://node" + pathDescription)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var served struct {
		OpenAPI string                    `json:"openapi"`
		Paths   map[string]map[string]any `json:"paths"`
	}
	if err := json.NewDecoder(answer.Body).Decode(&served); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatal(answer.Status, err)
	}
	n := 0
	for _, p := range served.Paths {
		n += len(p)
	}
	if served.OpenAPI != "3.1.0" || n != routes {
		t.Errorf("served are %d routes of OpenAPI %q, want %d", n, served.OpenAPI, routes)
	}
}

const promisesFile = "testdata/promises.txt"

// brokenPromises lists the promises that do not hold any more and that the changelog says nothing of. It
// has to name the route, field, value or code, in a line that begins with "- Breaking".
func brokenPromises(promised, holds []string, changelog string) (out []string) {
	for _, p := range promised {
		if slices.Contains(holds, p) {
			continue
		}
		f := strings.SplitN(p, " ", 4)
		about := f[1] // a field or code
		switch f[0] {
		case "route", "stream", "answer", "request", "value": // a value is named with its type
			about += " " + f[2]
		}
		said := false
		for _, entry := range strings.Split(changelog, "\n- ") {
			said = said || strings.HasPrefix(entry, "Breaking") && strings.Contains(strings.Join(strings.Fields(entry), " "), "`"+about+"`")
		}
		if !said {
			out = append(out, fmt.Sprintf("%s: name `%s` in CHANGELOG.md, in an entry that begins with \"Breaking\", or take the change back", p, about))
		}
	}
	return out
}

// Each later version has the routes and fields of before, as they were, or a word in the
// changelog.
func TestPromises(t *testing.T) {
	_, holds, _ := describe(t)
	changelog, err := os.ReadFile("../../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(promisesFile)
	if err != nil && !(*update && os.IsNotExist(err)) {
		t.Fatal(err)
	}
	promised := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(text) == 0 {
		promised = nil
	}
	for _, b := range brokenPromises(promised, holds, string(changelog)) {
		t.Error(b)
	}
	if t.Failed() {
		return
	}
	if *update {
		if err := os.WriteFile(promisesFile, []byte(strings.Join(holds, "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if len(promised) < 300 {
		t.Errorf("only %d promises", len(promised))
	}
	for _, p := range holds {
		if !slices.Contains(promised, p) {
			t.Errorf("%s: run go test ./node/api -run 'TestOpenAPI|TestPromises' -update", p)
		}
	}
	for _, p := range promised {
		if !slices.Contains(holds, p) {
			t.Errorf("%s is not promised any more: run the same", p)
		}
	}
}

// A field or route that is gone, or is another, breaks a promise unless the changelog says so.
func TestBroken(t *testing.T) {
	promised := []string{"field Group.id string", "field Group.name string", "route GET /v1/groups", "answer GET /v1/groups Groups", "stream GET /v1/events"}
	for _, c := range []struct {
		holds     []string
		changelog string
		broken    int
	}{
		{promised, "", 0},
		{append([]string{"field Group.new string"}, promised...), "", 0},
		{promised[1:], "", 1},
		{promised[1:], "# Changes\n\n- Breaking: the field\n  `Group.id` is gone.\n", 0},
		{promised[1:], "# Changes\n\n- Breaking: `Group.name` is gone.\n- The field `Group.id` is nice.\n", 1},
		{append([]string{"field Group.id int"}, promised[1:]...), "", 1},
		{promised[:2], "", 3},
		{promised[:2], "\n- Breaking: `GET /v1/groups` and `GET /v1/events` are gone.", 0},
		{append([]string{"always Group.name", "value Level hasty", "code slow 400 20", "request PUT /v1/groups Empty"}, promised...), "", 0},
	} {
		if got := brokenPromises(promised, c.holds, c.changelog); len(got) != c.broken {
			t.Errorf("of %q, with the changelog %q, %q are broken, want %d", c.holds, c.changelog, got, c.broken)
		}
	}
	for promise, about := range map[string]string{
		"always Group.id":                "Group.id",
		"value Level synced":             "Level synced",
		"code not-found 404 4":           "not-found",
		"request GET /v1/groups Groups":  "GET /v1/groups",
		"answer GET /v1/groups Groups":   "GET /v1/groups",
		"field Group.names list of text": "Group.names",
	} {
		for changelog, broken := range map[string]int{"- Breaking: gone": 1, "# Changes\n\n- Breaking: `" + about + "` is gone.": 0, "# Changes\n\n- `" + about + "` is gone.": 1} {
			if got := brokenPromises([]string{promise}, promised[:3], changelog); len(got) != broken {
				t.Errorf("of %q, with the changelog %q, %q are broken, want %d", promise, changelog, got, broken)
			}
		}
	}
	if _, err := fs.Stat(os.DirFS("."), promisesFile); err != nil {
		t.Error(err)
	}
}
