package node

import "errors"

// Each asks for another decision of the caller. Compare with errors.Is; the
// errors of node/group and storage come through unchanged.
var (
	// ErrNoGroup says that this node does not have the group.
	ErrNoGroup = errors.New("this node does not have the group")
	// ErrNotFound says that what was looked for was not found.
	ErrNotFound = errors.New("not found")
	// ErrNoPeers says that nobody could be asked: no peer is connected.
	ErrNoPeers = errors.New("no peers are connected")
	// ErrExists says that it is there already.
	ErrExists = errors.New("exists already")
	// ErrClosed says that the node is closed, or was while the call ran: what the
	// call was for may or may not have happened.
	ErrClosed = errors.New("the node is closed")
	// ErrStore says that what the call needed could not be made durable. Nothing
	// of it happened.
	ErrStore = errors.New("the store did not take it")
	// ErrInvalid says that an argument cannot be right.
	ErrInvalid = errors.New("invalid argument")
	// ErrBackup says that a file is no whole, unaltered backup.
	ErrBackup = errors.New("not a whole backup")
	// ErrIdentity says that a backup does not open with what was given.
	ErrIdentity = errors.New("the backup does not open with what was given")
	// ErrDenied says that the group does not let this device in.
	ErrDenied = errors.New("the group denied the request")
)

// errCrashed ends a loop at a boundary where a test lets it crash.
var errCrashed = errors.New("crashed by a test")
