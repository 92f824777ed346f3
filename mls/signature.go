package mls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"io"
	"log/slog"

	"github.com/cloudflare/circl/sign/ed448"

	signed "github.com/pandanode/pandanode/internal/signature"
)

// signatureScheme is one signature algorithm of RFC 9420, Section 5.1.2. Private
// keys are in the form of that section's HPKE and ECDSA serialisations: seeds for
// EdDSA, big-endian scalars for ECDSA.
type signatureScheme interface {
	seedSize() int
	// load gives the expanded private key and the public key.
	load(private []byte) (any, []byte, error)
	sign(key any, message []byte) ([]byte, error)
	verify(public, message, signature []byte) bool
}

type ed25519Scheme struct{}

func (ed25519Scheme) seedSize() int { return ed25519.SeedSize }

func (ed25519Scheme) load(private []byte) (any, []byte, error) {
	if len(private) != ed25519.SeedSize {
		return nil, nil, fmt.Errorf("%w: Ed25519 seed of %d bytes", ErrMalformed, len(private))
	}
	k := ed25519.NewKeyFromSeed(private)
	return k, k[ed25519.SeedSize:], nil
}

func (ed25519Scheme) sign(key any, message []byte) ([]byte, error) {
	return ed25519.Sign(key.(ed25519.PrivateKey), message), nil
}

func (ed25519Scheme) verify(public, message, signature []byte) bool {
	return signed.Verify(public, message, signature)
}

type ed448Scheme struct{}

func (ed448Scheme) seedSize() int { return ed448.SeedSize }

func (ed448Scheme) load(private []byte) (any, []byte, error) {
	if len(private) != ed448.SeedSize {
		return nil, nil, fmt.Errorf("%w: Ed448 seed of %d bytes", ErrMalformed, len(private))
	}
	k := ed448.NewKeyFromSeed(private)
	return k, k[ed448.SeedSize:], nil
}

func (ed448Scheme) sign(key any, message []byte) ([]byte, error) {
	return ed448.Sign(key.(ed448.PrivateKey), message, ""), nil
}

func (ed448Scheme) verify(public, message, signature []byte) bool {
	return len(public) == ed448.PublicKeySize && ed448.Verify(public, message, signature, "")
}

// ecdsaScheme signs as RFC 6979, so that it needs no randomness.
type ecdsaScheme struct {
	curve elliptic.Curve
	hash  crypto.Hash
	size  int
}

var (
	ecdsaP256 = ecdsaScheme{elliptic.P256(), crypto.SHA256, 32}
	ecdsaP384 = ecdsaScheme{elliptic.P384(), crypto.SHA384, 48}
	ecdsaP521 = ecdsaScheme{elliptic.P521(), crypto.SHA512, 66}
)

func (e ecdsaScheme) seedSize() int { return e.size }

func (e ecdsaScheme) load(private []byte) (any, []byte, error) {
	k, err := ecdsa.ParseRawPrivateKey(e.curve, private)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: ECDSA private key", ErrMalformed)
	}
	public, err := k.PublicKey.Bytes()
	return k, public, err
}

func (e ecdsaScheme) digest(message []byte) []byte {
	switch e.hash {
	case crypto.SHA256:
		d := sha256.Sum256(message)
		return d[:]
	case crypto.SHA384:
		d := sha512.Sum384(message)
		return d[:]
	default:
		d := sha512.Sum512(message)
		return d[:]
	}
}

func (e ecdsaScheme) sign(key any, message []byte) ([]byte, error) {
	return key.(*ecdsa.PrivateKey).Sign(nil, e.digest(message), e.hash)
}

func (e ecdsaScheme) verify(public, message, signature []byte) bool {
	k, err := ecdsa.ParseUncompressedPublicKey(e.curve, public)
	return err == nil && ecdsa.VerifyASN1(k, e.digest(message), signature)
}

// SignatureKey is a private signature key of a ciphersuite's signature scheme. It
// cannot be compared, and it prints as a placeholder.
type SignatureKey struct {
	_       [0]func()
	suite   *suite
	private secret
	key     func() any // a closure, for the reason that secret gives
	public  []byte
}

// NewSignatureKey draws a private key from rand.
func NewSignatureKey(id CipherSuite, rand io.Reader) (*SignatureKey, error) {
	s, err := id.lookup()
	if err != nil {
		return nil, err
	}
	for range 64 { // an ECDSA scalar may be out of range, with small probability
		seed, err := draw(rand, s.sig.seedSize())
		if err != nil {
			return nil, fmt.Errorf("signature key: %w", err)
		}
		if s.sig == signatureScheme(ecdsaP521) {
			seed[0] &= 1
		}
		k, err := ParseSignatureKey(id, seed)
		clear(seed)
		if err == nil {
			return k, nil
		}
	}
	return nil, fmt.Errorf("%w: randomness gives no signature key", ErrUsage)
}

// ParseSignatureKey takes a private key as [SignatureKey.MarshalSecret] gives it:
// 32 bytes of seed for Ed25519 (RFC 8032), a big-endian scalar for ECDSA.
func ParseSignatureKey(id CipherSuite, private []byte) (*SignatureKey, error) {
	s, err := id.lookup()
	if err != nil {
		return nil, err
	}
	key, public, err := s.sig.load(private)
	if err != nil {
		return nil, err
	}
	return &SignatureKey{suite: s, private: copySecret(private), key: func() any { return key }, public: clone(public)}, nil
}

// MarshalSecret gives a copy of the private key, to be sealed by a store.
func (k *SignatureKey) MarshalSecret() []byte { return clone(k.private.bytes()) }

// PublicKey gives a copy of the public key in the encoding of RFC 9420, Section 5.1.1.
func (k *SignatureKey) PublicKey() []byte { return clone(k.public) }

// Wipe destroys the key; signing with it fails from then on.
func (k *SignatureKey) Wipe() {
	if k.suite == nil {
		return
	}
	k.private.wipe()
	switch key := k.key().(type) {
	case ed25519.PrivateKey:
		clear(key)
	case ed448.PrivateKey:
		clear(key)
	case *ecdsa.PrivateKey:
		clear(key.D.Bits()) //nolint:staticcheck // there is no other way to clear it, and no use of it follows
	}
	k.key, k.suite = nil, nil
}

func (k *SignatureKey) sign(message []byte) ([]byte, error) {
	return k.suite.sig.sign(k.key(), message)
}

// Format prints a placeholder.
func (k *SignatureKey) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "mls.SignatureKey(redacted)")
}

// LogValue logs a placeholder.
func (k *SignatureKey) LogValue() slog.Value { return slog.StringValue("mls.SignatureKey(redacted)") }

func clone(b []byte) []byte { return append([]byte(nil), b...) }
