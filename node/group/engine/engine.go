package engine

import (
	"io"
	"time"
)

// Engine is the interface of the machine to MLS; MLS returns the real one. Secrets and keys
// pass as bytes that the engine made, and are sealed by the store.
type Engine interface {
	Suite() uint16
	NewSigner(rand io.Reader) (secret, public []byte, err error)
	NewKeyPackage(rand io.Reader, now time.Time, signer, credential []byte) (KeyPackage, error)
	// InspectKeyPackage checks form and signatures; not the credential.
	InspectKeyPackage(keyPackage []byte) (KeyPackageInfo, error)
	// CheckLifetime says whether a KeyPackage may be added now.
	CheckLifetime(keyPackage []byte, now time.Time) error
	Create(rand io.Reader, now time.Time, mlsGroup, signer, credential []byte) (Epoch, error)
	// Join gives the epoch that a Welcome leads to and the data of the GroupInfo
	// extension with the join secrets.
	Join(welcome, tree []byte, kp KeyPackage, check CheckCredential) (Epoch, []byte, error)
	// InspectCommit reads a commit without any state.
	InspectCommit(commit []byte) (CommitInfo, error)
	// InspectMessage gives the authenticated_data of a PrivateMessage, unverified.
	InspectMessage(message []byte) ([]byte, error)
	// NextInterim is the interim_transcript_hash after a commit (RFC 9420, Section 8.2).
	NextInterim(parent, commit []byte) ([]byte, error)
	// Load restores an epoch from its Snapshot and the rows of its message keys, and
	// LoadThin what is left of one from the head of its own.
	Load(head []byte, pages PageSource, keys []KeyRow) (Epoch, error)
	LoadThin(head []byte, pages PageSource) (ThinEpoch, error)
	// MarkPages adds to seen the pages that an epoch with this head is made of.
	MarkPages(head []byte, pages PageSource, seen map[string]struct{}) error
}

// PageSource finds a page of a ratchet tree by its key.
type PageSource func(key []byte) ([]byte, error)

// Parent is an epoch on which a commit can be processed.
type Parent interface {
	Tree() []byte
	Own() uint32
	Leaves() []Leaf
	Leaf(index uint32) (Leaf, bool)
	// Process gives the child that another member's commit leads to, or
	// ErrSelfRemoved.
	Process(commit []byte, check CheckCredential) (Epoch, error)
}

// ThinEpoch is the reduced form of an epoch that is kept only to follow late commits from
// it. It opens no message.
type ThinEpoch interface {
	Parent
	Head() []byte // its pages are those of the epoch that it is left of
	Wipe()
}

// CheckCredential decides whether a credential may stand with a signature key.
type CheckCredential func(credential, signatureKey []byte) error

// KeyPackage is a KeyPackage of this device with its secrets.
type KeyPackage struct {
	Public []byte `cbor:"1,keyasint"`
	Secret []byte `cbor:"2,keyasint"`
}

// KeyPackageInfo holds the fields of a KeyPackage.
type KeyPackageInfo struct {
	Credential   []byte
	SignatureKey []byte
}

// CommitInfo holds the fields that a commit shows without keys.
type CommitInfo struct {
	MLSGroup []byte
	Epoch    uint64 // number of the parent
	Sender   uint32 // leaf index
	Adds     [][]byte
	Added    [][]byte // the credentials in Adds, unverified
	Removes  []uint32
	Other    int // proposals that are neither, or by reference
	Path     bool
	Own      []byte // the credential of the committer's leaf from then on; nil without a path
}

// KeyRow is one piece of an epoch's message keys, where a nil Value deletes it, or a
// page of its tree.
type KeyRow struct{ Key, Value []byte }

// Leaf is a member device as the MLS tree has it.
type Leaf struct {
	Index        uint32
	Credential   []byte
	SignatureKey []byte
}

// Epoch is one MLS epoch: an immutable state, and the message keys that its one
// owner uses up. Seal and Open give the rows that changed; after an error
// nothing has.
type Epoch interface {
	Number() uint64
	MLSGroup() []byte
	Interim() []byte
	Authenticator() []byte
	Export(label string, context []byte, length int) ([]byte, error) // RFC 9420, Section 8.5
	TreeHash() []byte
	Parent
	// PathSize is the number of nodes that the path of an own commit would be sealed to, if it
	// took these leaves out, and its length, about. PathFills is how many of the nodes that
	// others seal to it would save them, at the most.
	PathSize(removes []uint32) (nodes, bytes int)
	PathFills() int
	// Commit makes a child with these changes.
	Commit(rand io.Reader, c Change) (Committed, error)
	Seal(rand io.Reader, signer, authenticatedData, plaintext []byte) (message []byte, rows []KeyRow, err error)
	// Open returns ErrUsed for a replay, ErrIncomplete for a message too far ahead of those
	// opened before, and ErrForged for one that does not verify.
	Open(message []byte) (o OpenedMessage, rows []KeyRow, err error)
	// Snapshot gives the epoch as a head, which is secret, and those pages of its
	// public tree that since does not have; nil: all. Pages are keyed by content.
	Snapshot(since Epoch) (head []byte, pages []KeyRow)
	Keys() []KeyRow
	Thin() (ThinEpoch, error)
	Wipe()
}

// OpenedMessage is an opened PrivateMessage.
type OpenedMessage struct {
	Sender            uint32
	AuthenticatedData []byte
	Plaintext         []byte
}

// Change lists the changes that a commit makes to the tree.
type Change struct {
	Now         time.Time
	Signer      []byte
	Adds        [][]byte // KeyPackages
	Removes     []uint32 // leaf indexes
	JoinSecrets []byte   // GroupInfo extension for those added
	Credential  []byte   // of the own leaf from then on; nil: as it is
	NoPath      bool     // it adds and does nothing else; see docs/SECURITY.md
	Check       CheckCredential
}

// Committed is a commit of this device.
type Committed struct {
	Commit  []byte
	Welcome []byte // nil if nobody was added
	Epoch   Epoch
}
