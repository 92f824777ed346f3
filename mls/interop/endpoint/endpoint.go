package endpoint

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/pandanode/pandanode/mls"
	"github.com/pandanode/pandanode/mls/interop/mlsclient"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Name is what the endpoint calls itself.
const Name = "pandanode"

// lifetime is how long a KeyPackage of this endpoint is valid, either side of its
// making: clocks of peers differ.
const lifetime = 28 * 24 * time.Hour

// Endpoint is any number of clients, each in any number of groups. It is safe for
// concurrent use; requests take turns.
type Endpoint struct {
	mlsclient.UnimplementedMLSClientServer

	rand io.Reader
	now  func() time.Time

	mu      sync.Mutex
	lastID  uint32
	states  map[uint32]*state
	joiners map[uint32]*joiner
	signers map[uint32]*mls.SignatureKey // who may propose from outside (a signer_id)
	reinits map[uint32]*reinit
}

// New gives an Endpoint that draws from rand and reads the time from now.
func New(rand io.Reader, now func() time.Time) *Endpoint {
	return &Endpoint{
		rand: rand, now: now,
		states: map[uint32]*state{}, joiners: map[uint32]*joiner{},
		signers: map[uint32]*mls.SignatureKey{}, reinits: map[uint32]*reinit{},
	}
}

// state is one epoch of one client (a state_id).
type state struct {
	epoch    *mls.Epoch
	ratchets *mls.Ratchets
	signer   *mls.SignatureKey
	private  bool // handshake messages are PrivateMessages
	psks     pskStore
	pending  *mls.CommitResult // the last own commit
}

// joiner is a client that waits for its Welcome (a transaction_id).
type joiner struct {
	signer  *mls.SignatureKey
	kp      *mls.KeyPackage
	secrets *mls.KeyPackageSecrets
	psks    pskStore
}

// resumption names one epoch of one group.
type resumption struct {
	group string
	epoch uint64
}

// pskStore is the pre-shared keys that one client holds.
type pskStore struct {
	external map[string][]byte
	epochs   map[resumption][]byte
}

func newPSKStore() pskStore {
	return pskStore{map[string][]byte{}, map[resumption][]byte{}}
}

// remember adds the resumption PSK of an epoch.
func (p pskStore) remember(e *mls.Epoch) {
	p.epochs[resumption{string(e.GroupID()), e.Number()}] = e.ResumptionPSK()
}

// find is a [mls.PSKSource].
func (p pskStore) find(id mls.PreSharedKeyID) (key []byte, ok bool) {
	if id.Type == mls.PSKExternal {
		key, ok = p.external[string(id.ID)]
	} else {
		key, ok = p.epochs[resumption{string(id.GroupID), id.Epoch}]
	}
	return key, ok
}

// wire is how this client sends handshake messages.
func (s *state) wire() mls.WireFormat {
	if s.private {
		return mls.WirePrivate
	}
	return mls.WirePublic
}

// leafOf finds a member by its Basic credential.
func leafOf(group view, identity []byte) (mls.LeafIndex, bool) {
	for i, l := range group.Members() {
		if l.Credential.Type == mls.CredentialBasic && bytes.Equal(l.Credential.Identity, identity) {
			return i, true
		}
	}
	return 0, false
}

// add registers v under a fresh id; ids are shared by all kinds, because StorePSK
// takes either a state_id or a transaction_id.
func add[T any](e *Endpoint, m map[uint32]T, v T) uint32 {
	e.lastID++
	m[e.lastID] = v
	return e.lastID
}

func find[T any](m map[uint32]T, what string, id uint32) (T, error) {
	v, ok := m[id]
	if !ok {
		return v, status.Errorf(codes.NotFound, "%s %d is unknown", what, id)
	}
	return v, nil
}

// enter registers the state that follows s.
func (e *Endpoint) enter(s *state, epoch *mls.Epoch, ratchets *mls.Ratchets) uint32 {
	s.psks.remember(epoch)
	return add(e, e.states, &state{epoch: epoch, ratchets: ratchets, signer: s.signer, private: s.private, psks: s.psks})
}

// refused are the engine's decisions with the code that tells them best.
var refused = []struct {
	err  error
	code codes.Code
}{
	{mls.ErrMalformed, codes.InvalidArgument},
	{mls.ErrUsage, codes.InvalidArgument},
	{mls.ErrUnsupported, codes.Unimplemented},
	{mls.ErrWrongGroup, codes.FailedPrecondition},
	{mls.ErrWrongEpoch, codes.FailedPrecondition},
	{mls.ErrRemoved, codes.FailedPrecondition},
	{mls.ErrEnded, codes.FailedPrecondition},
	{mls.ErrMissingProposal, codes.FailedPrecondition},
	{mls.ErrMissingPSK, codes.FailedPrecondition},
	{mls.ErrMissingTree, codes.FailedPrecondition},
}

// answer gives a request's result, or its error as a gRPC status.
func answer[T any](out T, err error) (T, error) {
	var none T
	if err == nil {
		return out, nil
	}
	if _, ok := status.FromError(err); ok {
		return none, err
	}
	code := codes.Aborted
	for _, r := range refused {
		if errors.Is(err, r.err) {
			code = r.code
			break
		}
	}
	return none, status.Error(code, err.Error())
}

func badRequest(format string, args ...any) error {
	return status.Errorf(codes.InvalidArgument, format, args...)
}

// suiteOf checks that a wire value is a suite number at all.
func suiteOf(v uint32) (mls.CipherSuite, error) {
	if v > 1<<16-1 {
		return 0, badRequest("cipher_suite %d", v)
	}
	return mls.CipherSuite(v), nil
}

func extensions(list []*mlsclient.Extension) ([]mls.Extension, error) {
	var out []mls.Extension
	for _, x := range list {
		if x.GetExtensionType() > 1<<16-1 {
			return nil, badRequest("extension_type %d", x.GetExtensionType())
		}
		out = append(out, mls.Extension{Type: mls.ExtensionType(x.GetExtensionType()), Data: x.GetExtensionData()})
	}
	return out, nil
}

// Name tells the implementation's name.
func (e *Endpoint) Name(context.Context, *mlsclient.NameRequest) (*mlsclient.NameResponse, error) {
	return &mlsclient.NameResponse{Name: Name}, nil
}

// SupportedCiphersuites lists the suites of the engine.
func (e *Endpoint) SupportedCiphersuites(context.Context, *mlsclient.SupportedCiphersuitesRequest) (*mlsclient.SupportedCiphersuitesResponse, error) {
	out := &mlsclient.SupportedCiphersuitesResponse{}
	for _, s := range mls.DefaultCapabilities().CipherSuites {
		out.Ciphersuites = append(out.Ciphersuites, uint32(s))
	}
	return out, nil
}

// CreateGroup makes a group of one member.
func (e *Endpoint) CreateGroup(_ context.Context, in *mlsclient.CreateGroupRequest) (*mlsclient.CreateGroupResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return answer(e.createGroup(in))
}

func (e *Endpoint) createGroup(in *mlsclient.CreateGroupRequest) (*mlsclient.CreateGroupResponse, error) {
	suite, err := suiteOf(in.GetCipherSuite())
	if err != nil {
		return nil, err
	}
	signer, err := mls.NewSignatureKey(suite, e.rand)
	if err != nil {
		return nil, err
	}
	now := e.now()
	epoch, ratchets, err := mls.Create(e.rand, mls.GroupConfig{
		Suite: suite, GroupID: in.GetGroupId(), Credential: mls.BasicCredential(in.GetIdentity()), Signer: signer,
		NotBefore: now.Add(-lifetime), NotAfter: now.Add(lifetime), Validator: mls.AcceptAnyCredential,
	})
	if err != nil {
		return nil, err
	}
	first := &state{signer: signer, private: in.GetEncryptHandshake(), psks: newPSKStore()}
	return &mlsclient.CreateGroupResponse{StateId: e.enter(first, epoch, ratchets)}, nil
}

// newJoiner makes a client with a fresh KeyPackage.
func (e *Endpoint) newJoiner(suite mls.CipherSuite, identity []byte) (*joiner, error) {
	signer, err := mls.NewSignatureKey(suite, e.rand)
	if err != nil {
		return nil, err
	}
	return e.rejoiner(suite, mls.BasicCredential(identity), signer)
}

// rejoiner makes a KeyPackage for a client that has a signature key.
func (e *Endpoint) rejoiner(suite mls.CipherSuite, credential mls.Credential, signer *mls.SignatureKey) (*joiner, error) {
	now := e.now()
	kp, secrets, err := mls.NewKeyPackage(e.rand, mls.KeyPackageConfig{
		Suite: suite, Credential: credential, Signer: signer, NotBefore: now.Add(-lifetime), NotAfter: now.Add(lifetime),
	})
	if err != nil {
		return nil, err
	}
	return &joiner{signer: signer, kp: kp, secrets: secrets, psks: newPSKStore()}, nil
}

// CreateKeyPackage makes a client that others can add.
func (e *Endpoint) CreateKeyPackage(_ context.Context, in *mlsclient.CreateKeyPackageRequest) (*mlsclient.CreateKeyPackageResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return answer(e.createKeyPackage(in))
}

func (e *Endpoint) createKeyPackage(in *mlsclient.CreateKeyPackageRequest) (*mlsclient.CreateKeyPackageResponse, error) {
	suite, err := suiteOf(in.GetCipherSuite())
	if err != nil {
		return nil, err
	}
	j, err := e.newJoiner(suite, in.GetIdentity())
	if err != nil {
		return nil, err
	}
	initKey, encryptionKey, err := j.private()
	if err != nil {
		return nil, err
	}
	return &mlsclient.CreateKeyPackageResponse{
		TransactionId: add(e, e.joiners, j), KeyPackage: j.kp.Message(),
		InitPriv: initKey, EncryptionPriv: encryptionKey, SignaturePriv: j.signer.MarshalSecret(),
	}, nil
}

// private takes the private keys out of the snapshot of the KeyPackage's secrets: a
// version byte, the suite, then both keys as vectors.
func (j *joiner) private() (initKey, encryptionKey []byte, err error) {
	initKey, rest, err := vector(j.secrets.MarshalSecret()[3:])
	if err != nil {
		return nil, nil, err
	}
	encryptionKey, _, err = vector(rest)
	return initKey, encryptionKey, err
}

// JoinGroup joins by a Welcome.
func (e *Endpoint) JoinGroup(_ context.Context, in *mlsclient.JoinGroupRequest) (*mlsclient.JoinGroupResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return answer(e.joinGroup(in))
}

func (e *Endpoint) joinGroup(in *mlsclient.JoinGroupRequest) (*mlsclient.JoinGroupResponse, error) {
	j, err := find(e.joiners, "transaction_id", in.GetTransactionId())
	if err != nil {
		return nil, err
	}
	joined, err := mls.Join(in.GetWelcome(), j.config(in.GetRatchetTree()))
	if err != nil {
		return nil, err
	}
	delete(e.joiners, in.GetTransactionId())
	id := e.enter(&state{signer: j.signer, private: in.GetEncryptHandshake(), psks: j.psks}, joined.Epoch, joined.Ratchets)
	return &mlsclient.JoinGroupResponse{StateId: id, EpochAuthenticator: joined.Epoch.EpochAuthenticator()}, nil
}

func (j *joiner) config(tree []byte) mls.JoinConfig {
	return mls.JoinConfig{
		KeyPackage: j.kp, Secrets: j.secrets, RatchetTree: given(tree), PSKs: j.psks.find, Validator: mls.AcceptAnyCredential,
	}
}

// given is nil for an absent field, which proto3 cannot tell from an empty one.
func given(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}

// ExternalJoin joins by an external commit.
func (e *Endpoint) ExternalJoin(_ context.Context, in *mlsclient.ExternalJoinRequest) (*mlsclient.ExternalJoinResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return answer(e.externalJoin(in))
}

// GroupInfo gives what one needs who joins by an external commit.
func (e *Endpoint) GroupInfo(_ context.Context, in *mlsclient.GroupInfoRequest) (*mlsclient.GroupInfoResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return answer(e.groupInfo(in))
}

func (e *Endpoint) groupInfo(in *mlsclient.GroupInfoRequest) (*mlsclient.GroupInfoResponse, error) {
	s, err := find(e.states, "state_id", in.GetStateId())
	if err != nil {
		return nil, err
	}
	public, err := s.epoch.ExternalPubExtension()
	if err != nil {
		return nil, err
	}
	info, err := s.epoch.GroupInfo(s.signer, []mls.Extension{public}, !in.GetExternalTree())
	if err != nil {
		return nil, err
	}
	out := &mlsclient.GroupInfoResponse{GroupInfo: info}
	if in.GetExternalTree() {
		out.RatchetTree = s.epoch.RatchetTree()
	}
	return out, nil
}

// StateAuth gives the epoch_authenticator.
func (e *Endpoint) StateAuth(_ context.Context, in *mlsclient.StateAuthRequest) (*mlsclient.StateAuthResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, err := find(e.states, "state_id", in.GetStateId())
	if err != nil {
		return answer[*mlsclient.StateAuthResponse](nil, err)
	}
	return &mlsclient.StateAuthResponse{StateAuthSecret: s.epoch.EpochAuthenticator()}, nil
}

// Export gives an exported secret.
func (e *Endpoint) Export(_ context.Context, in *mlsclient.ExportRequest) (*mlsclient.ExportResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, err := find(e.states, "state_id", in.GetStateId())
	if err != nil {
		return answer[*mlsclient.ExportResponse](nil, err)
	}
	if in.GetKeyLength() > 1<<16-1 { // RFC 9420, Section 8: the length is a uint16
		return answer[*mlsclient.ExportResponse](nil, badRequest("key_length %d", in.GetKeyLength()))
	}
	secret, err := s.epoch.Export(in.GetLabel(), in.GetContext(), int(in.GetKeyLength()))
	return answer(&mlsclient.ExportResponse{ExportedSecret: secret}, err)
}

// Protect encrypts application data.
func (e *Endpoint) Protect(_ context.Context, in *mlsclient.ProtectRequest) (*mlsclient.ProtectResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, err := find(e.states, "state_id", in.GetStateId())
	if err != nil {
		return answer[*mlsclient.ProtectResponse](nil, err)
	}
	sealed, _, err := s.ratchets.Seal(e.rand, s.signer, in.GetAuthenticatedData(), in.GetPlaintext(), 0)
	return answer(&mlsclient.ProtectResponse{Ciphertext: sealed}, err)
}

// Unprotect decrypts application data.
func (e *Endpoint) Unprotect(_ context.Context, in *mlsclient.UnprotectRequest) (*mlsclient.UnprotectResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, err := find(e.states, "state_id", in.GetStateId())
	if err != nil {
		return answer[*mlsclient.UnprotectResponse](nil, err)
	}
	opened, _, err := s.ratchets.Open(in.GetCiphertext())
	if err != nil {
		return answer[*mlsclient.UnprotectResponse](nil, err)
	}
	return &mlsclient.UnprotectResponse{AuthenticatedData: opened.AuthenticatedData, Plaintext: opened.Plaintext}, nil
}

// StorePSK gives an external PSK to a member or to one who is about to join.
func (e *Endpoint) StorePSK(_ context.Context, in *mlsclient.StorePSKRequest) (*mlsclient.StorePSKResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	id := in.GetStateOrTransactionId()
	var store pskStore
	if s, ok := e.states[id]; ok {
		store = s.psks
	} else if j, ok := e.joiners[id]; ok {
		store = j.psks
	} else {
		return answer[*mlsclient.StorePSKResponse](nil, status.Errorf(codes.NotFound, "state or transaction %d is unknown", id))
	}
	store.external[string(in.GetPskId())] = slices.Clone(in.GetPskSecret())
	return &mlsclient.StorePSKResponse{}, nil
}

// Free drops a state and wipes its secrets.
func (e *Endpoint) Free(_ context.Context, in *mlsclient.FreeRequest) (*mlsclient.FreeResponse, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s, err := find(e.states, "state_id", in.GetStateId())
	if err != nil {
		return answer[*mlsclient.FreeResponse](nil, err)
	}
	delete(e.states, in.GetStateId())
	s.ratchets.Wipe()
	s.epoch.Wipe()
	return &mlsclient.FreeResponse{}, nil
}
