package roster

import (
	"fmt"
	"slices"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// Invite is the state of one invite by a set of operations.
type Invite struct {
	issued  *dag.Item               // that gave it out; nil: no operation did
	Revoked *dag.Item               // that revoked it
	Uses    map[wire.Hash]*dag.Item // the claims that let somebody in
}

// inviteOf gives the state of an invite, made if there is none.
func (r *Roster) inviteOf(id wire.InviteID) *Invite {
	s := r.Invites[id]
	if s == nil {
		s = &Invite{Uses: map[wire.Hash]*dag.Item{}}
		r.Invites[id] = s
	}
	return s
}

// JudgeGiven says why an invite lets nobody in.
func (r *Roster) JudgeGiven(in *dag.Invited, at crdt.HLC) error {
	signer, s := r.Users[in.Signer], r.Invites[in.ID]
	switch {
	case signer == nil:
		return fmt.Errorf("%w: %w: it is not in the group", verdict.ErrNotPermitted, verdict.ErrInviteSigner)
	case signer.Role > wire.RoleAdmin:
		return fmt.Errorf("%w: %w: its role is %v", verdict.ErrNotPermitted, verdict.ErrInviteSigner, signer.Role)
	case in.Invite.Role < signer.Role:
		return fmt.Errorf("%w: %w: %s may not grant the role of %s", verdict.ErrNotPermitted, verdict.ErrInviteSigner, signer.Role.Article(), in.Invite.Role.Article())
	case s != nil && s.Revoked != nil:
		return fmt.Errorf("%w: %w", verdict.ErrNotPermitted, verdict.ErrInviteRevoked)
	case in.Invite.Expires != 0 && uint64(at.Time().UnixMilli()) >= in.Invite.Expires: //nolint:gosec // an HLC is after 1970
		return fmt.Errorf("%w: %w on %s", verdict.ErrNotPermitted, verdict.ErrInviteExpired, dag.Millis(in.Invite.Expires).Format(time.RFC3339))
	}
	return nil
}

// JudgeInvite says why an invite does not let a device in, by an addition with this
// clock, in whose past the roster is r; nil: it does.
func (r *Roster) JudgeInvite(in *dag.Invited, d *identity.Device, at crdt.HLC) error {
	if err := r.JudgeGiven(in, at); err != nil {
		return err
	}
	s := r.Invites[in.ID]
	switch {
	case s != nil && s.Uses[in.Claim] != nil:
		return fmt.Errorf("%w: %w", verdict.ErrNotPermitted, verdict.ErrInviteReplayed)
	case s != nil && in.Invite.Uses != 0 && uint64(len(s.Uses)) >= in.Invite.Uses:
		return fmt.Errorf("%w: %w: %d of %d", verdict.ErrNotPermitted, verdict.ErrInviteUsed, len(s.Uses), in.Invite.Uses)
	}
	for _, out := range []*dag.Item{r.Gone[d.User], r.Revoked[d.ID]} {
		if out == nil || out.Op.Type == wire.OpLeave {
			continue
		}
		if s == nil || s.issued == nil {
			// It may have been given out afterwards: others may know.
			return fmt.Errorf("%w: %w: %w", verdict.ErrNotPermitted, verdict.ErrWasRemoved, verdict.ErrInviteUnheard)
		}
		if !r.inPast(out, s.issued) {
			return fmt.Errorf("%w: %w", verdict.ErrNotPermitted, verdict.ErrWasRemoved)
		}
	}
	return nil
}

// outruns says whether an addition came in by an invite that its signer gave out
// without x, the signer's removal, having known of it.
func (s Resolver) outruns(add, x *dag.Item, ops []*dag.Item) bool {
	if add.Op.Type != wire.OpAdd || add.Invited == nil || x.Op.Type != wire.OpRemove || *x.Op.User != add.Invited.Signer {
		return false
	}
	return !slices.ContainsFunc(ops, func(op *dag.Item) bool {
		return op.Op.Type == wire.OpInvite && op.Facts.Has(dag.IsPermitted) && op.Invited.ID == add.Invited.ID && s.InPast(op, x)
	})
}
