package group

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// A join asks to be let in with a fresh KeyPackage; a repetition asks with the same, for
// as long as that can be used. A member that waits to leave stays.
func (in Join) act(m *Machine, now time.Time, _ *Outcome) error {
	member := m.own.Joined && m.rosters.now.Has(m.own.log.Device)
	if member && in.Invite == nil {
		if !m.own.Leaving {
			return fmt.Errorf("joining: %w: already in the group", verdict.ErrState)
		}
		m.own.Leaving = false
		m.own.save()
		return nil
	}
	if (in.Invite == nil) != (in.Key == nil) {
		return fmt.Errorf("joining: %w: an invite comes with its key", verdict.ErrState)
	}
	if in.Invite != nil {
		i, err := dag.ReadInvite(m.own.group, *in.Invite)
		if err != nil {
			return fmt.Errorf("joining: %w", err)
		}
		if !bytes.Equal(i.Invite.Key[:], in.Key.Public()) {
			return fmt.Errorf("joining: %w: the key is not the invite's", verdict.ErrForged)
		}
	}
	if member {
		return in.intend(m, now)
	}
	j := m.joining
	if j.lapsed(now) {
		j.request = nil // an invite that went with it is claimed anew, or not at all
		j.setRenewal(nil)
	}
	if j.request == nil {
		ended, err := j.takeEnded(now)
		if err != nil {
			return err
		}
		if ended != nil {
			j.setRequest(ended)
		}
	}
	if j.request == nil {
		kp, err := m.leaf.newPackage(now)
		if err != nil {
			return err
		}
		j.setRequest(j.newRequest(kp.Public))
	}
	if in.Invite != nil {
		j.setRequest(j.claimed(*j.request, in)) // messages hold the one before
		j.cameBy.keep(m.timers.kept(now), wire.InviteIDOf(m.own.group, in.Invite.Payload), in)
	}
	j.carry()
	return nil
}

// intend keeps an invite for the case that this member is out and does not know it.
// A leave that waits is called off.
func (in Join) intend(m *Machine, now time.Time) error {
	if m.own.Leaving {
		m.own.Leaving = false
		m.own.save()
	}
	id := wire.InviteIDOf(m.own.group, in.Invite.Payload)
	m.peers.ask(now, "an invite came: does it need it?")
	if m.logs.Issued(id) || m.joining.wants(id) {
		return nil
	}
	kp, err := m.leaf.newPackage(now)
	if err != nil {
		return err
	}
	m.joining.keep(now, id, m.joining.claimed(*m.joining.newRequest(kp.Public), in))
	return nil
}

// JoinLapsed says whether this device asks to be let in with a KeyPackage whose time
// is over, so that nobody can add it: another Join makes a new one.
func (m *Machine) JoinLapsed(now time.Time) bool { return m.joining.lapsed(now) }

// An answer brings a member's Welcome.
func (in JoinAnswered) act(m *Machine, now time.Time, _ *Outcome) error {
	j := m.joining
	r := j.asksWith(in.KeyPackage)
	if r == nil {
		return fmt.Errorf("Welcome: %w: this device did not ask", verdict.ErrState)
	}
	if in.Renew {
		return j.renew(now, r)
	}
	kp, ok := m.leaf.keyPackage(r.KeyPackage)
	if !ok {
		return fmt.Errorf("Welcome: %w: the secrets of the KeyPackage are past their time", verdict.ErrState)
	}
	before := m.keys.ids()
	brought, err := m.welcomed(now, in.Epoch, in.Welcome, in.Tree, kp)
	if err != nil {
		if errors.Is(err, verdict.ErrInvalidWelcome) {
			j.welcomeFailed(now, r.KeyPackage)
		}
		return err
	}
	j.badWelcome = nil
	if old := m.own.Position; old != in.Epoch && !m.own.Out && m.tree.Nodes[old] == nil && m.epochs.has(old) {
		m.epochs.forget(old) // an earlier Welcome that the logs did not bear out, with all it brought
		if brought != nil {  // else it is not known which keys came with which
			m.keys.forget(slices.DeleteFunc(before, func(id wire.KeyID) bool { return brought[id] })...)
		}
	}
	m.own.Position = in.Epoch
	m.own.save()
	// Whether it was a Welcome into this group and not into one that the answerer
	// made up shows when the logs say so: until then this device goes on asking.
	m.timers.set(timerJoin, now.Add(joinAgain))
	m.peers.ask(now, "just welcomed")
	return nil
}

// welcomed holds the epoch that a Welcome leads to, if it is the one it was said to be. It
// gives the transport keys that came with it; nil, if the epoch is held already.
func (m *Machine) welcomed(now time.Time, id wire.EpochID, welcome, tree []byte, kp engine.KeyPackage) (map[wire.KeyID]bool, error) {
	if m.epochs.has(id) {
		return nil, nil
	}
	e, data, err := m.cfg.Engine.Join(welcome, tree, kp, m.epochs.checkCredential)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", verdict.ErrInvalidWelcome, err)
	}
	secrets, err := wire.DecodeJoinSecrets(data)
	if err != nil {
		return nil, fmt.Errorf("%w: join secrets: %w", verdict.ErrInvalidWelcome, err)
	}
	if got := wire.EpochIDOf(m.own.group, secrets.Root, e.Number(), e.Interim()); got != id {
		return nil, fmt.Errorf("%w: it leads to another epoch than the one announced", verdict.ErrInvalidWelcome)
	}
	brought := map[wire.KeyID]bool{}
	for _, key := range secrets.TransportKeys {
		brought[wire.KeyIDOf(m.own.group, key)] = true
		m.keys.take(key)
	}
	if m.tree.Nodes[id] != nil { // else it may be another group's: noteJoined does
		m.leaf.spend(now, kp.Public)
	}
	m.epochs.hold(now, id, e, nil)
	m.fork.refused.withdraw(now, m.tree.Nodes[id])
	m.messages.openWaiting(now, id)
	return brought, nil
}

// A Tree is a ratchet tree that Wants asked for. Whether it is the right one
// shows when the Welcome is opened: the GroupInfo holds its hash.
func (in Tree) act(m *Machine, now time.Time, _ *Outcome) error {
	n := m.tree.Nodes[in.Epoch]
	if n == nil || n.Info() == nil || !m.joining.trees[in.Epoch] {
		return fmt.Errorf("ratchet tree: %w: nobody asked for it", verdict.ErrState)
	}
	for _, hash := range n.Adds() {
		if kp, ok := m.leaf.byHash(hash); ok {
			// Tried at once, so that a wrong tree is refused and asks for another.
			welcomes, err := m.messages.read.welcomes(n)
			errs := []error{err}
			for _, welcome := range welcomes {
				_, err := m.welcomed(now, n.ID, welcome, in.Bytes, kp)
				if err == nil {
					delete(m.joining.trees, in.Epoch)
					return nil
				}
				errs = append(errs, err)
			}
			return fmt.Errorf("ratchet tree: %w", errors.Join(errs...))
		}
	}
	return fmt.Errorf("ratchet tree: %w: nobody asked for it", verdict.ErrState)
}

// noteJoined tells, once per membership, that this device is in the group by its
// own logs too, and says so to the others.
func (m *Machine) noteJoined(now time.Time) {
	n := m.tree.Nodes[m.own.Position]
	if m.own.Joined || n == nil || !m.epochs.has(n.ID) || !m.rosters.now.Has(m.own.log.Device) {
		return
	}
	m.own.Joined, m.own.Out = true, false
	m.messages.requeue(n) // what was written before, if this is a return
	m.joining.done(now)
	m.tx.emit(now, Event{Kind: EventJoined, Epoch: m.own.Position})
	m.timers.set(timerVote, now)
}

// EndJoin ends asking to be let in with a request, after a final no: the next invite that
// is kept is tried. Without a request it ends all asking, with every invite that is kept.
type EndJoin struct{ Request *wire.JoinRequest }

func (in EndJoin) act(m *Machine, now time.Time, _ *Outcome) error {
	switch {
	case in.Request == nil && m.In():
		return fmt.Errorf("ending a join: %w: this device is in the group and waits for its keys", verdict.ErrState)
	case in.Request == nil:
		m.joining.setIntents(now, nil)
	case m.joining.request == nil || !bytes.Equal(wire.Marshal(m.joining.request), wire.Marshal(in.Request)):
		return fmt.Errorf("ending a join: %w: this device does not ask with that request", verdict.ErrState)
	}
	m.joining.end(now)
	return nil
}

// In says whether this device is in the group by its own logs, with or without keys.
func (m *Machine) In() bool { return m.rosters.now.Has(m.own.log.Device) }
