package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"

	"github.com/pandanode/pandanode/internal/simhost"
	"github.com/pandanode/pandanode/node"
	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// Config of a world. Dir is needed; every other zero value is a default.
type Config struct {
	Dir     string         // where the nodes have their homes
	Network simhost.Config // seed, latency, bandwidth, loss
	Logger  *slog.Logger   // nil: nothing is logged
}

// World holds whole nodes, named by index, over one simulated network. It is made, used and
// closed in one bubble of testing/synctest by one goroutine; the nodes have their own.
type World struct {
	cfg   Config
	net   *simhost.Net
	nodes map[int]*node.Node
	sent  map[wire.GroupID][]Accepted
}

// Accepted is a message that a node took for sending.
type Accepted struct {
	Node int
	ID   wire.MessageID
	Text string
}

// New makes a world without nodes.
func New(cfg Config) *World {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &World{cfg: cfg, net: simhost.New(cfg.Network), nodes: make(map[int]*node.Node), sent: make(map[wire.GroupID][]Accepted)}
}

// Net is the network, to cut and heal links and to lose packets.
func (w *World) Net() *simhost.Net { return w.net }

// Start opens node i on its home, which it makes first if need be, with these
// nodes to dial at the start.
func (w *World) Start(ctx context.Context, i int, bootstrap ...int) (*node.Node, error) {
	if w.nodes[i] != nil {
		return nil, fmt.Errorf("node %d: %w: it runs", i, node.ErrExists)
	}
	home, keyFile := filepath.Join(w.cfg.Dir, fmt.Sprint(i)), filepath.Join(w.cfg.Dir, fmt.Sprint(i, ".key"))
	if _, err := os.Stat(home); errors.Is(err, os.ErrNotExist) {
		key, err := w.net.Key(i)
		if err != nil {
			return nil, fmt.Errorf("node %d: %w", i, err)
		}
		if err := node.Init(ctx, node.InitConfig{Home: home, Name: fmt.Sprint("node ", i), KeyFile: keyFile, PeerKey: key}); err != nil {
			return nil, fmt.Errorf("making node %d: %w", i, err)
		}
	}
	cfg := node.Config{
		Home: home, KeyFile: keyFile, Logger: w.cfg.Logger.With("node", i),
		NewHost: func(opts ...libp2p.Option) (host.Host, error) { return w.net.Host(i, opts...) },
	}
	for _, b := range bootstrap {
		cfg.Bootstrap = append(cfg.Bootstrap, fmt.Sprintf("%v/p2p/%v", w.net.Addr(b), w.net.PeerID(b)))
	}
	n, err := node.Open(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("opening node %d: %w", i, err)
	}
	w.nodes[i] = n
	return n, nil
}

// Node gives a running node, or nil.
func (w *World) Node(i int) *node.Node { return w.nodes[i] }

// Stop closes a node; Start opens it again on the same home.
func (w *World) Stop(i int) error {
	n := w.nodes[i]
	if n == nil {
		return nil
	}
	delete(w.nodes, i)
	if err := n.Close(); err != nil {
		return fmt.Errorf("closing node %d: %w", i, err)
	}
	return nil
}

// Close stops every node and takes the network down.
func (w *World) Close() error {
	var errs []error
	for _, i := range w.running() {
		errs = append(errs, w.Stop(i))
	}
	return errors.Join(append(errs, w.net.Close())...)
}

func (w *World) running() []int {
	out := make([]int, 0, len(w.nodes))
	for i := range w.nodes {
		out = append(out, i)
	}
	slices.Sort(out)
	return out
}

// Join lets a running node join a group, and waits until it has caught up.
func (w *World) Join(ctx context.Context, i int, id wire.GroupID) error {
	n := w.nodes[i]
	if err := n.Join(ctx, id); err != nil {
		return fmt.Errorf("node %d: joining: %w", i, err)
	}
	if err := n.Wait(ctx, api.LevelSynced); err != nil {
		return fmt.Errorf("node %d: joining: %w", i, err)
	}
	return nil
}

// Send sends a text from a running node, and remembers that the node accepted it.
func (w *World) Send(ctx context.Context, i int, id wire.GroupID, text string) error {
	m, err := w.nodes[i].Send(ctx, id, wire.Content{MediaType: "text/plain", Data: []byte(text)})
	if err != nil {
		return fmt.Errorf("node %d: sending %q: %w", i, text, err)
	}
	w.sent[id] = append(w.sent[id], Accepted{Node: i, ID: m, Text: text})
	return nil
}

// Check looks at a group on the running nodes, all of which were members before the first
// message, and returns the violated ones of those invariants of docs/SCENARIOS.md that can
// be seen from outside: 1, all agree on epoch, authenticator and roster; 2, the tree equals
// the roster; 4, every accepted message is shown once, in its author's order; 5, nothing
// waits. Nil: all hold.
func (w *World) Check(ctx context.Context, id wire.GroupID) error {
	var errs []error
	var first *view
	for _, i := range w.running() {
		v, err := look(ctx, w.nodes[i], id)
		if err != nil {
			return fmt.Errorf("node %d: %w", i, err)
		}
		errs = append(errs, v.check(i, w.sent[id]))
		if first == nil {
			first = v
		} else {
			errs = append(errs, first.agrees(i, v))
		}
	}
	return errors.Join(errs...)
}

// Settle waits, in virtual time and until ctx ends, for Check to find nothing.
func (w *World) Settle(ctx context.Context, id wire.GroupID) error {
	for {
		err := w.Check(ctx, id)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(time.Second):
		}
	}
}

// view is a group as one node shows it.
type view struct {
	status   group.Status
	members  []group.Member
	messages []group.Message
	events   []group.Event
}

func look(ctx context.Context, n *node.Node, id wire.GroupID) (v *view, err error) {
	v = new(view)
	if v.status, err = n.GroupStatus(ctx, id); err != nil {
		return nil, err
	}
	if v.members, err = n.Members(ctx, id); err != nil {
		return nil, err
	}
	if v.messages, err = n.Messages(ctx, id, 0, 0); err != nil {
		return nil, err
	}
	v.events, err = n.Events(ctx, id, 0, 0)
	return v, err
}

func (v *view) agrees(i int, o *view) error {
	switch {
	case v.status.Position != o.status.Position:
		return fmt.Errorf("node %d is at epoch %d %v, others at %d %v", i, o.status.Epoch, o.status.Position, v.status.Epoch, v.status.Position)
	case !bytes.Equal(v.status.Authenticator, o.status.Authenticator):
		return fmt.Errorf("node %d has another epoch_authenticator", i)
	case !slices.EqualFunc(v.members, o.members, func(a, b group.Member) bool { return a.User == b.User && a.Role == b.Role }):
		return fmt.Errorf("node %d has another roster", i)
	}
	return nil
}

func (v *view) check(i int, sent []Accepted) error {
	var errs []error
	complain := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("node %d: "+format, append([]any{i}, args...)...))
	}
	st := v.status
	if st.State != group.StateMember || st.Gaps+st.Outbox+st.Parked > 0 {
		complain("%s, %d gaps, %d in the outbox, %d parked", st.State, st.Gaps, st.Outbox, st.Parked)
	}
	for _, m := range v.members {
		if !m.InTree {
			complain("%s is in the roster and not in the tree", m.Name)
		}
	}
	for n, e := range v.events {
		if e.Cursor != uint64(n)+1 {
			complain("event %d has cursor %d", n, e.Cursor)
			break
		}
	}
	place := make(map[wire.MessageID]int)
	for n, m := range v.messages {
		if _, twice := place[m.ID]; twice {
			complain("%q is shown twice", m.Content.Data)
		}
		place[m.ID] = n
	}
	last := make(map[int]int) // place of an author's latest message so far
	for _, a := range sent {
		at, ok := place[a.ID]
		switch before, earlier := last[a.Node]; {
		case !ok:
			complain("%q of node %d is missing", a.Text, a.Node)
			continue
		case earlier && at < before:
			complain("%q of node %d is shown before what it sent earlier", a.Text, a.Node)
		}
		last[a.Node] = at
	}
	if len(v.messages) > len(sent) {
		complain("%d messages, only %d were sent", len(v.messages), len(sent))
	}
	return errors.Join(errs...)
}
