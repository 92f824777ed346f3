package group

import (
	"errors"
	"fmt"
	"slices"
	"time"
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
	for at != nil && !m.epochs.has(at.id) {
		at = at.parent
	}
	if at == nil {
		return m.joining.fromLog(now, target)
	}
	start := at
	for _, n := range chain(at, target) {
		if m.settling.rolling = at != start && m.tx.full(); m.settling.rolling {
			break
		}
		if m.epochs.outAt[n.id] {
			return m.joining.fromLog(now, target)
		}
		if m.refused.has(n.id) {
			return m.joining.fromLog(now, target)
		}
		parent, err := m.epochs.parent(at.id)
		if err != nil {
			m.tx.fail(err)
			return false
		}
		if info := n.info(); info == nil || info.Sender == parent.Own() {
			// A root, which nobody derives, or a commit that this device made before its
			// store went back: the way there is to be added again.
			return m.joining.fromLog(now, target)
		}
		child, err := m.judge.derive(parent, n)
		switch {
		case errors.Is(err, errSelfRemoved):
			m.epochs.outAt[n.id] = true
			return m.joining.fromLog(now, target)
		case err != nil:
			m.refused.refuse(now, n, err)
			return true // judge again
		}
		since, _ := parent.(Epoch)
		m.epochs.hold(now, n.id, n.generation, child, since)
		m.messages.openWaiting(now, n.id)
		at = n
	}
	if m.epochs.isThin(at.id) {
		// This device was there, and its message keys are destroyed: it seals nothing
		// there ever again, and comes back with a new leaf.
		return m.joining.fromLog(now, target)
	}
	if at == position {
		return false
	}
	m.moved(now, position, at)
	return !m.settling.rolling
}

// moved takes up a new position.
func (m *Machine) moved(now time.Time, from, to *node) {
	m.own.Position = to.id
	m.own.save()
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
	m.messages.ratchets.restart() // all ratchets begin anew
	m.peers.news()
	m.messages.reseal.again()
	m.messages.requeue(to)
	if switched || from == nil {
		m.timers.set(timerVote, now)
	} else {
		m.timers.sooner(timerVote, now.Add(voteEvery))
	}
}
