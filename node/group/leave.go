package group

import (
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/wire"
)

// A device that has left seals nothing any more. So a leave waits, across restarts, until a
// member who stays has all that the device wrote.

// A leave takes this device's user out, at once if nobody lacks its entries. The zero hash
// says that it is decided and waits.
func (Leave) act(m *Machine, now time.Time, out *Outcome) error {
	u, err := m.member(now).self("leaving")
	if err != nil {
		return err
	}
	if err := m.rosters.now.MayLeave(u); err != nil {
		return err
	}
	if m.messages.handedOver(m.cfg.Device.User, !m.stranded(m.choose(now))) {
		it, err := m.append(now, wire.KindOp, &wire.Op{Type: wire.OpLeave})
		if err == nil {
			out.Entry = it.Hash
		}
		return err
	}
	m.own.Leaving = true
	m.own.save()
	m.peers.ask(now, "it leaves, and what it wrote must be with somebody")
	return nil
}

// leaveWhenDone carries out a leave that waited.
func (m *Machine) leaveWhenDone(now time.Time) {
	if !m.own.Leaving {
		return
	}
	u := m.rosters.now.User(m.cfg.Device.User)
	switch {
	case u == nil:
		m.own.Leaving = false // it was taken out meanwhile
	case m.rosters.now.MayLeave(u) != nil:
		m.own.Leaving = false
		m.tx.emit(now, Event{Kind: EventRefused, User: u.ID, Detail: m.rosters.now.MayLeave(u).Error()})
	case !m.messages.handedOver(m.cfg.Device.User, !m.stranded(m.choose(now))):
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
	var others []*dag.Item // the newest entries of other devices
	for _, mark := range m.Marks() {
		if at := m.logs.Items.At(mark.Hash); at != nil && at.Log.Device != m.own.log.Device {
			others = append(others, at)
		}
	}
	for it := range m.messages.all() {
		if !it.Facts.Has(dag.IsPlain) {
			continue
		}
		messages++
		if it.Log.Device != m.own.log.Device {
			continue
		}
		held := false
		for _, at := range others { // it had what it named
			held = held || m.logs.InPast(it, at)
		}
		if held = held || m.messages.receipts.isHeld(it); !held || slices.Contains(m.messages.outbox, it.Hash) {
			unsent++
		}
	}
	return messages, unsent
}
