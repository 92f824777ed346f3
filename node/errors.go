package node

import (
	"errors"

	"github.com/pandanode/pandanode/discovery"
	"github.com/pandanode/pandanode/storage"
)

// Each asks for another decision of the caller. Compare with errors.Is; the
// errors of node/group and storage come through unchanged, and where storage has one
// of the same name it is the same.
var (
	// ErrNoGroup says that this node does not have the group.
	ErrNoGroup = errors.New("this node does not have the group")
	// errNotFound says that what was looked for was not found.
	errNotFound = storage.ErrNotFound
	// errNoPeers says that nobody could be asked: no peer is connected.
	errNoPeers = discovery.ErrNoPeers
	// ErrInUse says that another node or process has the home, or is making it.
	ErrInUse = storage.ErrInUse
	// ErrExists says that it is there already.
	ErrExists = storage.ErrExists
	// ErrClosed says that the node is closed, or was closed while the call ran: the call
	// may or may not have had its effect.
	ErrClosed = storage.ErrClosed
	// ErrStore says that the writes of a call could not be made durable. Nothing of it
	// happened.
	ErrStore = errors.New("the store did not take it")
	// ErrInvalid says that an argument cannot be right.
	ErrInvalid = storage.ErrInvalid
	// ErrCursor says that a cursor lies beyond all that there is: it is of another run
	// of the node, of another store, or of this one before it was restored.
	ErrCursor = errors.New("a cursor of another run or store")
	// errBackup says that a file is no whole, unaltered backup.
	errBackup = errors.New("not a whole backup")
	// errIdentity says that a backup does not open with what was given.
	errIdentity = errors.New("the backup does not open with what was given")
	// ErrRunning says that Run was called already.
	ErrRunning = errors.New("the node runs already")
	// errDenied says that the group does not let this device in.
	errDenied = errors.New("the group denied the request")
)

// ErrWrongPassphrase says that the store does not open with the given passphrase or key
// file.
var ErrWrongPassphrase = storage.ErrWrongPassphrase

// errCrashed ends a loop at a boundary where a test lets it crash.
var errCrashed = errors.New("crashed by a test")

// errEnough ends a scan or a stream early, and is no error.
var errEnough = errors.New("enough")
