package mls

import (
	"fmt"

	"github.com/cloudflare/circl/kem/xwing"
	"golang.org/x/crypto/sha3"
)

// XWing_CHACHA20POLY1305_SHA256_Ed25519 is a hybrid post-quantum ciphersuite: X-Wing
// (ML-KEM-768 with X25519, draft-connolly-cfrg-xwing-kem-06, HPKE KEM 0x647a) in the
// place of DHKEM. It keeps what is said today secret from those who record it for a
// quantum computer; its signatures are as classical as those of the other suites.
//
// The value is not assigned by IANA. draft-mahy-mls-xwing, an expired individual draft,
// asks for an MLS suite with X-Wing without fixing a number; 0x004D is what OpenMLS and
// ts-mls use for this very combination (MLS_256_XWING_CHACHA20POLY1305_SHA256_Ed25519),
// and it may change. So it has to be chosen: [DefaultCapabilities] does not list it, and
// nothing falls back to it or away from it.
const XWing_CHACHA20POLY1305_SHA256_Ed25519 CipherSuite = 0x004D

var hybrid = &suite{
	id: XWing_CHACHA20POLY1305_SHA256_Ed25519, kem: kemXWing{}, aead: chacha,
	hash: sha2x256, nh: 32, kdf: 1, sig: ed25519Scheme{},
}

// kemXWing is X-Wing as an HPKE KEM. A private key is the seed of 32 octets.
type kemXWing struct{}

func (kemXWing) id() uint16       { return 0x647a }
func (kemXWing) seedSize() int    { return xwing.SeedSize }
func (kemXWing) encapSize() int   { return xwing.EncapsulationSeedSize }
func (kemXWing) privateSize() int { return xwing.PrivateKeySize }
func (kemXWing) publicSize() int  { return xwing.PublicKeySize }

// deriveKeyPair hashes ikm to a seed with SHAKE256, as the draft's section on HPKE has it.
func (kemXWing) deriveKeyPair(ikm []byte) (secret, []byte, error) {
	var seed [xwing.SeedSize]byte
	defer clear(seed[:])
	sha3.ShakeSum256(seed[:], ikm)
	private, public := xwing.DeriveKeyPairPacked(seed[:])
	return newSecret(private), public, nil
}

func (k kemXWing) public(private []byte) ([]byte, error) {
	if len(private) != k.privateSize() {
		return nil, fmt.Errorf("%w: HPKE private key of %d bytes", ErrMalformed, len(private))
	}
	copied, public := xwing.DeriveKeyPairPacked(private)
	clear(copied)
	return public, nil
}

func (k kemXWing) checkPublic(public []byte) error {
	if len(public) != k.publicSize() {
		return fmt.Errorf("%w: HPKE public key of %d bytes", ErrInvalid, len(public))
	}
	var key xwing.PublicKey
	if err := key.Unpack(public); err != nil {
		return fmt.Errorf("%w: X-Wing public key: %w", ErrInvalid, err)
	}
	return nil
}

func (k kemXWing) encap(ikm, public []byte) (secret, []byte, error) {
	if len(public) != k.publicSize() || len(ikm) != k.encapSize() {
		return secret{}, nil, fmt.Errorf("%w: HPKE public key of %d bytes", ErrMalformed, len(public))
	}
	shared, enc, err := xwing.Encapsulate(public, ikm)
	if err != nil {
		return secret{}, nil, fmt.Errorf("%w: X-Wing public key: %w", ErrInvalid, err)
	}
	return newSecret(shared), enc, nil
}

func (k kemXWing) decap(private secret, _, enc []byte) (secret, error) {
	if len(enc) != xwing.CiphertextSize {
		return secret{}, fmt.Errorf("%w: encapsulated key of %d bytes", ErrMalformed, len(enc))
	}
	if len(private.bytes()) != k.privateSize() {
		return secret{}, fmt.Errorf("%w: HPKE private key of %d bytes", ErrMalformed, len(private.bytes()))
	}
	return newSecret(xwing.Decapsulate(enc, private.bytes())), nil
}
