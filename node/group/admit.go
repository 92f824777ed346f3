package group

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// joinAsked answers somebody who asks as the group's policy wants: by an operation
// that adds it, with the commit that carries it out in the same turn, or by one that
// puts the request before the admins.
func (m *Machine) joinAsked(now time.Time, r wire.JoinRequest) error {
	u, err := m.self("admitting")
	if err != nil {
		return err
	}
	if r.Group != m.group {
		return fmt.Errorf("request to join: %w", ErrForeign)
	}
	d, err := identity.VerifyDevice(r.Cert)
	if err != nil {
		return fmt.Errorf("request to join: %w", err)
	}
	if err := checkKeyPackage(m.group, d, r.KeyPackage, m.cfg.Engine); err != nil {
		return fmt.Errorf("request to join: %w", err)
	}
	if m.roster.has(d.ID) {
		return m.askedAgain(r) // JoinStatus tells how far it is
	}
	if err := errors.Join(d.CheckExpiry(now), m.cfg.Engine.CheckLifetime(r.KeyPackage, now)); err != nil {
		return fmt.Errorf("request to join: %w: %w", ErrInvalidKeyPackage, err)
	}
	if d.User == u.id {
		// A further device of this device's own user, which its user key certified.
		_, err = m.operate(now, &wire.Op{Type: wire.OpDeviceAdd, Cert: &r.Cert, KeyPackage: r.KeyPackage})
		return err
	}
	switch policy := m.roster.policy(m.cfg.Genesis); {
	case m.roster.users[d.User] != nil:
		return fmt.Errorf("request to join: %w: a further device is added by another device of its own user", ErrNotPermitted)
	case u.role > wire.RoleMember:
		return fmt.Errorf("request to join: %w: this member may only read; ask another", ErrNotPermitted)
	case r.Invite != nil:
		return m.admitInvited(now, r, d)
	case policy == wire.PolicyRequest && r.Rejoin != nil && m.waits(now, d.User):
		// It was told that it is in, and is not: the request that it asks with in turn stands.
		return fmt.Errorf("request to join: %w: its first request waits for an admin", ErrState)
	case policy == wire.PolicyRequest:
		return m.writeRequest(now, r, d)
	case policy != wire.PolicyOpen:
		return fmt.Errorf("request to join: %w: %w", ErrNotPermitted, ErrInviteOnly)
	case m.roster.wasRemoved(d):
		return fmt.Errorf("request to join: %w: %w", ErrNotPermitted, ErrWasRemoved)
	}
	_, err = m.operate(now, &wire.Op{Type: wire.OpAdd, Cert: &r.Cert, Role: wire.RoleMember, KeyPackage: r.KeyPackage, Why: wire.WhyOpen})
	return err
}

// admitInvited adds a joiner by its invite.
func (m *Machine) admitInvited(now time.Time, r wire.JoinRequest, d *identity.Device) error {
	in, err := readClaim(m.group, *r.Invite, *r.Claim, d, r.KeyPackage)
	if err != nil {
		return fmt.Errorf("request to join: %w", err)
	}
	if err := m.roster.judgeInvite(in, d, m.next(now)); err != nil {
		return fmt.Errorf("request to join: %w", err)
	}
	_, err = m.operate(now, &wire.Op{
		Type: wire.OpAdd, Cert: &r.Cert, Role: in.invite.Role, KeyPackage: r.KeyPackage, Why: wire.WhyInvite, Invite: r.Invite, Claim: r.Claim,
	})
	return err
}

// writeRequest puts a joiner's request into the log for the admins.
func (m *Machine) writeRequest(now time.Time, r wire.JoinRequest, d *identity.Device) error {
	err := m.roster.judgeRequest(d, r.KeyPackage, m.next(now), m.cfg.Genesis)
	if errors.Is(err, errAsked) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("request to join: %w", err)
	}
	_, err = m.operate(now, &wire.Op{Type: wire.OpRequest, Cert: &r.Cert, KeyPackage: r.KeyPackage})
	return err
}

// waits says whether a request of this user is before the admins.
func (m *Machine) waits(now time.Time, user wire.UserID) bool {
	a := m.roster.asking[user]
	return a != nil && a.open(m.next(now))
}

// askedAgain takes the request to be added again of a device that never got here.
func (m *Machine) askedAgain(r wire.JoinRequest) error {
	if r.Rejoin == nil {
		return nil
	}
	again, err := m.read.rejoin(m.roster, *r.Rejoin)
	if err != nil {
		return fmt.Errorf("request to join: %w", err)
	}
	if !bytes.Equal(again.KeyPackage, r.KeyPackage) {
		return fmt.Errorf("request to join: %w: it asks with one KeyPackage to be added with another", ErrForged)
	}
	m.peers.addAgain(m.now, m.peers.at(again.Device), again)
	return nil
}

// JoinStatus tells how far the request with this KeyPackage is.
func (m *Machine) JoinStatus(keyPackage []byte) (JoinStatus, error) {
	if s, ok := m.requestStatus(keyPackage); ok {
		return s, nil
	}
	waiting := JoinStatus{Stage: wire.JoinWaiting, Reason: "the commit that adds this device is being made"}
	for n, kp := m.tree.nodes[m.own.Position], sha256.Sum256(keyPackage); n != nil; n = n.parent {
		if !n.hasWelcome() || !slices.Contains(n.adds(), kp) {
			continue
		}
		welcomes, err1 := m.read.welcomes(n)
		e, err2 := m.parent(n.id)
		if err := errors.Join(err1, err2); err != nil {
			return JoinStatus{}, err
		}
		if e == nil {
			return JoinStatus{Stage: wire.JoinRenew}, nil
		}
		return JoinStatus{Stage: wire.JoinWelcomed, Epoch: n.id, Welcome: welcomes[0], Tree: e.Tree()}, nil
	}
	for _, d := range m.roster.devices {
		if bytes.Equal(d.keyPackage, keyPackage) && d.by.lapsed(m.now) {
			return JoinStatus{Stage: wire.JoinRenew}, nil // nobody can add it any more
		}
	}
	if m.inWithAnother(keyPackage) || m.inByItsLeaf(keyPackage) {
		return JoinStatus{Stage: wire.JoinRenew}, nil
	}
	return waiting, nil
}

// requestStatus tells a joiner how its request is, if it is one that waits for an admin.
func (m *Machine) requestStatus(keyPackage []byte) (JoinStatus, bool) {
	for _, a := range m.roster.asking {
		if !bytes.Equal(a.by.op.KeyPackage, keyPackage) {
			continue
		}
		if a.denied != nil {
			return JoinStatus{Stage: wire.JoinDenied, Reason: ErrDenied.Error(), Final: true}, true
		}
		return JoinStatus{Stage: wire.JoinWaiting, Reason: "an admin has to approve the request"}, true
	}
	return JoinStatus{}, false
}

// inByItsLeaf says whether a KeyPackage is of a device that left and came back before a
// commit took its leaf out: no commit adds it again. Who still has that leaf's keys asks no
// more; who forgot the group has to ask to be added again.
func (m *Machine) inByItsLeaf(keyPackage []byte) bool {
	e, err := m.epoch(m.own.Position)
	if err != nil || e == nil {
		return false
	}
	for _, l := range e.Leaves() {
		d, err := m.deviceOf(l)
		if err != nil {
			continue
		}
		if in := m.roster.devices[d.ID]; in != nil && bytes.Equal(in.keyPackage, keyPackage) {
			return true
		}
	}
	return false
}

// inWithAnother says whether a KeyPackage is of a device that an operation brought in
// with another one, and that has not asked to be added again with this: it never got its
// Welcome, and drew a fresh KeyPackage when that one's time was over.
func (m *Machine) inWithAnother(keyPackage []byte) bool {
	kp, err := m.cfg.Engine.InspectKeyPackage(keyPackage)
	if err != nil {
		return false
	}
	// Nothing is kept of it: who asks can come with ever other credentials.
	leaf, err := identity.VerifyCredential(m.group, m.cfg.Engine.Suite(), kp.Credential, kp.SignatureKey)
	if err != nil {
		return false
	}
	d, p := m.roster.devices[leaf.ID], m.peers.of[leaf.ID]
	return d != nil && !bytes.Equal(d.keyPackage, keyPackage) && (p == nil || p.rejoin == nil || !bytes.Equal(p.rejoin.KeyPackage, keyPackage))
}
