// Package apitest has a small working node behind the local API: groups, members and
// messages in memory, without keys, disk or network. Tests of programs that talk to a node
// use it.
//
// It is no model of a group: members appear when a test adds them, and nothing is delivered
// to anybody.
package apitest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

// Node is the fake. Its exported fields may be changed before it is used.
type Node struct {
	Self     api.ID
	Now      func() time.Time // default: one second later at each call, from 2026-01-02 15:04:05 UTC
	Peered   []api.Peer
	Own      api.UserProfile      // of this node's user
	Fetching []api.File           // what is told of a file before it is here
	Cut      int                  // bytes of a file after which reading it fails; 0: never
	Findable []api.Found          // groups that a search may find
	Missing  map[api.Level]string // why a level is not reached
	Fail     map[string]error     // by the name of the method
	Stuck    api.Stage            // joins get no further than this
	Denied   bool                 // such a join ends there
	Delivers api.Delivery         // how far messages get; empty: published
	Report   api.GroupStatus      // the answer of GroupStatus, beside the group
	Healed   api.Healed
	Reason   api.Explanation
	Findings []api.Finding
	Seen     api.Incidents
	Usage    api.StoreUsage
	Checked  api.StoreCheck
	Relocked api.RelockRequest  // the last one
	Offices  []api.FoundMailbox // mailboxes that a search finds
	Keeps    api.MailboxStatus
	Browsers []api.WebSession // that are logged in to the page
	Hooked   []api.Hook       // of the configuration

	mu      sync.Mutex
	groups  []*group
	files   []stored
	ticks   int
	changed chan struct{}
	down    chan struct{}
}

type group struct {
	api.Group
	members   []api.Member
	invites   []api.Invite
	requests  []api.Request
	mailboxes []api.GroupMailbox
	log       []api.Operation
	messages  []api.Message
	events    []api.Event
	cursors   map[string]uint64
	draft     *api.Draft
	keyed     map[string]keyed
}

// keyed is what a request with a key has sent.
type keyed struct {
	text string
	sent api.Sent
}

var _ api.API = (*Node)(nil)

// ID makes an ID as long as a real one, the same for the same seed.
func ID(seed string) string {
	sum := sha256.Sum256([]byte(seed))
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(append(sum[:], sum[:3]...)))
}

// New gives a node of a user called name.
func New(name string) *Node {
	n := &Node{
		Self:    api.ID{User: ID("user " + name), Device: ID("device " + name), Peer: "12D3KooW" + name, Name: name},
		changed: make(chan struct{}), down: make(chan struct{}),
	}
	n.Now = func() time.Time {
		n.ticks++
		return time.Date(2026, 1, 2, 15, 4, 4+n.ticks, 0, time.UTC)
	}
	return n
}

// Serve serves a node on a unix socket for as long as the test runs and gives the
// socket's path.
func Serve(tb testing.TB, a api.API) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "apitest")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	tb.Cleanup(ServeOn(tb, a, socket))
	return socket
}

// Losing is a node that accepts some messages and dies before it answers.
type Losing struct {
	*Node
	Left atomic.Int32 // so many answers are lost
}

// Send sends a message, and breaks the connection in place of an answer.
func (l *Losing) Send(ctx context.Context, r api.SendRequest) (api.Sent, error) {
	sent, err := l.Node.Send(ctx, r)
	if l.Left.Add(-1) >= 0 {
		panic(http.ErrAbortHandler)
	}
	return sent, err
}

// ServeOn serves a node on this unix socket until it is stopped, as one that runs again may.
func ServeOn(tb testing.TB, a api.API, socket string) (stop func()) {
	tb.Helper()
	l, err := api.Listen(socket)
	if err != nil {
		tb.Fatal(err)
	}
	s := api.NewServer(api.Handler(a))
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	return func() { _ = s.Close(); <-done }
}

// Stopped is closed once somebody has asked the node to stop.
func (n *Node) Stopped() <-chan struct{} { return n.down }

// AddMember puts somebody into a group.
func (n *Node) AddMember(groupID, name, role string) api.Member {
	n.mu.Lock()
	defer n.mu.Unlock()
	g := n.group(groupID)
	m := api.Member{User: ID("user " + name), Name: name, Role: role, Devices: []string{ID("device " + name)}, Since: n.Now(), InTree: true}
	g.members = append(g.members, m)
	g.Members, g.KnownAsOf = len(g.members), m.Since
	n.event(g, api.Event{Kind: api.EventMemberAdded, User: m.User, UserName: name, By: n.Self.User, ByName: n.Self.Name})
	return m
}

// Receive puts a message of somebody else into a group.
func (n *Node) Receive(groupID, name, text string) api.Message {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.message(n.group(groupID), api.Message{User: ID("user " + name), Device: ID("device " + name), Name: name, Text: text})
}

// group gives a group that must be there.
func (n *Node) group(id string) *group {
	i := slices.IndexFunc(n.groups, func(g *group) bool { return g.ID == id })
	return n.groups[i]
}

func (n *Node) event(g *group, e api.Event) uint64 {
	e.Cursor, e.Group, e.At = uint64(len(g.events)+1), g.ID, n.Now()
	g.events = append(g.events, e)
	g.Cursor, g.Active = e.Cursor, e.At
	close(n.changed)
	n.changed = make(chan struct{})
	return e.Cursor
}

func (n *Node) message(g *group, m api.Message) api.Message {
	m.ID, m.Group, m.MediaType, m.Sent = ID(fmt.Sprint(g.ID, len(g.messages))), g.ID, "text/plain", n.Now()
	m.Cursor = n.event(g, api.Event{Kind: api.EventMessage, Message: m.ID, User: m.User, Device: m.Device})
	g.messages = append(g.messages, m)
	if !m.Own {
		g.Unseen++
		g.Unread++
	}
	return m
}

// enter locks the node, or fails as the test wants it to.
func (n *Node) enter(method string) error {
	if err := n.Fail[method]; err != nil {
		return err
	}
	n.mu.Lock()
	return nil
}

// named gives the group that a query names.
func (n *Node) named(query string) (*group, error) {
	all := make([]api.Candidate, len(n.groups))
	for i, g := range n.groups {
		all[i] = api.Candidate{ID: g.ID, Name: g.Name}
	}
	id, err := api.Resolve("group", query, all)
	if err != nil {
		return nil, err
	}
	return n.group(id), nil
}

// Status gives the state; it does not wait for a level that is missing.
func (n *Node) Status(_ context.Context, r api.StatusRequest) (api.Status, error) {
	if err := n.enter("Status"); err != nil {
		return api.Status{}, err
	}
	defer n.mu.Unlock()
	if why := n.Missing[r.Wait]; why != "" {
		return api.Status{}, api.Errorf(api.CodeTimeout, "not %s: %s", r.Wait, why)
	}
	s := api.Status{
		ID: n.Self, Version: "fake", PID: 1, Home: "/home/of/" + n.Self.Name, Uptime: api.Duration(90 * time.Second), Peers: len(n.Peered),
		Listen:  []string{"/ip4/127.0.0.1/tcp/4001/p2p/" + n.Self.Peer, "/ip4/127.0.0.1/udp/4001/quic-v1/p2p/" + n.Self.Peer},
		Sources: map[api.Source]int{}, Mailbox: n.Keeps,
	}
	for _, p := range n.Peered {
		s.Sources[p.Source]++
	}
	for _, l := range api.Levels {
		s.Levels = append(s.Levels, api.LevelState{Level: l, Reached: n.Missing[l] == "", Missing: n.Missing[l]})
	}
	for _, g := range n.groups {
		s.Groups = append(s.Groups, g.Group)
	}
	return s, nil
}

// ID gives Self.
func (n *Node) ID(context.Context, api.Empty) (api.ID, error) { return n.Self, n.Fail["ID"] }

// Rename changes Self.
func (n *Node) Rename(_ context.Context, r api.RenameRequest) (api.ID, error) {
	if err := n.enter("Rename"); err != nil {
		return api.ID{}, err
	}
	defer n.mu.Unlock()
	n.Self.Name = r.Name
	return n.Self, nil
}

// Peers gives Peered.
func (n *Node) Peers(context.Context, api.Empty) (api.Peers, error) {
	return api.Peers{Peers: n.Peered}, n.Fail["Peers"]
}

// Version says that this is a fake.
func (n *Node) Version(context.Context, api.Empty) (api.Version, error) {
	return api.Version{Version: "fake"}, n.Fail["Version"]
}

// Checkup gives Findings.
func (n *Node) Checkup(context.Context, api.CheckupRequest) (api.Checkup, error) {
	return api.Checkup{Findings: append([]api.Finding{}, n.Findings...)}, n.Fail["Checkup"]
}

// Unlock is not needed: the fake is not locked.
func (n *Node) Unlock(context.Context, api.UnlockRequest) (api.Empty, error) {
	return api.Empty{}, api.Errorf(api.CodeConflict, "the node is not locked")
}

// Shutdown closes Stopped.
func (n *Node) Shutdown(context.Context, api.Empty) (api.Empty, error) {
	if err := n.enter("Shutdown"); err != nil {
		return api.Empty{}, err
	}
	defer n.mu.Unlock()
	select {
	case <-n.down:
	default:
		close(n.down)
	}
	return api.Empty{}, nil
}

// Events streams nothing until the caller hangs up.
func (n *Node) Events(ctx context.Context, _ api.EventsRequest, _ func(api.Event) error) error {
	if err := n.Fail["Events"]; err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

// CreateGroup founds a group of one.
func (n *Node) CreateGroup(_ context.Context, r api.CreateGroupRequest) (api.Group, error) {
	if err := n.enter("CreateGroup"); err != nil {
		return api.Group{}, err
	}
	defer n.mu.Unlock()
	g := &group{Group: api.Group{
		ID: ID(fmt.Sprint("group ", r.Name, len(n.groups))), Name: r.Name, Description: r.Description, Tags: r.Tags, Policy: r.Policy, Private: r.Private,
		State: api.StateMember, Role: "owner", Members: 1, EpochID: ID("epoch"), Published: !r.Private,
	}}
	g.Created = n.Now()
	g.Active = g.Created
	g.members = []api.Member{{User: n.Self.User, Name: n.Self.Name, Role: "owner", Self: true, Devices: []string{n.Self.Device}, Since: g.Created, InTree: true}}
	n.groups = append(n.groups, g)
	n.operate(g, api.Operation{Kind: "reboot"})
	return g.Group, nil
}

// Groups lists the groups.
func (n *Node) Groups(context.Context, api.Empty) (api.Groups, error) {
	if err := n.enter("Groups"); err != nil {
		return api.Groups{}, err
	}
	defer n.mu.Unlock()
	var out api.Groups
	for _, g := range n.groups {
		out.Groups = append(out.Groups, g.Group)
	}
	return out, nil
}

// Group gives one group.
func (n *Node) Group(_ context.Context, r api.GroupRequest) (api.Group, error) {
	if err := n.enter("Group"); err != nil {
		return api.Group{}, err
	}
	defer n.mu.Unlock()
	g, err := n.named(r.Group)
	if err != nil {
		return api.Group{}, err
	}
	return g.Group, nil
}

// Find returns the groups of Findable whose names contain the name.
func (n *Node) Find(_ context.Context, r api.FindRequest, emit func(api.Found) error) error {
	if err := n.Fail["Find"]; err != nil {
		return err
	}
	for _, f := range n.Findable {
		if strings.Contains(strings.ToLower(f.Name), strings.ToLower(r.Name)) {
			if err := emit(f); err != nil {
				return err
			}
		}
	}
	return nil
}

// Join goes through the stages up to Stuck and then waits for the caller to hang up.
func (n *Node) Join(ctx context.Context, r api.JoinRequest, emit func(api.JoinUpdate) error) error {
	if err := n.Fail["Join"]; err != nil {
		return err
	}
	if r.Link != "" {
		if r.Link != Link {
			return api.Errorf(api.CodeInvalid, "the invite link is cut off")
		}
		r.Group = ID("linked")
	}
	for _, s := range api.Stages {
		n.mu.Lock()
		u := api.JoinUpdate{Group: r.Group, Stage: s, At: n.Now()}
		n.mu.Unlock()
		if s == n.Stuck {
			u.Detail = "nobody answers"
			if n.Denied {
				u.Detail = "denied: an admin denied the request"
			}
		}
		if err := emit(u); err != nil {
			return err
		}
		if s == r.Until || r.Until == "" {
			return nil
		}
		if s == n.Stuck && n.Denied {
			return api.Errorf(api.CodeNotPermitted, "not let in: an admin denied the request")
		}
		if s == n.Stuck {
			<-ctx.Done()
			return ctx.Err()
		}
	}
	return nil
}

// Forget drops the group.
func (n *Node) Forget(_ context.Context, r api.ForgetRequest) (api.Forgotten, error) {
	if err := n.enter("Forget"); err != nil {
		return api.Forgotten{}, err
	}
	defer n.mu.Unlock()
	g, err := n.named(r.Group)
	if err != nil {
		return api.Forgotten{}, err
	}
	if g.State != api.StateOut && g.State != api.StateJoining {
		return api.Forgotten{}, api.Errorf(api.CodeConflict, "this device is in the group; leave it first")
	}
	id := g.ID
	n.groups = slices.DeleteFunc(n.groups, func(o *group) bool { return o == g })
	return api.Forgotten{Group: id}, nil
}

// Leave marks the group as left.
func (n *Node) Leave(_ context.Context, r api.GroupRequest) (api.Left, error) {
	if err := n.enter("Leave"); err != nil {
		return api.Left{}, err
	}
	defer n.mu.Unlock()
	g, err := n.named(r.Group)
	if err != nil {
		return api.Left{}, err
	}
	g.State, g.Left = api.StateOut, true
	n.event(g, api.Event{Kind: api.EventOut})
	return api.Left{Group: g.ID, GroupName: g.Name}, nil
}

// Members lists who is in a group.
func (n *Node) Members(_ context.Context, r api.GroupRequest) (api.Members, error) {
	if err := n.enter("Members"); err != nil {
		return api.Members{}, err
	}
	defer n.mu.Unlock()
	g, err := n.named(r.Group)
	if err != nil {
		return api.Members{}, err
	}
	out := api.Members{Members: slices.Clone(g.members)}
	for _, p := range n.people() {
		if p.Verified || p.Petname != "" {
			out.Known = append(out.Known, api.Candidate{ID: p.User, Name: p.OwnName, Verified: p.Verified})
		}
	}
	return out, nil
}

// Remove takes a member out.
func (n *Node) Remove(_ context.Context, r api.RemoveRequest) (out api.Change, err error) {
	err = n.in("Remove", r.Group, func(g *group) error {
		m, err := g.member(r.User)
		if err != nil {
			return err
		}
		out = g.did(api.DeedRemoved, m.User, m.Name)
		out.Was = m.Role
		g.members = slices.DeleteFunc(g.members, func(m api.Member) bool { return m.User == out.User })
		g.Members = len(g.members)
		n.event(g, api.Event{Kind: api.EventMemberRemoved, User: out.User, UserName: out.UserName, By: n.Self.User, ByName: n.Self.Name})
		return nil
	})
	return out, err
}

// Entries emits nothing.
func (n *Node) Entries(context.Context, api.GroupRequest, func(api.Entry) error) error {
	return n.Fail["Entries"]
}

// GroupEvents streams the events of a group.
func (n *Node) GroupEvents(ctx context.Context, r api.GroupEventsRequest, emit func(api.Event) error) error {
	if err := n.Fail["GroupEvents"]; err != nil {
		return err
	}
	return follow(ctx, n, r.Group, func(g *group) []api.Event { return g.events[min(r.Since, uint64(len(g.events))):] }, emit)
}

// follow emits a list that only grows, as it is and as it grows.
func follow[T any](ctx context.Context, n *Node, query string, items func(*group) []T, emit func(T) error) error {
	for done := 0; ; {
		n.mu.Lock()
		g, err := n.named(query)
		if err != nil {
			n.mu.Unlock()
			return err
		}
		fresh, changed := slices.Clone(items(g)[done:]), n.changed
		n.mu.Unlock()
		for _, it := range fresh {
			if err := emit(it); err != nil {
				return err
			}
		}
		done += len(fresh)
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Send accepts a message.
func (n *Node) Send(_ context.Context, r api.SendRequest) (api.Sent, error) {
	if err := n.enter("Send"); err != nil {
		return api.Sent{}, err
	}
	defer n.mu.Unlock()
	g, err := n.named(r.Group)
	if err != nil {
		return api.Sent{}, err
	}
	state := api.DeliveryPublished
	if n.Delivers != "" {
		state = n.Delivers
	}
	texts := r.Texts
	if texts == nil {
		texts = []string{r.Text}
	}
	var answers *api.Reference
	if r.ReplyTo != "" {
		to, err := n.shown(g, r.ReplyTo)
		if err != nil {
			return api.Sent{}, err
		}
		to.Replies++
		answers = &api.Reference{ID: to.ID, User: to.User, Name: to.Name, Excerpt: to.Text}
	}
	sent := api.Sent{Group: g.ID, State: state}
	if before, ok := g.keyed[r.Key]; ok {
		if before.text != strings.Join(texts, "\n") {
			return api.Sent{}, api.Errorf(api.CodeConflict, "the key %q was of another text", r.Key)
		}
		return before.sent, nil
	}
	for _, text := range texts {
		m := api.Message{User: n.Self.User, Device: n.Self.Device, Name: n.Self.Name, Text: text, Own: true, State: state, ReplyTo: answers}
		sent.ID = n.message(g, m).ID
		if r.Texts != nil {
			sent.IDs = append(sent.IDs, sent.ID)
		}
	}
	if r.Key != "" {
		if g.keyed == nil {
			g.keyed = map[string]keyed{}
		}
		g.keyed[r.Key] = keyed{strings.Join(texts, "\n"), sent}
	}
	return sent, nil
}

// Delivery gives what Send gave; where it is less than what is waited for it waits, as far
// as anybody does.
func (n *Node) Delivery(ctx context.Context, r api.DeliveryRequest) (api.Sent, error) {
	if err := n.enter("Delivery"); err != nil {
		return api.Sent{}, err
	}
	g, err := n.named(r.Group)
	state := cmp.Or(n.Delivers, api.DeliveryPublished)
	n.mu.Unlock()
	if err != nil {
		return api.Sent{}, err
	}
	if slices.Index(api.Deliveries, state) < slices.Index(api.Deliveries, r.Wait) {
		if r.Timeout != 0 {
			limited, cancel := context.WithTimeout(ctx, time.Duration(r.Timeout))
			defer cancel()
			ctx = limited
		}
		<-ctx.Done()
	}
	return api.Sent{ID: r.Message, Group: g.ID, State: state}, nil
}

// Messages gives a page.
func (n *Node) Messages(_ context.Context, r api.MessagesRequest) (api.Messages, error) {
	if err := n.enter("Messages"); err != nil {
		return api.Messages{}, err
	}
	defer n.mu.Unlock()
	g, err := n.named(r.Group)
	if err != nil {
		return api.Messages{}, err
	}
	const page = 3 // so that few messages make several pages
	out := since(g, r.Since)
	if len(out) > page {
		return api.Messages{Messages: slices.Clone(out[:page]), More: true}, nil
	}
	return api.Messages{Messages: slices.Clone(out)}, nil
}

func since(g *group, cursor uint64) []api.Message {
	i := slices.IndexFunc(g.messages, func(m api.Message) bool { return m.Cursor > cursor })
	if i < 0 {
		return nil
	}
	return g.messages[i:]
}

// Tail streams messages.
func (n *Node) Tail(ctx context.Context, r api.TailRequest, emit func(api.Message) error) error {
	if err := n.Fail["Tail"]; err != nil {
		return err
	}
	return follow(ctx, n, r.Group, func(g *group) []api.Message { return since(g, r.Since) }, emit)
}

// Timeline streams messages and other events.
func (n *Node) Timeline(ctx context.Context, r api.TimelineRequest, emit func(api.Happening) error) error {
	if err := n.Fail["Timeline"]; err != nil {
		return err
	}
	fresh := r.As != "" // the first look says where it begins
	items := func(g *group) []api.Happening {
		var out []api.Happening
		if fresh {
			if _, known := g.cursors[r.As]; !known {
				if g.cursors == nil {
					g.cursors = map[string]uint64{}
				}
				g.cursors[r.As] = uint64(len(g.events))
			}
			r.Since, fresh = max(r.Since, g.cursors[r.As]), false
		}
		for _, e := range g.events[min(r.Since, uint64(len(g.events))):] {
			h := api.Happening{Cursor: e.Cursor, At: e.At}
			switch e.Kind {
			case api.EventChanged:
				if !r.Follow {
					continue
				}
				fallthrough
			case api.EventMessage:
				m := g.messages[slices.IndexFunc(g.messages, func(m api.Message) bool { return m.ID == e.Message })]
				if m.Kind = e.Kind; e.Kind == api.EventChanged {
					m.Cursor, m.Change = e.Cursor, &api.Changed{By: e.User, Name: e.UserName, What: e.Detail}
				}
				h.Message = &m
			default:
				h.Event = &e
			}
			out = append(out, h)
		}
		return out
	}
	if r.Follow {
		return follow(ctx, n, r.Group, items, emit)
	}
	n.mu.Lock()
	g, err := n.named(r.Group)
	if err != nil {
		n.mu.Unlock()
		return err
	}
	all := items(g)
	n.mu.Unlock()
	if r.Last > 0 && len(all) > r.Last {
		all = all[len(all)-r.Last:]
		all[0].More = true
	}
	for _, h := range all {
		if err := emit(h); err != nil {
			return err
		}
	}
	return nil
}

// shown gives a message that a query names: its ID, the beginning of it, "last" or "mine".
func (n *Node) shown(g *group, query string) (*api.Message, error) {
	for i := len(g.messages) - 1; i >= 0; i-- {
		m := &g.messages[i]
		if m.ID == query || query == "last" || query == "mine" && m.Own || len(query) >= api.MinPrefix && strings.HasPrefix(m.ID, query) {
			return m, nil
		}
	}
	return nil, api.Errorf(api.CodeNotFound, "no message is called %q", query)
}

// change changes a message as its author, or whoever may, wants it.
func (n *Node) change(method, query, message, what string, change func(*api.Message) error) (api.Sent, error) {
	if err := n.enter(method); err != nil {
		return api.Sent{}, err
	}
	defer n.mu.Unlock()
	g, err := n.named(query)
	if err != nil {
		return api.Sent{}, err
	}
	m, err := n.shown(g, message)
	if err == nil {
		err = change(m)
	}
	if err != nil {
		return api.Sent{}, err
	}
	cursor := n.event(g, api.Event{Kind: api.EventChanged, Message: m.ID, User: n.Self.User, UserName: n.Self.Name, Detail: what})
	return api.Sent{ID: ID(fmt.Sprint(g.ID, " change ", cursor)), Group: g.ID, State: api.DeliveryQueued}, nil
}

// Message gives a message.
func (n *Node) Message(_ context.Context, r api.MessageRequest) (api.Message, error) {
	if err := n.enter("Message"); err != nil {
		return api.Message{}, err
	}
	defer n.mu.Unlock()
	g, err := n.named(r.Group)
	if err != nil {
		return api.Message{}, err
	}
	m, err := n.shown(g, r.Message)
	if err != nil {
		return api.Message{}, err
	}
	return *m, nil
}

// Edit writes an own message anew.
func (n *Node) Edit(_ context.Context, r api.EditRequest) (api.Sent, error) {
	return n.change("Edit", r.Group, r.Message, "edit", func(m *api.Message) error {
		if !m.Own {
			return api.Errorf(api.CodeNotPermitted, "the message is of somebody else: only its author edits it")
		}
		if !m.Edited {
			m.Versions = []api.MessageVersion{{ID: m.ID, Sent: m.Sent, Text: m.Text}}
		}
		m.Edited, m.Text = true, r.Text
		m.Versions = append(m.Versions, api.MessageVersion{ID: ID(fmt.Sprint(m.ID, " version ", len(m.Versions))), Sent: n.Now(), Text: r.Text})
		return nil
	})
}

// Delete takes a message away.
func (n *Node) Delete(_ context.Context, r api.MessageRequest) (api.Sent, error) {
	return n.change("Delete", r.Group, r.Message, "delete", func(m *api.Message) error {
		m.Text, m.Edited, m.Versions, m.Reactions = "", false, nil, nil
		m.Deleted = &api.Deleted{By: n.Self.User, Name: n.Self.Name, At: n.Now()}
		return nil
	})
}

// React reacts to a message.
func (n *Node) React(_ context.Context, r api.ReactionRequest) (api.Sent, error) {
	return n.change("React", r.Group, r.Message, "reaction", func(m *api.Message) error {
		m.Reactions = append(m.Reactions, api.Reaction{Text: r.Text, Count: 1, Mine: true, Users: []string{n.Self.User}})
		return nil
	})
}

// Unreact takes a reaction back.
func (n *Node) Unreact(_ context.Context, r api.ReactionRequest) (api.Sent, error) {
	return n.change("Unreact", r.Group, r.Message, "delete", func(m *api.Message) error {
		had := len(m.Reactions)
		if m.Reactions = slices.DeleteFunc(m.Reactions, func(o api.Reaction) bool { return o.Text == r.Text }); len(m.Reactions) == had {
			return api.Errorf(api.CodeNotFound, "you have not reacted to this message with %s", r.Text)
		}
		return nil
	})
}

// Envelope accepts the text "good" and refuses anything else as removed.
func (n *Node) Envelope(_ context.Context, r api.EnvelopeRequest) (api.EnvelopeResult, error) {
	if err := n.enter("Envelope"); err != nil {
		return api.EnvelopeResult{}, err
	}
	defer n.mu.Unlock()
	if string(r.Envelope) == "good" {
		return api.EnvelopeResult{Verdict: api.VerdictAccept, Messages: []string{ID("good")}, New: 1}, nil
	}
	return api.EnvelopeResult{Verdict: api.VerdictIgnore, Refusal: api.RefusalRemoved, Detail: "sealed after this device was removed"}, nil
}

// MessageEnvelope gives the text "good".
func (n *Node) MessageEnvelope(_ context.Context, r api.MessageEnvelopeRequest) (api.Envelope, error) {
	return api.Envelope{Message: r.Message, Envelope: []byte("good")}, n.Fail["MessageEnvelope"]
}
