package wire

import (
	"crypto/sha256"
	"fmt"
)

// Signed is an object and the signature over it. Payload is kept as it arrived, because
// signature and hashes cover these bytes.
type Signed struct {
	Payload   []byte `cbor:"1,keyasint"`
	Signature []byte `cbor:"2,keyasint"` // Ed25519, 64 bytes
}

// Encode gives the bytes of s.
func (s Signed) Encode() []byte { return Marshal(s) }

// DecodeSigned reads a Signed of at most max bytes.
func DecodeSigned(b []byte, max int) (Signed, error) {
	s, err := decode[Signed](b, max)
	if err != nil {
		return Signed{}, err
	}
	return *s, nil
}

func (s *Signed) validate() error {
	if len(s.Payload) == 0 || len(s.Signature) != 64 {
		return fmt.Errorf("%w: signature of %d bytes over %d", ErrMalformed, len(s.Signature), len(s.Payload))
	}
	return nil
}

// Policy says how people get into a group.
type Policy uint64

// Policies.
const (
	PolicyOpen    Policy = 1 // any member may add a device that asks
	PolicyRequest Policy = 2 // an admin approves
	PolicyInvite  Policy = 3 // an invite signed by an admin
)

func (p Policy) String() string {
	switch p {
	case PolicyOpen:
		return "open"
	case PolicyRequest:
		return "request"
	case PolicyInvite:
		return "invite"
	}
	return fmt.Sprintf("policy(%d)", uint64(p))
}

// ParsePolicy is the inverse of String.
func ParsePolicy(s string) (Policy, error) {
	for _, p := range []Policy{PolicyOpen, PolicyRequest, PolicyInvite} {
		if p.String() == s {
			return p, nil
		}
	}
	return 0, fmt.Errorf("%w: a join policy is open, request or invite, not %q", ErrMalformed, s)
}

// Role is what a member may do. Lower numbers may more.
type Role uint64

// Roles.
const (
	RoleOwner    Role = 1
	RoleAdmin    Role = 2
	RoleMember   Role = 3
	RoleReadOnly Role = 4
)

func (r Role) String() string {
	switch r {
	case RoleOwner:
		return "owner"
	case RoleAdmin:
		return "admin"
	case RoleMember:
		return "member"
	case RoleReadOnly:
		return "read-only"
	}
	return fmt.Sprintf("role(%d)", uint64(r))
}

// Article gives the role as it stands in a sentence: "an owner", "a read-only member".
func (r Role) Article() string {
	switch r {
	case RoleOwner, RoleAdmin:
		return "an " + r.String()
	case RoleReadOnly:
		return "a read-only member"
	case RoleMember:
	}
	return "a " + r.String()
}

// Genesis is the first object of a group, signed by its founder's user key. The
// group's ID is the hash of its payload, so that a record can be checked to
// belong to a group by anyone.
type Genesis struct {
	V       uint64   `cbor:"1,keyasint"`
	Salt    [32]byte `cbor:"2,keyasint"`
	Suite   uint16   `cbor:"3,keyasint"` // MLS ciphersuite
	Created uint64   `cbor:"4,keyasint"` // milliseconds since 1970
	Policy  Policy   `cbor:"5,keyasint"`
	Founder []byte   `cbor:"6,keyasint"`           // user identity key, 32 bytes
	Cert    Signed   `cbor:"7,keyasint"`           // DeviceCert of the founder's first device
	Private bool     `cbor:"8,keyasint,omitempty"` // not published; only an invite link leads to it
}

func (g *Genesis) version() uint64 { return g.V }

// Encode gives the payload that the founder signs.
func (g *Genesis) Encode() []byte { return Marshal(g) }

// DecodeGenesis reads a genesis payload.
func DecodeGenesis(b []byte) (*Genesis, error) {
	return decode[Genesis](b, MaxGenesis)
}

func (g *Genesis) validate() error {
	if len(g.Founder) != 32 {
		return fmt.Errorf("%w: genesis: founder's key of %d bytes", ErrMalformed, len(g.Founder))
	}
	if g.Policy < PolicyOpen || g.Policy > PolicyInvite {
		return fmt.Errorf("%w: genesis: %v", ErrMalformed, g.Policy)
	}
	return g.Cert.validate()
}

// GroupIDOf is SHA-256 of a genesis payload.
func GroupIDOf(genesis []byte) GroupID { return GroupID(sha256.Sum256(genesis)) }

// DeviceCert binds a device to its user. It is signed by the user's identity key.
type DeviceCert struct {
	V       uint64 `cbor:"1,keyasint"`
	User    []byte `cbor:"2,keyasint"`           // user identity key, Ed25519, 32 bytes
	LogKey  []byte `cbor:"3,keyasint"`           // Ed25519, 32 bytes
	Peer    []byte `cbor:"4,keyasint"`           // libp2p peer ID in binary
	Name    string `cbor:"5,keyasint"`           // at most MaxDeviceName bytes, no control characters
	Issued  uint64 `cbor:"6,keyasint"`           // seconds since 1970
	Expires uint64 `cbor:"7,keyasint,omitempty"` // seconds since 1970; absent: never
}

func (c *DeviceCert) version() uint64 { return c.V }

// Encode gives the payload that the user signs.
func (c *DeviceCert) Encode() []byte { return Marshal(c) }

// DecodeDeviceCert reads a certificate's payload.
func DecodeDeviceCert(b []byte) (*DeviceCert, error) {
	return decode[DeviceCert](b, MaxDeviceCert)
}

func (c *DeviceCert) validate() error {
	if len(c.User) != 32 || len(c.LogKey) != 32 || len(c.Peer) == 0 || len(c.Peer) > MaxPeerID {
		return fmt.Errorf("%w: device certificate: a key has the wrong length", ErrMalformed)
	}
	return CheckDeviceName(c.Name)
}

// CheckDeviceName says in words why a device cannot have a name.
func CheckDeviceName(name string) error {
	return checkText("the name of the device", name, MaxDeviceName, false)
}

// ID is the device's ID.
func (c *DeviceCert) ID() DeviceID { return DeviceIDOf(c.User, c.LogKey) }

// Credential is the identity in an MLS Basic credential: the chain from the user
// over the device to the leaf's signature key.
type Credential struct {
	V       uint64 `cbor:"1,keyasint"`
	Cert    Signed `cbor:"2,keyasint"` // DeviceCert
	Binding Signed `cbor:"3,keyasint"` // LeafBinding, signed by the device's log key
}

func (c *Credential) version() uint64 { return c.V }

// Encode gives the credential's identity bytes.
func (c *Credential) Encode() []byte { return Marshal(c) }

// DecodeCredential reads the identity of an MLS Basic credential.
func DecodeCredential(b []byte) (*Credential, error) {
	return decode[Credential](b, MaxCredential)
}

func (c *Credential) validate() error {
	if err := c.Cert.validate(); err != nil {
		return err
	}
	return c.Binding.validate()
}

// LeafBinding is the device's word that an MLS signature key and a key for
// transport keys are its own in one group.
type LeafBinding struct {
	V       uint64   `cbor:"1,keyasint"`
	Device  DeviceID `cbor:"2,keyasint"`
	Suite   uint16   `cbor:"3,keyasint"`
	LeafKey []byte   `cbor:"4,keyasint"` // MLS signature public key
	// TransportKey is the device's X25519 public key for transport keys (TKEY),
	// until a Beacon names a newer one.
	TransportKey [32]byte `cbor:"5,keyasint"`
}

func (l *LeafBinding) version() uint64 { return l.V }

// Encode gives the payload that the log key signs, in the domain of the group.
func (l *LeafBinding) Encode() []byte { return Marshal(l) }

// DecodeLeafBinding reads a binding's payload.
func DecodeLeafBinding(b []byte) (*LeafBinding, error) {
	return decode[LeafBinding](b, MaxDeviceCert)
}

func (l *LeafBinding) validate() error {
	if len(l.LeafKey) == 0 || len(l.LeafKey) > MaxLeafKey {
		return fmt.Errorf("%w: leaf binding: key of %d bytes", ErrMalformed, len(l.LeafKey))
	}
	return nil
}
