package group

import (
	"errors"
	"fmt"
	"time"

	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/group/epochs"
)

// undisputed is how far the way from position to target goes without a fork; position if
// that is not on the way.
func undisputed(position, target *epochs.Node) *epochs.Node {
	at := target
	for n := target; n != position; n = n.Parent {
		if n.Parent == nil {
			return position
		}
		if len(n.Parent.Children) > 1 {
			at = n.Parent
		}
	}
	return at
}

// moveTo derives the epochs from the nearest one held down to the target.
func (m *Machine) moveTo(now time.Time, position, target *epochs.Node) bool {
	at := target
	for at != nil && !m.epochs.has(at.ID) {
		at = at.Parent
	}
	if at == nil {
		return m.joining.fromLog(now, target)
	}
	start := at
	for _, n := range epochs.Chain(at, target) {
		if m.fork.settling.rolling = at != start && m.tx.full(); m.fork.settling.rolling {
			break
		}
		if m.epochs.outAt[n.ID] {
			return m.joining.fromLog(now, target)
		}
		if m.fork.refused.has(n.ID) {
			return m.joining.fromLog(now, target)
		}
		parent, err := m.epochs.parent(at.ID)
		if err != nil {
			m.tx.fail(err)
			return false
		}
		if info := n.Info(); info == nil || info.Sender == parent.Own() {
			// A root, which nobody derives, or a commit that this device made before its
			// store went back: the way there is to be added again.
			return m.joining.fromLog(now, target)
		}
		child, err := m.judge.derive(parent, n)
		switch {
		case errors.Is(err, engine.ErrSelfRemoved):
			m.epochs.outAt[n.ID] = true
			return m.joining.fromLog(now, target)
		case err != nil:
			m.fork.refused.refuse(now, n, err)
			return true // judge again
		}
		since, _ := parent.(engine.Epoch)
		m.epochs.hold(now, n.ID, child, since)
		m.messages.openWaiting(now, n.ID)
		at = n
	}
	if m.epochs.isThin(at.ID) {
		// This device was there, and its message keys are destroyed: it seals nothing
		// there ever again, and comes back with a new leaf.
		return m.joining.fromLog(now, target)
	}
	if at == position {
		return false
	}
	m.moved(now, position, at)
	return !m.fork.settling.rolling
}

// moved takes up a new position.
func (m *Machine) moved(now time.Time, from, to *epochs.Node) {
	m.own.Position = to.ID
	m.own.save()
	e := Event{Kind: EventEpoch, Epoch: to.ID, Detail: fmt.Sprintf("epoch %d", to.Number)}
	if by := to.By(); by != nil && to.Parent != m.tree.Root {
		e.By, e.Device = by.User, by.Log.Device
	}
	m.tx.emit(now, e)
	switched := from != nil && !from.Contains(to)
	if switched {
		m.tx.emit(now, Event{Kind: EventSwitch, Epoch: to.ID, Detail: "the fork choice picked another branch"})
	}
	m.fork.settling.over()
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
