package group

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

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

// requestAgain makes a request to join by which any member adds this device again: who
// has no keys can tell nobody by a beacon.
func (m *Machine) requestAgain(now time.Time) (*wire.JoinRequest, error) {
	r, err := m.newRejoin(now)
	if err != nil {
		return nil, err
	}
	s := m.cfg.LogKey.Sign(wire.DomainRejoin, m.group, r.Encode())
	return &wire.JoinRequest{V: wire.Version, Group: m.group, Cert: m.cfg.Device.Raw, KeyPackage: r.KeyPackage, Rejoin: &s}, nil
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

// noteJoined tells, once per membership, that this device is in the group by its
// own logs too, and says so to the others.
func (m *Machine) noteJoined(now time.Time) {
	n := m.tree.nodes[m.own.Position]
	if m.own.Joined || n == nil || m.held[n.id] == nil || !m.roster.has(m.log.Device) {
		return
	}
	m.own.Joined, m.own.Out = true, false
	m.requeue(n) // what was written before, if this is a return
	ended, err := m.takeEnded(now)
	m.tx.fail(err)
	for _, r := range []*wire.JoinRequest{m.request, m.renewal, ended} {
		if r != nil {
			m.spend(now, r.KeyPackage)
		}
	}
	m.setRequest(nil)
	m.setRenewal(nil)
	m.tx.emit(now, Event{Kind: EventJoined, Epoch: m.own.Position})
	m.timers.set(timerVote, now)
}

// EndJoin ends asking to be let in with a request, after a final no: the next invite that
// is kept is tried. Without a request it ends all asking, with every invite that is kept.
type EndJoin struct{ Request *wire.JoinRequest }

func (EndJoin) input() {}

func (in EndJoin) act(m *Machine, now time.Time, _ *Outcome) error {
	switch {
	case in.Request == nil && m.In():
		return fmt.Errorf("ending a join: %w: this device is in the group and waits for its keys", ErrState)
	case in.Request == nil:
		m.setIntents(now, nil)
	case m.request == nil || !bytes.Equal(wire.Marshal(m.request), wire.Marshal(in.Request)):
		return fmt.Errorf("ending a join: %w: this device does not ask with that request", ErrState)
	}
	if m.request != nil {
		m.keepEnded(m.request)
		m.setRequest(nil)
	}
	m.setRenewal(nil)
	m.askWithIntent(now)
	return nil
}

// keepEnded keeps the request of a join that has ended. An admin can let this device in by
// it all the same, and if its user joins again then, that KeyPackage has the Welcome.
func (m *Machine) keepEnded(r *wire.JoinRequest) { m.tx.put(rowEnded, wire.Marshal(r)) }

// takeEnded gives a request to ask with again, without an invite; nil: there is none
// whose KeyPackage can be used.
func (m *Machine) takeEnded(now time.Time) (*wire.JoinRequest, error) {
	v, err := m.tx.get(rowEnded)
	if v == nil || err != nil {
		return nil, err
	}
	m.tx.del(rowEnded)
	r, err := wire.DecodeJoinRequest(v)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	_, kept := m.keyPackage(r.KeyPackage)
	if usable := kept && m.cfg.Engine.CheckLifetime(r.KeyPackage, now) == nil && r.Rejoin == nil; !usable {
		return nil, nil
	}
	r.Invite, r.Claim = nil, nil
	return r, nil
}

// was says whether this device is or has been in the group, by its own logs.
func (m *Machine) was() bool { return m.own.Joined || m.own.Out || m.logs.head(m.log) != nil }

// In says whether this device is in the group by its own logs, with or without keys.
func (m *Machine) In() bool { return m.roster.has(m.log.Device) }

// A member who is given an invite may be out of the group already without knowing it:
// it was removed a moment ago, or while it was off. So a Join with an invite is an
// intent, which is kept until it shows whether it is needed:
//
//   - this device learns that it is out: it asks with the invite;
//   - this device is in by its logs, and they hold the operation that gave the invite
//     out: whatever the invite was given out after lies in their past too, so it is in by
//     all that who gave it out knew. The invite is not spent. An invite lets back in
//     after no removal that is not in the past of its operation, so nothing is lost.
//
// The claim is signed when the intent is made, so that the invite's secret is not kept.

// maxIntents is how many invites are kept; of more, the oldest goes.
const maxIntents = 4

// intent is a request to be let in by an invite that is not made yet.
type intent struct {
	id      wire.InviteID
	request wire.JoinRequest
}

// intentsRow holds encoded JoinRequests.
type intentsRow struct {
	Requests [][]byte `cbor:"1,keyasint"`
}

func (m *Machine) loadIntents() error {
	v, err := m.tx.get(rowIntents)
	if v == nil || err != nil {
		return err
	}
	var row intentsRow
	if err := wire.Unmarshal(v, &row); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	for _, b := range row.Requests {
		r, err := wire.DecodeJoinRequest(b)
		if err != nil || r.Invite == nil {
			return fmt.Errorf("%w: the invite of a join: %w", ErrCorrupt, err)
		}
		m.intents = append(m.intents, intent{wire.InviteIDOf(m.group, r.Invite.Payload), *r})
	}
	return nil
}

func (m *Machine) setIntents(now time.Time, intents []intent) {
	for _, old := range m.intents {
		kept := func(i intent) bool { return bytes.Equal(i.request.KeyPackage, old.request.KeyPackage) }
		asks := m.request != nil && bytes.Equal(m.request.KeyPackage, old.request.KeyPackage)
		if !asks && !slices.ContainsFunc(intents, kept) {
			m.spend(now, old.request.KeyPackage)
		}
	}
	m.intents = intents
	if len(intents) == 0 {
		m.tx.del(rowIntents)
		return
	}
	var row intentsRow
	for _, i := range intents {
		row.Requests = append(row.Requests, wire.Marshal(&i.request))
	}
	m.tx.put(rowIntents, wire.Marshal(&row))
}

// intend keeps an invite for the case that this member is out and does not know it.
// A leave that waits is called off.
func (m *Machine) intend(now time.Time, in Join) error {
	if m.own.Leaving {
		m.own.Leaving = false
		m.saveOwn()
	}
	id := wire.InviteIDOf(m.group, in.Invite.Payload)
	m.ask("an invite came: does it need it?")
	if m.issued(id) || slices.ContainsFunc(m.intents, func(i intent) bool { return i.id == id }) {
		return nil
	}
	kp, err := m.newKeyPackage(now)
	if err != nil {
		return err
	}
	r := m.claimed(wire.JoinRequest{V: wire.Version, Group: m.group, Cert: m.cfg.Device.Raw, KeyPackage: kp.Public}, in)
	all := append([]intent{{id, r}}, m.intents...)
	m.setIntents(now, all[:min(len(all), maxIntents)])
	return nil
}

// issued says whether the operation that gave an invite out is here, with its past.
func (m *Machine) issued(id wire.InviteID) bool {
	return slices.ContainsFunc(m.logs.ops, func(op *item) bool {
		return op.op.Type == wire.OpInvite && op.invited != nil && op.invited.id == id
	})
}

// settleIntents drops the invites that are not needed, or asks with the newest.
func (m *Machine) settleIntents(now time.Time) {
	switch {
	case len(m.intents) == 0 || m.roster == nil:
	case m.own.Joined && m.roster.has(m.log.Device):
		left := slices.DeleteFunc(slices.Clone(m.intents), func(i intent) bool { return m.issued(i.id) })
		if len(left) < len(m.intents) {
			m.setIntents(now, left)
		}
	case m.own.Out && (m.request == nil || m.request.Invite == nil):
		m.askWithIntent(now)
	}
}

// askWithIntent asks with the newest invite that is kept, if there is one.
func (m *Machine) askWithIntent(now time.Time) {
	for len(m.intents) > 0 {
		next := m.intents[0].request
		usable := m.cfg.Engine.CheckLifetime(next.KeyPackage, now) == nil
		if usable {
			m.setRequest(&next)
			m.setRenewal(nil)
		}
		m.setIntents(now, m.intents[1:])
		if usable {
			m.requestJoin()
			return
		}
	}
}
