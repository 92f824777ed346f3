package node

import (
	"context"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/pandanode/pandanode/discovery"
	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// localAPI is the node as the local API shows it: a thin layer of names and text, an area
// beside the other, behind one door. stop asks Run to end; nil: Shutdown is refused.
func localAPI(n *Node, stop func()) guarded {
	r := routes{n}
	return guarded{callers: n.callers, in: api.Areas{
		DeviceAPI:  deviceRoutes{r, stop},
		GroupAPI:   groupRoutes{r},
		AdminAPI:   adminRoutes{r},
		MailboxAPI: mailboxRoutes{r},
		MessageAPI: messageRoutes{r},
		FileAPI:    fileRoutes{r},
		Contents:   fileRoutes{r},
		ReadingAPI: readingRoutes{r},
		HookAPI:    hookRoutes{r},
		PeopleAPI:  peopleRoutes{r},
		Store:      runningStore{atRest(n), n.log},
		WebAPI:     n.page,
	}}
}

// routes is the part that all areas of the API share: the node, and the resolution of
// names.
type routes struct{ n *Node }

type (
	deviceRoutes struct {
		routes
		stop func()
	}
	groupRoutes   struct{ routes }
	adminRoutes   struct{ routes }
	mailboxRoutes struct{ routes }
	messageRoutes struct{ routes }
	readingRoutes struct{ routes }
)

// resolve finds the group that a text names among those of this node.
func (s routes) resolve(ctx context.Context, query string) (wire.GroupID, error) {
	if id, err := wire.ParseGroupID(query); err == nil {
		return id, nil
	}
	var candidates []api.Candidate
	for _, id := range s.n.groups.ids() {
		name, err := s.groupName(ctx, id)
		if err != nil {
			return wire.GroupID{}, APIError(err)
		}
		candidates = append(candidates, api.Candidate{ID: id.String(), Name: name})
	}
	slices.SortFunc(candidates, func(a, b api.Candidate) int { return strings.Compare(a.ID, b.ID) })
	text, err := api.Resolve("group", query, candidates)
	if api.CodeOf(err) == api.CodeNotFound {
		err = api.AsError(err).Because(ErrNoGroup)
	}
	if err != nil {
		return wire.GroupID{}, orLook(err, "pandanode group list")
	}
	return wire.ParseGroupID(text)
}

// session finds the group that a text names, which has to be here.
func (s routes) session(ctx context.Context, query string) (*groupSession, error) {
	id, err := s.resolve(ctx, query)
	if err != nil {
		return nil, err
	}
	g, err := s.n.groups.must(id)
	return g, APIError(err)
}

// groupName returns the name of a group; empty if it is not known.
func (s routes) groupName(ctx context.Context, id wire.GroupID) (string, error) {
	if g := s.n.groups.get(id); g != nil {
		if name, err := g.called(ctx); name != "" || err != nil {
			return name, err
		}
	}
	if info := s.n.directory.known.Get(id); info != nil {
		return info.Name, nil
	}
	return "", nil
}

// change describes what an admin has changed in a group.
func (s routes) change(ctx context.Context, id wire.GroupID, did api.Deed, user wire.UserID, name string) api.Change {
	called, _ := s.groupName(ctx, id) // the change is made, whatever it is called
	out := api.Change{Did: did, Group: id.String(), GroupName: called, User: textUnlessZero(user), UserName: s.n.people.called(user, name)}
	if out.User != "" {
		out.Verified, out.Doubt = s.n.people.get(user).Verified != 0, s.n.namesIn(ctx, id).doubt(user, out.UserName)
	}
	return out
}

func (s routes) id() api.ID {
	d := s.n.naming.current()
	return api.ID{User: d.User.String(), Device: d.ID.String(), Peer: s.n.host.ID().String(), Name: d.Cert.Name}
}

// groups lists the groups; now: without waiting for those that are being loaded.
func (s routes) groups(ctx context.Context, now bool) (api.Groups, error) {
	out := api.Groups{Groups: []api.Group{}}
	for _, id := range s.n.Groups() {
		if g := s.n.groups.get(id); now && g != nil && !g.loop.opened.Load() {
			one := api.Group{ID: id.String(), State: api.StateLoading, Policy: api.Policy(g.genesis.Policy.String()), Topic: id.Topic()}
			if info := s.n.directory.known.Get(id); info != nil {
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

func (s routes) group(ctx context.Context, id wire.GroupID) (api.Group, error) {
	g := s.n.groups.get(id)
	if g == nil {
		p, err := s.n.joinProgress(ctx, id)
		return api.Group{ID: id.String(), State: api.StateJoining, Missing: joined(string(p.Stage), p.Detail)}, APIError(err)
	}
	var st group.Status
	var members []group.Member
	var cursor uint64
	var active activity
	var settings []wire.Setting
	topic := ""
	if err := g.loop.look(ctx, func(m *group.Machine) error {
		st, members, cursor, settings = m.Status(), m.Members(), m.Journal().Cursor(), m.Journal().Settings()
		if topics := m.Transport().Topics(); len(topics) > 0 {
			topic = topics[0]
		}
		var err error
		active, err = g.activity(s.n.groups.journal(m))
		return err
	}); err != nil {
		return api.Group{}, APIError(err)
	}
	kept, err := g.local()
	if err != nil {
		return api.Group{}, APIError(err)
	}
	publication, _ := s.n.directory.publisher.Status(id)
	out := api.Group{
		ID: id.String(), Policy: api.Policy(g.genesis.Policy.String()), Created: time.UnixMilli(int64(g.genesis.Created)), //nolint:gosec // checked
		State: apiState(st.State), Missing: g.missing(st), KnownAsOf: g.knownAsOf(), Leaving: st.Leaving, Left: st.Left, Active: active.Last, Members: st.Members, Epoch: st.Epoch, EpochID: st.Position.String(),
		Authenticator: hex.EncodeToString(st.Authenticator), TreeHash: hex.EncodeToString(st.TreeHash), Topic: topic, Private: g.genesis.Private,
		Published: publication.State == discovery.Published, TopicPeers: len(g.topics.peers()),
		Outbox: st.Outbox, Gaps: st.Gaps, Parked: st.Parked, Entries: st.Entries, Cursor: cursor,
		Muted: kept.Muted, Pinned: kept.Pinned, Read: active.Mark, Unread: active.Unread, Unseen: min(active.Unread, maxUnseen), Mentions: active.Mentions,
	}
	for _, m := range members {
		if m.User == s.n.me.device.User {
			out.Role = m.Role.String()
		}
	}
	profile := st.Profile
	if info := s.n.directory.known.Get(id); info != nil && len(profile) == 0 { // a joiner's
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
	for _, c := range settings {
		if out.Settings == nil {
			out.Settings = map[string]string{}
		}
		out.Settings[c.Key] = c.Value
	}
	if ended := g.joiner.hasEnded(); ended != "" && st.State == group.StateNew {
		out.State, out.Missing = api.StateRefused, ended
	}
	if out.State == api.StateJoining {
		p := g.joiner.where()
		out.Missing = joined(string(p.Stage), p.Detail)
	}
	if st.State == group.StateMember {
		if sure, err := g.joiner.sure(ctx, st); err == nil && !sure {
			out.Missing = unsure
		}
	}
	return out, nil
}

func apiState(s group.State) api.GroupState {
	if s == group.StateNew {
		return api.StateJoining
	}
	return api.GroupState(s)
}

// member finds the member that a text names.
func (s routes) member(ctx context.Context, id wire.GroupID, query string) (group.Member, error) {
	members, err := s.n.Members(ctx, id)
	if err != nil {
		return group.Member{}, APIError(err)
	}
	var candidates []api.Candidate
	for i, m := range members {
		own := api.Unmarked(m.Name)
		members[i].Name = s.n.people.called(m.User, own)
		for _, name := range slices.Compact([]string{members[i].Name, own}) {
			candidates = append(candidates, api.Candidate{ID: m.User.String(), Name: name})
		}
	}
	text, err := api.Resolve("user", query, candidates)
	if err != nil {
		if user, parsed := wire.ParseUserID(query); parsed == nil {
			return group.Member{User: user}, nil // the machine says why not
		}
		return group.Member{}, orLook(err, "pandanode group members GROUP")
	}
	return members[slices.IndexFunc(members, func(m group.Member) bool { return m.User.String() == text })], nil
}

// resolveAmong finds the message that a text names, among those shown and these.
func (s routes) resolveAmong(ctx context.Context, id wire.GroupID, query string, candidates []api.Candidate) (wire.MessageID, error) {
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
