//go:build unix

package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/config"
	"github.com/pandanode/pandanode/node/hook"
	"github.com/pandanode/pandanode/storage"
)

// hookedTo makes a hook that appends the events it gets to a file, unless the file "broken" is
// there, and gives what they say.
func hookedTo(t *testing.T, h config.Hook) (_ config.Hook, got func() []hook.Event, broken string) {
	t.Helper()
	dir := t.TempDir()
	h.Exec = []string{"/bin/sh", "-c", `if [ -e "$0/broken" ]; then echo "no bus" >&2; exit 1; fi; cat >> "$0/events"`, dir}
	return h, func() (out []hook.Event) {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(dir, "events"))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			var e hook.Event
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatal(err)
			}
			out = append(out, e)
		}
		return out
	}, filepath.Join(dir, "broken")
}

// until waits until what is true, in virtual time.
func until(t *testing.T, d time.Duration, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(d); !is(); time.Sleep(time.Second) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", d, what)
		}
	}
}

func textsOf(events []hook.Event) (out []string) {
	for _, e := range events {
		if e.Message != nil {
			out = append(out, e.Message.Text)
		} else {
			out = append(out, string(e.Kind))
		}
	}
	return out
}

// A hook runs at each message of others from its beginning on, and goes on where it was when
// the node starts again. One that is taken out of the configuration forgets that.
func TestHooks(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		t := w.T
		a, b := w.open(0), w.open(1, 0)
		id := w.create(b, "tea")
		w.join(a, id)
		w.send(b, id, "before")
		w.shows(a, id, time.Minute, "before")
		h, got, _ := hookedTo(t, config.Hook{Name: "h", Groups: []string{"tea"}})
		door, doors, _ := hookedTo(t, config.Hook{Name: "door", On: []string{"joined", "member-added"}})
		if err := a.SetHooks([]config.Hook{h, door}); err != nil {
			t.Fatal(err)
		}
		await := func(want ...string) {
			t.Helper()
			until(t, time.Minute, fmt.Sprint("runs at ", want), func() bool { return slices.Equal(textsOf(got()), want) })
		}
		time.Sleep(time.Second) // until it has begun
		w.send(b, id, "one")
		w.send(a, id, "own")
		await("one")
		e := got()[0]
		if e.Version != 1 || e.Hook != "h" || e.Attempt != 1 || e.Kind != api.EventMessage || e.GroupName != "tea" || e.Message.User != b.me.device.User.String() || !strings.HasPrefix(e.ID, id.String()+"/") {
			t.Errorf("%+v", e)
		}
		if all, err := a.API().Cursors(t.Context(), api.GroupRequest{Group: "tea"}); err != nil || len(all.Cursors) != 2 || all.Cursors[1].Name != "hook:h" {
			t.Errorf("%+v, %v", all, err)
		}
		for _, name := range []string{"hook:h", "hook:none"} { // for no program
			_, err1 := a.API().Acknowledge(t.Context(), api.AcknowledgeRequest{Group: "tea", Name: name, Cursor: 1})
			_, err2 := a.API().RemoveCursor(t.Context(), api.CursorRequest{Group: "tea", Name: name})
			err3 := a.API().Timeline(t.Context(), api.TimelineRequest{Group: "tea", As: name}, func(api.Happening) error { return nil })
			if api.CodeOf(err1) != api.CodeInvalid || api.CodeOf(err2) != api.CodeInvalid || api.CodeOf(err3) != api.CodeInvalid {
				t.Errorf("%s: %v, %v, %v", name, err1, err2, err3)
			}
		}
		// A group that comes later begins with its first event.
		w.create(a, "coffee")
		until(t, time.Minute, "the group that came", func() bool { return slices.Equal(textsOf(doors()), []string{"joined"}) })
		w.close(0)
		w.send(b, id, "while it was away")
		w.set[0] = func(c *Config) { c.Hooks = []config.Hook{h} }
		a = w.open(0, 1)
		await("one", "while it was away")
		if all, err := a.API().Cursors(t.Context(), api.GroupRequest{Group: "tea"}); err != nil || len(all.Cursors) != 1 {
			t.Errorf("the hook that is gone: %+v, %v", all, err)
		}
		if err := a.SetHooks(nil); err != nil {
			t.Fatal(err)
		}
		if all, err := a.API().Cursors(t.Context(), api.GroupRequest{Group: "tea"}); err != nil || len(all.Cursors) != 0 {
			t.Errorf("all hooks are gone: %+v, %v", all, err)
		}
		w.send(b, id, "while there is no hook")
		w.shows(a, id, time.Minute, "before", "one", "own", "while it was away", "while there is no hook")
		if err := a.SetHooks([]config.Hook{h}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		w.send(b, id, "anew")
		await("one", "while it was away", "anew")
	})
}

// Hooks that are set while the store cannot be written run, and none of those before is told
// of as if it ran; what is kept of them goes with the next that are set.
func TestHooksAndAFullDisk(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		t := w.T
		a, b := w.open(0), w.open(1, 0)
		id := w.create(b, "tea")
		w.join(a, id)
		before, _, _ := hookedTo(t, config.Hook{Name: "before"})
		after, got, _ := hookedTo(t, config.Hook{Name: "after"})
		if err := a.SetHooks([]config.Hook{before}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // until it has begun
		full := errors.New("the disk is full")
		a.hookTable.apply = func(storage.Batch) error { return full }
		if err := a.SetHooks([]config.Hook{after}); !errors.Is(err, full) {
			t.Errorf("set: %v", err)
		}
		all, err := a.API().Hooks(t.Context(), api.Empty{})
		if err != nil || len(all.Hooks) != 1 || all.Hooks[0].Name != "after" {
			t.Errorf("%+v, %v", all, err)
		}
		time.Sleep(time.Second)
		w.send(b, id, "one")
		until(t, time.Minute, "runs", func() bool { return slices.Equal(textsOf(got()), []string{"one"}) })
		a.hookTable.apply = a.apply
		if err := a.SetHooks([]config.Hook{after}); err != nil {
			t.Fatal(err)
		}
		if all, err := a.API().Cursors(t.Context(), api.GroupRequest{Group: "tea"}); err != nil || len(all.Cursors) != 1 || all.Cursors[0].Name != "hook:after" {
			t.Errorf("%+v, %v", all, err)
		}
	})
}

// A hook that fails is told by status, doctor and metrics. It loses nothing, is parked after
// two hours, stays so when the node starts again, and goes on when somebody says so.
func TestHookFails(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		t := w.T
		a, b := w.open(0), w.open(1, 0)
		id := w.create(b, "tea")
		w.join(a, id)
		h, got, broken := hookedTo(t, config.Hook{Name: "h"})
		set := func() {
			t.Helper()
			if err := a.SetHooks([]config.Hook{h}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		set()
		finding := func() api.Finding {
			t.Helper()
			for _, f := range checkup(t.Context(), a, false) {
				if f.Check == "hooks" {
					return f
				}
			}
			t.Fatal("no finding")
			return api.Finding{}
		}
		state := func() api.Hook {
			t.Helper()
			all, err := a.API().Hooks(t.Context(), api.Empty{})
			if err != nil || len(all.Hooks) != 1 {
				t.Fatalf("%+v, %v", all, err)
			}
			return all.Hooks[0]
		}
		if f := finding(); f.Health != api.HealthOK || state().State != api.HookWell || state().Does != "/bin/sh" {
			t.Errorf("%+v, %+v", f, state())
		}
		if err := os.WriteFile(broken, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if run, err := a.API().TestHook(t.Context(), api.HookRequest{Hook: "h"}); err != nil || run.OK || !strings.Contains(run.Why, "no bus") {
			t.Errorf("%+v, %v", run, err)
		}
		one := w.send(b, id, "one")
		w.send(b, id, "two")
		until(t, time.Minute, "a failure", func() bool { return state().Failures > 2 })
		is := state()
		if f := finding(); is.State != api.HookFailing || is.GroupName != "tea" || f.Health != api.HealthWarn || !strings.Contains(f.Detail, "no bus") || f.Hint == "" {
			t.Errorf("%+v, %+v", is, f)
		}
		if st, err := a.API().Status(t.Context(), api.StatusRequest{}); err != nil || len(st.Hooks) != 1 || !strings.Contains(st.Hooks[0], "no bus") {
			t.Errorf("%+v, %v", st.Hooks, err)
		}
		until(t, 4*time.Hour, "parked", func() bool { return state().State == api.HookParked })
		if is := state(); is.Failures != 14 {
			t.Errorf("%+v", is)
		}
		w.close(0)
		w.set[0] = func(c *Config) { c.Hooks = []config.Hook{h} }
		a = w.open(0, 1)
		time.Sleep(time.Second)
		if f := finding(); state().State != api.HookParked || f.Health != api.HealthFail || !strings.Contains(f.Hint, "pandanode hook resume h") {
			t.Errorf("after a restart: %+v, %+v", state(), f)
		}
		if is := scrape(t, a); is["pandanode_hooks{state=parked}"] != 1 || is["pandanode_hooks{state=well}"] != 0 {
			t.Errorf("the metrics: %v parked", is["pandanode_hooks{state=parked}"])
		}
		// A message that is deleted while the hook is parked is never given to it.
		if _, err := b.API().Delete(t.Context(), api.MessageRequest{Group: id.String(), Message: one.String()}); err != nil {
			t.Fatal(err)
		}
		until(t, time.Minute, "the deletion", func() bool {
			m, err := a.API().Message(t.Context(), api.MessageRequest{Group: id.String(), Message: one.String()})
			return err == nil && m.Deleted != nil
		})
		if err := os.Remove(broken); err != nil {
			t.Fatal(err)
		}
		if _, err := a.API().ResumeHook(t.Context(), api.HookRequest{Hook: "h"}); err != nil {
			t.Fatal(err)
		}
		until(t, time.Minute, "the events", func() bool { return slices.Equal(textsOf(got()), []string{"two"}) })
		if is := state(); is.State != api.HookWell || is.Why != "" {
			t.Errorf("%+v", is)
		}
		if _, err := a.API().SkipHook(t.Context(), api.HookRequest{Hook: "h"}); api.CodeOf(err) != api.CodeConflict {
			t.Errorf("nothing to skip: %v", err)
		}
		if _, err := a.API().ResumeHook(t.Context(), api.HookRequest{Hook: "none"}); api.CodeOf(err) != api.CodeNotFound {
			t.Errorf("no such hook: %v", err)
		}
		// Doctor also says what cannot work.
		if err := a.SetHooks([]config.Hook{{Name: "x", Exec: []string{"no-such-program"}}, {Name: "y", Exec: []string{"true"}, Groups: []string{"nowhere"}}}); err != nil {
			t.Fatal(err)
		}
		var wrong []string
		for _, f := range checkup(t.Context(), a, false) {
			if f.Check == "hooks" {
				wrong = append(wrong, f.Detail)
			}
		}
		if want := []string{"hook x: there is no program no-such-program", `hook y: this node has no group "nowhere"`}; !slices.Equal(wrong, want) {
			t.Errorf("%q", wrong)
		}
	})
}

// TestSetHooksAfterClose: a closed node takes no hooks, however often it is told to.
func TestSetHooksAfterClose(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		if err := a.Close(); err != nil {
			w.Fatal(err)
		}
		for i := range 3 {
			if err := a.SetHooks([]config.Hook{{Name: "x", Exec: []string{"true", fmt.Sprint(i)}}}); !errors.Is(err, ErrClosed) {
				w.Errorf("%d: %v", i, err)
			}
		}
	})
}

// Hooks that cannot be right are refused, also while the node runs, and those before go on.
func TestHooksThatCannotBe(t *testing.T) {
	t.Parallel()
	n, client := onLoopback(t)
	if err := n.SetHooks([]config.Hook{{Name: "good", Exec: []string{"true"}}}); err != nil {
		t.Fatal(err)
	}
	for _, h := range [][]config.Hook{
		{{}}, {{Name: "x"}}, {{Name: "x", On: []string{"nonsense"}, Exec: []string{"true"}}}, {{Name: "x", Exec: []string{"true"}}, {Name: "x", Exec: []string{"true"}}},
	} {
		if err := n.SetHooks(h); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", h, err)
		}
	}
	all, err := client.Hooks(t.Context(), api.Empty{})
	if err != nil || len(all.Hooks) != 1 || all.Hooks[0].Name != "good" {
		t.Errorf("%+v, %v", all, err)
	}
}
