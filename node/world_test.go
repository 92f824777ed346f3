package node

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"

	"github.com/pandanode/pandanode/discovery"
	"github.com/pandanode/pandanode/internal/signature"
	"github.com/pandanode/pandanode/internal/simhost"
	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// TestMain remembers good signatures and collects garbage less often, as the simulator does, but
// where costs are measured.
func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.bench").Value.String() == "" {
		signature.Remember(1 << 16)
		debug.SetGCPercent(400)
	}
	m.Run()
}

// world is whole nodes over a simulated network, in one bubble.
type world struct {
	*testing.T
	net   *simhost.Net
	dir   string
	nodes map[int]*Node
	crash map[int]func(wire.GroupID, boundary) bool // given to the next open
	set   map[int]func(*Config)                     // changes the configuration of the next open
	log   *slog.Logger
	with  func(i int, cfg *Config) // changes the next open's configuration; nil: nothing to change
}

// testLog discards, or writes to stderr if PANDANODE_TEST_LOG is set.
func testLog() *slog.Logger {
	if os.Getenv("PANDANODE_TEST_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// inWorld runs a test in a bubble with a network and takes both down.
func inWorld(t *testing.T, f func(w *world)) {
	t.Helper()
	inNet(t, simhost.Config{}, f)
}

// inNet is inWorld over a network like this.
func inNet(t *testing.T, net simhost.Config, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, net: simhost.New(net), dir: t.TempDir(), nodes: make(map[int]*Node), crash: make(map[int]func(wire.GroupID, boundary) bool), set: make(map[int]func(*Config))}
		w.log = testLog()
		defer func() {
			for _, i := range slices.Sorted(keys(w.nodes)) {
				w.close(i)
			}
			if err := w.net.Close(); err != nil {
				t.Error(err)
			}
		}()
		f(w)
	})
}

func keys[K comparable, V any](m map[K]V) func(func(K) bool) {
	return func(yield func(K) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (w *world) home(i int) string { return filepath.Join(w.dir, fmt.Sprint(i)) }

// open opens node i, which it makes first if need be, with these nodes as bootstrap.
func (w *world) open(i int, bootstrap ...int) *Node {
	w.Helper()
	keyFile := filepath.Join(w.dir, fmt.Sprint(i, ".key"))
	if _, err := os.Stat(w.home(i)); os.IsNotExist(err) {
		key, err := w.net.Key(i)
		if err == nil {
			err = Init(w.Context(), InitConfig{Home: w.home(i), Name: fmt.Sprintf("device %d", i), KeyFile: keyFile, PeerKey: key, Small: true})
		}
		if err != nil {
			w.Fatal(err)
		}
	}
	cfg := Config{
		Home: w.home(i), KeyFile: keyFile, Logger: w.log.With("node", i), Small: true,
		NewHost: func(opts ...libp2p.Option) (host.Host, error) { return w.net.Host(i, opts...) },
	}
	for _, b := range bootstrap {
		cfg.Bootstrap = append(cfg.Bootstrap, fmt.Sprintf("%v/p2p/%v", w.net.Addr(b), w.net.PeerID(b)))
	}
	if set := w.set[i]; set != nil {
		set(&cfg)
	}
	if w.with != nil {
		w.with(i, &cfg)
	}
	n, err := open(w.Context(), cfg, w.crash[i])
	if err != nil {
		w.Fatalf("node %d: %v", i, err)
	}
	w.nodes[i] = n
	return n
}

func (w *world) close(i int) {
	w.Helper()
	if n := w.nodes[i]; n != nil {
		delete(w.nodes, i)
		if err := n.Close(); err != nil {
			w.Errorf("closing node %d: %v", i, err)
		}
	}
}

// within bounds what should happen, in virtual time.
func (w *world) within(d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(w.Context(), d)
	w.Cleanup(cancel)
	return ctx
}

// eventually waits until what is true on a node, which is looked at after every change.
func (w *world) eventually(n *Node, d time.Duration, what string, is func() bool) {
	w.Helper()
	ctx, cancel := context.WithTimeout(w.Context(), d)
	defer cancel()
	for {
		changed := n.changed.wait()
		if is() {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			w.Fatalf("not within %v: %s", d, what)
		}
	}
}

// create founds an open group on a node.
func (w *world) create(n *Node, name string) wire.GroupID {
	w.Helper()
	id, err := n.CreateGroup(w.within(time.Minute), CreateGroup{Name: name, Policy: wire.PolicyOpen})
	if err != nil {
		w.Fatal(err)
	}
	return id
}

// join brings a node into a group and waits until it is caught up.
func (w *world) join(n *Node, id wire.GroupID) {
	w.Helper()
	if err := n.Join(w.within(time.Minute), id); err != nil {
		w.Fatal(err)
	}
	var p joinProgress
	defer func() {
		if w.Failed() {
			w.Logf("the join was at %+v", p)
		}
	}()
	w.eventually(n, 5*time.Minute, "joined", func() bool {
		var err error
		p, err = n.joinProgress(w.Context(), id)
		return err == nil && p.Stage == stageSynced
	})
}

func (w *world) send(n *Node, id wire.GroupID, text string) wire.MessageID {
	w.Helper()
	m, err := n.Send(w.within(time.Minute), id, wire.Content{MediaType: "text/plain", Data: []byte(text)})
	if err != nil {
		w.Fatal(err)
	}
	return m
}

// texts are the messages that a node shows.
func (w *world) texts(n *Node, id wire.GroupID) []string {
	w.Helper()
	all, err := n.Messages(w.Context(), id, 0, 0)
	if err != nil {
		w.Fatal(err)
	}
	out := make([]string, len(all))
	for i, m := range all {
		out[i] = m.Shown.Part.Words()
	}
	return out
}

// shows waits until a node shows exactly these messages, each once, in any order.
func (w *world) shows(n *Node, id wire.GroupID, d time.Duration, want ...string) {
	w.Helper()
	slices.Sort(want)
	var got []string
	var last uint64 // all up to this cursor are counted
	count := 0
	ctx, cancel := context.WithTimeout(w.Context(), d)
	defer cancel()
	for late := false; ; {
		changed := n.changed.wait()
		more, err := n.Messages(w.Context(), id, last, 0)
		if err != nil {
			w.Fatal(err)
		}
		if count += len(more); len(more) > 0 {
			last = more[len(more)-1].Cursor
		}
		if count >= len(want) || late {
			got = w.texts(n, id)
			slices.Sort(got)
		}
		if len(got) >= len(want) || late {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
			late = true
		}
	}
	if !slices.Equal(got, want) {
		st, _ := n.GroupStatus(w.Context(), id)
		w.Fatalf("%s shows %q, wants %q; %+v", n.Device().Cert.Name, got, want, st)
	}
}

func TestFindJoinTalkAndCatchUp(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		hub := w.open(2)
		founder := w.open(0, 2)
		finder := w.open(1, 2) // knows the hub alone
		for _, n := range []*Node{founder, finder, hub} {
			if err := n.Wait(w.within(time.Minute), api.LevelOnline); err != nil {
				w.Fatal(err)
			}
		}
		id := w.create(founder, "Red Pandas")
		w.eventually(founder, 5*time.Minute, "published", func() bool {
			st, ok := founder.directory.publisher.Status(id)
			if !ok || st.State != discovery.Published {
				time.AfterFunc(time.Second, founder.changed.wake)
			}
			return ok && st.State == discovery.Published
		})

		results, err := finder.directory.find(w.within(time.Minute), finder.life, discovery.Query{Name: "pandas"})
		if err != nil {
			w.Fatal(err)
		}
		var sources []discovery.Source
		for r := range results {
			if r.Info.Group != id || r.Info.Name != "Red Pandas" {
				w.Fatalf("found %v %q", r.Info.Group, r.Info.Name)
			}
			sources = append(sources, r.Source)
		}
		if !slices.Contains(sources, discovery.SourceDHT) {
			w.Fatalf("found through %v, not through the DHT", sources)
		}

		w.join(finder, id)
		w.join(hub, id)
		w.eventually(founder, time.Minute, "three members", func() bool {
			m, err := founder.Members(w.Context(), id)
			return err == nil && len(m) == 3
		})
		w.send(founder, id, "from the founder")
		w.send(finder, id, "from the finder")
		w.send(hub, id, "from the hub")
		all := []string{"from the founder", "from the finder", "from the hub"}
		for _, n := range []*Node{founder, finder, hub} {
			w.shows(n, id, time.Minute, all...)
		}

		// Node 1 is cut off; both sides go on talking.
		w.net.Partition([]int{1}, []int{0, 2})
		for i := range 5 {
			w.send(finder, id, fmt.Sprintf("cut off %d", i))
			w.send(founder, id, fmt.Sprintf("together %d", i))
			all = append(all, fmt.Sprintf("cut off %d", i), fmt.Sprintf("together %d", i))
			time.Sleep(10 * time.Second) // virtual
		}
		time.Sleep(20 * time.Minute) // virtual: connections break, libp2p forgets addresses
		if got := len(w.texts(finder, id)); got != 8 {
			w.Fatalf("%d messages on the side that was cut off, wants 8", got)
		}
		w.net.HealAll()
		for _, n := range []*Node{founder, finder, hub} {
			w.shows(n, id, 5*time.Minute, all...)
		}
		for _, n := range []*Node{founder, finder, hub} {
			if err := n.Wait(w.within(5*time.Minute), api.LevelSynced); err != nil {
				w.Fatal(err)
			}
		}
		var first group.Status
		for i, n := range []*Node{founder, finder, hub} {
			st, err := n.GroupStatus(w.Context(), id)
			if err != nil {
				w.Fatal(err)
			}
			if i == 0 {
				first = st
			}
			if st.Position != first.Position || string(st.Authenticator) != string(first.Authenticator) {
				w.Fatalf("node %d is at %v, node 0 at %v", i, st.Position, first.Position)
			}
		}
	})
}

func TestLoneNodeQueues(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		id := w.create(a, "alone")
		w.send(a, id, "to nobody")
		w.shows(a, id, time.Minute, "to nobody")
		if _, err := a.directory.lookup(w.within(time.Minute), wire.GroupID{1}); !errors.Is(err, errNoPeers) {
			w.Fatalf("a lookup by a lone node: %v", err)
		}
		b := w.open(1)
		if err := b.Join(w.within(time.Minute), id); err != nil {
			w.Fatalf("a lone node's join is queued: %v", err)
		}
		if p, err := b.joinProgress(w.Context(), id); err != nil || p.Stage != stageLookingUp {
			w.Fatalf("%+v, %v", p, err)
		}
		w.close(1)
		b = w.open(1, 0) // the request survived
		w.eventually(b, 10*time.Minute, "joined", func() bool {
			p, err := b.joinProgress(w.Context(), id)
			return err == nil && p.Stage == stageSynced
		})
		w.send(b, id, "to somebody")
		w.shows(a, id, time.Minute, "to nobody", "to somebody")
	})
}

// TestWithoutGossip turns gossip off: streams carry everything that gossip carries.
func TestWithoutGossip(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		b, c := w.open(1, 0), w.open(2, 0)
		for _, n := range []*Node{a, b, c} {
			n.hooks.mute.Store(true)
		}
		id := w.create(a, "silent")
		w.join(b, id)
		w.join(c, id)
		for _, n := range []*Node{a, b, c} {
			w.send(n, id, n.Device().Cert.Name)
		}
		for _, n := range []*Node{a, b, c} {
			w.shows(n, id, 10*time.Minute, "device 0", "device 1", "device 2")
			if got := n.metrics.counters()["envelopes_accept"]; got != 0 {
				w.Fatalf("%v envelopes came by gossip", got)
			}
		}
	})
}

// TestCommitsOnOneParent holds the links so that two members let somebody in at the
// same epoch, each with a commit of its own, while messages go on on both sides.
func TestCommitsOnOneParent(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		b := w.open(1, 0)
		id := w.create(a, "forked")
		w.join(b, id)
		// Both joiners know the group's record before the cut.
		x, y := w.open(2, 0, 1), w.open(3, 0, 1)
		for _, n := range []*Node{x, y} {
			if err := n.Wait(w.within(time.Minute), api.LevelOnline); err != nil {
				w.Fatal(err)
			}
			for {
				if _, err := n.directory.lookup(w.within(time.Minute), id); err == nil {
					break
				} else if !errors.Is(err, errNotFound) {
					w.Fatal(err)
				}
				time.Sleep(time.Second) // virtual: the record is on its way into the DHT
			}
		}
		parent, err := a.GroupStatus(w.Context(), id)
		if err != nil {
			w.Fatal(err)
		}
		w.net.Partition([]int{0, 2}, []int{1, 3})
		w.join(x, id)
		w.join(y, id)
		w.send(a, id, "left")
		w.send(x, id, "left too")
		w.send(b, id, "right")
		w.send(y, id, "right too")
		w.shows(x, id, time.Minute, "left", "left too")
		w.shows(y, id, time.Minute, "right", "right too")
		left, _ := a.GroupStatus(w.Context(), id)
		right, _ := b.GroupStatus(w.Context(), id)
		if left.Epoch != parent.Epoch+1 || right.Epoch != parent.Epoch+1 || left.Position == right.Position {
			w.Fatalf("no fork: from epoch %d to %d %v and %d %v", parent.Epoch, left.Epoch, left.Position, right.Epoch, right.Position)
		}
		w.net.HealAll()
		all := []*Node{a, b, x, y}
		for i, n := range all {
			w.eventually(n, time.Hour, fmt.Sprintf("node %d sees four members in its tree", i), func() bool {
				members, err := n.Members(w.Context(), id)
				return err == nil && len(members) == 4 && !slices.ContainsFunc(members, func(m group.Member) bool { return !m.InTree })
			})
		}
		for _, n := range all {
			w.shows(n, id, time.Hour, "left", "left too", "right", "right too")
			if err := n.Wait(w.within(time.Hour), api.LevelSynced); err != nil {
				w.Fatal(err)
			}
		}
		first, _ := a.GroupStatus(w.Context(), id)
		for i, n := range all {
			st, _ := n.GroupStatus(w.Context(), id)
			if st.Position != first.Position || string(st.Authenticator) != string(first.Authenticator) {
				w.Fatalf("node %d is at %v, node 0 at %v", i, st.Position, first.Position)
			}
			w.once(n, id)
		}
		for _, n := range all {
			w.send(n, id, "after, by "+n.Device().Cert.Name)
		}
		for _, n := range all {
			w.shows(n, id, 10*time.Minute, "left", "left too", "right", "right too",
				"after, by device 0", "after, by device 1", "after, by device 2", "after, by device 3")
		}
	})
}

// TestRemoved hands a removed member the very envelope that the others read.
func TestRemoved(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		b, c := w.open(1, 0), w.open(2, 0)
		id := w.create(a, "removal")
		w.join(b, id)
		w.join(c, id)
		w.send(a, id, "before")
		w.shows(c, id, time.Minute, "before")
		if err := c.step(w.within(time.Minute), id, group.RemoveUser{User: a.Device().User}); !errors.Is(err, verdict.ErrNotPermitted) {
			w.Fatalf("a member removed the owner: %v", err)
		}
		if err := a.step(w.within(time.Minute), id, group.RemoveUser{User: c.Device().User}); err != nil {
			w.Fatal(err)
		}
		w.eventually(c, 5*time.Minute, "out", func() bool {
			st, err := c.GroupStatus(w.Context(), id)
			return err == nil && st.State == group.StateOut
		})
		for _, n := range []*Node{a, b} {
			w.eventually(n, 5*time.Minute, "healed", func() bool {
				st, err := n.GroupStatus(w.Context(), id)
				return err == nil && st.Members == 2 && st.State == group.StateMember && st.Epoch >= 3
			})
		}
		after := w.send(a, id, "after")
		w.shows(b, id, time.Minute, "before", "after")
		envelope, err := a.groups.get(id).envelope(w.Context(), after)
		if err != nil {
			w.Fatal(err)
		}
		out, err := c.groups.get(id).loop.step(w.Context(), group.Envelope{Bytes: envelope})
		if !errors.Is(err, verdict.ErrRemoved) || len(out.Messages) != 0 {
			w.Fatalf("the removed member: %+v, %v", out, err)
		}
		out, err = b.groups.get(id).loop.step(w.Context(), group.Envelope{Bytes: envelope})
		if err != nil || !slices.Contains(out.Messages, after) {
			w.Fatalf("a member: %+v, %v", out, err)
		}
		w.shows(c, id, time.Minute, "before")
		if _, err := c.Send(w.Context(), id, wire.Content{Data: []byte("too late")}); !errors.Is(err, verdict.ErrOut) {
			w.Fatalf("the removed member sends: %v", err)
		}
	})
}

// TestRemovedWhileAway removes a member that is cut off: it learns it on its return.
func TestRemovedWhileAway(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		c := w.open(1, 0)
		id := w.create(a, "removal of the absent")
		w.join(c, id)
		w.net.Cut(0, 1)
		if err := a.step(w.within(time.Minute), id, group.RemoveUser{User: c.Device().User}); err != nil {
			w.Fatal(err)
		}
		w.send(a, id, "not for the removed")
		time.Sleep(20 * time.Minute) // virtual
		w.net.HealAll()
		w.eventually(c, time.Hour, "out", func() bool {
			st, err := c.GroupStatus(w.Context(), id)
			return err == nil && st.State == group.StateOut
		})
		time.Sleep(10 * time.Minute) // virtual
		w.shows(c, id, time.Minute)
	})
}

// TestLeave lets a member go; another member carries it out.
func TestLeave(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		b := w.open(1, 0)
		id := w.create(a, "leaving")
		w.join(b, id)
		if _, err := b.leave(w.within(time.Minute), id); err != nil {
			w.Fatal(err)
		}
		w.eventually(a, 5*time.Minute, "one member", func() bool {
			st, err := a.GroupStatus(w.Context(), id)
			return err == nil && st.Members == 1 && st.State == group.StateMember && st.Epoch >= 2
		})
		w.eventually(b, 5*time.Minute, "out", func() bool {
			st, err := b.GroupStatus(w.Context(), id)
			return err == nil && st.State == group.StateOut
		})
	})
}
