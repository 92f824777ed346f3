package node

import (
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

// TestFindOwnPrivateGroup looks for a private group of the node's own, by name and by ID,
// alone and with others: it says that it is private, and how others find it.
func TestFindOwnPrivateGroup(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		id, err := a.CreateGroup(w.within(time.Minute), CreateGroup{Name: "Quiet Room", Private: true})
		if err != nil {
			t.Fatal(err)
		}
		look := func(n *Node, what string) error {
			return n.API().Find(w.Context(), api.FindRequest{Name: what, Timeout: api.Duration(time.Minute)}, func(f api.Found) error {
				t.Errorf("found %+v", f)
				return nil
			})
		}
		says := func() {
			t.Helper()
			for _, what := range []string{"quiet", "room quiet", "qui*", id.String()} {
				err := look(a, what)
				if e := api.AsError(err); api.CodeOf(err) != api.CodeNotFound || !strings.Contains(e.Message, "is private") || !strings.HasPrefix(e.Hint, "pandanode group invite ") {
					t.Errorf("%q: %v", what, err)
				}
			}
		}
		says()
		b := w.open(1, 0)
		w.dhtSays(time.Minute, "they are connected", func() bool { return a.directory.dht.Size() > 0 && b.directory.dht.Size() > 0 })
		says()
		if err := look(a, "loud"); err != nil {
			t.Errorf("another name: %v", err)
		}
		if err := look(b, "quiet"); err != nil {
			t.Errorf("somebody else: %v", err)
		}
	})
}

// TestHealAlone says that nobody could be asked, where there is somebody to ask.
func TestHealAlone(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		id := w.create(a, "healing")
		heals := func() api.Healed {
			t.Helper()
			h, err := a.API().Heal(w.Context(), api.GroupRequest{Group: id.String()})
			if err != nil {
				t.Fatal(err)
			}
			return h
		}
		if h := heals(); h.Alone {
			t.Errorf("the only member: %+v", h)
		}
		w.join(w.open(1, 0), id)
		if h := heals(); h.Alone || len(h.Synced) != 1 {
			t.Errorf("with the other member: %+v", h)
		}
		w.close(1)
		w.eventually(a, time.Minute, "it is gone", func() bool { return len(a.host.Network().Peers()) == 0 })
		if h := heals(); !h.Alone {
			t.Errorf("alone: %+v", h)
		}
	})
}
