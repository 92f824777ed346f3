package node

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

// A newcomer is shown what the group's setting says, over streams, without what was deleted;
// it is read, and what comes after is not. Of a group without the setting it is shown nothing.
func TestEarlier(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		ctx := w.within(10 * time.Minute)
		open, closed := w.create(a, "open"), w.create(a, "closed")
		set := func(value string) error {
			_, err := a.API().Set(ctx, api.SettingRequest{Group: open.String(), Key: "history", Value: value})
			return err
		}
		for _, bad := range []string{"some", "0", "-1", "1.5", "01", "9999999"} {
			if err := set(bad); err == nil {
				t.Errorf("history %q was taken", bad)
			}
		}
		if err := set("all"); err != nil {
			t.Fatal(err)
		}
		var want []string
		for i := range 300 { // more than one Want asks for
			want = append(want, fmt.Sprint("message ", i))
			w.send(a, open, want[i])
		}
		gone := w.send(a, open, "gone")
		if _, err := a.API().Delete(ctx, api.MessageRequest{Group: open.String(), Message: gone.String()}); err != nil {
			t.Fatal(err)
		}
		w.send(a, closed, "before")
		w.join(b, open)
		w.join(b, closed)
		w.send(a, open, "after")
		w.send(a, closed, "after")
		want = append(want, "after")
		w.eventually(b, time.Minute, "all", func() bool {
			got := w.texts(b, open)
			slices.Sort(got)
			return slices.Equal(got, slices.Sorted(slices.Values(want)))
		})
		w.shows(b, closed, time.Minute, "after")
		g, err := b.API().Group(ctx, api.GroupRequest{Group: open.String()})
		if err != nil || g.Unread != 1 {
			t.Errorf("%d are unread (%v), want what came after", g.Unread, err)
		}
		all, err := b.Messages(ctx, open, 0, 1)
		if err != nil || len(all) != 1 || !b.apiMessage(ctx, open, all[0]).Earlier {
			t.Errorf("%+v (%v)", all, err)
		}
	})
}
