package verdict

import (
	"errors"
	"fmt"

	"github.com/pandanode/pandanode/node/wire"
)

// One sentinel per decision that a caller takes. They come wrapped with the operation that
// failed.
var (
	// ErrNotMember: this group does not know the author or asker.
	ErrNotMember = errors.New("not a member of the group")
	// ErrNotPermitted: a member asked for something its role does not allow.
	ErrNotPermitted = errors.New("not permitted")
	// ErrOut: this device is not in the group, or not any more.
	ErrOut = errors.New("this device is not in the group")
	// ErrDiscounted: this device floods, as its entries show, and nobody counts what it writes.
	ErrDiscounted = errors.New("members count nothing that this device writes any more: it went on from old copies of its store too often, or somebody else has its keys")
	// ErrRemoved: sealed for members of an epoch from which this device was removed.
	ErrRemoved = errors.New("this device was removed before that message was sealed")
	// ErrNoEpoch: sealed under an epoch whose keys are not here, not yet or not any more.
	ErrNoEpoch = errors.New("no keys for that epoch here")
	// ErrForged: a signature, hash or commitment does not hold.
	ErrForged = errors.New("forged")
	// ErrForeign: it belongs to another group.
	ErrForeign = errors.New("belongs to another group")
	// ErrEquivocation: a device signed two entries with one sequence number.
	ErrEquivocation = errors.New("a device signed two different entries with one sequence number")
	// ErrFuture: an entry is dated after the last date that one may have.
	ErrFuture = errors.New("dated too far in the future")
	// ErrIncomplete: an entry came before entries that it builds on; it is parked.
	ErrIncomplete = errors.New("an entry that it builds on has not arrived")
	// ErrInvalidCommit: an MLS commit does not fit the epoch it claims to follow.
	ErrInvalidCommit = errors.New("commit does not follow from its parent")
	// ErrInvalidKeyPackage: a KeyPackage or Welcome cannot be used.
	ErrInvalidKeyPackage = errors.New("KeyPackage cannot be used")
	// ErrInvalidWelcome: a Welcome does not lead to the epoch it was sent for.
	ErrInvalidWelcome = errors.New("Welcome does not lead into the group")
	// ErrUsed: a message key is gone; the seal is a replay.
	ErrUsed = errors.New("already opened")
	// ErrState: the input does not fit the state of the machine.
	ErrState = errors.New("not now")
	// ErrUnknown: there is no such user, message or epoch here.
	ErrUnknown = errors.New("unknown")
	// ErrInviteExpired: an invite's time is over.
	ErrInviteExpired = errors.New("the invite has expired")
	// ErrInviteRevoked: an owner or admin took an invite back.
	ErrInviteRevoked = errors.New("the invite was revoked")
	// ErrInviteUsed: an invite let in as many as it may.
	ErrInviteUsed = errors.New("the invite is used up")
	// ErrInviteReplayed: this very claim to an invite let somebody in before.
	ErrInviteReplayed = errors.New("the invite let this device in before, with this KeyPackage")
	// ErrInviteSigner: the signer of an invite may not give it out, or not any more.
	ErrInviteSigner = errors.New("the signer of the invite may not invite")
	// ErrInviteOnly: nobody comes into this group without an invite.
	ErrInviteOnly = errors.New("this group can only be joined by an invite")
	// ErrWasRemoved: neither the open door nor an invite from before leads back in.
	ErrWasRemoved = errors.New("this user or device was removed; an invite given out after that lets it in again")
	// ErrInviteUnheard: the member that was asked does not know yet that an invite was
	// given out, and so not whether that was after a removal.
	ErrInviteUnheard = errors.New("this member has not heard of the invite yet")
	// ErrDenied: an owner or admin turned a request down.
	ErrDenied = errors.New("an admin denied the request")
	// ErrFull: too much of it is waiting already.
	ErrFull = errors.New("too much is waiting")
	// ErrCorrupt: durable rows contradict each other.
	ErrCorrupt = errors.New("stored group state is corrupt")
)

// Final says of a refused JoinAsked that other members will refuse it too, as far as
// they know what this one knows.
func Final(err error) bool {
	if errors.Is(err, ErrInviteUnheard) {
		return false
	}
	for _, final := range []error{ErrInviteExpired, ErrInviteRevoked, ErrInviteUsed, ErrInviteReplayed, ErrInviteOnly, ErrWasRemoved, ErrDenied, ErrForged} {
		if errors.Is(err, final) {
			return true
		}
	}
	return false
}

// Waits says whether a refused envelope may be taken later: the entries that it builds on,
// or the keys to it, may come yet.
func Waits(err error) bool {
	for _, wait := range []error{ErrIncomplete, ErrFuture, ErrNoEpoch, ErrEquivocation, ErrFull, wire.ErrVersion} {
		if errors.Is(err, wait) {
			return true
		}
	}
	return false
}

// Of maps errors to the answers of a gossip validator. It is the only such table.
// Reject is for envelopes that no honest member sends, whatever it has seen.
func Of(err error) Verdict {
	switch {
	case err == nil, errors.Is(err, ErrNoEpoch), errors.Is(err, ErrVouched):
		return Accept // others may have the keys, or the entries that it builds on
	case errors.Is(err, wire.ErrMalformed), errors.Is(err, wire.ErrTooLarge), errors.Is(err, wire.ErrNotAuthentic),
		errors.Is(err, ErrForged), errors.Is(err, ErrForeign):
		return Reject
	default:
		return Ignore
	}
}

// ErrVouched says that a member signed an entry that waits for others: a device that has
// those takes it at once, so the entry is passed on.
var ErrVouched = fmt.Errorf("a member signed it: %w", ErrIncomplete)

// Verdict is what the gossip validator tells the network about an input.
type Verdict int

// Verdicts.
const (
	Accept Verdict = iota // pass it on
	Ignore                // do not pass it on; its sender is not to blame
	Reject                // do not pass it on; its sender should have known
)

func (v Verdict) String() string { return [...]string{"accept", "ignore", "reject"}[v] }
