package group

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

func isErr(err, target error) bool { return errors.Is(err, target) }

// TestCrashAtEveryBoundary runs one script over and over and crashes one device
// at each boundary between Writes, Messages, Events and Advance of each of its
// Readys in turn. Nothing accepted is lost, nothing is shown twice, and it always
// reopens.
func TestCrashAtEveryBoundary(t *testing.T) {
	t.Parallel()
	boundaries := []string{"before writes", "before messages", "before events", "before advance"}
	script := func(victim string, boundary string, nth int) (crashed bool) {
		w, a, b, c := three(t, 300)
		byName := map[string]*device{"anna": a, "ben": b, "carl": c}
		v := byName[victim]
		n := 0
		v.crash = func(at string) bool {
			if at != boundary {
				return false
			}
			n++
			if n == nth {
				crashed = true
				w.after(100*time.Millisecond, func() {
					v.open()
					w.syncSomebody(v)
				})
			}
			return n == nth
		}
		accepted := map[string]bool{}
		send := func(d *device, text string) {
			if _, err := d.step(Send{Content: wire.Content{MediaType: "text/plain", Data: []byte(text)}}); err == nil {
				accepted[text] = true
			} else if !errors.Is(err, errCrash) && !(d == c && errors.Is(err, verdict.ErrOut)) {
				t.Fatalf("%s sends: %v", d.name, err)
			}
		}
		d := w.device("dora")
		for i := range 3 {
			for _, x := range []*device{a, b, c} {
				send(x, fmt.Sprintf("%s %d", x.name, i))
				w.run(300 * time.Millisecond)
			}
			if i == 0 {
				w.join(d)
			}
			if i == 1 && !a.down {
				_, _ = a.step(RemoveUser{User: c.dev.User})
				w.run(8 * time.Second)
			}
			if c.m.Status().State == StateOut {
				accepted["carl 2"] = false
			}
			if i == 1 {
				c.online = false
			}
		}
		w.run(time.Minute)
		for _, x := range w.devices {
			w.syncSomebody(x)
		}
		w.run(time.Minute)
		if w.genesis != nil && a.m.Status().Members == 3 {
			w.agree(a, b, d)
		}
		for _, x := range []*device{a, b} {
			got := x.texts()
			for text, ok := range accepted {
				if ok && text != "carl 2" && !slices.Contains(got, text) {
					t.Errorf("%s does not show %q, which was accepted", x.name, text)
				}
			}
			seen := map[string]bool{}
			for _, text := range got {
				if seen[text] {
					t.Errorf("%s shows %q twice", x.name, text)
				}
				seen[text] = true
			}
		}
		if t.Failed() {
			t.Fatalf("crash of %s %s, the %dth", victim, boundary, nth)
		}
		return crashed
	}
	crashes := 0
	for _, victim := range []string{"anna", "ben"} {
		for _, boundary := range boundaries {
			for nth := 1; script(victim, boundary, nth); nth++ {
				crashes++
			}
		}
	}
	if crashes < 80 {
		t.Errorf("only %d crashes happened", crashes)
	}
	t.Logf("%d crashes", crashes)
}
