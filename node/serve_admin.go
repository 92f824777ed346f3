package node

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

func parseRole(s string) (wire.Role, error) {
	for r := wire.RoleOwner; r <= wire.RoleReadOnly; r++ {
		if r.String() == s {
			return r, nil
		}
	}
	return 0, api.Errorf(api.CodeInvalid, "there is no role %q: there are owner, admin, member and read-only", s)
}

func orMember(s string) (wire.Role, error) {
	if s == "" {
		return wire.RoleMember, nil
	}
	return parseRole(s)
}

// names are the members' names, by user.
func (s adminRoutes) names(ctx context.Context, id wire.GroupID) (map[wire.UserID]string, error) {
	members, err := s.n.Members(ctx, id)
	out := make(map[wire.UserID]string, len(members))
	for _, m := range members {
		out[m.User] = s.n.people.called(m.User, m.Name)
	}
	return out, APIError(err)
}

func (s adminRoutes) CreateInvite(ctx context.Context, r api.CreateInviteRequest) (api.Invite, error) {
	g, err := s.session(ctx, r.Group)
	if err != nil {
		return api.Invite{}, err
	}
	role, err := orMember(r.Role)
	if err != nil {
		return api.Invite{}, err
	}
	invite, link, short, err := g.createInvite(ctx, inviteTerms{Role: role, Expires: time.Duration(r.Expires), Uses: r.Uses})
	if err != nil {
		return api.Invite{}, APIError(err)
	}
	text := link.Text()
	if short != nil && !r.Whole {
		text = short.Text()
	}
	all, err := s.invites(ctx, g)
	i := slices.IndexFunc(all, func(i api.Invite) bool { return i.ID == invite.String() })
	if err != nil || i < 0 {
		return api.Invite{ID: invite.String(), Link: text}, err
	}
	all[i].Link = text
	return all[i], nil
}

func (s adminRoutes) Invites(ctx context.Context, r api.GroupRequest) (api.Invites, error) {
	g, err := s.session(ctx, r.Group)
	if err != nil {
		return api.Invites{}, err
	}
	all, err := s.invites(ctx, g)
	return api.Invites{Invites: all}, err
}

func (s adminRoutes) invites(ctx context.Context, g *groupSession) ([]api.Invite, error) {
	names, err := s.names(ctx, g.id)
	if err != nil {
		return nil, err
	}
	all, err := g.invites(ctx)
	out := make([]api.Invite, 0, len(all))
	for _, i := range all {
		one := api.Invite{
			ID: i.ID.String(), By: i.By.String(), ByName: names[i.By], Role: i.Role.String(), Created: i.Created, Expires: i.Expires,
			Uses: i.Uses, Used: i.Used, Revoked: textUnlessZero(i.Revoked), Valid: i.Void == nil,
		}
		if i.Void != nil {
			one.Void = strings.TrimPrefix(i.Void.Error(), verdict.ErrNotPermitted.Error()+": ")
		}
		out = append(out, one)
	}
	return out, APIError(err)
}

func (s adminRoutes) RevokeInvite(ctx context.Context, r api.InviteRequest) (api.Change, error) {
	g, err := s.session(ctx, r.Group)
	if err != nil {
		return api.Change{}, err
	}
	all, err := g.invites(ctx)
	if err != nil {
		return api.Change{}, APIError(err)
	}
	candidates := make([]api.Candidate, len(all))
	for i, v := range all {
		candidates[i] = api.Candidate{ID: v.ID.String()}
	}
	text, err := api.Resolve("invite", r.Invite, candidates)
	if err != nil {
		return api.Change{}, orLook(err, "pandanode group invites GROUP")
	}
	invite := all[slices.IndexFunc(candidates, func(c api.Candidate) bool { return c.ID == text })].ID
	if err := s.n.step(ctx, g.id, group.RevokeInvite{Invite: invite}); err != nil {
		return api.Change{}, APIError(err)
	}
	out := s.change(ctx, g.id, api.DeedInviteRevoked, wire.UserID{}, "")
	out.Invite = invite.String()
	return out, nil
}

func (s adminRoutes) Requests(ctx context.Context, r api.GroupRequest) (api.Requests, error) {
	g, err := s.session(ctx, r.Group)
	if err != nil {
		return api.Requests{}, err
	}
	all, err := g.requests(ctx)
	out := api.Requests{Requests: make([]api.Request, 0, len(all))}
	for _, q := range all {
		one := api.Request{
			User: q.User.String(), Device: q.Device.String(), Name: s.n.people.called(q.User, q.Name), Asked: q.Asked, By: q.By.String(),
			State: api.RequestWaiting, Denied: textUnlessZero(q.Denied), Removed: q.Again,
		}
		switch {
		case one.Denied != "":
			one.State = api.RequestDenied
		case q.Lapsed:
			one.State = api.RequestLapsed
		}
		out.Requests = append(out.Requests, one)
	}
	return out, APIError(err)
}

// nobodyElse refuses a name that also a member has, or one that looks like it: whoever asks
// under a member's name is to be named by the ID.
func (s adminRoutes) nobodyElse(ctx context.Context, id wire.GroupID, asks, query string) error {
	members, err := s.n.Members(ctx, id)
	if err != nil {
		return APIError(err)
	}
	for _, m := range members {
		if user := m.User.String(); user != asks && (api.Alike(m.Name, query) || api.Alike(s.n.people.called(m.User, m.Name), query)) {
			e := api.Errorf(api.CodeAmbiguous, "%q is, or looks like, the name of a member too, so the name does not say who asks", query).WithHint("name the request by its ID, once you know that it is the right one: ask for what \"pandanode id\" shows there")
			e.Candidates = []api.Candidate{{ID: asks, Name: query}, {ID: user, Name: m.Name}}
			return e
		}
	}
	return nil
}

// asker finds the user who asks to be let in and whom a text names, with the user's name.
func (s adminRoutes) asker(ctx context.Context, groupText, query string) (id wire.GroupID, user wire.UserID, name string, err error) {
	g, err := s.session(ctx, groupText)
	if err != nil {
		return id, user, "", err
	}
	id = g.id
	all, err := g.requests(ctx)
	if err != nil {
		return id, user, "", APIError(err)
	}
	candidates := make([]api.Candidate, len(all))
	for i, q := range all {
		candidates[i] = api.Candidate{ID: q.User.String(), Name: s.n.people.called(q.User, q.Name)}
	}
	text, err := api.Resolve("request", query, candidates)
	if err == nil && text != query {
		err = s.nobodyElse(ctx, id, text, query)
	}
	if err != nil {
		if user, parsed := wire.ParseUserID(query); parsed == nil {
			return id, user, "", nil // the machine says why not
		}
		return id, user, "", orLook(err, "pandanode group requests GROUP")
	}
	q := all[slices.IndexFunc(candidates, func(c api.Candidate) bool { return c.ID == text })]
	return id, q.User, q.Name, nil
}

func (s adminRoutes) Approve(ctx context.Context, r api.ApproveRequest) (api.Change, error) {
	id, user, name, err := s.asker(ctx, r.Group, r.User)
	if err != nil {
		return api.Change{}, err
	}
	role, err := orMember(r.Role)
	if err != nil {
		return api.Change{}, err
	}
	if err := s.n.step(ctx, id, group.Approve{User: user, Role: role}); err != nil {
		return api.Change{}, APIError(err)
	}
	out := s.change(ctx, id, api.DeedAdded, user, name)
	out.Role = role.String()
	return out, nil
}

func (s adminRoutes) Deny(ctx context.Context, r api.UserRequest) (api.Change, error) {
	id, user, name, err := s.asker(ctx, r.Group, r.User)
	if err != nil {
		return api.Change{}, err
	}
	if err := s.n.step(ctx, id, group.Deny{User: user}); err != nil {
		return api.Change{}, APIError(err)
	}
	return s.change(ctx, id, api.DeedDenied, user, name), nil
}

func (s adminRoutes) SetRole(ctx context.Context, r api.RoleRequest) (api.Change, error) {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return api.Change{}, err
	}
	role, err := parseRole(r.Role)
	if err != nil {
		return api.Change{}, err
	}
	user, err := s.member(ctx, id, r.User)
	if err != nil {
		return api.Change{}, err
	}
	if err := s.n.step(ctx, id, group.SetRole{User: user.User, Role: role}); err != nil {
		return api.Change{}, APIError(err)
	}
	out := s.change(ctx, id, api.DeedRole, user.User, user.Name)
	out.Role = role.String()
	if user.Role != 0 {
		out.Was = user.Role.String()
	}
	return out, nil
}

func (s adminRoutes) Log(ctx context.Context, r api.GroupRequest) (api.Log, error) {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return api.Log{}, err
	}
	all, err := look(ctx, s.n.groups, id, (*group.Machine).History)
	out := api.Log{Operations: make([]api.Operation, 0, len(all))}
	for _, a := range all {
		one := api.Operation{
			Hash: a.Hash.String(), At: a.At, User: a.User.String(), Device: a.Device.String(), Name: s.n.people.called(a.User, a.Name), Kind: a.Type.String(),
			Subject: textUnlessZero(a.Subject), About: textUnlessZero(a.About), Called: s.n.people.called(a.Subject, a.Called), Invite: textUnlessZero(a.Invite), Void: a.Void,
		}
		if a.Role != 0 {
			one.Role = a.Role.String()
		}
		switch a.Why {
		case wire.WhyRole:
			one.Why = "role"
		case wire.WhyInvite:
			one.Why = "invite"
		case wire.WhyOpen:
			one.Why = "open"
		}
		if p := a.Profile; p != nil {
			one.Detail = profileText(p)
		}
		if c := a.Setting; c != nil {
			one.Detail = fmt.Sprintf("%s %q", c.Key, c.Value)
		}
		out.Operations = append(out.Operations, one)
	}
	return out, APIError(err)
}

func (s adminRoutes) Incidents(ctx context.Context, r api.GroupRequest) (api.Incidents, error) {
	g, err := s.session(ctx, r.Group)
	if err != nil {
		return api.Incidents{}, err
	}
	out := api.Incidents{Incidents: []api.Event{}, Refusals: []api.Refused{}}
	events, err := incidentsOf(ctx, s.n.groups, g.id)
	if err != nil {
		return out, APIError(err)
	}
	for _, e := range events {
		out.Incidents = append(out.Incidents, apiEvent(g.id, e))
	}
	for _, r := range g.tally.list() {
		out.Refusals = append(out.Refusals, api.Refused{
			Source: r.Source, Reason: api.Refusal(r.Reason), Count: r.Count, First: time.UnixMilli(int64(r.First)), Last: time.UnixMilli(int64(r.Last)), //nolint:gosec // this device's clock
			From: r.From, Detail: r.Detail,
		})
	}
	return out, nil
}

// profileText describes the change that a register of the profile makes.
func profileText(p *wire.ProfileItem) string {
	switch p.Field {
	case wire.FieldName:
		return fmt.Sprintf("name %q", p.Text)
	case wire.FieldDescription:
		return fmt.Sprintf("description %q", p.Text)
	case wire.FieldTags:
		return "tags " + strings.Join(p.Tags, ", ")
	case wire.FieldPolicy:
		return "policy " + p.Policy.String()
	case wire.FieldMailboxes:
		peers := make([][]byte, len(p.Mailboxes))
		for i, m := range p.Mailboxes {
			peers[i] = m.Peer
		}
		return mailboxText(peers)
	}
	return ""
}

func (s adminRoutes) GroupStatus(ctx context.Context, r api.GroupRequest) (api.GroupStatus, error) {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return api.GroupStatus{}, err
	}
	all, err := s.group(ctx, id)
	if err != nil {
		return api.GroupStatus{}, err
	}
	g, err := s.n.groups.must(id)
	if err != nil {
		return api.GroupStatus{}, APIError(err)
	}
	rep, err := g.report(ctx)
	if err != nil {
		return api.GroupStatus{}, APIError(err)
	}
	out := api.GroupStatus{
		Group: all, Gate: rep.Gate, Adds: rep.Adds, Removes: rep.Removes, HealAt: rep.HealAt, SettleAt: rep.SettleAt, Rejoining: rep.Rejoining,
		Waiting: rep.Waiting, Lacking: rep.Lacking, Requests: rep.Requests, SendKey: hex.EncodeToString(rep.SendKey[:]), Keys: rep.Keys,
		Branches: []api.Branch{}, Devices: []api.GroupDevice{}, Suggest: []api.Suggestion{}, Unsealed: texts(rep.Unsealed), Unread: texts(rep.Missing),
	}
	for _, b := range rep.Branches {
		out.Branches = append(out.Branches, api.Branch{
			Tip: b.Tip.String(), Epoch: b.Number, From: b.From.String(), Length: b.Length, By: textUnlessZero(b.By),
			Chosen: b.Chosen, Here: b.Here, Held: b.Held, Reason: b.Reason, Voters: texts(b.Voters),
		})
	}
	for _, x := range rep.Suggest {
		out.Suggest = append(out.Suggest, api.Suggestion{User: x.User.String(), Silent: x.Silent, Broken: x.Refused})
	}
	for _, d := range rep.Devices {
		out.Devices = append(out.Devices, api.GroupDevice{
			Device: d.Device.String(), User: d.User.String(), Name: s.n.people.called(d.User, d.Name), Self: d.Own, Last: d.Last, Vote: textUnlessZero(d.Vote), Epoch: d.Number,
			VotedAt: d.VotedAt, Chosen: d.Chosen, Refused: d.Refused, Unheld: d.Unheld, Heard: d.Heard, Lacks: d.Lacks, Gaps: d.Gaps,
			Rejoins: d.Rejoins, InTree: d.InTree,
		})
	}
	return out, nil
}

func texts[T fmt.Stringer](ids []T) []string {
	out := make([]string, len(ids))
	for i, id := range ids {
		out[i] = id.String()
	}
	return out
}

func (s adminRoutes) Heal(ctx context.Context, r api.GroupRequest) (api.Healed, error) {
	g, err := s.session(ctx, r.Group)
	if err != nil {
		return api.Healed{}, err
	}
	h, err := g.heal(ctx)
	out := api.Healed{Did: about(g.id, h.Did), Synced: texts(h.Synced), Failed: map[string]string{}, Found: h.Found, Alone: h.Alone}
	for p, why := range h.Failed {
		out.Failed[p.String()] = why
	}
	return out, APIError(err)
}

func (s adminRoutes) Why(ctx context.Context, r api.WhyRequest) (api.Explanation, error) {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return api.Explanation{}, err
	}
	out := api.Explanation{Subject: r.Subject, Kind: api.WhyJoin}
	var e group.Explanation
	if r.Subject == "join" {
		e, err = s.n.explainJoin(ctx, id)
	} else {
		var what wire.Hash
		if out.Kind, what, err = s.messageOrFile(ctx, id, r.Subject); err != nil {
			return api.Explanation{}, err
		}
		out.Subject = what.String()
		g, unknown := s.n.groups.must(id)
		if unknown != nil {
			return api.Explanation{}, APIError(unknown)
		}
		if out.Kind == api.WhyFile {
			e, err = s.n.explainFile(ctx, id, what)
		} else {
			e, err = g.explain(ctx, wire.MessageID(what))
		}
	}
	if twin := s.n.twins.seen().text(); err == nil && twin != "" {
		e.Facts = append(e.Facts, twin)
		e.Next = append(e.Next, twinHint)
	}
	out.State, out.Facts, out.Next = e.State, about(id, e.Facts), about(id, e.Next)
	return out, APIError(err)
}

// messageOrFile finds the message that a text names, or else the file: a file may have any
// name, so that a name does not stand before a message. An ID that is of a file is one of a
// file.
func (s adminRoutes) messageOrFile(ctx context.Context, id wire.GroupID, text string) (api.WhyKind, wire.Hash, error) {
	file, noFile := s.fileIn(ctx, id, text)
	if noFile == nil && file.String() == text {
		return api.WhyFile, file, nil
	}
	message, err := s.anyMessage(ctx, id, text)
	switch code := api.CodeOf(err); {
	case err == nil:
		return api.WhyMessage, wire.Hash(message), nil
	case code != api.CodeNotFound && code != api.CodeInvalid:
		return "", wire.Hash{}, err
	case noFile == nil:
		return api.WhyFile, file, nil
	case api.CodeOf(noFile) == api.CodeAmbiguous:
		return "", wire.Hash{}, noFile
	case code == api.CodeNotFound:
		return "", wire.Hash{}, api.Errorf(api.CodeNotFound, "there is no message and no file %q in the group", text).WithHint("pandanode tail GROUP --ids; pandanode file list GROUP")
	}
	return "", wire.Hash{}, err
}

// about puts a group into texts that name a command for GROUP, so that it can be typed.
func about(id wire.GroupID, texts []string) []string {
	out := make([]string, len(texts))
	for i, t := range texts {
		for _, command := range []string{"pandanode group heal ", "pandanode group status "} { // a name in the text may be GROUP
			t = strings.ReplaceAll(t, command+"GROUP", command+api.Short(id.String()))
		}
		out[i] = t
	}
	return out
}

// anyMessage finds the message that an ID, its beginning or a word names: one that was shown,
// one that cannot be read, or one that is not sealed yet.
func (s adminRoutes) anyMessage(ctx context.Context, id wire.GroupID, query string) (wire.MessageID, error) {
	if _, err := wire.ParseEntryHash(query); err == nil || query == wordLast || query == wordMine {
		return s.resolveMessage(ctx, id, query)
	}
	g, err := s.n.groups.must(id)
	if err != nil {
		return wire.MessageID{}, APIError(err)
	}
	rep, err := g.report(ctx)
	if err != nil {
		return wire.MessageID{}, APIError(err)
	}
	var hidden []api.Candidate
	for _, m := range rep.Missing {
		hidden = append(hidden, api.Candidate{ID: m.String()})
	}
	return s.resolveAmong(ctx, id, query, hidden)
}
