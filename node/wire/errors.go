package wire

import (
	"errors"
	"fmt"
)

var (
	// ErrMalformed is wrapped by every refusal of bytes that are no valid
	// encoding of the object asked for.
	ErrMalformed = errors.New("malformed")
	// ErrVersion says that the bytes announce a version that this program does
	// not know. The object may be fine; a newer program can read it.
	ErrVersion = errors.New("unknown version")
	// ErrTooLarge says that a limit of this package is exceeded.
	ErrTooLarge = errors.New("too large")
	// ErrUnknownKey says that an envelope names a transport key that is not at hand.
	ErrUnknownKey = errors.New("unknown transport key")
	// ErrNotAuthentic says that an envelope does not open under the key it names.
	ErrNotAuthentic = errors.New("not authentic")
)

// otherVersion says that something is of another version than this program's, and which of
// the two programs is the older one.
func otherVersion(v uint64) error {
	if v < Version {
		return fmt.Errorf("%w: it is by an older program, of version %d of the wire; this one knows version %d alone", ErrVersion, v, Version)
	}
	return fmt.Errorf("%w: it is by a newer program, of version %d of the wire; this one knows version %d alone", ErrVersion, v, Version)
}
