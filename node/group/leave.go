package group

import (
	"fmt"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// Who has left seals nothing any more, so what it wrote must be with somebody who
// stays before it goes: a leave waits for that, across restarts.

// A leave takes this device's user out, at once if nobody lacks what it wrote. The
// zero hash says that it is decided and waits.
func (Leave) act(m *Machine, now time.Time, out *Outcome) error {
	u, err := m.member(now).self("leaving")
	if err != nil {
		return err
	}
	if err := m.roster.mayLeave(u); err != nil {
		return err
	}
	if m.messages.handedOver(m.cfg.Device.User, !m.stranded()) {
		it, err := m.append(now, wire.KindOp, &wire.Op{Type: wire.OpLeave})
		if err == nil {
			out.Entry = it.hash
		}
		return err
	}
	m.own.Leaving = true
	m.own.save()
	m.peers.ask(now, "it leaves, and what it wrote must be with somebody")
	return nil
}

func (r *roster) mayLeave(u *rosterUser) error {
	if r.lastOwner(u) && len(r.users) > 1 {
		return fmt.Errorf("leaving: %w: this is the last owner; make somebody else owner first", ErrNotPermitted)
	}
	return nil
}

// leaveWhenDone carries out a leave that waited.
func (m *Machine) leaveWhenDone(now time.Time) {
	if !m.own.Leaving {
		return
	}
	u := m.roster.users[m.cfg.Device.User]
	switch {
	case u == nil:
		m.own.Leaving = false // it was taken out meanwhile
	case m.roster.mayLeave(u) != nil:
		m.own.Leaving = false
		m.tx.emit(now, Event{Kind: EventRefused, User: u.id, Detail: m.roster.mayLeave(u).Error()})
	case !m.messages.handedOver(m.cfg.Device.User, !m.stranded()):
		return
	default:
		m.own.Leaving = false
		if _, err := m.append(now, wire.KindOp, &wire.Op{Type: wire.OpLeave}); err != nil {
			m.tx.fail(err)
		}
	}
	m.own.save()
}

// OnlyHere counts the messages that this device can show, and those it wrote that no other
// device is known to have.
func (m *Machine) OnlyHere() (messages, unsent int) {
	var others []*item // the newest entries of other devices
	for _, mark := range m.Marks() {
		if at := m.logs.items.at(mark.Hash); at != nil && at.log.Device != m.log.Device {
			others = append(others, at)
		}
	}
	for it := range m.messages.all() {
		if !it.facts.has(isPlain) {
			continue
		}
		messages++
		if it.log.Device != m.log.Device {
			continue
		}
		held := false
		for _, at := range others { // it had what it named
			held = held || m.logs.inPast(it, at)
		}
		if held = held || m.receipts.isHeld(it); !held || slices.Contains(m.messages.outbox, it.hash) {
			unsent++
		}
	}
	return messages, unsent
}
