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
	m := &privateMessage{groupID: r.vec(), epoch: r.u64(), typ: contentType(r.u8())}
	if m.typ < contentApplication || m.typ > contentCommit {
		r.fail("content type %d", m.typ)
	}
	m.authData, m.senderData, m.ciphertext = r.vec(), r.vec(), r.vec()
	return m
}

// aad gives PrivateContentAAD, and SenderDataAAD, which is the beginning of it.
func (m *privateMessage) aad() (content, sender []byte) {
	b := appendVec(make([]byte, 0, 20+len(m.groupID)+len(m.authData)), m.groupID)
	b = append(binary.BigEndian.AppendUint64(b, m.epoch), uint8(m.typ))
	return appendVec(b, m.authData), b
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

// sealPrivate encrypts a under a message key: RFC 9420, Section 6.3.
func (s *suite) sealPrivate(rand io.Reader, a *authContent, from secret, key messageKey, generation uint32, padding int) ([]byte, error) {
	if padding < 0 || padding > maxPlaintext || len(a.application) > maxPlaintext || len(a.authData) > maxPlaintext {
		return nil, fmt.Errorf("%w: message or padding longer than %d bytes", ErrUsage, maxPlaintext)
	}
	sd := senderData{leaf: LeafIndex(a.sender.index), generation: generation}
	guard, err := draw(rand, len(sd.guard))
	if err != nil {
		return nil, err
	}
	copy(sd.guard[:], guard)
	m := &privateMessage{groupID: a.groupID, epoch: a.epoch, typ: a.typ, authData: a.authData}
	content := writer{b: make([]byte, 0, len(a.application)+len(a.signature)+len(a.confirmationTag)+padding+16)}
	a.encodeBody(&content)
	a.encodeAuth(&content)
	content.b = append(content.b, make([]byte, padding)...)
	contentAAD, senderAAD := m.aad()
	m.ciphertext, err = s.sealKeyed(key.key(s), guarded(key.nonce(s), sd.guard), contentAAD, content.b)
	if err != nil {
		return nil, err
	}
	k, nonce := s.senderDataKey(from, m.ciphertext)
	defer clear(k)
	plain := binary.BigEndian.AppendUint32(make([]byte, 0, 12), uint32(sd.leaf))
	plain = append(binary.BigEndian.AppendUint32(plain, sd.generation), sd.guard[:]...)
	if m.senderData, err = s.sealKeyed(k, nonce, senderAAD, plain); err != nil {
		return nil, err
	}
	w := writer{b: make([]byte, 0, 48+len(m.groupID)+len(m.authData)+len(m.senderData)+len(m.ciphertext))}
	w.u16(uint16(MLS10))
	w.u16(uint16(WirePrivate))
	m.encode(&w)
	return w.b, nil
}

// openSenderData decrypts who sent m: RFC 9420, Section 6.3.2.
func (s *suite) openSenderData(m *privateMessage, from secret) (sd senderData, err error) {
	key, nonce := s.senderDataKey(from, m.ciphertext)
	defer clear(key)
	_, aad := m.aad()
	plain, err := s.openKeyed(key, nonce, aad, m.senderData)
	if err != nil {
		return sd, fmt.Errorf("sender data: %w", err)
	}
	r := reader{b: plain}
	sd.leaf = LeafIndex(r.u32())
	sd.generation = r.u32()
	copy(sd.guard[:], r.take(4))
	return sd, r.done("sender data")
}

// openContent decrypts m's content: RFC 9420, Section 6.3.1. The signature is the
// caller's to verify.
func (s *suite) openContent(m *privateMessage, sd senderData, key messageKey) (*authContent, error) {
	aad, _ := m.aad()
	plain, err := s.openKeyed(key.key(s), guarded(key.nonce(s), sd.guard), aad, m.ciphertext)
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
	w := writer{b: make([]byte, 0, 32+len(a.groupID)+len(a.authData)+len(body))}
	a.encodeHeader(&w)
	w.raw(body)
	a.raw = w.b
	return a, nil
}
