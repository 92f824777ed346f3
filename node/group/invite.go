package group

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/roster"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// An invite is a word of an owner's or admin's user key, so that any member can serve it
// and all judge it alike, without its signer. Whether an addition that cites an invite
// counts is decided in the addition's own causal past:
//
//   - its signer is an owner or admin there, and gives no more than it has;
//   - it is not revoked there, not used up there, and this claim is not answered there;
//   - the addition's clock is before its end;
//   - the claim is by the invite's own key, for this device and KeyPackage;
//   - who was removed comes in only by an invite given out after the removal.
//
// Concurrent operations are judged by best effort, as they must be: an addition stands if
// it did not know of a revocation, a demotion or other uses. One exception is the roster's
// strong removal: an invite that a removed user gave out concurrently with its removal lets
// nobody in. Otherwise the user could evade the removal through puppets and honest members.

// GiveInvite makes an invite known to the group: signed by the user of this device.
type GiveInvite struct{ Invite wire.Signed }

// RevokeInvite ends an invite: additions that know of it do not stand by that invite.
type RevokeInvite struct{ Invite wire.InviteID }

func (in GiveInvite) op(a member) (*wire.Op, error) {
	u, err := a.self("inviting")
	if err != nil {
		return nil, err
	}
	i, err := dag.ReadInvite(a.group, in.Invite)
	if err != nil {
		return nil, fmt.Errorf("inviting: %w", err)
	}
	switch {
	case i.Signer != u.ID:
		return nil, fmt.Errorf("inviting: %w: it is signed by another user", verdict.ErrForged)
	case a.roster.Invite(i.ID) != nil:
		return nil, fmt.Errorf("inviting: %w: that invite was given out before", verdict.ErrState)
	}
	if err := a.roster.JudgeGiven(i, a.at); err != nil {
		return nil, fmt.Errorf("inviting: %w", err)
	}
	return &wire.Op{Type: wire.OpInvite, Invite: &in.Invite}, nil
}

func (in RevokeInvite) op(a member) (*wire.Op, error) {
	u, err := a.self("revoking an invite")
	if err != nil {
		return nil, err
	}
	s := a.roster.Invite(in.Invite)
	switch {
	case u.Role > wire.RoleAdmin:
		return nil, fmt.Errorf("revoking an invite: %w: only owners and admins may", verdict.ErrNotPermitted)
	case s == nil:
		return nil, fmt.Errorf("revoking an invite: %w: nobody gave out invite %v", verdict.ErrUnknown, in.Invite)
	case s.Revoked != nil:
		return nil, fmt.Errorf("revoking an invite: %w: it is revoked already", verdict.ErrState)
	}
	return &wire.Op{Type: wire.OpRevoke, Revokes: &in.Invite}, nil
}

// Invite is an invite that the group knows of.
type Invite struct {
	ID      wire.InviteID
	By      wire.UserID // who signed it
	Role    wire.Role   // of those it lets in
	Created time.Time
	Expires time.Time // zero: never
	Uses    uint64    // 0: any number
	Used    int
	Revoked wire.UserID // who did; zero: nobody
	Void    error       // why it lets nobody in now; nil: it does
}

// Invites lists the invites that operations gave out or used, oldest first.
func (m *Machine) Invites(now time.Time) []Invite {
	known := map[wire.InviteID]*dag.Invited{}
	for _, op := range m.logs.Ops {
		if op.Invited != nil && op.Facts.Has(dag.IsPermitted) && m.logs.Counts(op) {
			known[op.Invited.ID] = op.Invited
		}
	}
	out := make([]Invite, 0, len(known))
	for id, in := range known {
		s := cmp.Or(m.rosters.now.Invite(id), &roster.Invite{})
		i := Invite{
			ID: id, By: in.Signer, Role: in.Invite.Role, Created: dag.Millis(in.Invite.Created), Uses: in.Invite.Uses, Used: s.Uses,
			Void: m.rosters.now.JudgeGiven(in, m.next(now)),
		}
		if in.Invite.Expires != 0 {
			i.Expires = dag.Millis(in.Invite.Expires)
		}
		if s.Revoked != nil {
			i.Revoked = s.Revoked.User
		}
		if i.Void == nil && i.Uses != 0 && uint64(i.Used) >= i.Uses { //nolint:gosec // a count
			i.Void = verdict.ErrInviteUsed
		}
		out = append(out, i)
	}
	slices.SortFunc(out, func(a, b Invite) int { return cmp.Or(a.Created.Compare(b.Created), bytes.Compare(a.ID[:], b.ID[:])) })
	return out
}

func (in GiveInvite) act(m *Machine, now time.Time, out *Outcome) error {
	return m.decide(now, in, out)
}

func (in RevokeInvite) act(m *Machine, now time.Time, out *Outcome) error {
	return m.decide(now, in, out)
}
