package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

// Progress is told on stderr, at the pace of a person: of a file that is fetched at once and
// every half second, with why it does not go on, and of one that is given to the node each
// second. stdout has the result alone.
func TestProgress(t *testing.T) {
	w := newWorld(t)
	run := func(step time.Duration, args ...string) (stdout string, stderr []string) {
		t.Helper()
		var out, diag bytes.Buffer
		at := time.Unix(1, 0)
		clock := func() time.Time { at = at.Add(step); return at }
		a := &app{out: &out, err: &diag, environ: []string{"PANDANODE_HOME=" + w.home}, clock: clock}
		if code := a.run(t.Context(), args); code != 0 {
			t.Fatalf("%v: exit code %d: %s", args, code, diag.String())
		}
		return out.String(), strings.Split(strings.TrimSpace(diag.String()), "\n")
	}
	w.ok("group", "create", "tea house")
	dir := t.TempDir()
	path := filepath.Join(dir, "large.bin")
	if err := os.WriteFile(path, make([]byte, 4<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	_, quick := run(time.Microsecond, "send", "tea house", "--file", path)
	_, slow := run(300*time.Millisecond, "send", "tea house", "--file", path)
	is := regexp.MustCompile(`^large.bin: [0-9.]+ [KM]iB of 4.0 MiB$`)
	told := slices.DeleteFunc(slices.Clone(slow), func(l string) bool { return !is.MatchString(l) })
	if len(told) < 3 || len(told) != len(slices.Compact(slices.Clone(told))) || slices.ContainsFunc(quick, is.MatchString) {
		t.Errorf("of giving a file to the node was told: %q, and of a quick one: %q", slow, quick)
	}

	for i := range 8 {
		w.node.Fetching = append(w.node.Fetching, api.File{State: api.FilePartly, Have: int64(i) << 20, Sealed: 8 << 20, Why: []string{"", "no member has it"}[i/6]})
	}
	got := filepath.Join(dir, "got")
	stdout, stderr := run(200*time.Millisecond, "file", "get", "large.bin", "--output", got)
	if want := []string{"0 B of 8.0 MiB", "3.0 MiB of 8.0 MiB", "6.0 MiB of 8.0 MiB: no member has it"}; !slices.Equal(stderr, want) || stdout != fmt.Sprintln(got) {
		t.Errorf("of fetching was told %q, and printed %q", stderr, stdout)
	}
}

// A file that does not come whole leaves nothing where it was to be written.
func TestFileGetIsWholeOrNotAtAll(t *testing.T) {
	w := newWorld(t)
	w.ok("group", "create", "tea house")
	dir, to := t.TempDir(), t.TempDir()
	path := filepath.Join(dir, "large.bin")
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	w.ok("send", "tea house", "--file", path)
	left := func() (names []string) {
		t.Helper()
		found, err := os.ReadDir(to)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range found {
			names = append(names, d.Name())
		}
		return names
	}
	w.node.Cut = 4000
	if r := w.run("", "file", "get", "large.bin", "--output", filepath.Join(to, "got")); r.code == 0 || !strings.Contains(r.err, "writing the file") || len(left()) > 0 {
		t.Errorf("of one that is cut off: exit code %d, %q; there are %q", r.code, r.err, left())
	}
	w.node.Cut = 0
	for range 2 { // the second time it is there
		w.run("", "file", "get", "large.bin", "--output", filepath.Join(to, "got"))
		if got := left(); !slices.Equal(got, []string{"got"}) {
			t.Errorf("there are %q", got)
		}
	}
}
