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

// undisputed is how far the way from position to target goes without a fork; position if
// that is not on the way.
func undisputed(position, target *node) *node {
	at := target
	for n := target; n != position; n = n.parent {
		if n.parent == nil {
			return position
		}
		if len(n.parent.children) > 1 {
			at = n.parent
		}
	}
	return at
}

// moveTo derives the epochs from the nearest one held down to the target.
func (m *Machine) moveTo(now time.Time, position, target *node) bool {
	at := target
	for at != nil && m.held[at.id] == nil {
		at = at.parent
	}
	if at == nil {
		return m.joinFromLog(target)
	}
	start := at
	for _, n := range chain(at, target) {
		if m.rolling = at != start && m.tx.full(); m.rolling {
			break
		}
		if m.outAt[n.id] {
			return m.joinFromLog(target)
		}
		if m.refused.has(n.id) {
			return m.joinFromLog(target)
		}
		parent, err := m.parent(at.id)
		if err != nil {
			m.tx.fail(err)
			return false
		}
		if info := n.info(); info == nil || info.Sender == parent.Own() {
			// A root, which nobody derives, or a commit that this device made before its
			// store went back: the way there is to be added again.
			return m.joinFromLog(target)
		}
		child, err := m.process(parent, n)
		switch {
		case errors.Is(err, errSelfRemoved):
			m.outAt[n.id] = true
			return m.joinFromLog(target)
		case err != nil:
			m.refuse(now, n, err)
			return true // judge again
		}
		since, _ := parent.(Epoch)
		m.hold(now, n.id, n.generation, child, since)
		m.openWaiting(now, n.id)
		at = n
	}
	if m.held[at.id].row.Thin {
		// This device was there, and its message keys are destroyed: it seals nothing
		// there ever again, and comes back with a new leaf.
		return m.joinFromLog(target)
	}
	if at == position {
		return false
	}
	m.moved(now, position, at)
	return !m.rolling
}

// moved takes up a new position.
func (m *Machine) moved(now time.Time, from, to *node) {
	m.own.Position = to.id
	m.saveOwn()
	e := Event{Kind: EventEpoch, Epoch: to.id, Detail: fmt.Sprintf("epoch %d", to.number)}
	if by := to.by(); by != nil && to.parent != m.tree.root {
		e.By, e.Device = by.user, by.log.Device
	}
	m.tx.emit(now, e)
	switched := from != nil && !from.contains(to)
	if switched {
		for lost := from; lost != nil && !lost.contains(to); lost = lost.parent {
			m.plan.lostUpdate = m.plan.lostUpdate || slices.ContainsFunc(lost.claims, func(c *item) bool { return c.log.Device == m.log.Device })
		}
		m.tx.emit(now, Event{Kind: EventSwitch, Epoch: to.id, Detail: "the fork choice picked another branch"})
	}
	m.settling.over()
	m.timers.stop(timerHeal)
	clear(m.worn.since) // all ratchets begin anew
	m.news()
	m.fillAgain()
	m.requeue(to)
	if switched || from == nil {
		m.timers.set(timerVote, now)
	} else {
		m.timers.sooner(timerVote, now.Add(voteEvery))
	}
}

// process derives the child of an epoch held here, if the commit is valid MLS,
// by the device that signed the entry, and does to the tree only what the roster
// resolved from the commit's own past wants.
func (m *Machine) process(parent Parent, n *node) (Epoch, error) {
	if n.info() == nil {
		return nil, fmt.Errorf("%w: a root cannot be derived", ErrInvalidCommit)
	}
	claim, err := m.justified(parent, n)
	if err != nil {
		return nil, err
	}
	c, _, err := m.read.commit(claim)
	if err != nil {
		return nil, err
	}
	child, err := parent.Process(c.Commit, m.checkCredential)
	if err != nil && !errors.Is(err, errSelfRemoved) {
		return nil, fmt.Errorf("%w: %w", ErrInvalidCommit, err)
	}
	return child, err
}

// justified checks a commit against the roster of its own past and gives the claim to
// it that is.
func (m *Machine) justified(parent Parent, n *node) (claim *item, err error) {
	for _, claim = range n.claims {
		if err = m.justifies(parent, n, claim); err == nil {
			break
		}
	}
	return claim, err
}

func (m *Machine) justifies(parent Parent, n *node, claim *item) error {
	_, info, err := m.read.commit(claim)
	if err != nil {
		return err
	}
	at := func(index uint32) *identity.Leaf {
		l, ok := parent.Leaf(index)
		if !ok {
			return nil
		}
		d, err := m.deviceOf(l)
		if err != nil {
			return nil // no leaf comes in whose credential does not hold
		}
		return d
	}
	if by := at(info.Sender); by == nil || by.ID != claim.log.Device {
		return fmt.Errorf("%w: the entry is not by the committer", ErrInvalidCommit)
	}
	past := m.rosters.at(claim)
	if info.Other > 0 || !info.Path {
		return fmt.Errorf("%w: it has no path, or proposals that nodes do not make", ErrInvalidCommit)
	}
	if d, err := identity.ClaimedDevice(info.Own); err != nil || d != claim.log.Device {
		return fmt.Errorf("%w: it gives the committer's leaf to another device", ErrInvalidCommit)
	}
	rejoins, err := m.readRejoins(past, claim)
	if err != nil {
		return err
	}
	for _, r := range rejoins {
		if err := answers(n, r); err != nil {
			return err
		}
	}
	for _, leaf := range info.Removes {
		if d := at(leaf); d != nil && past.has(d.ID) && rejoins[d.ID] == nil {
			return fmt.Errorf("%w: it removes device %v, a member", ErrInvalidCommit, d.ID)
		}
	}
	for _, kp := range info.Adds {
		operation := slices.ContainsFunc(past.deviceIDs(), func(d wire.DeviceID) bool { return bytes.Equal(past.devices[d].keyPackage, kp) })
		rejoin := slices.ContainsFunc(past.deviceIDs(), func(d wire.DeviceID) bool {
			return rejoins[d] != nil && bytes.Equal(rejoins[d].KeyPackage, kp)
		})
		if !operation && !rejoin {
			return fmt.Errorf("%w: it adds a device that no operation adds", ErrInvalidCommit)
		}
	}
	return nil
}

// answers checks that a commit adds the device whose request it cites, and that no
// commit before it did: a request replayed must not evict who made it.
func answers(n *node, r *rejoin) error {
	kp := sha256.Sum256(r.KeyPackage)
	if !slices.Contains(n.adds(), kp) {
		return fmt.Errorf("%w: it cites a request to be added again and does not add", ErrInvalidCommit)
	}
	for at := n.parent; at != nil; at = at.parent {
		if slices.Contains(at.adds(), kp) {
			return fmt.Errorf("%w: it cites a request that was answered before", ErrInvalidCommit)
		}
	}
	return nil
}
