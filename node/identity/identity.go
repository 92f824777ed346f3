// Package identity holds the keys of a user and a device, the certificates that
// tie them together, and the credential that ties a device to its leaf in an MLS
// group.
//
// It makes and checks signatures over objects of node/wire. It does not decide
// who may do what (node/group does), keep keys on disk (storage does) or read the
// clock: expiry is checked against a time that the caller passes.
package identity

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

var (
	// ErrForged says that a signature or a chain of them does not hold.
	ErrForged = errors.New("signature does not hold")
	// ErrExpired says that a certificate is past its expiry.
	ErrExpired = errors.New("certificate has expired")
)

// Key is a secret Ed25519 key of a user or of a device's log. It cannot be
// compared or printed.
type Key struct {
	_    [0]func()
	seed []byte
	priv ed25519.PrivateKey
}

// NewKey draws a key: 32 bytes of rand.
func NewKey(rand io.Reader) (*Key, error) {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(rand, seed); err != nil {
		return nil, fmt.Errorf("drawing a key: %w", err)
	}
	return KeyFromSeed(seed)
}

// KeyFromSeed restores a key from what Seed gave. It keeps its own copy.
func KeyFromSeed(seed []byte) (*Key, error) {
	if len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("a key's seed has %d bytes, not %d", ed25519.SeedSize, len(seed))
	}
	return &Key{seed: append([]byte(nil), seed...), priv: ed25519.NewKeyFromSeed(seed)}, nil
}

// SecretSeed gives the 32 bytes to be sealed at rest; the caller wipes them.
func (k *Key) SecretSeed() []byte { return append([]byte(nil), k.seed...) }

// Public gives the 32-byte public key.
func (k *Key) Public() []byte { return append([]byte(nil), k.priv[ed25519.SeedSize:]...) }

// Sign signs a payload in a domain and group.
func (k *Key) Sign(d wire.Domain, group wire.GroupID, payload []byte) wire.Signed {
	return wire.Signed{Payload: payload, Signature: ed25519.Sign(k.priv, wire.SigningInput(d, group, payload))}
}

// Wipe clears the key; it signs nothing afterwards.
func (k *Key) Wipe() {
	clear(k.seed)
	clear(k.priv)
}

const placeholder = "[secret key]"

func (k *Key) String() string               { return placeholder }
func (k *Key) GoString() string             { return placeholder }
func (k *Key) Format(s fmt.State, _ rune)   { _, _ = io.WriteString(s, placeholder) }
func (k *Key) MarshalText() ([]byte, error) { return []byte(placeholder), nil }

// Verify checks a signature by an Ed25519 public key.
func Verify(public []byte, d wire.Domain, group wire.GroupID, s wire.Signed) error {
	if len(public) != ed25519.PublicKeySize || !ed25519.Verify(public, wire.SigningInput(d, group, s.Payload), s.Signature) {
		return fmt.Errorf("%w: %s", ErrForged, d)
	}
	return nil
}

// Device is a checked device certificate.
type Device struct {
	Cert wire.DeviceCert
	Raw  wire.Signed
	ID   wire.DeviceID
	User wire.UserID
}

// Certify makes the certificate of a device, signed by its user.
func Certify(user *Key, cert wire.DeviceCert) (*Device, error) {
	cert.V = wire.Version
	cert.User = user.Public()
	return VerifyDevice(user.Sign(wire.DomainDeviceCert, wire.GroupID{}, cert.Encode()))
}

// VerifyDevice checks a certificate's form and the user's signature. Expiry is
// for the caller to judge: DESIGN.md, Section 5, checks it when a commit is made
// or a KeyPackage accepted, never when one is processed.
func VerifyDevice(s wire.Signed) (*Device, error) {
	c, err := wire.DecodeDeviceCert(s.Payload)
	if err != nil {
		return nil, err
	}
	if err := Verify(c.User, wire.DomainDeviceCert, wire.GroupID{}, s); err != nil {
		return nil, fmt.Errorf("device certificate of %q: %w", c.Name, err)
	}
	return &Device{Cert: *c, Raw: s, ID: wire.DeviceIDOf(c.LogKey), User: wire.UserIDOf(c.User)}, nil
}

// CheckExpiry gives ErrExpired if the certificate has an expiry before now.
func (d *Device) CheckExpiry(now time.Time) error {
	if d.Cert.Expires != 0 && now.Unix() >= int64(d.Cert.Expires) { //nolint:gosec // a far future is a far future
		return fmt.Errorf("device %q: %w", d.Cert.Name, ErrExpired)
	}
	return nil
}

// NewCredential makes the identity of an MLS Basic credential for a leaf of this
// device in a group: certificate and the log key's word on the leaf's key.
func NewCredential(d *Device, log *Key, group wire.GroupID, suite uint16, leafKey []byte) []byte {
	b := wire.LeafBinding{V: wire.Version, Device: d.ID, Suite: suite, LeafKey: leafKey}
	c := wire.Credential{V: wire.Version, Cert: d.Raw, Binding: log.Sign(wire.DomainLeaf, group, b.Encode())}
	return c.Encode()
}

// VerifyCredential checks the whole chain of a leaf's credential in a group and
// gives the device. It holds wherever a leaf can come in.
func VerifyCredential(group wire.GroupID, suite uint16, credential, leafKey []byte) (*Device, error) {
	c, err := wire.DecodeCredential(credential)
	if err != nil {
		return nil, err
	}
	d, err := VerifyDevice(c.Cert)
	if err != nil {
		return nil, err
	}
	if err := Verify(d.Cert.LogKey, wire.DomainLeaf, group, c.Binding); err != nil {
		return nil, fmt.Errorf("credential of device %q: %w", d.Cert.Name, err)
	}
	b, err := wire.DecodeLeafBinding(c.Binding.Payload)
	if err != nil {
		return nil, err
	}
	if b.Device != d.ID || b.Suite != suite || string(b.LeafKey) != string(leafKey) {
		return nil, fmt.Errorf("credential of device %q: %w: it binds another key", d.Cert.Name, ErrForged)
	}
	return d, nil
}

// NewGenesis makes a group's genesis, signed by its founder, and the group's ID.
func NewGenesis(rand io.Reader, now time.Time, user *Key, device *Device, suite uint16, policy wire.Policy) (wire.Signed, wire.GroupID, error) {
	g := wire.Genesis{
		V: wire.Version, Suite: suite, Created: uint64(now.UnixMilli()), //nolint:gosec // after 1970
		Policy: policy, Founder: user.Public(), Cert: device.Raw,
	}
	if _, err := io.ReadFull(rand, g.Salt[:]); err != nil {
		return wire.Signed{}, wire.GroupID{}, fmt.Errorf("drawing a group's salt: %w", err)
	}
	payload := g.Encode()
	return user.Sign(wire.DomainGenesis, wire.GroupID{}, payload), wire.GroupIDOf(payload), nil
}

// Genesis is a checked genesis.
type Genesis struct {
	wire.Genesis
	Raw    wire.Signed
	ID     wire.GroupID
	Device *Device // the founder's first device
}

// VerifyGenesis checks a genesis: form, founder's signature, founder's device.
func VerifyGenesis(s wire.Signed) (*Genesis, error) {
	g, err := wire.DecodeGenesis(s.Payload)
	if err != nil {
		return nil, err
	}
	if err := Verify(g.Founder, wire.DomainGenesis, wire.GroupID{}, s); err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	d, err := VerifyDevice(g.Cert)
	if err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	if string(d.Cert.User) != string(g.Founder) {
		return nil, fmt.Errorf("genesis: %w: the device is not the founder's", ErrForged)
	}
	return &Genesis{Genesis: *g, Raw: s, ID: wire.GroupIDOf(s.Payload), Device: d}, nil
}
