package node

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/discovery"
	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// server is the node as the local API shows it: a thin layer of names and text
// over Node's methods.
type server struct {
	n    *Node
	stop func() // asks Run to end
}

var _ api.API = (*server)(nil)

// closeTimeout is how long answers under way may take when the node stops.
const closeTimeout = 3 * time.Second

// serve serves the local API on the configured socket, and metrics and health there and
// on the configured address; ended gives an error when one of them cannot go on, and
// stopped closes when somebody asks the node to stop.
func (n *Node) serve() (ended <-chan error, stopped <-chan struct{}, end func(), err error) {
	failed, stop := make(chan error, 2), make(chan struct{})
	var ends []func()
	end = func() {
		for _, e := range ends {
			e()
		}
	}
	if n.cfg.Metrics != "" {
		l, err := new(net.ListenConfig).Listen(context.Background(), "tcp", n.cfg.Metrics)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("serving metrics: %w", err)
		}
		address := l.Addr().String()
		n.observed.Store(&address)
		ends = append(ends, serveHTTP(l, n.observation(), "metrics", failed))
		n.log.Info("metrics are served", "subsystem", "metrics", "address", address)
	}
	if n.cfg.Socket != "" {
		l, err := api.Listen(n.cfg.Socket)
		if err != nil {
			end()
			return nil, nil, nil, err
		}
		once := sync.OnceFunc(func() { close(stop) })
		ends = append(ends, serveHTTP(l, n.handler(&server{n: n, stop: once}), "the local API", failed))
		n.log.Debug("the local API listens", "subsystem", "api", "socket", n.cfg.Socket)
	}
	return failed, stop, end, nil
}

// serveHTTP serves until the function that it gives is called.
func serveHTTP(l net.Listener, h http.Handler, what string, failed chan<- error) (end func()) {
	s := api.NewServer(h)
	requests, cancel := context.WithCancel(context.Background())
	s.BaseContext = func(net.Listener) context.Context { return requests }
	go func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("serving %s: %w", what, err)
		}
	}()
	return func() {
		grace, done := context.WithTimeout(context.Background(), closeTimeout)
		defer done()
		time.AfterFunc(closeTimeout/10, cancel) // streams end, answers are written
		if s.Shutdown(grace) != nil {
			_ = s.Close()
		}
		cancel()
	}
}

// API is the local API for the program that the node is part of: the same answers as
// on the socket. Nothing stops the node through it.
func (n *Node) API() api.API { return &server{n: n, stop: func() {}} }

// Handler serves the local API, metrics and health over any listener; without Run
// nobody can stop the node through it.
func (n *Node) Handler() http.Handler { return n.handler(&server{n: n, stop: func() {}}) }

func (n *Node) handler(s *server) http.Handler {
	mux := n.observation()
	mux.Handle("/", api.Handler(s))
	return mux
}

func (s *server) Status(ctx context.Context, r api.StatusRequest) (api.Status, error) {
	if r.Wait != "" {
		i := slices.Index(api.Levels, r.Wait)
		if i < 0 {
			return api.Status{}, api.Errorf(api.CodeInvalid, "there is no level %q", r.Wait)
		}
		wait, cancel := within(ctx, r.Timeout)
		defer cancel()
		if err := s.n.Wait(wait, Level(i)); err != nil {
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
		Listen: n.Addrs(), Unheard: n.unheardTexts(), Clock: clockText(n.clock.at()), Peers: len(n.host.Network().Peers()), DHT: n.dht.Size(), Sources: make(map[api.Source]int),
		Extra: n.metrics.counters(), Mailbox: n.apiMailbox(), Twin: n.apiTwin(),
	}
	if a := n.observed.Load(); a != nil {
		st.Metrics = "http://" + *a + "/metrics"
	}
	troubles, _ := n.mailTroubles(ctx)
	for _, m := range troubles {
		st.Mailless = append(st.Mailless, m.String())
	}
	for _, p := range heldRelays(n.host.Addrs()) {
		st.Relays = append(st.Relays, p.String())
	}
	if n.cfg.RelayFor != RelayForNobody {
		st.RelayFor = string(n.cfg.RelayFor)
	}
	for source, count := range n.peers.Counts() {
		st.Sources[apiSource(source)] += count.Connected
	}
	for i, level := range api.Levels {
		missing, err := n.Missing(ctx, Level(i))
		if err != nil {
			return api.Status{}, APIError(err)
		}
		st.Levels = append(st.Levels, api.LevelState{Level: level, Reached: missing == "", Missing: missing})
	}
	groups, err := s.groups(ctx, true)
	st.Groups = groups.Groups
	return st, err
}

// within bounds ctx by a timeout, if there is one.
func within(ctx context.Context, d api.Duration) (context.Context, context.CancelFunc) {
	if d == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Duration(d))
}

func (s *server) id() api.ID {
	d := s.n.calledNow()
	return api.ID{User: d.User.String(), Device: d.ID.String(), Peer: s.n.host.ID().String(), Name: d.Cert.Name}
}

func (s *server) ID(context.Context, api.Empty) (api.ID, error) { return s.id(), nil }

func (s *server) Peers(context.Context, api.Empty) (api.Peers, error) {
	out := api.Peers{Peers: []api.Peer{}}
	for _, p := range s.n.host.Network().Peers() {
		conns := s.n.host.Network().ConnsToPeer(p)
		if len(conns) == 0 {
			continue
		}
		first := conns[0].Stat()
		one := api.Peer{ID: p.String(), Source: apiSource(s.n.peers.Source(p)), Since: first.Opened, Direction: api.Outbound, Limited: true}
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

func (s *server) Version(context.Context, api.Empty) (api.Version, error) {
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

func (s *server) Checkup(ctx context.Context, r api.CheckupRequest) (api.Checkup, error) {
	return api.Checkup{Findings: s.n.Checkup(ctx, r.Verify)}, nil
}

func (s *server) Shutdown(context.Context, api.Empty) (api.Empty, error) {
	s.stop()
	return api.Empty{}, nil
}

func (s *server) Events(ctx context.Context, r api.EventsRequest, emit func(api.Event) error) error {
	if r.Run != "" && r.Run != s.n.RunID() {
		return APIError(fmt.Errorf("%w: this run of the node is %s, and the cursor is of %s", ErrCursor, s.n.RunID(), r.Run))
	}
	return streamed(emit, func(emit func(api.Event) error) error {
		return s.n.SubscribeNode(ctx, r.Since, func(e NodeEvent) error {
			out := apiEvent(e.Group, e.Event)
			out.Cursor, out.Run, out.At, out.Peer = e.Cursor, s.n.RunID(), e.At, e.Peer
			return emit(out)
		})
	})
}

// streamed runs what emits. An error of emit is returned as it is.
func streamed[T any](emit func(T) error, run func(func(T) error) error) error {
	var broken error
	err := run(func(item T) error { broken = emit(item); return broken })
	if broken != nil {
		return broken
	}
	return APIError(err)
}

func (s *server) CreateGroup(ctx context.Context, r api.CreateGroupRequest) (api.Group, error) {
	var policy wire.Policy // without a word CreateGroup chooses
	if r.Policy != "" {
		var err error
		if policy, err = wire.ParsePolicy(string(r.Policy)); err != nil {
			return api.Group{}, api.Errorf(api.CodeInvalid, "there is no policy %q: there are open, request and invite", r.Policy)
		}
	}
	id, err := s.n.CreateGroup(ctx, CreateGroup{Name: r.Name, Description: r.Description, Tags: r.Tags, Policy: policy, Private: r.Private})
	if err != nil {
		return api.Group{}, APIError(err)
	}
	return s.group(ctx, id)
}

func (s *server) Groups(ctx context.Context, _ api.Empty) (api.Groups, error) {
	return s.groups(ctx, false)
}

// groups lists the groups; now: without waiting for those that are being loaded.
func (s *server) groups(ctx context.Context, now bool) (api.Groups, error) {
	out := api.Groups{Groups: []api.Group{}}
	for _, id := range s.n.Groups() {
		if g := s.n.groups.get(id); now && g != nil && !g.loop.opened.Load() {
			one := api.Group{ID: id.String(), State: api.StateLoading, Policy: api.Policy(g.genesis.Policy.String()), Topic: id.Topic()}
			if info := s.n.known.Get(id); info != nil {
				one.Name = info.Name
			}
			out.Groups = append(out.Groups, one)
			continue
		}
		g, err := s.group(ctx, id)
		if err != nil {
			return out, err
		}
		out.Groups = append(out.Groups, g)
	}
	slices.SortFunc(out.Groups, func(a, b api.Group) int { return strings.Compare(a.ID, b.ID) })
	return out, nil
}

func (s *server) Group(ctx context.Context, r api.GroupRequest) (api.Group, error) {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return api.Group{}, err
	}
	return s.group(ctx, id)
}

func (s *server) group(ctx context.Context, id wire.GroupID) (api.Group, error) {
	g := s.n.groups.get(id)
	if g == nil {
		p, err := s.n.JoinProgress(ctx, id)
		return api.Group{ID: id.String(), State: api.StateJoining, Missing: joined(string(p.Stage), p.Detail)}, APIError(err)
	}
	var st group.Status
	var members []group.Member
	var cursor uint64
	var active time.Time
	unseen, topic := 0, ""
	if err := g.loop.look(ctx, func(m *group.Machine) error {
		st, members, cursor = m.Status(), m.Members(), m.Cursor()
		if topics := m.Topics(); len(topics) > 0 {
			topic = topics[0]
		}
		var err error
		active, unseen, err = g.activity(m)
		return err
	}); err != nil {
		return api.Group{}, APIError(err)
	}
	publication, _ := s.n.publisher.Status(id)
	out := api.Group{
		ID: id.String(), Policy: api.Policy(g.genesis.Policy.String()), Created: time.UnixMilli(int64(g.genesis.Created)), //nolint:gosec // checked
		State: apiState(st.State), Missing: g.missing(st), Leaving: st.Leaving, Left: st.Left, Active: active, Unseen: unseen, Members: st.Members, Epoch: st.Epoch, EpochID: st.Position.String(),
		Authenticator: hex.EncodeToString(st.Authenticator), TreeHash: hex.EncodeToString(st.TreeHash), Topic: topic, Private: g.genesis.Private,
		Published: publication.State == discovery.Published, TopicPeers: len(g.topicPeers()),
		Outbox: st.Outbox, Gaps: st.Gaps, Parked: st.Parked, Entries: st.Entries, Cursor: cursor,
	}
	for _, m := range members {
		if m.User == s.n.me.device.User {
			out.Role = m.Role.String()
		}
	}
	profile := st.Profile
	if info := s.n.known.Get(id); info != nil && len(profile) == 0 { // a joiner's
		out.Name, out.Description, out.Tags = info.Name, info.Description, info.Tags
		out.Members = int(info.Members()) //nolint:gosec // for people
	}
	for _, item := range profile {
		switch item.Field {
		case wire.FieldName:
			out.Name = item.Text
		case wire.FieldDescription:
			out.Description = item.Text
		case wire.FieldTags:
			out.Tags = item.Tags
		case wire.FieldPolicy:
			out.Policy = api.Policy(item.Policy.String())
		case wire.FieldMailboxes:
			out.Mailboxes = len(item.Mailboxes)
		}
	}
	if ended := g.hasEnded(); ended != "" && st.State == group.StateNew {
		out.State, out.Missing = api.StateRefused, ended
	}
	if out.State == api.StateJoining {
		p := g.joiner.where()
		out.Missing = joined(string(p.Stage), p.Detail)
	}
	if st.State == group.StateMember {
		if sure, err := g.sure(ctx, st); err == nil && !sure {
			out.Missing = unsure
		}
	}
	return out, nil
}

func joined(parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ": ")
}

func apiState(s group.State) api.GroupState {
	if s == group.StateNew {
		return api.StateJoining
	}
	return api.GroupState(s)
}

// resolve finds the group that a text names among those of this node.
func (s *server) resolve(ctx context.Context, query string) (wire.GroupID, error) {
	if id, err := wire.ParseGroupID(query); err == nil {
		return id, nil
	}
	groups, err := s.Groups(ctx, api.Empty{})
	if err != nil {
		return wire.GroupID{}, err
	}
	var candidates []api.Candidate
	for _, g := range groups.Groups {
		candidates = append(candidates, api.Candidate{ID: g.ID, Name: g.Name})
	}
	text, err := api.Resolve("group", query, candidates)
	if err != nil {
		return wire.GroupID{}, orLook(err, "pandanode group list")
	}
	return wire.ParseGroupID(text)
}

// orLook says where to look for names, if the error suggests none.
func orLook(err error, command string) error {
	if e := api.AsError(err); e.Code == api.CodeNotFound && e.Hint == "" {
		return e.WithHint("%s", command)
	}
	return err
}

// searching bounds a search: within a timeout, and to so many results.
func searching(ctx context.Context, timeout api.Duration, limit int) (context.Context, context.CancelFunc, int) {
	ctx, cancel := within(ctx, cmp.Or(timeout, api.Duration(10*time.Second)))
	return ctx, cancel, cmp.Or(limit, 20)
}

func (s *server) Find(ctx context.Context, r api.FindRequest, emit func(api.Found) error) error {
	search, cancel, limit := searching(ctx, r.Timeout, r.Limit)
	defer cancel()
	if id, err := wire.ParseGroupID(r.Name); err == nil {
		return s.findOne(search, id, emit)
	}
	if r.Limit < 0 {
		return api.Errorf(api.CodeInvalid, "a limit of %d", r.Limit)
	}
	q := discovery.Query{Name: r.Name, Tag: r.Tag, MinMembers: r.MinMembers, MaxMembers: r.MaxMembers, After: r.After, Limit: limit}
	shown := make(map[string]bool) // groups; one is told of once for each source
	show := func(f api.Found) error {
		if !shown[f.ID] && len(shown) == limit {
			return nil
		}
		shown[f.ID] = true
		return emit(f)
	}
	for _, i := range s.n.publisher.PublicGroups() {
		if q.Fits(i) {
			if err := show(found(i, api.SourceLocal, "")); err != nil {
				return err
			}
		}
	}
	began := time.Now()
	for pause := searchAgain; ; pause *= 2 {
		// A search tells nothing while nobody can be asked: it is made again.
		asked := s.askable()
		missing, err := s.n.Missing(search, LevelOnline)
		if err != nil {
			return APIError(err)
		}
		results, err := s.n.Find(search, q)
		if err != nil {
			return APIError(err)
		}
		for f := range results { // closed when search ends
			source := apiSource(f.Source)
			if f.Source == discovery.SourceConnected {
				source = apiSource(s.n.peers.Source(f.From))
			}
			if err := show(found(f.Info, source, f.From.String())); err != nil {
				return err
			}
		}
		if len(shown) > 0 {
			return nil
		}
		if private := s.foundPrivate(ctx, q); private != nil {
			return private
		}
		if missing == "" && time.Since(began) >= freshGroup {
			return nil
		}
		if again, err := s.beforeAnotherSearch(ctx, search, asked, pause); !again {
			return err
		}
	}
}

// searchAgain is when a search that could ask nobody, or not everybody yet, is made again
// though nothing has changed: who has just connected may not have said what it speaks.
const searchAgain = time.Second

// freshGroup is how long a search goes on that finds nothing: a group that was founded a
// moment ago is on its way to those who are asked.
const freshGroup = 1500 * time.Millisecond

// askable counts those whom a search can ask.
func (s *server) askable() [2]int { return [2]int{len(s.n.host.Network().Peers()), s.n.dht.Size()} }

// beforeAnotherSearch waits until others can be asked, or for the pause if somebody can.
// At the end of the search nobody was there: that is an error, or that those who were
// there knew nothing.
func (s *server) beforeAnotherSearch(ctx, search context.Context, asked [2]int, pause time.Duration) (again bool, err error) {
	over := time.NewTimer(pause)
	defer over.Stop()
	table := time.NewTicker(tablePoll) // the DHT's table tells nobody when it grows
	defer table.Stop()
	for {
		changed := s.n.changed.wait()
		if s.askable() != asked {
			return true, nil
		}
		select {
		case <-changed:
		case <-table.C:
		case <-over.C:
			if asked[0] > 0 {
				return true, nil
			}
		case <-s.n.life.done:
			return false, APIError(ErrClosed)
		case <-search.Done():
			switch {
			case ctx.Err() != nil:
				return false, APIError(ctx.Err())
			case len(s.n.host.Network().Peers()) == 0:
				return false, APIError(fmt.Errorf("%w, so nobody could be asked", ErrNoPeers))
			}
			return false, nil
		}
	}
}

// foundPrivate says so if what was looked for is a private group of this device's.
func (s *server) foundPrivate(ctx context.Context, q discovery.Query) error {
	if q.Name == "" {
		return nil
	}
	for _, g := range s.n.groups.all() {
		if !g.genesis.Private || !g.loop.opened.Load() {
			continue
		}
		one, err := s.group(ctx, g.id)
		if err != nil || !(discovery.Query{Name: q.Name}).Fits(&discovery.Info{Group: g.id, Genesis: g.genesis, Name: one.Name}) {
			continue
		}
		return privateGroup(one)
	}
	return nil
}

func privateGroup(g api.Group) error {
	return api.Errorf(api.CodeNotFound, "no public group was found; the group %q is here and is private: it is in no search, and others find it by an invite link alone", g.Name).
		WithHint("pandanode group invite %s", g.ID[:10])
}

func (s *server) findOne(ctx context.Context, id wire.GroupID, emit func(api.Found) error) error {
	if i := s.n.known.Get(id); i != nil && s.n.groups.get(id) != nil {
		if err := emit(found(i, api.SourceLocal, "")); err != nil {
			return err
		}
		if len(s.n.host.Network().Peers()) == 0 {
			return nil
		}
	}
	if g := s.n.groups.get(id); g != nil && g.genesis.Private {
		one, err := s.group(ctx, id)
		if err != nil {
			return err
		}
		return privateGroup(one)
	}
	if err := s.n.Wait(ctx, LevelOnline); err != nil {
		switch {
		case errors.Is(err, ErrClosed):
			return APIError(err)
		case len(s.n.host.Network().Peers()) == 0:
			return APIError(fmt.Errorf("%w, so nobody could be asked", ErrNoPeers))
		}
		return nil
	}
	i, err := s.n.Lookup(ctx, id)
	if err != nil {
		if errors.Is(err, ErrNotFound) || errors.Is(err, context.DeadlineExceeded) {
			return nil // as a search that finds nothing
		}
		return APIError(err)
	}
	return emit(found(i, api.SourceDHT, ""))
}

func found(i *discovery.Info, source api.Source, from string) api.Found {
	return api.Found{
		ID: i.Group.String(), Name: i.Name, Description: i.Description, Tags: i.Tags, Policy: api.Policy(i.Policy.String()),
		Members: int(i.Members()), Created: time.UnixMilli(int64(i.Genesis.Created)), //nolint:gosec // checked
		Source: source, Peer: from, Verified: true,
	}
}

func (s *server) Join(ctx context.Context, r api.JoinRequest, emit func(api.JoinUpdate) error) error {
	until := -1
	if r.Until != "" {
		if until = slices.Index(api.Stages, r.Until); until < 0 {
			return api.Errorf(api.CodeInvalid, "there is no stage %q", r.Until)
		}
	}
	id, err := s.startJoin(ctx, r)
	if err != nil {
		return err
	}
	var last JoinProgress
	for {
		changed := s.n.changed.wait()
		p, err := s.n.JoinProgress(ctx, id)
		if err != nil {
			return APIError(err)
		}
		if p.Stage != last.Stage || p.Detail != last.Detail || p.Denied != last.Denied {
			last = p
			if err := emit(api.JoinUpdate{Group: id.String(), Stage: api.Stage(p.Stage), Detail: p.Detail, At: p.Since}); err != nil {
				return err
			}
		}
		switch {
		case slices.Index(api.Stages, api.Stage(p.Stage)) >= until:
			return nil
		case p.Denied:
			why := strings.TrimPrefix(p.Detail, "denied: ")
			if !p.Ended {
				why += "; so says the member that was asked, and the node goes on asking others"
			}
			return api.Errorf(api.CodeNotPermitted, "not let in: %s", why).
				WithHint("ask an owner or admin for an invite link, then pandanode group join -")
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return APIError(ctx.Err())
		case <-s.n.life.done:
			return APIError(ErrClosed)
		}
	}
}

// startJoin makes a request to join durable and gives the group's ID.
func (s *server) startJoin(ctx context.Context, r api.JoinRequest) (wire.GroupID, error) {
	switch {
	case (r.Group == "") == (r.Link == ""):
		return wire.GroupID{}, api.Errorf(api.CodeInvalid, "name a group or give an invite link, one of the two")
	case r.Link != "":
		link, err := wire.ParseLink(r.Link)
		if err != nil {
			return wire.GroupID{}, APIError(err)
		}
		defer clear(link.Secret[:])
		id, err := s.n.JoinByLink(ctx, link)
		return id, APIError(err)
	}
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return id, err
	}
	return id, APIError(s.n.Join(ctx, id))
}

func (s *server) Leave(ctx context.Context, r api.GroupRequest) (api.Left, error) {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return api.Left{}, err
	}
	name := s.groupName(ctx, id)
	left, err := s.n.Leave(ctx, id)
	return api.Left{Waits: left.Waits, Ended: left.Ended, Group: id.String(), GroupName: name}, APIError(err)
}

func (s *server) Forget(ctx context.Context, r api.ForgetRequest) (api.Forgotten, error) {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return api.Forgotten{}, err
	}
	out, err := s.n.Forget(ctx, id, r.DiscardUnsent)
	return api.Forgotten{Group: id.String(), Messages: out.Messages, Unsent: out.Unsent}, APIError(err)
}

func (s *server) Reboot(ctx context.Context, r api.GroupRequest) (api.Empty, error) {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return api.Empty{}, err
	}
	return api.Empty{}, APIError(s.n.Reboot(ctx, id))
}

func (s *server) Members(ctx context.Context, r api.GroupRequest) (api.Members, error) {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return api.Members{}, err
	}
	members, err := s.n.Members(ctx, id)
	out := api.Members{Members: []api.Member{}}
	for _, m := range members {
		one := api.Member{
			User: m.User.String(), Name: m.Name, Role: m.Role.String(), Self: m.User == s.n.me.device.User,
			Devices: []string{}, Since: m.Since, InTree: m.InTree,
		}
		for _, d := range m.Devices {
			one.Devices = append(one.Devices, d.String())
		}
		out.Members = append(out.Members, one)
	}
	return out, APIError(err)
}

func (s *server) Remove(ctx context.Context, r api.RemoveRequest) (api.Change, error) {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return api.Change{}, err
	}
	user, err := s.member(ctx, id, r.User)
	if err != nil {
		return api.Change{}, err
	}
	if err := s.n.Remove(ctx, id, user.User); err != nil {
		return api.Change{}, APIError(err)
	}
	out := s.change(ctx, id, api.DeedRemoved, user.User, user.Name)
	if user.Role != 0 {
		out.Was = user.Role.String()
	}
	return out, nil
}

func (s *server) GroupEvents(ctx context.Context, r api.GroupEventsRequest, emit func(api.Event) error) error {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return err
	}
	return streamed(emit, func(emit func(api.Event) error) error {
		err := s.n.SubscribeEvents(ctx, id, r.Since, func(e group.Event) error {
			if r.Until != 0 && e.Cursor > r.Until {
				return errUntil
			}
			if err := emit(apiEvent(id, e)); err != nil || e.Cursor != r.Until {
				return err
			}
			return errUntil
		})
		if errors.Is(err, errUntil) {
			return nil
		}
		return err
	})
}

// errUntil ends a stream that was to end here.
var errUntil = errors.New("that is all")

// entriesPage is how many bytes of entries are read in one turn at the machine.
const entriesPage = 256 << 10

func (s *server) Entries(ctx context.Context, r api.GroupRequest, emit func(api.Entry) error) error {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return err
	}
	g, err := s.n.groups.must(id)
	if err != nil {
		return APIError(err)
	}
	if err := emit(api.Entry{Genesis: g.genesis.Raw.Encode()}); err != nil {
		return err
	}
	for from := (wire.EntryHash{}); ; {
		var entries [][]byte
		if err := g.loop.look(ctx, func(m *group.Machine) (err error) {
			entries, from, err = m.EntriesAfter(s.n.me.device.ID, nil, from, entriesPage)
			return err
		}); err != nil {
			return APIError(err)
		}
		for _, e := range entries {
			if err := emit(api.Entry{Entry: e}); err != nil {
				return err
			}
		}
		if from == (wire.EntryHash{}) {
			return nil
		}
	}
}

func apiEvent(id wire.GroupID, e group.Event) api.Event {
	out := api.Event{
		Cursor: e.Cursor, Kind: api.EventKind(e.Kind), At: time.UnixMilli(int64(e.At)), //nolint:gosec // this device's clock
		Detail: e.Detail,
	}
	if e.Kind == group.EventSwitch {
		out.Kind = api.EventForkHealed
	}
	out.Group = textUnlessZero(id)
	out.Message, out.User, out.Device = textUnlessZero(e.Message), textUnlessZero(e.User), textUnlessZero(e.Device)
	out.By, out.EpochID = textUnlessZero(e.By), textUnlessZero(e.Epoch)
	return out
}

// textUnlessZero is an ID's text, empty for the zero ID.
func textUnlessZero[T interface {
	comparable
	String() string
}](id T) string {
	var zero T
	if id == zero {
		return ""
	}
	return id.String()
}

func (s *server) Send(ctx context.Context, r api.SendRequest) (api.Sent, error) {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return api.Sent{}, err
	}
	until := 0
	if r.Wait != "" {
		if until = slices.Index(api.Deliveries, r.Wait); until < 0 {
			return api.Sent{}, api.Errorf(api.CodeInvalid, "there is no delivery %q", r.Wait)
		}
	}
	if r.Text != "" && r.Texts != nil {
		return api.Sent{}, api.Errorf(api.CodeInvalid, "give text or texts, one of the two")
	}
	texts := r.Texts
	if texts == nil {
		texts = []string{r.Text}
	}
	contents := make([]wire.Content, len(texts))
	for i, t := range texts {
		contents[i] = wire.Content{MediaType: "text/plain", Data: []byte(t)}
	}
	messages, err := s.n.SendAll(ctx, id, contents)
	if err != nil {
		return api.Sent{}, APIError(err)
	}
	// From here on the messages are accepted, whatever else goes wrong.
	message := messages[len(messages)-1]
	sent := api.Sent{ID: message.String(), Group: id.String(), State: api.DeliveryQueued}
	if r.Texts != nil {
		for _, m := range messages {
			sent.IDs = append(sent.IDs, m.String())
		}
	}
	g, err := s.n.groups.must(id)
	if err != nil {
		return sent, nil
	}
	wait, cancel := within(ctx, r.Timeout)
	defer cancel()
	look := func(ctx context.Context) {
		if m, err := s.n.Message(ctx, id, message); err == nil {
			sent.State, sent.HeldBy, sent.Readers = api.Delivery(m.Delivery), m.HeldBy, m.Readers
		}
	}
	for {
		changed := g.changed.wait()
		look(wait)
		if slices.Index(api.Deliveries, sent.State) >= until {
			return s.left(ctx, g, sent), nil
		}
		select {
		case <-changed:
		case <-wait.Done():
			look(ctx) // what is so now, not what was when something last happened
			return s.left(ctx, g, sent), nil
		case <-s.n.life.done:
			return s.left(ctx, g, sent), nil
		}
	}
}

// left adds where a message is that nobody else has, as far as is known.
func (s *server) left(ctx context.Context, g *groupSession, sent api.Sent) api.Sent {
	if sent.State != api.DeliveryHeld {
		sent.Note = s.n.mailNote(ctx, g)
	}
	return sent
}

func (s *server) Messages(ctx context.Context, r api.MessagesRequest) (api.Messages, error) {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return api.Messages{}, err
	}
	if r.Limit <= 0 || r.Limit > 1000 {
		r.Limit = 1000
	}
	messages, err := s.n.Messages(ctx, id, r.Since, r.Limit+1)
	out := api.Messages{Messages: []api.Message{}, More: len(messages) > r.Limit}
	for _, m := range messages[:min(len(messages), r.Limit)] {
		out.Messages = append(out.Messages, apiMessage(id, m))
	}
	return out, APIError(err)
}

func (s *server) Tail(ctx context.Context, r api.TailRequest, emit func(api.Message) error) error {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return err
	}
	return streamed(emit, func(emit func(api.Message) error) error {
		return s.n.Subscribe(ctx, id, r.Since, func(m group.Message) error { return emit(apiMessage(id, m)) })
	})
}

func apiMessage(id wire.GroupID, m group.Message) api.Message {
	out := api.Message{
		Cursor: m.Cursor, ID: m.ID.String(), Group: id.String(), User: m.User.String(), Device: m.Device.String(),
		Name: m.Name, Sent: m.Sent, MediaType: m.Content.MediaType, Own: m.Own, HeldBy: m.HeldBy, Readers: m.Readers,
	}
	if m.Own {
		out.State = api.Delivery(m.Delivery)
	}
	if strings.HasPrefix(m.Content.MediaType, "text/") {
		out.Text = strings.ToValidUTF8(string(m.Content.Data), "\uFFFD")
	} else {
		out.Data = m.Content.Data
	}
	return out
}

func (s *server) Envelope(ctx context.Context, r api.EnvelopeRequest) (api.EnvelopeResult, error) {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return api.EnvelopeResult{}, err
	}
	out, refused := s.n.Deliver(ctx, id, r.Envelope)
	if ours := verdictOf(out, refused); refused != nil && (ours == group.Ignore && out.Verdict != group.Ignore || errors.Is(refused, ErrNoGroup)) {
		return api.EnvelopeResult{}, APIError(refused)
	}
	res := api.EnvelopeResult{Verdict: api.Verdict(out.Verdict.String()), New: out.New, Messages: []string{}}
	for _, m := range out.Messages {
		res.Messages = append(res.Messages, m.String())
	}
	if refused != nil {
		res.Refusal, res.Detail = refusal(refused), refused.Error()
	}
	return res, nil
}

// refusal is the one table from what a machine refuses to its name.
func refusal(err error) api.Refusal {
	for _, r := range []struct {
		err  error
		name api.Refusal
	}{
		{group.ErrRemoved, api.RefusalRemoved},
		{group.ErrOut, api.RefusalOut},
		{group.ErrNoEpoch, api.RefusalNoEpoch},
		{wire.ErrUnknownKey, api.RefusalUnknownKey},
		{wire.ErrNotAuthentic, api.RefusalNotAuthentic},
		{wire.ErrVersion, api.RefusalVersion},
		{wire.ErrTooLarge, api.RefusalTooLarge},
		{group.ErrNotMember, api.RefusalNotMember},
		{group.ErrNotPermitted, api.RefusalNotPermitted},
		{group.ErrForeign, api.RefusalForeign},
		{group.ErrEquivocation, api.RefusalEquivocation},
		{group.ErrFuture, api.RefusalFuture},
		{group.ErrIncomplete, api.RefusalIncomplete},
		{group.ErrInvalidCommit, api.RefusalCommit},
		{group.ErrInvalidKeyPackage, api.RefusalKeyPackage},
		{group.ErrInvalidWelcome, api.RefusalWelcome},
		{group.ErrUsed, api.RefusalUsed},
		{group.ErrFull, api.RefusalFull},
		{group.ErrForged, api.RefusalForged},
		{identity.ErrForged, api.RefusalForged},
		{wire.ErrMalformed, api.RefusalMalformed},
	} {
		if errors.Is(err, r.err) {
			return r.name
		}
	}
	return api.RefusalOther
}

func (s *server) MessageEnvelope(ctx context.Context, r api.MessageEnvelopeRequest) (api.Envelope, error) {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return api.Envelope{}, err
	}
	message, err := wire.ParseEntryHash(r.Message)
	if err != nil {
		if message, err = s.resolveMessage(ctx, id, r.Message); err != nil {
			return api.Envelope{}, err
		}
	}
	envelope, err := s.n.EnvelopeOf(ctx, id, message)
	return api.Envelope{Message: message.String(), Envelope: envelope}, APIError(err)
}

func (s *server) resolveMessage(ctx context.Context, id wire.GroupID, query string) (wire.MessageID, error) {
	return s.resolveAmong(ctx, id, query, nil)
}

// resolveAmong finds the message that a text names, among those shown and these.
func (s *server) resolveAmong(ctx context.Context, id wire.GroupID, query string, candidates []api.Candidate) (wire.MessageID, error) {
	for after := uint64(0); ; {
		messages, err := s.n.Messages(ctx, id, after, page)
		if err != nil {
			return wire.MessageID{}, APIError(err)
		}
		for _, m := range messages {
			candidates = append(candidates, api.Candidate{ID: m.ID.String()})
			after = m.Cursor
		}
		if len(messages) < page {
			break
		}
	}
	text, err := api.Resolve("message", query, candidates)
	if err != nil {
		return wire.MessageID{}, err
	}
	return wire.ParseEntryHash(text)
}

func apiSource(s discovery.Source) api.Source {
	if s == discovery.SourceConnected || s == "" {
		return api.SourceIncoming
	}
	return api.Source(s)
}

// APIError is the one table from errors of this node, its store and its groups to
// what callers decide by: an *api.Error with a code and a hint, in which GROUP stands
// for the group that was asked about. Others are CodeInternal, or CodeTimeout.
func APIError(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*api.Error](err); ok {
		return err
	}
	for _, e := range []struct {
		err  error
		code api.Code
		hint string
	}{
		{storage.ErrCorrupt, api.CodeCorrupt, "restore the home from a backup"},
		{group.ErrCorrupt, api.CodeCorrupt, "restore the home from a backup"},
		{storage.ErrSchemaNewer, api.CodeNewer, "install the newer version again"},
		{storage.ErrLocked, api.CodeLocked, "give the passphrase or the key file"},
		{storage.ErrWrongPassphrase, api.CodeLocked, "give the passphrase or key file of this home"},
		{storage.ErrNoSpace, api.CodeLimited, "free some space on the disk of this home"},
		{syscall.EROFS, api.CodeNotPermitted, "make the home writable"},
		{fs.ErrPermission, api.CodeNotPermitted, "make the home writable for this user"},
		{ErrListen, api.CodeConflict, "end the program that has the port, or name another one in listen of the configuration"},
		{storage.ErrInUse, api.CodeConflict, "wait until that process has ended, or end it"},
		{storage.ErrNotInitialised, api.CodeNotFound, "pandanode init"},
		{storage.ErrForeign, api.CodeCorrupt, "put back the keys file that belongs to this home"},
		{storage.ErrTooLarge, api.CodeLimited, ""},
		{ErrInvalid, api.CodeInvalid, ""},
		{ErrCursor, api.CodeConflict, "begin again without a cursor"},
		{ErrClosed, api.CodeUnavailable, "pandanode run"},
		{ErrNoGroup, api.CodeNotFound, "pandanode group list"},
		{ErrNotFound, api.CodeNotFound, ""},
		{group.ErrUnknown, api.CodeNotFound, ""},
		{ErrNoPeers, api.CodeNoPeers, "pandanode status"},
		{ErrDenied, api.CodeNotPermitted, ""},
		{ErrUnsent, api.CodeConflict, "pandanode group forget GROUP --discard-unsent"},
		{ErrBackup, api.CodeVerification, "take another backup"},
		{ErrIdentity, api.CodeLocked, "give the passphrase, or the identity file with --identity"},
		{group.ErrNotPermitted, api.CodeNotPermitted, "pandanode group members GROUP"},
		{group.ErrNotMember, api.CodeNotPermitted, ""},
		{group.ErrOut, api.CodeConflict, "pandanode group show GROUP"},
		{group.ErrState, api.CodeConflict, "pandanode group show GROUP"},
		{ErrExists, api.CodeConflict, ""},
		{group.ErrFull, api.CodeLimited, ""},
		{wire.ErrTooLarge, api.CodeInvalid, ""},
		{identity.ErrForged, api.CodeVerification, ""},
		{group.ErrForged, api.CodeVerification, ""},
		{group.ErrInvalidWelcome, api.CodeVerification, ""},
		{group.ErrInvalidKeyPackage, api.CodeConflict, "pandanode group requests GROUP"},
		{wire.ErrVersion, api.CodeInvalid, "install the newest version of pandanode"},
		{wire.ErrMalformed, api.CodeInvalid, ""},
	} {
		if errors.Is(err, e.err) {
			out := api.Errorf(e.code, "%s", inWords(err))
			if e.hint != "" {
				out = out.WithHint("%s", e.hint)
			}
			return out
		}
	}
	return api.AsError(err)
}

// inWords is the text of an error without the words that its code says already.
func inWords(err error) string {
	text := err.Error()
	for _, said := range []error{ErrInvalid, wire.ErrTooLarge, wire.ErrMalformed} {
		text = strings.TrimPrefix(text, said.Error()+": ")
	}
	return text
}

// Addrs are the addresses that the node listens on, with its peer ID: what another
// node can take as Bootstrap.
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
