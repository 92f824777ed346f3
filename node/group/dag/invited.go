package dag

import (
	"crypto/sha256"
	"fmt"

	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// Invited is an invite as an operation or request carries it, with its signatures
// checked.
type Invited struct {
	ID     wire.InviteID
	Invite *wire.Invite
	Signer wire.UserID
	Claim  wire.Hash // of the claim; zero where an invite is given out
}

// ReadInvite checks that an invite is its signer's word in this group.
func ReadInvite(group wire.GroupID, s wire.Signed) (*Invited, error) {
	return readInvite(group, s, false)
}

// readInvite does the same. verified: the signature was checked before.
func readInvite(group wire.GroupID, s wire.Signed, verified bool) (*Invited, error) {
	i, err := wire.DecodeInvite(s.Payload)
	if err != nil {
		return nil, err
	}
	if !verified {
		err = identity.Verify(i.Signer, wire.DomainInvite, group, s)
	}
	if err != nil {
		return nil, fmt.Errorf("invite: %w: %w", verdict.ErrForged, err)
	}
	return &Invited{ID: wire.InviteIDOf(group, s.Payload), Invite: i, Signer: wire.UserIDOf(i.Signer)}, nil
}

// ReadClaim checks an invite and that its key lets this device in with this KeyPackage.
func ReadClaim(group wire.GroupID, invite, claim wire.Signed, d *identity.Device, keyPackage []byte) (*Invited, error) {
	return readClaim(group, invite, claim, d, keyPackage, false)
}

// readClaim does the same. verified: the signatures were checked before.
func readClaim(group wire.GroupID, invite, claim wire.Signed, d *identity.Device, keyPackage []byte, verified bool) (*Invited, error) {
	in, err := readInvite(group, invite, verified)
	if err != nil {
		return nil, err
	}
	c, err := wire.DecodeClaim(claim.Payload)
	if err != nil {
		return nil, err
	}
	if !verified {
		err = identity.Verify(in.Invite.Key[:], wire.DomainJoin, group, claim)
	}
	if err != nil {
		return nil, fmt.Errorf("claim to an invite: %w: %w", verdict.ErrForged, err)
	}
	if c.Invite != in.ID || c.Device != d.ID || c.KeyPackage != sha256.Sum256(keyPackage) {
		return nil, fmt.Errorf("claim to an invite: %w: it is for another invite, device or KeyPackage", verdict.ErrForged)
	}
	in.Claim = wire.HashOf(wire.DomainJoin, group[:], claim.Payload)
	return in, nil
}

// readInvited checks the invite that an operation carries, if it carries one.
func (it *Item) readInvited(group wire.GroupID, verified bool) (err error) {
	switch {
	case it.Op.Type == wire.OpInvite:
		it.Invited, err = readInvite(group, *it.Op.Invite, verified)
		if err == nil && it.Invited.Signer != it.User {
			err = fmt.Errorf("invite: %w: it is signed by another user", verdict.ErrForged)
		}
	case it.Op.Type == wire.OpAdd && it.Op.Why == wire.WhyInvite:
		it.Invited, err = readClaim(group, *it.Op.Invite, *it.Op.Claim, it.Target.Device, it.Op.KeyPackage, verified)
	}
	return err
}
