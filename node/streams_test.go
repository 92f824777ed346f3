package node

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/discovery"
	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// A cursor that this run, or this store, never gave out is refused: with it a stream
// would be silent until as much has happened again.
func TestForeignCursorsAreRefused(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		n := w.open(0)
		id := w.create(n, "tea")
		w.send(n, id, "hello")
		s := n.API()
		if got := s.Events(w.within(time.Second), api.EventsRequest{Run: "of yesterday"}, func(api.Event) error { return nil }); api.CodeOf(got) != api.CodeConflict {
			t.Errorf("a cursor of another run: %v", got)
		}
		const beyond = 1 << 40
		for what, f := range map[string]func(context.Context) error{
			"events of the node": func(ctx context.Context) error {
				return n.feed.subscribe(ctx, n.life.done, beyond, func(nodeEvent) error { return nil })
			},
			"messages": func(ctx context.Context) error { return second(n.Messages(ctx, id, beyond, 1)) },
			"events":   func(ctx context.Context) error { return second(n.Events(ctx, id, beyond, 1)) },
			"tail": func(ctx context.Context) error {
				return n.Subscribe(ctx, id, beyond, func(group.Message) error { return nil })
			},
			"a group's feed": func(ctx context.Context) error {
				return followEvents(ctx, n.groups, id, beyond, func(group.Event) error { return nil })
			},
		} {
			err := f(w.within(time.Second))
			if !errors.Is(err, ErrCursor) || api.CodeOf(APIError(err)) != api.CodeConflict {
				t.Errorf("%s: %v", what, err)
			}
		}
		// The newest cursor itself is good, and what comes after it comes.
		stop := errors.New("enough")
		events, err := n.Events(w.within(time.Second), id, 0, 0)
		if err != nil || len(events) == 0 {
			t.Fatal(events, err)
		}
		newest := events[len(events)-1].Cursor
		go func() { w.send(n, id, "more") }()
		if err := n.Subscribe(w.within(time.Minute), id, newest, func(m group.Message) error {
			if string(m.Content.Data) != "more" {
				t.Errorf("got %q", m.Content.Data)
			}
			return stop
		}); !errors.Is(err, stop) {
			t.Error(err)
		}
		if err := s.Events(w.within(time.Minute), api.EventsRequest{Run: n.feed.run}, func(api.Event) error { return stop }); !errors.Is(err, stop) {
			t.Error(err)
		}
	})
}

// A join is durable before its group is found: what reads the group waits for it.
func TestStreamsWaitForAJoin(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		id := w.create(a, "tea")
		w.close(0)
		b := w.open(1)
		if err := b.Join(w.within(time.Minute), id); err != nil {
			t.Fatal(err)
		}
		if got, err := b.Messages(w.within(time.Minute), id, 0, 10); len(got) > 0 || err != nil {
			t.Errorf("messages: %v, %v", got, err)
		}
		if got, err := b.Events(w.within(time.Minute), id, 0, 10); len(got) > 0 || err != nil {
			t.Errorf("events: %v, %v", got, err)
		}
		stop := errors.New("enough")
		read, heard := make(chan error, 1), make(chan error, 1)
		go func() {
			read <- b.Subscribe(w.within(time.Hour), id, 0, func(m group.Message) error {
				if string(m.Content.Data) != "come in" {
					t.Errorf("got %q", m.Content.Data)
				}
				return stop
			})
		}()
		go func() {
			heard <- followEvents(w.within(time.Hour), b.groups, id, 0, func(e group.Event) error {
				if e.Kind == group.EventJoined {
					return stop
				}
				return nil
			})
		}()
		w.close(1)
		if err := <-read; !errors.Is(err, ErrClosed) {
			t.Errorf("the node is closed: %v", err)
		}
		if err := <-heard; !errors.Is(err, ErrClosed) {
			t.Errorf("the node is closed: %v", err)
		}
		a = w.open(0)
		b = w.open(1, 0)
		go func() {
			heard <- followEvents(w.within(time.Hour), b.groups, id, 0, func(e group.Event) error {
				if e.Kind == group.EventJoined {
					return stop
				}
				return nil
			})
		}()
		go func() {
			read <- b.Subscribe(w.within(time.Hour), id, 0, func(m group.Message) error {
				if string(m.Content.Data) != "come in" {
					t.Errorf("got %q", m.Content.Data)
				}
				return stop
			})
		}()
		if err := <-heard; !errors.Is(err, stop) {
			t.Fatal(err)
		}
		w.eventually(a, time.Minute, "two members", func() bool {
			m, err := a.Members(w.within(time.Minute), id)
			return err == nil && len(m) == 2
		})
		w.send(a, id, "come in")
		if err := <-read; !errors.Is(err, stop) {
			t.Error(err)
		}
		if _, err := b.Messages(w.within(time.Minute), wire.GroupID{1}, 0, 1); !errors.Is(err, ErrNoGroup) {
			t.Errorf("a group that nobody joins: %v", err)
		}
	})
}

// One name is one error, whichever package it is compared with.
func TestSentinelsOfOneNameAreEqual(t *testing.T) {
	for name, pair := range map[string][2]error{
		"ErrExists": {ErrExists, storage.ErrExists}, "ErrClosed": {ErrClosed, storage.ErrClosed}, "ErrNotFound": {errNotFound, storage.ErrNotFound},
		"ErrInvalid": {ErrInvalid, storage.ErrInvalid}, "ErrNoPeers": {errNoPeers, discovery.ErrNoPeers},
	} {
		for i := range pair {
			if err := fmt.Errorf("doing: %w", pair[i]); !errors.Is(err, pair[1-i]) {
				t.Errorf("%s: %v is not %v", name, pair[i], pair[1-i])
			}
		}
	}
}

// Fields that are left out have sensible values, and values that cannot be right are
// refused.
func TestWhatIsLeftOut(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		n := w.open(0)
		ctx := w.within(time.Minute)
		s := n.API()
		for _, c := range []struct {
			private bool
			want    api.Policy
		}{{false, api.PolicyOpen}, {true, api.PolicyInvite}} {
			id, err := n.CreateGroup(ctx, CreateGroup{Name: "tea", Private: c.private})
			if err != nil {
				t.Fatal(err)
			}
			if g, err := (routes{n}).group(ctx, id); err != nil || g.Policy != c.want {
				t.Errorf("private %v: policy %q, %v", c.private, g.Policy, err)
			}
			if g, err := s.CreateGroup(ctx, api.CreateGroupRequest{Name: "tea", Private: c.private}); err != nil || g.Policy != c.want {
				t.Errorf("API, private %v: policy %q, %v", c.private, g.Policy, err)
			}
		}
		id := w.create(n, "types")
		for _, c := range []struct{ data, want string }{{"text", "text/plain"}, {"\xff\x00", "application/octet-stream"}} {
			message, err := n.Send(ctx, id, wire.Content{Data: []byte(c.data)})
			if err != nil {
				t.Fatal(err)
			}
			if m, err := n.groups.get(id).message(ctx, message); err != nil || m.Content.MediaType != c.want {
				t.Errorf("%q is sent as %q, %v", c.data, m.Content.MediaType, err)
			}
		}
		for what, c := range map[string]wire.Content{
			"empty": {}, "blank": {MediaType: "text/plain", Data: []byte(" \n\u200b")}, "not UTF-8": {MediaType: "text/plain", Data: []byte("\xff")},
			"too long": {Data: make([]byte, wire.MaxBody+1)}, "a type that is none": {MediaType: "text\n", Data: []byte("x")},
		} {
			_, one := n.Send(ctx, id, c)
			_, all := n.sendAll(ctx, id, []wire.Content{{Data: []byte("good")}, c})
			for _, err := range []error{one, all} {
				if !errors.Is(err, ErrInvalid) || api.CodeOf(APIError(err)) != api.CodeInvalid {
					t.Errorf("%s: %v", what, err)
				}
			}
		}
		for _, r := range []api.SendRequest{{Group: id.String()}, {Group: id.String(), Texts: []string{"a", ""}}, {Group: id.String(), Texts: []string{}}} {
			if _, err := s.Send(ctx, r); api.CodeOf(err) != api.CodeInvalid {
				t.Errorf("%+v: %v", r, err)
			}
		}
	})
}

// A new name is seen in groups from then on, by everybody and after a restart; the keys
// of the device, and what groups of before hold of it, stay as they are.
func TestRename(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		before := w.create(a, "before")
		device := a.Device().ID
		for what, name := range map[string]string{"blank": " ", "empty": "", "two lines": "a\nb", "of two alphabets": "\u0430nna", "hidden": "an\u200bna", "reversed": "\u202eanna", "long": strings.Repeat("n", wire.MaxDeviceName+1)} {
			if err := a.naming.rename(w.within(time.Minute), name); !errors.Is(err, ErrInvalid) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if err := a.naming.rename(w.within(time.Minute), "Anna's phone"); err != nil {
			t.Fatal(err)
		}
		founded := w.create(a, "founded")
		b := w.open(1, 0)
		w.join(b, founded)
		other := w.create(b, "other")
		w.join(a, other)
		w.close(0)
		a = w.open(0, 1)
		if id := (routes{a}).id(); id.Name != "Anna's phone" || id.Device != device.String() {
			t.Errorf("after a restart: %+v", id)
		}
		name := func(n *Node, id wire.GroupID) string {
			t.Helper()
			members, err := n.Members(w.within(time.Minute), id)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range members {
				if m.User == a.Device().User {
					return m.Name
				}
			}
			return ""
		}
		for id, want := range map[wire.GroupID]string{before: "device 0", founded: "Anna's phone", other: "Anna's phone"} {
			if got := name(a, id); got != want {
				t.Errorf("itself: %q, want %q", got, want)
			}
		}
		for _, id := range []wire.GroupID{founded, other} {
			if got := name(b, id); got != "Anna's phone" {
				t.Errorf("others see %q", got)
			}
		}
		// Both talk, and a removed one comes back, under the certificate that the group has.
		w.send(a, other, "from the phone")
		w.shows(b, other, time.Minute, "from the phone")
		w.join(b, before)
		w.send(a, before, "hello")
		w.shows(b, before, time.Minute, "hello")
	})
}
