package node

import (
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

// A draft, a mute and a pin outlive a restart. A draft is erased once it is sent, and the store
// gives it up; with the group all of it goes.
func TestLocal(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		id := w.create(a, "tea")
		ctx := w.within(time.Hour)
		set := func(r api.LocalRequest) api.Local {
			t.Helper()
			r.Group = id.String()
			l, err := a.API().SetLocal(ctx, r)
			if err != nil {
				t.Fatal(err)
			}
			return l
		}
		yes := true
		set(api.LocalRequest{Muted: &yes})
		set(api.LocalRequest{Pinned: &yes, Draft: &api.Draft{Text: "a zebra", ReplyTo: "last"}})
		w.close(0)
		a = w.open(0)
		if l := set(api.LocalRequest{}); !l.Muted || !l.Pinned || l.Draft == nil || l.Draft.Text != "a zebra" || l.Draft.ReplyTo != "last" {
			t.Errorf("%+v, %+v", l, l.Draft)
		}
		if g, err := a.API().Group(ctx, api.GroupRequest{Group: "tea"}); err != nil || !g.Muted || !g.Pinned {
			t.Errorf("%+v, %v", g, err)
		}
		for _, text := range []string{"another text", "a zebra"} {
			if _, err := a.API().Send(ctx, api.SendRequest{Group: "tea", Text: text}); err != nil {
				t.Fatal(err)
			}
			if l := set(api.LocalRequest{}); (l.Draft == nil) != (text == "a zebra") || !l.Muted {
				t.Errorf("after %q was sent: %+v", text, l)
			}
		}
		if _, err := a.store.Get([]byte(keyPurge)); err != nil {
			t.Error("the store is not to give up the draft")
		}
		if _, err := a.API().Delete(ctx, api.MessageRequest{Group: "tea", Message: "mine"}); err != nil {
			t.Fatal(err)
		}
		set(api.LocalRequest{Draft: &api.Draft{Text: "a gnu"}})
		count := func(word string) (n int) {
			t.Helper()
			if err := a.store.Scan(nil, func(_, value []byte) error {
				n += strings.Count(string(value), word)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			return n
		}
		if n := count("a zebra"); n != 0 {
			t.Errorf("%d rows have the message that was deleted", n)
		}
		if _, err := a.API().SetLocal(ctx, api.LocalRequest{Group: "tea", Draft: &api.Draft{Text: strings.Repeat("x", 1<<17)}}); api.CodeOf(err) != api.CodeInvalid {
			t.Errorf("a long draft: %v", err)
		}
		if err := erase(a.store, a.apply, id); err != nil || count("a gnu") != 0 {
			t.Errorf("with the group a draft is left: %v", err)
		}
	})
}
