package group

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/content"
	"github.com/pandanode/pandanode/node/wire"
)

// say sends a container.
func (d *device) say(m content.Message) wire.MessageID {
	d.w.t.Helper()
	sum := sha256.Sum256(fmt.Append(nil, d.name, d.w.now))
	m.Salt = [16]byte(sum[:])
	b, err := m.Encode()
	if err != nil {
		d.w.t.Fatal(err)
	}
	return d.must(Send{Content: wire.Content{MediaType: content.MediaType, Data: b}}).Entry
}

func (d *device) message(id wire.MessageID) Message {
	d.w.t.Helper()
	m, ok, err := d.m.Journal().Message(id)
	if err != nil || !ok {
		d.w.t.Fatalf("%s: message %v: %v, %v", d.name, id, ok, err)
	}
	return m
}

// looks is a message as a device shows it, in a line.
func (d *device) looks(id wire.MessageID) string {
	d.w.t.Helper()
	m := d.message(id)
	out := m.Shown.Part.Words()
	if m.Shown.Edited {
		out += " (edited)"
	}
	if m.Shown.Deleted != nil {
		out += "(deleted)"
	}
	for _, r := range m.Shown.Reactions {
		out += fmt.Sprintf(" %s%d", r.Text, len(r.Users))
	}
	if m.Replies > 0 {
		out += fmt.Sprintf(" +%d", m.Replies)
	}
	return out
}

func written(text string) content.Message {
	return content.Message{Part: content.Text(content.Plain, text)}
}

// Members answer, edit, react and delete, and all of them see the same, whatever order it
// came in and after a restart.
func TestSayings(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 21)
	w.gossip = true
	first := a.say(written("tea?"))
	plain := b.send("as of old")
	w.run(2 * time.Second)
	answer := b.say(content.Message{InReplyTo: first, Part: content.Text(content.Plain, "yes")})
	heart := content.Message{InReplyTo: first, Part: content.Reaction("\u2764")}
	reaction := c.say(heart)
	b.say(heart)
	b.say(content.Message{InReplyTo: plain, Part: content.Reaction("x")})
	a.say(content.Message{Replaces: first, Part: content.Text(content.Plain, "tea, or coffee?")})
	forged := c.say(content.Message{Replaces: first, Part: content.Text(content.Plain, "beer?")})
	w.run(5 * time.Second)
	c.say(content.Message{Replaces: reaction, Part: content.Null(content.DispositionReaction)})
	overreach := c.say(content.Message{Replaces: first, Part: content.Null(content.DispositionRender)})
	gone := b.say(written("to be gone"))
	w.run(2 * time.Second)
	a.say(content.Message{Replaces: gone, Part: content.Null(content.DispositionRender)}) // its owner may
	broken := b.must(Send{Content: wire.Content{MediaType: content.MediaType, Data: []byte{0x87, 0xff}}}).Entry
	after := b.say(written("after it"))
	w.run(20 * time.Second)
	for _, d := range []*device{a, b, c} {
		for range 2 {
			for id, want := range map[wire.MessageID]string{
				first: "tea, or coffee? (edited) \u27641 +1", plain: "as of old x1", answer: "yes", gone: "(deleted)", broken: "", after: "after it",
			} {
				if got := d.looks(id); got != want {
					t.Errorf("%s sees %q, want %q", d.name, got, want)
				}
			}
			if all, err := d.m.Journal().Messages(0, 0); err != nil || len(all) != 6 {
				t.Errorf("%s was shown %d messages, want 6: edits, deletes and reactions are none (%v)", d.name, len(all), err)
			}
			if got, _, err := d.m.Journal().Received(0, 0); err != nil || len(got) > 6 {
				t.Errorf("%s received %d (%v)", d.name, len(got), err)
			}
			for id, want := range map[wire.MessageID]string{
				forged: "changes nothing: only its author edits", overreach: "may not delete this message of somebody else", broken: "cannot be shown: malformed", gone: "anna deleted it",
			} {
				if facts := strings.Join(d.m.Explain(w.now, id, nil).Facts, "\n"); !strings.Contains(facts, want) && d.message(id).User != d.dev.User {
					t.Errorf("%s is told of %v:\n%s\nwant %q", d.name, id, facts, want)
				}
			}
			d.down = true
			d.open()
		}
	}
	for _, d := range []*device{b, c} {
		kinds := map[EventKind]int{}
		events, err := d.m.Journal().Events(0, 0)
		for _, e := range events {
			kinds[e.Kind]++
			if e.Kind == EventChanged && !slices.Contains([]string{saysEdit, saysDelete, saysReact}, e.Detail) {
				t.Errorf("%s: %+v", d.name, e)
			}
		}
		if err != nil || kinds[EventMessage] != 6 || kinds[EventChanged] != 8 {
			t.Errorf("%s was told %v (%v)", d.name, kinds, err)
		}
	}
}

// A delete by somebody who left counts if others had it before, and one that is dated back
// never does; neither does one of an admin who was demoted beside it.
func TestDeletesOfFormerAdmins(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 22)
	w.gossip = true
	a, b, c := w.device("anna"), w.device("ben"), w.device("cleo")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.join(c)
	a.must(SetRole{User: b.dev.User, Role: wire.RoleAdmin})
	w.run(5 * time.Second)
	one, two, three := c.say(written("one")), c.say(written("two")), a.say(written("three"))
	w.run(5 * time.Second)
	deletes := func(id wire.MessageID) content.Message {
		return content.Message{Replaces: id, Part: content.Null(content.DispositionRender)}
	}
	b.say(deletes(one))
	b.say(deletes(three)) // an owner's: not for an admin
	w.run(5 * time.Second)
	w.gossip = false // ben does not hear that he is no admin any more
	a.must(SetRole{User: b.dev.User, Role: wire.RoleMember})
	b.say(deletes(two))
	if got := b.looks(two); got != "(deleted)" {
		t.Errorf("ben himself sees %q", got)
	}
	w.gossip = true
	w.sync(a, b)
	w.sync(b, c)
	w.run(time.Minute)
	for _, d := range []*device{a, b, c} {
		if about, err := d.m.messages.sayings.about(two, saysDelete); err != nil || len(about) != 1 {
			t.Fatalf("%s has %d deletes of it (%v)", d.name, len(about), err)
		}
		if got := []string{d.looks(one), d.looks(two), d.looks(three)}; !slices.Equal(got, []string{"(deleted)", "two", "three"}) {
			t.Errorf("%s sees %q", d.name, got)
		}
	}
}
