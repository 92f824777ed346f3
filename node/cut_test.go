package node

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// TestSearchesThatAreCut: a search that its caller or the node's end cuts says so, and not that
// nobody is there or that nothing is to be found.
func TestSearchesThatAreCut(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		searches := map[string]func(context.Context) error{
			"Find of an ID": func(ctx context.Context) error {
				return a.API().Find(ctx, api.FindRequest{Name: wire.GroupID{1}.String()}, func(api.Found) error { return nil })
			},
			"Find of a name": func(ctx context.Context) error {
				return a.API().Find(ctx, api.FindRequest{Name: "tea"}, func(api.Found) error { return nil })
			},
			"FindMailboxes": func(ctx context.Context) error {
				return a.API().FindMailboxes(ctx, api.FindMailboxesRequest{}, func(api.FoundMailbox) error { return nil })
			},
		}
		cancelled, cancel := context.WithCancel(w.Context())
		cancel()
		for _, alone := range []bool{true, false} {
			if !alone {
				b := w.open(1, 0)
				w.dhtSays(time.Minute, "they are connected", func() bool { return a.directory.dht.Size() > 0 && b.directory.dht.Size() > 0 })
			}
			for what, search := range searches {
				if err := search(cancelled); !errors.Is(err, context.Canceled) {
					w.Errorf("%s, alone %v: %v", what, alone, err)
				}
				if alone && what == "FindMailboxes" {
					continue // there is nothing to wait for
				}
				ctx, cancel := context.WithCancel(w.Context())
				told := make(chan error, 1)
				go func() { told <- search(ctx) }()
				synctest.Wait()
				cancel()
				if err := <-told; alone && !errors.Is(err, context.Canceled) {
					w.Errorf("%s, alone %v, cut in the middle: %v", what, alone, err)
				}
			}
		}
		w.close(1)
		w.dhtSays(time.Minute, "it is alone", func() bool { return len(a.Host().Network().Peers()) == 0 })
		told := make(chan error, 2)
		for _, what := range []string{"Find of an ID", "Find of a name"} {
			go func() { told <- searches[what](w.Context()) }()
		}
		synctest.Wait()
		if err := a.Close(); err != nil {
			w.Fatal(err)
		}
		for range 2 {
			if err := <-told; !errors.Is(err, ErrClosed) {
				w.Errorf("the node was closed: %v", err)
			}
		}
	})
}

// TestForgottenMeanwhile: a call for a group that is forgotten meanwhile is told so. Nothing says
// to it that the node were closed.
func TestForgottenMeanwhile(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		id := w.create(a, "tea")
		g := a.groups.get(id)
		looks, goOn, told := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		go func() {
			_ = g.loop.look(w.Context(), func(*group.Machine) error { close(looks); <-goOn; return nil })
		}()
		<-looks
		go func() { _, err := g.status(w.Context()); told <- err }()
		synctest.Wait()
		go a.drop(g)
		synctest.Wait()
		close(goOn)
		if err := <-told; !errors.Is(err, ErrNoGroup) || errors.Is(err, ErrClosed) {
			w.Errorf("%v", err)
		}
		if _, err := g.status(w.Context()); !errors.Is(err, ErrNoGroup) {
			w.Errorf("afterwards: %v", err)
		}
	})
}

// TestClosedWhileLookingFor: a closed node has no messages of a group that it looked for.
func TestClosedWhileLookingFor(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1)
		id := w.create(b, "tea")
		code, err := b.API().CreateInvite(w.Context(), api.CreateInviteRequest{Group: id.String()})
		if err != nil {
			w.Fatal(err)
		}
		w.close(1)
		ctx, cancel := context.WithCancel(w.Context())
		go func() {
			_ = a.API().Join(ctx, api.JoinRequest{Link: code.Link}, func(api.JoinUpdate) error { return nil })
		}()
		synctest.Wait()
		cancel()
		if events, err := a.Events(w.Context(), id, 0, 1); len(events) > 0 || err != nil {
			w.Fatalf("before: %v, %v", events, err)
		}
		if err := a.Close(); err != nil {
			w.Fatal(err)
		}
		if events, err := a.Events(w.Context(), id, 0, 1); !errors.Is(err, ErrClosed) {
			w.Errorf("%v, %v", events, err)
		}
	})
}
