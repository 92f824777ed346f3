package mls

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"
)

// CipherSuite is a row of RFC 9420, Section 17.1.
type CipherSuite uint16

// The ciphersuites of RFC 9420, Section 17.1.
const (
	X25519_AES128GCM_SHA256_Ed25519        CipherSuite = 0x0001
	P256_AES128GCM_SHA256_P256             CipherSuite = 0x0002
	X25519_CHACHA20POLY1305_SHA256_Ed25519 CipherSuite = 0x0003
	X448_AES256GCM_SHA512_Ed448            CipherSuite = 0x0004
	P521_AES256GCM_SHA512_P521             CipherSuite = 0x0005
	X448_CHACHA20POLY1305_SHA512_Ed448     CipherSuite = 0x0006
	P384_AES256GCM_SHA384_P384             CipherSuite = 0x0007
)

// suite is what a ciphersuite stands for. Nh, Nk and Nn are RFC 9180's names.
type suite struct {
	id   CipherSuite
	kem  kem
	aead aead
	hash *digest
	nh   int
	kdf  uint16 // HPKE's KDF identifier
	sig  signatureScheme
}

type aead struct {
	id     uint16 // HPKE's AEAD identifier
	nk, nn int
	open   func(key []byte) (cipher.AEAD, error)
}

var (
	aes128gcm = aead{id: 1, nk: 16, nn: 12, open: newGCM}
	aes256gcm = aead{id: 2, nk: 32, nn: 12, open: newGCM}
	chacha    = aead{id: 3, nk: 32, nn: 12, open: chacha20poly1305.New}
)

func newGCM(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

var suites = [...]*suite{
	{id: 1, kem: kemX25519, aead: aes128gcm, hash: sha2x256, nh: 32, kdf: 1, sig: ed25519Scheme{}},
	{id: 2, kem: kemP256, aead: aes128gcm, hash: sha2x256, nh: 32, kdf: 1, sig: ecdsaP256},
	{id: 3, kem: kemX25519, aead: chacha, hash: sha2x256, nh: 32, kdf: 1, sig: ed25519Scheme{}},
	{id: 4, kem: kemX448, aead: aes256gcm, hash: sha2x512, nh: 64, kdf: 3, sig: ed448Scheme{}},
	{id: 5, kem: kemP521, aead: aes256gcm, hash: sha2x512, nh: 64, kdf: 3, sig: ecdsaP521},
	{id: 6, kem: kemX448, aead: chacha, hash: sha2x512, nh: 64, kdf: 3, sig: ed448Scheme{}},
	{id: 7, kem: kemP384, aead: aes256gcm, hash: sha2x384, nh: 48, kdf: 2, sig: ecdsaP384},
}

func (c CipherSuite) lookup() (*suite, error) {
	if c == hybrid.id {
		return hybrid, nil
	}
	if c == 0 || int(c) > len(suites) {
		return nil, fmt.Errorf("%w: ciphersuite %#04x", ErrUnsupported, uint16(c))
	}
	return suites[c-1], nil
}

func (s *suite) mac(key secret, data []byte) []byte { return s.hash.hmac(key.bytes(), data) }

func (s *suite) extract(salt, ikm []byte) secret { return newSecret(s.hash.hmac(salt, ikm)) }

const labelPrefix = "MLS 1.0 "

// expandWithLabel is RFC 9420, Section 8.
func (s *suite) expandWithLabel(prk []byte, label string, context []byte, length int) []byte {
	return s.appendWithLabel(make([]byte, 0, length), prk, label, context, length)
}

// appendWithLabel appends the output of expandWithLabel to dst.
func (s *suite) appendWithLabel(dst, prk []byte, label string, context []byte, length int) []byte {
	var buf [256]byte
	info := binary.BigEndian.AppendUint16(buf[:0], uint16(length))
	info = appendVec(appendLabel(info, label), context)
	return s.hash.appendExpand(dst, prk, info, length)
}

// keyAndNonce gives both for one AEAD operation, in one buffer.
func (s *suite) keyAndNonce(prk, context []byte) (key, nonce []byte) {
	b := s.appendWithLabel(make([]byte, 0, s.aead.nk+s.aead.nn), prk, "key", context, s.aead.nk)
	b = s.appendWithLabel(b, prk, "nonce", context, s.aead.nn)
	return b[:s.aead.nk], b[s.aead.nk:]
}

func (s *suite) deriveSecret(from secret, label string) secret {
	return newSecret(s.expandWithLabel(from.bytes(), label, nil, s.nh))
}

// appendLabel appends "MLS 1.0 " and label as a vector.
func appendLabel(dst []byte, label string) []byte {
	dst = appendLength(dst, len(labelPrefix)+len(label))
	return append(append(dst, labelPrefix...), label...)
}

// deriveTreeSecret is RFC 9420, Section 9.
func (s *suite) deriveTreeSecret(from secret, label string, generation uint32, length int) []byte {
	var context [4]byte
	binary.BigEndian.PutUint32(context[:], generation)
	return s.expandWithLabel(from.bytes(), label, context[:], length)
}

// refHash is RFC 9420, Section 5.2.
func (s *suite) refHash(label string, value []byte) []byte {
	return s.hash.sum(encode(func(w *writer) { w.text(label); w.vec(value) }))
}

func (s *suite) keyPackageRef(kp []byte) []byte {
	return s.refHash("MLS 1.0 KeyPackage Reference", kp)
}

func (s *suite) proposalRef(authenticatedContent []byte) []byte {
	return s.refHash("MLS 1.0 Proposal Reference", authenticatedContent)
}

// signWithLabel is RFC 9420, Section 5.1.2.
func (s *suite) signWithLabel(key *SignatureKey, label string, content []byte) ([]byte, error) {
	if err := s.checkSigner(key); err != nil {
		return nil, err
	}
	return key.sign(signContent(label, content))
}

func (s *suite) checkSigner(key *SignatureKey) error {
	if key == nil || key.suite == nil {
		return fmt.Errorf("%w: no signature key", ErrUsage)
	}
	if key.suite.sig != s.sig {
		return fmt.Errorf("%w: signature key of another ciphersuite", ErrUsage)
	}
	return nil
}

func (s *suite) verifyWithLabel(public []byte, label string, content, signature []byte) bool {
	return s.sig.verify(public, signContent(label, content), signature)
}

func signContent(label string, content []byte) []byte {
	b := make([]byte, 0, len(labelPrefix)+len(label)+len(content)+6)
	return appendVec(appendLabel(b, label), content)
}

// sealKeyed and openKeyed are one AEAD operation under a key of its own.
func (s *suite) sealKeyed(key, nonce, aad, plaintext []byte) ([]byte, error) {
	a, err := s.aead.open(key)
	if err != nil {
		return nil, err
	}
	return a.Seal(nil, nonce, plaintext, aad), nil
}

func (s *suite) openKeyed(key, nonce, aad, ciphertext []byte) ([]byte, error) {
	a, err := s.aead.open(key)
	if err != nil {
		return nil, err
	}
	out, err := a.Open(nil, nonce, ciphertext, aad)
	if err != nil {
		return nil, ErrDecrypt
	}
	return out, nil
}
