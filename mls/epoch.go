package mls

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"slices"
	"time"
)

// Epoch is the state of one member in one epoch of a group, less the message keys,
// which are the [Ratchets]. It is immutable and safe for concurrent use.
type Epoch struct {
	_               [0]func()
	ctx             *groupContext
	context         []byte // encoding of ctx
	tree            *tree  // frozen
	own             LeafIndex
	keys            pathKeys
	pending         []pendingLeaf // own Update proposals that no commit has taken yet
	secrets         epochSecrets
	interim         []byte
	confirmationTag []byte
	reinit          *ReInit         // of the commit that began this epoch: nothing follows it
	origin          *PreSharedKeyID // of a group that continues another, in its epoch 0 only
	thin            bool            // some secrets are gone for good: see ThinEpoch
}

// pendingLeaf is the private key of a leaf that was proposed by Update.
type pendingLeaf struct {
	public  []byte
	private secret
}

// GroupConfig says what group to create. Suite, GroupID, Credential, Signer and
// Validator are required; a zero NotAfter means that the leaf does not expire.
type GroupConfig struct {
	Suite          CipherSuite
	GroupID        []byte
	Credential     Credential
	Signer         *SignatureKey
	NotBefore      time.Time
	NotAfter       time.Time
	Extensions     []Extension // of the GroupContext
	LeafExtensions []Extension
	Capabilities   *Capabilities // nil: DefaultCapabilities of the extensions used
	Validator      CredentialValidator
}

// Create makes a group of one member: RFC 9420, Section 11. The leaf key and then
// the first epoch_secret are drawn from rand.
func Create(rand io.Reader, cfg GroupConfig) (*Epoch, *Ratchets, error) {
	s, err := cfg.Suite.lookup()
	if err != nil {
		return nil, nil, err
	}
	caps := cfg.Capabilities
	if caps == nil {
		var types []ExtensionType
		for _, list := range [][]Extension{cfg.Extensions, cfg.LeafExtensions} {
			for _, x := range list {
				if x.Type > 5 && !slices.Contains(types, x.Type) {
					types = append(types, x.Type)
				}
			}
		}
		c := DefaultCapabilities(types...)
		if !slices.Contains(c.CipherSuites, s.id) {
			c.CipherSuites = append(c.CipherSuites, s.id)
		}
		caps = &c
	}
	leaf, leafKey, err := newKeyPackageLeaf(rand, s, KeyPackageConfig{
		Suite: cfg.Suite, Credential: cfg.Credential, Signer: cfg.Signer, NotBefore: cfg.NotBefore,
		NotAfter: cfg.NotAfter, LeafExtensions: cfg.LeafExtensions, Capabilities: caps,
	})
	if err != nil {
		return nil, nil, err
	}
	seed, err := draw(rand, s.nh)
	if err != nil {
		return nil, nil, err
	}
	t := newTree(s)
	if _, err := t.add(leaf); err != nil {
		return nil, nil, err
	}
	ctx := &groupContext{suite: s, groupID: clone(cfg.GroupID), treeHash: t.freeze(), extensions: cfg.Extensions}
	if err := checkContextExtensions(cfg.Extensions, cfg.Validator); err != nil {
		return nil, nil, fmt.Errorf("new group: %w", err)
	}
	if err := t.checkLeaves(ctx, cfg.Validator); err != nil {
		return nil, nil, fmt.Errorf("new group: %w", err)
	}
	if err := t.reindex(nil); err != nil {
		return nil, nil, fmt.Errorf("new group: %w", err)
	}
	epochSecret := newSecret(seed)
	defer epochSecret.wipe()
	e := &Epoch{ctx: ctx, context: ctx.bytes(), tree: t, keys: pathKeys{0: leafKey}}
	var encryption secret
	e.secrets, encryption = s.expandEpoch(epochSecret)
	e.confirmationTag = s.mac(e.secrets.confirmation, ctx.confirmedTranscript)
	e.interim = s.interimTranscript(ctx.confirmedTranscript, e.confirmationTag)
	return e, newRatchets(e, encryption), nil
}

func (e *Epoch) suite() *suite { return e.ctx.suite }

// Suite is the group's ciphersuite.
func (e *Epoch) Suite() CipherSuite { return e.ctx.suite.id }

// OwnLeaf is this member's place in the tree.
func (e *Epoch) OwnLeaf() LeafIndex { return e.own }

// GroupID gives a copy of the group's identifier.
func (e *Epoch) GroupID() []byte { return clone(e.ctx.groupID) }

// Number is the epoch's number.
func (e *Epoch) Number() uint64 { return e.ctx.epoch }

// TreeHash gives a copy of the tree hash, RFC 9420, Section 7.8.
func (e *Epoch) TreeHash() []byte { return clone(e.ctx.treeHash) }

// GroupContext gives the encoded GroupContext, RFC 9420, Section 8.1.
func (e *Epoch) GroupContext() []byte { return clone(e.context) }

// Extensions are those of the GroupContext; they are not to be changed.
func (e *Epoch) Extensions() []Extension { return slices.Clone(e.ctx.extensions) }

// ConfirmedTranscriptHash gives a copy of it, RFC 9420, Section 8.2.
func (e *Epoch) ConfirmedTranscriptHash() []byte { return clone(e.ctx.confirmedTranscript) }

// InterimTranscriptHash gives a copy of it, RFC 9420, Section 8.2.
func (e *Epoch) InterimTranscriptHash() []byte { return clone(e.interim) }

// ConfirmationTag gives a copy of the tag of the commit that began this epoch.
func (e *Epoch) ConfirmationTag() []byte { return clone(e.confirmationTag) }

// RatchetTree gives the public tree in the encoding of the ratchet_tree extension,
// RFC 9420, Section 12.4.3.3.
func (e *Epoch) RatchetTree() []byte { return e.tree.encode() }

// Members goes through the members in the order of their leaves.
func (e *Epoch) Members() iter.Seq2[LeafIndex, *LeafNode] {
	return func(yield func(LeafIndex, *LeafNode) bool) {
		e.tree.root.eachLeaf(e.tree.rootIndex(), yield)
	}
}

// MemberCount is the number of members.
func (e *Epoch) MemberCount() int { return int(e.tree.root.members) }

// Member gives the member at a leaf; ok is false if there is none.
func (e *Epoch) Member(i LeafIndex) (leaf *LeafNode, ok bool) {
	leaf = e.tree.leaf(i)
	return leaf, leaf != nil
}

// PathSize is the number of nodes that the path of a commit by this member would be sealed
// to, if it removed these leaves, and its length in bytes, about: RFC 9420, Section 7.6. It
// grows with the blank nodes.
func (e *Epoch) PathSize(removes ...LeafIndex) (nodes, bytes int) {
	t := e.tree.edit()
	for _, i := range removes {
		if uint32(i) < t.leaves && i != e.own && t.at(i.node()).leaf != nil {
			t.remove(i)
		}
	}
	const headers, tag = 8, 16
	steps := t.filteredPath(e.own)
	for _, step := range steps {
		nodes += step.sibling.resolutionSize()
	}
	s, leaf := e.suite(), t.at(e.own.node()).leafRaw()
	key := len(t.leaf(e.own).EncryptionKey)
	return nodes, len(leaf) + len(steps)*(key+headers) + nodes*(s.kem.encapSize()+s.nh+tag+headers)
}

// PathFills is how many nodes others seal to at the most for want of a path by this member:
// the largest resolution of a node on its own path, less the root, which nobody seals to.
func (e *Epoch) PathFills() (most int) {
	n, at := e.tree.root, e.tree.rootIndex()
	for !at.isLeaf() {
		if e.own.node() < at {
			n, at = n.left, at.left()
		} else {
			n, at = n.right, at.right()
		}
		most = max(most, n.resolutionSize())
	}
	return most
}

// EpochAuthenticator is epoch_authenticator, RFC 9420, Section 8.7: equal for
// members in the same epoch. It is public as far as RFC 9420 goes, but keep it
// among members.
func (e *Epoch) EpochAuthenticator() []byte { return clone(e.secrets.authenticator.bytes()) }

// ResumptionPSK gives resumption_psk of this epoch, RFC 9420, Section 8.6, for a
// [PSKSource]. It is secret.
func (e *Epoch) ResumptionPSK() []byte { return clone(e.secrets.resumption.bytes()) }

// Export is MLS-Exporter, RFC 9420, Section 8.5. The result is secret.
func (e *Epoch) Export(label string, context []byte, length int) ([]byte, error) {
	if err := e.checkAlive(); err != nil {
		return nil, err
	}
	if e.thin {
		return nil, fmt.Errorf("%w: a thin epoch exports nothing", ErrUsage)
	}
	if length < 0 || length > 255*e.suite().nh {
		return nil, fmt.Errorf("%w: export of %d bytes", ErrUsage, length)
	}
	return e.suite().export(e.secrets.exporter, label, context, length), nil
}

// Wipe destroys the secrets; nothing can be processed from this Epoch then, and its
// Ratchets neither seal nor open. Epochs that came from it keep theirs. The caller sees to it that nobody uses it meanwhile.
func (e *Epoch) Wipe() {
	for _, s := range e.secrets.each() {
		s.wipe()
	}
	e.keys.wipe()
	for _, p := range e.pending {
		p.private.wipe()
	}
}

// Format prints which epoch it is, and no secret.
func (e *Epoch) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, e.describe()) }

// LogValue logs which epoch it is, and no secret.
func (e *Epoch) LogValue() slog.Value { return slog.StringValue(e.describe()) }

func (e *Epoch) describe() string {
	if e == nil || e.ctx == nil {
		return "mls.Epoch(nil)"
	}
	return fmt.Sprintf("mls.Epoch(group %x, epoch %d, leaf %d)", e.ctx.groupID, e.ctx.epoch, e.own)
}

// same says whether o is the same epoch of the same member.
func (e *Epoch) same(o *Epoch) bool {
	return e == o || o != nil && e.own == o.own && bytes.Equal(e.context, o.context) && bytes.Equal(e.confirmationTag, o.confirmationTag)
}

// checkAlive refuses to work with secrets that were wiped.
func (e *Epoch) checkAlive() error {
	if e == nil || e.ctx == nil || e.secrets.init.empty() {
		return fmt.Errorf("%w: the Epoch was wiped", ErrUsage)
	}
	return nil
}

// checkActive refuses to go on in a group that was ended: RFC 9420, Section 11.2.
func (e *Epoch) checkActive() error {
	if err := e.checkAlive(); err != nil {
		return err
	}
	if e.reinit != nil {
		return ErrEnded
	}
	return nil
}

// ReInit gives the proposal that ended the group with the commit that began this
// epoch, RFC 9420, Section 11.2; ok is false if there was none.
func (e *Epoch) ReInit() (r ReInit, ok bool) {
	if e.reinit == nil {
		return ReInit{}, false
	}
	return *e.reinit, true
}

// checkAddress verifies that a message is for this group and epoch: RFC 9420, Sections 6
// and 12.4.2.
func (e *Epoch) checkAddress(groupID []byte, epoch uint64) error {
	if !bytes.Equal(groupID, e.ctx.groupID) {
		return ErrWrongGroup
	}
	if epoch != e.ctx.epoch {
		return fmt.Errorf("%w: %d, this one is %d", ErrWrongEpoch, epoch, e.ctx.epoch)
	}
	return nil
}
