package group

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/content"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/wire"
)

// leftOf lists the rows of a device in which something of messages is left: their text, by a
// word that only they have, their salts, or seals.
func (d *device) leftOf(word string, salts [][]byte, ids ...wire.MessageID) (out []string) {
	for key, v := range d.rows {
		left := bytes.Contains(v, []byte(word))
		for _, salt := range salts {
			left = left || bytes.Contains(v, salt)
		}
		for _, id := range ids {
			for _, row := range []string{rowPlain, rowSeal, rowSalt, rowDoomed} {
				left = left || strings.HasPrefix(key, row+hexed(id[:]))
			}
		}
		if left {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out
}

// salts are those of messages that a device has in plaintext.
func (d *device) salts(ids ...wire.MessageID) (out [][]byte) {
	d.w.t.Helper()
	for _, id := range ids {
		o, err := wire.DecodeOpened(d.rows[rowPlain+hexed(id[:])])
		if err != nil {
			d.w.t.Fatal(err)
		}
		out = append(out, o.Salt[:])
	}
	return out
}

// mailed are the messages whose seals are in the envelopes that a device has for the mailbox.
func (d *device) mailed() (out []wire.MessageID) {
	d.w.t.Helper()
	owing, err := d.m.Mail().Owing(d.w.now)
	if err != nil {
		d.w.t.Fatal(err)
	}
	for _, o := range owing {
		var entries []wire.EntryHash
		for _, e := range o.Entries {
			entries = append(entries, e.Hash)
		}
		envelopes, taken, err := d.m.Mail().EnvelopesWith(o.Key, entries, 1<<20)
		if err != nil || taken != len(entries) {
			d.w.t.Fatalf("%d of %d entries: %v", taken, len(entries), err)
		}
		for _, env := range envelopes {
			u, err := d.opened(env)
			if err != nil {
				d.w.t.Fatal(err)
			}
			for _, raw := range u.Seals {
				s, err := wire.DecodeSeal(raw)
				if err != nil {
					d.w.t.Fatal(err)
				}
				out = append(out, s.Message)
			}
		}
	}
	return out
}

func (d *device) whole() {
	d.w.t.Helper()
	var c RowCheck
	for _, key := range slices.Sorted(func(yield func(string) bool) {
		for k := range d.rows {
			if !yield(k) {
				return
			}
		}
	}) {
		c.Row(key)
	}
	if missing := c.Missing(); len(missing) > 0 {
		d.w.t.Errorf("%s: rows are missing: %q", d.name, missing)
	}
}

func takesAway(id wire.MessageID) content.Message {
	return content.Message{Replaces: id, Part: content.Null(content.DispositionRender)}
}

// A deletion by the author erases the message with its edits and reactions everywhere: at
// those who read it, at a member who never saw it and misses nothing, and at one who had it
// and was away for 60 days, who does not bring it back.
func TestErase(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 31)
	w.gossip = true
	a, b, never, away := w.device("anna"), w.device("ben"), w.device("never"), w.device("away")
	w.found(a, wire.PolicyOpen)
	for _, d := range []*device{b, never, away} {
		w.join(d)
	}
	w.run(5 * time.Second)
	never.online = false
	a.say(written("before"))
	first := a.say(written("a zebra"))
	w.run(5 * time.Second)
	edit := a.say(content.Message{Replaces: first, Part: content.Text(content.Plain, "an edited zebra")})
	reaction := b.say(content.Message{InReplyTo: first, Part: content.Reaction("\u2764")})
	w.run(20 * time.Second)
	away.online = false
	salts := a.salts(first, edit, reaction)
	if left := b.leftOf("zebra", salts); len(left) < 3 {
		t.Fatalf("nothing is there to be erased: %q", left)
	}
	if mailed := a.mailed(); !slices.Contains(mailed, first) || !slices.Contains(mailed, edit) {
		t.Fatalf("it is not for the mailbox either: %v", mailed)
	}
	deletion := a.say(takesAway(first))
	late := a.say(content.Message{Replaces: first, Part: content.Text(content.Plain, "a late zebra")})
	salts = append(salts, a.salts(deletion)...)[:3]
	after := a.say(written("after"))
	w.run(20 * time.Second)
	for _, d := range []*device{a, b} {
		mailed := d.mailed()
		for what, id := range map[string]wire.MessageID{"the message": first, "its edit": edit, "the reaction": reaction, "the late edit": late} {
			if slices.Contains(mailed, id) {
				t.Errorf("%s puts a seal of %s into an envelope", d.name, what)
			}
		}
		if !slices.Contains(mailed, deletion) || !slices.Contains(mailed, after) {
			t.Errorf("%s puts seals of %v alone into envelopes", d.name, mailed)
		}
	}
	gone := func(d *device) {
		t.Helper()
		if left := d.leftOf("zebra", salts, first, edit, reaction, late); len(left) > 0 {
			t.Errorf("%s: of an erased message is left: %q", d.name, left)
		}
		if s := d.m.Status(); s.Gaps != 0 {
			t.Errorf("%s has %d gaps", d.name, s.Gaps)
		}
		if got := d.looks(after); got != "after" {
			t.Errorf("%s sees %q after it", d.name, got)
		}
		if e := d.m.Explain(w.now, first, nil); e.State != WhyErased || !strings.Contains(strings.Join(e.Facts, "\n"), "anna deleted it") {
			t.Errorf("%s explains it by %+v", d.name, e)
		}
		d.whole()
	}
	for range 2 {
		for _, d := range []*device{a, b} {
			gone(d)
			if got := d.looks(first); got != "(deleted)" {
				t.Errorf("%s sees %q", d.name, got)
			}
			d.down = true
			d.open()
		}
	}
	w.run(60 * 24 * time.Hour)
	never.online, away.online = true, true
	w.sync(never, b)
	w.sync(away, b)
	w.run(10 * time.Minute)
	for _, d := range []*device{a, b, never, away} {
		gone(d)
	}
	if all, err := never.m.Journal().Messages(0, 0); err != nil || len(all) != 2 {
		t.Errorf("the member who was never there is shown %d messages, want 2 (%v)", len(all), err)
	}
}

// A deletion of somebody else's message hides it at once and erases it after a week; one
// that turns out to be void erases nothing.
func TestEraseOthers(t *testing.T) {
	t.Parallel()
	for _, voided := range []bool{false, true} {
		w := newWorld(t, 32)
		w.gossip = true
		a, b, c := w.device("anna"), w.device("ben"), w.device("cleo")
		w.found(a, wire.PolicyOpen)
		w.join(b)
		w.join(c)
		a.must(SetRole{User: b.dev.User, Role: wire.RoleAdmin})
		first := c.say(written("a zebra"))
		w.run(5 * time.Second)
		salts := a.salts(first)
		if voided {
			b.online = false
			a.must(SetRole{User: b.dev.User, Role: wire.RoleMember})
		}
		b.say(takesAway(first))
		if got := b.looks(first); got != "(deleted)" {
			t.Fatalf("ben sees %q", got)
		}
		w.run(24 * time.Hour)
		if voided {
			b.online = true
			w.sync(a, b)
			w.sync(b, c)
		}
		w.run(time.Minute)
		for _, d := range []*device{a, b, c} {
			d.down = true
			d.open()
			if left := d.leftOf("zebra", salts); len(left) == 0 {
				t.Errorf("%s has erased it after a day", d.name)
			}
			if got, want := d.looks(first), map[bool]string{true: "a zebra", false: "(deleted)"}[voided]; got != want {
				t.Errorf("%s sees %q, want %q", d.name, got, want)
			}
		}
		w.run(7 * 24 * time.Hour)
		for _, d := range []*device{a, b, c} {
			if left := d.leftOf("zebra", salts, first); (len(left) > 0) != voided {
				t.Errorf("voided: %v, %s: a week later there is %q", voided, d.name, left)
			}
			d.whole()
		}
	}
}

// A message that expires goes at all who have it, and a member who was away is owed nothing;
// those who write after it are not held up.
func TestExpiry(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 33)
	w.gossip = true
	a, b, away := w.device("anna"), w.device("ben"), w.device("away")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.join(away)
	w.run(5 * time.Second)
	away.online = false
	expiring := func(in time.Duration) content.Message {
		return content.Message{Expires: &content.Expiry{Time: uint32(w.now.Add(in).Unix())}, Part: content.Text(content.Plain, "a zebra")}
	}
	first := a.say(expiring(time.Hour))
	later := a.say(expiring(48 * time.Hour))
	relative := a.say(content.Message{Expires: &content.Expiry{Relative: true, Time: 3600}, Part: content.Text(content.Plain, "a zebra, too")})
	w.run(5 * time.Second)
	edit := a.say(content.Message{Replaces: first, Part: content.Text(content.Plain, "another zebra")})
	after := a.say(written("after"))
	past := b.say(expiring(-time.Minute))
	w.run(30 * time.Minute)
	salts := a.salts(first, edit, relative)
	if got := b.message(first); got.Shown.Part.Words() != "another zebra" || got.Expires.IsZero() || got.Shown.Over {
		t.Errorf("before its time: %+v", got)
	}
	w.run(time.Hour)
	check := func(d *device) {
		t.Helper()
		if left := d.leftOf("a zebra, too", salts, first, edit, relative, past); len(left) > 0 {
			t.Errorf("%s: of what expired is left: %q", d.name, left)
		}
		if got := d.looks(later); got != "a zebra" {
			t.Errorf("%s sees %q, which has not expired", d.name, got)
		}
		if got := d.looks(after); got != "after" {
			t.Errorf("%s sees %q", d.name, got)
		}
		if s := d.m.Status(); s.Gaps != 0 {
			t.Errorf("%s has %d gaps", d.name, s.Gaps)
		}
		if e := d.m.Explain(w.now, first, nil); e.State != WhyErased || !strings.Contains(strings.Join(e.Facts, " "), "it expired") {
			t.Errorf("%s explains it by %+v", d.name, e)
		}
		d.whole()
	}
	for range 2 {
		for _, d := range []*device{a, b} {
			check(d)
			if m := d.message(first); !m.Shown.Over || m.Shown.Deleted != nil || m.Shown.Part.Words() != "" {
				t.Errorf("%s shows %+v", d.name, m)
			}
			d.down = true
			d.open()
		}
	}
	away.online = true
	w.sync(away, b)
	w.run(10 * time.Minute)
	check(away)
	w.run(72 * time.Hour)
	for _, d := range []*device{a, b, away} {
		if m := d.message(later); !m.Shown.Over {
			t.Errorf("%s still has what expired yesterday", d.name)
		}
	}
}

// A message that is erased in the turn in which it was sealed again does not go out with that
// seal, and leaves nothing of it behind.
func TestEraseWhatWasJustSealed(t *testing.T) {
	t.Parallel()
	w, a, _, _ := three(t, 34)
	w.gossip = true
	id := a.say(content.Message{Expires: &content.Expiry{Time: uint32(w.now.Add(time.Hour).Unix())}, Part: content.Text(content.Plain, "a zebra")})
	other := a.say(written("another"))
	w.run(5 * time.Second)
	salts := a.salts(id)
	a.m.messages.outbox = append(a.m.messages.outbox, id, other) // as after a change of branch
	var seals []wire.MessageID
	w.watch = func(d *device, r Ready) {
		for _, o := range r.Messages {
			p, ok := o.(Publish)
			if !ok || d != a {
				continue
			}
			b, err := d.opened(p.Envelope)
			if err != nil {
				t.Fatal(err)
			}
			for _, raw := range b.Seals {
				s, err := wire.DecodeSeal(raw)
				if err != nil {
					t.Fatal(err)
				}
				seals = append(seals, s.Message)
			}
		}
	}
	w.now = w.now.Add(2 * time.Hour)
	a.must(Tick{})
	if !slices.Equal(seals, []wire.MessageID{other}) {
		t.Errorf("seals of %v go out, want one of %v", seals, other)
	}
	if left := a.leftOf("zebra", salts, id); len(left) > 0 {
		t.Errorf("of what was erased is left: %q", left)
	}
	a.whole()
}

// A word about a message that was deleted before a device came in, or while it was out, holds up
// nobody there: the others have erased it with the message, by a deletion that the
// device cannot read.
func TestWordsAboutWhatIsGone(t *testing.T) {
	t.Parallel()
	for _, back := range []bool{false, true} {
		w := newWorld(t, 35)
		w.gossip, w.mean = true, true // nobody tells it of the deletion either
		a, b, c := w.device("anna"), w.device("ben"), w.device("cleo")
		w.found(a, wire.PolicyOpen)
		w.join(b)
		if back {
			w.join(c)
			w.run(5 * time.Second)
		}
		first := a.say(written("to be gone"))
		w.run(5 * time.Second)
		if back {
			c.must(Leave{})
			w.run(5 * time.Second)
		}
		a.say(takesAway(first))
		w.run(5 * time.Second)
		w.join(c)
		w.run(5 * time.Second)
		late := b.say(content.Message{InReplyTo: first, Part: content.Reaction("x")})
		w.run(time.Second)
		b.say(content.Message{Replaces: late, InReplyTo: first, Part: content.Null(content.DispositionReaction)})
		after := b.say(written("after it"))
		w.run(time.Minute)
		if m, ok, err := c.m.Journal().Message(after); err != nil || !ok || m.Shown.Part.Words() != "after it" {
			t.Errorf("back %t: cleo is not shown what came after it (%v)", back, err)
		}
		if s := c.m.Status(); s.Gaps != 0 {
			t.Errorf("back %t: cleo has %d gaps", back, s.Gaps)
		}
		if e := c.m.Explain(w.now, late, nil); e.State != WhyNotOwed || !strings.Contains(strings.Join(e.Facts, " "), "which may be gone") {
			t.Errorf("back %t: cleo explains it by %+v", back, e)
		}
		if m, _, err := b.m.Journal().Message(after); err != nil || m.HeldBy != 2 {
			t.Errorf("back %t: it is held by %d devices, want 2 (%v)", back, m.HeldBy, err)
		}
	}
}

// A message that somebody who may has deleted before its text came is no gap.
func TestNoGapOfWhatIsHidden(t *testing.T) {
	t.Parallel()
	w, a, b, c := three(t, 36)
	w.gossip = true
	w.run(5 * time.Second)
	c.online = false
	first := b.say(written("to be gone"))
	w.run(5 * time.Second)
	deletion := a.say(takesAway(first))
	w.run(5 * time.Second)
	entries, _, err := a.m.EntriesAfter(c.dev.ID, c.m.Marks(), wire.EntryHash{}, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	seals, err := a.m.SealsFor(c.dev.ID, []wire.MessageID{deletion})
	if err != nil || len(seals) == 0 {
		t.Fatalf("%d seals, %v", len(seals), err)
	}
	c.must(Entries{Entries: entries})
	if gaps := c.m.Status().Gaps; gaps != 2 {
		t.Fatalf("it has %d gaps, want the message and its deletion", gaps)
	}
	c.must(Seals{Seals: seals})
	if gaps := c.m.Status().Gaps; gaps != 0 {
		t.Errorf("it has %d gaps, and asks for what was deleted", gaps)
	}
}

// A word about a message of before a device came in is told of if its seal comes late: what
// its author wrote after it does not wait for it, and does not hide it.
func TestWordAboutWhatWasBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 37)
	w.gossip = true
	a, b, c := w.device("anna"), w.device("ben"), w.device("cleo")
	w.found(a, wire.PolicyOpen)
	w.join(b)
	first := a.say(written("of before"))
	w.run(5 * time.Second)
	w.join(c)
	w.run(5 * time.Second)
	c.online = false
	late, after := b.say(content.Message{InReplyTo: first, Part: content.Reaction("x")}), b.say(written("after it"))
	w.run(5 * time.Second)
	give := func(ids ...wire.MessageID) {
		entries, _, err := b.m.EntriesAfter(c.dev.ID, c.m.Marks(), wire.EntryHash{}, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		c.must(Entries{Entries: entries})
		seals, err := b.m.SealsFor(c.dev.ID, ids)
		if err != nil || len(seals) != len(ids) {
			t.Fatalf("%d seals of %d, %v", len(seals), len(ids), err)
		}
		c.must(Seals{Seals: seals})
	}
	told := func(id wire.MessageID) bool { return c.m.logs.Items.At(id).Facts.Has(dag.IsDelivered) }
	give(after)
	if !told(after) {
		t.Error("what came after the word waits for it")
	}
	give(late)
	if !told(late) {
		t.Error("the word can be read, and nobody is told of it")
	}
}

// A message that a device lacks is taken away, by its author's other device or by an owner:
// what its author wrote after it is shown at once, although nothing more comes of that log.
func TestShownBehindWhatWasTakenAway(t *testing.T) {
	t.Parallel()
	for _, who := range []string{"other device", "owner"} {
		t.Run(who, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 38)
			w.gossip = true
			a, b, c := w.device("anna"), w.device("ben"), w.device("cleo")
			w.found(a, wire.PolicyOpen)
			w.join(b)
			w.join(c)
			by := a
			if who == "other device" {
				by = w.another(b, "phone")
				w.join(by)
			}
			w.run(time.Minute)
			c.online = false
			text, after := b.say(written("text")), b.say(written("after"))
			w.run(20 * time.Second)
			deletion := by.say(takesAway(text))
			w.run(20 * time.Second)
			entries, _, err := by.m.EntriesAfter(c.dev.ID, c.m.Marks(), wire.EntryHash{}, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			c.must(Entries{Entries: entries})
			for i, id := range []wire.MessageID{after, deletion} {
				seals, err := by.m.SealsFor(c.dev.ID, []wire.MessageID{id})
				if err != nil || len(seals) != 1 {
					t.Fatalf("%d seals, %v", len(seals), err)
				}
				c.must(Seals{Seals: seals})
				if told := c.record(after).Facts.Has(dag.IsDelivered); told != (i == 1) {
					t.Errorf("after seal %d what came after is shown: %v", i+1, told)
				}
			}
			c.whole()
		})
	}
}

// Somebody who is removed on the other side of a cut writes a message and takes it away. A
// device that knows of the removal reads both, and then learns that a member had them first:
// they are owed from then on, and the message is erased, though no roster changes.
func TestDeletionCountsByAWitness(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 84)
	a, b, c, d := w.device("anna"), w.device("ben"), w.device("carl"), w.device("dora")
	w.found(a, wire.PolicyOpen)
	for _, x := range []*device{b, c, d} {
		w.join(x)
	}
	w.run(time.Minute)
	w.cut = func(p, q *device) bool { return (p == a || p == b) != (q == a || q == b) }
	a.must(RemoveUser{User: c.dev.User})
	w.run(10 * time.Second)
	text := c.say(written("taken away"))
	seals, err := c.m.SealsFor(b.dev.ID, []wire.MessageID{text})
	if err != nil || len(seals) != 1 {
		t.Fatalf("%d seals: %v", len(seals), err)
	}
	deletion := c.say(takesAway(text))
	w.run(10 * time.Second)
	w.cut = func(_, _ *device) bool { return true }
	d.say(written("dora had both"))
	take := func(from *device) {
		t.Helper()
		entries, _, err := from.m.EntriesAfter(b.dev.ID, b.m.Marks(), wire.EntryHash{}, 64<<10)
		if err != nil {
			t.Fatal(err)
		}
		b.must(Entries{Entries: entries})
	}
	take(c)
	more, err := c.m.SealsFor(b.dev.ID, []wire.MessageID{deletion})
	if err != nil || len(more) != 1 {
		t.Fatalf("%d seals: %v", len(more), err)
	}
	b.must(Seals{Seals: append(seals, more...)})
	if it := b.record(text); it == nil || b.m.messages.owed(it) || b.rows[rowPlain+hexed(text[:])] == nil || b.rows[rowPlain+hexed(deletion[:])] == nil {
		t.Fatal("ben has not read both while they are owed to nobody")
	}
	take(d)
	if b.rows[rowPlain+hexed(text[:])] != nil || b.rows[rowGone+hexed(text[:])] == nil {
		t.Error("ben keeps the text")
	}
}

// A device whose clock is ahead by days erases nothing before its time by the time kept, which
// follows others: neither what it has, nor what comes to it, nor after a restart. It shows it
// until then, and erases it as others do.
func TestExpiryUnderAWrongClock(t *testing.T) {
	t.Parallel()
	const ahead = 10 * 24 * time.Hour
	for name, c := range map[string]struct {
		kept     time.Duration // by which the time kept is ahead; the end of dates is right
		restarts bool
	}{
		"a jump": {0, false}, "a jump and a restart": {0, true},
		"wrong from the start": {ahead, false}, "wrong from the start, and a restart": {ahead, true},
	} {
		w := newWorld(t, 34)
		w.gossip = true
		a, b := w.device("anna"), w.device("ben")
		w.found(a, wire.PolicyOpen)
		w.join(b)
		w.run(5 * time.Second)
		expiring := func() content.Message {
			return content.Message{Expires: &content.Expiry{Time: uint32(w.now.Add(time.Hour).Unix())}, Part: content.Text(content.Plain, "a zebra")}
		}
		before := a.say(expiring())
		w.run(5 * time.Second)
		b.skew = ahead
		keep := func() { b.m.Keep(w.now.Add(c.kept), w.now, b.clock()) }
		keep()
		b.must(Tick{})
		if c.restarts {
			b.down, b.kept, b.ends = true, w.now.Add(c.kept), w.now
			b.open()
			keep()
			b.must(Tick{})
		}
		came := a.say(expiring())
		w.run(30 * time.Minute)
		b.must(Tick{})
		salts := a.salts(before, came)
		for _, id := range []wire.MessageID{before, came} {
			if got := b.message(id); got.Shown.Over || got.Shown.Part.Words() != "a zebra" {
				t.Errorf("%s: by a clock that is ahead it shows %+v", name, got)
			}
		}
		w.run(time.Hour)
		for _, d := range []*device{a, b} {
			if left := d.leftOf("zebra", salts, before, came); len(left) > 0 {
				t.Errorf("%s, %s: of what expired is left: %q", name, d.name, left)
			}
			d.whole()
		}
	}
}

// A message expires with more words than a turn has room for: they are erased in several turns,
// the message last, and a restart goes on.
func TestManyWordsAreErasedInTurns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 32)
	a, h := w.device("anna"), w.device("hostile")
	w.found(a, wire.PolicyOpen)
	w.join(h)
	w.run(time.Minute)
	w.gossip = false
	text := h.say(content.Message{Expires: &content.Expiry{Time: uint32(w.now.Add(time.Hour).Unix())}, Part: content.Text(content.Plain, "x")}) //nolint:gosec // before 2106
	w.sync(a, h)
	p := h.fresh()
	p.hlc = uint64(crdt.HLCFromTime(w.now))
	const words = 8000
	for i := range words {
		deps := []wire.EntryHash{}
		if i == 0 {
			deps = append(deps, h.m.logs.Head(h.m.own.log).Hash)
		}
		p.writeAt(p.hlc+1, wire.KindRecord, &wire.Record{About: &text, Commitment: wire.Hash{byte(i), byte(i >> 8)}}, deps...)
	}
	for some := range slices.Chunk(p.raws, 500) {
		a.must(Entries{Entries: some})
	}
	a.online, a.peak = false, 0
	w.now = w.now.Add(2 * time.Hour)
	for turn := 0; !isErased(a.record(text)); turn++ {
		if turn == 1 { // the process is killed, and starts again
			a.open()
		}
		if turn > 20 {
			t.Fatal("they are not erased")
		}
		a.must(Tick{})
		w.now = w.now.Add(time.Minute)
	}
	if a.peak > 2*maxTurn {
		t.Errorf("a turn writes %d bytes", a.peak)
	}
	for it := range a.m.messages.all() {
		if it.Log.Device == h.dev.ID && !isErased(it) {
			t.Fatal("a word is left")
		}
	}
}

// An admin deletes a message that has a reaction. Others erased both when a member comes back
// after a week, which hides the message for a week of its own: it does not wait for the reaction.
func TestHiddenMessageIsWaitedForByNobody(t *testing.T) {
	t.Parallel()
	for _, had := range []bool{false, true} {
		w := newWorld(t, 33)
		a, b, c, x := w.device("anna"), w.device("ben"), w.device("cleo"), w.device("xenia")
		w.found(a, wire.PolicyOpen)
		for _, d := range []*device{b, c, x} {
			w.join(d)
		}
		w.gossip = true
		w.run(time.Minute)
		x.online = had
		text := c.say(written("rude"))
		w.run(time.Minute)
		x.online = false
		reaction := b.say(content.Message{InReplyTo: text, Part: content.Reaction("x")})
		w.run(time.Minute)
		a.say(takesAway(text))
		w.run(time.Minute)
		last := b.say(written("honest words"))
		w.run(8 * 24 * time.Hour)
		if !isErased(b.record(reaction)) {
			t.Fatal("the reaction is not erased")
		}
		x.online = true
		for range 5 {
			w.sync(x, a)
			w.sync(x, b)
			w.run(time.Minute)
		}
		if it := x.record(last); it == nil || !it.Facts.Has(dag.IsDelivered) || x.m.Status().Gaps != 0 {
			t.Errorf("had the message: %v: it waits for %d, and does not show what came after", had, x.m.Status().Gaps)
		}
	}
}
