package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pandanode/pandanode/node/api"
)

// The exit code is that of the first failure; warnings have none.
func TestDoctorOfRunning(t *testing.T) {
	for _, c := range []struct {
		findings []api.Finding
		code     int
		says     []string
	}{
		{[]api.Finding{api.HealthOK.Found("peers", "3 are connected")}, 0, []string{"ok       peers", "warn     version"}},
		{[]api.Finding{{Check: "space", Health: api.HealthWarn, Detail: "little", Hint: "buy a disk"}, api.HealthUnknown.Found("clock", "who knows")}, 0, []string{"hint: buy a disk", "unknown  clock"}},
		{[]api.Finding{
			api.HealthOK.Found("node", "fine"), api.Failed("store", api.Errorf(api.CodeCorrupt, "damaged").WithHint("restore it")),
			api.Failed("peers", api.Errorf(api.CodeNoPeers, "none")),
		}, api.ExitStore, []string{"fail     store", "damaged", "hint: restore it"}},
	} {
		w := newWorld(t)
		w.node.Findings = c.findings
		r := w.run("", "doctor")
		if r.code != c.code || (c.code != 0) != strings.Contains(r.err, "pandanode: not well: store, peers") {
			t.Errorf("%+v: exit code %d: %s%s", c.findings, r.code, r.out, r.err)
		}
		for _, want := range c.says {
			if !strings.Contains(r.out, want) {
				t.Errorf("%s\nis without %q", r.out, want)
			}
		}
		var got api.Checkup
		j := w.run("", "--json", "doctor")
		if err := json.Unmarshal([]byte(j.out), &got); err != nil || j.code != c.code || len(got.Findings) != len(c.findings)+4 {
			t.Errorf("--json: %d %s %v", j.code, j.out, err)
		}
	}
	w := newWorld(t)
	w.node.Fail = map[string]error{"Checkup": api.Errorf(api.CodeInternal, "it hurts")}
	if r := w.run("", "doctor"); r.code != api.ExitError || !strings.Contains(r.out, "it hurts") {
		t.Errorf("a node that does not answer: %d %s", r.code, r.out)
	}
}

// The doctor names files that others can read or write, and the command that mends it.
func TestDoctorPermissions(t *testing.T) {
	for _, c := range []struct {
		file string
		mode os.FileMode
		bad  bool
	}{
		{"store/keys", 0o640, true},
		{"store", 0o755, true},
		{"", 0o777, true},
		{"", 0o755, false}, // the files in it are protected by themselves
		{"config.toml", 0o644, false},
		{"config.toml", 0o664, true},
		{"key", 0o604, true},
		{"key", 0o600, false},
	} {
		w := newWorld(t)
		if err := os.Chmod(w.home, 0o700); err != nil { //nolint:gosec // a directory
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(w.home, "store"), 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"store/keys": "", "key": "", "config.toml": "key_file = \"key\"\n"} {
			if err := os.WriteFile(filepath.Join(w.home, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		path := filepath.Join(w.home, c.file)
		if err := os.Chmod(path, c.mode); err != nil {
			t.Fatal(err)
		}
		r := w.run("", "doctor")
		if (r.code == api.ExitNotPermitted) != c.bad || strings.Contains(r.out, "chmod ") != c.bad || c.bad && !strings.Contains(r.out, " "+path) {
			t.Errorf("%s %v: exit code %d\n%s%s", c.file, c.mode, r.code, r.out, r.err)
		}
	}
}

// A hint of a finding is typed as it stands: it names the home that was given, for people and
// for programs.
func TestHintsOfFindingsNameTheHome(t *testing.T) {
	home := filepath.Join(t.TempDir(), "none")
	for _, form := range [][]string{nil, {"--json"}} {
		var out, diag bytes.Buffer
		a := &app{in: strings.NewReader(""), out: &out, err: &diag}
		a.run(t.Context(), append([]string{"doctor", "--home", home}, form...))
		if want := "pandanode --home " + home + " init"; !strings.Contains(out.String(), want) {
			t.Errorf("%v: no %q in\n%s%s", form, want, out.String(), diag.String())
		}
	}
}
