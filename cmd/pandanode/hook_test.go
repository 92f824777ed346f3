package main

import (
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

// The commands say how hooks are, what is wrong and what helps, and change nothing else.
func TestHookCommands(t *testing.T) {
	w := newWorld(t)
	at := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	w.node.Hooked = []api.Hook{
		{Name: "desktop", On: []string{"message"}, Does: "notify-send", State: api.HookWell},
		{Name: "phone", On: []string{"mention"}, Does: "https://ntfy.example", State: api.HookParked, Failures: 14, Since: at, Why: "answered\x1b with 503", Group: "g", GroupName: "tea", Cursor: 17, Hint: "pandanode hook resume phone"},
	}
	run := func(args ...string) (out, errs string, code int) {
		r := w.run("", args...)
		return r.out, r.err, r.code
	}
	out, errs, code := run("hook", "list")
	if code != 0 || !strings.Contains(out, "desktop  well") || !strings.Contains(out, "phone    parked") || strings.Contains(out, "\x1b") || !strings.Contains(errs, "hook resume phone") {
		t.Errorf("list: %d\n%s\n%s", code, out, errs)
	}
	if out := w.ok("--json", "hook", "list"); strings.Count(out, "\n") != 2 || !strings.Contains(out, `"state":"parked"`) {
		t.Errorf("list as JSON: %s", out)
	}
	if out := w.ok("hook", "test", "desktop"); !strings.Contains(out, "desktop succeeded") {
		t.Error(out)
	}
	if out, errs, code := run("--json", "hook", "test", "phone"); code != 1 || !strings.Contains(out, `"ok":false`) || !strings.Contains(errs, "answered") {
		t.Errorf("test: %d %s %s", code, out, errs)
	}
	if out := w.ok("hook", "skip", "phone"); !strings.Contains(out, "phone passes over the event 17 of tea") {
		t.Error(out)
	}
	if _, errs, code := run("hook", "skip", "phone"); code != 9 || !strings.Contains(errs, "nothing to skip") {
		t.Errorf("skip again: %d %s", code, errs)
	}
	if out := w.ok("hook", "resume", "phone"); !strings.Contains(out, "phone goes on") {
		t.Error(out)
	}
	if _, _, code := run("hook", "resume", "none"); code != 4 {
		t.Errorf("no such hook: %d", code)
	}
}
