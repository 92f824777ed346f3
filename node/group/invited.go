package group

import (
	"crypto/sha256"
	"fmt"

	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// invited is an invite as an operation or request carries it, with its signatures
// checked.
type invited struct {
	id     wire.InviteID
	invite *wire.Invite
	signer wire.UserID
	claim  wire.Hash // of the claim; zero where an invite is given out
}

// readInvite checks that an invite is its signer's word in this group.
func readInvite(group wire.GroupID, s wire.Signed) (*invited, error) {
	i, err := wire.DecodeInvite(s.Payload)
	if err != nil {
		return nil, err
	}
	if err := identity.Verify(i.Signer, wire.DomainInvite, group, s); err != nil {
		return nil, fmt.Errorf("invite: %w: %w", ErrForged, err)
	}
	return &invited{id: wire.InviteIDOf(group, s.Payload), invite: i, signer: wire.UserIDOf(i.Signer)}, nil
}

// readClaim checks an invite and that its key lets this device in with this KeyPackage.
func readClaim(group wire.GroupID, invite, claim wire.Signed, d *identity.Device, keyPackage []byte) (*invited, error) {
	in, err := readInvite(group, invite)
	if err != nil {
		return nil, err
	}
	c, err := wire.DecodeClaim(claim.Payload)
	if err != nil {
		return nil, err
	}
	if err := identity.Verify(in.invite.Key[:], wire.DomainJoin, group, claim); err != nil {
		return nil, fmt.Errorf("claim to an invite: %w: %w", ErrForged, err)
	}
	if c.Invite != in.id || c.Device != d.ID || c.KeyPackage != sha256.Sum256(keyPackage) {
		return nil, fmt.Errorf("claim to an invite: %w: it is for another invite, device or KeyPackage", ErrForged)
	}
	in.claim = wire.HashOf(wire.DomainJoin, group[:], claim.Payload)
	return in, nil
}

// readInvited checks the invite that an operation carries, if it carries one.
func (it *item) readInvited(group wire.GroupID) (err error) {
	switch {
	case it.op.Type == wire.OpInvite:
		it.invited, err = readInvite(group, *it.op.Invite)
		if err == nil && it.invited.signer != it.user {
			err = fmt.Errorf("invite: %w: it is signed by another user", ErrForged)
		}
	case it.op.Type == wire.OpAdd && it.op.Why == wire.WhyInvite:
		it.invited, err = readClaim(group, *it.op.Invite, *it.op.Claim, it.target.device, it.op.KeyPackage)
	}
	return err
}

// takesOut says whether a removal or revocation is of this user or device.
func (it *item) takesOut(user wire.UserID, device wire.DeviceID) bool {
	if it.op.Type == wire.OpDeviceRevoke {
		return *it.op.Device == device
	}
	return *it.op.User == user
}
