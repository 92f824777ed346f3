package archtest

import (
	"os"
	"slices"
	"testing"
	"testing/fstest"
)

// A package's files are laid out like packages: nearly all arrows between them run down.
func TestFilesAreInLayers(t *testing.T) {
	t.Parallel()
	for dir, most := range map[string]int{"node/group": 2} {
		arrows, err := Arrows(os.DirFS("../.."), dir)
		if err != nil {
			t.Fatal(err)
		}
		up, order := Up(arrows)
		t.Logf("%s: %d arrows, %d up, from the top: %v", dir, len(arrows), len(up), order)
		if len(arrows) < 300 {
			t.Errorf("%s: only %d arrows were found", dir, len(arrows))
		}
		if len(up) > most {
			t.Errorf("%s: %d arrows run back up, %d are the most: %q", dir, len(up), most, up)
		}
	}
}

func TestArrows(t *testing.T) {
	t.Parallel()
	root := fstest.MapFS{
		"p/top.go":      {Data: []byte("package p\nimport \"q\"\nfunc top(x q.T) { var b bottom; b.act(); _ = x }\n")},
		"p/bottom.go":   {Data: []byte("package p\ntype bottom struct{ n int }\nfunc (b bottom) act() {}\n")},
		"p/loop.go":     {Data: []byte("package p\nfunc loop(b bottom) int { again(); return b.n }\n")},
		"p/again.go":    {Data: []byte("package p\nfunc again() { loop(bottom{}); top(0) }\n")},
		"p/top_test.go": {Data: []byte("package p\nfunc test() { top(0) }\n")},
	}
	arrows, err := Arrows(root, "p")
	if err != nil {
		t.Fatal(err)
	}
	want := map[Arrow][]string{
		{"top.go", "bottom.go"}: {"act", "bottom"}, {"loop.go", "bottom.go"}: {"bottom", "n"}, {"loop.go", "again.go"}: {"again"},
		{"again.go", "loop.go"}: {"loop"}, {"again.go", "bottom.go"}: {"bottom"}, {"again.go", "top.go"}: {"top"},
	}
	for a, names := range want {
		if slices.Sort(arrows[a]); !slices.Equal(arrows[a], names) {
			t.Errorf("%v stands for %q, and is to for %q", a, arrows[a], names)
		}
	}
	if len(arrows) != len(want) {
		t.Errorf("there are %v", arrows)
	}
	if up, _ := Up(arrows); len(up) != 1 {
		t.Errorf("up run %q, and one of a circle of two is to", up)
	}
}
