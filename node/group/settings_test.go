package group

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// settings are those of a group as a device has them.
func (d *device) settings() map[string]string {
	out := map[string]string{}
	for _, s := range d.m.Journal().Settings() {
		out[s.Key] = s.Value
	}
	return out
}

// The causally last word of an owner or admin holds, whatever clocks say; of concurrent ones
// the later. Keys that nobody knows are kept, nobody else sets any, and a word that an
// admin dates back who is none any more does not count.
func TestSettings(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 41)
	w.gossip = true
	a.must(SetRole{User: b.dev.User, Role: wire.RoleAdmin})
	w.run(5 * time.Second)
	agree := func(key, want string) {
		t.Helper()
		for _, d := range []*device{a, b, c} {
			if got := d.settings()[key]; got != want {
				t.Errorf("%s: %s is %q, want %q", d.name, key, got, want)
			}
		}
	}
	if _, err := c.step(SetSetting{Key: "expiry", Value: "1d"}); !errors.Is(err, verdict.ErrNotPermitted) {
		t.Errorf("a member sets a setting: %v", err)
	}
	if _, err := a.step(SetSetting{Key: "Ex piry", Value: "1d"}); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("a key with a space: %v", err)
	}
	a.must(SetSetting{Key: "expiry", Value: "30d"})
	a.must(SetSetting{Key: "x-later.program", Value: "on"})
	w.run(5 * time.Second)
	agree("expiry", "30d")
	agree("x-later.program", "on")

	// A clock that is a week ahead does not fix it for ever.
	b.skew = 7 * 24 * time.Hour
	b.must(SetSetting{Key: "expiry", Value: "7d"})
	b.skew = 0
	w.run(5 * time.Second)
	a.must(SetSetting{Key: "expiry", Value: "1d"})
	w.run(5 * time.Second)
	w.sync(a, b)
	w.sync(b, c)
	w.run(time.Minute)
	agree("expiry", "1d")

	// Two at once: the later.
	w.gossip = false
	a.must(SetSetting{Key: "both", Value: "first"})
	w.run(time.Second)
	b.must(SetSetting{Key: "both", Value: "second"})
	w.gossip = true
	w.sync(a, b)
	w.sync(b, c)
	w.run(time.Minute)
	agree("both", "second")

	// Beside the loss of the right it does not count.
	w.gossip = false
	a.must(SetRole{User: b.dev.User, Role: wire.RoleMember})
	b.must(SetSetting{Key: "expiry", Value: "forged"})
	w.gossip = true
	w.sync(a, b)
	w.sync(b, c)
	w.run(time.Minute)
	agree("expiry", "1d")
	a.must(SetSetting{Key: "expiry"})
	w.run(time.Minute)
	for _, d := range []*device{a, b, c} {
		if _, is := d.settings()["expiry"]; is || d.settings()["both"] != "second" {
			t.Errorf("%s has %v", d.name, d.settings())
		}
		events, err := d.m.Journal().Events(0, 0)
		if err != nil || !slices.ContainsFunc(events, func(e Event) bool { return e.Kind == EventSetting && e.By == a.dev.User && e.Detail == `expiry "30d"` }) {
			t.Errorf("%s was not told (%v)", d.name, err)
		}
		d.down = true
		d.open()
		if d.settings()["x-later.program"] != "on" {
			t.Errorf("%s has %v after a restart", d.name, d.settings())
		}
	}
}
