package node

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// found makes a group with a policy.
func (w *world) found(n *Node, policy wire.Policy) wire.GroupID {
	w.Helper()
	id, err := n.CreateGroup(w.within(time.Minute), CreateGroup{Name: "closed", Policy: policy})
	if err != nil {
		w.Fatal(err)
	}
	return id
}

func (w *world) invite(n *Node, id wire.GroupID, c inviteTerms) (wire.InviteID, *wire.Link) {
	w.Helper()
	invite, link, _, err := n.groups.get(id).createInvite(w.within(time.Minute), c)
	if err != nil {
		w.Fatal(err)
	}
	// As people pass it on.
	link, _, err = wire.ParseLink(link.Text())
	if err != nil {
		w.Fatal(err)
	}
	return invite, link
}

// in waits until a node is in a group and caught up.
func (w *world) in(n *Node, id wire.GroupID) {
	w.Helper()
	w.eventually(n, 5*time.Minute, "in", func() bool {
		p, err := n.joinProgress(w.Context(), id)
		return err == nil && p.Stage == stageSynced
	})
}

func (w *world) joinByLink(n *Node, link *wire.Link) wire.GroupID {
	w.Helper()
	id, err := n.joinByLink(w.within(time.Minute), link)
	if err != nil {
		w.Fatal(err)
	}
	w.in(n, id)
	return id
}

// A node that knows nobody joins by a link alone, while the inviter, the only admin, is
// gone; its request survives a restart.
func TestJoinByLinkWithoutTheInviter(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id := w.found(a, wire.PolicyInvite)
		_, first := w.invite(a, id, inviteTerms{Uses: 1})
		if got := w.joinByLink(b, first); got != id {
			w.Fatalf("joined %v, not %v", got, id)
		}
		// The link names both, and only ben will be there.
		_, link := w.invite(a, id, inviteTerms{Expires: 24 * time.Hour})
		if len(link.Peers) != 2 {
			w.Fatalf("the link names %d members, want 2", len(link.Peers))
		}
		w.close(0)
		w.close(1)

		c := w.open(2)
		if _, err := c.joinByLink(w.within(time.Minute), link); err != nil {
			w.Fatal(err)
		}
		g := c.groups.get(id)
		w.eventually(c, time.Minute, "nobody answers", func() bool {
			return strings.Contains(g.joiner.where().Detail, "none can be reached")
		})
		e, err := c.explainJoin(w.Context(), id)
		if err != nil || e.State != string(stageContacting) || !strings.Contains(strings.Join(e.Facts, "\n"), "the invite link names 2 members, of whom 0 are connected") {
			w.Fatalf("%+v, %v", e, err)
		}
		w.close(2)
		b = w.open(1)
		c = w.open(2)
		w.in(c, id)
		w.send(b, id, "without the inviter")
		w.shows(c, id, time.Minute, "without the inviter")
		var row groupRow
		raw, err := c.store.Get([]byte(keyGroups + string(id[:])))
		if err != nil || wire.Unmarshal(raw, &row) != nil || row.Link != nil || len(row.Peers) != 2 {
			w.Fatalf("the secret of the link is still in the store: %+v, %v", row, err)
		}

		// The inviter is back, and all agree on who is in and by what.
		a = w.open(0, 1)
		w.eventually(a, 10*time.Minute, "three members", func() bool {
			m, err := a.Members(w.Context(), id)
			return err == nil && len(m) == 3
		})
		invites, err := a.groups.get(id).invites(w.Context())
		if err != nil || len(invites) != 2 || invites[0].Used != 1 || !errors.Is(invites[0].Void, verdict.ErrInviteUsed) || invites[1].Used != 1 || invites[1].Void != nil {
			w.Fatalf("%+v, %v", invites, err)
		}
	})
}

// A link that is used up, revoked, expired or not a link's own is refused with a reason
// that the joiner sees, and a good one afterwards lets the same node in.
func TestLinksThatLetNobodyIn(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b, c := w.open(0), w.open(1, 0), w.open(2, 0)
		id := w.found(a, wire.PolicyInvite)
		_, once := w.invite(a, id, inviteTerms{Uses: 1})
		w.joinByLink(b, once)

		denied := func(link *wire.Link, says string) {
			t.Helper()
			if _, err := c.joinByLink(w.within(time.Minute), link); err != nil {
				w.Fatal(err)
			}
			w.eventually(c, 5*time.Minute, "denied: "+says, func() bool {
				p, err := c.joinProgress(w.Context(), id)
				return err == nil && p.Denied && strings.Contains(p.Detail, says)
			})
		}
		denied(once, "used up")
		invite, revoked := w.invite(a, id, inviteTerms{})
		if err := a.step(w.within(time.Minute), id, group.RevokeInvite{Invite: invite}); err != nil {
			w.Fatal(err)
		}
		denied(revoked, "revoked")
		e, err := c.explainJoin(w.Context(), id)
		if err != nil || len(e.Next) == 0 || !strings.Contains(e.Next[0], "an invite from an owner or admin") {
			w.Fatalf("%+v, %v", e, err)
		}
		_, short := w.invite(a, id, inviteTerms{Expires: time.Minute})
		time.Sleep(2 * time.Minute) // virtual
		if _, err := c.joinByLink(w.Context(), short); !errors.Is(err, verdict.ErrInviteExpired) || !errors.Is(err, errDenied) {
			w.Fatalf("expired: %v", err)
		}
		if err := b.step(w.Context(), id, group.SetRole{User: a.Device().User, Role: wire.RoleMember}); !errors.Is(err, verdict.ErrNotPermitted) {
			w.Fatalf("a member changes a role: %v", err)
		}
		if _, _, _, err := b.groups.get(id).createInvite(w.Context(), inviteTerms{}); !errors.Is(err, verdict.ErrNotPermitted) {
			w.Fatalf("a member invites: %v", err)
		}
		if _, _, _, err := a.groups.get(id).createInvite(w.Context(), inviteTerms{Expires: -time.Second}); !errors.Is(err, ErrInvalid) {
			w.Fatalf("expired before it was made: %v", err)
		}

		// Links put together from two.
		_, good := w.invite(a, id, inviteTerms{})
		other := w.found(a, wire.PolicyInvite)
		_, foreign := w.invite(a, other, inviteTerms{})
		for name, change := range map[string]func(*wire.Link){
			"another's secret":  func(l *wire.Link) { l.Secret = foreign.Secret },
			"another's invite":  func(l *wire.Link) { l.Invite, l.Secret = foreign.Invite, foreign.Secret },
			"another's genesis": func(l *wire.Link) { l.Genesis = foreign.Genesis },
			"a forged genesis":  func(l *wire.Link) { l.Genesis.Signature = foreign.Genesis.Signature },
		} {
			l := *good
			change(&l)
			if _, err := c.joinByLink(w.Context(), &l); !errors.Is(err, identity.ErrForged) {
				w.Errorf("%s: %v", name, err)
			}
		}
		w.joinByLink(c, good)
		if _, err := c.joinByLink(w.Context(), good); err != nil {
			w.Errorf("joining again: %v", err)
		}
	})
}

// A request comes in at a member, and an admin who never met the joiner approves it.
func TestRequestApprovedByAnotherMembersAdmin(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id := w.found(a, wire.PolicyRequest)
		_, link := w.invite(a, id, inviteTerms{})
		w.joinByLink(b, link)
		c := w.open(2, 1)
		for {
			if _, err := c.directory.lookup(w.within(time.Minute), id); err == nil {
				break
			}
			time.Sleep(time.Second) // virtual: the record is on its way into the DHT
		}
		w.net.Cut(0, 2) // the joiner and the admin never meet
		if err := c.Join(w.within(time.Minute), id); err != nil {
			w.Fatal(err)
		}
		w.eventually(c, 5*time.Minute, "waiting for an admin", func() bool {
			p, err := c.joinProgress(w.Context(), id)
			return err == nil && p.Stage == stageWaiting && strings.Contains(p.Detail, "an admin has to approve")
		})
		var asked []group.Request
		w.eventually(a, 5*time.Minute, "the admin sees the request", func() bool {
			var err error
			asked, err = a.groups.get(id).requests(w.Context())
			return err == nil && len(asked) == 1
		})
		if q := asked[0]; q.User != c.Device().User || q.Name != "device 2" || q.By != b.Device().User {
			w.Fatalf("%+v", q)
		}
		if err := b.step(w.Context(), id, group.Approve{User: asked[0].User, Role: 0}); !errors.Is(err, verdict.ErrNotPermitted) {
			w.Fatalf("a member approves: %v", err)
		}

		// Denied first; then the admin thinks again.
		if err := a.step(w.Context(), id, group.Deny{User: asked[0].User}); err != nil {
			w.Fatal(err)
		}
		w.eventually(c, 5*time.Minute, "denied", func() bool {
			p, err := c.joinProgress(w.Context(), id)
			return err == nil && p.Denied && strings.Contains(p.Detail, "an admin denied the request")
		})
		if err := a.step(w.Context(), id, group.Approve{User: asked[0].User, Role: wire.RoleAdmin}); err != nil {
			w.Fatal(err)
		}
		w.eventually(c, 5*time.Minute, "welcomed", func() bool {
			st, err := c.GroupStatus(w.Context(), id)
			return err == nil && st.State != group.StateNew && st.State != group.StateJoining
		})
		// It catches up with the member that welcomed it, although no log here names it yet.
		w.eventually(c, 5*time.Second, "caught up", func() bool {
			p, err := c.joinProgress(w.Context(), id)
			return err == nil && p.Stage == stageSynced
		})
		members, err := b.Members(w.Context(), id)
		if err != nil || !slices.ContainsFunc(members, func(m group.Member) bool { return m.User == c.Device().User && m.Role == wire.RoleAdmin }) {
			w.Fatalf("%+v, %v", members, err)
		}
		w.send(a, id, "welcome")
		w.shows(c, id, 5*time.Minute, "welcome")
		history, err := look(w.Context(), c.groups, id, (*group.Machine).History)
		if err != nil || !slices.ContainsFunc(history, func(a group.Act) bool { return a.Type == wire.OpDeny && a.Called == "device 2" }) {
			w.Fatalf("%+v, %v", history, err)
		}
		healed, err := c.groups.get(id).heal(w.within(time.Minute))
		if err != nil || len(healed.Synced) == 0 || !slices.Equal(healed.Did, []string{"no commit: the tree of keys equals the roster"}) {
			w.Fatalf("%+v, %v", healed, err)
		}
		rep, err := c.groups.get(id).report(w.Context())
		if err != nil || len(rep.Devices) != 3 || len(rep.Branches) != 1 || !rep.Branches[0].Here || rep.Requests != 0 {
			w.Fatalf("%+v, %v", rep, err)
		}
	})
}

// A user who left comes back by a link, and is on gossip again.
func TestComeBackByLink(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id := w.found(a, wire.PolicyInvite)
		_, link := w.invite(a, id, inviteTerms{})
		w.joinByLink(b, link)
		if _, err := b.leave(w.within(time.Minute), id); err != nil {
			w.Fatal(err)
		}
		w.eventually(b, 5*time.Minute, "out, and off gossip", func() bool {
			st, err := b.GroupStatus(w.Context(), id)
			g := b.groups.get(id)
			g.topics.mu.Lock()
			defer g.topics.mu.Unlock()
			return err == nil && st.State == group.StateOut && len(g.topics.joined) == 0
		})
		w.eventually(a, 5*time.Minute, "alone", func() bool {
			st, err := a.GroupStatus(w.Context(), id)
			return err == nil && st.Members == 1 && st.State == group.StateMember
		})
		w.joinByLink(b, link)
		w.send(a, id, "again")
		w.shows(b, id, time.Minute, "again")
		if len(b.groups.get(id).topics.peers()) == 0 {
			w.Error("not on gossip")
		}
	})
}

// The local API carries all of it, with codes and reasons for people.
func TestAPIOfInvitesAndRequests(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		sa, sb := a.API(), b.API()
		ctx := w.within(time.Hour)
		made, err := sa.CreateGroup(ctx, api.CreateGroupRequest{Name: "tea", Policy: api.PolicyInvite})
		if err != nil || made.Policy != api.PolicyInvite {
			w.Fatal(made, err)
		}
		tea := api.GroupRequest{Group: "tea"}
		invite, err := sa.CreateInvite(ctx, api.CreateInviteRequest{Group: "tea", Role: "read-only", Uses: 3, Expires: api.Duration(time.Hour)})
		if err != nil || !invite.Valid || invite.Role != "read-only" || invite.Uses != 3 || invite.ByName != "device 0" || invite.Expires.Sub(invite.Created) != time.Hour {
			w.Fatalf("%+v, %v", invite, err)
		}
		var stages []api.Stage
		err = sb.Join(ctx, api.JoinRequest{Link: invite.Link, Until: api.StageSynced}, func(u api.JoinUpdate) error {
			stages = append(stages, u.Stage)
			if u.Group != made.ID {
				t.Errorf("joins %s", u.Group)
			}
			return nil
		})
		if err != nil || len(stages) == 0 || stages[len(stages)-1] != api.StageSynced {
			w.Fatal(stages, err)
		}
		all, err := sa.Invites(ctx, tea)
		if err != nil || len(all.Invites) != 1 || all.Invites[0].Used != 1 || all.Invites[0].Link != "" {
			w.Fatalf("%+v, %v", all, err)
		}
		b2 := w.open(2, 0)
		for _, x := range []struct {
			err  error
			code api.Code
			says string
		}{
			{sb.Join(ctx, api.JoinRequest{Link: invite.Link + "x"}, nil), api.CodeInvalid, "copy it whole"},
			{sb.Join(ctx, api.JoinRequest{Link: invite.Link, Group: "tea"}, nil), api.CodeInvalid, "one of the two"},
			{sb.Join(ctx, api.JoinRequest{}, nil), api.CodeInvalid, "one of the two"},
			{second(sb.CreateInvite(ctx, api.CreateInviteRequest{Group: "tea"})), api.CodeNotPermitted, "its role is read-only"},
			{second(sa.CreateInvite(ctx, api.CreateInviteRequest{Group: "tea", Role: "king"})), api.CodeInvalid, "there is no role"},
			{second(sa.RevokeInvite(ctx, api.InviteRequest{Group: "tea", Invite: "abcdefgh"})), api.CodeNotFound, "there is no invite"},
			{second(sb.RevokeInvite(ctx, api.InviteRequest{Group: "tea", Invite: invite.ID})), api.CodeNotPermitted, "only owners and admins"},
			{second(sa.Approve(ctx, api.ApproveRequest{Group: "tea", User: "nobody"})), api.CodeNotFound, "there is no request"},
			{second(sa.Deny(ctx, api.UserRequest{Group: "tea", User: b.Device().User.String()})), api.CodeConflict, "in the group already"},
			{second(sa.SetRole(ctx, api.RoleRequest{Group: "tea", User: "device 1", Role: "king"})), api.CodeInvalid, "there is no role"},
			{second(sa.SetRole(ctx, api.RoleRequest{Group: "tea", User: "device 0", Role: "admin"})), api.CodeNotPermitted, "the last owner"},
			{second(sb.SetRole(ctx, api.RoleRequest{Group: "tea", User: "device 0", Role: "member"})), api.CodeNotPermitted, "only an owner may"},
			{second(sb.Send(ctx, api.SendRequest{Group: "tea", Text: "x"})), api.CodeNotPermitted, "may only read"},
			{b2.API().Join(ctx, api.JoinRequest{Group: made.ID, Until: api.StageSynced}, func(api.JoinUpdate) error { return nil }), api.CodeNotPermitted, "joined by an invite"},
		} {
			if api.CodeOf(x.err) != x.code || x.err == nil || !strings.Contains(x.err.Error(), x.says) {
				t.Errorf("%v: want %s that says %q", x.err, x.code, x.says)
			}
		}
		if _, err := sa.SetRole(ctx, api.RoleRequest{Group: "tea", User: "device 1", Role: "admin"}); err != nil {
			w.Fatal(err)
		}
		if _, err := sa.RevokeInvite(ctx, api.InviteRequest{Group: "tea", Invite: api.Short(invite.ID)}); err != nil {
			w.Fatal(err)
		}
		log, err := sa.Log(ctx, tea)
		if err != nil {
			w.Fatal(err)
		}
		var kinds []string
		for _, o := range log.Operations {
			kinds = append(kinds, o.Kind)
			if o.Void != "" || o.Hash == "" || o.Name == "" {
				t.Errorf("%+v", o)
			}
		}
		if want := []string{"reboot", "profile", "invite", "add", "role", "invite.revoke"}; !slices.Equal(kinds, want) {
			t.Errorf("the log has %v, want %v", kinds, want)
		}
		sent, err := sa.Send(ctx, api.SendRequest{Group: "tea", Text: "hello", Wait: api.DeliveryHeld, Timeout: api.Duration(5 * time.Minute)})
		if err != nil {
			w.Fatal(err)
		}
		for _, x := range []struct {
			s       api.API
			subject string
			state   string
		}{
			{sa, sent.ID, group.WhySent},
			{sa, api.Short(sent.ID), group.WhySent},
			{sb, sent.ID, group.WhyRead},
			{sb, "join", "synced"},
			{sa, log.Operations[0].Hash, group.WhyUnknown},
		} {
			e, err := x.s.Why(ctx, api.WhyRequest{Group: "tea", Subject: x.subject})
			if err != nil || e.State != x.state || len(e.Facts) == 0 {
				t.Errorf("why %s: %+v, %v", x.subject, e, err)
			}
		}
		st, err := sa.GroupStatus(ctx, tea)
		if err != nil || len(st.Devices) != 2 || len(st.Branches) != 1 || st.Authenticator == "" || st.Gate || len(st.Unsealed) != 0 {
			t.Errorf("%+v, %v", st, err)
		}
		h, err := sa.Heal(ctx, tea)
		if err != nil || len(h.Synced) != 1 || len(h.Did) == 0 {
			t.Errorf("%+v, %v", h, err)
		}
	})
}

// A joiner by link crashes at each boundary on its way in: the request, with the invite
// and its secret, is durable from before its machine first asks.
func TestCrashWhileJoiningByLink(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		id := w.found(a, wire.PolicyInvite)
		for i, at := range boundaries {
			victim := i + 1
			var f fuse
			w.crash[victim] = f.pass
			b := w.open(victim)
			_, link := w.invite(a, id, inviteTerms{Uses: 1})
			blown := f.light(at, 1)
			ctx := w.within(time.Minute)
			go func() { _, _ = b.joinByLink(ctx, link) }()
			select {
			case <-blown:
			case <-time.After(time.Minute): // virtual
				w.Fatalf("no crash %s", at)
			}
			w.close(victim)
			f.out()
			b = w.open(victim)
			w.in(b, id)
		}
		w.eventually(a, time.Minute, "all are in", func() bool {
			m, err := a.Members(w.Context(), id)
			return err == nil && len(m) == len(boundaries)+1
		})
	})
}
