// Package identity holds the keys of a user and a device, the certificates that
// tie them together, and the credential that ties a device to its leaf in an MLS
// group.
//
// It makes and checks signatures over objects of node/wire. It does not decide
// who may do what (node/group does), keep keys on disk (storage does) or read the
// clock: expiry is checked against a time that the caller passes.
package identity

import (
	"bytes"
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

// VerifyDevice checks a certificate's form and the user's signature. The caller checks
// expiry, when it makes a commit or accepts a KeyPackage. It does not when it processes a
// commit, since receivers' clocks differ.
func VerifyDevice(s wire.Signed) (*Device, error) {
	d, err := ReadDevice(s)
	if err != nil {
		return nil, err
	}
	if err := Verify(d.Cert.User, wire.DomainDeviceCert, wire.GroupID{}, s); err != nil {
		return nil, fmt.Errorf("device certificate of %q: %w", d.Cert.Name, err)
	}
	return d, nil
}

// ReadDevice is VerifyDevice for a certificate whose signature was verified before.
func ReadDevice(s wire.Signed) (*Device, error) {
	c, err := wire.DecodeDeviceCert(s.Payload)
	if err != nil {
		return nil, err
	}
	return &Device{Cert: *c, Raw: s, ID: c.ID(), User: wire.UserIDOf(c.User)}, nil
}

// CheckExpiry gives ErrExpired from the second of the certificate's expiry on, if it has one.
func (d *Device) CheckExpiry(now time.Time) error {
	if d.Cert.Expires != 0 && uint64(max(now.Unix(), 0)) >= d.Cert.Expires {
		return fmt.Errorf("device %q: %w", d.Cert.Name, ErrExpired)
	}
	return nil
}

// NewCredential makes the identity of an MLS Basic credential for a leaf of this device in
// a group: the certificate, and the log key's signature over the leaf's key.
func NewCredential(d *Device, log *Key, group wire.GroupID, suite uint16, leafKey []byte, transportKey [32]byte) []byte {
	b := wire.LeafBinding{V: wire.Version, Device: d.ID, Suite: suite, LeafKey: leafKey, TransportKey: transportKey}
	c := wire.Credential{V: wire.Version, Cert: d.Raw, Binding: log.Sign(wire.DomainLeaf, group, b.Encode())}
	return c.Encode()
}

// Leaf holds what a leaf's credential proves: the device, and its first key for transport
// keys.
type Leaf struct {
	*Device
	TransportKey [32]byte // X25519
}

// VerifyCredential checks the whole chain of a leaf's credential in a group and returns
// what it proves. Every way by which a leaf can come in uses it.
func VerifyCredential(group wire.GroupID, suite uint16, credential, leafKey []byte) (*Leaf, error) {
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
	if b.Device != d.ID || b.Suite != suite || !bytes.Equal(b.LeafKey, leafKey) {
		return nil, fmt.Errorf("credential of device %q: %w: it binds another key", d.Cert.Name, ErrForged)
	}
	return &Leaf{Device: d, TransportKey: b.TransportKey}, nil
}

// ClaimedDevice gives the device that a leaf's credential names. Nothing is verified.
func ClaimedDevice(credential []byte) (wire.DeviceID, error) {
	c, err := wire.DecodeCredential(credential)
	if err != nil {
		return wire.DeviceID{}, err
	}
	cert, err := wire.DecodeDeviceCert(c.Cert.Payload)
	if err != nil {
		return wire.DeviceID{}, err
	}
	return cert.ID(), nil
}

// Founding holds the founder's choices, which stay for ever.
type Founding struct {
	Suite   uint16 // MLS ciphersuite
	Policy  wire.Policy
	Private bool // not published
}

// NewGenesis makes a group's genesis, signed by its founder, and the group's ID.
// The device is one of the founder's; the policy is a known one.
func NewGenesis(rand io.Reader, now time.Time, user *Key, device *Device, f Founding) (wire.Signed, wire.GroupID, error) {
	g := wire.Genesis{
		V: wire.Version, Suite: f.Suite, Private: f.Private, Created: uint64(now.UnixMilli()), //nolint:gosec // after 1970
		Policy: f.Policy, Founder: user.Public(), Cert: device.Raw,
	}
	if _, err := io.ReadFull(rand, g.Salt[:]); err != nil {
		return wire.Signed{}, wire.GroupID{}, fmt.Errorf("drawing a group's salt: %w", err)
	}
	made, err := VerifyGenesis(user.Sign(wire.DomainGenesis, wire.GroupID{}, g.Encode()))
	if err != nil {
		return wire.Signed{}, wire.GroupID{}, err
	}
	return made.Raw, made.ID, nil
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
	if !bytes.Equal(d.Cert.User, g.Founder) {
		return nil, fmt.Errorf("genesis: %w: the device is not the founder's", ErrForged)
	}
	return &Genesis{Genesis: *g, Raw: s, ID: wire.GroupIDOf(s.Payload), Device: d}, nil
}
