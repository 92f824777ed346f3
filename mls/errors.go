package mls

import "errors"

// One sentinel per decision a caller takes. Errors are wrapped with what was
// being processed; test with errors.Is.
var (
	// ErrMalformed: the bytes are not an encoding of what they should be. Drop
	// them; their sender is broken or hostile.
	ErrMalformed = errors.New("mls: malformed encoding")
	// ErrUnsupported: a version, ciphersuite, credential, extension or proposal
	// that this engine or a member of the group does not have.
	ErrUnsupported = errors.New("mls: not supported")
	// ErrInvalid: well-formed, but RFC 9420 forbids it in this state: a bad
	// signature, MAC, hash, proposal list, tree or path.
	ErrInvalid = errors.New("mls: invalid")
	// ErrWrongGroup: the message belongs to another group.
	ErrWrongGroup = errors.New("mls: message of another group")
	// ErrWrongEpoch: the message belongs to this group but another epoch; another
	// Epoch value may take it.
	ErrWrongEpoch = errors.New("mls: message of another epoch")
	// ErrDecrypt: an AEAD did not open: the key is not ours or the bytes were changed.
	ErrDecrypt = errors.New("mls: cannot decrypt")
	// ErrKeyUsed: the message key of this sender and generation is gone. The
	// message is a replay, or it is too late.
	ErrKeyUsed = errors.New("mls: message key already used")
	// ErrTooFarAhead: the generation is further ahead than [MaxForward] allows.
	ErrTooFarAhead = errors.New("mls: generation too far ahead")
	// ErrEnded: a ReInit ended the group; it goes on in the group that the ReInit names.
	ErrEnded = errors.New("mls: group was ended by a ReInit")
	// ErrRemoved: this member is not in the group any more. [Group] says so after a
	// commit that removed it.
	ErrRemoved = errors.New("mls: removed from the group")
	// ErrOwnMessage: a commit or message of this very member, which the protocol
	// gives no way to process; use what was kept when it was made.
	ErrOwnMessage = errors.New("mls: own message")
	// ErrNotForUs: the Welcome holds nothing for this KeyPackage.
	ErrNotForUs = errors.New("mls: Welcome is not for this KeyPackage")
	// ErrMissingProposal: the commit names a proposal that was not given; get it
	// and try again.
	ErrMissingProposal = errors.New("mls: referenced proposal is missing")
	// ErrMissingPSK: the commit or Welcome needs a pre-shared key that the caller
	// did not give.
	ErrMissingPSK = errors.New("mls: pre-shared key is missing")
	// ErrMissingTree: the Welcome carries no ratchet tree and none was given.
	ErrMissingTree = errors.New("mls: ratchet tree is missing")
	// ErrCredential: the caller's [CredentialValidator] refused; its error is wrapped too.
	ErrCredential = errors.New("mls: credential refused")
	// ErrLifetime: a KeyPackage is not valid at the time given.
	ErrLifetime = errors.New("mls: outside its lifetime")
	// ErrUsage: the caller's arguments contradict each other or lack something.
	ErrUsage = errors.New("mls: wrong use")
	// ErrCorrupt: a stored snapshot or row is not one of ours.
	ErrCorrupt = errors.New("mls: stored state is corrupt")
)
