package wire

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
)

// An envelope hides from relays, mailboxes and observers who wrote what in a group. Its
// layout, in bytes:
//
//	version   1   = 1
//	tag       8   TopicTag of the group; of a private one, PrivateTopicTag of the key
//	key       8   KeyID of the transport key
//	salt     32   random
//	sealed    n   AES-256-GCM of length ‖ bundle ‖ zeros, tag included
//
// The AES key is HKDF-SHA-256(transport key, salt, "panda/envelope/1" ‖ 0 ‖
// group) and is used once, so the nonce is zero; the 49 bytes before it are the
// associated data. The plaintext is padded to a Padmé length.
const (
	envelopeHeader = 1 + 8 + 8 + 32
	envelopeSaltAt = 1 + 8 + 8
	gcmTag         = 16
)

// EnvelopeHeader is the part of an envelope that everybody can read.
type EnvelopeHeader struct {
	Tag  [8]byte
	Key  KeyID
	Salt [32]byte
}

// ParseEnvelopeHeader reads the header without any key.
func ParseEnvelopeHeader(b []byte) (EnvelopeHeader, error) {
	var h EnvelopeHeader
	switch {
	case len(b) > MaxEnvelope:
		return h, fmt.Errorf("%w: envelope of %d bytes, at most %d", ErrTooLarge, len(b), MaxEnvelope)
	case len(b) == 0:
		return h, fmt.Errorf("%w: empty envelope", ErrMalformed)
	case b[0] != Version:
		return h, fmt.Errorf("envelope: %w", otherVersion(uint64(b[0])))
	}
	if padded := len(b) - envelopeHeader - gcmTag; padded < 4 || padme(padded) != padded {
		return h, fmt.Errorf("%w: envelope of %d bytes: not a padded length", ErrMalformed, len(b))
	}
	copy(h.Tag[:], b[1:])
	copy(h.Key[:], b[9:])
	copy(h.Salt[:], b[envelopeSaltAt:])
	return h, nil
}

// SealEnvelope encodes and encrypts a bundle under a transport key of 32 bytes.
// rand gives the salt.
func SealEnvelope(rand io.Reader, group GroupID, transportKey []byte, u *Bundle) ([]byte, error) {
	return sealEnvelope(rand, group.TopicTag(), group, transportKey, u)
}

// SealPrivateEnvelope is SealEnvelope for a private group.
func SealPrivateEnvelope(rand io.Reader, group GroupID, transportKey []byte, u *Bundle) ([]byte, error) {
	return sealEnvelope(rand, group.PrivateTopicTag(transportKey), group, transportKey, u)
}

func sealEnvelope(rand io.Reader, tag [8]byte, group GroupID, transportKey []byte, u *Bundle) ([]byte, error) {
	if err := checkTransportKey(transportKey); err != nil {
		return nil, err
	}
	plain := Marshal(u)
	size := padme(4 + len(plain))
	if envelopeHeader+size+gcmTag > MaxEnvelope {
		return nil, fmt.Errorf("%w: bundle of %d bytes", ErrTooLarge, len(plain))
	}
	out := make([]byte, envelopeHeader, envelopeHeader+size+gcmTag)
	id := KeyIDOf(group, transportKey)
	out[0] = Version
	copy(out[1:], tag[:])
	copy(out[9:], id[:])
	if _, err := io.ReadFull(rand, out[envelopeSaltAt:]); err != nil {
		return nil, fmt.Errorf("drawing an envelope's salt: %w", err)
	}
	aead, err := envelopeAEAD(group, transportKey, out[envelopeSaltAt:])
	if err != nil {
		return nil, err
	}
	padded := make([]byte, size)
	binary.BigEndian.PutUint32(padded, uint32(len(plain))) //nolint:gosec // bounded by MaxEnvelope
	copy(padded[4:], plain)
	return aead.Seal(out, make([]byte, aead.NonceSize()), padded, out), nil
}

// OpenEnvelope decrypts an envelope of this group. key gives the transport key
// with an ID, or nil. Errors: ErrMalformed, ErrVersion, ErrTooLarge,
// ErrUnknownKey, ErrNotAuthentic.
func OpenEnvelope(group GroupID, key func(KeyID) []byte, b []byte) (*Bundle, error) {
	h, err := ParseEnvelopeHeader(b)
	if err != nil {
		return nil, err
	}
	k := key(h.Key)
	if h.Tag != group.TopicTag() && (k == nil || h.Tag != group.PrivateTopicTag(k)) {
		return nil, fmt.Errorf("%w: envelope of another group", ErrMalformed)
	}
	if k == nil {
		return nil, fmt.Errorf("%w: %x", ErrUnknownKey, h.Key)
	}
	if err := checkTransportKey(k); err != nil {
		return nil, err
	}
	aead, err := envelopeAEAD(group, k, h.Salt[:])
	if err != nil {
		return nil, err
	}
	padded, err := aead.Open(nil, make([]byte, aead.NonceSize()), b[envelopeHeader:], b[:envelopeHeader])
	if err != nil {
		return nil, fmt.Errorf("%w: envelope", ErrNotAuthentic)
	}
	claimed := binary.BigEndian.Uint32(padded)
	// Compared before int, which may have 32 bits, takes it.
	if uint64(claimed) > uint64(len(padded)-4) || padme(4+int(claimed)) != len(padded) {
		return nil, fmt.Errorf("%w: envelope: padding", ErrMalformed)
	}
	n := int(claimed)
	for _, z := range padded[4+n:] {
		if z != 0 {
			return nil, fmt.Errorf("%w: envelope: padding", ErrMalformed)
		}
	}
	return DecodeBundle(padded[4 : 4+n])
}

// checkTransportKey refuses a key of another length, and zeros: a wiped key,
// under which an envelope would be open to everyone.
func checkTransportKey(k []byte) error {
	if len(k) != TransportKeyLen {
		return fmt.Errorf("%w: transport key of %d bytes", ErrMalformed, len(k))
	}
	if subtle.ConstantTimeCompare(k, make([]byte, TransportKeyLen)) == 1 {
		return fmt.Errorf("%w: transport key of zeros", ErrMalformed)
	}
	return nil
}

func envelopeAEAD(group GroupID, transportKey, salt []byte) (cipher.AEAD, error) {
	info := string(DomainEnvelope) + "\x00" + string(group[:])
	k, err := hkdf.Key(sha256.New, transportKey, salt, info, 32)
	if err != nil {
		return nil, fmt.Errorf("deriving an envelope's key: %w", err)
	}
	defer clear(k)
	block, err := aes.NewCipher(k)
	if err != nil {
		return nil, fmt.Errorf("deriving an envelope's key: %w", err)
	}
	return cipher.NewGCM(block)
}

// padme rounds a length up so that it leaks O(log log n) bits and costs at most
// 12 % (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and
// Communication with PURBs", 2019, Section 4). Short ones go to 256 bytes.
func padme(n int) int {
	if n <= 256 {
		return 256
	}
	e := bits.Len(uint(n)) - 1
	s := bits.Len(uint(e))
	mask := 1<<(e-s) - 1
	return (n + mask) &^ mask
}
