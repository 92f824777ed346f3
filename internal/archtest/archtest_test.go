package archtest

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func TestProject(t *testing.T) {
	root := os.DirFS("../..")
	wrong, err := Check(root, Module, Layout)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range wrong {
		t.Error(w)
	}
	mod, err := os.ReadFile("../../go.mod")
	if err != nil || !strings.HasPrefix(string(mod), "module "+Module+"\n") {
		t.Errorf("go.mod is not that of %s: %v", Module, err)
	}
}

// Each rule can fail: a tree that keeps all of them, and one change at a time that
// breaks one.
func TestRules(t *testing.T) {
	layout := func() map[string]Row {
		return map[string]Row{
			"a":      {Imports: []string{"b"}, Tests: []string{"c"}},
			"b":      {Pure: true},
			"c":      {},
			"d":      {Planned: true},
			"cmd/do": {Imports: []string{"a", "d"}},
		}
	}
	tree := func() map[string]string {
		return map[string]string{
			"go.mod":                "module m\n",
			"README.md":             "no Go",
			"a/a.go":                "// Package a is here.\npackage a\nimport _ \"m/b\"\nimport _ \"os\"\n",
			"a/a_test.go":           "package a_test\nimport (_ \"m/a\"; _ \"m/c\")\n",
			"b/b.go":                "package b\nimport (\"time\"; \"log/slog\"; \"context\")\nvar _ time.Time\nvar _ slog.Value\nvar _ context.Context\nfunc f(time struct{ Now int }) { _ = other.Now }\n",
			"b/doc.go":              "// Package b is here.\npackage b\n",
			"b/b_test.go":           "package b\nimport (\"os\"; \"time\")\nvar _ = time.Now\nvar _ = os.Exit\n",
			"c/c.go":                "// Package c is here.\npackage c\n",
			"cmd/do/main.go":        "// Command do does.\npackage main\nimport _ \"m/a\"\n",
			"tools/go.mod":          "module other\n",
			"tools/t.go":            "package anything\nimport _ \"m/b\"\n",
			"a/testdata/x/x.go":     "package broken ...",
			"_old/x.go":             "package broken ...",
			".hidden/x.go":          "package broken ...",
			"b/x_windows_amd64.txt": "no Go",
		}
	}
	pure := func(imports, body string) func(map[string]string, map[string]Row) {
		return func(files map[string]string, _ map[string]Row) {
			files["b/x.go"] = "package b\n" + imports + "\n" + body
		}
	}
	cases := []struct {
		name   string
		change func(map[string]string, map[string]Row)
		want   []string
	}{
		{"nothing", func(map[string]string, map[string]Row) {}, nil},
		{"forbidden arrow", func(f map[string]string, _ map[string]Row) {
			f["b/x.go"] = "package b\nimport \"m/c\"\n"
		}, []string{"b/x.go:2:8: b may not import c"}},
		{"arrow to oneself", func(f map[string]string, _ map[string]Row) {
			f["c/x.go"] = "package c\nimport \"m/c\"\n"
		}, []string{"c/x.go:2:8: c may not import c"}},
		{"arrow to the root", func(f map[string]string, _ map[string]Row) {
			f["c/x.go"] = "package c\nimport \"m\"\n"
		}, []string{"c/x.go:2:8: c may not import "}},
		{"a test's arrow outside tests", func(f map[string]string, _ map[string]Row) {
			f["a/x.go"] = "package a\nimport \"m/c\"\n"
		}, []string{"a/x.go:2:8: a may not import c"}},
		{"forbidden arrow of a test", func(f map[string]string, _ map[string]Row) {
			f["c/x_test.go"] = "package c_test\nimport \"m/a\"\n"
		}, []string{"c/x_test.go:2:8: tests of c may not import a"}},
		{"file for another system", func(f map[string]string, _ map[string]Row) {
			f["c/x_plan9.go"] = "//go:build plan9\n\npackage c\nimport \"m/a\"\n"
		}, []string{"c/x_plan9.go:4:8: c may not import a"}},
		{"another fork choice", func(f map[string]string, _ map[string]Row) {
			f["a/x.go"] = "package a\nvar _ = group.Config{Alternative: \"x\"}\n"
		}, []string{"a/x.go:2:22: a names a fork choice that is for measurements only"}},
		{"unmapped package", func(f map[string]string, _ map[string]Row) {
			f["e/e.go"] = "// Package e is here.\npackage e\n"
		}, []string{"e: the package is not on the map"}},
		{"unmapped package of tests", func(f map[string]string, _ map[string]Row) {
			f["e/e_test.go"] = "package e\n"
		}, []string{"e: the package is not on the map"}},
		{"no comment", func(f map[string]string, _ map[string]Row) {
			f["c/c.go"] = "package c\n"
		}, []string{"c: no file opens with a comment that begins \"Package c\""}},
		{"comment about something else", func(f map[string]string, _ map[string]Row) {
			f["c/c.go"] = "// This is c.\npackage c\n"
		}, []string{"c: no file opens"}},
		{"comment in a test", func(f map[string]string, _ map[string]Row) {
			f["c/c.go"], f["c/c_test.go"] = "package c\n", "// Package c is here.\npackage c\n"
		}, []string{"c: no file opens"}},
		{"comment of a package on a command", func(f map[string]string, _ map[string]Row) {
			f["cmd/do/main.go"] = "// Package main does.\npackage main\n"
		}, []string{"cmd/do: no file opens"}},
		{"row without a package", func(f map[string]string, _ map[string]Row) {
			delete(f, "c/c.go")
		}, []string{"c: the map has a row for it"}},
		{"package that is planned", func(f map[string]string, _ map[string]Row) {
			f["d/d.go"] = "// Package d is here.\npackage d\n"
		}, []string{"d: the package is there, and its row says that it is planned"}},
		{"row that names nothing", func(_ map[string]string, l map[string]Row) {
			l["a"] = Row{Imports: []string{"b"}, Tests: []string{"c", "z"}}
		}, []string{"a: its row names z, which has none"}},
		{"pure row with an impure arrow", func(_ map[string]string, l map[string]Row) {
			l["b"] = Row{Pure: true, Imports: []string{"c"}}
		}, []string{"b: it is pure and may import c, which is not"}},
		{"pure: clock", pure("import \"time\"", "var _ = time.Now()"), []string{"b/x.go:3:9: b is pure and uses time.Now"}},
		{"pure: clock as a value", pure("import \"time\"", "var now = time.Now"), []string{"b/x.go:3:11: b is pure and uses time.Now"}},
		{"pure: clock under another name", pure("import clock \"time\"", "var _ = clock.Since"), []string{"b/x.go:3:9: b is pure and uses time.Since"}},
		{"pure: clock with a dot", pure("import . \"time\"", "var _ = Now()"), []string{"b/x.go:2:8: b is pure and imports time with a dot"}},
		{"pure: sleep", pure("import \"time\"", "func x() { time.Sleep(1) }"), []string{"b/x.go:3:12: b is pure and uses time.Sleep", "b/x.go:3:12: sleeps in real time"}},
		{"pure: timeout", pure("import \"context\"", "var _ = context.WithTimeout"), []string{"b/x.go:3:9: b is pure and uses context.WithTimeout"}},
		{"sleep in a test", func(f map[string]string, _ map[string]Row) {
			f["c/x_test.go"] = "package c\nimport \"time\"\nfunc x() { time.Sleep(1) }\n"
		}, []string{"c/x_test.go:3:12: sleeps in real time"}},
		{"sleep in virtual time", func(f map[string]string, _ map[string]Row) {
			f["c/x_test.go"] = "package c\nimport \"time\"\nimport _ \"testing/synctest\"\nfunc x() { time.Sleep(1) }\n"
		}, nil},
		{"pure: allowed of time", pure("import \"time\"", "var _ = time.Second"), nil},
	}
	for _, p := range impureImports {
		cases = append(cases, struct {
			name   string
			change func(map[string]string, map[string]Row)
			want   []string
		}{"pure: " + p, pure("import _ \""+p+"\"", ""), []string{"b/x.go:2:8: b is pure and imports " + p}})
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			files, rows := tree(), layout()
			c.change(files, rows)
			fsys := fstest.MapFS{}
			for name, text := range files {
				fsys[name] = &fstest.MapFile{Data: []byte(text)}
			}
			got, err := Check(fsys, "m", rows)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.EqualFunc(got, c.want, strings.HasPrefix) {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestFileThatIsNoGo(t *testing.T) {
	if _, err := Check(fstest.MapFS{"a/a.go": {Data: []byte("package")}}, "m", nil); err == nil {
		t.Error("a file that does not parse was passed over")
	}
	if _, err := Check(os.DirFS("nowhere"), "m", nil); err == nil {
		t.Error("a tree that is not there was found right")
	}
}
