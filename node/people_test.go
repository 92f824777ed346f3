package node

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// reads lists the texts that a node shows of a group in each way that people read it, and fails
// if two ways differ.
func (w *world) reads(n *Node, id wire.GroupID) []string {
	w.Helper()
	ctx, s := w.within(time.Minute), n.API()
	ways := map[string][]string{}
	page, err := s.Messages(ctx, api.MessagesRequest{Group: id.String()})
	if err != nil {
		w.Fatal(err)
	}
	for _, m := range page.Messages {
		ways["messages"] = append(ways["messages"], m.Text)
	}
	before, err := s.Messages(ctx, api.MessagesRequest{Group: id.String(), Before: 1 << 40, Limit: 100})
	if err != nil {
		w.Fatal(err)
	}
	for _, m := range before.Messages {
		ways["messages before"] = append(ways["messages before"], m.Text)
	}
	for way, r := range map[string]api.TimelineRequest{"timeline": {}, "newest": {Last: 100}, "page of history": {Last: 100, Before: 1 << 40}} {
		r.Group = id.String()
		if err := s.Timeline(ctx, r, func(h api.Happening) error {
			if h.Message != nil {
				ways[way] = append(ways[way], h.Message.Text)
			}
			return nil
		}); err != nil {
			w.Fatal(err)
		}
	}
	if err := s.Search(ctx, api.SearchRequest{Group: id.String(), Words: "tea"}, func(m api.Message) error {
		ways["search"] = slices.Insert(ways["search"], 0, m.Text)
		return nil
	}); err != nil {
		w.Fatal(err)
	}
	for way, texts := range ways {
		if !slices.Equal(texts, ways["messages"]) {
			w.Errorf("%s shows %q, messages %q", way, texts, ways["messages"])
		}
	}
	if len(ways) != 6 {
		w.Errorf("%d ways to read", len(ways))
	}
	return ways["messages"]
}

// A blocked user is hidden in every way to read, is not counted as unread, and comes back with
// what it wrote meanwhile. Others see all, and get it from the one who hides it.
func TestBlocked(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b, c := w.open(0), w.open(1, 0), w.open(2, 0)
		id := w.create(a, "tea house")
		w.join(b, id)
		w.join(c, id)
		first := w.send(b, id, "tea one")
		w.shows(a, id, time.Minute, "tea one")
		second := w.send(a, id, "tea two")
		w.shows(c, id, time.Minute, "tea one", "tea two")
		sa, ctx := a.API(), w.within(time.Hour)
		w.shows(b, id, time.Minute, "tea one", "tea two")
		for _, n := range []*Node{b, c} {
			if _, err := n.API().React(ctx, api.ReactionRequest{Group: id.String(), Message: second.String(), Text: "\u2764"}); err != nil {
				t.Fatal(err)
			}
		}
		answer, err := c.API().Send(ctx, api.SendRequest{Group: id.String(), Text: "tea three", ReplyTo: first.String()})
		if err != nil {
			t.Fatal(err)
		}
		w.shows(a, id, time.Minute, "tea one", "tea two", "tea three")
		of := func() api.Message {
			t.Helper()
			m, err := sa.Messages(ctx, api.MessagesRequest{Group: id.String()})
			if err != nil {
				t.Fatal(err)
			}
			return m.Messages[slices.IndexFunc(m.Messages, func(m api.Message) bool { return m.Text == "tea two" })]
		}
		w.eventually(a, time.Minute, "two reactions", func() bool { r := of().Reactions; return len(r) == 1 && r[0].Count == 2 })
		list := func() api.Group {
			t.Helper()
			g, err := sa.Group(ctx, api.GroupRequest{Group: id.String()})
			if err != nil {
				t.Fatal(err)
			}
			return g
		}
		if g := list(); g.Unread != 2 {
			t.Errorf("%d unread before", g.Unread)
		}
		yes, no := true, false
		p, err := sa.SetPerson(ctx, api.SetPersonRequest{User: "device 1", Blocked: &yes})
		if err != nil || !p.Blocked {
			t.Fatalf("%+v, %v", p, err)
		}
		events := a.feed.newest()
		w.send(b, id, "tea four")
		w.shows(c, id, time.Minute, "tea one", "tea two", "tea three", "tea four")
		w.eventually(a, time.Minute, "the fourth is here", func() bool {
			all, err := look(ctx, a.groups, id, func(m *group.Machine) int { all, _ := m.Journal().Messages(0, 0); return len(all) })
			return err == nil && all == 4
		})
		if got := w.reads(a, id); !slices.Equal(got, []string{"tea two", "tea three"}) {
			t.Errorf("with the block: %q", got)
		}
		if r := of().Reactions; len(r) != 1 || r[0].Count != 1 {
			t.Errorf("reactions with the block: %+v", r)
		}
		if g := list(); g.Unread != 1 {
			t.Errorf("%d unread with the block", g.Unread)
		}
		for _, e := range a.feed.after(events) {
			if e.Event.Kind == group.EventMessage && e.Event.User == b.me.device.User {
				t.Error("people are told of a message that is hidden")
			}
		}
		if m, err := sa.Message(ctx, api.MessageRequest{Group: id.String(), Message: answer.ID}); err != nil || m.ReplyTo == nil || m.ReplyTo.User != "" || m.ReplyTo.Excerpt != "" {
			t.Errorf("an answer to what is hidden: %+v, %v", m.ReplyTo, err)
		}
		if _, err := sa.Message(ctx, api.MessageRequest{Group: id.String(), Message: first.String()}); api.CodeOf(err) != api.CodeNotFound {
			t.Errorf("a message that is hidden, by its ID: %v", err)
		}
		if _, err := sa.React(ctx, api.ReactionRequest{Group: id.String(), Message: first.String(), Text: "\u2764"}); api.CodeOf(err) != api.CodeNotFound {
			t.Errorf("a reaction to what is hidden: %v", err)
		}
		if m, err := sa.Message(ctx, api.MessageRequest{Group: id.String(), Message: wordLast}); err != nil || m.Text != "tea three" {
			t.Errorf("last is %q, %v", m.Text, err)
		}
		if g := list(); g.Gaps != 0 || g.Outbox != 0 {
			t.Errorf("the group lacks something: %+v", g)
		}
		// A newcomer gets the logs from the one who hides it, which the others left alone.
		w.close(1)
		w.close(2)
		d := w.open(3, 0)
		w.join(d, id)
		names, err := look(ctx, d.groups, id, func(m *group.Machine) map[wire.UserID]string { return m.Names() })
		if err != nil || names[b.me.device.User] != "device 1" {
			t.Errorf("a newcomer knows %v, %v", names, err)
		}
		if p, err = sa.SetPerson(ctx, api.SetPersonRequest{User: p.User, Blocked: &no}); err != nil || p.Blocked {
			t.Fatalf("%+v, %v", p, err)
		}
		if got := w.reads(a, id); !slices.Equal(got, []string{"tea one", "tea two", "tea three", "tea four"}) {
			t.Errorf("without the block: %q", got)
		}
		if g := list(); g.Unread != 3 {
			t.Errorf("%d unread without the block", g.Unread)
		}
	})
}

// A user is verified by what the other side shows, and marked wherever its name is; its petname
// never travels, and comes back from a backup. Another user with the name is not the one.
func TestVerifiedAndNamed(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b, c := w.open(0), w.open(1, 0), w.open(2, 0)
		id := w.create(a, "tea")
		w.join(b, id)
		ctx, sa, sb := w.within(time.Hour), a.API(), b.API()
		mine, err := sa.Person(ctx, api.PersonRequest{User: "device 1"})
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := sb.Person(ctx, api.PersonRequest{User: a.me.device.User.String()})
		if err != nil || theirs.Digits != mine.Digits || theirs.Words != mine.Words || theirs.Code == mine.Code || mine.Verified {
			t.Fatalf("%+v and %+v, %v", mine, theirs, err)
		}
		swapped := strings.Fields(mine.Digits)
		swapped[0], swapped[1] = swapped[1], swapped[0]
		words := strings.Fields(mine.Words)
		slices.Reverse(words)
		for shown, want := range map[string]api.Code{
			"": api.CodeInvalid, "\n": api.CodeInvalid,
			strings.Join(swapped, " "): api.CodeVerification,
			mine.Digits[:59]:           api.CodeInvalid,
			strings.Join(words, " "):   api.CodeVerification,
			mine.Words + " more":       api.CodeVerification,
			mine.Code:                  api.CodeInvalid, // one's own screen
			theirs.Code[:90]:           api.CodeInvalid,
			strings.Replace(theirs.Code, b.me.device.User.String(), c.me.device.User.String(), 1): api.CodeVerification,
			strings.Replace(theirs.Code, a.me.device.User.String(), c.me.device.User.String(), 1): api.CodeVerification,
		} {
			if _, err := sa.Verify(ctx, api.VerifyRequest{User: mine.User, Shown: shown}); api.CodeOf(err) != want {
				t.Errorf("%q: %v, want %s", shown, err, want)
			}
		}
		for what, err := range map[string]error{
			"oneself":  only(sa.Verify(ctx, api.VerifyRequest{User: a.me.device.User.String(), Shown: mine.Digits})),
			"nobody":   only(sa.Verify(ctx, api.VerifyRequest{User: c.me.device.User.String(), Shown: mine.Digits})),
			"not done": only(sa.Unverify(ctx, api.PersonRequest{User: mine.User})),
		} {
			if code := api.CodeOf(err); code != map[string]api.Code{"oneself": api.CodeInvalid, "nobody": api.CodeNotFound, "not done": api.CodeConflict}[what] {
				t.Errorf("%s: %v", what, err)
			}
		}
		for _, shown := range []string{strings.ReplaceAll(mine.Digits, " ", ""), strings.ToUpper(mine.Words), theirs.Code, mine.Digits} {
			if p, err := sa.Verify(ctx, api.VerifyRequest{User: mine.User, Shown: shown}); err != nil || !p.Verified || p.When.IsZero() {
				t.Errorf("%q: %+v, %v", shown, p, err)
			}
			if _, err := sa.Unverify(ctx, api.PersonRequest{User: mine.User}); err != nil {
				t.Error(err)
			}
		}
		if _, err := sa.Verify(ctx, api.VerifyRequest{User: mine.User, Shown: mine.Digits}); err != nil {
			t.Fatal(err)
		}

		for _, bad := range []string{" ", "a\nb", "a\x07", "b\u202een", "b\u0435n", strings.Repeat("x", 65), "\xff", api.Mark + " ben"} {
			if _, err := sa.SetPerson(ctx, api.SetPersonRequest{User: mine.User, Petname: &bad}); api.CodeOf(err) != api.CodeInvalid {
				t.Errorf("the petname %q: %v", bad, err)
			}
		}
		pet := "Ben from work"
		if p, err := sa.SetPerson(ctx, api.SetPersonRequest{User: "device 1", Petname: &pet}); err != nil || p.Name != pet || p.OwnName != "device 1" {
			t.Fatalf("%+v, %v", p, err)
		}
		w.send(b, id, "hello")
		w.shows(a, id, time.Minute, "hello")
		m, err := sa.Message(ctx, api.MessageRequest{Group: id.String(), Message: wordLast})
		if err != nil || m.Name != pet || !m.Verified {
			t.Errorf("%q, verified %v, %v", m.Name, m.Verified, err)
		}
		if why, err := sa.Why(ctx, api.WhyRequest{Group: id.String(), Subject: wordLast}); err != nil || !strings.Contains(strings.Join(why.Facts, "\n"), api.Mark+" "+pet+" wrote it") {
			t.Errorf("%q, %v", why.Facts, err)
		}
		if all, err := sb.Members(ctx, api.GroupRequest{Group: id.String()}); err != nil || slices.ContainsFunc(all.Members, func(m api.Member) bool { return m.Name == pet || m.Verified }) {
			t.Errorf("the petname or the mark travelled: %+v, %v", all, err)
		}

		// Another user takes the name.
		for _, name := range []string{"Device 1", "ben FROM work", "\u2713 device 1"} {
			if _, err := c.API().Rename(ctx, api.RenameRequest{Name: name}); err != nil {
				t.Fatal(err)
			}
			other := w.create(a, "room for "+name)
			w.join(c, other)
			all, err := sa.Members(ctx, api.GroupRequest{Group: other.String()})
			if err != nil {
				t.Fatal(err)
			}
			i := slices.IndexFunc(all.Members, func(m api.Member) bool { return m.User == c.me.device.User.String() })
			want := api.NotVerified
			if name == "\u2713 device 1" {
				want = ""
			}
			if i < 0 || all.Members[i].Doubt != want || all.Members[i].Verified || strings.Contains(all.Members[i].Name, api.Mark) {
				t.Errorf("%q: %+v", name, all.Members)
			}
			if st, err := sa.Status(ctx, api.StatusRequest{}); err != nil || want != "" && !strings.Contains(strings.Join(st.Watch, "\n"), "as somebody is whom you verified") {
				t.Errorf("%q: status says %q, %v", name, st.Watch, err)
			}
		}
		if _, err := sa.Person(ctx, api.PersonRequest{User: "device 1"}); api.CodeOf(err) != api.CodeAmbiguous {
			t.Errorf("a name of two: %v", err)
		}

		// A device that it gets later is said softly, and counts as seen once it is verified again.
		if _, _, err := a.people.change(b.me.device.User, func(row *personRow) { row.Devices = nil }); err != nil {
			t.Fatal(err)
		}
		p, err := sa.Person(ctx, api.PersonRequest{User: mine.User})
		if err != nil || !slices.Equal(p.New, []string{b.me.device.ID.String()}) || !p.Verified {
			t.Errorf("%+v, %v", p, err)
		}
		if st, err := sa.Status(ctx, api.StatusRequest{}); err != nil || !strings.Contains(strings.Join(st.Watch, "\n"), "has a new device: pandanode verify "+api.Short(mine.User)) {
			t.Errorf("status says %q, %v", st.Watch, err)
		}
		if p, err = sa.Verify(ctx, api.VerifyRequest{User: mine.User, Shown: mine.Digits}); err != nil || len(p.New) > 0 {
			t.Errorf("%+v, %v", p, err)
		}

		saved, key := w.backup(atRest(a))
		w.close(0)
		w.restore(0, saved, key)
		a = w.open(0, 1)
		if all, err := a.API().People(ctx, api.Empty{}); err != nil || len(all.People) != 1 || all.People[0].Petname != pet || !all.People[0].Verified {
			t.Errorf("from a backup: %+v, %v", all, err)
		}
		none := ""
		if p, err := a.API().SetPerson(ctx, api.SetPersonRequest{User: pet, Petname: &none}); err != nil || p.Name == pet {
			t.Errorf("%+v, %v", p, err)
		}
		if due, err := a.store.Get([]byte(keyPurge)); err != nil || len(due) == 0 {
			t.Errorf("the store does not give up a petname that is none any more: %v", err)
		}
	})
}

func only[T any](_ T, err error) error { return err }
