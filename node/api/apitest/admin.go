package apitest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

// Link is the only invite link that the fake knows.
const Link = "pandanode:invite/AAAA"

// AddRequest adds a user who asks to be let into a group.
func (n *Node) AddRequest(groupID, name string) api.Request {
	n.mu.Lock()
	defer n.mu.Unlock()
	g := n.group(groupID)
	r := api.Request{User: ID("user " + name), Device: ID("device " + name), Name: name, Asked: n.Now(), By: n.Self.User, State: api.RequestWaiting}
	g.requests = append(g.requests, r)
	n.operate(g, api.Operation{Kind: "request", Subject: r.User, Called: name})
	n.event(g, api.Event{Kind: api.EventJoinRequested, User: r.User, Detail: name})
	return r
}

func (n *Node) operate(g *group, o api.Operation) {
	o.Hash, o.At, o.User, o.Device, o.Name = ID(fmt.Sprint("operation ", len(g.log))), n.Now(), n.Self.User, n.Self.Device, n.Self.Name
	g.log = append(g.log, o)
}

// in runs f with the group that a query names.
func (n *Node) in(method, query string, f func(g *group) error) error {
	if err := n.enter(method); err != nil {
		return err
	}
	defer n.mu.Unlock()
	g, err := n.named(query)
	if err != nil {
		return err
	}
	return f(g)
}

func orMember(role string) string {
	if role == "" {
		return "member"
	}
	return role
}

// CreateInvite gives out an invite.
func (n *Node) CreateInvite(_ context.Context, r api.CreateInviteRequest) (out api.Invite, err error) {
	err = n.in("CreateInvite", r.Group, func(g *group) error {
		out = api.Invite{
			ID: ID(fmt.Sprint("invite ", len(g.invites))), By: n.Self.User, ByName: n.Self.Name, Role: orMember(r.Role), Created: n.Now(), Uses: r.Uses, Valid: true,
		}
		if r.Expires > 0 {
			out.Expires = out.Created.Add(time.Duration(r.Expires))
		}
		g.invites = append(g.invites, out)
		n.operate(g, api.Operation{Kind: "invite", Invite: out.ID})
		out.Link = Link
		return nil
	})
	return out, err
}

// Invites lists the invites.
func (n *Node) Invites(_ context.Context, r api.GroupRequest) (out api.Invites, err error) {
	err = n.in("Invites", r.Group, func(g *group) error { out.Invites = slices.Clone(g.invites); return nil })
	return out, err
}

// did describes what an admin has changed.
func (g *group) did(what api.Deed, user, name string) api.Change {
	return api.Change{Did: what, Group: g.ID, GroupName: g.Name, User: user, UserName: name}
}

// RevokeInvite marks an invite.
func (n *Node) RevokeInvite(_ context.Context, r api.InviteRequest) (out api.Change, err error) {
	err = n.in("RevokeInvite", r.Group, func(g *group) error {
		all := make([]api.Candidate, len(g.invites))
		for i, v := range g.invites {
			all[i] = api.Candidate{ID: v.ID}
		}
		id, err := api.Resolve("invite", r.Invite, all)
		if err != nil {
			return err
		}
		for i := range g.invites {
			if g.invites[i].ID == id {
				g.invites[i].Valid, g.invites[i].Void, g.invites[i].Revoked = false, "the invite was revoked", n.Self.User
			}
		}
		n.operate(g, api.Operation{Kind: "invite.revoke", Invite: id})
		out = g.did(api.DeedInviteRevoked, "", "")
		out.Invite = id
		return nil
	})
	return out, err
}

// Requests lists the users that AddRequest added.
func (n *Node) Requests(_ context.Context, r api.GroupRequest) (out api.Requests, err error) {
	err = n.in("Requests", r.Group, func(g *group) error { out.Requests = slices.Clone(g.requests); return nil })
	return out, err
}

// asks finds a request.
func (g *group) asks(query string) (*api.Request, error) {
	all := make([]api.Candidate, len(g.requests))
	for i, q := range g.requests {
		all[i] = api.Candidate{ID: q.User, Name: q.Name}
	}
	id, err := api.Resolve("request", query, all)
	if err != nil {
		return nil, err
	}
	return &g.requests[slices.IndexFunc(g.requests, func(q api.Request) bool { return q.User == id })], nil
}

// Approve makes a user who asked a member.
func (n *Node) Approve(_ context.Context, r api.ApproveRequest) (out api.Change, err error) {
	err = n.in("Approve", r.Group, func(g *group) error {
		q, err := g.asks(r.User)
		if err != nil {
			return err
		}
		m := api.Member{User: q.User, Name: q.Name, Role: orMember(r.Role), Devices: []string{q.Device}, Since: n.Now(), InTree: true}
		g.members = append(g.members, m)
		g.Members = len(g.members)
		n.operate(g, api.Operation{Kind: "add", Subject: m.User, Called: m.Name, Role: m.Role, Why: "role"})
		g.requests = slices.DeleteFunc(g.requests, func(x api.Request) bool { return x.User == m.User })
		n.event(g, api.Event{Kind: api.EventMemberAdded, User: m.User, UserName: m.Name, By: n.Self.User, ByName: n.Self.Name})
		out = g.did(api.DeedAdded, m.User, m.Name)
		out.Role = m.Role
		return nil
	})
	return out, err
}

// Deny marks a request.
func (n *Node) Deny(_ context.Context, r api.UserRequest) (out api.Change, err error) {
	err = n.in("Deny", r.Group, func(g *group) error {
		q, err := g.asks(r.User)
		if err != nil {
			return err
		}
		q.State, q.Denied = api.RequestDenied, n.Self.User
		n.operate(g, api.Operation{Kind: "deny", Subject: q.User, Called: q.Name})
		out = g.did(api.DeedDenied, q.User, q.Name)
		return nil
	})
	return out, err
}

// SetRole changes a role.
func (n *Node) SetRole(_ context.Context, r api.RoleRequest) (out api.Change, err error) {
	err = n.in("SetRole", r.Group, func(g *group) error {
		m, err := g.member(r.User)
		if err != nil {
			return err
		}
		out = g.did(api.DeedRole, m.User, m.Name)
		out.Role, out.Was = r.Role, m.Role
		m.Role = r.Role
		n.operate(g, api.Operation{Kind: "role", Subject: m.User, Called: m.Name, Role: r.Role})
		n.event(g, api.Event{Kind: api.EventRole, User: m.User, UserName: m.Name, By: n.Self.User, ByName: n.Self.Name, Detail: r.Role})
		return nil
	})
	return out, err
}

// member finds a member.
func (g *group) member(query string) (*api.Member, error) {
	all := make([]api.Candidate, len(g.members))
	for i, m := range g.members {
		all[i] = api.Candidate{ID: m.User, Name: m.Name}
	}
	id, err := api.Resolve("user", query, all)
	if err != nil {
		return nil, err
	}
	return &g.members[slices.IndexFunc(g.members, func(m api.Member) bool { return m.User == id })], nil
}

// SetProfile changes the profile.
func (n *Node) SetProfile(_ context.Context, r api.ProfileRequest) (out api.Group, err error) {
	err = n.in("SetProfile", r.Group, func(g *group) error {
		set := func(detail string) {
			n.operate(g, api.Operation{Kind: "profile", Detail: detail})
			n.event(g, api.Event{Kind: api.EventProfile, User: n.Self.User, UserName: n.Self.Name, By: n.Self.User, ByName: n.Self.Name, Detail: detail})
		}
		if r.Name != nil {
			g.Name = *r.Name
			set(fmt.Sprintf("name %q", g.Name))
		}
		if r.Description != nil {
			g.Description = *r.Description
			set(fmt.Sprintf("description %q", g.Description))
		}
		if r.Tags != nil {
			g.Tags = *r.Tags
			set("tags " + strings.Join(g.Tags, ", "))
		}
		out = g.Group
		return nil
	})
	return out, err
}

// Set sets a setting.
func (n *Node) Set(_ context.Context, r api.SettingRequest) (out api.Group, err error) {
	err = n.in("Set", r.Group, func(g *group) error {
		g.Settings = maps.Clone(g.Settings)
		if g.Settings == nil {
			g.Settings = map[string]string{}
		}
		if g.Settings[r.Key] = r.Value; r.Value == "" {
			delete(g.Settings, r.Key)
		}
		detail := fmt.Sprintf("%s %q", r.Key, r.Value)
		n.operate(g, api.Operation{Kind: "setting", Detail: detail})
		n.event(g, api.Event{Kind: api.EventSetting, User: n.Self.User, UserName: n.Self.Name, By: n.Self.User, ByName: n.Self.Name, Detail: detail})
		out = g.Group
		return nil
	})
	return out, err
}

// MarkSeen is Read.
func (n *Node) MarkSeen(ctx context.Context, r api.SeenRequest) (out api.Empty, err error) {
	_, err = n.Read(ctx, api.ReadRequest{Group: r.Group, Cursor: r.Cursor})
	return out, err
}

// Log lists the operations that were made through the fake.
func (n *Node) Log(_ context.Context, r api.GroupRequest) (out api.Log, err error) {
	err = n.in("Log", r.Group, func(g *group) error { out.Operations = slices.Clone(g.log); return nil })
	return out, err
}

// Incidents gives Seen.
func (n *Node) Incidents(_ context.Context, r api.GroupRequest) (out api.Incidents, err error) {
	err = n.in("Incidents", r.Group, func(*group) error { out = n.Seen; return nil })
	return out, err
}

// GroupStatus gives Report for a group.
func (n *Node) GroupStatus(_ context.Context, r api.GroupRequest) (out api.GroupStatus, err error) {
	err = n.in("GroupStatus", r.Group, func(g *group) error { out = n.Report; out.Group = g.Group; return nil })
	return out, err
}

// Reboot does nothing but count.
func (n *Node) Reboot(_ context.Context, r api.GroupRequest) (out api.Empty, err error) {
	return out, n.in("Reboot", r.Group, func(*group) error { return nil })
}

// Heal gives Healed.
func (n *Node) Heal(_ context.Context, r api.GroupRequest) (out api.Healed, err error) {
	err = n.in("Heal", r.Group, func(*group) error { out = n.Healed; return nil })
	return out, err
}

// Why gives Reason.
func (n *Node) Why(_ context.Context, r api.WhyRequest) (out api.Explanation, err error) {
	err = n.in("Why", r.Group, func(*group) error {
		if out = n.Reason; r.Subject == string(api.WhyJoin) {
			out.Kind = api.WhyJoin
		}
		out.Subject = r.Subject
		return nil
	})
	return out, err
}
