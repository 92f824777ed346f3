package mls

import (
	"fmt"
	"io"
	"time"
)

// LeafUpdate says what changes in the own leaf besides its encryption key; nil
// fields stay as they are.
type LeafUpdate struct {
	Credential   *Credential
	Signer       *SignatureKey // whose public key the leaf has from then on
	Capabilities *Capabilities
	Extensions   []Extension
}

// template gives the own leaf with the update made, to be signed by the key returned.
func (e *Epoch) template(u *LeafUpdate, signer *SignatureKey) (LeafNode, *SignatureKey) {
	leaf := *e.tree.leaf(e.own)
	leaf.NotBefore, leaf.NotAfter, leaf.ParentHash = 0, 0, nil
	if u != nil {
		if u.Credential != nil {
			leaf.Credential = *u.Credential
		}
		if u.Signer != nil {
			signer = u.Signer
			leaf.SignatureKey = signer.PublicKey()
		}
		if u.Capabilities != nil {
			leaf.Capabilities = *u.Capabilities
		}
		if u.Extensions != nil {
			leaf.Extensions = u.Extensions
		}
	}
	return leaf, signer
}

// ProposeConfig says how a proposal is sent. Signer is required; Ratchets of this epoch
// are for WirePrivate.
type ProposeConfig struct {
	Signer            *SignatureKey
	Now               time.Time  // of an Add: the KeyPackage's lifetime is checked at this time
	Wire              WireFormat // zero: WirePublic
	Ratchets          *Ratchets
	AuthenticatedData []byte
	Padding           int // zero bytes appended to a WirePrivate proposal
}

// Propose gives a proposal as MLSMessage, RFC 9420, Section 12.1. The Delta is of the
// Ratchets, if they were used; rand gives the reuse guard then. An Update carries a
// leaf of [Epoch.ProposeUpdate], and ExternalInit is for external commits only.
func (e *Epoch) Propose(rand io.Reader, p Proposal, cfg ProposeConfig) ([]byte, Delta, error) {
	if err := e.checkActive(); err != nil {
		return nil, nil, err
	}
	switch p := p.(type) {
	case nil, Update, ExternalInit:
		return nil, nil, fmt.Errorf("%w: proposal %T", ErrUsage, p)
	case Add:
		if p.KeyPackage == nil {
			return nil, nil, fmt.Errorf("%w: no KeyPackage", ErrUsage)
		}
		if err := p.KeyPackage.Leaf.checkSent(cfg.Now); err != nil {
			return nil, nil, fmt.Errorf("KeyPackage: %w", err)
		}
	case Remove:
		if e.tree.signatureKey(p.Leaf) == nil {
			return nil, nil, fmt.Errorf("%w: leaf %d is blank", ErrUsage, p.Leaf)
		}
	}
	return e.propose(rand, p, cfg)
}

// ProposeAdd gives a PublicMessage (an MLSMessage) that proposes to add a client. The
// KeyPackage's lifetime is checked at now.
func (e *Epoch) ProposeAdd(now time.Time, signer *SignatureKey, kp *KeyPackage, authenticatedData []byte) ([]byte, error) {
	m, _, err := e.Propose(nil, Add{kp}, ProposeConfig{Signer: signer, Now: now, AuthenticatedData: authenticatedData})
	return m, err
}

// ProposeRemove proposes to remove the member at leaf; it may be the own one.
func (e *Epoch) ProposeRemove(signer *SignatureKey, leaf LeafIndex, authenticatedData []byte) ([]byte, error) {
	m, _, err := e.Propose(nil, Remove{leaf}, ProposeConfig{Signer: signer, AuthenticatedData: authenticatedData})
	return m, err
}

// ProposeUpdate proposes a new own leaf in a PublicMessage. The Epoch it gives is this
// one with the new private key added: a commit that takes the proposal is processed
// from there.
func (e *Epoch) ProposeUpdate(rand io.Reader, signer *SignatureKey, update *LeafUpdate, authenticatedData []byte) ([]byte, *Epoch, error) {
	m, next, _, err := e.ProposeLeaf(rand, update, ProposeConfig{Signer: signer, AuthenticatedData: authenticatedData})
	return m, next, err
}

// ProposeLeaf is [Epoch.ProposeUpdate] in either wire format. The leaf key is drawn
// from rand, then the reuse guard. Ratchets of this epoch serve the Epoch it gives too.
func (e *Epoch) ProposeLeaf(rand io.Reader, update *LeafUpdate, cfg ProposeConfig) (message []byte, next *Epoch, d Delta, err error) {
	if err := e.checkActive(); err != nil {
		return nil, nil, nil, err
	}
	s := e.suite()
	key, public, err := s.drawKeyPair(rand)
	if err != nil {
		return nil, nil, nil, err
	}
	defer func() {
		if err != nil {
			key.wipe()
		}
	}()
	leaf, leafSigner := e.template(update, cfg.Signer)
	leaf.EncryptionKey = public
	leaf.Source = LeafFromUpdate
	signed, err := leaf.signed(s, leafSigner, e.ctx.groupID, e.own)
	if err != nil {
		return nil, nil, nil, err
	}
	if message, d, err = e.propose(rand, Update{signed}, cfg); err != nil {
		return nil, nil, nil, err
	}
	next = e.clone()
	next.pending = append(next.pending, pendingLeaf{public, key})
	return message, next, d, nil
}

// clone copies e with secrets of its own, so that either can be wiped.
func (e *Epoch) clone() *Epoch {
	c := *e
	c.keys = make(pathKeys, len(e.keys))
	for x, k := range e.keys {
		c.keys[x] = k.clone()
	}
	c.pending = nil
	for _, p := range e.pending {
		c.pending = append(c.pending, pendingLeaf{p.public, p.private.clone()})
	}
	for _, s := range c.secrets.each() {
		*s = s.clone()
	}
	return &c
}

// propose sends a proposal that was checked.
func (e *Epoch) propose(rand io.Reader, p Proposal, cfg ProposeConfig) ([]byte, Delta, error) {
	wire := cfg.Wire
	if wire == 0 {
		wire = WirePublic
	}
	if err := e.checkWire(wire, cfg.Ratchets); err != nil {
		return nil, nil, err
	}
	a := e.newContent(contentProposal, wire, cfg.AuthenticatedData)
	a.proposal = p
	if err := e.sign(a, cfg.Signer); err != nil {
		return nil, nil, err
	}
	if wire == WirePublic {
		return a.publicMessage(e.suite(), e.secrets.membership, e.context), nil, nil
	}
	var c change
	defer c.abandon()
	message, err := cfg.Ratchets.sealContent(rand, a, cfg.Padding, &c)
	if err != nil {
		return nil, nil, err
	}
	cfg.Ratchets.remember(message, a, &c)
	return message, cfg.Ratchets.tree.apply(&c), nil
}

// checkWire refuses a handshake message that cannot be made.
func (e *Epoch) checkWire(wire WireFormat, r *Ratchets) error {
	if wire != WirePublic && (wire != WirePrivate || r == nil || !e.same(r.epoch)) {
		return fmt.Errorf("%w: a private message needs the Ratchets of this epoch", ErrUsage)
	}
	return nil
}
