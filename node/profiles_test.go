package node

import (
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/content"
	"github.com/pandanode/pandanode/node/group"
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
		for _, bad := range [][3]string{
			{strings.Repeat("x", 65), "", "the name has 65 bytes, and at most 64 are allowed"},
			{"two\nlines", "", "the name has more than one line"},
			{"\u2713 Anna", "", "without a check mark"},
			{"\u200b", "", "the name is blank"},
			{"ann\u0430", "", "letters of several alphabets"},
			{"Anna", strings.Repeat("x", 257), "the text about you has 257 bytes, and at most 256 are allowed"},
		} {
			if err := put(bad[0], bad[1]); api.CodeOf(err) != api.CodeInvalid || !strings.Contains(err.Error(), bad[2]) {
				t.Errorf("%q: %v", bad[:2], err)
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

// TestRepeatedProfiles shows when a group is told of a profile: at once what it does not know, and
// for a newcomer once the user has spoken, but in a group of a hundred not with each.
func TestRepeatedProfiles(t *testing.T) {
	user, then := wire.UserID{1}, time.UnixMilli(1_800_000_000_000)
	own := profileRow{Name: "Anna"}
	said := func(name string, added, spoke uint64) groupProfiles {
		return groupProfiles{
			row:  profilesRow{Added: added, Spoke: spoke},
			said: map[wire.UserID]saidProfile{user: {content.Profile{Name: name}, content.Said{HLC: uint64(crdt.HLCFromTime(then))}, 10, false}},
		}
	}
	const never = -1
	for what, c := range map[string]struct {
		in      groupProfiles
		own     profileRow
		members int
		after   time.Duration
	}{
		"no profile":                         {said("Anna", 20, 30), profileRow{}, 3, never},
		"nothing said yet":                   {groupProfiles{}, own, 3, 0},
		"another name":                       {said("Ann", 0, 0), own, 3, 0},
		"a newcomer of three":                {said("Anna", 20, 30), own, 3, 30 * time.Second},
		"a newcomer of a hundred":            {said("Anna", 20, 30), own, 100, 1000 * time.Second},
		"a newcomer, and nothing said since": {said("Anna", 20, 15), own, 3, never},
		"the newcomer came before":           {said("Anna", 5, 30), own, 3, never},
		"nobody came in":                     {said("Anna", 0, 30), own, 3, never},
	} {
		at, must := c.in.due(user, c.own, c.members)
		switch {
		case must != (c.after != never):
			t.Errorf("%s: %v", what, must)
		case c.after > 0 && at.Sub(then) != c.after, c.after == 0 && !at.IsZero():
			t.Errorf("%s: after %v", what, at.Sub(then))
		}
	}
}

// TestLaterProfileOfTheUser shows that a user has one profile: what another device of the user said
// later, or this one before it went back to a backup, is this device's word too, and no newcomer
// is told an older one. A restart keeps it.
func TestLaterProfileOfTheUser(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		n := w.open(0)
		name := "Ann"
		if _, err := n.API().PutProfile(w.within(time.Minute), api.UserProfileRequest{Name: &name}); err != nil {
			t.Fatal(err)
		}
		said := func(name string, at time.Time) saidProfile {
			return saidProfile{Profile: content.Profile{Name: name}, message: content.Said{HLC: uint64(crdt.HLCFromTime(at))}}
		}
		for _, s := range []saidProfile{said("Anna", time.Now().Add(time.Minute)), said("An", time.Now().Add(-time.Minute)), {}} {
			if own, err := n.keepNewest(s, profileRow{}); err != nil || own.Name != "Anna" {
				t.Errorf("%q: %+v, %v", s.Name, own, err)
			}
		}
		w.close(0)
		n = w.open(0)
		if p, err := n.API().Profile(w.within(time.Minute), api.Empty{}); err != nil || p.Name != "Anna" {
			t.Errorf("after a restart: %+v, %v", p, err)
		}
	})
}

// A start looks for profiles in what came last alone, and not in all the history that a node has
// read since it began.
func TestProfilesKeepUp(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		id := w.create(a, "tea")
		sent := make([]wire.Content, maxSendTogether)
		for i := range sent {
			sent[i] = wire.Content{MediaType: "text/plain", Data: []byte("again")}
		}
		for range 3*maxProfileEvents/len(sent) + 1 {
			if _, err := a.sendAll(w.Context(), id, sent); err != nil {
				t.Fatal(err)
			}
		}
		var cursor uint64
		w.eventually(a, time.Minute, "its place is noted", func() bool {
			var row profilesRow
			g, err := a.groups.must(id)
			if err == nil {
				err = g.loop.look(w.Context(), func(m *group.Machine) error { cursor = m.Journal().Cursor(); return nil })
			}
			if err == nil {
				_, err = getRow(a.store, keyProfiles+string(id[:]), &row)
			}
			if err != nil {
				t.Fatal(err)
			}
			return row.UpTo+2*maxProfileEvents >= cursor
		})
		if cursor <= 3*maxProfileEvents {
			t.Errorf("%d events are too few for this test", cursor)
		}
	})
}
