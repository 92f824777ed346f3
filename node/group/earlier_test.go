package group

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/content"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// sees lists what a device shows, in its order.
func (d *device) sees() (out []string) {
	d.w.t.Helper()
	all, err := d.m.Journal().Messages(0, 0)
	if err != nil {
		d.w.t.Fatal(err)
	}
	for _, m := range all {
		text := d.looks(m.ID)
		if m.Earlier {
			text = "earlier: " + text
		}
		out = append(out, text)
	}
	return out
}

func (d *device) shows(want ...string) {
	d.w.t.Helper()
	if got := d.sees(); !slices.Equal(got, want) {
		d.w.t.Errorf("%s shows\n%q, want\n%q", d.name, got, want)
	}
}

func (d *device) wantsEarlier() int {
	return len(d.m.Journal().EarlierWants(func(wire.MessageID) bool { return false }, 1000))
}

// A newcomer is shown what the setting says, of what was written while it said so, with its
// edits and reactions and without what was deleted, in order; it counts as read, is owed to
// nobody, and is there after a restart. Any member gives it, a newcomer of before too.
func TestEarlier(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 61)
	a, b, c, d := w.device("anna"), w.device("ben"), w.device("cleo"), w.device("dora")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	a.say(written("of nobody's business"))
	w.run(time.Second)
	a.must(SetSetting{Key: SettingHistory, Value: historyAll})
	w.run(time.Second)
	one := a.say(written("one"))
	two := b.say(written("two"))
	gone, hidden := b.say(written("gone")), b.say(written("hidden"))
	w.run(time.Second)
	a.say(content.Message{Replaces: one, Part: content.Text(content.Plain, "one, edited")})
	b.say(content.Message{InReplyTo: one, Part: content.Reaction("x")})
	b.say(takesAway(gone))
	a.say(takesAway(hidden)) // somebody else's: not erased yet
	w.run(5 * time.Second)
	w.join(c)
	w.sync(c, b)
	after := a.say(written("after"))
	w.run(10 * time.Second)
	for range 2 {
		c.shows("earlier: one, edited (edited) x1", "earlier: two", "after")
		if got, _, err := c.m.Journal().Received(0, 0); err != nil || len(got) != 1 || got[0].ID != after {
			t.Errorf("unread are %v (%v), want what came after", got, err)
		}
		if s := c.m.Status(); s.Gaps != 0 || s.Outbox != 0 || c.wantsEarlier() != 0 {
			t.Errorf("%+v, and it wants %d", s, c.wantsEarlier())
		}
		for _, id := range []wire.MessageID{gone, hidden} {
			if c.rows[rowPlain+hexed(id[:])] != nil {
				t.Errorf("a message that was taken away was given")
			}
		}
		c.whole()
		c.down = true
		c.open()
	}
	b.say(content.Message{Replaces: two, Part: content.Text(content.Plain, "two, edited late")})
	w.run(10 * time.Second)
	c.shows("earlier: one, edited (edited) x1", "earlier: two, edited late (edited)", "after")

	// The last two, of one who was a newcomer itself; the others are away.
	a.must(SetSetting{Key: SettingHistory, Value: "2"})
	w.run(10 * time.Second)
	w.join(d)
	w.run(5 * time.Second)
	a.online, b.online = false, false
	w.sync(d, c)
	w.run(5 * time.Second)
	d.shows("earlier: two, edited late (edited)", "earlier: after")
}

// Without the setting nothing is shown, and nothing that was written while it was not set is
// given later, or by a change of it that does not count.
func TestEarlierNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 62)
	a, b, c := w.device("anna"), w.device("ben"), w.device("cleo")
	w.found(a, wire.PolicyOpen)
	a.say(written("before"))
	w.join(b)
	w.sync(a, b)
	w.run(5 * time.Second)
	b.shows()
	a.must(SetSetting{Key: SettingHistory, Value: historyAll})
	a.say(written("open"))
	w.run(time.Second)
	a.must(SetSetting{Key: SettingHistory, Value: historyNone})
	w.run(time.Second)
	a.say(written("closed"))
	w.run(time.Second)
	w.join(c)
	w.sync(a, c)
	w.run(5 * time.Second)
	c.shows()
	a.must(SetSetting{Key: SettingHistory, Value: historyAll})
	w.run(time.Second)
	w.sync(a, c)
	w.sync(a, b)
	c.shows("earlier: open")
	b.shows("open", "closed")
}

// Somebody who is hostile gives other texts, texts that nobody asked for, the same again, more
// than fits, and what is not for newcomers; and a member who was removed gives anything.
func TestEarlierHostile(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 63)
	a, b, c := w.device("anna"), w.device("ben"), w.device("cleo")
	w.found(a, wire.PolicyOpen)
	closed := a.say(written("closed"))
	w.run(time.Second)
	a.must(SetSetting{Key: SettingHistory, Value: historyAll})
	w.run(time.Second)
	var ids []wire.MessageID
	for i := range 40 {
		ids = append(ids, a.say(written(fmt.Sprintf("%d %s", i, strings.Repeat("x", 50_000)))))
		w.run(100 * time.Millisecond)
	}
	w.join(b)
	w.sync(a, b)
	w.mean = true
	w.join(c)
	w.gossip, w.mean = false, false
	piece := func(id wire.MessageID, from wire.MessageID) wire.Earlier {
		return wire.Earlier{Message: id, Opened: a.rows[rowPlain+hexed(from[:])]}
	}
	refused := func(what string, want error, in Earlier) {
		t.Helper()
		before := c.rows.digest()
		out, err := c.step(in)
		if !errors.Is(err, want) || out.New > 0 || len(c.sees()) > 0 || c.rows.digest() != before {
			t.Errorf("%s: %v, %+v, want %v", what, err, out, want)
		}
	}
	refused("another text", verdict.ErrForged, Earlier{b.dev.ID, []wire.Earlier{piece(ids[0], ids[1])}})
	refused("no message", wire.ErrMalformed, Earlier{b.dev.ID, []wire.Earlier{{Message: ids[0], Opened: []byte("x")}}})
	refused("a closed one", nil, Earlier{b.dev.ID, []wire.Earlier{piece(closed, closed)}})
	refused("an unknown one", nil, Earlier{b.dev.ID, []wire.Earlier{piece(wire.MessageID{9}, ids[1])}})
	refused("a stranger's", verdict.ErrNotMember, Earlier{w.device("eve").dev.ID, []wire.Earlier{piece(ids[0], ids[0])}})
	var flood []wire.Earlier
	for range 20 {
		for _, id := range ids {
			flood = append(flood, piece(id, id))
		}
	}
	if out, err := c.step(Earlier{b.dev.ID, flood}); err != nil || out.New < 10 || out.New > 30 {
		t.Errorf("a flood: %+v (%v), want no more than fits into a transaction", out, err)
	}
	if c.peak > 4<<20 {
		t.Errorf("%d bytes in a transaction", c.peak)
	}
	before := len(c.sees())
	if _, err := c.step(Earlier{b.dev.ID, flood[:10]}); err != nil || len(c.sees()) != before {
		t.Errorf("again: %d messages, then %d (%v)", before, len(c.sees()), err)
	}
	if got := c.wantsEarlier(); got != 40-before {
		t.Errorf("it wants %d, want those that did not fit", got)
	}
	// A newcomer gets nothing that it may not have.
	if got, err := a.m.Journal().EarlierFor(w.now, c.dev.ID, []wire.MessageID{closed, {9}, ids[0], ids[0]}); err != nil || len(got) != 2 || got[0].Message != ids[0] {
		t.Errorf("it gets %d (%v)", len(got), err)
	}
	a.must(RemoveUser{User: b.dev.User})
	w.mean = true
	w.sync(a, c)
	if got, err := a.m.Journal().EarlierFor(w.now, b.dev.ID, ids); err != nil || len(got) > 0 {
		t.Errorf("who is out gets %d (%v)", len(got), err)
	}
	refusedOut, err := c.step(Earlier{b.dev.ID, flood[30:40]})
	if !errors.Is(err, verdict.ErrNotMember) || refusedOut.New > 0 {
		t.Errorf("who is out gives: %v", err)
	}
}

// A device that was out when a message was deleted hears of it when it comes back, whatever
// the setting is: it erases what its author took away, and hears of no edit of that time.
func TestDeletedWhileOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 64)
	a, b, c := w.device("anna"), w.device("ben"), w.device("cleo")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.join(c)
	gone, edited := a.say(written("gone")), a.say(written("first"))
	w.run(5 * time.Second)
	b.shows("gone", "first")
	b.must(Leave{})
	w.run(30 * time.Second)
	a.say(takesAway(gone))
	a.say(content.Message{Replaces: edited, Part: content.Text(content.Plain, "of that time")})
	w.run(5 * time.Second)
	b.shows("gone", "first")
	w.join(b)
	w.sync(b, c)
	w.run(10 * time.Second)
	for range 2 {
		b.shows("(deleted)", "first")
		if left := b.leftOf("gone", nil, gone); len(left) > 0 {
			t.Errorf("left are %q", left)
		}
		if b.m.Status().Gaps != 0 {
			t.Error("it waits")
		}
		b.down = true
		b.open()
	}
}

// A device reads the deletion of a message while it is out, and comes in again: the deletion
// counts there too, and nothing holds up somebody who reacted without knowing of it.
func TestDeletionReadWhileOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 69)
	a, b, c, x := w.device("anna"), w.device("ben"), w.device("cleo"), w.device("xenia")
	w.found(a, wire.PolicyOpen)
	for _, d := range []*device{b, c, x} {
		w.join(d)
	}
	text := a.say(written("taken away"))
	kept := a.say(written("kept"))
	w.run(time.Minute)
	w.cut = func(p, q *device) bool { return (p == a) != (q == a) }
	x.must(Leave{})
	w.run(10 * time.Second)
	deletion := a.say(takesAway(text))
	edit := a.say(content.Message{Replaces: kept, Part: content.Text(content.Plain, "edited")})
	c.online = false
	c.say(content.Message{InReplyTo: text, Part: content.Reaction("x")})
	last := c.say(written("still here"))
	w.cut = nil
	entries, _, err := a.m.EntriesAfter(x.dev.ID, x.m.Marks(), wire.EntryHash{}, 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	seals, err := a.m.SealsFor(x.dev.ID, []wire.MessageID{deletion, edit})
	if err != nil || len(seals) != 2 {
		t.Fatalf("%d seals: %v", len(seals), err)
	}
	x.must(Entries{Entries: entries})
	x.must(Seals{Seals: seals})
	for _, id := range []wire.MessageID{deletion, edit} {
		if x.rows[rowPlain+hexed(id[:])] == nil {
			t.Fatal("it does not have the words in plaintext")
		}
	}
	w.run(time.Minute)
	w.sync(a, b)
	w.run(time.Minute)
	w.join(x)
	w.run(time.Minute)
	if !x.m.In() || a.record(last) != nil {
		t.Fatal("it is not in before others hear of what cleo wrote")
	}
	c.online = true
	for range 3 {
		w.sync(c, a)
		w.sync(x, c)
		w.sync(x, a)
		w.run(time.Minute)
	}
	w.agree(a, b, c, x)
	for range 2 {
		if m := x.message(text); m.Shown.Deleted == nil || x.rows[rowPlain+hexed(text[:])] != nil {
			t.Errorf("it shows %q, which its author took away", x.looks(text))
		}
		if got := x.looks(kept); got != "kept" {
			t.Errorf("it shows %q: no earlier edits are for newcomers here", got)
		}
		if s := x.m.Status(); s.Gaps != 0 || x.looks(last) != "still here" {
			t.Errorf("it waits for %d messages", s.Gaps)
		}
		x.down = true
		x.open()
	}
}

// A device waits for no deletion while another word about the message, from before it came in,
// cannot be read: that may be what took the message away. Once it reads that word it wants the
// deletion, and shows what its author wrote afterwards.
func TestWordOfBeforeIsReadLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 70)
	a, b, x := w.device("anna"), w.device("ben"), w.device("xenia")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.join(x)
	text := a.say(written("taken away"))
	w.run(time.Minute)
	w.cut = func(p, q *device) bool { return (p == x) != (q == x) }
	reaction := a.say(content.Message{InReplyTo: text, Part: content.Reaction("x")})
	w.run(10 * time.Second)
	x.must(Leave{})
	w.run(10 * time.Second)
	w.cut = nil
	seals, err := b.m.SealsFor(x.dev.ID, []wire.MessageID{reaction}) // under an epoch with xenia
	if err != nil || len(seals) != 1 {
		t.Fatalf("%d seals: %v", len(seals), err)
	}
	raws, _, err := x.m.EntriesAfter(b.dev.ID, b.m.Marks(), wire.EntryHash{}, 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	b.must(Entries{Entries: raws}) // it has left
	w.run(time.Minute)
	a.online = false
	deletion, after := a.say(takesAway(text)), a.say(written("after"))
	w.sync(b, x)
	w.join(x)
	w.run(time.Minute)
	if !x.m.In() || x.record(reaction) == nil || x.record(reaction).Facts.Has(dag.IsPlain) {
		t.Fatal("it is not in, with a reaction of before that it cannot read")
	}
	a.online = true
	w.sync(a, b)
	raws, _, err = a.m.EntriesAfter(x.dev.ID, x.m.Marks(), wire.EntryHash{}, 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	x.must(Entries{Entries: raws})
	if x.record(deletion) == nil || x.lacks(deletion) {
		t.Fatal("it waits for a deletion that may be gone")
	}
	x.must(Seals{Seals: seals})
	if !x.record(reaction).Facts.Has(dag.IsPlain) {
		t.Fatal("the reaction does not open")
	}
	if !x.lacks(deletion) {
		t.Error("it does not ask for the deletion, which is owed to it")
	}
	for range 3 {
		w.sync(a, b)
		w.sync(x, a)
		w.run(time.Minute)
	}
	if m := x.message(text); m.Shown.Deleted == nil {
		t.Errorf("it shows %q, which its author took away", x.looks(text))
	}
	if it := x.record(after); !it.Facts.Has(dag.IsDelivered) {
		t.Errorf("it does not show what was written after the deletion: %+v", x.m.Status())
	}
}

// A reaction to a message of before may be gone with it, so a device waits neither for it nor for
// words about it. Once the reaction is read after all, they are owed, and are asked for: they hold
// up what their authors wrote since.
func TestWordAboutAReadReaction(t *testing.T) {
	t.Parallel()
	for _, restart := range []bool{false, true} {
		w := newWorld(t, 71)
		a, x := w.device("anna"), w.device("xenia")
		w.found(a, wire.PolicyOpen)
		phone := w.another(a, "phone")
		w.join(phone)
		text := a.say(written("of before"))
		w.run(time.Minute)
		w.join(x)
		w.run(time.Minute)
		if x.record(text).Facts.Has(dag.IsDelivered) {
			t.Fatal("a newcomer reads what was before")
		}
		w.gossip, x.online = false, false
		reaction := a.say(content.Message{InReplyTo: text, Part: content.Reaction("x")})
		w.sync(a, phone)
		seals, err := a.m.SealsFor(x.dev.ID, []wire.MessageID{reaction}) // it is erased soon
		if err != nil || len(seals) != 1 {
			t.Fatalf("%d seals: %v", len(seals), err)
		}
		back := content.Message{Replaces: reaction, Part: content.Null(content.DispositionReaction)}
		words := []wire.MessageID{a.say(back), phone.say(back)}
		last := []wire.MessageID{a.say(written("after")), phone.say(written("after"))}
		w.sync(a, phone)
		w.sync(a, phone)
		raws, _, err := a.m.EntriesAfter(x.dev.ID, x.m.Marks(), wire.EntryHash{}, 64<<10)
		if err != nil {
			t.Fatal(err)
		}
		x.must(Entries{Entries: raws})
		for _, id := range append(words, reaction) {
			if x.record(id) == nil || x.lacks(id) {
				t.Fatal("it waits for a word that may be gone")
			}
		}
		more, err := a.m.SealsFor(x.dev.ID, last)
		if err != nil || len(more) != 2 {
			t.Fatalf("%d seals: %v", len(more), err)
		}
		x.must(Seals{Seals: append(seals, more...)})
		if !x.record(reaction).Facts.Has(dag.IsDelivered) {
			t.Fatal("the reaction does not count")
		}
		if restart {
			x.down = true
			x.open()
		}
		for i, id := range words {
			if !x.lacks(id) {
				t.Errorf("restarted: %v: it does not ask for word %d, which is owed to it", restart, i)
			}
		}
		w.gossip, x.online = true, true
		w.run(5 * time.Minute)
		for i, id := range append(words, last...) {
			if !x.record(id).Facts.Has(dag.IsDelivered) {
				t.Errorf("restarted: %v: it does not show message %d: %+v", restart, i, x.m.Status())
			}
		}
	}
}

// A newcomer is given a message of before, of which a reaction was taken back. An edit that it
// then misses is owed to it: no word is left that could have taken the message away.
func TestEditOfAMessageOfBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 72)
	a, x := w.device("anna"), w.device("xenia")
	w.found(a, wire.PolicyOpen)
	a.must(SetSetting{Key: SettingHistory, Value: historyAll})
	text := a.say(written("of before"))
	reaction := a.say(content.Message{InReplyTo: text, Part: content.Reaction("x")})
	a.say(content.Message{Replaces: reaction, Part: content.Null(content.DispositionReaction)})
	w.run(time.Minute)
	w.join(x)
	for range 5 {
		w.sync(x, a)
		w.run(time.Minute)
	}
	if got := x.looks(text); got != "of before" || !isErased(x.record(reaction)) {
		t.Fatalf("it shows %q, and of the reaction %+v", got, x.record(reaction).Facts)
	}
	w.gossip, x.online = false, false
	edit := a.say(content.Message{Replaces: text, Part: content.Text(content.Plain, "edited")})
	raws, _, err := a.m.EntriesAfter(x.dev.ID, x.m.Marks(), wire.EntryHash{}, 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	x.must(Entries{Entries: raws})
	if x.record(edit) == nil || !x.lacks(edit) {
		t.Error("it does not ask for the edit")
	}
}

// A device knows of a reaction of before that it cannot read, and waits for no edit of that
// message meanwhile. Once it reads that the reaction was taken back, the edit is owed to it.
func TestReactionOfBeforeIsTakenBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 73)
	a, x := w.device("anna"), w.device("xenia")
	w.found(a, wire.PolicyOpen)
	w.join(x)
	text := a.say(written("read by both"))
	w.run(time.Minute)
	x.must(Leave{})
	w.run(time.Minute)
	reaction := a.say(content.Message{InReplyTo: text, Part: content.Reaction("x")})
	w.join(x)
	w.run(time.Minute)
	if !x.m.In() || x.record(reaction) == nil || x.record(reaction).Facts.Has(dag.IsPlain) {
		t.Fatal("it is not in, with a reaction of before that it cannot read")
	}
	w.gossip, x.online = false, false
	edit := a.say(content.Message{Replaces: text, Part: content.Text(content.Plain, "edited")})
	back := a.say(content.Message{Replaces: reaction, Part: content.Null(content.DispositionReaction)})
	raws, _, err := a.m.EntriesAfter(x.dev.ID, x.m.Marks(), wire.EntryHash{}, 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	x.must(Entries{Entries: raws})
	if x.record(edit) == nil || x.lacks(edit) {
		t.Fatal("it waits for an edit that may be gone with its message")
	}
	seals, err := a.m.SealsFor(x.dev.ID, []wire.MessageID{back})
	if err != nil || len(seals) != 1 {
		t.Fatalf("%d seals: %v", len(seals), err)
	}
	x.must(Seals{Seals: seals})
	if !isErased(x.record(reaction)) {
		t.Fatal("the reaction is not erased")
	}
	if !x.lacks(edit) {
		t.Error("it does not ask for the edit")
	}
	x.online = true
	for range 3 {
		w.sync(a, x)
		w.run(time.Minute)
	}
	if got := x.looks(text); got != "edited (edited)" {
		t.Errorf("it shows %q", got)
	}
}
