package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/pandanode/pandanode/sim"
)

func simApp(t *testing.T, args ...string) (out, errs string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	a := &app{in: strings.NewReader(""), out: &o, err: &e}
	code = a.run(t.Context(), append([]string{"sim"}, args...))
	return o.String(), e.String(), code
}

func TestSimRun(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.html")
	out, errs, code := simApp(t, "run", "19", "--json", "--html", page)
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	var r sim.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	if r.Records.Sent == 0 || r.Records.Held != r.Records.Owed || len(r.Digest) != 64 {
		t.Errorf("report: %+v", r)
	}
	b, err := os.ReadFile(page)
	if err != nil || !bytes.Contains(b, []byte("<svg")) || !bytes.Contains(b, []byte("data-end=")) {
		t.Fatalf("page: %v", err)
	}
	for _, word := range []string{"src=", "href=", "@import", "url(", "import(", "fetch(", "XMLHttpRequest", "WebSocket"} {
		if bytes.Contains(b, []byte(word)) {
			t.Errorf("the page holds %q: it is not self-contained", word)
		}
	}
}

// A run with a violation ends with exit code 30, and prints the command that runs it again.
func TestSimViolation(t *testing.T) {
	file := filepath.Join(t.TempDir(), "wrong.sim")
	text := "# It expects what does not come\nnodes anna ben carl\ngroup tea founder=anna\nrun 10m\nexpect records = 7\n0s join ben carl\n1m send anna\n2m send ben\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, errs, code := simApp(t, "run", file)
	if code != exitViolated || !strings.Contains(out, "unexpected expect records = 7: it is 2") || !strings.Contains(errs, "pandanode sim run "+file) {
		t.Errorf("exit code %d\n%s\n%s", code, out, errs)
	}
	out, errs, code = simApp(t, "shrink", file)
	if code != exitViolated || strings.Contains(out, "send") {
		t.Errorf("shrunk, exit code %d: %s\n%s", code, out, errs)
	}
	if small, err := sim.ParseBytes("small", []byte(out)); err != nil || len(small.Actions) != 0 {
		t.Errorf("what shrink printed: %v\n%s", err, out)
	}
}

// The command that a failing run prints runs the same world again: with all that
// drew it.
func TestSimReplayLine(t *testing.T) {
	for _, c := range []struct{ args, again string }{
		{"--nodes 5 --duration 1h --faults none --seed 9", "pandanode sim run --nodes 5 --duration 1h --faults none --seed 9"},
		{"--nodes 5 --groups 2 --duration 1h --faults none --seed 3", "pandanode sim run --nodes 5 --groups 2 --duration 1h --faults none --seed 3"},
		{"28 --seed 5", "pandanode sim run 28 --seed 5"},
		{"28", "pandanode sim run 28"},
	} {
		var digests []string
		for _, args := range []string{"run --json " + c.args, strings.TrimPrefix(c.again, "pandanode sim ") + " --json"} {
			out, errs, code := simApp(t, strings.Fields(args)...)
			var r sim.Report
			if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 && code != exitViolated {
				t.Fatalf("%s: exit code %d, %v: %s", args, code, err, errs)
			}
			if r.Replay != c.again {
				t.Errorf("%s: again with %q, want %q", args, r.Replay, c.again)
			}
			digests = append(digests, r.Digest)
		}
		if digests[0] != digests[1] {
			t.Errorf("%s: %v", c.args, digests)
		}
	}
}

func TestSimErrors(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
	}{
		{"run nothing-of-that-name", 4},
		{"run --faults plenty", 2},
		{"run --nodes 2", 2},
		{"run 1 2", 2},
		{"replay --duration 3s", 2},
	} {
		if _, errs, code := simApp(t, strings.Fields(c.args)...); code != c.code {
			t.Errorf("sim %s: exit code %d, want %d: %s", c.args, code, c.code, errs)
		}
	}
}

func TestSimListAndReplay(t *testing.T) {
	out, _, code := simApp(t, "list", "--json")
	if n := strings.Count(out, "\n"); code != 0 || n != len(sim.Names()) {
		t.Errorf("exit code %d, %d lines", code, n)
	}
	if out, errs, code := simApp(t, "replay", "28"); code != 0 || !strings.Contains(out, " invariants hold.") {
		t.Errorf("exit code %d\n%s\n%s", code, out, errs)
	}
}

func TestSimSweep(t *testing.T) {
	dir := t.TempDir()
	file, junit := filepath.Join(dir, "out.jsonl"), filepath.Join(dir, "junit.xml")
	sweep := []string{"sweep", "--nodes", "4", "--duration", "1h", "--seeds", "1..2", "--out", file, "--junit", junit}
	for range 2 { // the second time there is nothing left to run
		if out, errs, code := simApp(t, sweep...); code != 0 || !strings.Contains(out, "2: 2 churn") {
			t.Fatalf("exit code %d: %s%s", code, out, errs)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil || bytes.Count(b, []byte("\n")) != 2 {
		t.Errorf("%v, %s", err, b)
	}
	if b, err := os.ReadFile(junit); err != nil || !bytes.Contains(b, []byte(`tests="2"`)) {
		t.Errorf("%v, %s", err, b)
	}
	// A failure that a file tells of fails the sum.
	if err := os.WriteFile(file, append(b, `{"kind":"churn","seed":9,"failure":"4 g1: lost","again":"pandanode sim run --seed 9"}`+"\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, errs, code := simApp(t, "sweep", file); code != exitViolated || !strings.Contains(out, "4 g1: lost") || !strings.Contains(errs, "--seed 9") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
	for _, args := range []string{"--seeds 5..1", "--seeds 0..1", "--seeds all", "--seed 3", "--kind odd"} {
		if _, _, code := simApp(t, append([]string{"sweep"}, strings.Fields(args)...)...); code != 2 {
			t.Errorf("%s: exit code %d", args, code)
		}
	}
}

func TestSimCompare(t *testing.T) {
	page := filepath.Join(t.TempDir(), "page.html")
	args := []string{"compare", "28", "--with", "loss=0.5", "--seeds", "1..2", "-j", "2"}
	out, errs, code := simApp(t, append(args, "--html", page)...)
	if code != 0 || !strings.HasPrefix(out, "A  as it is\nB  loss=0.5\n") || !strings.Contains(out, "gossip a device") || !strings.Contains(out, "2 seeds cannot tell a difference from luck") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
	for line := range strings.Lines(out) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
			t.Errorf("a line has %d columns: %s", n, line)
		}
	}
	b, err := os.ReadFile(page)
	if err != nil || !bytes.Contains(b, []byte("gossip a device")) || bytes.Contains(b, []byte("src=")) || bytes.Contains(b, []byte("href=")) {
		t.Errorf("page: %v", err)
	}
	out, _, code = simApp(t, append(args, "--json")...)
	var c sim.Comparison
	if err := json.Unmarshal([]byte(out), &c); err != nil || code != 0 || len(c.Settings) != 2 || len(c.Measures) != len(sim.Measures) {
		t.Fatalf("exit code %d, %v: %s", code, err, out)
	}
	// The command for one of its worlds runs that world.
	again := strings.Fields(strings.TrimPrefix(strings.ReplaceAll(c.Settings[1].Again, `"`, ""), "pandanode sim "))
	out, errs, code = simApp(t, append(again, "--json")...)
	var r sim.Report
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != 0 || r.Digest != c.Settings[1].Digests[0] || r.Replay != c.Settings[1].Again {
		t.Errorf("again with %v: exit code %d, %v, %s", again, code, err, errs)
	}
	// Sizes give exponents, and a world that fails gives its exit code and its command.
	out, errs, code = simApp(t, "compare", "--kind", "day", "--nodes", "9,12", "--seeds", "1..1")
	if code != 0 || !strings.Contains(out, "DEVICES") || !strings.Contains(out, "n^") {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
	out, errs, code = simApp(t, "compare", "21", "--with", "choice=ours,without-refused", "--seeds", "1..1")
	if code != exitViolated || !strings.Contains(out, "fails B: 1 of 1 worlds") || !strings.Contains(errs, `pandanode sim run 21 --seed 1 --with "choice=without-refused"`) {
		t.Errorf("exit code %d: %s%s", code, out, errs)
	}
	for _, args := range []string{"1", "1 --with colour=red", "1 --with loss=2", "1 --nodes 9,12", "1 --with loss=0 --seeds 2..1", "1 --with nodes=9"} {
		if _, _, code := simApp(t, append([]string{"compare"}, strings.Fields(args)...)...); code != 2 {
			t.Errorf("%s: exit code %d", args, code)
		}
	}
}
