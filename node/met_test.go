package node

import (
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

// TestKnownAsOf: whoever is alone says as of when it knows its groups, also after a restart,
// and does not claim to be caught up.
func TestKnownAsOf(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		group := func(n *Node, id string) api.Group {
			t.Helper()
			g, err := localAPI(n, nil).Group(w.Context(), api.GroupRequest{Group: id})
			if err != nil {
				t.Fatal(err)
			}
			return g
		}
		a, b := w.open(0), w.open(1, 0)
		id := w.create(a, "clinic")
		if g := group(a, id.String()); !g.KnownAsOf.IsZero() || g.Missing != "" {
			t.Errorf("of one alone: as of %v, missing %q", g.KnownAsOf, g.Missing)
		}
		began := time.Now()
		w.join(b, id)
		w.eventually(b, 5*time.Minute, "caught up", func() bool {
			missing, err := b.Missing(w.Context(), api.LevelSynced)
			return err == nil && missing == ""
		})
		st, err := localAPI(b, nil).Status(w.Context(), api.StatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		met := group(b, id.String()).KnownAsOf
		if met.Before(began) || met.After(time.Now()) {
			t.Errorf("the group is known as of %v, and was joined after %v", met, began)
		}
		if l := st.Levels[len(st.Levels)-1]; !l.Reached || !l.AsOf.Equal(met) {
			t.Errorf("synced as of %v, the group as of %v: %+v", l.AsOf, met, l)
		}
		w.close(0)
		w.open(2, 1)
		w.eventually(b, 5*time.Minute, "with a stranger alone", func() bool {
			missing, err := b.Missing(w.Context(), api.LevelSynced)
			return err == nil && strings.HasPrefix(missing, `group "clinic" (`+api.Short(id.String())+"): no member is connected")
		})
		w.close(2)
		w.close(1)
		left := time.Now()
		time.Sleep(48 * time.Hour)

		b = w.open(1)
		g := group(b, id.String())
		if g.KnownAsOf.IsZero() || g.KnownAsOf.After(left) || left.Sub(g.KnownAsOf) > syncQuiet+metEvery {
			t.Errorf("alone after a restart: known as of %v, gone at %v", g.KnownAsOf, left)
		}
		want := "no member was met since this node started at " + moment(b.opened) + "; the group is known as of " + moment(g.KnownAsOf)
		if g.Missing != want {
			t.Errorf("alone after a restart: %q, not %q", g.Missing, want)
		}
		if f := healths(checkup(w.Context(), b, false))["groups"]; f.Health != api.HealthWarn || !strings.Contains(f.Detail, want) {
			t.Errorf("alone after a restart: %+v", f)
		}
		if st, err = localAPI(b, nil).Status(w.Context(), api.StatusRequest{}); err != nil || st.Levels[len(st.Levels)-1].Reached || !st.Levels[len(st.Levels)-1].AsOf.IsZero() {
			t.Errorf("alone after a restart: %+v, %v", st.Levels[len(st.Levels)-1], err)
		}
	})
}
