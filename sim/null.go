package sim

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// nullEngine has the shape of MLS and none of its secrecy: epochs, leaves, commits,
// Welcomes and replays behave as the machine expects, and everything is in the clear, with
// hashes in place of keys. It is for worlds so large that only the machine's decisions
// matter; reports say when it ran. It is not exported, so that only this package can give
// it to a machine.
type nullEngine struct{}

var (
	_ engine.Engine = nullEngine{}
	_ engine.Epoch  = (*nullEpoch)(nil)
)

type nullKeyPackage struct {
	Credential []byte `cbor:"1,keyasint"`
	Signer     []byte `cbor:"2,keyasint"`
	Init       []byte `cbor:"3,keyasint"` // hash of the secret
	NotAfter   uint64 `cbor:"4,keyasint"` // seconds since 1970
}

type nullLeaf struct {
	Credential []byte `cbor:"1,keyasint"` // empty: a blank leaf
	Signer     []byte `cbor:"2,keyasint"`
}

type nullState struct {
	Group  []byte     `cbor:"1,keyasint"`
	Number uint64     `cbor:"2,keyasint"`
	Hash   []byte     `cbor:"3,keyasint"` // interim_transcript_hash
	Secret []byte     `cbor:"4,keyasint"`
	Own    uint32     `cbor:"5,keyasint"`
	Nodes  []nullLeaf `cbor:"6,keyasint"`
}

type nullCommit struct {
	Group   []byte   `cbor:"1,keyasint"`
	Number  uint64   `cbor:"2,keyasint"`
	Sender  uint32   `cbor:"3,keyasint"`
	Adds    [][]byte `cbor:"4,keyasint"`
	Removes []uint32 `cbor:"5,keyasint"`
	Nonce   []byte   `cbor:"6,keyasint"`
	Tag     []byte   `cbor:"7,keyasint"` // hash under the parent's secret
	Own     []byte   `cbor:"8,keyasint"` // the committer's credential
}

type nullWelcome struct {
	Group  []byte   `cbor:"1,keyasint"`
	Number uint64   `cbor:"2,keyasint"`
	Hash   []byte   `cbor:"3,keyasint"`
	Secret []byte   `cbor:"4,keyasint"`
	Init   [][]byte `cbor:"5,keyasint"`
	Leaf   []uint32 `cbor:"6,keyasint"`
	Data   []byte   `cbor:"7,keyasint"`
}

type nullMessage struct {
	Sender     uint32 `cbor:"1,keyasint"`
	Generation uint64 `cbor:"2,keyasint"`
	AD         []byte `cbor:"3,keyasint"`
	Plaintext  []byte `cbor:"4,keyasint"`
	Tag        []byte `cbor:"5,keyasint"`
}

type nullTree struct {
	Leaves []nullLeaf `cbor:"1,keyasint"`
}

var errNull = errors.New("null engine")

func nullHash(label string, parts ...[]byte) []byte {
	h := sha256.New()
	h.Write([]byte(label))
	for _, p := range parts {
		_ = binary.Write(h, binary.BigEndian, uint32(len(p))) //nolint:gosec // short
		h.Write(p)
	}
	return h.Sum(nil)
}

func nullDraw(rand io.Reader) ([]byte, error) {
	b := make([]byte, 32)
	_, err := io.ReadFull(rand, b)
	return b, err
}

// Suite is the Engine's.
func (nullEngine) Suite() uint16 { return 1 }

// NewSigner is the Engine's.
func (nullEngine) NewSigner(rand io.Reader) (secret, public []byte, err error) {
	secret, err = nullDraw(rand)
	return secret, nullHash("signer", secret), err
}

// NewKeyPackage is the Engine's.
func (nullEngine) NewKeyPackage(rand io.Reader, now time.Time, signer, credential []byte) (engine.KeyPackage, error) {
	secret, err := nullDraw(rand)
	kp := nullKeyPackage{
		Credential: credential, Signer: nullHash("signer", signer), Init: nullHash("init", secret),
		NotAfter: uint64(now.Add(100 * 365 * 24 * time.Hour).Unix()), //nolint:gosec // after 1970
	}
	return engine.KeyPackage{Public: wire.Marshal(&kp), Secret: secret}, err
}

// InspectKeyPackage is the Engine's.
func (nullEngine) InspectKeyPackage(b []byte) (engine.KeyPackageInfo, error) {
	var kp nullKeyPackage
	err := wire.Unmarshal(b, &kp)
	return engine.KeyPackageInfo{Credential: kp.Credential, SignatureKey: kp.Signer}, err
}

// CheckLifetime is the Engine's.
func (nullEngine) CheckLifetime(b []byte, now time.Time) error {
	var kp nullKeyPackage
	if err := wire.Unmarshal(b, &kp); err != nil {
		return err
	}
	if uint64(now.Unix()) > kp.NotAfter { //nolint:gosec // after 1970
		return fmt.Errorf("%w: KeyPackage out of date", errNull)
	}
	return nil
}

// Create is the Engine's.
func (nullEngine) Create(rand io.Reader, _ time.Time, mlsGroup, signer, credential []byte) (engine.Epoch, error) {
	secret, err := nullDraw(rand)
	return newNullEpoch(nullState{
		Group: mlsGroup, Hash: nullHash("root", mlsGroup, secret), Secret: secret,
		Nodes: []nullLeaf{{Credential: credential, Signer: nullHash("signer", signer)}},
	}), err
}

// Join is the Engine's.
func (nullEngine) Join(welcome, tree []byte, kp engine.KeyPackage, check engine.CheckCredential) (engine.Epoch, []byte, error) {
	var w nullWelcome
	var t nullTree
	if err := errors.Join(wire.Unmarshal(welcome, &w), wire.Unmarshal(tree, &t)); err != nil {
		return nil, nil, err
	}
	i := slices.IndexFunc(w.Init, func(h []byte) bool { return bytes.Equal(h, nullHash("init", kp.Secret)) })
	if i < 0 || i >= len(w.Leaf) || int(w.Leaf[i]) >= len(t.Leaves) {
		return nil, nil, fmt.Errorf("%w: the Welcome is for others", errNull)
	}
	for _, l := range t.Leaves {
		if len(l.Credential) > 0 {
			if err := check(l.Credential, l.Signer); err != nil {
				return nil, nil, err
			}
		}
	}
	e := newNullEpoch(nullState{Group: w.Group, Number: w.Number, Hash: w.Hash, Secret: w.Secret, Own: w.Leaf[i], Nodes: t.Leaves})
	return e, w.Data, nil
}

// InspectCommit is the Engine's.
func (nullEngine) InspectCommit(b []byte) (engine.CommitInfo, error) {
	var c nullCommit
	if err := wire.Unmarshal(b, &c); err != nil {
		return engine.CommitInfo{}, err
	}
	info := engine.CommitInfo{MLSGroup: c.Group, Epoch: c.Number, Sender: c.Sender, Adds: c.Adds, Removes: c.Removes, Path: true, Own: c.Own}
	for _, add := range c.Adds {
		var kp nullKeyPackage
		if err := wire.Unmarshal(add, &kp); err != nil {
			return engine.CommitInfo{}, err
		}
		info.Added = append(info.Added, kp.Credential)
	}
	return info, nil
}

// InspectMessage reads the fields that a real PrivateMessage shows without keys.
func (nullEngine) InspectMessage(b []byte) ([]byte, error) {
	var m nullMessage
	if err := wire.Unmarshal(b, &m); err != nil {
		return nil, err
	}
	return m.AD, nil
}

// NextInterim is the Engine's.
func (nullEngine) NextInterim(parent, commit []byte) ([]byte, error) {
	return nullHash("interim", parent, commit), nil
}

// Load is the Engine's.
func (nullEngine) Load(head []byte, _ engine.PageSource, keys []engine.KeyRow) (engine.Epoch, error) {
	var s nullState
	if err := wire.Unmarshal(head, &s); err != nil {
		return nil, err
	}
	e := newNullEpoch(s)
	for _, k := range keys {
		e.used[string(k.Key)] = true
		if len(k.Key) == 12 && binary.BigEndian.Uint32(k.Key) == s.Own {
			e.next = max(e.next, binary.BigEndian.Uint64(k.Key[4:])+1)
		}
	}
	return e, nil
}

// LoadThin is the Engine's.
func (n nullEngine) LoadThin(head []byte, pages engine.PageSource) (engine.ThinEpoch, error) {
	e, err := n.Load(head, pages, nil)
	if err != nil {
		return nil, err
	}
	return e.Thin()
}

// MarkPages is the Engine's: a null epoch has none.
func (nullEngine) MarkPages([]byte, engine.PageSource, map[string]struct{}) error { return nil }

// nullThin is a null epoch that opens no message.
type nullThin struct{ e *nullEpoch }

func (t nullThin) Own() uint32           { return t.e.Own() }
func (t nullThin) Leaves() []engine.Leaf { return t.e.Leaves() }
func (t nullThin) Tree() []byte          { return t.e.Tree() }
func (t nullThin) Leaf(index uint32) (engine.Leaf, bool) {
	return t.e.Leaf(index)
}
func (t nullThin) Head() []byte { return wire.Marshal(&t.e.nullState) }
func (t nullThin) Wipe()        {}
func (t nullThin) Process(commit []byte, check engine.CheckCredential) (engine.Epoch, error) {
	return t.e.Process(commit, check)
}

// nullEpoch is an epoch in the clear.
type nullEpoch struct {
	nullState
	next uint64          // generation of the next message of its own
	used map[string]bool // sender and generation
}

func newNullEpoch(s nullState) *nullEpoch { return &nullEpoch{nullState: s, used: map[string]bool{}} }

func nullRow(sender uint32, generation uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(nil, sender), generation)
}

func (e *nullEpoch) Number() uint64        { return e.nullState.Number }
func (e *nullEpoch) MLSGroup() []byte      { return e.Group }
func (e *nullEpoch) Interim() []byte       { return e.Hash }
func (e *nullEpoch) Authenticator() []byte { return nullHash("authenticator", e.Secret, e.Hash) }
func (e *nullEpoch) TreeHash() []byte      { return nullHash("tree", e.Tree()) }
func (e *nullEpoch) Tree() []byte          { return wire.Marshal(&nullTree{Leaves: e.Nodes}) }
func (e *nullEpoch) Own() uint32           { return e.nullState.Own }
func (e *nullEpoch) Snapshot(engine.Epoch) ([]byte, []engine.KeyRow) {
	return wire.Marshal(&e.nullState), nil
}

func (e *nullEpoch) Thin() (engine.ThinEpoch, error) {
	s := e.nullState
	s.Secret = slices.Clone(s.Secret)
	return nullThin{newNullEpoch(s)}, nil
}
func (e *nullEpoch) Wipe() { clear(e.Secret) }

func (e *nullEpoch) Keys() []engine.KeyRow {
	var out []engine.KeyRow
	for _, k := range sortedKeys(e.used) {
		out = append(out, engine.KeyRow{Key: []byte(k), Value: []byte{1}})
	}
	return out
}

// Leaf gives one of the Leaves.
func (e *nullEpoch) Leaf(index uint32) (engine.Leaf, bool) {
	for _, l := range e.Leaves() {
		if l.Index == index {
			return l, true
		}
	}
	return engine.Leaf{}, false
}

func (e *nullEpoch) Leaves() []engine.Leaf {
	var out []engine.Leaf
	for i, l := range e.Nodes {
		if len(l.Credential) > 0 {
			out = append(out, engine.Leaf{Index: uint32(i), Credential: l.Credential, SignatureKey: l.Signer}) //nolint:gosec // a tree's index
		}
	}
	return out
}

func (e *nullEpoch) Export(label string, context []byte, length int) ([]byte, error) {
	out := nullHash("export "+label, e.Secret, e.Hash, context)
	for len(out) < length {
		out = append(out, nullHash("more", out)...)
	}
	return out[:length], nil
}

// after returns the state that a commit leads to, and the leaves of the devices that it
// adds.
func (e *nullEpoch) after(c *nullCommit, raw []byte, check engine.CheckCredential) (nullState, []uint32, [][]byte, error) {
	next := nullState{
		Group: e.Group, Number: e.nullState.Number + 1, Hash: nullHash("interim", e.Hash, raw),
		Secret: nullHash("secret", e.Secret, raw), Own: e.nullState.Own, Nodes: slices.Clone(e.Nodes),
	}
	if int(c.Sender) >= len(next.Nodes) {
		return next, nil, nil, fmt.Errorf("%w: nobody sent it", errNull)
	}
	if err := check(c.Own, next.Nodes[c.Sender].Signer); err != nil {
		return next, nil, nil, err
	}
	next.Nodes[c.Sender].Credential = c.Own
	for _, i := range c.Removes {
		if int(i) >= len(next.Nodes) || len(next.Nodes[i].Credential) == 0 {
			return next, nil, nil, fmt.Errorf("%w: it removes nobody", errNull)
		}
		next.Nodes[i] = nullLeaf{}
	}
	var at []uint32
	var inits [][]byte
	for _, b := range c.Adds {
		var kp nullKeyPackage
		if err := wire.Unmarshal(b, &kp); err != nil {
			return next, nil, nil, err
		}
		if err := check(kp.Credential, kp.Signer); err != nil {
			return next, nil, nil, err
		}
		for _, l := range next.Nodes {
			if bytes.Equal(l.Signer, kp.Signer) && len(l.Credential) > 0 {
				return next, nil, nil, fmt.Errorf("%w: a signature key twice", errNull)
			}
		}
		i := slices.IndexFunc(next.Nodes, func(l nullLeaf) bool { return len(l.Credential) == 0 })
		if i < 0 {
			i, next.Nodes = len(next.Nodes), append(next.Nodes, nullLeaf{})
		}
		next.Nodes[i] = nullLeaf{Credential: kp.Credential, Signer: kp.Signer}
		at, inits = append(at, uint32(i)), append(inits, kp.Init) //nolint:gosec // a tree's index
	}
	return next, at, inits, nil
}

// PathSize is the Epoch's: a null commit has no path to seal.
func (e *nullEpoch) PathSize([]uint32) (nodes, bytes int) { return 0, 0 }

// PathFills is the Epoch's.
func (e *nullEpoch) PathFills() int { return 0 }

func (e *nullEpoch) Commit(rand io.Reader, ch engine.Change) (engine.Committed, error) {
	nonce, err := nullDraw(rand)
	if err != nil {
		return engine.Committed{}, err
	}
	c := &nullCommit{Group: e.Group, Number: e.nullState.Number, Sender: e.nullState.Own, Adds: ch.Adds, Removes: ch.Removes, Nonce: nonce, Own: ch.Credential}
	if c.Own == nil {
		c.Own = e.Nodes[c.Sender].Credential
	}
	c.Tag = nullHash("commit", e.Secret, nonce)
	raw := wire.Marshal(c)
	next, at, inits, err := e.after(c, raw, ch.Check)
	if err != nil {
		return engine.Committed{}, err
	}
	out := engine.Committed{Commit: raw, Epoch: newNullEpoch(next)}
	if len(at) > 0 {
		out.Welcome = wire.Marshal(&nullWelcome{
			Group: next.Group, Number: next.Number, Hash: next.Hash, Secret: next.Secret, Init: inits, Leaf: at, Data: ch.JoinSecrets,
		})
	}
	return out, nil
}

func (e *nullEpoch) Process(raw []byte, check engine.CheckCredential) (engine.Epoch, error) {
	var c nullCommit
	if err := wire.Unmarshal(raw, &c); err != nil {
		return nil, err
	}
	if !bytes.Equal(c.Tag, nullHash("commit", e.Secret, c.Nonce)) || c.Number != e.nullState.Number {
		return nil, fmt.Errorf("%w: not a commit of this epoch", errNull)
	}
	if slices.Contains(c.Removes, e.nullState.Own) {
		return nil, engine.ErrSelfRemoved
	}
	next, _, _, err := e.after(&c, raw, check)
	if err != nil {
		return nil, err
	}
	return newNullEpoch(next), nil
}

func (e *nullEpoch) Seal(_ io.Reader, _, authenticatedData, plaintext []byte) ([]byte, []engine.KeyRow, error) {
	m := nullMessage{Sender: e.nullState.Own, Generation: e.next, AD: authenticatedData, Plaintext: plaintext}
	m.Tag = nullHash("message", e.Secret, nullRow(m.Sender, m.Generation), m.AD, m.Plaintext)
	row := nullRow(m.Sender, m.Generation)
	e.next++
	e.used[string(row)] = true
	return wire.Marshal(&m), []engine.KeyRow{{Key: row, Value: []byte{1}}}, nil
}

func (e *nullEpoch) Open(b []byte) (engine.OpenedMessage, []engine.KeyRow, error) {
	var m nullMessage
	if err := wire.Unmarshal(b, &m); err != nil {
		return engine.OpenedMessage{}, nil, fmt.Errorf("%w: %w", verdict.ErrForged, err)
	}
	row := nullRow(m.Sender, m.Generation)
	if !bytes.Equal(m.Tag, nullHash("message", e.Secret, row, m.AD, m.Plaintext)) {
		return engine.OpenedMessage{}, nil, fmt.Errorf("%w: not sealed in this epoch", verdict.ErrForged)
	}
	if e.used[string(row)] {
		return engine.OpenedMessage{}, nil, verdict.ErrUsed
	}
	e.used[string(row)] = true
	return engine.OpenedMessage{Sender: m.Sender, AuthenticatedData: m.AD, Plaintext: m.Plaintext}, []engine.KeyRow{{Key: row, Value: []byte{1}}}, nil
}
