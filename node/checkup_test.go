package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/storage"
)

// The findings about clocks, from the clocks of others.
func TestClockSigns(t *testing.T) {
	for _, c := range []struct {
		signs  clockSigns
		health api.Health
		detail string
	}{
		{clockSigns{}, api.HealthUnknown, "nothing to compare with"},
		{clockSigns{ahead: 4 * time.Second}, api.HealthUnknown, "nothing to compare with"},
		{clockSigns{ahead: time.Hour}, api.HealthWarn, "dated 1 h ahead of this clock: this one is slow, or that one fast"},
		{clockSigns{ahead: 50*365*24*time.Hour - time.Second}, api.HealthWarn, "dated 49 y 364 d ahead of this clock"},
		{clockSigns{delays: []time.Duration{time.Hour, 20 * time.Millisecond}}, api.HealthOK, "of 2 messages the fastest took 20ms"},
		{clockSigns{delays: []time.Duration{time.Hour, -2 * time.Second}}, api.HealthOK, "of 2 messages the fastest took -2s"},
		{clockSigns{delays: []time.Duration{-time.Minute, time.Second}}, api.HealthWarn, "up to 1 min before they were sent"},
		{clockSigns{delays: []time.Duration{time.Hour}}, api.HealthUnknown, "this clock is fast, or they were long under way"},
	} {
		if f := c.signs.judge(); f.Health != c.health || !strings.Contains(f.Detail, c.detail) || f.Health == api.HealthWarn && f.Hint == "" {
			t.Errorf("%+v: %+v", c.signs, f)
		}
	}
}

func TestSpaceFinding(t *testing.T) {
	for free, want := range map[uint64]api.Health{0: api.HealthFail, 99: api.HealthFail, 100: api.HealthWarn, 799: api.HealthWarn, 800: api.HealthOK} {
		if f := spaceFinding(storage.Size{Free: free << 20, FreeKnown: true, Reserve: 100 << 20}); f.Health != want || (f.Health == api.HealthFail) != (f.Code == api.CodeLimited) {
			t.Errorf("%d MiB: %+v", free, f)
		}
	}
	if f := spaceFinding(storage.Size{Reserve: 1}); f.Health != api.HealthUnknown {
		t.Errorf("not known: %+v", f)
	}
}

// healths gives findings by check.
func healths(findings []api.Finding) map[string]api.Finding {
	out := map[string]api.Finding{}
	for _, f := range findings {
		out[f.Check] = f
	}
	return out
}

// TestCheckup: two nodes that talk are well; when one is gone, the other says what is
// amiss and what helps.
func TestCheckup(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id := w.create(a, "clinic")
		w.join(b, id)
		w.send(b, id, "how are you?")
		w.shows(a, id, time.Minute, "how are you?")
		w.eventually(a, 5*time.Minute, "caught up", func() bool {
			missing, err := a.Missing(w.Context(), api.LevelSynced)
			return err == nil && missing == ""
		})
		got := healths(checkup(w.Context(), a, true))
		for _, check := range []string{"node", "store", "space", "peers", "dht", "clock", "groups", "limits"} {
			if f, ok := got[check]; !ok || f.Health != api.HealthOK || f.Code != "" {
				t.Errorf("%s: %+v", check, f)
			}
		}
		if f := got["peers"]; !strings.HasPrefix(f.Detail, "1 is connected, 1 of them ") {
			t.Errorf("peers: %+v", f)
		}
		if f := got["dht"]; !strings.Contains(f.Detail, "1 peer in the routing table") {
			t.Errorf("dht: %+v", f)
		}
		if f := got["groups"]; !strings.HasPrefix(f.Detail, "1, known as of ") {
			t.Errorf("groups: %+v", f)
		}
		if f := got["reachability"]; f.Health == api.HealthFail || f.Detail == "" {
			t.Errorf("reachability: %+v", f)
		}
		if f := got["clock"]; !strings.HasPrefix(f.Detail, "it agrees with most others: 1 was met") {
			t.Errorf("clock: %+v", f)
		}
		w.close(1)
		w.eventually(a, 5*time.Minute, "alone", func() bool { return len(a.host.Network().Peers()) == 0 })
		got = healths(checkup(w.Context(), a, false))
		if f := got["peers"]; f.Health != api.HealthFail || f.Code != api.CodeNoPeers || f.Hint == "" {
			t.Errorf("peers of one alone: %+v", f)
		}
		if f := got["groups"]; f.Health != api.HealthWarn || !strings.HasPrefix(f.Detail, fmt.Sprintf("1 of 1 is not caught up: \"clinic\" (%s): no member is connected that was caught up with; the group is known as of 2", api.Short(id.String()))) {
			t.Errorf("groups of one alone: %+v", f)
		}
	})
}

// TestCheckHome looks at homes that no node runs on.
func TestCheckHome(t *testing.T) {
	dir := t.TempDir()
	home, key := filepath.Join(dir, "home"), filepath.Join(dir, "key")
	if err := Init(t.Context(), InitConfig{Home: home, KeyFile: key}); err != nil {
		t.Fatal(err)
	}
	expect := func(what string, findings []api.Finding, health api.Health, code api.Code) {
		t.Helper()
		if f := healths(findings)["store"]; f.Health != health || f.Code != code || health != api.HealthOK && f.Hint == "" {
			t.Errorf("%s: %+v", what, findings)
		}
	}
	expect("a good one", CheckHome(t.Context(), home, nil, key, true), api.HealthOK, "")
	expect("no key", CheckHome(t.Context(), home, nil, "", false), api.HealthUnknown, "")
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, make([]byte, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	expect("another key", CheckHome(t.Context(), home, nil, other, false), api.HealthFail, api.CodeLocked)
	expect("nothing", CheckHome(t.Context(), dir, nil, key, false), api.HealthFail, api.CodeNotFound)
	s, err := storage.Open(storeDir(home), storage.Options{KeyFile: key})
	if err != nil {
		t.Fatal(err)
	}
	inUse := CheckHome(t.Context(), home, nil, key, false)
	expect("in use", inUse, api.HealthFail, api.CodeConflict)
	if !strings.Contains(inUse[0].Detail, "does not answer") {
		t.Errorf("in use: %+v", inUse)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(storeDir(home), "db", "MANIFEST")); err != nil {
		t.Fatal(err)
	}
	expect("damaged", CheckHome(t.Context(), home, nil, key, false), api.HealthFail, api.CodeCorrupt)
}
