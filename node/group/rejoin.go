package group

import (
	"time"

	"github.com/pandanode/pandanode/node/group/epochs"
	"github.com/pandanode/pandanode/node/wire"
)

// stranded says whether this device is a member that cannot get to the chosen
// epoch by the keys and commits it has.
func (m *Machine) stranded(chosen *epochs.Node) bool {
	position := m.tree.Nodes[m.own.Position]
	return position != nil && m.own.Joined && m.rosters.now.Has(m.own.log.Device) && chosen != position
}

// askAgain asks to be added again while this device is stranded.
func (m *Machine) askAgain(now time.Time) {
	chosen := m.choose(now)
	if !m.stranded(chosen) {
		m.joining.stopRejoin(now, m.tree.Nodes[m.own.Position])
		m.timers.stop(timerRejoin)
		return
	}
	m.joining.askAgain(now, chosen, m.peers.wait(beaconGap), m.twins.rejoinFor(now, m.own.Renew), m.twins.lockedOut)
}

// newRejoin makes a request to be added again with this KeyPackage, nil: a fresh one, and with the
// proof that this device held the newest epoch on the chosen chain that it has one of.
func (m *Machine) newRejoin(now time.Time, keyPackage []byte) (s wire.Signed, r *wire.Rejoin, err error) {
	if keyPackage == nil {
		kp, err := m.leaf.newPackage(now)
		if err != nil {
			return s, nil, err
		}
		keyPackage = kp.Public
	}
	r = &wire.Rejoin{V: wire.Version, Device: m.own.log.Device, HLC: uint64(m.logs.Clock.Now(now)), KeyPackage: keyPackage}
	for n := m.choose(now); n != nil; n = n.Parent {
		key, err := m.messages.read.rejoinKey(n.ID)
		if err != nil {
			return s, nil, err
		}
		if key != nil {
			r.Known = n.ID
			r.MAC = rejoinMAC(key, r)
			break
		}
	}
	return m.cfg.LogKey.Sign(wire.DomainRejoin, m.own.group, r.Encode()), r, nil
}
