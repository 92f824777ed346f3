package mls

import (
	"errors"
	"io"
	"iter"
	"time"
)

var errNotBuilt = errors.New("mls: not built yet")

type (
	CipherSuite     uint16
	ProtocolVersion uint16
	ExtensionType   uint16
	ProposalType    uint16
	CredentialType  uint16
	WireFormat      uint16
	// LeafIndex is the position of a member among the leaves of the tree.
	LeafIndex uint32
)

const (
	X25519_AES128GCM_SHA256_Ed25519 CipherSuite     = 0x0001
	MLS10                           ProtocolVersion = 1
	CredentialBasic                 CredentialType  = 1
	CredentialX509                  CredentialType  = 2
	WirePublic                      WireFormat      = 1
	WirePrivate                     WireFormat      = 2
)

// Credential binds an identity to a leaf: Identity for CredentialBasic, Certificates for CredentialX509.
type Credential struct {
	Type         CredentialType
	Identity     []byte
	Certificates [][]byte
}

func BasicCredential(identity []byte) Credential {
	return Credential{Type: CredentialBasic, Identity: identity}
}

type Extension struct {
	Type ExtensionType
	Data []byte
}

// CredentialValidator decides whether a credential may stand with this signature key. It must be given; AcceptAnyCredential says so out loud.
type CredentialValidator func(cred Credential, signatureKey []byte) error

func AcceptAnyCredential(Credential, []byte) error { return nil }

type Capabilities struct {
	Versions     []ProtocolVersion
	CipherSuites []CipherSuite
	Extensions   []ExtensionType
	Proposals    []ProposalType
	Credentials  []CredentialType
}
type LeafNode struct {
	EncryptionKey, SignatureKey []byte
	Credential                  Credential
	Capabilities                Capabilities
	Extensions                  []Extension
}

// SignatureKey is a private signature key; it cannot be compared or printed.
type SignatureKey struct{ _ [0]func() }

func NewSignatureKey(suite CipherSuite, rand io.Reader) (*SignatureKey, error) {
	return nil, errNotBuilt
}
func ParseSignatureKey(suite CipherSuite, private []byte) (*SignatureKey, error) {
	return nil, errNotBuilt
}
func (k *SignatureKey) MarshalSecret() []byte { return nil }
func (k *SignatureKey) PublicKey() []byte     { return nil }
func (k *SignatureKey) Wipe()                 {}

type KeyPackageConfig struct {
	Suite               CipherSuite
	Credential          Credential
	Signer              *SignatureKey
	NotBefore, NotAfter time.Time
	Extensions          []Extension // of the KeyPackage
	LeafExtensions      []Extension
	Capabilities        *Capabilities // nil: DefaultCapabilities
}
type KeyPackage struct {
	Suite   CipherSuite
	InitKey []byte
	Leaf    *LeafNode
}

func NewKeyPackage(rand io.Reader, cfg KeyPackageConfig) (*KeyPackage, *KeyPackageSecrets, error) {
	return nil, nil, errNotBuilt
}

// ParseKeyPackage decodes a bare KeyPackage and checks its signatures; the lifetime and the credential are Validate's.
func ParseKeyPackage(b []byte) (*KeyPackage, error)                        { return nil, errNotBuilt }
func (kp *KeyPackage) Bytes() []byte                                       { return nil }
func (kp *KeyPackage) Ref() []byte                                         { return nil }
func (kp *KeyPackage) Validate(now time.Time, v CredentialValidator) error { return errNotBuilt }

type KeyPackageSecrets struct{ _ [0]func() }

func ParseKeyPackageSecrets(suite CipherSuite, b []byte) (*KeyPackageSecrets, error) {
	return nil, errNotBuilt
}
func (s *KeyPackageSecrets) MarshalSecret() []byte { return nil }
func (s *KeyPackageSecrets) Wipe()                 {}

// Proposal is one of Add, Update, Remove, PreSharedKey, ReInit, ExternalInit, GroupContextExtensions.
type Proposal interface{ Type() ProposalType }
type Add struct{ KeyPackage *KeyPackage }
type Update struct{ Leaf *LeafNode }
type Remove struct{ Leaf LeafIndex }

func (Add) Type() ProposalType    { return 1 }
func (Update) Type() ProposalType { return 2 }
func (Remove) Type() ProposalType { return 3 }

type GroupConfig struct {
	Suite               CipherSuite
	GroupID             []byte
	Credential          Credential
	Signer              *SignatureKey
	NotBefore, NotAfter time.Time
	Extensions          []Extension // of the GroupContext
	LeafExtensions      []Extension
	Capabilities        *Capabilities
	Validator           CredentialValidator
}

type Epoch struct{ _ [0]func() }
type Ratchets struct{ _ [0]func() }

func Create(rand io.Reader, cfg GroupConfig) (*Epoch, *Ratchets, error) { return nil, nil, errNotBuilt }

type JoinConfig struct {
	KeyPackage  *KeyPackage
	Secrets     *KeyPackageSecrets
	RatchetTree []byte // ratchet_tree encoding; needed if the Welcome has none inline
	Validator   CredentialValidator
}
type Joined struct {
	Epoch      *Epoch
	Ratchets   *Ratchets
	Signer     LeafIndex   // who made the Welcome
	Extensions []Extension // of the GroupInfo, without ratchet_tree
}

// Join takes a Welcome as MLSMessage.
func Join(welcome []byte, cfg JoinConfig) (*Joined, error) { return nil, errNotBuilt }

// LeafUpdate changes the own leaf; nil fields stay.
type LeafUpdate struct {
	Credential   *Credential
	Signer       *SignatureKey // the new key
	Capabilities *Capabilities
	Extensions   []Extension
}
type CommitConfig struct {
	Signer              *SignatureKey
	Now                 time.Time  // lifetimes of added KeyPackages are checked at this time; zero: not
	Proposals           []Proposal // by value
	References          [][]byte   // MLSMessages with proposals, committed by reference
	NoPath              bool       // leave the path out where RFC 9420 allows it
	Leaf                *LeafUpdate
	GroupInfoExtensions []Extension // only in the Welcome's GroupInfo, never published
	InlineTree          bool
	Wire                WireFormat // zero: WirePublic
	Ratchets            *Ratchets  // of this epoch; needed for WirePrivate and private References
	AuthenticatedData   []byte
	Validator           CredentialValidator
}
type CommitResult struct {
	Commit      []byte // MLSMessage
	Welcome     []byte // MLSMessage, nil if nobody was added
	RatchetTree []byte // of the new epoch
	Epoch       *Epoch
	Ratchets    *Ratchets
	Added       []LeafIndex // in the order of the Add proposals
	Delta       Delta       // of cfg.Ratchets
}

func (e *Epoch) Commit(rand io.Reader, cfg CommitConfig) (*CommitResult, error) {
	return nil, errNotBuilt
}

type ProcessConfig struct {
	References [][]byte
	Ratchets   *Ratchets // of this epoch; needed for PrivateMessages only
	Validator  CredentialValidator
}
type AppliedProposal struct {
	Sender   LeafIndex
	Proposal Proposal
}
type Processed struct {
	Epoch             *Epoch    // nil if Removed
	Ratchets          *Ratchets // nil if Removed
	Committer         LeafIndex
	AuthenticatedData []byte
	Proposals         []AppliedProposal
	Added             []LeafIndex
	Removed           bool // this member was removed
	Delta             Delta
}

func (e *Epoch) Process(commit []byte, cfg ProcessConfig) (*Processed, error) {
	return nil, errNotBuilt
}

// ProposeAdd and ProposeRemove give a PublicMessage with the proposal.
func (e *Epoch) ProposeAdd(signer *SignatureKey, kp *KeyPackage, aad []byte) ([]byte, error) {
	return nil, errNotBuilt
}
func (e *Epoch) ProposeRemove(signer *SignatureKey, leaf LeafIndex, aad []byte) ([]byte, error) {
	return nil, errNotBuilt
}

// ProposeUpdate also gives an Epoch that knows the new leaf key: use it to process the commit that takes the proposal.
func (e *Epoch) ProposeUpdate(rand io.Reader, signer *SignatureKey, leaf *LeafUpdate, aad []byte) ([]byte, *Epoch, error) {
	return nil, nil, errNotBuilt
}

type Delta []Row

// Row: Value nil deletes the row.
type Row struct{ Key, Value []byte }

// NewRatchets restores the Ratchets of e from rows.
func NewRatchets(e *Epoch, rows []Row) (*Ratchets, error) { return nil, errNotBuilt }
func (r *Ratchets) Rows() []Row                           { return nil }
func (r *Ratchets) Wipe()                                 {}

// Seal makes a PrivateMessage (as MLSMessage) with application data; padding is the number of zero bytes appended.
func (r *Ratchets) Seal(rand io.Reader, signer *SignatureKey, authenticatedData, plaintext []byte, padding int) ([]byte, Delta, error) {
	return nil, nil, errNotBuilt
}

type Opened struct {
	Sender            LeafIndex
	Generation        uint32
	AuthenticatedData []byte
	Plaintext         []byte
}

func (r *Ratchets) Open(privateMessage []byte) (*Opened, Delta, error) { return nil, nil, errNotBuilt }

type Member struct {
	Index LeafIndex
	Leaf  *LeafNode
}

func (e *Epoch) Export(label string, context []byte, length int) ([]byte, error) {
	return nil, errNotBuilt
}
func (e *Epoch) EpochAuthenticator() []byte { return nil }
func (e *Epoch) Members() iter.Seq2[LeafIndex, *LeafNode] {
	return func(func(LeafIndex, *LeafNode) bool) {}
}
func (e *Epoch) Member(LeafIndex) (*LeafNode, bool) { return nil, false }
func (e *Epoch) Suite() CipherSuite                 { return 0 }
func (e *Epoch) OwnLeaf() LeafIndex                 { return 0 }
func (e *Epoch) GroupID() []byte                    { return nil }
func (e *Epoch) Number() uint64                     { return 0 }
func (e *Epoch) TreeHash() []byte                   { return nil }
func (e *Epoch) GroupContext() []byte               { return nil }
func (e *Epoch) Extensions() []Extension            { return nil }
func (e *Epoch) ConfirmedTranscriptHash() []byte    { return nil }
func (e *Epoch) InterimTranscriptHash() []byte      { return nil }
func (e *Epoch) RatchetTree() []byte                { return nil }
func (e *Epoch) Wipe()                              {}

// GroupInfo gives a signed GroupInfo as MLSMessage.
func (e *Epoch) GroupInfo(signer *SignatureKey, extensions []Extension, withTree bool) ([]byte, error) {
	return nil, errNotBuilt
}

// MarshalSecret is a canonical, versioned snapshot. It holds secrets: seal it.
func (e *Epoch) MarshalSecret() []byte    { return nil }
func ParseEpoch(b []byte) (*Epoch, error) { return nil, errNotBuilt }

type CommitInfo struct {
	GroupID           []byte
	Epoch             uint64
	Sender            LeafIndex
	AuthenticatedData []byte
	Proposals         []Proposal // by value
	References        [][]byte   // ProposalRefs
	PathLeaf          *LeafNode  // nil without path
	ConfirmationTag   []byte
}

// InspectCommit reads a commit in a PublicMessage without any key: nothing in it is verified.
func InspectCommit(commit []byte) (*CommitInfo, error) { return nil, errNotBuilt }

// NextInterimTranscriptHash is RFC 9420, Section 8.2, over the bytes of a commit in a PublicMessage.
func NextInterimTranscriptHash(suite CipherSuite, parentInterim, commit []byte) ([]byte, error) {
	return nil, errNotBuilt
}
