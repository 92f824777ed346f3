package node

import (
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/wire"
)

// A user says who it is once, and all its groups show it: those of before, one that is joined
// later, and a member who came in since, once it says something more. It is no message, stays over a
// restart, and stands behind a petname; the device's name is what others see without it.
func TestUserProfiles(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id := w.create(a, "tea")
		w.join(b, id)
		ctx := w.within(time.Hour)
		user := a.me.device.User.String()
		seen := func(n *Node, id wire.GroupID) (m api.Member) {
			t.Helper()
			all, err := n.API().Members(ctx, api.GroupRequest{Group: id.String()})
			if err != nil {
				t.Fatal(err)
			}
			for _, one := range all.Members {
				if one.User == user {
					m = one
				}
			}
			return m
		}
		shows := func(n *Node, id wire.GroupID, name, about string) {
			t.Helper()
			w.eventually(n, 2*time.Minute, "the name "+name, func() bool {
				m := seen(n, id)
				return m.Name == name && m.About == about
			})
		}
		shows(b, id, "device 0", "")
		put := func(name, about string) error {
			_, err := a.API().PutProfile(ctx, api.UserProfileRequest{Name: &name, About: &about})
			return err
		}
		for _, bad := range [][2]string{{strings.Repeat("x", 65), ""}, {"two\nlines", ""}, {"\u2713 Anna", ""}, {"\u200b", ""}, {"ann\u0430", ""}, {"Anna", strings.Repeat("x", 257)}} {
			if err := put(bad[0], bad[1]); api.CodeOf(err) != api.CodeInvalid {
				t.Errorf("%q: %v", bad, err)
			}
		}
		if err := put("Anna Kettle", "Tea, mostly green"); err != nil {
			t.Fatal(err)
		}
		shows(a, id, "Anna Kettle", "Tea, mostly green")
		shows(b, id, "Anna Kettle", "Tea, mostly green")
		said := w.send(a, id, "the kettle is on")
		w.eventually(b, time.Minute, "the message", func() bool {
			m, err := b.API().Message(ctx, api.MessageRequest{Group: id.String(), Message: said.String()})
			return err == nil && m.Name == "Anna Kettle"
		})
		if all, err := b.API().Messages(ctx, api.MessagesRequest{Group: id.String()}); err != nil || len(all.Messages) != 1 {
			t.Errorf("a profile is shown as a message: %+v, %v", all, err)
		}
		if m, err := b.API().Members(ctx, api.GroupRequest{Group: "tea"}); err != nil || len(m.Members) != 2 {
			t.Errorf("%+v, %v", m, err)
		}

		// A newcomer gets it with the next message, and a user who joins a group brings it.
		c := w.open(2, 0)
		w.join(c, id)
		w.send(a, id, "welcome")
		shows(c, id, "Anna Kettle", "Tea, mostly green")
		other := w.create(c, "board")
		w.join(a, other)
		shows(c, other, "Anna Kettle", "Tea, mostly green")

		pet := "Mum"
		if _, err := b.API().SetPerson(ctx, api.SetPersonRequest{User: user, Petname: &pet}); err != nil {
			t.Fatal(err)
		}
		if m := seen(b, id); m.Name != pet || m.OwnName != "Anna Kettle" {
			t.Errorf("with a petname: %+v", m)
		}
		pet = ""
		if _, err := b.API().SetPerson(ctx, api.SetPersonRequest{User: user, Petname: &pet}); err != nil {
			t.Fatal(err)
		}

		w.close(1)
		b = w.open(1, 0)
		shows(b, id, "Anna Kettle", "Tea, mostly green")
		if err := put("", ""); err != nil {
			t.Fatal(err)
		}
		shows(b, id, "device 0", "")
	})
}
