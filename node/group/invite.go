package group

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// An invite is a word of an owner's or admin's user key, so that any member can
// serve it and all judge it alike, without its signer. What an addition that cites
// one is worth is decided in the addition's own causal past:
//
//   - its signer is an owner or admin there, and gives no more than it has;
//   - it is not revoked there, not used up there, and this claim is not answered there;
//   - the addition's clock is before its end;
//   - the claim is by the invite's own key, for this device and KeyPackage;
//   - who was removed comes in only by an invite given out after the removal.
//
// What is concurrent is best effort, as it must be: an addition stands that did not
// know of a revocation, a demotion or other uses. One exception is the roster's strong
// removal: what a removed user gave out concurrently with its removal lets nobody in,
// or it would outrun its removal through puppets and honest members.

// inviteState is what a set of operations makes of one invite.
type inviteState struct {
	issued  *item               // that gave it out; nil: no operation did
	revoked *item               // that revoked it
	uses    map[wire.Hash]*item // the claims that let somebody in
}

// inviteOf gives the state of an invite, made if there is none.
func (r *roster) inviteOf(id wire.InviteID) *inviteState {
	s := r.invites[id]
	if s == nil {
		s = &inviteState{uses: map[wire.Hash]*item{}}
		r.invites[id] = s
	}
	return s
}

// judgeInvite says why an invite does not let a device in, by an addition with this
// clock, in whose past the roster is r; nil: it does.
func (r *roster) judgeInvite(in *invited, d *identity.Device, at crdt.HLC) error {
	if err := r.judgeGiven(in, at); err != nil {
		return err
	}
	s := r.invites[in.id]
	switch {
	case s != nil && s.uses[in.claim] != nil:
		return fmt.Errorf("%w: %w", ErrNotPermitted, ErrInviteReplayed)
	case s != nil && in.invite.Uses != 0 && uint64(len(s.uses)) >= in.invite.Uses:
		return fmt.Errorf("%w: %w: %d of %d", ErrNotPermitted, ErrInviteUsed, len(s.uses), in.invite.Uses)
	}
	for _, out := range []*item{r.gone[d.User], r.revoked[d.ID]} {
		if out == nil || out.op.Type == wire.OpLeave {
			continue
		}
		if s == nil || s.issued == nil {
			// It may have been given out afterwards: others may know.
			return fmt.Errorf("%w: %w: %w", ErrNotPermitted, ErrWasRemoved, ErrInviteUnheard)
		}
		if !r.inPast(out, s.issued) {
			return fmt.Errorf("%w: %w", ErrNotPermitted, ErrWasRemoved)
		}
	}
	return nil
}

// judgeGiven says why an invite lets nobody in.
func (r *roster) judgeGiven(in *invited, at crdt.HLC) error {
	signer, s := r.users[in.signer], r.invites[in.id]
	switch {
	case signer == nil:
		return fmt.Errorf("%w: %w: it is not in the group", ErrNotPermitted, ErrInviteSigner)
	case signer.role > wire.RoleAdmin:
		return fmt.Errorf("%w: %w: its role is %v", ErrNotPermitted, ErrInviteSigner, signer.role)
	case in.invite.Role < signer.role:
		return fmt.Errorf("%w: %w: %s makes nobody %s", ErrNotPermitted, ErrInviteSigner, signer.role.Article(), in.invite.Role.Article())
	case s != nil && s.revoked != nil:
		return fmt.Errorf("%w: %w", ErrNotPermitted, ErrInviteRevoked)
	case in.invite.Expires != 0 && uint64(at.Time().UnixMilli()) >= in.invite.Expires: //nolint:gosec // an HLC is after 1970
		return fmt.Errorf("%w: %w on %s", ErrNotPermitted, ErrInviteExpired, millis(in.invite.Expires).Format(time.RFC3339))
	}
	return nil
}

// millis is a time in milliseconds since 1970, in UTC.
func millis(ms uint64) time.Time {
	return crdt.HLC(min(ms, 1<<48-1) << 16).Time()
}

// outruns says whether an addition came in by an invite that its signer gave out
// without x, the signer's removal, having known of it.
func (s resolver) outruns(add, x *item, ops []*item) bool {
	if add.op.Type != wire.OpAdd || add.invited == nil || x.op.Type != wire.OpRemove || *x.op.User != add.invited.signer {
		return false
	}
	return !slices.ContainsFunc(ops, func(op *item) bool {
		return op.op.Type == wire.OpInvite && op.facts.has(isPermitted) && op.invited.id == add.invited.id && s.inPast(op, x)
	})
}

// GiveInvite makes an invite known to the group: signed by the user of this device.
type GiveInvite struct{ Invite wire.Signed }

// RevokeInvite ends an invite: additions that know of it do not stand by that invite.
type RevokeInvite struct{ Invite wire.InviteID }

func (in GiveInvite) op(a member) (*wire.Op, error) {
	u, err := a.self("inviting")
	if err != nil {
		return nil, err
	}
	i, err := readInvite(a.group, in.Invite)
	if err != nil {
		return nil, fmt.Errorf("inviting: %w", err)
	}
	switch {
	case i.signer != u.id:
		return nil, fmt.Errorf("inviting: %w: it is signed by another user", ErrForged)
	case a.roster.invites[i.id] != nil:
		return nil, fmt.Errorf("inviting: %w: that invite was given out before", ErrState)
	}
	if err := a.roster.judgeGiven(i, a.at); err != nil {
		return nil, fmt.Errorf("inviting: %w", err)
	}
	return &wire.Op{Type: wire.OpInvite, Invite: &in.Invite}, nil
}

func (in RevokeInvite) op(a member) (*wire.Op, error) {
	u, err := a.self("revoking an invite")
	if err != nil {
		return nil, err
	}
	s := a.roster.invites[in.Invite]
	switch {
	case u.role > wire.RoleAdmin:
		return nil, fmt.Errorf("revoking an invite: %w: only owners and admins may", ErrNotPermitted)
	case s == nil:
		return nil, fmt.Errorf("revoking an invite: %w: nobody gave out invite %v", ErrUnknown, in.Invite)
	case s.revoked != nil:
		return nil, fmt.Errorf("revoking an invite: %w: it is revoked already", ErrState)
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
	known := map[wire.InviteID]*invited{}
	for _, op := range m.logs.ops {
		if op.invited != nil && op.facts.has(isPermitted) {
			known[op.invited.id] = op.invited
		}
	}
	out := make([]Invite, 0, len(known))
	for id, in := range known {
		s := cmp.Or(m.roster.invites[id], &inviteState{})
		i := Invite{
			ID: id, By: in.signer, Role: in.invite.Role, Created: millis(in.invite.Created), Uses: in.invite.Uses, Used: len(s.uses),
			Void: m.roster.judgeGiven(in, m.next(now)),
		}
		if in.invite.Expires != 0 {
			i.Expires = millis(in.invite.Expires)
		}
		if s.revoked != nil {
			i.Revoked = s.revoked.user
		}
		if i.Void == nil && i.Uses != 0 && uint64(i.Used) >= i.Uses { //nolint:gosec // a count
			i.Void = ErrInviteUsed
		}
		out = append(out, i)
	}
	slices.SortFunc(out, func(a, b Invite) int { return cmp.Or(a.Created.Compare(b.Created), bytes.Compare(a.ID[:], b.ID[:])) })
	return out
}

// sortedKeys lists the keys of a map of identifiers in ascending order.
func sortedKeys[K ~[32]byte, V any](m map[K]V) []K {
	return slices.SortedFunc(maps.Keys(m), func(a, b K) int { return bytes.Compare(a[:], b[:]) })
}

// issued says whether the operation that gave an invite out is here, with its past.
func (l *logs) issued(id wire.InviteID) bool {
	return slices.ContainsFunc(l.ops, func(op *item) bool {
		return op.op.Type == wire.OpInvite && op.invited != nil && op.invited.id == id
	})
}
