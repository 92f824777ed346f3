package node

import (
	"testing"
	"time"

	"github.com/pandanode/pandanode/discovery"
	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/clock"
	"github.com/pandanode/pandanode/node/wire"
)

const fiftyYears = 50 * 365 * 24 * time.Hour

// others has the clocks of two users say that it is so much later than it is.
func (w *wallClock) others(ahead time.Duration) {
	w.hear(wire.UserID{1}, time.Now().Add(ahead))
	w.hear(wire.UserID{2}, time.Now().Add(ahead))
}

// A group is founded and named while the clock is 50 years ahead. Once it is right, others
// find the group by its name, and what is changed later counts for them too.
func TestFoundWithAClockAhead(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		a.clock.others(fiftyYears)
		if got := a.clock.now(); time.Until(got) < fiftyYears/2 {
			w.Fatalf("it is %v", got)
		}
		id := w.create(a, "pandas")
		g := a.groups.get(id)
		name := "keepers"
		if err := g.setProfile(w.Context(), profileChange{Name: &name}); err != nil {
			w.Fatal(err)
		}
		st, err := g.status(w.Context())
		if err != nil {
			w.Fatal(err)
		}
		for _, item := range st.Profile {
			if item.Text == name && hlc(item.HLC).Ahead(a.clock.now()).Abs() > time.Minute {
				w.Errorf("the name is dated %v, and it is %v", hlc(item.HLC).Time(), a.clock.now())
			}
		}
		time.Sleep(time.Minute) // virtual
		a.clock.others(0)
		g.publish(w.Context())
		b := w.open(1, 0)
		finds := func(name string) bool {
			ctx := w.within(time.Minute)
			found, err := b.directory.find(ctx, b.life, discovery.Query{Name: name, Limit: 1})
			if err != nil {
				w.Fatal(err)
			}
			got := false
			for r := range found {
				got = got || r.InDHT && r.Info.Name == name && len(r.Info.Heads) > 0
			}
			return got
		}
		for _, name := range []string{"keepers", "carers"} {
			if err := g.setProfile(w.Context(), profileChange{Name: &name}); err != nil {
				w.Fatal(err)
			}
			time.Sleep(time.Minute) // virtual
			if !finds(name) {
				w.Errorf("%q is not found", name)
			}
		}
	})
}

// A device that first started with a clock ten years ahead, which was put right since, takes
// an invite that has a date, and what it is told expires when it should.
func TestClockAheadAtFirst(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		id := w.create(a, "pandas")
		_, link := w.invite(a, id, inviteTerms{Expires: time.Hour})
		b := w.open(1, 0)
		wrong := time.Now().Add(10 * 365 * 24 * time.Hour)
		b.clock.mu.Lock()
		b.clock.judge = clock.New(b.clock.reading(), clock.Time{Kept: wrong}, false)
		b.clock.mu.Unlock()
		if err := b.clock.keep(b.put); err != nil {
			w.Fatal(err)
		}
		w.close(1)
		b = w.open(1, 0)
		if ahead := time.Until(b.clock.kept()); ahead < 9*365*24*time.Hour {
			w.Fatalf("what it took for the time is %v ahead", ahead)
		}
		if _, err := b.joinByLink(w.Context(), link); err != nil {
			w.Fatal(err)
		}
		w.in(b, id)
		if _, err := a.API().Send(w.Context(), api.SendRequest{Group: id.String(), Text: "over in an hour", Expire: "1h"}); err != nil {
			w.Fatal(err)
		}
		w.shows(b, id, time.Minute, "over in an hour")
		w.close(1)
		b = w.open(1, 0)
		time.Sleep(50 * time.Minute) // virtual
		w.shows(b, id, time.Minute, "over in an hour")
		time.Sleep(30 * time.Minute)    // virtual
		w.shows(b, id, time.Minute, "") // it is gone
	})
}

// A link is not refused by a clock that others have not borne out: the members judge it.
func TestLinkWithAClockAhead(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		id := w.create(a, "pandas")
		_, link := w.invite(a, id, inviteTerms{Expires: time.Hour})
		b := w.open(1, 0)
		b.clock.mu.Lock()
		r := b.clock.reading()
		r.Wall = r.Wall.Add(-2 * time.Hour) // so its wall clock is ahead of all that it has known
		b.clock.judge = clock.New(r, clock.Time{Kept: r.Wall}, false)
		b.clock.mu.Unlock()
		time.Sleep(2 * time.Hour) // virtual
		r = b.clock.reading()
		if got := b.clock.kept(); r.Wall.Sub(got) < time.Hour {
			w.Fatalf("kept is %v, the wall clock %v", got, r.Wall)
		}
		if _, err := b.joinByLink(w.Context(), link); err != nil {
			w.Error(err)
		}
	})
}
