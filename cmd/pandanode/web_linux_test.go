package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

// The command gives the link to whoever typed it, and to a browser by a file of this user
// alone: the arguments of a process can be read by others.
func TestWebCommand(t *testing.T) {
	w := newWorld(t)
	bin := t.TempDir()
	saved := filepath.Join(bin, "saved")
	script := "#!/bin/sh\nstat -c %a \"$1\" >" + saved + "\ncat \"$1\" >>" + saved + "\necho \"$@\" >>" + saved + "\n"
	if err := os.WriteFile(filepath.Join(bin, "xdg-open"), []byte(script), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	const link = "http://127.0.0.1:7/#login=secret"
	for _, c := range []struct {
		args []string
		out  string
		code int
	}{
		{[]string{"web"}, link + "\n", 0}, // no terminal: no browser
		{[]string{"web", "--print"}, link + "\n", 0},
		{[]string{"web", "--json"}, `{"url":"` + link + `","expires":"2026-01-02T15:05:04Z"}` + "\n", 0},
		{[]string{"web", "--print", "--open"}, "", api.ExitUsage},
		{[]string{"web", "sessions"}, "SESSION   BEGAN             USED              UNTIL             BROWSER\n", 0},
		{[]string{"web", "end"}, "", api.ExitUsage},
		{[]string{"web", "end", "x", "--all"}, "", api.ExitUsage},
		{[]string{"web", "end", "nobody"}, "", api.ExitNotFound},
		{[]string{"web", "end", "abcdefgh"}, "abcdefgh is logged out\n", 0},
		{[]string{"web", "end", "--all"}, "1 logged out; the page is served no more\n", 0},
	} {
		at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		w.node.Browsers = []api.WebSession{{ID: "abcdefgh", Browser: "Fire\x1bfox", Began: at, Used: at, Expires: at}}
		if c.args[len(c.args)-1] == "--all" && c.code == 0 {
			w.node.Browsers = w.node.Browsers[:1]
		}
		r := w.run("", c.args...)
		if r.code != c.code || !strings.HasPrefix(r.out, c.out) || c.out == "" && r.out != "" || strings.Contains(r.out, "\x1b") {
			t.Errorf("%v: exit code %d, %q, %q", c.args, r.code, r.out, r.err)
		}
		if _, err := os.Stat(saved); err == nil {
			t.Errorf("%v: a browser was started", c.args)
		}
	}
	if r := w.run("", "web", "--open"); r.code != 0 || r.out != link+"\n" {
		t.Errorf("exit code %d, %q, %q", r.code, r.out, r.err)
	}
	text, err := os.ReadFile(saved)
	if err != nil {
		t.Fatal(err)
	}
	mode, rest, _ := strings.Cut(string(text), "\n")
	page, args, _ := strings.Cut(rest, "\n")
	if mode != "600" || !strings.Contains(page, `url=http://127.0.0.1:7/#login=secret"`) || strings.Contains(args, "secret") {
		t.Errorf("the browser got a file of mode %s with %q, and the arguments %q", mode, page, args)
	}
	if err := os.WriteFile(filepath.Join(bin, "xdg-open"), []byte("#!/bin/sh\necho no screen; exit 3\n"), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	if r := w.run("", "web", "--open"); r.code != api.ExitNotFound || !strings.Contains(r.err, "web --print") {
		t.Errorf("exit code %d, %q, %q", r.code, r.out, r.err)
	}
}
