package mls

import (
	"fmt"
	"io"
	"iter"
	"log/slog"
)

// ThinEpoch is what is left of an [Epoch] that is kept only so that late commits can
// still be followed from it: GroupContext, transcript hashes, public tree, own path
// keys, init_secret, external_secret, membership_key and resumption_psk. It processes
// every child commit in a PublicMessage, external ones too. It cannot open messages of
// its own epoch: what they are sealed under is not in it, and there are no [Ratchets]
// of a ThinEpoch. It cannot seal, export or commit either.
type ThinEpoch struct {
	_ [0]func()
	e *Epoch
}

// Thin gives the ThinEpoch of e, with secrets of its own: wipe e and its Ratchets once
// the result is stored.
func (e *Epoch) Thin() (*ThinEpoch, error) {
	if err := e.checkAlive(); err != nil {
		return nil, err
	}
	c := e.clone()
	for _, s := range c.secrets.heavy() {
		s.wipe()
		*s = secret{}
	}
	c.thin = true
	return &ThinEpoch{e: c}, nil
}

// Process is [Epoch.Process]. Neither a commit nor a proposal that it names can be a
// PrivateMessage.
func (t *ThinEpoch) Process(message []byte, cfg ProcessConfig) (*Processed, error) {
	if cfg.Ratchets != nil {
		return nil, fmt.Errorf("%w: a thin epoch has no Ratchets", ErrUsage)
	}
	return t.e.Process(message, cfg)
}

// Suite is the group's ciphersuite.
func (t *ThinEpoch) Suite() CipherSuite { return t.e.Suite() }

// GroupID gives a copy of the group's identifier.
func (t *ThinEpoch) GroupID() []byte { return t.e.GroupID() }

// Number is the epoch's number.
func (t *ThinEpoch) Number() uint64 { return t.e.Number() }

// OwnLeaf is this member's place in the tree.
func (t *ThinEpoch) OwnLeaf() LeafIndex { return t.e.OwnLeaf() }

// TreeHash gives a copy of the tree hash, RFC 9420, Section 7.8.
func (t *ThinEpoch) TreeHash() []byte { return t.e.TreeHash() }

// GroupContext gives the encoded GroupContext, RFC 9420, Section 8.1.
func (t *ThinEpoch) GroupContext() []byte { return t.e.GroupContext() }

// InterimTranscriptHash gives a copy of it, RFC 9420, Section 8.2.
func (t *ThinEpoch) InterimTranscriptHash() []byte { return t.e.InterimTranscriptHash() }

// Members goes through the members in the order of their leaves.
func (t *ThinEpoch) Members() iter.Seq2[LeafIndex, *LeafNode] { return t.e.Members() }

// RatchetTree is [Epoch.RatchetTree].
func (t *ThinEpoch) RatchetTree() []byte { return t.e.RatchetTree() }

// Member gives the member at a leaf; ok is false if there is none.
func (t *ThinEpoch) Member(i LeafIndex) (leaf *LeafNode, ok bool) { return t.e.Member(i) }

// ResumptionPSK gives resumption_psk of this epoch, for a [PSKSource]. It is secret.
func (t *ThinEpoch) ResumptionPSK() []byte { return t.e.ResumptionPSK() }

// MarshalSecret is [Epoch.MarshalSecret]; [ParseThinEpoch] is its inverse.
func (t *ThinEpoch) MarshalSecret() []byte { return t.e.MarshalSecret() }

// Snapshot is [Epoch.Snapshot]; [LoadThinEpoch] is its inverse.
func (t *ThinEpoch) Snapshot(since *Epoch) (head []byte, pages []Row) { return t.e.Snapshot(since) }

// MarkPages is [Epoch.MarkPages].
func (t *ThinEpoch) MarkPages(seen map[string]struct{}) { t.e.MarkPages(seen) }

// Wipe destroys the secrets.
func (t *ThinEpoch) Wipe() { t.e.Wipe() }

// Format prints which epoch it is, and no secret.
func (t *ThinEpoch) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, t.describe()) }

// LogValue logs which epoch it is, and no secret.
func (t *ThinEpoch) LogValue() slog.Value { return slog.StringValue(t.describe()) }

func (t *ThinEpoch) describe() string {
	if t == nil {
		return "mls.ThinEpoch(nil)"
	}
	return "thin " + t.e.describe()
}

// ParseThinEpoch is the inverse of [ThinEpoch.MarshalSecret].
func ParseThinEpoch(snapshot []byte) (*ThinEpoch, error) {
	e, err := parseEpoch(snapshot, true)
	if err != nil {
		return nil, err
	}
	return &ThinEpoch{e: e}, nil
}

// LoadThinEpoch is [LoadEpoch] for the head of a ThinEpoch.
func LoadThinEpoch(head []byte, page PageSource) (*ThinEpoch, error) {
	e, err := loadEpoch(head, page, true)
	if err != nil {
		return nil, err
	}
	return &ThinEpoch{e: e}, nil
}
