package node

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

// Events come again until a program acknowledges them, after a restart of the node too, and not
// afterwards. A new name begins with what comes from then on. A stream tells what was there
// from what comes.
func TestCursors(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		id := w.create(a, "tea")
		ctx := w.within(time.Hour)
		send := func(text string) string {
			t.Helper()
			s, err := a.API().Send(ctx, api.SendRequest{Group: "tea", Text: text})
			if err != nil {
				t.Fatal(err)
			}
			return s.ID
		}
		texts := func(r api.TimelineRequest) (out []string, last uint64) {
			t.Helper()
			r.Group = "tea"
			if err := a.API().Timeline(ctx, r, func(h api.Happening) error {
				if last = h.Cursor; h.Message != nil {
					out = append(out, h.Message.Text)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			return out, last
		}
		ack := func(name string, to uint64) api.DurableCursor {
			t.Helper()
			c, err := a.API().Acknowledge(ctx, api.AcknowledgeRequest{Group: "tea", Name: name, Cursor: to})
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		send("before")
		if got, _ := texts(api.TimelineRequest{As: "bot"}); len(got) > 0 {
			t.Errorf("a new name begins with %q", got)
		}
		ack("all", 0)
		send("one")
		two := send("two")
		for range 2 {
			if got, _ := texts(api.TimelineRequest{As: "bot"}); !slices.Equal(got, []string{"one", "two"}) {
				t.Errorf("unacknowledged: %q", got)
			}
			if got, _ := texts(api.TimelineRequest{As: "all"}); !slices.Equal(got, []string{"before", "one", "two"}) {
				t.Errorf("from the first on: %q", got)
			}
			w.close(0)
			a = w.open(0)
		}
		if _, err := a.API().Delete(ctx, api.MessageRequest{Group: "tea", Message: two}); err != nil {
			t.Fatal(err)
		}
		got, last := texts(api.TimelineRequest{As: "bot"})
		if !slices.Equal(got, []string{"one", ""}) {
			t.Errorf("after a message was deleted its text is there: %q", got)
		}
		if c := ack("bot", last); c.Cursor != last || c.Name != "bot" || c.Group != id.String() {
			t.Errorf("%+v", c)
		}
		if c := ack("bot", 1); c.Cursor != last {
			t.Errorf("a cursor went back: %+v", c)
		}
		w.close(0)
		a = w.open(0)
		if got, _ := texts(api.TimelineRequest{As: "bot"}); len(got) > 0 {
			t.Errorf("acknowledged, and here again: %q", got)
		}
		send("replayed")
		enough := errors.New("enough")
		var live []string
		err := a.API().Timeline(ctx, api.TimelineRequest{Group: "tea", As: "bot", Follow: true}, func(h api.Happening) error {
			if h.Message == nil || h.Message.Change != nil {
				return nil
			}
			if live = append(live, fmt.Sprint(h.Message.Text, h.Live)); len(live) == 1 {
				send("followed")
				return nil
			}
			return enough
		})
		if !errors.Is(err, enough) || !slices.Equal(live, []string{"replayedfalse", "followedtrue"}) {
			t.Errorf("%q, %v", live, err)
		}
		for _, name := range []string{"", "a/b", "a b", strings.Repeat("x", 65), "é"} {
			if _, err := a.API().Acknowledge(ctx, api.AcknowledgeRequest{Group: "tea", Name: name}); api.CodeOf(err) != api.CodeInvalid {
				t.Errorf("the name %q: %v", name, err)
			}
		}
		if _, err := a.API().Acknowledge(ctx, api.AcknowledgeRequest{Group: "tea", Name: "bot", Cursor: 1 << 40}); api.CodeOf(err) != api.CodeConflict {
			t.Errorf("beyond the newest: %v", err)
		}
		for i := range maxCursors - 2 {
			ack(fmt.Sprint("n", i), 0)
		}
		if _, err := a.API().Acknowledge(ctx, api.AcknowledgeRequest{Group: "tea", Name: "more"}); api.CodeOf(err) != api.CodeLimited {
			t.Errorf("one more: %v", err)
		}
		if _, err := a.API().RemoveCursor(ctx, api.CursorRequest{Group: "tea", Name: "n0"}); err != nil {
			t.Error(err)
		}
		if _, err := a.API().RemoveCursor(ctx, api.CursorRequest{Group: "tea", Name: "n0"}); api.CodeOf(err) != api.CodeNotFound {
			t.Errorf("removed twice: %v", err)
		}
		if all, err := a.API().Cursors(ctx, api.GroupRequest{Group: "tea"}); err != nil || len(all.Cursors) != maxCursors-1 || all.Newest < last {
			t.Errorf("%d cursors, %+v", len(all.Cursors), err)
		}
		if err := erase(a.store, a.apply, id); err != nil {
			t.Fatal(err)
		}
		if all, err := a.cursors.all(id); err != nil || len(all) > 0 {
			t.Errorf("with the group %v is left, %v", all, err)
		}
	})
}
