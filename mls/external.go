package mls

import (
	"fmt"
	"io"
	"slices"
)

// ExternalConfig is what joining by an external commit needs. Signer, Credential
// and Validator are required.
type ExternalConfig struct {
	Signer            *SignatureKey
	Credential        Credential
	Capabilities      *Capabilities // nil: DefaultCapabilities
	LeafExtensions    []Extension
	RatchetTree       []byte           // needed if the GroupInfo carries none
	Resync            *LeafIndex       // an earlier leaf of this client, removed by the commit
	PreSharedKeys     []PreSharedKeyID // to mix in, found in PSKs
	PSKs              PSKSource
	AuthenticatedData []byte
	Validator         CredentialValidator
	SameClient        SameClient // compares the own leaf with Resync's; nil: EqualCredentials
}

// JoinExternal joins without being added: RFC 9420, Section 12.4.3.2. groupInfo (an
// MLSMessage) carries external_pub. The commit goes to the members, who process it
// like any other. From rand are drawn the key of the KEM output, then what
// [Epoch.Commit] draws.
func JoinExternal(rand io.Reader, groupInfo []byte, cfg ExternalConfig) (*CommitResult, error) {
	out, err := joinExternal(rand, groupInfo, cfg)
	if err != nil {
		return nil, fmt.Errorf("external join: %w", err)
	}
	return out, nil
}

func joinExternal(rand io.Reader, message []byte, cfg ExternalConfig) (_ *CommitResult, err error) {
	if cfg.Signer == nil || cfg.Signer.suite == nil || !cfg.Credential.known() {
		return nil, fmt.Errorf("%w: no signature key or credential", ErrUsage)
	}
	parent, public, err := outside(message, cfg)
	if err != nil {
		return nil, err
	}
	s := parent.suite()
	seed, err := draw(rand, s.kem.encapSize())
	if err != nil {
		return nil, err
	}
	shared, kemOutput, err := s.kem.encap(seed, public)
	clear(seed)
	if err != nil {
		return nil, err
	}
	initSecret := s.hpkeExport(shared, nil, []byte(externalInitLabel), s.nh)
	shared.wipe()
	defer initSecret.wipe()

	me := sender{typ: senderNewMemberCommit}
	list := []sentProposal{{me, ExternalInit{kemOutput}}}
	if cfg.Resync != nil {
		list = append(list, sentProposal{me, Remove{*cfg.Resync}})
	}
	for _, id := range cfg.PreSharedKeys {
		list = append(list, sentProposal{me, PreSharedKey{id}})
	}
	by := received(cfg.Validator, cfg.SameClient) // it adds nobody by a KeyPackage
	plan, err := parent.apply(list, me, by)
	if err != nil {
		return nil, err
	}
	leaf := LeafNode{SignatureKey: cfg.Signer.PublicKey(), Credential: cfg.Credential, Extensions: cfg.LeafExtensions, Capabilities: DefaultCapabilities()}
	if !slices.Contains(leaf.Capabilities.CipherSuites, s.id) {
		leaf.Capabilities.CipherSuites = append(leaf.Capabilities.CipherSuites, s.id)
	}
	if cfg.Capabilities != nil {
		leaf.Capabilities = *cfg.Capabilities
	}
	own, err := plan.tree.next()
	if err != nil {
		return nil, err
	}
	if err := parent.checkResync(list, &leaf, cfg.SameClient); err != nil {
		return nil, err
	}
	path, err := plan.tree.generatePath(rand, own, leaf, cfg.Signer, parent.ctx.groupID)
	if err != nil {
		return nil, err
	}
	defer func() {
		path.wipe()
		if err != nil {
			path.keys.wipe()
		}
	}()
	if err := parent.checkOwnLeaf(path.leaf, plan.extensions, by); err != nil {
		return nil, err
	}
	next := &groupContext{
		suite: s, groupID: parent.ctx.groupID, epoch: parent.ctx.epoch + 1, treeHash: plan.tree.freeze(),
		confirmedTranscript: parent.ctx.confirmedTranscript, extensions: plan.extensions,
	}
	if err := plan.tree.reindex(parent.tree); err != nil {
		return nil, err
	}
	body := &commit{}
	for _, p := range list {
		body.proposals = append(body.proposals, proposalOrRef{value: p.proposal})
	}
	if body.path, err = plan.tree.sealPath(rand, path, nil, next.bytes()); err != nil {
		return nil, err
	}
	a := parent.newContent(contentCommit, WirePublic, cfg.AuthenticatedData)
	a.sender, a.commit = me, body
	if err := a.sign(s, cfg.Signer, parent.context); err != nil {
		return nil, err
	}
	psk, err := s.pskSecret(plan.psks, cfg.PSKs)
	if err != nil {
		return nil, err
	}
	child := &Epoch{ctx: next, tree: plan.tree, own: own, keys: path.keys}
	ratchets, joiner, member := child.enter(a, parent.interim, initSecret, path.last, psk)
	joiner.wipe()
	member.wipe()
	a.confirmationTag = child.confirmationTag
	return &CommitResult{Commit: a.publicMessage(s, secret{}, parent.context), Epoch: child, Ratchets: ratchets}, nil
}

// outside verifies a GroupInfo and gives the epoch as one who is not a member sees
// it, and its external_pub.
func outside(message []byte, cfg ExternalConfig) (*Epoch, []byte, error) {
	o, err := Observe(message)
	if err != nil {
		return nil, nil, err
	}
	gi, s := o.info, o.info.ctx.suite
	t, err := gi.verifiedTree(s, cfg.RatchetTree, cfg.Validator)
	if err != nil {
		return nil, nil, err
	}
	data, ok := FindExtension(gi.extensions, ExtensionExternalPub)
	if !ok {
		return nil, nil, fmt.Errorf("%w: GroupInfo without external_pub", ErrUsage)
	}
	er := reader{b: data}
	public := er.vec()
	if err := er.done("external_pub"); err != nil {
		return nil, nil, err
	}
	return &Epoch{
		ctx: gi.ctx, context: gi.ctx.bytes(), tree: t, own: nobody,
		interim: s.interimTranscript(gi.ctx.confirmedTranscript, gi.confirmationTag),
	}, public, nil
}

// nobody is no leaf of any tree.
const nobody = LeafIndex(1<<32 - 1)

// ExternalPubExtension is the external_pub extension of this epoch, for a GroupInfo
// that others may join by: RFC 9420, Section 12.4.3.2.
func (e *Epoch) ExternalPubExtension() (Extension, error) {
	public, err := e.ExternalPub()
	if err != nil {
		return Extension{}, err
	}
	return Extension{ExtensionExternalPub, encode(func(w *writer) { w.vec(public) })}, nil
}
