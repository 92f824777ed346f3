package node

import (
	"testing"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/content"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// profilesOf are the profiles that a user has given in a group, as a node knows them.
func (w *world) profilesOf(n *Node, id wire.GroupID, user wire.UserID) (out []wire.MessageID) {
	w.Helper()
	if err := n.groups.get(id).loop.look(w.Context(), func(m *group.Machine) error {
		events, err := m.Journal().Events(0, 0)
		for _, e := range events {
			if e.Kind == group.EventChanged && e.Detail == whatProfile && e.User == user {
				out = append(out, e.Message)
			}
		}
		return err
	}); err != nil {
		w.Fatal(err)
	}
	return out
}

// puts has a node's user call itself something.
func (w *world) puts(n *Node, name string) {
	w.Helper()
	if _, err := n.API().PutProfile(w.within(time.Minute), api.UserProfileRequest{Name: &name}); err != nil {
		w.Fatal(err)
	}
}

// says waits until a node shows what a user calls itself.
func (w *world) says(n *Node, id wire.GroupID, user wire.UserID, name string) {
	w.Helper()
	w.eventually(n, 2*time.Minute, "the name "+name, func() bool {
		all, err := n.API().Members(w.Context(), api.GroupRequest{Group: id.String()})
		if err != nil {
			w.Fatal(err)
		}
		for _, m := range all.Members {
			if m.User == user.String() && m.Name == name {
				return true
			}
		}
		return false
	})
}

// TestProfileDatedAhead has a user call itself something while its clock is ahead, by an hour or
// for good, as a thief of its keys may too. Once the clock is right it can call itself something
// else: all see that, and the group is told no more than that.
func TestProfileDatedAhead(t *testing.T) {
	t.Parallel()
	for name, ahead := range map[string]time.Duration{"an hour": time.Hour, "for good": 200 * 365 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inWorld(t, func(w *world) {
				a, b := w.open(0), w.open(1, 0)
				id := w.create(a, "tea")
				w.join(b, id)
				user := a.me.device.User
				clock := func(ahead time.Duration) {
					for i := range 5 { // most of the clocks that it hears
						a.clock.hear(wire.UserID{byte(i + 1)}, time.Now().Add(ahead))
					}
				}
				w.puts(a, "Anne")
				w.says(b, id, user, "Anne")
				clock(ahead)
				w.puts(a, "Ann")
				for len(w.profilesOf(b, id, user)) < 2 {
					time.Sleep(time.Second) // virtual
				}
				clock(0)
				w.puts(a, "Anna")
				for range 100 { // no time goes by while it has something to do
					if n := len(w.profilesOf(a, id, user)); n > 10 {
						w.Fatalf("it told the group %d times who its user is, and goes on", n)
					}
				}
				w.says(a, id, user, "Anna")
				w.says(b, id, user, "Anna")
				time.Sleep(2 * time.Hour) // virtual: the date is believed
				w.send(a, id, "tea is ready")
				time.Sleep(time.Minute) // virtual
				w.says(a, id, user, "Anna")
				w.says(b, id, user, "Anna")
				if n := len(w.profilesOf(b, id, user)); n > 4 {
					w.Errorf("%d profiles", n)
				}
			})
		})
	}
}

// TestDevicesOfAUserAgree has two devices of a user call it something in turn, in a group whose
// dates are ahead of their clocks: each time both take the last word, and neither insists on its
// own.
func TestDevicesOfAUserAgree(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1)
		last, insisted := saidProfile{message: content.Said{HLC: uint64(crdt.HLCFromTime(time.Now().Add(5 * time.Minute)))}}, 0
		say := func(own profileRow) {
			last = saidProfile{content.Profile{Name: own.Name}, content.Said{HLC: uint64(crdt.Next(crdt.HLC(last.message.HLC), time.Now()))}, last.cursor + 1, false}
		}
		for i, name := range []string{"Anna", "Ben", "Carla", "Dan", "Eve"} {
			from := []*Node{a, b}[i%2]
			user := from.me.device.User
			if i > 0 {
				from.people.take(wire.GroupID{1}, map[wire.UserID]saidProfile{user: last})
			}
			w.puts(from, name)
			say(from.people.own())
			for range 5 {
				for _, n := range []*Node{a, b} {
					own, err := n.keepNewest(last, profileRow{})
					if err != nil {
						w.Fatal(err)
					}
					p := groupProfiles{said: map[wire.UserID]saidProfile{user: last}}
					if _, must := p.due(user, own, 2); must {
						insisted++
						say(own)
					}
				}
			}
			for _, n := range []*Node{a, b} {
				if own := n.people.own(); own.Name != name {
					w.Errorf("%s was said last, and a device says %s", name, own.Name)
				}
			}
		}
		if insisted > 0 {
			w.Errorf("they insisted %d times", insisted)
		}
	})
}

// TestNewcomerToAGroupAhead has a member date a message ahead, so that all that follows it in the
// group is ahead too: who comes in then is told who the members are all the same.
func TestNewcomerToAGroupAhead(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id := w.create(a, "tea")
		w.join(b, id)
		for i := range 5 {
			b.clock.hear(wire.UserID{byte(i + 1)}, time.Now().Add(10*time.Hour))
		}
		w.send(b, id, "of tomorrow")
		w.shows(a, id, time.Minute, "of tomorrow")
		for i := range 5 {
			b.clock.hear(wire.UserID{byte(i + 1)}, time.Now())
		}
		w.puts(a, "Anna")
		w.says(b, id, a.me.device.User, "Anna")
		c := w.open(2, 0)
		w.join(c, id)
		w.send(a, id, "welcome")
		w.says(c, id, a.me.device.User, "Anna")
	})
}

// TestOwnNameIsNotTakenBack has a user call itself something else before this device has read
// what it told a group itself a moment ago, at a date that is ahead.
func TestOwnNameIsNotTakenBack(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		n := w.open(0)
		w.puts(n, "Ann")
		told := n.people.own()
		w.puts(n, "Anna")
		ahead := saidProfile{Profile: content.Profile{Name: "Ann"}, message: content.Said{HLC: uint64(crdt.HLCFromTime(time.Now().Add(time.Hour)))}}
		if own, err := n.keepNewest(ahead, told); err != nil || own.Name != "Anna" {
			w.Errorf("%+v, %v", own, err)
		}
		// Once that was read it counts, and the next word comes after it, in the next run too.
		if own, err := n.keepNewest(saidProfile{Profile: content.Profile{Name: "Anna"}, message: ahead.message}, profileRow{}); err != nil || own.At != ahead.message.HLC {
			w.Errorf("%+v, %v", own, err)
		}
		w.close(0)
		n = w.open(0)
		w.puts(n, "Anne")
		if own, err := n.keepNewest(ahead, profileRow{}); err != nil || own.Name != "Anne" {
			w.Errorf("in the next run: %+v, %v", own, err)
		}
	})
}

// TestProfilesOfGroupsAhead has a user leave a group whose dates somebody put ahead for good, and
// call itself something else: a node that knows it from both groups shows that.
func TestProfilesOfGroupsAhead(t *testing.T) {
	user, now := wire.UserID{1}, time.Now()
	said := func(name string, at time.Time) map[wire.UserID]saidProfile {
		s := saidProfile{Profile: content.Profile{Name: name}, message: content.Said{HLC: uint64(crdt.HLCFromTime(at))}}
		s.ahead = at.After(now.Add(profileAhead))
		return map[wire.UserID]saidProfile{user: s}
	}
	p := new(people)
	p.take(wire.GroupID{1}, said("Ann", now.AddDate(200, 0, 0)))
	if got := p.profile(user).Name; got != "Ann" {
		t.Errorf("of the one group: %q", got)
	}
	p.take(wire.GroupID{2}, said("Anna", now))
	if got := p.profile(user).Name; got != "Anna" {
		t.Errorf("of both groups: %q", got)
	}
}

// TestDeletedProfile has an admin delete what a user says of itself as soon as it says it: that
// makes the user's device repeat it now and then only.
func TestDeletedProfile(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id := w.create(a, "tea")
		w.join(b, id)
		user := b.me.device.User
		w.puts(b, "Ben")
		w.says(a, id, user, "Ben")
		begun, deleted := time.Now(), 0
		for time.Since(begun) < 5*time.Minute && deleted < 100 {
			for _, p := range w.profilesOf(a, id, user)[deleted:] {
				c, err := container(content.Message{Replaces: p, Part: content.Null(content.DispositionRender)})
				if err == nil {
					err = a.step(w.within(time.Minute), id, group.Send{Content: c})
				}
				if err != nil {
					w.Fatal(err)
				}
				deleted++
			}
			time.Sleep(200 * time.Millisecond) // virtual
		}
		if least := 5 * time.Minute / (2 * profilesApart); deleted < 2 || deleted > int(least)+2 {
			w.Errorf("in %v it said %d times who its user is", time.Since(begun), deleted)
		}
	})
}
