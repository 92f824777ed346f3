package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/pandanode/pandanode/node/api"
)

// TestDebugDecodeEncode takes every golden object of the wire through the command line
// and back.
func TestDebugDecodeEncode(t *testing.T) {
	w := newWorld(t)
	text, err := os.ReadFile("../../node/wire/testdata/golden.txt")
	if err != nil {
		t.Fatal(err)
	}
	objects, ambiguous := 0, 0
	for line := range strings.Lines(string(text)) {
		name, inHex, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || name == "#" || strings.HasPrefix(name, "topic-") || strings.HasSuffix(name, "-id") || strings.HasSuffix(name, "-text") {
			continue
		}
		args := []string{"--json", "debug", "decode", "--hex"}
		shown := w.run(inHex, args...)
		if shown.code == api.ExitUsage && strings.Contains(shown.err, `"candidates"`) {
			var e struct {
				Error api.Error `json:"error"`
			}
			if err := json.Unmarshal([]byte(shown.err), &e); err != nil || len(e.Error.Candidates) < 2 {
				t.Fatalf("%s: %s", name, shown.err)
			}
			ambiguous++
			shown = w.run(inHex, append(args, e.Error.Candidates[0].ID)...)
		}
		if shown.code != 0 {
			if strings.Contains(shown.err, "no object that this program knows") {
				continue
			}
			t.Errorf("%s: %s", name, shown.err)
			continue
		}
		objects++
		if again := w.run(shown.out, "debug", "encode", "--hex"); again.code != 0 || strings.TrimSpace(again.out) != inHex {
			t.Errorf("%s: %s became %s%s", name, inHex, again.out, again.err)
		}
	}
	if objects < 55 || ambiguous == objects {
		t.Errorf("%d objects, %d of them of several types", objects, ambiguous)
	}
	t.Logf("%d objects, %d of them can be of several types", objects, ambiguous)

	for stdin, want := range map[string]string{"!": "stdin: ", "AAAA": "no object that this program knows", "": "no object"} {
		if r := w.run(stdin, "debug", "decode"); r.code != api.ExitUsage || !strings.Contains(r.err, want) {
			t.Errorf("decode %q: %d %s", stdin, r.code, r.err)
		}
	}
	if r := w.run(`{"type":"vote","value":{"seat":1}}`, "debug", "encode"); r.code != api.ExitUsage || !strings.Contains(r.err, `vote has no field "seat"`) {
		t.Errorf("encode: %d %s", r.code, r.err)
	}
	if r := w.run("oQED", "debug", "decode", "op"); r.code != 0 || !strings.Contains(r.out, "\n    \"type\": \"leave\"\n") {
		t.Errorf("for people: %d %s%s", r.code, r.out, r.err)
	}
}
