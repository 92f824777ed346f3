package wire

import "fmt"

// InviteID is SHA-256("panda/invite/1" ‖ 0 ‖ group ‖ invite payload): two
// signatures over one invite are one invite.
type InviteID Hash

func (id InviteID) String() string { return Hash(id).String() }

// InviteIDOf computes the ID of an invite from its payload.
func InviteIDOf(group GroupID, payload []byte) InviteID {
	return InviteID(HashOf(DomainInvite, group[:], payload))
}

// Invite lets any holder of the secret half of Key into the group in whose domain it is
// signed. Any member can serve it. It is signed by the user key of an owner or admin, so
// that it can be judged without its signer and by everyone alike. It is no secret:
// operations carry it, and the secret half of Key is in invite links alone.
type Invite struct {
	V       uint64   `cbor:"1,keyasint"`
	Key     [32]byte `cbor:"2,keyasint"`           // Ed25519 public key of the invite
	Role    Role     `cbor:"3,keyasint"`           // of those it lets in
	Created uint64   `cbor:"4,keyasint"`           // milliseconds since 1970
	Expires uint64   `cbor:"5,keyasint,omitempty"` // milliseconds since 1970; absent: never
	Uses    uint64   `cbor:"6,keyasint,omitempty"` // how many it lets in; absent: any number
	Signer  []byte   `cbor:"7,keyasint"`           // user identity key, 32 bytes
}

func (i *Invite) version() uint64 { return i.V }

// Encode gives the payload that the signer signs.
func (i *Invite) Encode() []byte { return Marshal(i) }

// DecodeInvite reads an invite's payload.
func DecodeInvite(b []byte) (*Invite, error) { return decode[Invite](b, MaxInvite) }

func (i *Invite) validate() error {
	switch {
	case i.Role < RoleOwner || i.Role > RoleReadOnly:
		return fmt.Errorf("%w: invite: %v", ErrMalformed, i.Role)
	case len(i.Signer) != 32:
		return fmt.Errorf("%w: invite: signer's key of %d bytes", ErrMalformed, len(i.Signer))
	}
	return nil
}

// Claim is a statement, signed by an invite's key, that one KeyPackage of one device uses
// the invite. So a member that sees the invite in the log, or is asked to serve it, cannot
// use it for another device.
type Claim struct {
	V          uint64   `cbor:"1,keyasint"`
	Invite     InviteID `cbor:"2,keyasint"`
	Device     DeviceID `cbor:"3,keyasint"`
	KeyPackage Hash     `cbor:"4,keyasint"` // SHA-256 of the KeyPackage
}

func (c *Claim) version() uint64 { return c.V }

// Encode gives the payload that the invite's key signs.
func (c *Claim) Encode() []byte { return Marshal(c) }

// DecodeClaim reads a claim's payload.
func DecodeClaim(b []byte) (*Claim, error) { return decode[Claim](b, MaxInvite) }
