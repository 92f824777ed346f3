package node

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/content"
)

// The timeline has messages and what people see beside them, from a cursor or the newest
// so many, and goes on if it is to; what was seen is not unseen any more.
func TestTimeline(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		b := w.open(1, 0)
		id := w.create(a, "tea")
		w.join(b, id)
		w.send(a, id, "one")
		sa, sb := a.API(), b.API()
		name := "tea house"
		if g, err := sa.SetProfile(w.within(time.Minute), api.ProfileRequest{Group: "TEA", Name: &name}); err != nil || g.Name != name {
			t.Fatalf("%+v, %v", g, err)
		}
		w.send(a, id, "two")
		w.shows(b, id, time.Minute, "one", "two")
		lines := func(s api.API, r api.TimelineRequest) (out []string, last uint64, more bool) {
			t.Helper()
			r.Group = id.String()
			if err := s.Timeline(w.within(time.Minute), r, func(h api.Happening) error {
				var text string
				if h.Message != nil {
					text = h.Message.Text
				} else {
					text = strings.Join([]string{string(h.Event.Kind), h.Event.UserName, h.Event.ByName, h.Event.Detail}, ",")
				}
				if h.Cursor <= last || h.At.IsZero() {
					t.Errorf("%q has cursor %d after %d, at %v", text, h.Cursor, last, h.At)
				}
				out, last, more = append(out, text), h.Cursor, more || h.More
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			return out, last, more
		}
		want := `joined,,,founded|profile,device 0,device 0,name "tea"|member-added,device 1,device 0,|one|profile,device 0,device 0,name "tea house"|two`
		all, newest, more := lines(sa, api.TimelineRequest{})
		if got := strings.Join(all, "|"); got != want || more {
			t.Errorf("the founder sees %s", got)
		}
		if got, _, more := lines(sa, api.TimelineRequest{Last: 1, Before: newest + 1}); strings.Join(got, "|") != "two" || !more {
			t.Errorf("one before what is to come: %q, more %v", got, more)
		}
		if got, _, more := lines(sa, api.TimelineRequest{Last: 9, Before: newest}); strings.Join(got, "|")+"|two" != want || more {
			t.Errorf("all before the newest: %q, more %v", got, more)
		}
		for _, r := range []api.TimelineRequest{{Before: 3}, {Last: 1, Before: 3, Follow: true}, {Last: 1, Before: 3, Since: 1}} {
			r.Group = id.String()
			if err := sa.Timeline(w.Context(), r, func(api.Happening) error { return nil }); api.CodeOf(err) != api.CodeInvalid {
				t.Errorf("%+v: %v", r, err)
			}
		}
		got, _, more := lines(sb, api.TimelineRequest{}) // in the order in which it came
		slices.Sort(got)
		if strings.Join(got, "|") != `joined,,,|one|profile,device 0,device 0,name "tea house"|two` || more {
			t.Errorf("the other sees %s", got)
		}
		if got, _, more := lines(sa, api.TimelineRequest{Last: 2}); strings.Join(got, "|") != strings.Join(all[4:], "|") || !more {
			t.Errorf("the last two are %s, %v", got, more)
		}
		if got, _, _ := lines(sa, api.TimelineRequest{Since: newest}); len(got) > 0 {
			t.Errorf("after the newest: %s", got)
		}
		stop := errors.New("enough")
		go func() { w.send(b, id, "three") }()
		if err := sa.Timeline(w.within(time.Minute), api.TimelineRequest{Group: id.String(), Last: 1, Follow: true}, func(h api.Happening) error {
			if h.Message.Text == "three" {
				return stop
			}
			return nil
		}); !errors.Is(err, stop) {
			t.Error(err)
		}

		unseen := func() int {
			t.Helper()
			g, err := sb.Group(w.within(time.Minute), api.GroupRequest{Group: id.String()})
			if err != nil || g.Active.IsZero() {
				t.Fatal(g, err)
			}
			return g.Unseen
		}
		if got := unseen(); got != 2 {
			t.Errorf("%d messages are unseen, want 2", got)
		}
		messages, err := b.Messages(w.within(time.Minute), id, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			cursor uint64
			left   int
		}{{messages[0].Cursor, 1}, {messages[1].Cursor, 0}, {1, 0}} { // it never goes back
			if _, err := sb.MarkSeen(w.within(time.Minute), api.SeenRequest{Group: id.String(), Cursor: c.cursor}); err != nil {
				t.Fatal(err)
			}
			if got := unseen(); got != c.left {
				t.Errorf("after %d: %d are unseen, want %d", c.cursor, got, c.left)
			}
		}
		if _, err := sb.MarkSeen(w.within(time.Minute), api.SeenRequest{Group: id.String(), Cursor: 1 << 40}); api.CodeOf(err) != api.CodeConflict {
			t.Errorf("a cursor of elsewhere: %v", err)
		}
		w.close(1)
		b = w.open(1, 0)
		sb = b.API()
		if got := unseen(); got != 0 {
			t.Errorf("after a restart %d are unseen", got)
		}
	})
}

// A read mark goes forward alone and is told of; what comes after it is unread, counted with
// its mentions, however late it comes. The mark is in a backup, and a crash does not lose it.
func TestReadMark(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b, c := w.open(0), w.open(1, 0), w.open(2, 0)
		id := w.create(a, "tea")
		w.join(b, id)
		w.join(c, id)
		tea := id.String()
		ctx := w.within(time.Hour)
		say := func(n *Node, r api.SendRequest) {
			t.Helper()
			r.Group = tea
			if _, err := n.API().Send(ctx, r); err != nil {
				t.Fatal(err)
			}
		}
		counts := func(unread, mentions int) {
			t.Helper()
			all, err := b.API().Groups(ctx, api.Empty{})
			if err != nil {
				t.Fatal(err)
			}
			if g := all.Groups[0]; g.Unread != unread || g.Mentions != mentions || g.Unseen != unread {
				t.Errorf("%d are unread, %d mentions, %d unseen; want %d, %d", g.Unread, g.Mentions, g.Unseen, unread, mentions)
			}
		}
		read := func(r api.ReadRequest) api.ReadMark {
			t.Helper()
			r.Group = "TEA"
			m, err := b.API().Read(ctx, r)
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		link := "tea for [you](" + content.UserURI(b.me.device.User) + ")"
		say(a, api.SendRequest{Text: "one"})
		say(a, api.SendRequest{Text: link, Markdown: true})
		w.shows(b, id, time.Minute, "one", link)
		w.shows(c, id, time.Minute, "one", link)
		counts(2, 1)
		told := b.feed.newest()
		newest := read(api.ReadRequest{Message: "last"})
		if newest.Unread != 0 || newest.Mentions != 0 || newest.Group != tea {
			t.Errorf("%+v", newest)
		}
		counts(0, 0)
		if again := read(api.ReadRequest{Cursor: 1}); again != newest {
			t.Errorf("the mark went back: %+v", again)
		}
		var events []nodeEvent
		for _, e := range b.feed.after(told) {
			if e.Event.Kind == eventRead {
				events = append(events, e)
			}
		}
		if len(events) != 1 || events[0].UpTo != newest.Cursor || events[0].Group != id {
			t.Errorf("told was %+v", events)
		}
		for name, r := range map[string]api.ReadRequest{
			"nothing": {Group: tea}, "both": {Group: tea, Cursor: 1, Message: "last"},
		} {
			if _, err := b.API().Read(ctx, r); api.CodeOf(err) != api.CodeInvalid {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := b.API().Read(ctx, api.ReadRequest{Group: tea, Cursor: 1 << 40}); api.CodeOf(err) != api.CodeConflict {
			t.Errorf("a cursor of elsewhere: %v", err)
		}

		// A message whose place is among those that were read is unread all the same.
		w.close(0)
		w.close(1)
		say(c, api.SendRequest{Text: "late", ReplyTo: "last"})
		say(c, api.SendRequest{Text: link, Markdown: true})
		w.close(2)
		a, b = w.open(0), w.open(1, 0)
		counts(0, 0)
		say(a, api.SendRequest{Text: "two"})
		w.shows(b, id, time.Minute, "one", link, "two")
		read(api.ReadRequest{Message: "last"})
		counts(0, 0)
		w.open(2, 0)
		w.shows(b, id, time.Minute, "one", link, "two", "late", link)
		counts(2, 1)
		say(a, api.SendRequest{Text: "three"})
		w.shows(b, id, time.Minute, "one", link, "two", "late", link, "three")
		counts(3, 1)

		saved, key := w.backup(atRest(b))
		w.close(1)
		w.restore(1, saved, key)
		b = w.open(1, 0)
		counts(3, 1)
	})
}

// To look for a group takes as long as it may while nobody is connected, and then says
// that nobody could be asked.
func TestFindWaitsForSomebody(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		id := w.create(a, "tea house")
		w.close(0)
		b := w.open(1, 0)
		s := b.API()
		for _, name := range []string{"tea", id.String()} {
			begun := time.Now()
			err := s.Find(w.within(time.Hour), api.FindRequest{Name: name, Timeout: api.Duration(20 * time.Second)}, func(api.Found) error { return nil })
			if took := time.Since(begun); api.CodeOf(err) != api.CodeNoPeers || took < 20*time.Second || took > 25*time.Second {
				t.Errorf("%s: alone for %v: %v", name, took, err)
			}
		}
		found := make(chan error, 1)
		go func() {
			n := 0
			err := s.Find(w.within(time.Hour), api.FindRequest{Name: "tea", Timeout: api.Duration(5 * time.Minute)}, func(api.Found) error { n++; return nil })
			if err == nil && n == 0 {
				err = errors.New("nothing was found")
			}
			found <- err
		}()
		time.Sleep(10 * time.Second) // virtual
		select {
		case err := <-found:
			t.Errorf("it did not wait: %v", err)
		default:
			w.open(0)
			if err := <-found; err != nil {
				t.Error(err)
			}
		}
	})
}
