package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/content"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// container gives a message as it is sent. Errors: ErrInvalid if it has too much of something.
func container(m content.Message) (wire.Content, error) {
	_, _ = rand.Read(m.Salt[:]) // it does not fail
	b, err := m.Encode()
	if err != nil {
		return wire.Content{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return wire.Content{MediaType: content.MediaType, Data: b}, nil
}

// textPart gives a text as a part of a message; ErrInvalid if it cannot be sent.
func textPart(text string, markdown bool) (content.Part, error) {
	kind := content.Plain
	if markdown {
		kind = content.Markdown
	}
	if _, err := checkContent(wire.Content{MediaType: "text/plain", Data: []byte(text)}); err != nil {
		return content.Part{}, err
	}
	return content.Text(kind, text), nil
}

// written gives a text that somebody sends. One that is too long for a container goes as it is.
func (s messageRoutes) written(ctx context.Context, id wire.GroupID, r api.SendRequest, text string) (wire.Content, error) {
	if r.Mention && strings.Contains(text, "@") {
		members, err := s.n.Members(ctx, id)
		if err != nil {
			return wire.Content{}, APIError(err)
		}
		names := make([]api.Candidate, len(members))
		for i, m := range members {
			names[i] = api.Candidate{ID: m.User.String(), Name: s.n.people.called(m.User, m.Name)}
		}
		if linked, is := mentioned(text, r.Markdown, names); len(linked) <= content.MaxText {
			text, r.Markdown = linked, is
		}
	}
	var said *content.Part
	if text != "" || len(r.Files) == 0 {
		part, err := textPart(text, r.Markdown)
		if err != nil {
			return wire.Content{}, APIError(err)
		}
		said = &part
	}
	rules, err := s.n.rules(ctx, id)
	if err != nil {
		return wire.Content{}, APIError(err)
	}
	part, err := s.withFiles(said, r.Files, rules)
	if err != nil {
		return wire.Content{}, err
	}
	m := content.Message{Part: part}
	stays, err := rules.expiry(r.Expire)
	if err != nil {
		return wire.Content{}, APIError(err)
	}
	if stays > 0 {
		m.Expires = &content.Expiry{Time: uint32(s.n.clock.now().Add(stays).Unix())} //nolint:gosec // before 2106
	}
	if r.ReplyTo != "" {
		if m.InReplyTo, err = s.resolveMessage(ctx, id, r.ReplyTo); err != nil {
			return wire.Content{}, err
		}
	}
	if r.Thread != "" {
		first, err := s.resolveMessage(ctx, id, r.Thread)
		if err != nil {
			return wire.Content{}, err
		}
		m.Topic = first[:]
	}
	if len(text) > content.MaxText && r.ReplyTo+r.Thread == "" && len(r.Files) == 0 && !r.Markdown && stays == 0 {
		return wire.Content{MediaType: "text/plain", Data: []byte(text)}, nil
	}
	c, err := container(m)
	return c, APIError(err)
}

// say sends a container, and says that it is durable.
func (s messageRoutes) say(ctx context.Context, id wire.GroupID, m content.Message) (api.Sent, error) {
	c, err := container(m)
	if err != nil {
		return api.Sent{}, APIError(err)
	}
	message, err := s.n.Send(ctx, id, c)
	if err != nil {
		return api.Sent{}, APIError(err)
	}
	return api.Sent{ID: message.String(), Group: id.String(), State: api.DeliveryQueued}, nil
}

// named finds a message that was shown, by what a request says.
func (s messageRoutes) named(ctx context.Context, query, message string) (*groupSession, group.Message, error) {
	g, err := s.session(ctx, query)
	if err != nil {
		return nil, group.Message{}, err
	}
	id, err := s.resolveMessage(ctx, g.id, message)
	if err != nil {
		return nil, group.Message{}, err
	}
	m, err := g.message(ctx, id)
	return g, m, APIError(err)
}

// alive refuses to change a message that is none any more, or is itself a change of another.
func alive(m group.Message, what string) error {
	switch {
	case m.Shown.Kind != content.KindMessage:
		return api.Errorf(api.CodeInvalid, "this is not a message but a change of one: you cannot %s it", what)
	case m.Shown.Deleted != nil:
		return api.Errorf(api.CodeConflict, "the message was deleted: you cannot %s it any more", what)
	case m.Shown.Over:
		return api.Errorf(api.CodeConflict, "the message has expired: you cannot %s it any more", what)
	}
	return nil
}

func (s messageRoutes) Message(ctx context.Context, r api.MessageRequest) (api.Message, error) {
	g, m, err := s.named(ctx, r.Group, r.Message)
	if err != nil {
		return api.Message{}, err
	}
	return s.n.apiMessage(ctx, g.id, m), nil
}

func (s messageRoutes) Edit(ctx context.Context, r api.EditRequest) (api.Sent, error) {
	g, m, err := s.named(ctx, r.Group, r.Message)
	if err != nil {
		return api.Sent{}, err
	}
	if m.User != s.n.me.device.User {
		return api.Sent{}, api.Errorf(api.CodeNotPermitted, "the message is of somebody else: only its author edits it")
	}
	if err := alive(m, "edit"); err != nil {
		return api.Sent{}, err
	}
	part, err := textPart(r.Text, r.Markdown)
	if err != nil {
		return api.Sent{}, APIError(err)
	}
	if files := m.Shown.Part.Files(); len(files) > 0 { // its words change, its files stay
		part = content.WithFiles(&part, files)
	}
	return s.say(ctx, g.id, content.Message{Replaces: m.ID, Part: part})
}

func (s messageRoutes) Delete(ctx context.Context, r api.MessageRequest) (api.Sent, error) {
	g, m, err := s.named(ctx, r.Group, r.Message)
	if err != nil {
		return api.Sent{}, err
	}
	if err := alive(m, "delete"); err != nil {
		return api.Sent{}, err
	}
	if m.User != s.n.me.device.User {
		if err := s.mayDelete(ctx, g, m.User); err != nil {
			return api.Sent{}, err
		}
	}
	return s.say(ctx, g.id, content.Message{Replaces: m.ID, Part: content.Null(content.DispositionRender)})
}

// mayDelete says why this device's user may not delete messages of another one now.
func (s messageRoutes) mayDelete(ctx context.Context, g *groupSession, of wire.UserID) error {
	members, err := s.n.Members(ctx, g.id)
	if err != nil {
		return APIError(err)
	}
	mine, need := wire.RoleReadOnly, wire.RoleAdmin
	for _, m := range members {
		switch m.User {
		case s.n.me.device.User:
			mine = m.Role
		case of:
			need = min(need, m.Role)
		}
	}
	if mine > need {
		return api.Errorf(api.CodeNotPermitted, "the message is of somebody else: an owner or admin deletes it, whose role is not below its author's")
	}
	return nil
}

func (s messageRoutes) React(ctx context.Context, r api.ReactionRequest) (api.Sent, error) {
	g, m, err := s.named(ctx, r.Group, r.Message)
	if err != nil {
		return api.Sent{}, err
	}
	if err := alive(m, "react to"); err != nil {
		return api.Sent{}, err
	}
	if !content.IsReaction(r.Text) {
		return api.Sent{}, api.Errorf(api.CodeInvalid, "a reaction is one character or emoji; answer with a text instead").WithHint("pandanode reply GROUP MESSAGE TEXT")
	}
	mine := 0
	for _, reacted := range m.Shown.Reactions {
		for _, u := range reacted.Users {
			if u != s.n.me.device.User {
				continue
			}
			if mine++; reacted.Text == r.Text {
				return api.Sent{}, api.Errorf(api.CodeConflict, "you have reacted with %s already", r.Text)
			}
		}
	}
	if mine >= content.MaxReactions {
		return api.Sent{}, api.Errorf(api.CodeLimited, "you have reacted to this message %d times, which is the limit: take one back", mine)
	}
	return s.say(ctx, g.id, content.Message{InReplyTo: m.ID, Part: content.Reaction(r.Text)})
}

func (s messageRoutes) Unreact(ctx context.Context, r api.ReactionRequest) (api.Sent, error) {
	g, m, err := s.named(ctx, r.Group, r.Message)
	if err != nil {
		return api.Sent{}, err
	}
	var sent api.Sent
	for _, reacted := range m.Shown.Reactions {
		if reacted.Text != r.Text {
			continue
		}
		for _, id := range reacted.By { // more than one if two of this user's devices did
			by, err := g.message(ctx, id)
			if err != nil || by.User != s.n.me.device.User {
				continue
			}
			null := content.Message{Replaces: id, InReplyTo: m.ID, Part: content.Null(content.DispositionReaction)}
			if sent, err = s.say(ctx, g.id, null); err != nil {
				return sent, err
			}
		}
	}
	if sent.ID == "" {
		return sent, api.Errorf(api.CodeNotFound, "you have not reacted to this message with %s", r.Text)
	}
	return sent, nil
}

// Words that name a message without its ID.
const (
	wordLast = "last"
	wordMine = "mine"
)

// resolveMessage finds a message by its ID, the beginning of that, or a word.
func (s routes) resolveMessage(ctx context.Context, id wire.GroupID, query string) (wire.MessageID, error) {
	if message, err := wire.ParseEntryHash(query); err == nil {
		return message, nil
	}
	if query != wordLast && query != wordMine {
		return s.resolveAmong(ctx, id, query, nil)
	}
	var found wire.MessageID
	g, err := s.n.groups.must(id)
	if err == nil {
		err = g.loop.look(ctx, func(m *group.Machine) error {
			for n := 1; ; n *= 16 {
				events, more, err := s.n.groups.journal(m).LastHappened(n, 0, func(group.EventKind) bool { return false })
				if err != nil {
					return err
				}
				for _, e := range events {
					if query == wordLast || e.User == s.n.me.device.User {
						found = e.Message
					}
				}
				if found != (wire.MessageID{}) || !more {
					return nil
				}
			}
		})
	}
	if err == nil && found == (wire.MessageID{}) {
		err = api.Errorf(api.CodeNotFound, "there is no such message in the group yet: %s", query)
	}
	return found, APIError(err)
}

const maxExcerpt = 80 // characters

// excerpt gives the beginning of a text, in one line.
func excerpt(text string) string {
	line := []rune(strings.Join(strings.Fields(text), " "))
	if len(line) > maxExcerpt {
		return string(line[:maxExcerpt]) + "\u2026"
	}
	return string(line)
}

// words gives a part as text alone, with mentions under this reader's names.
func (n *Node) words(ctx context.Context, id wire.GroupID, p content.Part) string {
	if kind, _, _ := strings.Cut(p.ContentType, ";"); p.Cardinality == content.CardinalitySingle && strings.EqualFold(kind, "text/markdown") {
		return api.MarkedText(n.named(ctx, id, spans(string(p.Content))))
	}
	return p.Words()
}

// named puts the names that this reader knows of users into spans.
func (n *Node) named(ctx context.Context, id wire.GroupID, all []api.Span) []api.Span {
	for i := range all {
		if all[i].Kind == api.SpanMention {
			if user, err := wire.ParseUserID(all[i].User); err == nil {
				all[i].Name, all[i].Verified, all[i].Doubt = n.nameOf(ctx, id, user)
			}
		}
		n.named(ctx, id, all[i].Spans)
	}
	return all
}

// groupNames are the names in a group, for those who read its texts.
type groupNames struct {
	own    map[wire.UserID]string
	people *map[wire.UserID]personRow // what was kept of users when they were looked up
	said   *map[wire.UserID]profileRow
	view   *api.Names // of the members, and of users that others could be taken for
}

// doubt says why the name of a user could be taken for another's; empty: for none.
func (g *groupNames) doubt(user wire.UserID, name string) string {
	if g == nil || name == "" {
		return ""
	}
	return g.view.Doubt(api.Candidate{ID: user.String(), Name: name})
}

// namesIn gives the names in a group; nil: they are not known.
func (n *Node) namesIn(ctx context.Context, id wire.GroupID) *groupNames {
	g := n.groups.get(id)
	if g == nil {
		return nil
	}
	names, people, said := g.names.Load(), n.people.all.Load(), n.people.profiles.Load()
	if names != nil && names.people == people && names.said == said {
		return names
	}
	if err := g.loop.look(ctx, func(m *group.Machine) error { // in the loop's goroutine, as notify is
		names = &groupNames{m.Names(), people, said, api.NamesOf(n.people.names()...)}
		for _, member := range m.Members() {
			names.view.Add(api.Candidate{ID: member.User.String(), Name: n.people.called(member.User, member.Name)})
		}
		g.names.Store(names)
		return nil
	}); err != nil {
		return nil
	}
	return names
}

// nameOf is the name of a user in a group, whether it was verified, and why the name could be
// taken for another's; empty: it is not known.
func (n *Node) nameOf(ctx context.Context, id wire.GroupID, user wire.UserID) (name string, verified bool, doubt string) {
	names := n.namesIn(ctx, id)
	if names == nil {
		return "", false, ""
	}
	name = n.people.called(user, names.own[user])
	return name, n.people.get(user).Verified != 0, names.doubt(user, name)
}

func (n *Node) apiMessage(ctx context.Context, id wire.GroupID, m group.Message) api.Message {
	out := api.Message{
		Cursor: m.Cursor, ID: m.ID.String(), Group: id.String(), User: m.User.String(), Device: m.Device.String(),
		Name: n.people.called(m.User, m.Name), Verified: n.people.get(m.User).Verified != 0, Sent: m.Sent, MediaType: m.Content.MediaType, Own: m.Own, HeldBy: m.HeldBy, Readers: m.Readers,
		Earlier: m.Earlier, Replies: m.Replies, Edited: m.Shown.Edited, Fault: m.Fault, Expires: m.Expires, Expired: m.Shown.Over,
	}
	if m.Own {
		out.State = api.Delivery(m.Delivery)
	}
	p := m.Shown.Part
	switch kind, _, _ := strings.Cut(p.ContentType, ";"); {
	case m.Fault != "" || m.Shown.Deleted != nil || m.Shown.Over:
	case p.Cardinality == content.CardinalitySingle && strings.HasPrefix(kind, "text/"):
		out.MediaType, out.Text = kind, string(p.Content)
		if strings.EqualFold(kind, "text/markdown") {
			out.Spans = n.named(ctx, id, spans(out.Text))
		}
	case p.Cardinality == content.CardinalitySingle:
		out.MediaType, out.Data = kind, p.Content
	default:
		out.Text, out.MediaType = p.Said()
		if strings.EqualFold(out.MediaType, "text/markdown") {
			out.Spans = n.named(ctx, id, spans(out.Text))
		}
		out.Files = n.apiFiles(&p)
	}
	if first := m.Shown.Message; m.Content.MediaType == content.MediaType && first != nil {
		draft := content.DraftID(content.UserURI(m.User), content.RoomURI(id), m.Content.Data, first.Salt)
		out.MimiID = hex.EncodeToString(draft[:])
	}
	if m.Shown.Edited {
		for _, v := range m.Shown.Versions {
			out.Versions = append(out.Versions, api.MessageVersion{ID: v.ID.String(), Sent: crdt.HLC(v.HLC).Time(), Text: v.Message.Part.Words()})
		}
	}
	if none := (wire.MessageID{}); m.Shown.Thread != none {
		out.Thread = m.Shown.Thread.String()
	}
	for _, r := range m.Shown.Reactions {
		reaction := api.Reaction{Text: r.Text}
		for _, u := range r.Users {
			if n.people.hides(u) {
				continue
			}
			reaction.Count++
			reaction.Users = append(reaction.Users, u.String())
			reaction.Mine = reaction.Mine || u == n.me.device.User
		}
		if reaction.Count > 0 {
			out.Reactions = append(out.Reactions, reaction)
		}
	}
	for _, u := range m.Shown.Mentions {
		out.MentionsMe = out.MentionsMe || u == n.me.device.User
	}
	if d := m.Deleted; d != nil {
		out.Deleted = &api.Deleted{By: d.User.String(), Name: n.people.called(d.User, d.Name), At: d.Sent}
	}
	if r := m.ReplyTo; r != nil {
		out.ReplyTo = &api.Reference{ID: r.ID.String()}
		if r.Shown != nil {
			out.ReplyTo.User, out.ReplyTo.Name, out.ReplyTo.Excerpt = r.User.String(), n.people.called(r.User, r.Name), excerpt(n.words(ctx, id, r.Shown.Part))
		}
	}
	return out
}
