package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pandanode/pandanode/node/api"
)

// Help about a command that there is not is an error.
func TestHelpAboutNothing(t *testing.T) {
	for args, want := range map[string]string{
		"help exit-codes":   `pandanode has no command "exit-codes"`,
		"help staus":        `pandanode has no command "staus": did you mean status?`,
		"help group lst":    `pandanode group has no command "lst": did you mean list?`,
		"help send nothing": `pandanode send has no command "nothing"`,
	} {
		var out, diag bytes.Buffer
		a := &app{out: &out, err: &diag}
		if code := a.run(t.Context(), strings.Fields(args)); code != api.ExitUsage || !strings.Contains(diag.String(), want+"\n") || out.Len() > 0 {
			t.Errorf("%s: exit code %d, %s%s", args, code, diag.String(), out.String())
		}
	}
	var out bytes.Buffer
	a := &app{out: &out, err: &out}
	if code := a.run(t.Context(), []string{"help", "group", "join"}); code != 0 || !strings.Contains(out.String(), "pandanode group join GROUP") {
		t.Errorf("help group join: exit code %d, %s", code, out.String())
	}
}

// Text that looks like a flag is explained by each command that takes text.
func TestTextLikeAFlag(t *testing.T) {
	for args, want := range map[string]string{
		"send tea -5":           "hint: pandanode send tea -- -5\n",
		"send -5":               "hint: pandanode send GROUP -- -5\n",
		"reply tea last -5 tin": "hint: pandanode reply tea last -- -5 tin\n",
		"edit tea -5":           "hint: pandanode edit tea MESSAGE -- -5\n",
	} {
		var diag bytes.Buffer
		a := &app{out: &diag, err: &diag}
		if code := a.run(t.Context(), strings.Fields(args)); code != api.ExitUsage || !strings.HasSuffix(diag.String(), want) {
			t.Errorf("%s: exit code %d, %s", args, code, diag.String())
		}
	}
}

// The beginning of an ID finds no group that is not here, so the whole ID is asked for.
func TestJoinByTheBeginningOfAnID(t *testing.T) {
	for name, want := range map[string]string{
		"4nfm3rkzomynaefi":     "its full ID",
		"4NFM3RKZOMYNAEFIklt4": "its full ID",
		"internationalization": "finds parts of words",
		"tea":                  "finds parts of words",
	} {
		if err := notFound(api.FindRequest{Name: name}, nil); !strings.Contains(api.AsError(err).Hint, want) {
			t.Errorf("%s: %s", name, api.AsError(err).Hint)
		}
	}
}

// TestWrongConfiguration: a wrong value in the file keeps nobody from a node that runs, and who
// starts one is told where it stands.
func TestWrongConfiguration(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(w.home, "config.toml")
	if err := os.WriteFile(file, []byte("mdns = false\n\n[[hook]]\nname = \"a\"\nexec = [\"true\"]\n\n[[hook]]\nname = \"greet\"\non = [\"dance\"]\nexec = [\"true\"]\n\n[log]\nlevel = \"loud\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.ok("group", "create", "tea")
	w.ok("send", "tea", "hello")
	w.ok("status")
	where := []string{file + `:7: hook "greet": on: there is no event "dance"`, file + `:13: log.level: "loud" is none of`}
	for _, args := range [][]string{{"run"}, {"config", "validate"}, {"config", "validate", file}, {"doctor"}} {
		r := w.run("", args...)
		for _, text := range where {
			if r.code != 2 || !strings.Contains(r.out+r.err, text) {
				t.Errorf("%q: exit code %d, no %q in\n%s%s", args, r.code, text, r.out, r.err)
			}
		}
	}
	if r := w.run("", "doctor"); !strings.Contains(r.out, "permissions") {
		t.Errorf("doctor looks at nothing else:\n%s", r.out)
	}
}

// TestHomeThatIsNone: an empty home is not the usual one, and a file is none.
func TestHomeThatIsNone(t *testing.T) {
	w := newWorld(t)
	file := filepath.Join(w.home, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for home, text := range map[string]string{"": "--home: it is empty", file: "is a file, and a home is a directory"} {
		for _, args := range [][]string{{"status"}, {"init"}, {"config", "path"}} {
			r := w.run("", append([]string{"--home", home}, args...)...)
			if r.code != 2 || !strings.Contains(r.err, text) {
				t.Errorf("--home %q %q: exit code %d\n%s%s", home, args, r.code, r.out, r.err)
			}
		}
	}
}

// TestTwoGroupsOfAName: who founds a second group of one name is told what follows.
func TestTwoGroupsOfAName(t *testing.T) {
	w := newWorld(t)
	const text = "another group of this name"
	if r := w.run("", "group", "create", "tea"); r.code != 0 || strings.Contains(r.err, text) {
		t.Errorf("exit code %d\n%s", r.code, r.err)
	}
	if r := w.run("", "group", "create", "tea"); r.code != 0 || !strings.Contains(r.err, text) {
		t.Errorf("exit code %d\n%s", r.code, r.err)
	}
}

// TestNewNameWithoutLinks: where a file system has no links, a new file replaces nothing either.
func TestNewNameWithoutLinks(t *testing.T) {
	dir := t.TempDir()
	part, path := filepath.Join(dir, "part"), filepath.Join(dir, "backup")
	for _, name := range []string{part, path} {
		if err := os.WriteFile(name, []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := claimAndMove(part, path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a file: %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != path {
		t.Errorf("the file that was there is %q, %v", b, err)
	}
	if err := errors.Join(os.Remove(path), claimAndMove(part, path)); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != part {
		t.Errorf("the new file is %q, %v", b, err)
	}
	if err := claimAndMove(part, filepath.Join(dir, "other")); err == nil || isThere(filepath.Join(dir, "other")) {
		t.Errorf("a file that is gone: %v, and its name stays taken", err)
	}
}
