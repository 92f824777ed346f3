package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pandanode/pandanode/sim"
)

const threeNodes = `# Three whole nodes, one of them alone for a minute
seed 3
nodes anna ben carl
group tea founder=anna
link latency=20ms
run 5m
expect records = 9
expect settled <= 60

0s join ben carl
10s send anna ben carl
15s partition anna | ben carl
30s send anna ben
40s crash carl restart=10s
75s heal
80s send carl
`

// The program itself, as it is built for people, runs whole nodes in virtual time: the
// parts of package testing that this uses are outside Go's compatibility promise.
func TestSimNet(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "pandanode")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	run := func(text string, args ...string) (r sim.RealReport, code int, errs string) {
		file := filepath.Join(dir, "world.sim")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), binary, append([]string{"sim", "run", file, "--backend", "net", "--json"}, args...)...) //nolint:gosec // just built
		var diag bytes.Buffer
		cmd.Stderr = &diag
		out, _ := cmd.Output()
		if len(out) > 0 {
			if err := json.Unmarshal(out, &r); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
		return r, cmd.ProcessState.ExitCode(), diag.String()
	}
	page := filepath.Join(dir, "page.html")
	r, code, errs := run(threeNodes, "--html", page)
	if code != 0 || !r.OK() || r.Backend != "net" || r.Records != (sim.Records{Sent: 9, Owed: 27, Held: 27}) || len(r.Nodes) != 3 || r.Nodes[2].Starts != 2 {
		t.Errorf("exit code %d, %+v\n%s", code, r, errs)
	}
	html, err := os.ReadFile(page)
	for _, want := range []string{"whole nodes", "invariants hold. Not judged: ", ">carl<", `class="crash"`, "side s1", `class="number"`} {
		if err != nil || !strings.Contains(string(html), want) {
			t.Errorf("the page has no %q: %v", want, err)
		}
	}
	if r, code, errs = run(threeNodes + "expect lost = 1\n"); code != exitViolated || len(r.Unexpected) != 1 {
		t.Errorf("what is not so: exit code %d, %+v\n%s", code, r, errs)
	}
	if _, code, errs = run(threeNodes + "90s clock ben +1h\n"); code != 1 {
		t.Errorf("what only group machines can do: exit code %d\n%s", code, errs)
	}
}
