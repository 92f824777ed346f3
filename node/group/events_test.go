package group

import (
	"slices"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/content"
	"github.com/pandanode/pandanode/node/wire"
)

// Members see each other's changes: every member has an event of a new role and of each
// change of the profile, with its author. A change that changes nothing has no event.
func TestRolesAndProfilesAreTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 7)
	a := w.device("a")
	w.found(a, wire.PolicyOpen)
	b := w.device("b")
	w.join(b)
	w.run(time.Minute)
	set := func(d *device, f wire.ProfileField, at uint64, text string) {
		t.Helper()
		item := wire.ProfileItem{V: wire.Version, Field: f, HLC: at, Text: text, Signer: d.user.Public()}
		d.must(SetProfile{Item: d.user.Sign(wire.DomainProfile, w.group, item.Encode())})
	}
	a.must(SetRole{User: b.dev.User, Role: wire.RoleAdmin})
	set(a, wire.FieldName, 1, "tea")
	set(a, wire.FieldName, 2, "tea") // again
	set(a, wire.FieldDescription, 1, "leaves")
	w.run(time.Minute)
	set(b, wire.FieldName, 1, "late") // whatever its clock: it has seen the others
	set(b, wire.FieldName, 3, "tea house")
	w.run(time.Minute)
	for _, d := range []*device{a, b} {
		var got []string
		shows := func(k EventKind) bool { return k == EventRole || k == EventProfile }
		events, err := d.m.Journal().Happened(0, 0, shows)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			by := map[wire.UserID]string{a.dev.User: "a", b.dev.User: "b"}[e.By]
			got = append(got, by+" "+string(e.Kind)+" "+e.Detail)
		}
		want := []string{"a role admin", `a profile name "tea"`, `a profile description "leaves"`, `b profile name "late"`, `b profile name "tea house"`}
		if !slices.Equal(got, want) {
			t.Errorf("%s was told %q, want %q", d.name, got, want)
		}
		last, more, err := d.m.Journal().LastHappened(1, 0, shows)
		if err != nil || len(last) != 1 || last[0].Detail != `name "tea house"` || !more {
			t.Errorf("%s: the last is %+v, %v, %v", d.name, last, more, err)
		}
		if all, more, err := d.m.Journal().LastHappened(99, 0, shows); err != nil || len(all) != len(want) || more {
			t.Errorf("%s: %d of %d, %v, %v", d.name, len(all), len(want), more, err)
		}
	}
}

// Received are the messages of others after a cursor. Edits and reactions
// make nothing unread, and an edit can mention somebody.
func TestReceived(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 8)
	a := w.device("a")
	w.found(a, wire.PolicyOpen)
	b := w.device("b")
	w.join(b)
	w.run(time.Minute)
	first := a.send("one")
	b.send("two")
	third := a.send("three")
	w.run(time.Minute)
	messages, err := b.m.Journal().Messages(0, 0)
	if err != nil || len(messages) != 3 {
		t.Fatal(messages, err)
	}
	for _, c := range []struct {
		after uint64
		most  int
		want  int
	}{{0, 100, 2}, {0, 1, 1}, {b.m.Journal().Cursor(), 100, 0}} {
		got, upTo, err := b.m.Journal().Received(c.after, c.most)
		if err != nil || len(got) != c.want {
			t.Errorf("after %d: %v, %v, want %d", c.after, got, err, c.want)
		}
		if rest, _, err := b.m.Journal().Received(upTo, 0); err != nil || len(got)+len(rest) != min(c.want, 1)*2 {
			t.Errorf("after %d and %d: %v and %v, %v", c.after, upTo, got, rest, err)
		}
	}
	unread := func(after uint64) (ids []wire.MessageID) {
		t.Helper()
		got, _, err := b.m.Journal().Received(after, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range got {
			if r.User != a.dev.User {
				t.Errorf("%+v is not of a", r)
			}
			if !b.m.Journal().Taken(r.ID) {
				ids = append(ids, r.ID)
			}
		}
		return ids
	}
	read := b.m.Journal().Cursor()
	a.say(content.Message{InReplyTo: first, Part: content.Reaction("\u2764")})
	link := "[b](" + content.UserURI(b.dev.User) + ")"
	a.say(content.Message{Replaces: first, Part: content.Text(content.Markdown, link)})
	w.run(time.Minute)
	if got := unread(read); len(got) != 0 || b.m.Journal().Cursor() == read {
		t.Errorf("after a reaction and an edit %v are unread", got)
	}
	late := a.say(content.Message{Part: content.Text(content.Markdown, link)})
	gone := a.say(content.Message{Part: content.Text(content.Markdown, link)})
	w.run(time.Minute)
	for range 2 {
		if got, want := unread(read), []wire.MessageID{late, gone}; !slices.Equal(got, want) {
			t.Errorf("unread are %v, want %v", got, want)
		}
		for id, want := range map[wire.MessageID]bool{first: true, third: false, late: true, gone: true} {
			if got, err := b.m.Journal().MentionsMe(id); err != nil || got != want {
				t.Errorf("%v mentions b: %v, %v", id, got, err)
			}
		}
		b.down = true
		b.open()
	}
	a.say(content.Message{Replaces: gone, Part: content.Null(content.DispositionRender)})
	w.run(time.Minute)
	if got := unread(read); !slices.Equal(got, []wire.MessageID{late}) {
		t.Errorf("of one that was deleted unread are %v", got)
	}
}
