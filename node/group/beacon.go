package group

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// maxGapsTold bounds the gaps in one beacon; the oldest come first.
const maxGapsTold = 256

// A PeerVector tells how far a device is and asks for a sync if it is further. What it
// asks for again it could not open before. Its request to be added again comes this way
// too: who has no transport key in common with others is heard on no topic.
func (in PeerVector) act(m *Machine, now time.Time, _ *Outcome) error {
	if m.logs.devices[in.Device] == nil {
		return nil
	}
	p := m.peers.at(in.Device)
	var again *rejoin
	if in.Vector != nil {
		v := *in.Vector
		if v.Rejoin != nil && m.roster.has(in.Device) {
			var err error
			if again, err = m.peers.rejoinOf(m.roster, p, in.Device, *v.Rejoin); err != nil {
				return err
			}
		}
		for _, r := range v.Receipts {
			_ = m.takeReceipt(now, r) // its word for itself: what is wrong with it is its loss
		}
		v.Rejoin, v.Receipts = nil, nil
		m.peers.takeVector(now, p, v, wire.MaxGaps, m.lacking())
	}
	m.peers.addAgain(now, p, again)
	m.planFill(now.Add((1+m.rank())*askedStep), p, in.Gaps)
	return nil
}

// lacking says whether this device lacks messages or keys that others may have.
func (m *Machine) lacking() bool { return len(m.mail.gaps) > 0 || m.joining.rejoin != nil }

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
	gaps := slices.SortedFunc(maps.Keys(m.mail.gaps), m.byTime)
	gaps = gaps[:min(len(gaps), maxGapsTold)]
	slices.SortFunc(gaps, func(a, b wire.MessageID) int { return slices.Compare(a[:], b[:]) })
	b := wire.Beacon{
		V: wire.Version, Log: m.log, HLC: uint64(m.peers.beaconDate(now, m.next(now))), Vector: m.logs.marks(), Gaps: gaps, Position: n.id,
		Check: wire.HashOf(wire.DomainBeacon, e.Authenticator()), Rejoin: m.joining.rejoin,
	}
	public := m.transportPublic()
	b.TransportKey = public[:]
	m.outgoing.Beacons = append(m.outgoing.Beacons, m.cfg.LogKey.Sign(wire.DomainBeacon, m.group, b.Encode()).Encode())
	if !asking {
		return
	}
	m.peers.ask(now, "messages or keys are missing")
	m.timers.set(timerBeacon, now.Add(m.peers.wait(beaconGap)))
	m.peers.told++
}

func (m *Machine) takeBeacons(now time.Time, raws [][]byte) (Verdict, error) {
	var verdict Verdict
	var errs []error
	for _, raw := range raws {
		if err := m.takeBeacon(now, raw); err != nil {
			errs = append(errs, fmt.Errorf("beacon: %w", err))
			verdict = max(verdict, verdictOf(err))
		}
	}
	return verdict, errors.Join(errs...)
}

// takeBeacon replaces what a device said before and plans to fill its gaps, after
// rank × 4 s, so that one holder usually acts and any can.
func (m *Machine) takeBeacon(now time.Time, raw []byte) error {
	s, err := wire.DecodeSigned(raw, wire.MaxEnvelope)
	if err != nil {
		return err
	}
	b, err := wire.DecodeBeacon(s.Payload)
	if err != nil {
		return err
	}
	if b.Log.Device == m.log.Device {
		return nil
	}
	d := m.logs.devices[b.Log.Device]
	if d == nil || !m.roster.has(d.ID) {
		return fmt.Errorf("%w: device %v", ErrNotMember, b.Log.Device)
	}
	if err := identity.Verify(d.Cert.LogKey, wire.DomainBeacon, m.group, s); err != nil {
		return fmt.Errorf("%w: %w", ErrForged, err)
	}
	p := m.peers.at(d.ID)
	if hlc := crdt.HLC(b.HLC); hlc <= p.hlc && p.hlc.Ahead(now) <= maxAhead || hlc.Ahead(now) > maxAhead {
		return nil // an older one than is known, or from the future
	}
	var again *rejoin
	if b.Rejoin != nil {
		if again, err = m.peers.rejoinOf(m.roster, p, d.ID, *b.Rejoin); err != nil {
			return err
		}
	}
	p.hlc = crdt.HLC(b.HLC)
	m.peers.takeVector(now, p, wire.SyncVector{Marks: b.Vector, Lacks: b.Gaps}, maxGapsTold, m.lacking())
	if len(b.TransportKey) == 32 {
		p.transport = (*[32]byte)(b.TransportKey)
	}
	if again == nil && p.rejoin != nil {
		p.rejoin = nil // it is not to be added again any more
		m.differ.changed()
	}
	m.peers.addAgain(now, p, again)
	// What it lacks still is planned: that it says so again, as it does every few seconds
	// while people write, puts nothing off.
	maps.DeleteFunc(p.gaps, func(id wire.MessageID, _ time.Time) bool { return !p.lacks[id] })
	m.planFill(now.Add(m.rank()*gapStep), p, b.Gaps)
	return nil
}
