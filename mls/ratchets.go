package mls

import (
	"fmt"
	"io"
	"log/slog"
)

// Ratchets are the message keys of one [Epoch]: its secret tree. They have one
// owner, are not safe for concurrent use and are never copied. A key that was used
// is gone; whoever stores Ratchets writes each [Delta] before using its result.
type Ratchets struct {
	_     [0]func()
	epoch *Epoch
	tree  *secretTree
}

func newRatchets(e *Epoch, encryption secret) *Ratchets {
	return &Ratchets{epoch: e, tree: newSecretTree(e.suite(), e.tree.leaves, encryption)}
}

// NewRatchets restores the Ratchets of e from all rows that were stored for it.
// They must not be in use anywhere else.
func NewRatchets(e *Epoch, rows []Row) (*Ratchets, error) {
	t := emptySecretTree(e.suite(), e.tree.leaves)
	if err := t.load(rows); err != nil {
		return nil, err
	}
	return &Ratchets{epoch: e, tree: t}, nil
}

// Rows gives everything that has to be stored, in the order of the keys.
func (r *Ratchets) Rows() []Row { return r.tree.rows() }

// Epoch is the epoch these keys belong to.
func (r *Ratchets) Epoch() *Epoch { return r.epoch }

// Wipe destroys all keys.
func (r *Ratchets) Wipe() { r.tree.wipe() }

// Format prints which epoch's keys these are.
func (r *Ratchets) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "mls.Ratchets(redacted)") }

// LogValue logs a placeholder.
func (r *Ratchets) LogValue() slog.Value { return slog.StringValue("mls.Ratchets(redacted)") }

// Seal encrypts application data as a PrivateMessage (an MLSMessage), RFC 9420,
// Section 6.3. authenticatedData travels in the clear; padding zero bytes are
// appended to the plaintext. rand gives the reuse guard.
func (r *Ratchets) Seal(rand io.Reader, signer *SignatureKey, authenticatedData, plaintext []byte, padding int) ([]byte, Delta, error) {
	if err := r.epoch.checkActive(); err != nil {
		return nil, nil, err
	}
	a := r.epoch.newContent(contentApplication, WirePrivate, authenticatedData)
	a.application = plaintext
	if err := r.epoch.sign(a, signer); err != nil {
		return nil, nil, err
	}
	var c change
	defer c.abandon()
	message, err := r.sealContent(rand, a, padding, &c)
	if err != nil {
		return nil, nil, err
	}
	return message, r.tree.apply(&c), nil
}

// sealContent encrypts signed content with the next own key; the key is used up
// when c is applied.
func (r *Ratchets) sealContent(rand io.Reader, a *authContent, padding int, c *change) ([]byte, error) {
	id := ratchetID{r.epoch.own, a.typ.ratchet()}
	state, err := r.tree.chain(id, c)
	if err != nil {
		return nil, err
	}
	key, err := r.tree.take(id, state.next, c)
	if err != nil {
		return nil, err
	}
	return r.epoch.suite().sealPrivate(rand, a, r.epoch.secrets.senderData, key, state.next, padding)
}

// Opened is application data that a member sent.
type Opened struct {
	Sender            LeafIndex
	Generation        uint32
	AuthenticatedData []byte
	Plaintext         []byte
}

// Open decrypts application data. The signature is verified before anything is
// returned; on any error no key has been used. ErrKeyUsed means a replay or a
// message whose key was dropped.
func (r *Ratchets) Open(message []byte) (*Opened, Delta, error) {
	if err := r.epoch.checkAlive(); err != nil {
		return nil, nil, err
	}
	m, err := r.readMessage(message)
	if err != nil {
		return nil, nil, err
	}
	if m.typ != contentApplication {
		return nil, nil, fmt.Errorf("%w: content type %d is not application data", ErrUsage, m.typ)
	}
	var c change
	defer c.abandon()
	a, sd, err := r.openContent(m, &c)
	if err != nil {
		return nil, nil, err
	}
	return &Opened{
		Sender: sd.leaf, Generation: sd.generation, AuthenticatedData: a.authData, Plaintext: a.application,
	}, r.tree.apply(&c), nil
}

func (r *Ratchets) readMessage(message []byte) (*privateMessage, error) {
	in, err := openMessageAs(message, WirePrivate)
	if err != nil {
		return nil, err
	}
	m := readPrivateMessage(in)
	if err := in.done("PrivateMessage"); err != nil {
		return nil, err
	}
	return m, r.epoch.checkAddress(m.groupID, m.epoch)
}

// openContent decrypts m and verifies its signature, on top of c. The keys it used
// are gone when c is applied.
func (r *Ratchets) openContent(m *privateMessage, c *change) (*authContent, senderData, error) {
	e := r.epoch
	sd, err := e.suite().openSenderData(m, e.secrets.senderData)
	if err != nil {
		return nil, sd, err
	}
	signer := e.tree.signatureKey(sd.leaf)
	switch {
	case signer == nil:
		return nil, sd, fmt.Errorf("%w: sender leaf %d is blank", ErrInvalid, sd.leaf)
	case sd.leaf == e.own:
		return nil, sd, ErrOwnMessage
	}
	key, err := r.tree.take(ratchetID{sd.leaf, m.typ.ratchet()}, sd.generation, c)
	if err != nil {
		return nil, sd, err
	}
	a, err := e.suite().openContent(m, sd, key, signer, e.context)
	return a, sd, err
}

// remember keeps what a private proposal said: its key is used up, and a commit may
// name it.
func (r *Ratchets) remember(message []byte, a *authContent, c *change) {
	put(&c.known, string(r.epoch.suite().hash.sum(message)), a.bytes())
}

// recall gives what a private proposal said, nil if it is not known.
func (r *Ratchets) recall(message []byte) (*authContent, error) {
	b, ok := r.tree.known[string(r.epoch.suite().hash.sum(message))]
	if !ok {
		return nil, nil
	}
	in := &reader{b: clone(b)}
	a := readContent(in, WireFormat(in.u16()))
	a.readAuth(in)
	if err := in.done("known proposal"); err != nil || a.typ != contentProposal || a.sender.typ != senderMember {
		return nil, fmt.Errorf("%w: known proposal", ErrCorrupt)
	}
	return a, a.verify(r.epoch.suite(), r.epoch.tree.signatureKey(LeafIndex(a.sender.index)), r.epoch.context)
}

// newContent starts a FramedContent of this member.
func (e *Epoch) newContent(typ contentType, wire WireFormat, authenticatedData []byte) *authContent {
	return &authContent{
		wire: wire, groupID: e.ctx.groupID, epoch: e.ctx.epoch, authData: authenticatedData,
		sender: sender{typ: senderMember, index: uint32(e.own)}, typ: typ,
	}
}

// sign signs content as this member.
func (e *Epoch) sign(a *authContent, signer *SignatureKey) error {
	if len(a.application) > maxPlaintext || len(a.authData) > maxPlaintext {
		return fmt.Errorf("%w: message longer than %d bytes", ErrUsage, maxPlaintext)
	}
	if signer == nil || !macEqual(signer.public, e.tree.signatureKey(e.own)) {
		return fmt.Errorf("%w: signature key is not the own leaf's", ErrUsage)
	}
	return a.sign(e.suite(), signer, e.context)
}
