package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pandanode/pandanode/node/api"
)

// The shell completes what the running node knows. Names that are not unique, or that would
// control the terminal, are offered by their IDs.
func TestCompletion(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"tea house", "choir"} {
		w.ok("group", "create", name)
	}
	w.ok("send", "choir", "Who sings?")
	offers := func(args ...string) []string {
		var out []string
		for l := range strings.Lines(w.ok(append([]string{"__complete"}, args...)...)) {
			if word, _, _ := strings.Cut(strings.TrimSuffix(l, "\n"), "\t"); !strings.HasPrefix(word, ":") {
				out = append(out, word)
			}
		}
		return out
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"send", ""}, "tea house|choir"},
		{[]string{"group", "members", ""}, "tea house|choir"},
		{[]string{"group", "members", "choir", ""}, ""},
		{[]string{"group", "remove", "choir", ""}, "anna"},
		{[]string{"group", "role", "choir", "anna", ""}, "owner|admin|member|read-only"},
		{[]string{"group", "join", ""}, ""},
		{[]string{"config", "get", "log."}, "log.level|log.format|log.file"},
	} {
		got := offers(c.args...)
		for _, want := range strings.Split(c.want, "|") {
			if !strings.Contains("|"+strings.Join(got, "|")+"|", "|"+want+"|") && want != "" {
				t.Errorf("%q: %q without %q", c.args, got, want)
			}
		}
		if c.want == "" && len(got) > 0 {
			t.Errorf("%q: %q", c.args, got)
		}
	}
	if got := offers("why", "choir", ""); len(got) < 2 || got[len(got)-1] != "join" {
		t.Errorf("messages: %q", got)
	}

	if err := os.WriteFile(filepath.Join(w.home, "socket"), []byte(filepath.Join(w.home, "nobody")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := w.run("", "__complete", "send", ""); r.code != 0 || strings.Contains(r.out, "tea") || strings.Contains(r.err, "no node") {
		t.Errorf("without a node: %d %q %q", r.code, r.out, r.err)
	}
}

func TestCandidates(t *testing.T) {
	id := strings.Repeat("a", 52)
	for _, c := range []struct{ name, want string }{
		{"tea", "tea\tgroup"}, {"twice", api.Short(id) + "\ttwice group"}, {"", api.Short(id) + "\t"}, {"bad\x1b[31m", api.Short(id) + "\t"},
	} {
		got := candidate(map[string]int{"tea": 1, "twice": 2}, id, c.name, "group")
		if !strings.HasPrefix(got, c.want) || strings.Contains(got, "\x1b") {
			t.Errorf("%q: %q", c.name, got)
		}
	}
}
