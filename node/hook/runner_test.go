package hook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/config"
)

// journal is a node as a hook sees it. It outlives a runner.
type journal struct {
	groups  []Group
	items   map[string][]api.Happening
	cursors map[string]uint64
	state   State
	changed chan struct{}
	fails   func(call string) error // of writes
	erased  int
}

func newJournal() *journal {
	return &journal{groups: []Group{{"tea", "tea house"}}, items: map[string][]api.Happening{}, cursors: map[string]uint64{}, changed: make(chan struct{})}
}

func (j *journal) Groups(context.Context) ([]Group, error) { return slices.Clone(j.groups), nil }

func (j *journal) After(_ context.Context, group string, after uint64, limit int) (out []api.Happening, upTo uint64, err error) {
	for _, h := range j.items[group] {
		if upTo = h.Cursor; h.Cursor > after && len(out) < limit {
			out = append(out, h)
		}
	}
	if len(out) == limit {
		upTo = out[len(out)-1].Cursor
	}
	return out, upTo, nil
}

func (j *journal) Begin(_ context.Context, group string) (uint64, error) {
	if _, ok := j.cursors[group]; !ok {
		j.cursors[group] = uint64(len(j.items[group]))
	}
	return j.cursors[group], nil
}

func (j *journal) write(call string, do func()) error {
	if j.fails != nil {
		if err := j.fails(call); err != nil {
			return err
		}
	}
	do()
	return nil
}

func (j *journal) Acknowledge(group string, cursor uint64) error {
	return j.write("acknowledge", func() { j.cursors[group] = cursor })
}

func (j *journal) State() (State, error) { return j.state, nil }

func (j *journal) Keep(s State) error { return j.write("keep", func() { j.state = s }) }

func (j *journal) Erased() error { return j.write("erased", func() { j.erased++ }) }

func (j *journal) Changed() <-chan struct{} { return j.changed }

func (j *journal) say(group, text string) *api.Message {
	cursor := uint64(len(j.items[group]) + 1)
	m := &api.Message{ID: fmt.Sprint(group, cursor), Cursor: cursor, User: "ben", Text: text, Kind: api.EventMessage}
	j.items[group] = append(j.items[group], api.Happening{Cursor: cursor, Message: m})
	close(j.changed)
	j.changed = make(chan struct{})
	return m
}

// acted notes what a hook did, and fails when it is told to.
type acted struct {
	ran   []string
	fails func(e Event) error
}

func (a *acted) act(_ context.Context, e Event) error {
	text := string(e.Kind)
	if e.Message != nil {
		text = e.Message.Text
	}
	a.ran = append(a.ran, text)
	if a.fails != nil {
		return a.fails(e)
	}
	return nil
}

func runner(t *testing.T, j Journal, a *acted, h config.Hook) *Runner {
	t.Helper()
	if h.Name == "" {
		h.Name = "h"
	}
	r, err := New(Config{Hook: h, Me: "anna", Journal: j, Log: slog.New(slog.DiscardHandler), act: a.act})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func start(t *testing.T, r *Runner) (kill func()) {
	ctx, cancel := context.WithCancel(t.Context())
	go r.Run(ctx)
	synctest.Wait()
	return func() { cancel(); <-r.done }
}

func expect(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// A hook begins with what comes from then on, goes on after a restart where it was, and passes
// over what it is not for.
func TestRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j, a := newJournal(), &acted{}
		j.say("tea", "before")
		r := runner(t, j, a, config.Hook{})
		kill := start(t, r)
		j.say("tea", "one")
		j.say("tea", "own").User = "anna"
		j.say("tea", "two")
		synctest.Wait()
		kill()
		j.say("tea", "while it was away")
		kill = start(t, runner(t, j, a, config.Hook{}))
		j.groups = append(j.groups, Group{"new", "new"})
		j.say("tea", "three")
		synctest.Wait()
		j.say("new", "four")
		synctest.Wait()
		expect(t, "runs", a.ran, "one", "two", "while it was away", "three", "four")
		kill()
	})
}

// A hook that fails is tried again after 1, 2, 4 ... seconds, and no event is passed over. It
// is parked after two hours, also for the next process, and goes on when somebody says so.
func TestFailsAndParks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j, a := newJournal(), &acted{}
		broken := errors.New("broken")
		var times []time.Time
		var attempts []int
		a.fails = func(e Event) error {
			times, attempts = append(times, time.Now()), append(attempts, e.Attempt)
			return broken
		}
		r := runner(t, j, a, config.Hook{})
		kill := start(t, r)
		j.say("tea", "one")
		j.say("tea", "two")
		time.Sleep(time.Hour)
		synctest.Wait()
		if is := r.Report(); is.Parked || is.Failures != 12 || is.Why != "broken" || is.Since != times[0] {
			t.Errorf("after an hour: %+v", is)
		}
		for i := 1; i < len(times); i++ {
			if pause := times[i].Sub(times[i-1]); pause != time.Second<<(i-1) {
				t.Errorf("pause %d: %v", i, pause)
			}
		}
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		if is := r.Report(); !is.Parked || is.Failures != 14 || times[13].Sub(times[0]) != 4095*time.Second+time.Hour || !is.Next.IsZero() || attempts[13] != 14 {
			t.Errorf("a day later: %+v after %v", is, times[len(times)-1].Sub(times[0]))
		}
		kill()
		a.ran, a.fails = nil, nil
		r = runner(t, j, a, config.Hook{})
		kill = start(t, r)
		j.say("tea", "three")
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		expect(t, "parked", a.ran)
		if err := r.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		expect(t, "resumed", a.ran, "one", "two", "three")
		if is := r.Report(); is.Failures != 0 || j.state.Failures != 0 || is.Why != "" {
			t.Errorf("resumed: %+v", is)
		}
		kill()
	})
}

// A pause goes on when the node starts again, is no longer where the clock was set back
// meanwhile, and ends when somebody says so: then the pauses begin anew.
func TestPauses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j, a := newJournal(), &acted{fails: func(Event) error { return errors.New("broken") }}
		kill := start(t, runner(t, j, a, config.Hook{}))
		j.say("tea", "one")
		time.Sleep(9 * time.Second) // after 0, 1, 3 and 7 seconds; the next is due after 15
		kill()
		if j.state.Failures != 4 {
			t.Fatalf("%+v", j.state)
		}
		runs := func(what string, want int) {
			t.Helper()
			synctest.Wait()
			if len(a.ran) != want {
				t.Errorf("%s: %d runs, want %d", what, len(a.ran), want)
			}
		}
		kill = start(t, runner(t, j, a, config.Hook{}))
		j.say("tea", "two")
		time.Sleep(5 * time.Second)
		runs("in the pause", 4)
		time.Sleep(2 * time.Second)
		runs("after it", 5)
		kill()
		j.state.Next = j.state.Next.Add(24 * time.Hour)
		r := runner(t, j, a, config.Hook{})
		kill = start(t, r)
		time.Sleep(pauseAfter(5) + time.Second)
		runs("with a clock that was set back", 6)
		time.Sleep(5 * time.Second)
		if err := r.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		runs("at once", 7)
		time.Sleep(3 * time.Second)
		runs("anew", 8)
		if is := r.Report(); is.Failures != 3 {
			t.Errorf("anew: %+v", is)
		}
		kill()
	})
}

// An event that is taken away while the one before it is done is not run, though both were read
// at once.
func TestTakenAwayMeanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j, a := newJournal(), &acted{}
		kill := start(t, runner(t, j, a, config.Hook{}))
		kill()
		j.say("tea", "one")
		j.say("tea", "two")
		j.say("tea", "three")
		a.fails = func(Event) error {
			gone := *j.items["tea"][1].Message
			gone.Deleted = &api.Deleted{}
			j.items["tea"][1].Message = &gone
			return nil
		}
		kill = start(t, runner(t, j, a, config.Hook{}))
		expect(t, "runs", a.ran, "one", "three")
		kill()
	})
}

// A hook does not go on to fail at an event of a group that is gone.
func TestGroupGoesWhileItFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j, a := newJournal(), &acted{fails: func(Event) error { return errors.New("broken") }}
		r := runner(t, j, a, config.Hook{})
		kill := start(t, r)
		j.say("tea", "one")
		time.Sleep(2 * time.Second)
		if r.Report().Failures == 0 {
			t.Fatal("it does not fail")
		}
		j.groups = nil
		time.Sleep(time.Minute)
		synctest.Wait()
		if is := r.Report(); is.Failures != 0 || j.state.Failures != 0 {
			t.Errorf("%+v, kept %+v", is, j.state)
		}
		kill()
	})
}

// An event that was skipped stays skipped, whenever the process dies.
func TestSkippedForGood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j, a := newJournal(), &acted{fails: func(Event) error { return errors.New("broken") }}
		r := runner(t, j, a, config.Hook{})
		kill := start(t, r)
		j.say("tea", "one")
		time.Sleep(time.Second)
		before := j.cursors["tea"]
		j.fails = func(call string) error {
			if call == "acknowledge" {
				return errors.New("the disk is full")
			}
			return nil
		}
		if _, err := r.Skip(t.Context()); err == nil {
			t.Error("it was skipped without a word on disk")
		}
		if j.fails = nil; j.cursors["tea"] != before || j.state.Failures == 0 {
			t.Errorf("%+v at %d", j.state, j.cursors["tea"])
		}
		kill()
	})
}

// Another configuration of a parked hook has it tried again.
func TestConfiguredAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j, a := newJournal(), &acted{fails: func(Event) error { return errors.New("broken") }}
		kill := start(t, runner(t, j, a, config.Hook{}))
		j.say("tea", "one")
		time.Sleep(3 * time.Hour)
		kill()
		a.fails, a.ran = nil, nil
		kill = start(t, runner(t, j, a, config.Hook{Exec: []string{"mended"}}))
		expect(t, "another program", a.ran, "one")
		kill()
	})
}

// A hook that failed at a message may have said what that said. Once the message is taken away,
// or has expired, that is not kept, be the hook resting or parked, here or when it starts again.
func TestForgetsWhatWasTakenAway(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]func(*api.Message){
		"deleted": func(m *api.Message) { m.Text, m.Deleted = "", &api.Deleted{} },
		"expired": func(m *api.Message) { m.Text, m.Expired = "", true },
	} {
		for _, parked := range []bool{false, true} {
			for _, restarted := range []bool{false, true} {
				t.Run(fmt.Sprint(name, " parked ", parked, " restarted ", restarted), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						j := newJournal()
						a := &acted{fails: func(e Event) error { return fmt.Errorf("cannot say %q", e.Message.Text) }}
						kill := start(t, runner(t, j, a, config.Hook{}))
						m := j.say("tea", "a secret")
						if time.Sleep(20 * time.Second); parked {
							time.Sleep(3 * time.Hour)
						}
						j.say("tea", "another") // which takes nothing away
						synctest.Wait()
						if !strings.Contains(j.state.Why, "a secret") || j.state.Parked != parked || j.erased != 0 {
							t.Fatalf("%+v", j.state)
						}
						if restarted {
							kill()
							away(m)
							kill = start(t, runner(t, j, a, config.Hook{}))
						} else {
							away(m)
							j.say("tea", "a third")
							synctest.Wait()
						}
						if strings.Contains(j.state.Why, "secret") || j.state.Failures == 0 || j.state.Parked != parked || j.erased != 1 {
							t.Errorf("%+v, erased %d times", j.state, j.erased)
						}
						if !parked { // the next is tried when its time comes
							time.Sleep(time.Hour)
							if !slices.Contains(a.ran, "another") || j.state.Cursor != 2 {
								t.Errorf("%+v after %q", j.state, a.ran)
							}
						}
						kill()
					})
				})
			}
		}
	}
}

// An event that makes a hook fail can be skipped, and nothing else is.
func TestSkip(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j, a := newJournal(), &acted{}
		a.fails = func(e Event) error {
			if e.Message.Text == "poison" {
				return errors.New("broken")
			}
			return nil
		}
		r := runner(t, j, a, config.Hook{})
		kill := start(t, r)
		if _, err := r.Skip(t.Context()); api.CodeOf(err) != api.CodeConflict {
			t.Errorf("nothing fails: %v", err)
		}
		j.say("tea", "poison")
		j.say("tea", "next")
		synctest.Wait()
		if s, err := r.Skip(t.Context()); err != nil || s.Cursor != 1 || s.Group != "tea" {
			t.Errorf("%+v, %v", s, err)
		}
		synctest.Wait()
		expect(t, "skipped", a.ran, "poison", "next")
		kill()
	})
}

// A message that was deleted or expired while the hook failed is not given to it, and the hook
// is well then.
func TestNeverSeesWhatIsGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j, a := newJournal(), &acted{}
		a.fails = func(Event) error { return errors.New("broken") }
		r := runner(t, j, a, config.Hook{})
		kill := start(t, r)
		first, second, third := j.say("tea", "first"), j.say("tea", "second"), j.say("tea", "third")
		third.Expires = time.Now().Add(500 * time.Millisecond)
		synctest.Wait()
		expect(t, "before", a.ran, "first")
		first.Text, first.Deleted = "", &api.Deleted{}
		second.Text, second.Expired = "", true
		a.ran, a.fails = nil, nil
		time.Sleep(2 * time.Minute)
		j.say("tea", "fourth")
		synctest.Wait()
		expect(t, "after", a.ran, "fourth")
		if is := r.Report(); is.Failures > 0 || j.cursors["tea"] != 4 {
			t.Errorf("%+v at %d", is, j.cursors["tea"])
		}
		kill()
	})
}

// A group that fails holds up the hook, and no event of another group is lost. The count is of
// one event, whatever else there is.
func TestGroupsInTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j, a := newJournal(), &acted{}
		j.groups = []Group{{"a", "a"}, {"b", "b"}, {"c", "c"}}
		a.fails = func(e Event) error {
			if e.Group == "b" {
				return errors.New("broken")
			}
			return nil
		}
		r := runner(t, j, a, config.Hook{Groups: []string{"a", "b"}})
		kill := start(t, r)
		j.say("b", "poison")
		synctest.Wait()
		for range 10 {
			j.say("a", "fine")
			j.say("c", "not mine")
			time.Sleep(time.Minute)
		}
		if is := r.Report(); is.Failures < 9 || is.Group != "b" || len(a.ran) != is.Failures {
			t.Errorf("%+v, %q", is, a.ran)
		}
		j.groups = j.groups[:1] // the node left it
		a.ran = nil
		time.Sleep(time.Hour)
		synctest.Wait()
		if is := r.Report(); is.Failures > 0 || len(a.ran) != 10 {
			t.Errorf("%+v, %q", is, a.ran)
		}
		kill()
	})
}

// An acknowledgement that cannot be written is tried again, the event is not run again, and
// nothing else is run before.
func TestAcknowledgementIsOwed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j, a := newJournal(), &acted{}
		full := 5
		r := runner(t, j, a, config.Hook{})
		kill := start(t, r)
		j.fails = func(string) error {
			if full--; full >= 0 {
				return errors.New("the disk is full")
			}
			return nil
		}
		j.say("tea", "one")
		j.say("tea", "two")
		synctest.Wait()
		expect(t, "while it is full", a.ran, "one")
		time.Sleep(10 * time.Second)
		expect(t, "after", a.ran, "one", "two")
		if j.cursors["tea"] != 2 {
			t.Errorf("cursor %d", j.cursors["tea"])
		}
		kill()
	})
}

// A node may be killed before or after any write. Nothing is lost, and only the event that was
// being done is run twice.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const events = 8
		for point := range 2 * events {
			for _, dead := range []bool{false, true} { // before the write, after it
				j, a := newJournal(), &acted{}
				r := runner(t, j, a, config.Hook{})
				kill := start(t, r)
				calls, crashed := 0, make(chan struct{})
				lost := false
				j.fails = func(string) error {
					if lost {
						return errors.New("killed")
					}
					if calls++; calls == point+1 {
						lost = true
						close(crashed)
						if !dead {
							return errors.New("killed")
						}
					}
					return nil
				}
				for i := range events {
					j.say("tea", fmt.Sprint(i))
				}
				synctest.Wait()
				kill()
				j.fails = nil
				kill = start(t, runner(t, j, a, config.Hook{}))
				kill()
				count := map[string]int{}
				for _, text := range a.ran {
					count[text]++
				}
				twice := 0
				for i := range events {
					n := count[fmt.Sprint(i)]
					if twice += n - 1; n < 1 || n > 2 {
						t.Errorf("killed at write %d: %q", point, a.ran)
					}
				}
				if twice > 1 || j.cursors["tea"] != events || !slices.IsSorted(dedup(a.ran)) {
					t.Errorf("killed at write %d, after it %v: %q, cursor %d", point, dead, a.ran, j.cursors["tea"])
				}
			}
		}
	})
}

func dedup(s []string) []string { return slices.Compact(slices.Clone(s)) }

// A position that moved over events that the hook is not for is saved after a while, and when
// the hook ends.
func TestSavesWhatItPassedOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j, a := newJournal(), &acted{}
		writes := 0
		r := runner(t, j, a, config.Hook{On: []string{"mention"}})
		kill := start(t, r)
		j.fails = func(string) error { writes++; return nil }
		for range 300 {
			j.say("tea", "no mention")
			synctest.Wait()
		}
		if writes > 0 {
			t.Errorf("%d writes at once", writes)
		}
		time.Sleep(2 * time.Minute)
		if j.cursors["tea"] != 300 || writes != 1 {
			t.Errorf("after a while: cursor %d, %d writes", j.cursors["tea"], writes)
		}
		j.say("tea", "no mention")
		synctest.Wait()
		r.Stop()
		if j.cursors["tea"] != 301 {
			t.Errorf("at the end: cursor %d", j.cursors["tea"])
		}
		kill()
		if err := r.Resume(t.Context()); api.CodeOf(err) != api.CodeUnavailable {
			t.Errorf("ended: %v", err)
		}
	})
}

// Stop waits for the event that is being done, and its acknowledgement. The end of the node
// interrupts it: it comes again.
func TestStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := newJournal()
		var ran int
		slow := func(ctx context.Context, _ Event) error {
			ran++
			select {
			case <-time.After(20 * time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		fresh := func() *Runner {
			r, err := New(Config{Hook: config.Hook{Name: "h"}, Me: "anna", Journal: j, Log: slog.New(slog.DiscardHandler), act: slow})
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		r := fresh()
		kill := start(t, r)
		j.say("tea", "one")
		j.say("tea", "two")
		synctest.Wait()
		if is := r.Report(); is.Running.IsZero() {
			t.Error("it does not run")
		}
		began := time.Now()
		r.Stop()
		if time.Since(began) != 20*time.Second || j.cursors["tea"] != 1 || ran != 1 {
			t.Errorf("%v, cursor %d, %d runs", time.Since(began), j.cursors["tea"], ran)
		}
		kill()
		kill = start(t, fresh())
		kill()
		if j.cursors["tea"] != 1 || ran != 2 || j.state.Failures > 0 {
			t.Errorf("interrupted: cursor %d, %d runs, %+v", j.cursors["tea"], ran, j.state)
		}
	})
}

// A test of a hook runs it once, between two events.
func TestTest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j, a := newJournal(), &acted{}
		r := runner(t, j, a, config.Hook{})
		kill := start(t, r)
		failed, err := r.Test(t.Context(), time.Now())
		if failed != nil || err != nil {
			t.Error(failed, err)
		}
		a.fails = func(e Event) error {
			if !e.Test || e.Kind != KindTest || e.Hook != "h" {
				t.Errorf("%+v", e)
			}
			return errors.New("broken")
		}
		failed, err = r.Test(t.Context(), time.Now())
		if failed == nil || err != nil || r.Report().Failures > 0 {
			t.Error(failed, err, r.Report())
		}
		expect(t, "runs", a.ran, "test", "test")
		kill()
	})
}
