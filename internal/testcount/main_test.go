package main

import (
	"strings"
	"testing"
)

const good = `{"Action":"start","Package":"github.com/pandanode/pandanode/mls"}
{"Action":"run","Package":"github.com/pandanode/pandanode/mls","Test":"TestA"}
{"Action":"run","Package":"github.com/pandanode/pandanode/mls","Test":"TestA/one"}
{"Action":"run","Package":"github.com/pandanode/pandanode/mls","Test":"TestA/two"}
{"Action":"pass","Package":"github.com/pandanode/pandanode/mls","Test":"TestA/one"}
{"Action":"pass","Package":"github.com/pandanode/pandanode/mls","Test":"TestA/two"}
{"Action":"pass","Package":"github.com/pandanode/pandanode/mls","Test":"TestA"}
{"Action":"output","Package":"github.com/pandanode/pandanode/mls","Output":"PASS\n"}
{"Action":"output","Package":"github.com/pandanode/pandanode/mls","Output":"official MLS vectors: 7 cases\n"}
{"Action":"pass","Package":"github.com/pandanode/pandanode/mls","Elapsed":1.25}
{"Action":"start","Package":"github.com/pandanode/pandanode/x"}
{"Action":"skip","Package":"github.com/pandanode/pandanode/x"}
`

func TestGood(t *testing.T) {
	var out strings.Builder
	if !run(strings.NewReader(good), &out, nil) {
		t.Error("it should pass")
	}
	want := "ok    mls                          2 tests     1.2 s\nran 2 tests, 1 packages, 0 skipped\nofficial MLS vectors: 7 cases\n"
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", &out, want)
	}
}

// A run fails for each of these, and says so.
func TestBad(t *testing.T) {
	const pkg = `"Package":"github.com/pandanode/pandanode/y"`
	for name, c := range map[string]struct{ events, want string }{
		"nothing":        {"", "no test ran"},
		"no go":          {"go: cannot find main module\n", "go: cannot find main module\nFAIL  no test ran"},
		"failure":        {good + `{"Action":"output",` + pkg + `,"Test":"TestB","Output":"    b_test.go:1: wrong\n"}` + "\n" + `{"Action":"fail",` + pkg + `,"Test":"TestB","Elapsed":2}`, "FAIL  y TestB (2.0 s)\n          b_test.go:1: wrong\n"},
		"package":        {good + `{"Action":"output",` + pkg + `,"Output":"panic: x\n"}` + "\n" + `{"Action":"fail",` + pkg + `}`, "FAIL  y (0.0 s)\n      panic: x\n"},
		"build":          {good + `{"Action":"build-output","ImportPath":"z","Output":"z.go:1: bad\n"}` + "\n" + `{"Action":"build-fail","ImportPath":"z"}`, "FAIL  z does not build\n      z.go:1: bad\n"},
		"skip":           {good + `{"Action":"skip",` + pkg + `,"Test":"TestB"}`, "FAIL  y TestB was skipped"},
		"cut off":        {good + `{"Action":"start",` + pkg + `}` + "\n" + `{"Action":"run",` + pkg + `,"Test":"TestB"}`, "FAIL  y TestB never ended"},
		"silent vectors": {strings.ReplaceAll(good, "official MLS", "unofficial MLS"), "does not say whether the official vectors"},
	} {
		var out strings.Builder
		if run(strings.NewReader(c.events), &out, nil) || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, &out, c.want)
		}
	}
}

func TestAllowedSkip(t *testing.T) {
	var out strings.Builder
	events := good + `{"Action":"skip","Package":"github.com/pandanode/pandanode/y","Test":"TestB"}`
	if !run(strings.NewReader(events), &out, map[string]string{"y TestB": "needs root"}) {
		t.Error("it should pass")
	}
	if want := "skip  y TestB: needs root\nran 3 tests, 1 packages, 1 skipped\n"; !strings.Contains(out.String(), want) {
		t.Errorf("got\n%s", &out)
	}
}
