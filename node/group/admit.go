package group

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/roster"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// A request to join is answered as the group's policy wants: by an operation that adds the
// joiner, with the commit that carries it out in the same turn, or by one that puts the
// request before the admins.
func (in JoinAsked) act(m *Machine, now time.Time, _ *Outcome) error {
	a, r := m.member(now), in.Request
	d, err := a.asker(r)
	if err != nil {
		return err
	}
	if m.rosters.now.Has(d.ID) {
		return m.peers.askedAgain(now, m.rosters.now, r) // JoinStatus tells how far it is
	}
	op, err := a.admit(r, d)
	if err == nil && op != nil {
		_, err = m.append(now, wire.KindOp, op)
	}
	return err
}

// asker gives the device that a request to join is of.
func (a member) asker(r wire.JoinRequest) (*identity.Device, error) {
	if _, err := a.self("admitting"); err != nil {
		return nil, err
	}
	if r.Group != a.group {
		return nil, fmt.Errorf("request to join: %w", verdict.ErrForeign)
	}
	d, err := identity.VerifyDevice(r.Cert)
	if err != nil {
		return nil, fmt.Errorf("request to join: %w", err)
	}
	if err := dag.CheckKeyPackage(a.group, d, r.KeyPackage, a.engine); err != nil {
		return nil, fmt.Errorf("request to join: %w", err)
	}
	return d, nil
}

// admit gives the operation by which a member answers a device that is not in the group; nil:
// its request is in the log already.
func (a member) admit(r wire.JoinRequest, d *identity.Device) (*wire.Op, error) {
	u, err := a.self("admitting")
	if err != nil {
		return nil, err
	}
	if err := errors.Join(d.CheckExpiry(a.now), a.engine.CheckLifetime(r.KeyPackage, a.now)); err != nil {
		return nil, fmt.Errorf("request to join: %w: %w", verdict.ErrInvalidKeyPackage, err)
	}
	if d.User == u.ID {
		// A further device of this device's own user, which its user key certified.
		return &wire.Op{Type: wire.OpDeviceAdd, Cert: &r.Cert, KeyPackage: r.KeyPackage}, nil
	}
	switch policy := a.roster.Policy(); {
	case a.roster.User(d.User) != nil:
		return nil, fmt.Errorf("request to join: %w: a further device is added by another device of its own user", verdict.ErrNotPermitted)
	case u.Role > wire.RoleMember:
		return nil, fmt.Errorf("request to join: %w: this member may only read; ask another", verdict.ErrNotPermitted)
	case r.Invite != nil:
		return a.admitInvited(r, d)
	case policy == wire.PolicyRequest && r.Rejoin != nil && a.waits(d.User):
		// It was told that it is in, and is not: the request that it asks with in turn stands.
		return nil, fmt.Errorf("request to join: %w: its first request waits for an admin", verdict.ErrState)
	case policy == wire.PolicyRequest:
		return a.request(r, d)
	case policy != wire.PolicyOpen:
		return nil, fmt.Errorf("request to join: %w: %w", verdict.ErrNotPermitted, verdict.ErrInviteOnly)
	case a.roster.WasRemoved(d):
		return nil, fmt.Errorf("request to join: %w: %w", verdict.ErrNotPermitted, verdict.ErrWasRemoved)
	}
	return &wire.Op{Type: wire.OpAdd, Cert: &r.Cert, Role: wire.RoleMember, KeyPackage: r.KeyPackage, Why: wire.WhyOpen}, nil
}

// admitInvited adds a joiner by its invite.
func (a member) admitInvited(r wire.JoinRequest, d *identity.Device) (*wire.Op, error) {
	in, err := dag.ReadClaim(a.group, *r.Invite, *r.Claim, d, r.KeyPackage)
	if err != nil {
		return nil, fmt.Errorf("request to join: %w", err)
	}
	if err := a.roster.JudgeInvite(a.device, in, d, a.at); err != nil {
		return nil, fmt.Errorf("request to join: %w", err)
	}
	return &wire.Op{
		Type: wire.OpAdd, Cert: &r.Cert, Role: in.Invite.Role, KeyPackage: r.KeyPackage, Why: wire.WhyInvite, Invite: r.Invite, Claim: r.Claim,
	}, nil
}

// request puts a joiner's request into the log for the admins.
func (a member) request(r wire.JoinRequest, d *identity.Device) (*wire.Op, error) {
	op := &wire.Op{Type: wire.OpRequest, Cert: &r.Cert, KeyPackage: r.KeyPackage}
	err := a.roster.May(a.device, &dag.Item{Body: &dag.Body{Op: op, Asker: &dag.Target{Device: d}}}, a.at)
	if errors.Is(err, roster.ErrAsked) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("request to join: %w", err)
	}
	return op, nil
}

// waits says whether a request of this user is before the admins.
func (a member) waits(user wire.UserID) bool {
	asks := a.roster.Asking(user)
	return asks != nil && asks.Open(a.at)
}

// askedAgain takes the request to be added again of a device that never got here.
func (p *peers) askedAgain(now time.Time, ros *roster.Roster, r wire.JoinRequest) error {
	if r.Rejoin == nil {
		return nil
	}
	again, err := p.read.rejoin(ros, *r.Rejoin)
	if err != nil {
		return fmt.Errorf("request to join: %w", err)
	}
	if !bytes.Equal(again.KeyPackage, r.KeyPackage) {
		return fmt.Errorf("request to join: %w: it asks with one KeyPackage to be added with another", verdict.ErrForged)
	}
	p.addAgain(now, p.at(again.Device), again)
	return nil
}

// JoinStatus tells how far the request with this KeyPackage is by now.
func (m *Machine) JoinStatus(keyPackage []byte, now time.Time) (JoinStatus, error) {
	if s, ok := requestStatus(m.rosters.now, keyPackage); ok {
		return s, nil
	}
	waiting := JoinStatus{Stage: wire.JoinWaiting, Reason: "the commit that adds this device is being made"}
	for n, kp := m.tree.Nodes[m.own.Position], sha256.Sum256(keyPackage); n != nil; n = n.Parent {
		if !n.HasWelcome() || !slices.Contains(n.Adds(), kp) {
			continue
		}
		welcomes, err1 := m.messages.read.welcomes(n)
		e, err2 := m.epochs.parent(n.ID)
		if err := errors.Join(err1, err2); err != nil {
			return JoinStatus{}, err
		}
		if e == nil {
			return JoinStatus{Stage: wire.JoinRenew}, nil
		}
		return JoinStatus{Stage: wire.JoinWelcomed, Epoch: n.ID, Welcome: welcomes[0], Tree: e.Tree()}, nil
	}
	for id := range m.rosters.now.Devices() {
		if d := m.rosters.now.Device(id); bytes.Equal(d.KeyPackage, keyPackage) && d.By.Lapsed(now) {
			return JoinStatus{Stage: wire.JoinRenew}, nil // nobody can add it any more
		}
	}
	if m.peers.joinedAnew(m.rosters.now, keyPackage) {
		return JoinStatus{Stage: wire.JoinRenew}, nil
	}
	for id := range m.epochs.inTree(m.own.Position) {
		if d := m.rosters.now.Device(id); d != nil && bytes.Equal(d.KeyPackage, keyPackage) {
			// It left and came back before a commit took its leaf out: no commit adds it again.
			// A device that still has that leaf's keys asks no more; one that forgot the group
			// has to ask to be added again.
			return JoinStatus{Stage: wire.JoinRenew}, nil
		}
	}
	return waiting, nil
}

// requestStatus tells a joiner how its request is, if it is one that waits for an admin.
func requestStatus(r *roster.Roster, keyPackage []byte) (JoinStatus, bool) {
	for _, a := range r.Requests() {
		if !bytes.Equal(a.By.Op.KeyPackage, keyPackage) {
			continue
		}
		if a.Denied != nil {
			return JoinStatus{Stage: wire.JoinDenied, Reason: verdict.ErrDenied.Error(), Final: true}, true
		}
		return JoinStatus{Stage: wire.JoinWaiting, Reason: "an admin has to approve the request"}, true
	}
	return JoinStatus{}, false
}

// joinedAnew says whether a KeyPackage is of a device that an operation brought in
// with another one, and that has not asked to be added again with this: it never got its
// Welcome, and drew a fresh KeyPackage when that one's time was over.
func (p *peers) joinedAnew(r *roster.Roster, keyPackage []byte) bool {
	kp, err := p.read.engine.InspectKeyPackage(keyPackage)
	if err != nil {
		return false
	}
	// Nothing is kept of it: who asks can come with ever other credentials.
	leaf, err := identity.VerifyCredential(p.read.group, p.read.engine.Suite(), kp.Credential, kp.SignatureKey)
	if err != nil {
		return false
	}
	d, of := r.Device(leaf.ID), p.of[leaf.ID]
	return d != nil && !bytes.Equal(d.KeyPackage, keyPackage) && (of == nil || of.rejoin == nil || !bytes.Equal(of.rejoin.KeyPackage, keyPackage))
}
