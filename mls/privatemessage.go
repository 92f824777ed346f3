package mls

import (
	"encoding/binary"
	"fmt"
	"io"
)

// privateMessage is PrivateMessage of RFC 9420, Section 6.3.
type privateMessage struct {
	groupID    []byte
	epoch      uint64
	typ        contentType
	authData   []byte
	senderData []byte
	ciphertext []byte

	contentAAD []byte // PrivateContentAAD, Section 6.3.1: how the message begins
	senderAAD  []byte // SenderDataAAD, Section 6.3.2: how that begins
}

func (m *privateMessage) encode(w *writer) {
	w.vec(m.groupID)
	w.u64(m.epoch)
	w.u8(uint8(m.typ))
	w.vec(m.authData)
	w.vec(m.senderData)
	w.vec(m.ciphertext)
}

func readPrivateMessage(r *reader) *privateMessage {
	start := r.b
	m := &privateMessage{groupID: r.vec(), epoch: r.u64(), typ: contentType(r.u8())}
	m.senderAAD = r.since(start)
	if m.typ < contentApplication || m.typ > contentCommit {
		r.fail("content type %d", m.typ)
	}
	m.authData = r.vec()
	m.contentAAD = r.since(start)
	m.senderData, m.ciphertext = r.vec(), r.vec()
	return m
}

// senderData is SenderData of RFC 9420, Section 6.3.2.
type senderData struct {
	leaf       LeafIndex
	generation uint32
	guard      [4]byte
}

// senderDataKey is RFC 9420, Section 6.3.2.
func (s *suite) senderDataKey(from secret, ciphertext []byte) (key, nonce []byte) {
	sample := ciphertext[:min(len(ciphertext), s.nh)]
	return s.keyAndNonce(from.bytes(), sample)
}

// guarded applies the reuse guard to a nonce: RFC 9420, Section 6.3.1.
func guarded(nonce []byte, guard [4]byte) []byte {
	out := clone(nonce)
	for i, b := range guard {
		out[i] ^= b
	}
	return out
}

// maxPlaintext bounds what is sealed in one message, so that no length overflows.
const maxPlaintext = 1 << 28

// sealPrivate encrypts a under a message key, as an MLSMessage: RFC 9420, Section 6.3. It
// is put together in one buffer, whose beginning is the associated data of both AEADs.
func (s *suite) sealPrivate(rand io.Reader, a *authContent, from secret, key messageKey, generation uint32, padding int) ([]byte, error) {
	if padding < 0 || padding > maxPlaintext || len(a.application) > maxPlaintext || len(a.authData) > maxPlaintext {
		return nil, fmt.Errorf("%w: message or padding longer than %d bytes", ErrUsage, maxPlaintext)
	}
	guard, err := draw(rand, len(senderData{}.guard))
	if err != nil {
		return nil, err
	}
	body := a.body()
	aead, err := s.aead.open(key.key(s))
	if err != nil {
		return nil, err
	}
	size := len(body) + lengthSize(len(a.signature)) + len(a.signature) + padding
	if a.typ == contentCommit {
		size += lengthSize(len(a.confirmationTag)) + len(a.confirmationTag)
	}
	out := make([]byte, 0, 48+senderDataSize+2*aead.Overhead()+len(a.groupID)+len(a.authData)+size)
	out = binary.BigEndian.AppendUint16(out, uint16(MLS10))
	out = binary.BigEndian.AppendUint16(out, uint16(WirePrivate))
	begin := len(out)
	out = append(binary.BigEndian.AppendUint64(appendVec(out, a.groupID), a.epoch), uint8(a.typ))
	senderAAD := out[begin:]
	out = appendVec(out, a.authData)
	contentAAD := out[begin:]
	out = appendLength(out, senderDataSize+aead.Overhead())
	at := len(out) // of the sender data, whose key needs the ciphertext
	out = binary.BigEndian.AppendUint32(out, a.sender.index)
	out = append(binary.BigEndian.AppendUint32(out, generation), guard...)
	out = appendLength(out[:at+senderDataSize+aead.Overhead()], size+aead.Overhead())
	content := len(out) // which is encrypted where it lies
	out = append(a.appendAuth(append(out, body...)), make([]byte, padding)...)
	out = aead.Seal(out[:content], guarded(key.nonce(s), [4]byte(guard)), out[content:], contentAAD)
	k, nonce := s.senderDataKey(from, out[content:])
	defer clear(k)
	if aead, err = s.aead.open(k); err != nil {
		return nil, err
	}
	aead.Seal(out[:at], nonce, out[at:at+senderDataSize], senderAAD)
	return out, nil
}

// senderDataSize is the length of an encoded SenderData.
const senderDataSize = 12

// openSenderData decrypts who sent m: RFC 9420, Section 6.3.2.
func (s *suite) openSenderData(m *privateMessage, from secret) (sd senderData, err error) {
	key, nonce := s.senderDataKey(from, m.ciphertext)
	defer clear(key)
	plain, err := s.openKeyed(key, nonce, m.senderAAD, m.senderData)
	if err != nil {
		return sd, fmt.Errorf("sender data: %w", err)
	}
	r := reader{b: plain}
	sd.leaf = LeafIndex(r.u32())
	sd.generation = r.u32()
	copy(sd.guard[:], r.take(4))
	return sd, r.done("sender data")
}

// openContent decrypts m's content, RFC 9420, Section 6.3.1, and verifies its signature.
func (s *suite) openContent(m *privateMessage, sd senderData, key messageKey, signer, context []byte) (*authContent, error) {
	plain, err := s.openKeyed(key.key(s), guarded(key.nonce(s), sd.guard), m.contentAAD, m.ciphertext)
	if err != nil {
		return nil, fmt.Errorf("message of leaf %d, generation %d: %w", sd.leaf, sd.generation, err)
	}
	a := &authContent{
		wire: WirePrivate, groupID: m.groupID, epoch: m.epoch, typ: m.typ, authData: m.authData,
		sender: sender{typ: senderMember, index: uint32(sd.leaf)},
	}
	r := reader{b: plain}
	start := r.b
	a.readBody(&r)
	body := r.since(start)
	a.readAuth(&r)
	for _, b := range r.b {
		if b != 0 {
			r.fail("padding is not zero")
			break
		}
	}
	if r.err != nil {
		return nil, fmt.Errorf("PrivateMessageContent: %w", r.err)
	}
	if !s.sig.verify(signer, a.frame(body, context), a.signature) {
		return nil, fmt.Errorf("%w: signature of message", ErrInvalid)
	}
	return a, nil
}
