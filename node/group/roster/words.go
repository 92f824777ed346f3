package roster

import (
	"errors"
	"fmt"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group/authority"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// ErrAsked says that a request is in the log already.
var ErrAsked = errors.New("it is in the log already")

// May says why a member may not make an operation with this roster as its past, by an entry
// with this date; nil: it may. What the operation says has been read into the item.
func (r *Roster) May(by *identity.Device, it *dag.Item, at crdt.HLC) error {
	op := r.s.as(it, authority.Op{Ref: authority.Ref{Seq: it.Seq}, HLC: max(it.HLC, at), Dated: at, User: by.User, Device: by.ID})
	return r.inWords(r.s.by.Try(r.by, op), op)
}

// JudgeInvite says why an invite does not let a device in, served by a member at a date.
func (r *Roster) JudgeInvite(by *identity.Device, in *dag.Invited, d *identity.Device, at crdt.HLC) error {
	return r.May(by, &dag.Item{Body: &dag.Body{
		Op: &wire.Op{Type: wire.OpAdd, Why: wire.WhyInvite, Role: in.Invite.Role}, Target: &dag.Target{Device: d}, Invited: in,
	}}, at)
}

// JudgeGiven says why an invite lets nobody in as of a date, whoever asks.
func (r *Roster) JudgeGiven(in *dag.Invited, at crdt.HLC) error {
	i := invite(in)
	return r.inWords(r.by.Given(i, at), authority.Op{Type: wire.OpInvite, User: in.Signer, Invite: i})
}

// MayLeave says why a user cannot leave.
func (r *Roster) MayLeave(u *User) error {
	if r.Size() > 1 && r.LastOwner(u) {
		return fmt.Errorf("leaving: %w: this is the last owner; make somebody else owner first", verdict.ErrNotPermitted)
	}
	return nil
}

// LastOwner says whether u is the only owner.
func (r *Roster) LastOwner(u *User) bool { return r.by.LastOwner(u.ID) }

// inWords says what a refusal means to people.
func (r *Roster) inWords(why authority.Refusal, op authority.Op) error {
	no := func(err error) error { return fmt.Errorf("%w: %w", verdict.ErrNotPermitted, err) }
	switch why {
	case authority.Permitted:
		return nil
	case authority.NotIn:
		return verdict.ErrOut
	case authority.IsIn:
		return fmt.Errorf("%w: that user is in the group already", verdict.ErrState)
	case authority.IsOut:
		return fmt.Errorf("%w: no member is or has that", verdict.ErrUnknown)
	case authority.TooManyDevices:
		return fmt.Errorf("%w: a user has at most %d devices in a group at once, and %d since it came in; revoke one", verdict.ErrFull, authority.MaxDevices, authority.MaxDevicesIn)
	case authority.FromTheFuture:
		return fmt.Errorf("%w: the change is dated after everything else", verdict.ErrFuture)
	case authority.WasRemoved:
		return no(verdict.ErrWasRemoved)
	case authority.InviteUnheard:
		return no(verdict.ErrInviteUnheard)
	case authority.InviteSigner:
		return no(r.whySigner(op.Invite))
	case authority.InviteRevoked:
		return no(verdict.ErrInviteRevoked)
	case authority.InviteExpired:
		return no(fmt.Errorf("%w on %s", verdict.ErrInviteExpired, dag.Millis(op.Invite.Expires).Format(time.RFC3339)))
	case authority.InviteUsed:
		return no(fmt.Errorf("%w: %d of %d", verdict.ErrInviteUsed, r.by.Invitation(op.Invite.ID).Uses(), op.Invite.Uses))
	case authority.InviteReplayed:
		return no(verdict.ErrInviteReplayed)
	case authority.DoorClosed:
		return fmt.Errorf("%w: the group's policy is %v", verdict.ErrNotPermitted, r.Policy())
	case authority.WasDenied:
		return no(verdict.ErrDenied)
	case authority.HasAsked:
		return ErrAsked
	case authority.AskedJustNow:
		return fmt.Errorf("%w: this user asked less than %v ago", verdict.ErrFull, authority.RequestGap)
	case authority.TooManyRequests:
		return fmt.Errorf("%w: %d requests wait for an admin", verdict.ErrFull, authority.MaxRequests)
	case authority.RoleTooLow, authority.IsSelf, authority.IsLastOwner, authority.NotOwnUser, authority.InviteRole, authority.NotTheFirst, authority.NoOperation:
	}
	return fmt.Errorf("%w: its author may not do that", verdict.ErrNotPermitted)
}

// whySigner says why the signer of an invite may not give it out.
func (r *Roster) whySigner(i *authority.Invite) error {
	signer := r.User(i.Signer)
	switch {
	case signer == nil:
		return fmt.Errorf("%w: it is not in the group", verdict.ErrInviteSigner)
	case signer.Role > wire.RoleAdmin:
		return fmt.Errorf("%w: its role is %v", verdict.ErrInviteSigner, signer.Role)
	}
	return fmt.Errorf("%w: %s may not grant the role of %s", verdict.ErrInviteSigner, signer.Role.Article(), i.Role.Article())
}

// Voidness says why an operation does not count; empty: it does.
func (r *Roster) Voidness(it *dag.Item, names map[wire.UserID]string) string {
	op := r.s.ops[it]
	switch {
	case op == nil:
		return "it is of a newer program"
	case !op.Permitted():
		if role, in := op.AuthorsRole(); in {
			return fmt.Sprintf("its author, %s, could not do that then", role.Article())
		}
		return "its author was no member"
	}
	by, void := r.by.Voided(op)
	cause := r.item(by)
	switch {
	case !r.s.logs.Counts(it):
		return "its author's device wrote several things at once, and no other device took up this one"
	case !void && !r.by.Counts(op):
		return "it would have taken the last owner"
	case !void:
		return ""
	case by == nil && it.Op.Type == wire.OpDeviceAdd && r.Has(it.Log.Device):
		return "its user had too many devices"
	case by == nil && it.Op.Type == wire.OpAdd && r.User(it.Target.Device.User) != nil:
		return "that user was in already"
	case by == nil:
		return "its author had lost the right to do that"
	case EndsOf(cause, it.User, it.Log.Device) && cause.Op.Type == wire.OpLeave:
		return "its author left at the same time"
	case EndsOf(cause, it.User, it.Log.Device):
		return fmt.Sprintf("%s removed its author at the same time", names[cause.User])
	case it.Target != nil && EndsOf(cause, it.Target.Device.User, it.Target.Device.ID):
		return fmt.Sprintf("%s removed that user or device at the same time", names[cause.User])
	case cause.Op.Type == wire.OpRevoke:
		return fmt.Sprintf("%s revoked the invite at the same time", names[cause.User])
	case cause.Op.Type == wire.OpProfile:
		return fmt.Sprintf("%s closed the open door at the same time", names[cause.User])
	case it.Invited != nil:
		return fmt.Sprintf("%s took the right to invite from who gave out the invite", names[cause.User])
	}
	return fmt.Sprintf("%s took the right to do that from its author at the same time", names[cause.User])
}

// EndsOf says whether an operation takes out a user or a device.
func EndsOf(by *dag.Item, user wire.UserID, device wire.DeviceID) bool {
	switch by.Op.Type {
	case wire.OpRemove:
		return *by.Op.User == user
	case wire.OpLeave:
		return by.User == user
	case wire.OpDeviceRevoke:
		return *by.Op.Device == device
	default:
		return false
	}
}
