//go:build unix

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pandanode/pandanode/node/api"
)

// No command uses a home that another user could have prepared: no configuration of it is
// read, nothing is sent to its socket, and nothing is made in it.
func TestHomeOfOthers(t *testing.T) {
	open := func(w *world) (string, error) { return "chmod go-w " + w.home, os.Chmod(w.home, 0o777) }
	cases := map[string]func(w *world) (hint string, err error){
		"open to all": open,
		"open to all, with another configuration": func(w *world) (string, error) {
			hint, err := open(w)
			return hint, errors.Join(err, os.WriteFile(filepath.Join(w.home, "config.toml"), []byte("no configuration"), 0o600))
		},
		"below a directory that is open to all": func(w *world) (string, error) {
			dir := filepath.Dir(w.home)
			return "chmod go-w " + dir, os.Chmod(dir, 0o777)
		},
		"a configuration that others can write": func(w *world) (string, error) {
			path := filepath.Join(w.home, "config.toml")
			return "chmod go-w " + path, errors.Join(os.WriteFile(path, []byte("mdns = false\n"), 0o600), os.Chmod(path, 0o666))
		},
	}
	for _, secret := range []string{"PANDANODE_KEY_FILE", "PANDANODE_PASSPHRASE_FILE"} {
		cases["a file of "+secret+" that others could have made"] = func(w *world) (string, error) {
			dir := filepath.Join(w.home, "shared")
			w.env = []string{secret + "=" + filepath.Join(dir, "secret")}
			return "chmod go-w " + dir, errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o777))
		}
	}
	if os.Geteuid() == 0 {
		cases["another user's"] = func(w *world) (string, error) { return "run this as 12345", os.Chown(w.home, 12345, -1) }
	}
	for what, spoil := range cases {
		w := newWorld(t)
		w.ok("group", "create", "tea")
		hint, err := spoil(w)
		if err != nil {
			t.Fatal(err)
		}
		before, err := os.ReadDir(w.home)
		if err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"init"}, {"run"}, {"status"}, {"send", "tea", "a secret"}, {"group", "join", "-"}, {"store", "stat"}, {"doctor"}, {"stop"}} {
			r := w.run("", args...)
			if r.code != api.ExitNotPermitted || !strings.Contains(r.out+r.err, hint) {
				t.Errorf("%s: %q: exit code %d, no %q in\n%s%s", what, args, r.code, hint, r.out, r.err)
			}
		}
		w.env = nil
		if after, err := os.ReadDir(w.home); err != nil || len(after) != len(before) {
			t.Errorf("%s: %v, was %v (%v)", what, after, before, err)
		}
		if err := errors.Join(os.Chown(w.home, os.Geteuid(), -1), os.Chmod(w.home, 0o700), os.Chmod(filepath.Dir(w.home), 0o700), os.RemoveAll(filepath.Join(w.home, "config.toml"))); err != nil { //nolint:gosec // directories
			t.Fatal(err)
		}
		if out := w.ok("tail", "tea"); strings.Contains(out, "a secret") {
			t.Errorf("%s: sent all the same: %s", what, out)
		}
	}
}

// A hint can be typed: the program is called as it was, where the shell finds none by its name.
func TestTypedHints(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if a, b := typed("./pandanode"), typed("pandanode"); a != "./pandanode" || b != name {
		t.Errorf("typed %q and %q", a, b)
	}
	for _, c := range []struct{ program, home, want string }{
		{"", "", "pandanode stop"},
		{"./pandanode", "", "./pandanode stop"},
		{"/my programs/pandanode", "my home", `'/my programs/pandanode' --home 'my home' stop`},
	} {
		if got := (&app{program: c.program, home: c.home}).atHome("pandanode stop"); got != c.want {
			t.Errorf("%q at %q: %s", c.program, c.home, got)
		}
	}
	if err := os.WriteFile(filepath.Join(os.Getenv("PATH"), name), nil, 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	if got := typed("./pandanode"); got != name {
		t.Errorf("with one in the path: %q", got)
	}
}
