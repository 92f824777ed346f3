//go:build unix

package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A path that another user could change is refused, wherever on the way that user comes in.
// The cases of owners need root for real ones; another me stands for them elsewhere.
func TestTrust(t *testing.T) {
	me := os.Geteuid()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	at := func(parts ...string) string { return filepath.Join(append([]string{dir}, parts...)...) }
	mkdir := func(mode os.FileMode, parts ...string) {
		t.Helper()
		if err := errors.Join(os.Mkdir(at(parts...), 0o700), os.Chmod(at(parts...), mode)); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to string, parts ...string) {
		t.Helper()
		if err := os.Symlink(to, at(parts...)); err != nil {
			t.Fatal(err)
		}
	}
	mkdir(0o755, "mine")
	mkdir(0o755, "mine", "home")
	mkdir(0o777, "open")
	mkdir(0o755, "open", "home")
	mkdir(0o777|os.ModeSticky, "tmp")
	mkdir(0o700, "tmp", "home")
	mkdir(0o757, "tmp", "loose")
	link(at("open", "home"), "mine", "astray")
	link("../open/home", "mine", "relative")
	link("home", "mine", "short")
	link("loop", "mine", "loop")
	for name, mode := range map[string]os.FileMode{"good": 0o644, "bad": 0o646} {
		if err := errors.Join(os.WriteFile(at("mine", name), nil, 0o600), os.Chmod(at("mine", name), mode)); err != nil {
			t.Fatal(err)
		}
	}
	cases := []struct {
		path  string
		fault string // the path that is at fault; empty: none
	}{
		{at("mine", "home"), ""},
		{at("mine", "home", "not", "there", "yet"), ""},
		{at("mine", "home") + "/", ""},
		{at("mine", "good"), ""},
		{at("mine", "bad"), at("mine", "bad")},
		{at("open"), at("open")},
		{at("open", "home"), at("open")},
		{at("open", "none"), at("open")},
		{at("tmp"), at("tmp")},
		{at("tmp") + "//", at("tmp")},
		{at("tmp", "home"), ""},
		{at("tmp", "none"), ""},
		{at("tmp", "loose"), at("tmp", "loose")},
		{at("mine", "astray"), at("open")},
		{at("mine", "relative", "none"), at("open")},
		{at("mine", "short"), ""},
	}
	for _, c := range cases {
		err := Trust(c.path)
		e, refused := errors.AsType[*UntrustedError](err)
		switch {
		case c.fault == "" && err != nil, c.fault != "" && (!refused || e.Path != c.fault):
			t.Errorf("%s: %v, want fault at %q", c.path, err, c.fault)
		case refused && (!strings.Contains(e.Help, "--home") || !strings.Contains(e.Help, "chmod go-w "+c.fault)):
			t.Errorf("%s: help %q", c.path, e.Help)
		}
	}
	if err := Trust(at("mine", "loop")); err == nil {
		t.Error("a link to itself is trusted")
	}
	if err := trust(at("mine", "home"), me+1); me == 0 != (err == nil) {
		t.Errorf("of this user, for another one: %v", err)
	}

	if me != 0 {
		return // only root gives files away
	}
	const other = 12345
	for _, path := range []string{at("mine", "short"), at("tmp", "home"), at("mine", "good")} {
		if err := os.Lchown(path, other, other); err != nil {
			t.Fatal(err)
		}
		e, ok := errors.AsType[*UntrustedError](Trust(path))
		if !ok || e.Path != path || !strings.Contains(e.Why, "belongs to the user 12345") || !strings.Contains(e.Help, "run this as 12345") {
			t.Errorf("%s: %+v", path, e)
		}
	}
	if err := trust(at("mine", "good"), other); err != nil {
		t.Errorf("its owner: %v", err)
	}
}

// The record of the socket, and the socket, are believed only if they are this user's.
func TestFindSocketOfOthers(t *testing.T) {
	data := t.TempDir()
	path, err := MakeSocket(data, func(string) string { return "" })
	if err != nil {
		t.Fatal(err)
	}
	if found, err := FindSocket(data); err != nil || found != path {
		t.Fatal(found, err)
	}
	record := filepath.Join(data, socketRecord)
	elsewhere := filepath.Join(t.TempDir(), "s") // where another user listens
	for what, spoil := range map[string]func() error{
		"a record that others write": func() error { return os.Chmod(record, 0o622) },
		"a socket in a directory of all": func() error {
			return errors.Join(os.Chmod(filepath.Dir(elsewhere), 0o777), writeFile(record, []byte(elsewhere+"\n")))
		},
		"a socket that others can replace": func() error { return errors.Join(os.WriteFile(path, nil, 0o600), os.Chmod(path, 0o666)) },
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if _, ok := errors.AsType[*UntrustedError](func() error { _, err := FindSocket(data); return err }()); !ok {
			t.Errorf("%s is believed", what)
		}
		if err := errors.Join(writeFile(record, []byte(path+"\n")), os.RemoveAll(path)); err != nil {
			t.Fatal(err)
		}
	}
	if found, err := FindSocket(data); err != nil || found != path {
		t.Errorf("mended: %s, %v", found, err)
	}
}
