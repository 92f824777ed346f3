package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/discovery"
	"github.com/pandanode/pandanode/node/api"
)

func (s deviceRoutes) Status(ctx context.Context, r api.StatusRequest) (api.Status, error) {
	if r.Wait != "" {
		if !slices.Contains(api.Levels, r.Wait) {
			return api.Status{}, api.Errorf(api.CodeInvalid, "there is no level %q", r.Wait)
		}
		wait, cancel := within(ctx, r.Timeout)
		defer cancel()
		if err := s.n.wait(wait, r.Wait); err != nil {
			if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
				return api.Status{}, api.Errorf(api.CodeTimeout, "not %s: %v", r.Wait, strings.TrimSuffix(err.Error(), ": "+context.DeadlineExceeded.Error()))
			}
			return api.Status{}, APIError(err)
		}
	}
	n := s.n
	st := api.Status{
		ID: s.id(), Version: n.cfg.Version, PID: os.Getpid(), Home: n.cfg.Home,
		Started: n.opened, Uptime: api.Duration(time.Since(n.opened).Round(time.Second)),
		Listen: n.Addrs(), Unheard: n.ears.texts(), Clock: clockText(n.clock.at()), Peers: len(n.host.Network().Peers()), DHT: n.directory.dht.Size(), Sources: make(map[api.Source]int),
		Extra: n.metrics.counters(), Mailbox: n.mailbox.apiStatus(), Twin: n.twins.seen().text(),
	}
	if a := n.metrics.address.Load(); a != nil {
		st.Metrics = "http://" + *a + "/metrics"
	}
	troubles, _ := mailTroubles(ctx, n.groups.all(), n.host.ID())
	for _, m := range troubles {
		st.Mailless = append(st.Mailless, m.String())
	}
	st.Hooks = n.hookTable.troubles(ctx)
	for _, p := range heldRelays(n.host.Addrs()) {
		st.Relays = append(st.Relays, p.String())
	}
	if n.cfg.RelayFor != RelayForNobody {
		st.RelayFor = string(n.cfg.RelayFor)
	}
	for source, count := range n.directory.peers.Counts() {
		st.Sources[apiSource(source)] += count.Connected
	}
	for _, level := range api.Levels {
		missing, err := n.Missing(ctx, level)
		if err != nil {
			return api.Status{}, APIError(err)
		}
		st.Levels = append(st.Levels, api.LevelState{Level: level, Reached: missing == "", Missing: missing})
	}
	groups, err := s.groups(ctx, true)
	if err == nil {
		st.Watch, err = n.watch(ctx)
	}
	st.Groups = groups.Groups
	if synced := &st.Levels[len(st.Levels)-1]; synced.Reached {
		synced.AsOf = oldest(st.Groups)
	}
	return st, err
}

// oldest is as of when all groups are known that have other members; zero: there are none,
// or one is not known at all.
func oldest(groups []api.Group) (at time.Time) {
	first := true
	for _, g := range groups {
		if g.State == api.StateMember && g.Members > 1 && (first || g.KnownAsOf.Before(at)) {
			at, first = g.KnownAsOf, false
		}
	}
	return at
}

// within bounds ctx by a timeout, if there is one.
func within(ctx context.Context, d api.Duration) (context.Context, context.CancelFunc) {
	if d == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Duration(d))
}

// Unlock has nothing to do: whoever serves this has the store open.
func (s deviceRoutes) Unlock(context.Context, api.UnlockRequest) (api.Empty, error) {
	return api.Empty{}, api.Errorf(api.CodeConflict, "the node is not locked")
}

func (s deviceRoutes) ID(context.Context, api.Empty) (api.ID, error) { return s.id(), nil }

func (s deviceRoutes) Peers(context.Context, api.Empty) (api.Peers, error) {
	out := api.Peers{Peers: []api.Peer{}}
	for _, p := range s.n.host.Network().Peers() {
		conns := s.n.host.Network().ConnsToPeer(p)
		if len(conns) == 0 {
			continue
		}
		first := conns[0].Stat()
		one := api.Peer{ID: p.String(), Source: apiSource(s.n.directory.peers.Source(p)), Since: first.Opened, Direction: api.Outbound, Limited: true}
		if first.Direction == network.DirInbound {
			one.Direction = api.Inbound
		}
		for _, c := range conns {
			one.Addrs = append(one.Addrs, c.RemoteMultiaddr().String())
			one.Limited = one.Limited && c.Stat().Limited
		}
		out.Peers = append(out.Peers, one)
	}
	slices.SortFunc(out.Peers, func(a, b api.Peer) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

func (s deviceRoutes) Version(context.Context, api.Empty) (api.Version, error) {
	v := api.Version{Version: s.n.cfg.Version, Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			if setting.Key == "vcs.revision" {
				v.Revision = setting.Value
			}
		}
	}
	return v, nil
}

func (s deviceRoutes) Checkup(ctx context.Context, r api.CheckupRequest) (api.Checkup, error) {
	out := api.Checkup{Findings: checkup(ctx, s.n, r.Verify)}
	return out, ctx.Err() // what was broken off says nothing of the node's health
}

func (s deviceRoutes) Shutdown(context.Context, api.Empty) (api.Empty, error) {
	if s.stop == nil {
		return api.Empty{}, api.Errorf(api.CodeConflict, "the node is a part of a program, which alone can end it")
	}
	s.stop()
	return api.Empty{}, nil
}

func (s deviceRoutes) Events(ctx context.Context, r api.EventsRequest, emit func(api.Event) error) error {
	if r.Run != "" && r.Run != s.n.feed.run {
		return APIError(fmt.Errorf("%w: this run of the node is %s, and the cursor is of %s", ErrCursor, s.n.feed.run, r.Run))
	}
	return streamed(emit, func(emit func(api.Event) error) error {
		return s.n.feed.subscribe(ctx, s.n.life.done, r.Since, func(e nodeEvent) error {
			out := apiEvent(e.Group, e.Event)
			out.Cursor, out.Run, out.At, out.Peer, out.UpTo = e.Cursor, s.n.feed.run, e.At, e.Peer, e.UpTo
			return emit(out)
		})
	})
}

func apiSource(s discovery.Source) api.Source {
	if s == discovery.SourceConnected || s == "" {
		return api.SourceIncoming
	}
	return api.Source(s)
}

// Addrs are the addresses that the node listens on, with its peer ID. Another node can use
// them as Bootstrap.
func (n *Node) Addrs() []string {
	addrs, err := peer.AddrInfoToP2pAddrs(&peer.AddrInfo{ID: n.host.ID(), Addrs: n.host.Addrs()})
	if err != nil {
		return nil // only for an empty peer ID
	}
	out := make([]string, len(addrs))
	for i, a := range addrs {
		out[i] = a.String()
	}
	return out
}
