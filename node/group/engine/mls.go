package engine

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/pandanode/pandanode/mls"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// ErrSelfRemoved is the error of Process for a commit that removes this device.
var ErrSelfRemoved = errors.New("this device is removed")

const (
	// KeyPackageLifetime is how long a joiner may be away between asking and being welcomed.
	KeyPackageLifetime = 84 * 24 * time.Hour
	// clocksApart is how far a joiner's clock may be off that of the member who adds it: the
	// lifetime in a KeyPackage says no more.
	clocksApart = 100 * 365 * 24 * time.Hour
)

// MLS is the real Engine: package mls with one ciphersuite.
func MLS(suite uint16) Engine { return mlsEngine{suite: mls.CipherSuite(suite)} }

type mlsEngine struct{ suite mls.CipherSuite }

func (e mlsEngine) Suite() uint16 { return uint16(e.suite) }

func (e mlsEngine) NewSigner(rand io.Reader) (secret, public []byte, err error) {
	k, err := mls.NewSignatureKey(e.suite, rand)
	if err != nil {
		return nil, nil, err
	}
	defer k.Wipe()
	return k.MarshalSecret(), k.PublicKey(), nil
}

func (e mlsEngine) NewKeyPackage(rand io.Reader, now time.Time, signer, credential []byte) (KeyPackage, error) {
	k, err := mls.ParseSignatureKey(e.suite, signer)
	if err != nil {
		return KeyPackage{}, err
	}
	defer k.Wipe()
	kp, secrets, err := mls.NewKeyPackage(rand, mls.KeyPackageConfig{
		Suite: e.suite, Credential: mls.BasicCredential(credential), Signer: k,
		NotBefore: now.Add(-clocksApart), NotAfter: now.Add(clocksApart),
	})
	if err != nil {
		return KeyPackage{}, err
	}
	defer secrets.Wipe()
	return KeyPackage{Public: kp.Bytes(), Secret: secrets.MarshalSecret()}, nil
}

func (e mlsEngine) InspectKeyPackage(b []byte) (KeyPackageInfo, error) {
	kp, err := mls.ParseKeyPackage(b)
	if err != nil {
		return KeyPackageInfo{}, err
	}
	if kp.Suite != e.suite {
		return KeyPackageInfo{}, fmt.Errorf("ciphersuite %#04x, the group has %#04x", uint16(kp.Suite), uint16(e.suite))
	}
	return KeyPackageInfo{Credential: kp.Leaf.Credential.Identity, SignatureKey: kp.Leaf.SignatureKey}, nil
}

func (e mlsEngine) CheckLifetime(b []byte, now time.Time) error {
	kp, err := mls.ParseKeyPackage(b)
	if err != nil {
		return err
	}
	return kp.Validate(now, mls.AcceptAnyCredential) // the credential was checked by the caller
}

func (e mlsEngine) Create(rand io.Reader, now time.Time, mlsGroup, signer, credential []byte) (Epoch, error) {
	k, err := mls.ParseSignatureKey(e.suite, signer)
	if err != nil {
		return nil, err
	}
	defer k.Wipe()
	epoch, ratchets, err := mls.Create(rand, mls.GroupConfig{
		Suite: e.suite, GroupID: mlsGroup, Credential: mls.BasicCredential(credential), Signer: k,
		NotBefore: now.Add(-clocksApart), NotAfter: now.Add(clocksApart),
		Validator: mls.AcceptAnyCredential, // one's own
	})
	if err != nil {
		return nil, err
	}
	return &MLSEpoch{suite: e.suite, Epoch: epoch, ratchets: ratchets}, nil
}

func validator(check CheckCredential) mls.CredentialValidator {
	return func(c mls.Credential, signatureKey []byte) error {
		if c.Type != mls.CredentialBasic {
			return fmt.Errorf("credential of type %d", c.Type)
		}
		return check(c.Identity, signatureKey)
	}
}

// sameDevice is the mls.SameClient of leaves whose credentials were verified: a device
// renews the key for transport keys, which its credential binds, with its leaf.
func sameDevice(old, l *mls.LeafNode) bool {
	before, err := identity.ClaimedDevice(old.Credential.Identity)
	if err != nil {
		return false
	}
	now, err := identity.ClaimedDevice(l.Credential.Identity)
	return err == nil && before == now
}

func (e mlsEngine) Join(welcome, tree []byte, kp KeyPackage, check CheckCredential) (Epoch, []byte, error) {
	pub, err := mls.ParseKeyPackage(kp.Public)
	if err != nil {
		return nil, nil, err
	}
	secrets, err := mls.ParseKeyPackageSecrets(kp.Secret)
	if err != nil {
		return nil, nil, err
	}
	defer secrets.Wipe()
	j, err := mls.Join(welcome, mls.JoinConfig{KeyPackage: pub, Secrets: secrets, RatchetTree: tree, Validator: validator(check)})
	if err != nil {
		return nil, nil, err
	}
	for _, l := range j.Epoch.Members() {
		if err := checkLength(l); err != nil {
			j.Epoch.Wipe()
			j.Ratchets.Wipe()
			return nil, nil, err
		}
	}
	var data []byte
	for _, x := range j.Extensions {
		if uint16(x.Type) == wire.ExtensionJoinSecrets {
			data = x.Data
		}
	}
	return &MLSEpoch{suite: e.suite, Epoch: j.Epoch, ratchets: j.Ratchets}, data, nil
}

// checkLength bounds a leaf as operations bound what they add: the pages of a tree are rows.
func checkLength(l *mls.LeafNode) error {
	if n := len(l.Bytes()); n > wire.MaxKeyPackage {
		return fmt.Errorf("%w: leaf of %d bytes, at most %d", wire.ErrTooLarge, n, wire.MaxKeyPackage)
	}
	return nil
}

func (e mlsEngine) InspectCommit(commit []byte) (CommitInfo, error) {
	c, err := mls.InspectCommit(commit)
	if err != nil {
		return CommitInfo{}, err
	}
	info := CommitInfo{
		MLSGroup: c.GroupID, Epoch: c.Epoch, Sender: uint32(c.Sender), Path: c.PathLeaf != nil, Other: len(c.References),
	}
	if c.External {
		// Nodes do not join by themselves (docs/ARCHITECTURE.md, Joining).
		return CommitInfo{}, errors.New("external commit")
	}
	if c.PathLeaf != nil {
		if err := checkLength(c.PathLeaf); err != nil {
			return CommitInfo{}, err
		}
		info.Own = c.PathLeaf.Credential.Identity
	}
	for _, p := range c.Proposals {
		switch p := p.(type) {
		case mls.Add:
			info.Adds = append(info.Adds, p.KeyPackage.Bytes())
			info.Added = append(info.Added, p.KeyPackage.Leaf.Credential.Identity)
		case mls.Remove:
			info.Removes = append(info.Removes, uint32(p.Leaf))
		default:
			info.Other++
		}
	}
	return info, nil
}

func (e mlsEngine) NextInterim(parent, commit []byte) ([]byte, error) {
	return mls.NextInterimTranscriptHash(e.suite, parent, commit)
}

func (e mlsEngine) Load(head []byte, pages PageSource, keys []KeyRow) (Epoch, error) {
	epoch, err := mls.LoadEpoch(head, mls.PageSource(pages))
	if err != nil {
		return nil, err
	}
	rows := make([]mls.Row, len(keys))
	for i, k := range keys {
		rows[i] = mls.Row(k)
	}
	ratchets, err := mls.NewRatchets(epoch, rows)
	if err != nil {
		return nil, err
	}
	return &MLSEpoch{suite: e.suite, Epoch: epoch, ratchets: ratchets}, nil
}

func (e mlsEngine) LoadThin(head []byte, pages PageSource) (ThinEpoch, error) {
	t, err := mls.LoadThinEpoch(head, mls.PageSource(pages))
	if err != nil {
		return nil, err
	}
	return mlsThin{suite: e.suite, epoch: t}, nil
}

func (e mlsEngine) MarkPages(head []byte, pages PageSource, seen map[string]struct{}) error {
	return mls.MarkStoredPages(head, mls.PageSource(pages), seen)
}

// mlsThin is the thin form of an epoch.
type mlsThin struct {
	suite mls.CipherSuite
	epoch *mls.ThinEpoch
}

func (t mlsThin) Own() uint32    { return uint32(t.epoch.OwnLeaf()) }
func (t mlsThin) Leaves() []Leaf { return leaves(t.epoch.Members()) }
func (t mlsThin) Wipe()          { t.epoch.Wipe() }
func (t mlsThin) Tree() []byte   { return t.epoch.RatchetTree() }
func (t mlsThin) Leaf(index uint32) (Leaf, bool) {
	l, ok := t.epoch.Member(mls.LeafIndex(index))
	return leaf(index, l, ok)
}

func (t mlsThin) Head() []byte {
	head, _ := t.epoch.Snapshot(nil)
	return head
}

func (t mlsThin) Process(commit []byte, check CheckCredential) (Epoch, error) {
	return processed(t.suite)(t.epoch.Process(commit, mls.ProcessConfig{Validator: validator(check), SameClient: sameDevice}))
}

// processed turns what Process of a whole or thin epoch gives into an Epoch.
func processed(suite mls.CipherSuite) func(*mls.Processed, error) (Epoch, error) {
	return func(p *mls.Processed, err error) (Epoch, error) {
		switch {
		case err != nil:
			return nil, err
		case p.Removed:
			return nil, ErrSelfRemoved
		}
		return &MLSEpoch{suite: suite, Epoch: p.Epoch, ratchets: p.Ratchets}, nil
	}
}

func leaves(members iter.Seq2[mls.LeafIndex, *mls.LeafNode]) (out []Leaf) {
	for i, l := range members {
		one, _ := leaf(uint32(i), l, true)
		out = append(out, one)
	}
	return out
}

func leaf(index uint32, l *mls.LeafNode, ok bool) (Leaf, bool) {
	if !ok {
		return Leaf{}, false
	}
	return Leaf{Index: index, Credential: l.Credential.Identity, SignatureKey: l.SignatureKey}, true
}

// MLSEpoch is an Epoch of package mls with its message keys.
type MLSEpoch struct {
	suite    mls.CipherSuite
	Epoch    *mls.Epoch
	ratchets *mls.Ratchets

	signer *mls.SignatureKey // of the last Seal: making it of its bytes costs as much as a signature
	secret []byte            // what it was made of
}

func (e *MLSEpoch) Number() uint64        { return e.Epoch.Number() }
func (e *MLSEpoch) MLSGroup() []byte      { return e.Epoch.GroupID() }
func (e *MLSEpoch) Interim() []byte       { return e.Epoch.InterimTranscriptHash() }
func (e *MLSEpoch) Authenticator() []byte { return e.Epoch.EpochAuthenticator() }
func (e *MLSEpoch) Export(label string, context []byte, length int) ([]byte, error) {
	return e.Epoch.Export(label, context, length)
}
func (e *MLSEpoch) TreeHash() []byte { return e.Epoch.TreeHash() }
func (e *MLSEpoch) Tree() []byte     { return e.Epoch.RatchetTree() }
func (e *MLSEpoch) Own() uint32      { return uint32(e.Epoch.OwnLeaf()) }
func (e *MLSEpoch) Leaves() []Leaf   { return leaves(e.Epoch.Members()) }
func (e *MLSEpoch) Leaf(index uint32) (Leaf, bool) {
	l, ok := e.Epoch.Member(mls.LeafIndex(index))
	return leaf(index, l, ok)
}
func (e *MLSEpoch) Keys() []KeyRow { return keyRows(e.ratchets.Rows()) }

func (e *MLSEpoch) Wipe() {
	e.ratchets.Wipe()
	e.Epoch.Wipe()
	if e.signer != nil {
		e.signer.Wipe()
		e.signer, e.secret = nil, nil
	}
}

func (e *MLSEpoch) Snapshot(since Epoch) (head []byte, pages []KeyRow) {
	var before *mls.Epoch
	if o, ok := since.(*MLSEpoch); ok {
		before = o.Epoch
	}
	head, rows := e.Epoch.Snapshot(before)
	return head, keyRows(rows)
}

func (e *MLSEpoch) Thin() (ThinEpoch, error) {
	t, err := e.Epoch.Thin()
	if err != nil {
		return nil, err
	}
	return mlsThin{suite: e.suite, epoch: t}, nil
}

func (e *MLSEpoch) PathFills() int { return e.Epoch.PathFills() }

func (e *MLSEpoch) PathSize(removes []uint32) (nodes, bytes int) {
	out := make([]mls.LeafIndex, len(removes))
	for i, leaf := range removes {
		out[i] = mls.LeafIndex(leaf)
	}
	return e.Epoch.PathSize(out...)
}

func (e *MLSEpoch) Commit(rand io.Reader, c Change) (Committed, error) {
	k, err := mls.ParseSignatureKey(e.suite, c.Signer)
	if err != nil {
		return Committed{}, err
	}
	defer k.Wipe()
	var proposals []mls.Proposal
	for _, leaf := range c.Removes {
		proposals = append(proposals, mls.Remove{Leaf: mls.LeafIndex(leaf)})
	}
	for _, b := range c.Adds {
		kp, err := mls.ParseKeyPackage(b)
		if err != nil {
			return Committed{}, err
		}
		proposals = append(proposals, mls.Add{KeyPackage: kp})
	}
	var leaf *mls.LeafUpdate
	if c.Credential != nil {
		leaf = &mls.LeafUpdate{Credential: &mls.Credential{Type: mls.CredentialBasic, Identity: c.Credential}}
	}
	// Without a path nothing in a commit is drawn, so that a device whose store went back would
	// make the same one, and use its epoch's keys, again.
	var unique []byte
	if c.NoPath {
		unique = make([]byte, 16)
		if _, err := io.ReadFull(rand, unique); err != nil {
			return Committed{}, fmt.Errorf("drawing what tells a commit from others: %w", err)
		}
	}
	r, err := e.Epoch.Commit(rand, mls.CommitConfig{
		NoPath: c.NoPath, AuthenticatedData: unique, Leaf: leaf, Signer: k, Now: c.Now, Proposals: proposals, Validator: validator(c.Check), SameClient: sameDevice,
		GroupInfoExtensions: []mls.Extension{{Type: mls.ExtensionType(wire.ExtensionJoinSecrets), Data: c.JoinSecrets}},
	})
	if err != nil {
		return Committed{}, err
	}
	return Committed{Commit: r.Commit, Welcome: r.Welcome, Epoch: &MLSEpoch{suite: e.suite, Epoch: r.Epoch, ratchets: r.Ratchets}}, nil
}

func (e *MLSEpoch) Process(commit []byte, check CheckCredential) (Epoch, error) {
	return processed(e.suite)(e.Epoch.Process(commit, mls.ProcessConfig{Validator: validator(check), SameClient: sameDevice}))
}

func (e *MLSEpoch) Seal(rand io.Reader, signer, authenticatedData, plaintext []byte) ([]byte, []KeyRow, error) {
	if e.signer == nil || subtle.ConstantTimeCompare(e.secret, signer) != 1 {
		k, err := mls.ParseSignatureKey(e.suite, signer)
		if err != nil {
			return nil, nil, err
		}
		if e.signer != nil {
			e.signer.Wipe()
		}
		e.signer, e.secret = k, signer
	}
	message, delta, err := e.ratchets.Seal(rand, e.signer, authenticatedData, plaintext, 0) // the envelope pads
	return message, keyRows(delta), err
}

func (e *MLSEpoch) Open(message []byte) (OpenedMessage, []KeyRow, error) {
	o, delta, err := e.ratchets.Open(message)
	switch {
	case errors.Is(err, mls.ErrKeyUsed):
		return OpenedMessage{}, nil, verdict.ErrUsed
	case errors.Is(err, mls.ErrTooFarAhead): // gossip lost many before it: they come by a sync, and so does it again
		return OpenedMessage{}, nil, fmt.Errorf("%w: %w", verdict.ErrIncomplete, err)
	case err != nil:
		return OpenedMessage{}, nil, fmt.Errorf("%w: %w", verdict.ErrForged, err)
	}
	return OpenedMessage{Sender: uint32(o.Sender), AuthenticatedData: o.AuthenticatedData, Plaintext: o.Plaintext}, keyRows(delta), nil
}

func keyRows(rows []mls.Row) []KeyRow {
	out := make([]KeyRow, len(rows))
	for i, r := range rows {
		out[i] = KeyRow(r)
	}
	return out
}

// InspectMessage reads the fields of a PrivateMessage that are not encrypted, RFC
// 9420, Section 6.3: version, wire format, group_id, epoch, content type,
// authenticated_data.
func (e mlsEngine) InspectMessage(message []byte) ([]byte, error) {
	s := cryptobyte.String(message)
	var version, format uint16
	var epoch uint64
	var kind uint8
	var group, authenticated cryptobyte.String
	if !s.ReadUint16(&version) || !s.ReadUint16(&format) || mls.WireFormat(format) != mls.WirePrivate ||
		!readVector(&s, &group) || !s.ReadUint64(&epoch) || !s.ReadUint8(&kind) || !readVector(&s, &authenticated) {
		return nil, fmt.Errorf("%w: PrivateMessage", wire.ErrMalformed)
	}
	return authenticated, nil
}

// readVector reads a vector whose length is a variable-size integer, RFC 9420,
// Section 2.1.2.
func readVector(s, out *cryptobyte.String) bool {
	var first uint8
	if !s.ReadUint8(&first) || first>>6 == 3 {
		return false
	}
	n := int(first & 0x3f)
	for range 1<<(first>>6) - 1 {
		var next uint8
		if !s.ReadUint8(&next) {
			return false
		}
		n = n<<8 | int(next)
	}
	return s.ReadBytes((*[]byte)(out), n)
}
