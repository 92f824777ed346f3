package group

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// found makes the group's first root of MLS epochs, its transport key and its
// first entry.
func (m *Machine) found(now time.Time) error {
	switch {
	case m.cfg.Genesis.Device.ID != m.log.Device:
		return fmt.Errorf("founding: %w: the genesis is by another device", ErrNotPermitted)
	case m.own.Joined:
		return fmt.Errorf("founding: %w: the group is there", ErrState)
	}
	key := make([]byte, wire.TransportKeyLen)
	if _, err := io.ReadFull(m.cfg.Rand, key); err != nil {
		return fmt.Errorf("drawing a transport key: %w", err)
	}
	m.takeTransportKey(key)
	_, err := m.newRoot(now, m.tree.root, 0)
	return err
}

// credential is this device's for a leaf of the group.
func (m *Machine) credential() []byte { return m.credentialWith(m.own.Transport) }

// credentialWith is the same with another private key for transport keys.
func (m *Machine) credentialWith(transport []byte) []byte {
	return identity.NewCredential(m.cfg.Device, m.cfg.LogKey, m.group, m.cfg.Engine.Suite(), m.own.Public, m.publicOf(transport))
}

// operate appends an OP of this device if its user may make it now.
func (m *Machine) operate(now time.Time, op *wire.Op) (wire.EntryHash, error) {
	it, err := m.append(now, wire.KindOp, op)
	if err != nil {
		return wire.EntryHash{}, err
	}
	return it.hash, nil
}

// self gives this device's user in the roster.
func (m *Machine) self(doing string) (*rosterUser, error) {
	u := m.roster.users[m.cfg.Device.User]
	if u == nil || !m.roster.has(m.log.Device) {
		return nil, fmt.Errorf("%s: %w", doing, ErrOut)
	}
	return u, nil
}

func (m *Machine) removeUser(now time.Time, id wire.UserID) (wire.EntryHash, error) {
	u, err := m.self("removing")
	if err != nil {
		return wire.EntryHash{}, err
	}
	victim := m.roster.users[id]
	switch {
	case victim == nil:
		return wire.EntryHash{}, fmt.Errorf("removing: %w: no member is user %v", ErrUnknown, id)
	case id == u.id:
		return wire.EntryHash{}, fmt.Errorf("removing: %w: nobody removes itself; leave instead", ErrNotPermitted)
	case u.role > wire.RoleAdmin || victim.role < u.role:
		return wire.EntryHash{}, fmt.Errorf("removing: %w: %s may not remove %s", ErrNotPermitted, u.role.Article(), victim.role.Article())
	case m.roster.lastOwner(victim):
		return wire.EntryHash{}, fmt.Errorf("removing: %w: that is the last owner", ErrNotPermitted)
	}
	return m.operate(now, &wire.Op{Type: wire.OpRemove, User: &id})
}

func (m *Machine) setRole(now time.Time, id wire.UserID, role wire.Role) (wire.EntryHash, error) {
	u, err := m.self("changing a role")
	if err != nil {
		return wire.EntryHash{}, err
	}
	subject := m.roster.users[id]
	switch {
	case role < wire.RoleOwner || role > wire.RoleReadOnly:
		return wire.EntryHash{}, fmt.Errorf("changing a role: %w: %v", ErrUnknown, role)
	case subject == nil:
		return wire.EntryHash{}, fmt.Errorf("changing a role: %w: no member is user %v", ErrUnknown, id)
	case u.role != wire.RoleOwner:
		return wire.EntryHash{}, fmt.Errorf("changing a role: %w: only an owner may", ErrNotPermitted)
	case role != wire.RoleOwner && m.roster.lastOwner(subject):
		return wire.EntryHash{}, fmt.Errorf("changing a role: %w: that is the last owner; make somebody else owner first", ErrNotPermitted)
	}
	return m.operate(now, &wire.Op{Type: wire.OpRole, User: &id, Role: role})
}

func (m *Machine) revokeDevice(now time.Time, id wire.DeviceID) (wire.EntryHash, error) {
	u, err := m.self("revoking a device")
	if err != nil {
		return wire.EntryHash{}, err
	}
	d := m.roster.devices[id]
	switch {
	case d == nil:
		return wire.EntryHash{}, fmt.Errorf("revoking a device: %w: no member has device %v", ErrUnknown, id)
	case id == m.log.Device:
		return wire.EntryHash{}, fmt.Errorf("revoking a device: %w: not its own; revoke it from another one, or leave", ErrNotPermitted)
	case d.device.User != u.id && (u.role > wire.RoleAdmin || m.roster.users[d.device.User].role < u.role):
		return wire.EntryHash{}, fmt.Errorf("revoking a device: %w: it is another user's", ErrNotPermitted)
	}
	return m.operate(now, &wire.Op{Type: wire.OpDeviceRevoke, Device: &id})
}

func (m *Machine) setProfile(now time.Time, item wire.Signed) (wire.EntryHash, error) {
	u, err := m.self("changing the profile")
	if err != nil {
		return wire.EntryHash{}, err
	}
	if u.role > wire.RoleAdmin {
		return wire.EntryHash{}, fmt.Errorf("changing the profile: %w: %s may not, only owners and admins may", ErrNotPermitted, u.role.Article())
	}
	if _, err := readProfile(m.group, item, u.id); err != nil {
		return wire.EntryHash{}, fmt.Errorf("changing the profile: %w", err)
	}
	return m.operate(now, &wire.Op{Type: wire.OpProfile, Profile: &item})
}

// join asks to be let in with a fresh KeyPackage; a repetition asks with the same, for
// as long as that can be used. A member that waits to leave stays.
func (m *Machine) join(now time.Time, in Join) error {
	member := m.own.Joined && m.roster.has(m.log.Device)
	if member && in.Invite == nil {
		if !m.own.Leaving {
			return fmt.Errorf("joining: %w: already in the group", ErrState)
		}
		m.own.Leaving = false
		m.saveOwn()
		return nil
	}
	if (in.Invite == nil) != (in.Key == nil) {
		return fmt.Errorf("joining: %w: an invite comes with its key", ErrState)
	}
	if in.Invite != nil {
		i, err := readInvite(m.group, *in.Invite)
		if err != nil {
			return fmt.Errorf("joining: %w", err)
		}
		if !bytes.Equal(i.invite.Key[:], in.Key.Public()) {
			return fmt.Errorf("joining: %w: the key is not the invite's", ErrForged)
		}
	}
	if member {
		return m.intend(now, in)
	}
	if m.JoinLapsed(now) {
		m.request = nil // an invite that went with it is claimed anew, or not at all
		m.setRenewal(nil)
	}
	if m.request == nil {
		ended, err := m.takeEnded(now)
		if err != nil {
			return err
		}
		if ended != nil {
			m.setRequest(ended)
		}
	}
	if m.request == nil {
		kp, err := m.newKeyPackage(now)
		if err != nil {
			return err
		}
		m.setRequest(&wire.JoinRequest{V: wire.Version, Group: m.group, Cert: m.cfg.Device.Raw, KeyPackage: kp.Public})
	}
	if in.Invite != nil {
		r := m.claimed(*m.request, in) // messages hold the one before
		m.setRequest(&r)
	}
	m.requestJoin()
	return nil
}

// claimed is a request with the claim to an invite.
func (m *Machine) claimed(r wire.JoinRequest, in Join) wire.JoinRequest {
	claim := wire.Claim{
		V: wire.Version, Invite: wire.InviteIDOf(m.group, in.Invite.Payload), Device: m.log.Device, KeyPackage: sha256.Sum256(r.KeyPackage),
	}
	signed := in.Key.Sign(wire.DomainJoin, m.group, claim.Encode())
	r.Invite, r.Claim = in.Invite, &signed
	return r
}

// requestJoin has what this device asks with carried to members.
func (m *Machine) requestJoin() {
	m.tx.send(RequestJoin{Request: *m.request, Renewal: m.renewal})
}

// setRequest changes what this device asks with; nil: it asks no more.
func (m *Machine) setRequest(r *wire.JoinRequest) {
	m.putRequest(rowJoin, m.request, r)
	if r == nil && m.request != nil {
		m.tx.send(EndRequest{})
	}
	m.request = r
}

func (m *Machine) setRenewal(r *wire.JoinRequest) {
	m.putRequest(rowRenewal, m.renewal, r)
	m.renewal = r
}

func (m *Machine) putRequest(row string, old, r *wire.JoinRequest) {
	switch {
	case r != nil:
		m.tx.put(row, wire.Marshal(r))
	case old != nil:
		m.tx.del(row)
	}
}

// asksWith gives the request with this KeyPackage if this device asks with it; nil is
// the first one's.
func (m *Machine) asksWith(keyPackage []byte) *wire.JoinRequest {
	switch {
	case m.request != nil && (keyPackage == nil || bytes.Equal(m.request.KeyPackage, keyPackage)):
		return m.request
	case m.renewal != nil && bytes.Equal(m.renewal.KeyPackage, keyPackage):
		return m.renewal
	}
	return nil
}

// JoinLapsed says whether this device asks to be let in with a KeyPackage whose time
// is over, so that nobody can add it: another Join makes a new one.
func (m *Machine) JoinLapsed(now time.Time) bool {
	if m.request == nil {
		return false
	}
	kp := m.keyPkgs[sha256.Sum256(m.request.KeyPackage)]
	return kp == nil || !m.kept(now).Before(time.UnixMilli(int64(kp.Until))) //nolint:gosec // written by this machine
}

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
	d, p := m.roster.devices[leaf.ID], m.peer[leaf.ID]
	return d != nil && !bytes.Equal(d.keyPackage, keyPackage) && (p == nil || p.rejoin == nil || !bytes.Equal(p.rejoin.KeyPackage, keyPackage))
}

// joinAnswered takes a member's Welcome.
func (m *Machine) joinAnswered(now time.Time, in JoinAnswered) error {
	r := m.asksWith(in.KeyPackage)
	if r == nil {
		return fmt.Errorf("Welcome: %w: this device did not ask", ErrState)
	}
	if in.Renew {
		return m.renewRequest(now, r)
	}
	kp, ok := m.keyPackage(r.KeyPackage)
	if !ok {
		return fmt.Errorf("Welcome: %w: the secrets of the KeyPackage are past their time", ErrState)
	}
	before := maps.Clone(m.transport)
	if err := m.welcomed(now, in.Epoch, in.Welcome, in.Tree, kp); err != nil {
		if errors.Is(err, ErrInvalidWelcome) {
			m.badWelcome = r.KeyPackage // perhaps whoever made the commit made it so, and nobody has a better one
			m.timers.sooner(timerJoin, now.Add(joinAgain))
		}
		return err
	}
	m.badWelcome = nil
	if old := m.own.Position; old != in.Epoch && !m.own.Out && m.tree.nodes[old] == nil && m.held[old] != nil {
		m.forget(old) // an earlier Welcome that the logs did not bear out, with all it brought
		for id := range before {
			delete(m.transport, id)
			m.tx.del(rowTransKey + hexed(id[:]))
		}
		m.sendKey = nil
	}
	m.own.Position = in.Epoch
	m.saveOwn()
	// Whether it was a Welcome into this group and not into one that the answerer
	// made up shows when the logs say so: until then this device goes on asking.
	m.timers.set(timerJoin, now.Add(joinAgain))
	m.ask("just welcomed")
	return nil
}

// renewRequest asks also with a fresh KeyPackage and a request to be added again: this
// device is in the roster, but the Welcome for the KeyPackage that it asked with can be
// served by nobody any more. So somebody says, who may be no member at all: what a first
// request holds, an invite that is claimed for its KeyPackage alone, is not given up for
// that. At most once an hour, whatever members say.
func (m *Machine) renewRequest(now time.Time, r *wire.JoinRequest) error {
	if m.renewal != nil && r != m.renewal {
		return fmt.Errorf("request to join: %w: it asks with another KeyPackage already", ErrState)
	}
	if kp := m.keyPkgs[sha256.Sum256(r.KeyPackage)]; kp != nil {
		made := time.UnixMilli(int64(kp.Until)).Add(-keyPackageLifetime) //nolint:gosec // written by this machine
		if m.kept(now).Sub(made) < time.Hour {
			return fmt.Errorf("request to join: %w: its KeyPackage is fresh", ErrState)
		}
	}
	again, err := m.requestAgain(now)
	if err != nil {
		return err
	}
	if r.Rejoin != nil {
		m.spend(now, r.KeyPackage)
	}
	if r == m.request && r.Rejoin != nil {
		m.setRequest(again)
	} else {
		m.setRenewal(again)
	}
	m.requestJoin()
	return nil
}

// askedAgain takes the request to be added again of a device that never got here.
func (m *Machine) askedAgain(r wire.JoinRequest) error {
	if r.Rejoin == nil {
		return nil
	}
	again, err := m.readRejoin(m.roster, *r.Rejoin)
	if err != nil {
		return fmt.Errorf("request to join: %w", err)
	}
	if !bytes.Equal(again.KeyPackage, r.KeyPackage) {
		return fmt.Errorf("request to join: %w: it asks with one KeyPackage to be added with another", ErrForged)
	}
	if m.peerOf(again.Device).newerRejoin(m.now, again) {
		m.differ.changed() // there may be something to commit
	}
	return nil
}

// joinAgain is how long a Welcome may take to be borne out by the logs before this
// device asks another member.
const joinAgain = 30 * time.Second

// askToJoinAgain repeats a request whose Welcome led nowhere.
func (m *Machine) askToJoinAgain(now time.Time) {
	if m.request == nil {
		m.timers.stop(timerJoin)
		return
	}
	if m.timers.due(now, timerJoin) {
		m.timers.set(timerJoin, now.Add(joinAgain))
		if r := m.asksWith(m.badWelcome); m.badWelcome != nil && r != nil && m.renewRequest(now, r) == nil {
			m.badWelcome = nil
			return
		}
		m.requestJoin()
	}
}

// welcomed holds the epoch that a Welcome leads to, if it is the one it was said to be.
func (m *Machine) welcomed(now time.Time, id wire.EpochID, welcome, tree []byte, kp KeyPackage) error {
	if m.held[id] != nil {
		return nil
	}
	e, data, err := m.cfg.Engine.Join(welcome, tree, kp, m.checkCredential)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalidWelcome, err)
	}
	secrets, err := wire.DecodeJoinSecrets(data)
	if err != nil {
		return fmt.Errorf("%w: join secrets: %w", ErrInvalidWelcome, err)
	}
	if got := wire.EpochIDOf(m.group, secrets.Generation, e.Number(), e.Interim()); got != id {
		return fmt.Errorf("%w: it leads to another epoch than the one announced", ErrInvalidWelcome)
	}
	for _, key := range secrets.TransportKeys {
		m.takeTransportKey(key)
	}
	if m.tree.nodes[id] != nil { // else it may be another group's: noteJoined does
		m.spend(now, kp.Public)
	}
	m.hold(now, id, secrets.Generation, e, nil)
	m.withdraw(now, id)
	m.openWaiting(now, id)
	return nil
}

// joinFromLog gets this device onto a chain that none of its keys lead to, by the
// Welcome of the newest commit on it that adds one of its KeyPackages: it asks
// for the ratchet tree, and gotTree goes on.
func (m *Machine) joinFromLog(chosen *node) bool {
	for n := chosen; n != nil; n = n.parent {
		if !n.hasWelcome() {
			continue
		}
		for _, hash := range n.adds() {
			if m.keyPkgs[hash] == nil || m.held[n.id] != nil {
				continue // a held one leads nowhere new: this device was taken out after it
			}
			if !m.wantTrees[n.id] {
				m.wantTrees[n.id] = true
				m.ask("a Welcome needs its ratchet tree")
			}
			return false
		}
	}
	return false
}

// gotTree takes a ratchet tree that Wants asked for. Whether it is the right one
// shows when the Welcome is opened: the GroupInfo holds its hash.
func (m *Machine) gotTree(now time.Time, in Tree) error {
	n := m.tree.nodes[in.Epoch]
	if n == nil || n.info() == nil || !m.wantTrees[in.Epoch] {
		return fmt.Errorf("ratchet tree: %w: nobody asked for it", ErrState)
	}
	for _, hash := range n.adds() {
		if kp := m.keyPkgs[hash]; kp != nil {
			// Tried at once, so that a wrong tree is refused and asks for another.
			welcomes, err := m.read.welcomes(n)
			errs := []error{err}
			for _, welcome := range welcomes {
				err := m.welcomed(now, n.id, welcome, in.Bytes, KeyPackage{Public: kp.Public, Secret: kp.Secret})
				if err == nil {
					delete(m.wantTrees, in.Epoch)
					return nil
				}
				errs = append(errs, err)
			}
			return fmt.Errorf("ratchet tree: %w", errors.Join(errs...))
		}
	}
	return fmt.Errorf("ratchet tree: %w: nobody asked for it", ErrState)
}
