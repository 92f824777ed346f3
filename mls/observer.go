package mls

import (
	"fmt"
	"iter"
	"time"
)

// ExternalSender is somebody outside a group who may propose: RFC 9420, Section 12.1.8.1.
type ExternalSender struct {
	SignatureKey []byte
	Credential   Credential
}

func (x ExternalSender) encode(w *writer) {
	w.vec(x.SignatureKey)
	x.Credential.encode(w)
}

// ExternalSendersExtension gives the external_senders extension of a GroupContext.
func ExternalSendersExtension(list ...ExternalSender) Extension {
	return Extension{ExtensionExternalSenders, encode(func(w *writer) {
		w.list(func() {
			for _, x := range list {
				x.encode(w)
			}
		})
	})}
}

// ExternalSenders reads the external_senders among a GroupContext's extensions.
func ExternalSenders(extensions []Extension) ([]ExternalSender, error) {
	data, ok := FindExtension(extensions, ExtensionExternalSenders)
	if !ok {
		return nil, nil
	}
	var list []ExternalSender
	r := reader{b: data}
	r.list(func(r *reader) { list = append(list, ExternalSender{r.vec(), readCredential(r)}) })
	return list, r.done("external_senders")
}

func (c *groupContext) externalSender(index uint32) ([]byte, error) {
	list, err := ExternalSenders(c.extensions)
	if err != nil {
		return nil, err
	}
	if uint64(index) >= uint64(len(list)) {
		return nil, fmt.Errorf("%w: external sender %d is unknown", ErrInvalid, index)
	}
	return list[index].SignatureKey, nil
}

// checkContextExtensions verifies extensions of a GroupContext as such, and asks v for
// each external sender: RFC 9420, Sections 5.3.1, 11.1, 12.1.8.1 and 13.4.
func checkContextExtensions(list []Extension, v CredentialValidator) error {
	if err := checkExtensions(list); err != nil {
		return err
	}
	if _, err := readRequired(list); err != nil {
		return err
	}
	senders, err := ExternalSenders(list)
	if err != nil {
		return err
	}
	for k, x := range senders {
		if err := v.check(&LeafNode{Credential: x.Credential, SignatureKey: x.SignatureKey}); err != nil {
			return fmt.Errorf("external sender %d: %w", k, err)
		}
	}
	return nil
}

// Observer sees a group from outside, through a GroupInfo: enough to propose to it as
// an external sender or as a new member. Nothing in it is verified until Verify has
// been called.
type Observer struct {
	info *groupInfo
	tree *tree
}

// Observe reads a GroupInfo (an MLSMessage).
func Observe(message []byte) (*Observer, error) {
	r, err := openMessageAs(message, wireGroupInfo)
	if err != nil {
		return nil, err
	}
	gi := readGroupInfo(r)
	if err := r.done("GroupInfo"); err != nil {
		return nil, err
	}
	return &Observer{info: gi}, nil
}

// Verify verifies the GroupInfo and its tree, RFC 9420, Section 12.4.3.1. ratchetTree is
// needed if the GroupInfo carries none.
func (o *Observer) Verify(ratchetTree []byte, v CredentialValidator) error {
	t, err := o.info.verifiedTree(o.info.ctx.suite, ratchetTree, v)
	if err == nil {
		o.tree = t
	}
	return err
}

// Suite is the group's ciphersuite.
func (o *Observer) Suite() CipherSuite { return o.info.ctx.suite.id }

// GroupID gives a copy of the group's identifier.
func (o *Observer) GroupID() []byte { return clone(o.info.ctx.groupID) }

// Number is the number of the epoch that is seen.
func (o *Observer) Number() uint64 { return o.info.ctx.epoch }

// ContextExtensions are those of the GroupContext; they are not to be changed.
func (o *Observer) ContextExtensions() []Extension { return o.info.ctx.extensions }

// Members goes through the members; there are none before Verify.
func (o *Observer) Members() iter.Seq2[LeafIndex, *LeafNode] {
	return func(yield func(LeafIndex, *LeafNode) bool) {
		if o.tree != nil {
			o.tree.root.eachLeaf(o.tree.rootIndex(), yield)
		}
	}
}

// ProposeSelf asks to be added: an Add from a new member, RFC 9420, Section 12.1.8. kp is
// the proposer's own, and signer its signature key. The result is an MLSMessage, which a
// member may commit by reference. The KeyPackage's lifetime is checked at now.
func (o *Observer) ProposeSelf(now time.Time, signer *SignatureKey, kp *KeyPackage, authenticatedData []byte) ([]byte, error) {
	if kp == nil || kp.Leaf == nil || signer == nil || !macEqual(signer.public, kp.Leaf.SignatureKey) {
		return nil, fmt.Errorf("%w: KeyPackage of another signature key", ErrUsage)
	}
	if err := kp.Leaf.checkSent(now); err != nil {
		return nil, fmt.Errorf("KeyPackage: %w", err)
	}
	return o.propose(signer, sender{typ: senderNewMemberProposal}, Add{kp}, authenticatedData)
}

// ProposeAs proposes as the external sender with this index in the group's
// external_senders, RFC 9420, Section 12.1.8. The lifetime of a KeyPackage is checked at now.
func (o *Observer) ProposeAs(now time.Time, signer *SignatureKey, index uint32, p Proposal, authenticatedData []byte) ([]byte, error) {
	key, err := o.info.ctx.externalSender(index)
	if err != nil {
		return nil, err
	}
	if signer == nil || !macEqual(signer.public, key) {
		return nil, fmt.Errorf("%w: signature key is not external sender %d's", ErrUsage, index)
	}
	switch p := p.(type) {
	case nil, Update, ExternalInit:
		return nil, fmt.Errorf("%w: external sender proposes %T", ErrUsage, p)
	case Add:
		if p.KeyPackage == nil {
			return nil, fmt.Errorf("%w: no KeyPackage", ErrUsage)
		}
		if err := p.KeyPackage.Leaf.checkSent(now); err != nil {
			return nil, fmt.Errorf("KeyPackage: %w", err)
		}
	}
	return o.propose(signer, sender{senderExternal, index}, p, authenticatedData)
}

func (o *Observer) propose(signer *SignatureKey, from sender, p Proposal, authenticatedData []byte) ([]byte, error) {
	ctx := o.info.ctx
	a := &authContent{
		wire: WirePublic, groupID: ctx.groupID, epoch: ctx.epoch, authData: authenticatedData,
		sender: from, typ: contentProposal, proposal: p,
	}
	if err := a.sign(ctx.suite, signer, nil); err != nil {
		return nil, err
	}
	return a.publicMessage(ctx.suite, secret{}, nil), nil
}
