package main

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/pandanode/pandanode/node/config"
)

// Each command has a page, which says what its help says, and each key of the configuration
// is on its page. The same program writes the same pages.
func TestManualPages(t *testing.T) {
	w := newWorld(t)
	w.env = []string{"SOURCE_DATE_EPOCH=1700000000"}
	dirs := []string{filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")}
	for _, dir := range dirs {
		w.ok("man", dir)
	}
	page := func(dir, name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	files, _ := os.ReadDir(dirs[0])
	for _, f := range files {
		text := page(dirs[0], f.Name())
		if text != page(dirs[1], f.Name()) {
			t.Errorf("%s differs when it is written again", f.Name())
		}
		if !strings.Contains(text, ".TH ") || !strings.Contains(text, "Nov 2023") || !strings.Contains(text, ".SH NAME") {
			t.Errorf("%s is no manual page of November 2023:\n%.200s", f.Name(), text)
		}
	}
	plain := strings.NewReplacer(`\-`, "-", `\`, "", "\n", " ", "fB", "", "fP", "", "fI", "", "fR", "").Replace
	var visit func(*cobra.Command)
	visit = func(c *cobra.Command) {
		text := plain(page(dirs[0], strings.ReplaceAll(c.CommandPath(), " ", "-")+".1"))
		if first, _, _ := strings.Cut(c.Long, "\n"); !strings.Contains(text, plain(first)) {
			t.Errorf("the page of %s does not say %q:\n%s", c.CommandPath(), first, text)
		}
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				visit(sub)
			}
		}
	}
	visit((&app{}).root())
	text := page(dirs[0], "pandanode.toml.5")
	for h := range reflect.TypeFor[config.Hook]().Fields() {
		if key := h.Tag.Get("toml"); !strings.Contains(plain(text), " "+key+" ") {
			t.Errorf("pandanode.toml(5) does not name %s of a hook", key)
		}
	}
	for _, kind := range config.HookKinds {
		if !strings.Contains(plain(text), kind) {
			t.Errorf("pandanode.toml(5) does not name the event %s", kind)
		}
	}
	for _, k := range config.Keys() {
		if !strings.Contains(text, strings.ReplaceAll(k.Env(), "_", `\_`)) && !strings.Contains(text, k.Env()) {
			t.Errorf("pandanode.toml(5) does not name %s", k.Env())
		}
	}
}
