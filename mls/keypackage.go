package mls

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"
)

// KeyPackage is what a client publishes so that others can add it, RFC 9420,
// Section 10. It is immutable.
type KeyPackage struct {
	Suite      CipherSuite
	InitKey    []byte
	Leaf       *LeafNode
	Extensions []Extension
	Signature  []byte

	suite    *suite
	raw      []byte
	tbs      int
	verified atomic.Bool // checkSelf has passed: a KeyPackage is immutable
}

// KeyPackageConfig says what goes into a new KeyPackage. Suite, Credential and
// Signer are required; a zero NotAfter means that it does not expire.
type KeyPackageConfig struct {
	Suite          CipherSuite
	Credential     Credential
	Signer         *SignatureKey
	NotBefore      time.Time
	NotAfter       time.Time
	Extensions     []Extension // of the KeyPackage
	LastResort     bool        // add the last_resort extension: may be used more than once
	LeafExtensions []Extension
	Capabilities   *Capabilities // nil: DefaultCapabilities of the extensions used
}

// KeyPackageSecrets are the private keys of a KeyPackage: the init key and the
// leaf's encryption key. Wipe them when the Welcome has been used.
type KeyPackageSecrets struct {
	_       [0]func()
	suite   CipherSuite
	initKey secret
	leafKey secret
}

// NewKeyPackage draws the keys from rand (init key first) and signs.
func NewKeyPackage(rand io.Reader, cfg KeyPackageConfig) (*KeyPackage, *KeyPackageSecrets, error) {
	s, err := cfg.Suite.lookup()
	if err != nil {
		return nil, nil, err
	}
	if cfg.LastResort {
		cfg.Extensions = append(slices.Clone(cfg.Extensions), Extension{Type: ExtensionLastResort})
	}
	initKey, initPub, err := s.drawKeyPair(rand)
	if err != nil {
		return nil, nil, err
	}
	leaf, leafKey, err := newKeyPackageLeaf(rand, s, cfg)
	if err != nil {
		return nil, nil, err
	}
	kp := &KeyPackage{Suite: s.id, InitKey: initPub, Leaf: leaf, Extensions: cfg.Extensions, suite: s}
	var w writer
	kp.encodeUnsigned(&w)
	kp.tbs = len(w.b)
	if kp.Signature, err = s.signWithLabel(cfg.Signer, "KeyPackageTBS", w.b); err != nil {
		return nil, nil, err
	}
	w.vec(kp.Signature)
	kp.raw = w.b
	if err := errors.Join(leaf.checkMade(s), kp.checkSelf()); err != nil {
		return nil, nil, fmt.Errorf("new KeyPackage: %w", err)
	}
	return kp, &KeyPackageSecrets{suite: s.id, initKey: initKey, leafKey: leafKey}, nil
}

// newKeyPackageLeaf makes a leaf with source key_package and its private key.
func newKeyPackageLeaf(rand io.Reader, s *suite, cfg KeyPackageConfig) (*LeafNode, secret, error) {
	if cfg.Signer == nil || cfg.Signer.suite == nil {
		return nil, secret{}, fmt.Errorf("%w: no signature key", ErrUsage)
	}
	if !cfg.Credential.known() {
		return nil, secret{}, fmt.Errorf("%w: credential type %d", ErrUnsupported, cfg.Credential.Type)
	}
	key, pub, err := s.drawKeyPair(rand)
	if err != nil {
		return nil, secret{}, err
	}
	leaf := LeafNode{
		EncryptionKey: pub,
		SignatureKey:  cfg.Signer.PublicKey(),
		Credential:    cfg.Credential,
		Source:        LeafFromKeyPackage,
		NotBefore:     unixSeconds(cfg.NotBefore),
		NotAfter:      unixSeconds(cfg.NotAfter),
		Extensions:    cfg.LeafExtensions,
	}
	if cfg.NotAfter.IsZero() {
		leaf.NotAfter = 1<<64 - 1
	}
	if cfg.Capabilities != nil {
		leaf.Capabilities = *cfg.Capabilities
	} else {
		var own []ExtensionType
		for _, list := range [][]Extension{cfg.LeafExtensions, cfg.Extensions} {
			for _, x := range list {
				if x.Type > 5 && !slices.Contains(own, x.Type) {
					own = append(own, x.Type)
				}
			}
		}
		leaf.Capabilities = DefaultCapabilities(own...)
		if !slices.Contains(leaf.Capabilities.CipherSuites, s.id) {
			leaf.Capabilities.CipherSuites = append(leaf.Capabilities.CipherSuites, s.id)
		}
	}
	signed, err := leaf.signed(s, cfg.Signer, nil, 0)
	return signed, key, err
}

func (kp *KeyPackage) encodeUnsigned(w *writer) {
	w.u16(uint16(MLS10))
	w.u16(uint16(kp.Suite))
	w.vec(kp.InitKey)
	w.raw(kp.Leaf.raw)
	encodeExtensions(w, kp.Extensions)
}

func readKeyPackage(r *reader) *KeyPackage {
	start := r.b
	kp := &KeyPackage{}
	if v := r.u16(); r.err == nil && v != uint16(MLS10) {
		r.err, r.b = fmt.Errorf("%w: protocol version %d", ErrUnsupported, v), nil
	}
	kp.Suite = CipherSuite(r.u16())
	kp.InitKey = r.vec()
	kp.Leaf = readLeafNode(r)
	kp.Extensions = readExtensions(r)
	kp.tbs = len(r.since(start))
	kp.Signature = r.vec()
	kp.raw = r.since(start)
	kp.suite, _ = kp.Suite.lookup()
	return kp
}

// ParseKeyPackage decodes a KeyPackage, bare or as MLSMessage, and checks what can
// be checked without a clock or a group (RFC 9420, Section 10.1): its signatures,
// keys and capabilities. The lifetime and the credential are [KeyPackage.Validate]'s.
func ParseKeyPackage(b []byte) (*KeyPackage, error) {
	r := reader{b: clone(b)}
	// A bare KeyPackage has its ciphersuite where an MLSMessage has the wire format
	// mls_key_package = 5, which as a suite is 0x0005: an MLSMessage repeats the version.
	if len(b) >= 6 && bytes.Equal(b[:6], []byte{0, 1, 0, byte(wireKeyPackage), 0, 1}) {
		r.take(4)
	}
	kp := readKeyPackage(&r)
	if err := r.done("KeyPackage"); err != nil {
		return nil, err
	}
	if err := kp.checkSelf(); err != nil {
		return nil, fmt.Errorf("KeyPackage: %w", err)
	}
	return kp, nil
}

// checkSelf is RFC 9420, Section 10.1, with Section 7.3 for its leaf, less credential and
// lifetime.
func (kp *KeyPackage) checkSelf() error {
	if kp.verified.Load() {
		return nil
	}
	s := kp.suite
	if s == nil {
		return fmt.Errorf("%w: ciphersuite %#04x", ErrUnsupported, uint16(kp.Suite))
	}
	if err := s.kem.checkPublic(kp.InitKey); err != nil {
		return fmt.Errorf("init_key: %w", err)
	}
	switch {
	case kp.Leaf.Source != LeafFromKeyPackage:
		return fmt.Errorf("%w: leaf_node_source is not key_package", ErrInvalid)
	case bytes.Equal(kp.InitKey, kp.Leaf.EncryptionKey):
		return fmt.Errorf("%w: init_key equals the leaf's encryption_key", ErrInvalid)
	}
	if err := checkExtensions(kp.Extensions); err != nil {
		return err
	}
	if err := kp.Leaf.checkSelf(s); err != nil {
		return err
	}
	if err := kp.Leaf.verifySignature(s, nil, 0); err != nil {
		return err
	}
	if !s.verifyWithLabel(kp.Leaf.SignatureKey, "KeyPackageTBS", kp.raw[:kp.tbs], kp.Signature) {
		return fmt.Errorf("%w: signature of KeyPackage", ErrInvalid)
	}
	kp.verified.Store(true)
	return nil
}

// LastResort says whether the KeyPackage is marked as one that may be used more than
// once (the last_resort extension, RFC 9420, Section 16.8, and draft-ietf-mls-extensions).
// Its secrets are then kept after a Welcome has used them.
func (kp *KeyPackage) LastResort() bool {
	_, ok := FindExtension(kp.Extensions, ExtensionLastResort)
	return ok
}

// Validate checks the lifetime at now, and the credential.
func (kp *KeyPackage) Validate(now time.Time, v CredentialValidator) error {
	if err := kp.Leaf.checkLifetime(now); err != nil {
		return fmt.Errorf("KeyPackage: %w", err)
	}
	if err := v.check(kp.Leaf); err != nil {
		return fmt.Errorf("KeyPackage: %w", err)
	}
	return nil
}

// Bytes gives a copy of the bare encoding.
func (kp *KeyPackage) Bytes() []byte { return clone(kp.raw) }

// Message gives the KeyPackage as MLSMessage.
func (kp *KeyPackage) Message() []byte { return mlsMessage(wireKeyPackage, kp.raw) }

// Ref is the KeyPackageRef of RFC 9420, Section 5.2.
func (kp *KeyPackage) Ref() []byte { return kp.suite.keyPackageRef(kp.raw) }

// MarshalSecret encodes the private keys, to be sealed by a store.
func (k *KeyPackageSecrets) MarshalSecret() []byte {
	return encode(func(w *writer) {
		w.u8(1) // version of this encoding
		w.u16(uint16(k.suite))
		w.vec(k.initKey.bytes())
		w.vec(k.leafKey.bytes())
	})
}

// ParseKeyPackageSecrets is the inverse of [KeyPackageSecrets.MarshalSecret].
func ParseKeyPackageSecrets(b []byte) (*KeyPackageSecrets, error) {
	r := reader{b: b}
	version := r.u8()
	k := &KeyPackageSecrets{suite: CipherSuite(r.u16()), initKey: copySecret(r.vec()), leafKey: copySecret(r.vec())}
	if err := r.done("KeyPackageSecrets"); err != nil || version != 1 {
		return nil, fmt.Errorf("%w: KeyPackageSecrets", ErrCorrupt)
	}
	s, err := k.suite.lookup()
	if err != nil {
		return nil, err
	}
	if len(k.initKey.bytes()) != s.kem.privateSize() || len(k.leafKey.bytes()) != s.kem.privateSize() {
		return nil, fmt.Errorf("%w: KeyPackageSecrets", ErrCorrupt)
	}
	return k, nil
}

// Wipe destroys the keys.
func (k *KeyPackageSecrets) Wipe() {
	k.initKey.wipe()
	k.leafKey.wipe()
}

// matches verifies that the private keys belong to kp.
func (k *KeyPackageSecrets) matches(kp *KeyPackage) error {
	for _, pair := range []struct {
		private secret
		public  []byte
	}{{k.initKey, kp.InitKey}, {k.leafKey, kp.Leaf.EncryptionKey}} {
		public, err := kp.suite.kem.public(pair.private.bytes())
		if err != nil || !bytes.Equal(public, pair.public) {
			return fmt.Errorf("%w: secrets of another KeyPackage", ErrUsage)
		}
	}
	return nil
}

// Format prints a placeholder.
func (k *KeyPackageSecrets) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "mls.KeyPackageSecrets(redacted)")
}

// LogValue logs a placeholder.
func (k *KeyPackageSecrets) LogValue() slog.Value {
	return slog.StringValue("mls.KeyPackageSecrets(redacted)")
}
