package node

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/storage"
)

// onLoopback opens a node on real sockets of this machine and serves its API.
func onLoopback(t *testing.T, change ...func(*Config)) (*Node, *api.Client) {
	t.Helper()
	dir, err := os.MkdirTemp("", "panda") // shorter than t.TempDir: 107 bytes are all a socket's path may have
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	key := filepath.Join(dir, "key")
	home := filepath.Join(dir, "home")
	if err := Init(t.Context(), InitConfig{Home: home, Name: "api", KeyFile: key}); err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Home: home, KeyFile: key, Socket: filepath.Join(dir, "s"), Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"}, Logger: testLog(),
	}
	for _, c := range change {
		c(&cfg)
	}
	n, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	ctx, stop := context.WithCancel(context.Background())
	go func() { ran <- n.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ran; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := n.Close(); err != nil {
			t.Errorf("a second Close: %v", err)
		}
	})
	c := api.NewClient(n.cfg.Socket)
	t.Cleanup(c.Close)
	deadline := time.Now().Add(10 * time.Second)
	for {
		conn, err := net.Dial("unix", n.cfg.Socket)
		if err == nil {
			_ = conn.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond) // the socket is made by Run, which says nothing
	}
	return n, c
}

// TestStopTellsWhoWaits: a node that stops says so to those who wait for it: nothing says that they
// gave up, and they may try again.
func TestStopTellsWhoWaits(t *testing.T) {
	t.Parallel()
	n, client := onLoopback(t)
	told := make(chan error, 2)
	go func() {
		_, err := client.Status(t.Context(), api.StatusRequest{Wait: api.LevelOnline})
		told <- err
	}()
	began := make(chan struct{})
	go func() {
		begin := sync.OnceFunc(func() { close(began) })
		told <- client.Events(t.Context(), api.EventsRequest{}, func(api.Event) error { begin(); return nil })
	}()
	if _, err := n.CreateGroup(t.Context(), CreateGroup{Name: "tea"}); err != nil {
		t.Fatal(err)
	}
	<-began
	if _, err := client.Shutdown(t.Context(), api.Empty{}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-told; api.CodeOf(err) != api.CodeUnavailable || !api.AsError(err).Retryable {
			t.Errorf("%v, %v", api.CodeOf(err), err)
		}
	}
}

// TestAPI drives two nodes on loopback through the local API alone.
func TestAPI(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	t.Run("two nodes", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		a, one := onLoopback(t)
		_, two := onLoopback(t, func(c *Config) { c.Bootstrap = a.Addrs() })
		if st, err := os.Stat(a.cfg.Socket); err != nil || st.Mode().Perm() != 0o600 {
			t.Fatalf("socket: %v, %v", st.Mode(), err)
		}
		for _, c := range []*api.Client{one, two} {
			if _, err := c.Status(ctx, api.StatusRequest{Wait: api.LevelOnline, Timeout: api.Duration(30 * time.Second)}); err != nil {
				t.Fatal(err)
			}
		}
		made, err := one.CreateGroup(ctx, api.CreateGroupRequest{Name: "api", Policy: api.PolicyOpen})
		if err != nil {
			t.Fatal(err)
		}
		if made.State != api.StateMember || made.Name != "api" || made.Role != "owner" || made.Members != 1 {
			t.Fatalf("created %+v", made)
		}
		var stages []api.Stage
		if err := two.Join(ctx, api.JoinRequest{Group: made.ID, Until: api.StageSynced}, func(u api.JoinUpdate) error {
			stages = append(stages, u.Stage)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if len(stages) == 0 || stages[len(stages)-1] != api.StageSynced {
			t.Fatalf("stages %v", stages)
		}
		sent, err := two.Send(ctx, api.SendRequest{Group: "api", Text: "through the API", Wait: api.DeliveryPublished})
		if err != nil || sent.State == api.DeliveryQueued {
			t.Fatalf("%+v, %v", sent, err)
		}
		stop := errors.New("enough")
		if err := one.Tail(ctx, api.TailRequest{Group: made.ID}, func(m api.Message) error {
			if m.ID != sent.ID || m.Text != "through the API" || m.Own {
				t.Errorf("got %+v", m)
			}
			return stop
		}); !errors.Is(err, stop) {
			t.Fatal(err)
		}
		var cursor uint64
		if err := one.GroupEvents(ctx, api.GroupEventsRequest{Group: made.ID}, func(e api.Event) error {
			if cursor++; e.Cursor != cursor {
				t.Errorf("event %d has cursor %d", cursor, e.Cursor)
			}
			if e.Kind == api.EventMessage {
				return stop
			}
			return nil
		}); !errors.Is(err, stop) {
			t.Fatal(err)
		}
		if err := one.Events(ctx, api.EventsRequest{}, func(e api.Event) error {
			if e.Run != a.feed.run {
				t.Errorf("run %q", e.Run)
			}
			if e.Kind == api.EventPeerConnected {
				return stop
			}
			return nil
		}); !errors.Is(err, stop) {
			t.Fatal(err)
		}

		members, err := one.Members(ctx, api.GroupRequest{Group: "api"})
		if err != nil || len(members.Members) != 2 {
			t.Fatalf("%+v, %v", members, err)
		}
		for name, c := range map[string]struct {
			err  error
			code api.Code
		}{
			"an unknown group":        {second(one.Group(ctx, api.GroupRequest{Group: "nobody's"})), api.CodeNotFound},
			"removal by a member":     {second(two.Remove(ctx, api.RemoveRequest{Group: "api", User: members.Members[0].User})), api.CodeNotPermitted},
			"removal of nobody":       {second(one.Remove(ctx, api.RemoveRequest{Group: "api", User: "nobody"})), api.CodeNotFound},
			"a policy there is not":   {second(one.CreateGroup(ctx, api.CreateGroupRequest{Name: "x", Policy: "closed"})), api.CodeInvalid},
			"a private group":         {second(one.CreateGroup(ctx, api.CreateGroupRequest{Name: "x", Policy: api.PolicyOpen, Private: true})), api.CodeInvalid},
			"a message too large":     {second(one.Send(ctx, api.SendRequest{Group: "api", Text: string(make([]byte, 65<<10))})), api.CodeInvalid},
			"a delivery there is not": {second(two.Delivery(ctx, api.DeliveryRequest{Group: "api", Message: sent.ID, Wait: "read"})), api.CodeInvalid},
			"a message of another":    {second(one.Delivery(ctx, api.DeliveryRequest{Group: "api", Message: sent.ID})), api.CodeInvalid},
			"a level that is not met": {second(one.Status(ctx, api.StatusRequest{Wait: "perfect"})), api.CodeInvalid},
		} {
			if got := api.CodeOf(c.err); got != c.code {
				t.Errorf("%s: %q (%v), wants %q", name, got, c.err, c.code)
			}
		}
		if far, err := two.Delivery(ctx, api.DeliveryRequest{Group: "api", Message: sent.ID, Wait: api.DeliveryHeld}); err != nil || far.ID != sent.ID || far.State != api.DeliveryHeld || far.HeldBy != 1 {
			t.Errorf("%+v, %v", far, err)
		}
		envelope, err := two.MessageEnvelope(ctx, api.MessageEnvelopeRequest{Group: "api", Message: api.Short(sent.ID)})
		if err != nil {
			t.Fatal(err)
		}
		res, err := one.Envelope(ctx, api.EnvelopeRequest{Group: "api", Envelope: envelope.Envelope})
		if err != nil || res.Verdict != api.VerdictAccept || len(res.Messages) != 1 || res.Messages[0] != sent.ID {
			t.Errorf("%+v, %v", res, err)
		}
		envelope.Envelope[len(envelope.Envelope)-1] ^= 1
		res, err = one.Envelope(ctx, api.EnvelopeRequest{Group: "api", Envelope: envelope.Envelope})
		if err != nil || res.Verdict != api.VerdictReject || res.Refusal != api.RefusalNotAuthentic {
			t.Errorf("%+v, %v", res, err)
		}
		found := 0
		if err := two.Find(ctx, api.FindRequest{Name: "API", Timeout: api.Duration(5 * time.Second)}, func(f api.Found) error {
			found++
			if f.ID != made.ID || !f.Verified {
				t.Errorf("found %+v", f)
			}
			return nil
		}); err != nil || found == 0 {
			t.Errorf("found %d, %v", found, err)
		}
		for _, name := range []string{"api two", "api three"} {
			if _, err := one.CreateGroup(ctx, api.CreateGroupRequest{Name: name, Policy: api.PolicyOpen}); err != nil {
				t.Fatal(err)
			}
		}
		for len(a.directory.publisher.PublicGroups()) < 3 { // the publisher says nothing when it has taken one in
			select {
			case <-ctx.Done():
				t.Fatal(ctx.Err())
			case <-time.After(5 * time.Millisecond):
			}
		}
		for limit, want := range map[int]int{1: 1, 2: 2, 0: 3} { // its own count as well
			groups := map[string]bool{}
			if err := one.Find(ctx, api.FindRequest{Name: "api*", Limit: limit, Timeout: api.Duration(5 * time.Second)}, func(f api.Found) error {
				groups[f.ID] = true
				return nil
			}); err != nil || len(groups) != want {
				t.Errorf("with limit %d found %d groups, %v", limit, len(groups), err)
			}
		}
		if _, err := one.Shutdown(ctx, api.Empty{}); err != nil {
			t.Fatal(err)
		}
	})
}

func second[T any](_ T, err error) error { return err }

// TestOpenRefusals: what keeps a node from opening is said by a named error.
func TestOpenRefusals(t *testing.T) {
	dir := t.TempDir()
	home, key := filepath.Join(dir, "home"), filepath.Join(dir, "key")
	cfg := Config{Home: home, KeyFile: key, Listen: []string{"/ip4/127.0.0.1/udp/0/quic-v1"}}
	open := func(change func(*Config)) error {
		c := cfg
		change(&c)
		n, err := Open(t.Context(), c)
		if err == nil {
			_ = n.Close()
		}
		return err
	}
	if err := open(func(*Config) {}); !errors.Is(err, storage.ErrNotInitialised) {
		t.Errorf("no home: %v", err)
	}
	if err := Init(t.Context(), InitConfig{Home: home, KeyFile: key}); err != nil {
		t.Fatal(err)
	}
	if err := Init(t.Context(), InitConfig{Home: home, KeyFile: key}); !errors.Is(err, storage.ErrExists) {
		t.Errorf("a second Init: %v", err)
	}
	if st, err := os.Stat(home); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("home: %v, %v", st.Mode(), err)
	}
	if err := open(func(c *Config) { c.KeyFile = "" }); !errors.Is(err, storage.ErrLocked) {
		t.Errorf("no key: %v", err)
	}
	other := filepath.Join(dir, "other")
	if err := os.WriteFile(other, make([]byte, 32), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := open(func(c *Config) { c.KeyFile = other }); !errors.Is(err, storage.ErrWrongPassphrase) {
		t.Errorf("another key: %v", err)
	}
	for _, bad := range []func(*Config){
		func(c *Config) { c.Home = "" }, func(c *Config) { c.Listen = []string{"here"} }, func(c *Config) { c.Bootstrap = []string{"/ip4/127.0.0.1/udp/1/quic-v1"} },
	} {
		if err := open(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("bad configuration: %v", err)
		}
	}
	n, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := open(func(*Config) {}); !errors.Is(err, storage.ErrInUse) {
		t.Errorf("a second node on the home: %v", err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if _, err := n.CreateGroup(t.Context(), CreateGroup{Name: "late"}); !errors.Is(err, ErrClosed) && !errors.Is(err, ErrInvalid) {
		t.Errorf("a closed node: %v", err)
	}
}

// A status does not wait for a group that is being loaded: it says so, and so does the
// level that needs it. Calls that need the group wait.
func TestStatusWhileAGroupLoads(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		n := w.open(0)
		id := w.create(n, "large")
		s := n.API()
		state := func() api.GroupState {
			t.Helper()
			st, err := s.Status(w.within(time.Minute), api.StatusRequest{Wait: api.LevelReady})
			if err != nil || len(st.Groups) != 1 {
				t.Fatalf("%+v, %v", st, err)
			}
			return st.Groups[0].State
		}
		if got := state(); got != api.StateMember {
			t.Errorf("loaded: %s", got)
		}
		// As if it were not: a look would wait for ever.
		g := n.groups.get(id)
		g.loop.opened.Store(false)
		hold, held := make(chan struct{}), make(chan struct{})
		release := sync.OnceFunc(func() { close(hold) })
		defer release()
		go func() {
			_ = g.loop.look(w.Context(), func(*group.Machine) error { close(held); <-hold; return nil })
		}()
		<-held
		if got := state(); got != api.StateLoading {
			t.Errorf("loading: %s", got)
		}
		if missing, err := n.Missing(w.within(time.Minute), api.LevelReady); missing != "" || err != nil {
			t.Errorf("ready: %q, %v", missing, err)
		}
		release()
		g.loop.opened.Store(true)
		if got := state(); got != api.StateMember {
			t.Errorf("loaded again: %s", got)
		}
	})
}
