package sim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"

	"github.com/pandanode/pandanode/internal/simhost"
	"github.com/pandanode/pandanode/node"
	"github.com/pandanode/pandanode/node/api"
)

// netPoll is how long the net backend pauses between two looks at its nodes.
const netPoll = 5 * time.Second

// netBuckets is the bucket size of the DHT: small ones mean few connections.
const netBuckets = 8

// RunNet plays a scenario on whole nodes, with their stores on disk, over simulated QUIC in
// virtual time. It runs in a bubble (InBubble, or synctest.Test). Runs do not repeat bit
// for bit: the invariants must hold in any order of events. An error means that the
// scenario could not be played. Invariants that did not hold are in the report.
func RunNet(ctx context.Context, sc *Scenario, opt RealOptions) (r *RealReport, err error) {
	actions, err := realActions(sc)
	if err != nil {
		return nil, err
	}
	if len(sc.Links) > 0 || sc.Link.Duplicate > 0 || sc.Link.Reorder > 0 || sc.Link.Overtake > 0 {
		return nil, fmt.Errorf("%w: the net backend has one latency and one loss for all links, and no other faults of links", ErrScenario)
	}
	h, err := newRealWorld(sc, opt, "net", netPoll)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.close()) }()
	if err := h.buildNet(ctx); err != nil {
		return nil, fmt.Errorf("%s: %w", sc.Name, err)
	}
	h.begun = time.Now()
	return h.report, h.play(ctx, actions)
}

// netNet is the simulated network.
type netNet struct{ *simhost.Net }

func (n netNet) cut(_ context.Context, cuts map[[2]int]bool) error {
	n.CutOnly(cuts)
	return nil
}

func (n netNet) close() error { return n.Close() }

// buildNet makes the network, the homes, the nodes and the groups.
func (h *realWorld) buildNet(ctx context.Context) error {
	network := simhost.New(simhost.Config{Seed: h.sc.Seed, Latency: h.sc.Link.Latency, Loss: h.sc.Link.Loss})
	h.net = netNet{network}
	for i, n := range h.sc.Nodes {
		p := &netNode{index: i, home: filepath.Join(h.dir, n.Name), net: network, world: h}
		h.nodes = append(h.nodes, p)
		key, err := network.Key(i)
		if err == nil {
			err = node.Init(ctx, node.InitConfig{Home: p.home, Name: n.Name, KeyFile: p.home + ".key", PeerKey: key})
		}
		if err == nil {
			err = p.start(ctx)
		}
		if err != nil {
			return err
		}
		h.starts[i] = 1
	}
	if err := h.found(ctx); err != nil {
		return err
	}
	h.say("%d nodes over simulated QUIC in virtual time; %d group(s) founded", len(h.nodes), len(h.groups))
	return nil
}

// netNode is a node in this process, driven through its local API.
type netNode struct {
	index  int
	home   string
	net    *simhost.Net
	world  *realWorld
	starts int

	node *node.Node // nil: down
	log  *os.File   // the log of its present life, if the homes are kept
	user string
	dev  string
}

// seeds returns the nodes that a node knows at the start.
func (p *netNode) seeds() (out []string) {
	for _, i := range []int{0, 1} {
		if i < p.index {
			out = append(out, fmt.Sprintf("%v/p2p/%v", p.net.Addr(i), p.net.PeerID(i)))
		}
	}
	return out
}

func (p *netNode) start(ctx context.Context) error {
	var log *slog.Logger
	if p.world.opt.Keep {
		var err error
		if p.log, err = os.OpenFile(p.home+".log", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
			return err
		}
		log = slog.New(slog.NewTextHandler(p.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	n, err := node.Open(ctx, node.Config{
		Home: p.home, KeyFile: p.home + ".key", Bootstrap: p.seeds(), BucketSize: netBuckets, Logger: log,
		Files:   node.FilesConfig{Auto: maxPieces * pieceSize},
		NewHost: func(opts ...libp2p.Option) (host.Host, error) { return p.net.Host(p.index, opts...) },
	})
	if err != nil {
		return err
	}
	p.node, p.user, p.dev = n, n.Device().User.String(), n.Device().ID.String()
	p.starts++
	_, err = n.API().Status(ctx, api.StatusRequest{Wait: api.LevelReady, Timeout: api.Duration(time.Minute)})
	return err
}

// kill leaves the store as it is at a moment when no goroutine runs, and tells nobody.
func (p *netNode) kill() {
	if p.node == nil {
		return
	}
	silent := map[[2]int]bool{}
	for way := range p.world.cuts {
		silent[way] = true
	}
	for i := range p.world.nodes {
		silent[[2]int{p.index, i}], silent[[2]int{i, p.index}] = true, true
	}
	p.net.CutOnly(silent)
	synctest.Wait()
	copied := p.home + ".killed"
	err := os.CopyFS(copied, os.DirFS(p.home))
	// Closing writes to a home that is dropped and sends behind the cut, so all of it is
	// lost.
	err = cmp.Or(err, p.node.Close())
	if p.log != nil {
		err = cmp.Or(err, p.log.Close())
	}
	p.node = nil
	err = cmp.Or(err, os.RemoveAll(p.home), os.Rename(copied, p.home))
	if err != nil {
		p.world.say("%s: %v", filepath.Base(p.home), err)
	}
	p.net.CutOnly(p.world.cuts)
}

func (p *netNode) where() string  { return p.home }
func (p *netNode) alive() bool    { return p.node != nil }
func (p *netNode) as() string     { return p.user }
func (p *netNode) device() string { return p.dev }
func (p *netNode) lives() int     { return p.starts }
func (p *netNode) last() string   { return "" }

var errNodeDown = errors.New("the node is down")

// ask calls the node's local API, if it runs.
func ask[T any](p *netNode, call func(api.API) (T, error)) (T, error) {
	if p.node == nil {
		var none T
		return none, errNodeDown
	}
	return call(p.node.API())
}

func (p *netNode) met(ctx context.Context) error {
	_, err := ask(p, func(a api.API) (api.Status, error) {
		return a.Status(ctx, api.StatusRequest{Wait: api.LevelOnline, Timeout: api.Duration(5 * time.Minute)})
	})
	return err
}

func (p *netNode) create(ctx context.Context, name, policy string) (string, error) {
	g, err := ask(p, func(a api.API) (api.Group, error) {
		return a.CreateGroup(ctx, api.CreateGroupRequest{Name: name, Policy: api.Policy(policy)})
	})
	return g.ID, err
}

func (p *netNode) join(ctx context.Context, group string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	var last api.JoinUpdate
	_, err := ask(p, func(a api.API) (api.Empty, error) {
		return api.Empty{}, a.Join(ctx, api.JoinRequest{Group: group, Until: api.StageSynced}, func(u api.JoinUpdate) error { last = u; return nil })
	})
	if err != nil {
		return fmt.Errorf("%s, %s %s: %w", filepath.Base(p.home), last.Stage, last.Detail, err)
	}
	return nil
}

func (p *netNode) send(ctx context.Context, group, text string, file int64) (string, error) {
	s, err := ask(p, func(a api.API) (api.Sent, error) {
		r := api.SendRequest{Group: group, Text: text}
		if file > 0 {
			f, err := a.(api.Contents).Upload(ctx, api.UploadRequest{Name: "f.bin"}, file, io.LimitReader(stream(uint64(p.index), text), file)) //nolint:gosec,forcetypeassert // an index; both are one table
			if err != nil {
				return api.Sent{}, err
			}
			r.Files = []string{f.ID}
		}
		return a.Send(ctx, r)
	})
	return s.ID, err
}

func (p *netNode) remove(ctx context.Context, group, user string) error {
	_, err := ask(p, func(a api.API) (api.Change, error) { return a.Remove(ctx, api.RemoveRequest{Group: group, User: user}) })
	return err
}

func (p *netNode) role(ctx context.Context, group, user, role string) error {
	_, err := ask(p, func(a api.API) (api.Change, error) {
		return a.SetRole(ctx, api.RoleRequest{Group: group, User: user, Role: role})
	})
	return err
}

func (p *netNode) leave(ctx context.Context, group string) error {
	_, err := ask(p, func(a api.API) (api.Left, error) { return a.Leave(ctx, api.GroupRequest{Group: group}) })
	return err
}

func (p *netNode) status(ctx context.Context, group string) (api.GroupStatus, error) {
	return ask(p, func(a api.API) (api.GroupStatus, error) { return a.GroupStatus(ctx, api.GroupRequest{Group: group}) })
}

func (p *netNode) members(ctx context.Context, group string) ([]api.Member, error) {
	m, err := ask(p, func(a api.API) (api.Members, error) { return a.Members(ctx, api.GroupRequest{Group: group}) })
	return m.Members, err
}

func (p *netNode) entries(ctx context.Context, group string) (out []api.Entry, err error) {
	_, err = ask(p, func(a api.API) (api.Empty, error) {
		return api.Empty{}, a.Entries(ctx, api.GroupRequest{Group: group}, func(e api.Entry) error { out = append(out, e); return nil })
	})
	return out, err
}

func (p *netNode) events(ctx context.Context, group string) (out []api.Event, err error) {
	_, err = ask(p, func(a api.API) (api.Empty, error) {
		g, err := a.Group(ctx, api.GroupRequest{Group: group})
		if err != nil || g.Cursor == 0 {
			return api.Empty{}, err
		}
		return api.Empty{}, a.GroupEvents(ctx, api.GroupEventsRequest{Group: group, Until: g.Cursor}, func(e api.Event) error { out = append(out, e); return nil })
	})
	return out, err
}

func (p *netNode) messages(ctx context.Context, group string) (out []api.Message, err error) {
	for since := uint64(0); ; {
		page, err := ask(p, func(a api.API) (api.Messages, error) {
			return a.Messages(ctx, api.MessagesRequest{Group: group, Since: since})
		})
		if err != nil {
			return nil, err
		}
		out = append(out, page.Messages...)
		if !page.More {
			return out, nil
		}
		since = out[len(out)-1].Cursor
	}
}
