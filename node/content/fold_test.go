package content

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

var (
	foldedAt              = time.Unix(10_000, 0)
	anna, ben, cleo       = wire.UserID{1}, wire.UserID{2}, wire.UserID{3}
	heart                 = "\u2764"
	never, always         = func(_, _ Said) bool { return false }, func(_, _ Said) bool { return true }
	judge           Judge = func(by, _ Said) bool { return by.User == cleo }
)

// said makes the nth message of a set.
func said(n int, user wire.UserID, m Message) Said {
	return Said{ID: id(n), User: user, HLC: uint64(n), Came: time.Unix(int64(n), 0), Read: time.Unix(int64(n), 0), Message: &m}
}

func id(n int) wire.MessageID { return wire.MessageID{0: byte(n), 31: 1} }

func text(s string) Message            { return Message{Part: Text(Plain, s)} }
func edit(of int, s string) Message    { return Message{Replaces: id(of), Part: Text(Plain, s)} }
func deletes(of int) Message           { return Message{Replaces: id(of), Part: Null(DispositionRender)} }
func reacts(to int, s string) Message  { return Message{InReplyTo: id(to), Part: Reaction(s)} }
func answers(to int, s string) Message { return Message{InReplyTo: id(to), Part: Text(Plain, s)} }
func in(topic int, s string) Message {
	t := id(topic)
	return Message{Topic: t[:], Part: Text(Plain, s)}
}

func profile(name, about string) Message {
	return Message{Part: NewProfile(Profile{Name: name, About: about})}
}

// drawn shows a picture as text, for comparison.
func drawn(p Picture) string {
	b, err := json.MarshalIndent(struct {
		Shown, About, Without map[string]any
		Profiles              map[string]Profile
	}{texts(p.Shown), texts(p.About), texts(p.Without), profiles(p)}, "", " ")
	if err != nil {
		panic(err)
	}
	return string(b)
}

func texts[V any](m map[wire.MessageID]V) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		out[k.String()] = v
	}
	return out
}

func profiles(p Picture) map[string]Profile {
	out := map[string]Profile{}
	for u, v := range p.Profiles {
		out[u.String()] = v
	}
	return out
}

// permutations calls f with each order of a set.
func permutations(set []Said, f func([]Said)) {
	var permute func(n int)
	permute = func(n int) {
		if n == len(set) {
			f(set)
			return
		}
		for i := n; i < len(set); i++ {
			set[n], set[i] = set[i], set[n]
			permute(n + 1)
			set[n], set[i] = set[i], set[n]
		}
	}
	permute(0)
}

// All orders of six messages come to the same picture.
func TestAllOrdersOfSix(t *testing.T) {
	for name, set := range map[string][]Said{
		"edits and a delete":  {said(1, anna, text("one")), said(2, anna, edit(1, "two")), said(3, anna, edit(1, "three")), said(4, ben, edit(1, "not his")), said(5, ben, deletes(1)), said(6, anna, deletes(1))},
		"two who delete":      {said(1, anna, text("one")), said(2, cleo, deletes(1)), said(3, anna, deletes(1)), said(4, cleo, deletes(1)), said(5, anna, edit(1, "late")), said(6, ben, reacts(1, heart))},
		"reactions":           {said(1, anna, text("one")), said(2, ben, reacts(1, heart)), said(3, ben, reacts(1, heart)), said(4, ben, deletes(2)), said(5, cleo, reacts(1, heart)), said(6, cleo, deletes(3))},
		"replies and threads": {said(1, anna, text("one")), said(2, ben, answers(1, "two")), said(3, cleo, in(1, "three")), said(4, ben, edit(2, "four")), said(5, anna, in(1, "five")), said(6, anna, deletes(5))},
		"profiles":            {said(1, anna, profile("Anna", "")), said(2, anna, profile("Anne", "tea")), said(3, anna, edit(1, "x")), said(4, anna, deletes(2)), said(5, ben, profile("Ben", "")), said(6, ben, edit(9, "of nothing"))},
		"changes of changes":  {said(1, anna, text("one")), said(2, anna, edit(1, "two")), said(3, anna, edit(2, "three")), said(4, anna, deletes(2)), said(5, anna, deletes(4)), said(6, anna, edit(1, "six"))},
	} {
		want, n := Fold(slices.Clone(set), judge, foldedAt), 0
		permutations(set, func(set []Said) {
			n++
			if got := Fold(set, judge, foldedAt); !reflect.DeepEqual(got, want) {
				t.Fatalf("%s: another order comes to\n%s\nwant\n%s", name, drawn(got), drawn(want))
			}
		})
		if n != 720 {
			t.Errorf("%s: %d orders", name, n)
		}
	}
}

// scripted makes a set of what bytes say: each message from three of them.
func scripted(script []byte) (set []Said) {
	users := []wire.UserID{anna, ben, cleo}
	for n := 1; len(script) >= 3 && n < 64; n++ {
		kind, user, to := script[0], users[int(script[1])%len(users)], 1+int(script[2])%12
		script = script[3:]
		words := fmt.Sprint("text ", n)
		m := [...]Message{text(words), edit(to, words), deletes(to), reacts(to, string(rune('a'+kind/16))), answers(to, words), in(to, words), profile(words, ""), reacts(to, words)}[kind%8]
		if kind%11 == 0 {
			m.Expires = &Expiry{kind%2 == 0, uint32(kind) * 60}
		}
		s := said(n, user, m)
		s.HLC = uint64(n / 3)
		switch kind % 13 {
		case 0:
			s.Message = nil
		case 1:
			s.Read = time.Time{}
		}
		set = append(set, s)
	}
	return set
}

// Random sets come to the same picture in any order, whatever part of it was folded before,
// and nothing of a message that is deleted or over is left in it.
func TestRandomSets(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	shown, edited, deleted, over, reacted := 0, 0, 0, 0, 0
	for range 10_000 {
		script := make([]byte, 3*(2+random.IntN(14)))
		for i := range script {
			script[i] = byte(random.Uint32())
		}
		set := scripted(script)
		p := Fold(set, judge, foldedAt)
		for range 2 {
			random.Shuffle(len(set), func(i, j int) { set[i], set[j] = set[j], set[i] })
			if got := Fold(set, judge, foldedAt); !reflect.DeepEqual(got, p) {
				t.Fatalf("script %x, in another order:\n%s\nwant\n%s", script, drawn(got), drawn(p))
			}
		}
		for id, m := range p.Shown {
			shown++
			if m.Edited {
				edited++
			}
			if m.Deleted != nil {
				deleted++
			}
			if m.Over {
				over++
			}
			reacted += len(m.Reactions)
			if (m.Deleted != nil || m.Over) && (m.Part.Words() != "" || len(m.Versions) > 0 || len(m.Reactions) > 0 || len(m.Mentions) > 0) {
				t.Fatalf("script %x: of %v something is left: %+v", script, id, m)
			}
			if m.Deleted != nil && m.Deleted.User != m.User && m.Deleted.User != cleo {
				t.Fatalf("script %x: %v is deleted by somebody who may not", script, id)
			}
			for _, v := range m.Versions {
				if v.User != m.User {
					t.Fatalf("script %x: %v is edited by somebody else", script, id)
				}
			}
		}
		if len(p.Shown)+len(p.About) != len(set) {
			t.Fatalf("script %x: of %d messages %d are shown and %d are about others", script, len(set), len(p.Shown), len(p.About))
		}
	}
	if min(shown, edited, deleted, over, reacted) < 1000 {
		t.Errorf("shown %d, edited %d, deleted %d, over %d, reacted %d: too few to say anything", shown, edited, deleted, over, reacted)
	}
}

func TestEdits(t *testing.T) {
	set := []Said{said(1, anna, text("one")), said(3, anna, edit(1, "three")), said(2, anna, edit(1, "two")), said(4, ben, edit(1, "four")), said(5, anna, reacts(1, heart)), said(6, anna, edit(5, "no heart"))}
	p := Fold(set, never, foldedAt)
	if m := p.Shown[id(1)]; m.Part.Words() != "three" || !m.Edited || len(m.Versions) != 3 || len(p.Without) != 2 {
		t.Errorf("%+v, without effect %v", m, p.Without)
	}
	for n := 10; n < 40; n++ {
		set = append(set, said(n, anna, edit(1, fmt.Sprint(n))))
	}
	if m := Fold(set, never, foldedAt).Shown[id(1)]; len(m.Versions) != MaxVersions || m.Part.Words() != "39" || m.Versions[0].ID != id(24) {
		t.Errorf("of 33 versions %d are kept, from %v, and %q is shown", len(m.Versions), m.Versions[0].ID, m.Part.Words())
	}
}

// A delete wins over every edit, and one by the author's user over others' deletes.
func TestDeletes(t *testing.T) {
	set := []Said{said(1, anna, text("one")), said(2, ben, deletes(1)), said(3, anna, edit(1, "three"))}
	if m := Fold(set, never, foldedAt).Shown[id(1)]; m.Deleted != nil || m.Part.Words() != "three" {
		t.Errorf("deleted by somebody who may not: %+v", m)
	}
	if m := Fold(set, always, foldedAt).Shown[id(1)]; m.Deleted == nil || m.Deleted.Own || m.Deleted.User != ben || m.Part.Words() != "" {
		t.Errorf("deleted by somebody who may: %+v", m)
	}
	set = append(set, said(4, anna, deletes(1)))
	if m := Fold(set, always, foldedAt).Shown[id(1)]; m.Deleted == nil || !m.Deleted.Own || m.Deleted.ID != id(4) {
		t.Errorf("deleted by its author, too: %+v", m.Deleted)
	}
}

func TestReactionsOfOne(t *testing.T) {
	set := []Said{said(1, anna, text("one"))}
	for n := 2; n < 14; n++ {
		set = append(set, said(n, ben, reacts(1, string(rune('a'+n)))))
	}
	set = append(set, said(20, anna, reacts(1, "c")), said(21, ben, reacts(1, "c")), said(22, ben, reacts(1, "many words")))
	p := Fold(set, never, foldedAt)
	m := p.Shown[id(1)]
	if len(m.Reactions) != MaxReactions || m.Reactions[0].Text != "c" || !slices.Equal(m.Reactions[0].Users, []wire.UserID{ben, anna}) || len(m.Reactions[0].By) != 3 {
		t.Errorf("reactions: %+v", m.Reactions)
	}
	if r := p.Shown[id(22)]; r.Kind != KindMessage || r.ReplyTo != id(1) || !slices.Equal(m.Replies, []wire.MessageID{id(22)}) {
		t.Errorf("a reaction of many words is no answer: %+v", r)
	}
	// One that is taken back makes room for the next.
	set = append(set, said(30, ben, deletes(3)))
	if m := Fold(set, never, foldedAt).Shown[id(1)]; len(m.Reactions) != MaxReactions || slices.ContainsFunc(m.Reactions, func(r Reacted) bool { return r.Text == "d" }) {
		t.Errorf("reactions: %+v", m.Reactions)
	}
}

func TestExpiry(t *testing.T) {
	expiring := func(n int, e Expiry, read time.Time) Said {
		m := text("soon over")
		m.Expires = &e
		s := said(n, anna, m)
		s.Read = read
		return s
	}
	for name, c := range map[string]struct {
		s    Said
		at   int64
		over bool
	}{
		"before":                   {expiring(1, Expiry{false, 100}, time.Time{}), 99, false},
		"at":                       {expiring(1, Expiry{false, 100}, time.Time{}), 100, true},
		"read, before":             {expiring(1, Expiry{true, 100}, time.Unix(50, 0)), 149, false},
		"read, at":                 {expiring(1, Expiry{true, 100}, time.Unix(50, 0)), 150, true},
		"unread":                   {expiring(1, Expiry{true, 100}, time.Time{}), 5000, false},
		"unread for a year":        {expiring(1, Expiry{true, 100}, time.Time{}), 1 + 365*24*3600, true},
		"a time beyond all clocks": {expiring(1, Expiry{true, 1<<32 - 1}, time.Unix(50, 0)), 5000, false},
	} {
		if m := Fold([]Said{c.s}, never, time.Unix(c.at, 0)).Shown[id(1)]; m.Over != c.over || m.Over != (m.Part.Words() == "") {
			t.Errorf("%s: over %v, %q", name, m.Over, m.Part.Words())
		}
	}
}

func TestProfiles(t *testing.T) {
	icon := Part{Disposition: DispositionIcon, Cardinality: CardinalitySingle, ContentType: "image/png", Content: []byte{1}}
	set := []Said{
		said(1, anna, profile("Anna", "tea")), said(2, anna, Message{Part: NewProfile(Profile{Name: "Anne", Picture: &icon})}),
		said(3, anna, profile(strings.Repeat("x", MaxName+1), "")), said(4, ben, profile("\u200b", "")), said(5, ben, profile("b\u202e", "")),
	}
	p := Fold(set, never, foldedAt)
	if got := p.Profiles[anna]; got.Name != "Anne" || got.About != "" || got.Picture == nil || len(p.Profiles) != 1 {
		t.Errorf("profiles: %+v", p.Profiles)
	}
}
