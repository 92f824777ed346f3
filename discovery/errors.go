package discovery

import "errors"

// Reasons to refuse a record. Refusals of a malformed one wrap wire.ErrMalformed,
// wire.ErrVersion or wire.ErrTooLarge; a signature that does not hold wraps
// identity.ErrForged; a head signed after its device's certificate ran out wraps
// identity.ErrExpired.
var (
	// errKey says that a DHT key is none of this package's.
	errKey = errors.New("not the DHT key of a group")
	// errForeignGroup says that a record belongs to another group than the one asked for.
	errForeignGroup = errors.New("record of another group")
	// errAuthority says that the chain of authority does not hold together: a link
	// does not follow the one before it, or no owner of that one signed it.
	errAuthority = errors.New("broken chain of authority")
	// errUnauthorised says that the signer of a field is not in the current
	// authority, or not with the rank that the field wants.
	errUnauthorised = errors.New("signer is not in the current authority")
	// errFuture says that a timestamp is more than maxAhead ahead of the clock.
	errFuture = errors.New("timestamp lies in the future")
	// ErrStale says that a record holds nothing that this node did not know already.
	ErrStale = errors.New("stale record")
	// errLimited says that a peer, its network or all strangers brought more records than
	// are judged at once.
	errLimited = errors.New("too many records at once")
	// errFull says that the chain of authority has no room for another link.
	errFull = errors.New("chain of authority is full")
)
