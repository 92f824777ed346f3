package storage

import (
	"errors"
	"fmt"
)

// Each of these errors asks for a decision of its own by the caller. Compare with
// [errors.Is].
var (
	ErrNotInitialised  = errors.New("storage: no store here")
	ErrExists          = errors.New("exists already")
	ErrLocked          = errors.New("storage: locked: the passphrase or key file it needs was not given")
	ErrWrongPassphrase = errors.New("storage: wrong passphrase or key file")
	ErrInUse           = errors.New("storage: in use")
	ErrCorrupt         = errors.New("storage: corrupt")
	ErrForeign         = errors.New("storage: keys and database belong to different stores")
	ErrSchemaNewer     = errors.New("storage: written by a newer version of the program")
	ErrNotFound        = errors.New("not found")
	ErrTooLarge        = errors.New("storage: batch too large for one transaction")
	ErrInvalid         = errors.New("invalid argument")
	ErrClosed          = errors.New("the node or its store is closed")
	ErrNoSpace         = errors.New("storage: too little space is left on the disk")
	ErrFailed          = errors.New("storage: a write failed and the store must be opened again")
)

// corrupt says what is damaged, and how it was noticed.
func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrCorrupt, fmt.Errorf(format, args...))
}

// recovered turns a panic inside Badger, which trusts its files too much, into an ErrCorrupt. Deferred.
func recovered(err *error, doing string) {
	if r := recover(); r != nil {
		*err = corrupt("%s: the database panicked: %v", doing, r)
	}
}
