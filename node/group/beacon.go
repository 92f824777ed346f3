package group

import (
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// A PeerVector tells how far a device is and asks for a sync if it is further. The messages
// that it asks for again are those that it could not open. Its request to be added again
// comes this way too: a device without a transport key in common with others is heard on no
// topic.
func (in PeerVector) act(m *Machine, now time.Time, _ *Outcome) error {
	if m.logs.Devices[in.Device] == nil {
		return nil
	}
	p := m.peers.at(in.Device)
	var again *rejoin
	if in.Vector != nil {
		v := *in.Vector
		if v.Rejoin != nil && m.rosters.now.Has(in.Device) {
			var err error
			if again, err = m.peers.rejoinOf(m.rosters.now, p, in.Device, *v.Rejoin); err != nil {
				return err
			}
		}
		for _, r := range v.Receipts {
			_ = m.messages.receipts.take(now, r) // a statement about itself: a wrong one harms its author alone
		}
		m.evidence.takeFloods(v.Floods)
		v.Rejoin, v.Receipts, v.Floods = nil, nil, nil
		m.peers.takeVector(now, p, v, in.Same, wire.MaxGaps, m.lacking())
	}
	m.peers.addAgain(now, p, again)
	m.messages.reseal.plan(now.Add(askedStep), askedStep, in.Device, in.Gaps)
	return nil
}

// lacking says whether this device lacks messages or keys that others may have.
func (m *Machine) lacking() bool { return len(m.messages.gaps.of) > 0 || m.joining.rejoin != nil }

// maxMarksTold bounds the marks in a beacon: of more, this device's own, by which others tell
// an old beacon, and those of the logs with the newest entries.
const maxMarksTold = 1024

// sendBeacon tells the group which records this device cannot read, so that
// somebody seals them again, and how far it is.
func (m *Machine) sendBeacon(now time.Time) {
	if !m.timers.due(now, timerBeacon) {
		return
	}
	m.timers.stop(timerBeacon)
	n, e := m.position()
	asking := m.lacking()
	if n == nil || !asking && !m.joining.retract {
		return
	}
	m.joining.retract = false
	gaps := m.messages.gaps.told(maxGapsTold)
	b := wire.Beacon{
		V: wire.Version, Log: m.own.log, HLC: uint64(m.peers.beaconDate(now, m.next(now))), Vector: m.logs.Newest(m.logs.Marks(), maxMarksTold, m.own.log.Device), Gaps: gaps, Position: n.ID,
		Check: wire.HashOf(wire.DomainBeacon, e.Authenticator()), Rejoin: m.joining.rejoin,
	}
	public := m.leaf.public()
	b.TransportKey = public[:]
	m.tx.outgoing.Beacons = append(m.tx.outgoing.Beacons, m.cfg.LogKey.Sign(wire.DomainBeacon, m.own.group, b.Encode()).Encode())
	if !asking {
		return
	}
	m.peers.ask(now, "messages or keys are missing")
	m.timers.set(timerBeacon, now.Add(m.peers.wait(beaconGap)))
	m.peers.told++
}
