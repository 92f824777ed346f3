package group

import (
	"bytes"
	"crypto/sha256"
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

// peerState is what another device last said of itself. It is not durable.
type peerState struct {
	hlc    crdt.HLC
	said   [32]byte // hash of its newest vector
	marks  map[wire.LogID]uint64
	vector []wire.Mark                  // the newest
	lacks  map[wire.MessageID]bool      // of the records within marks, those that it cannot read
	more   bool                         // it named as many as it may, and may lack others
	gaps   map[wire.MessageID]time.Time // when this device seals for it

	reads reading

	transport *[32]byte // its newest key for transport keys; nil: as in its credential

	rejoin *rejoin // it asks to be added again; nil: it does not
}

func (m *Machine) peerOf(d wire.DeviceID) *peerState {
	p := m.peer[d]
	if p == nil {
		p = &peerState{marks: map[wire.LogID]uint64{}, gaps: map[wire.MessageID]time.Time{}}
		m.peer[d] = p
	}
	return p
}

// holds says whether a device is known to have a record and to read it.
func (p *peerState) holds(it *item) bool {
	return p != nil && !p.more && p.marks[it.log] >= it.seq && !p.lacks[it.hash]
}

// peerVector notes how far a device is and asks for a sync if it is further. What it
// asks for again it could not open before. Its request to be added again comes this way
// too: who has no transport key in common with others is heard on no topic.
func (m *Machine) peerVector(now time.Time, in PeerVector) error {
	if m.logs.devices[in.Device] == nil {
		return nil
	}
	p := m.peerOf(in.Device)
	var again *rejoin
	if in.Vector != nil {
		v := *in.Vector
		if v.Rejoin != nil && m.roster.has(in.Device) {
			var err error
			if again, err = m.rejoinOf(p, in.Device, *v.Rejoin); err != nil {
				return err
			}
		}
		for _, r := range v.Receipts {
			_ = m.takeReceipt(now, r) // its word for itself: what is wrong with it is its loss
		}
		v.Rejoin, v.Receipts = nil, nil
		m.takeVector(now, p, v, wire.MaxGaps)
	}
	m.addAgain(p, again)
	m.planFill(now.Add((1+m.rank())*askedStep), p, in.Gaps)
	return nil
}

// rejoinOf checks a request of a device to be added again, unless it is the one that is known.
func (m *Machine) rejoinOf(p *peerState, d wire.DeviceID, s wire.Signed) (*rejoin, error) {
	if p.rejoin != nil && bytes.Equal(p.rejoin.raw.Encode(), s.Encode()) {
		return p.rejoin, nil
	}
	r, err := m.readRejoin(m.roster, s)
	if err == nil && r.Device != d {
		err = fmt.Errorf("rejoin: %w: it is another device's", ErrForged)
	}
	return r, err
}

// addAgain notes a device's request to be added again, if it is newer than what is known.
func (m *Machine) addAgain(p *peerState, r *rejoin) {
	if r != nil && r != p.rejoin && p.newerRejoin(m.now, r) {
		m.differ.changed() // there may be something to commit
	}
}

// takeVector replaces what a device said of how far it is; it names so many of the
// messages that it lacks at the most.
func (m *Machine) takeVector(now time.Time, p *peerState, v wire.SyncVector, most int) {
	if said := sha256.Sum256(wire.Marshal(&v)); said != p.said {
		p.said = said
		m.news()
		if len(m.mail.gaps) > 0 || m.joining.rejoin != nil {
			m.timers.sooner(timerBeacon, now.Add(gapWait))
		}
	}
	p.vector = v.Marks
	for _, mark := range v.Marks {
		if len(m.logs.index[mark.Log]) > 0 {
			p.marks[mark.Log] = max(p.marks[mark.Log], mark.Seq)
		}
	}
	p.more = len(v.Lacks) >= most
	p.lacks = make(map[wire.MessageID]bool, len(v.Lacks))
	for _, id := range v.Lacks {
		p.lacks[id] = true
	}
	if m.logs.behind(v.Marks) {
		m.ask("a peer is further")
	}
}

// askEvery is how often this device asks for a sync at the most: what does not come
// with one will hardly come with the next.
const askEvery = time.Second

// backOff doubles a wait for each time that it brought no news, up to about an hour.
func (m *Machine) backOff(wait time.Duration, times int) time.Duration {
	return min(wait<<min(times, 12), time.Hour)
}

// news begins all waits anew: something came in, here or at somebody else.
func (m *Machine) news() { m.asks, m.told = 0, 0 }

// askWhenOut is the same for a device that is out of the group: others are further
// than it may follow, and only a cancelled removal would bring it anything.
const askWhenOut = 10 * time.Minute

// ask wants a sync soon.
func (m *Machine) ask(why string) {
	every := m.backOff(askEvery, m.asks/8)
	if m.own.Out && m.joining.request == nil {
		every = max(every, askWhenOut)
	}
	if m.now.Sub(m.asked) < every {
		m.timers.set(timerAsk, m.asked.Add(every))
		m.why = why
		return
	}
	m.asked = m.now
	m.asks++
	m.timers.stop(timerAsk)
	m.tx.send(Ask{Why: why})
}

// askLater asks what came too soon after the last time.
func (m *Machine) askLater(now time.Time) {
	if m.timers.due(now, timerAsk) {
		m.ask(m.why)
	}
}

// How long an entry may be parked before this device asks for its past: envelopes that
// overtook each other are all here by then. And how long until it asks again.
const (
	pastGrace = 500 * time.Millisecond
	pastWait  = 2 * time.Second
)

// askForPast asks while an entry is parked for want of its past, and on: whoever was asked
// first may lack it as well, and the next one may not. Each time it waits longer, until
// something else is parked.
func (m *Machine) askForPast(now time.Time) {
	switch {
	case len(m.logs.parking.waiting) == 0:
		m.timers.stop(timerPast)
		m.askedPast = 0
		return
	case !m.timers.due(now, timerPast) && m.timers.running(timerPast):
		return
	}
	since, lacks := m.logs.parking.lacksPast()
	switch {
	case !lacks:
		m.timers.stop(timerPast)
		m.askedPast = 0
	case now.Sub(since) < pastGrace:
		m.timers.set(timerPast, since.Add(pastGrace))
	default:
		m.ask("an entry's past is missing")
		m.timers.set(timerPast, now.Add(m.backOff(pastWait, m.askedPast)))
		m.askedPast++
	}
}

// sendBeacon tells the group which records this device cannot read, so that
// somebody seals them again, and how far it is.
func (m *Machine) sendBeacon(now time.Time) {
	if !m.timers.due(now, timerBeacon) {
		return
	}
	m.timers.stop(timerBeacon)
	n, e := m.position()
	asking := len(m.mail.gaps) > 0 || m.joining.rejoin != nil
	if n == nil || !asking && !m.joining.retract {
		return
	}
	m.joining.retract = false
	gaps := slices.SortedFunc(maps.Keys(m.mail.gaps), m.byTime)
	gaps = gaps[:min(len(gaps), maxGapsTold)]
	slices.SortFunc(gaps, func(a, b wire.MessageID) int { return slices.Compare(a[:], b[:]) })
	b := wire.Beacon{
		V: wire.Version, Log: m.log, HLC: uint64(m.beaconDate(now)), Vector: m.logs.marks(), Gaps: gaps, Position: n.id,
		Check: wire.HashOf(wire.DomainBeacon, e.Authenticator()), Rejoin: m.joining.rejoin,
	}
	public := m.transportPublic()
	b.TransportKey = public[:]
	m.outgoing.Beacons = append(m.outgoing.Beacons, m.cfg.LogKey.Sign(wire.DomainBeacon, m.group, b.Encode()).Encode())
	if !asking {
		return
	}
	m.ask("messages or keys are missing")
	m.timers.set(timerBeacon, now.Add(m.backOff(beaconGap, m.told)))
	m.told++
}

// beaconDate rises from beacon to beacon, as long as dates are believed.
func (m *Machine) beaconDate(now time.Time) crdt.HLC {
	if m.beaconed = max(m.next(now), m.beaconed+1); m.beaconed.Ahead(now) > maxAhead {
		m.beaconed = crdt.HLCFromTime(now)
	}
	return m.beaconed
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
	p := m.peerOf(d.ID)
	if hlc := crdt.HLC(b.HLC); hlc <= p.hlc && p.hlc.Ahead(now) <= maxAhead || hlc.Ahead(now) > maxAhead {
		return nil // an older one than is known, or from the future
	}
	var again *rejoin
	if b.Rejoin != nil {
		if again, err = m.rejoinOf(p, d.ID, *b.Rejoin); err != nil {
			return err
		}
	}
	p.hlc = crdt.HLC(b.HLC)
	m.takeVector(now, p, wire.SyncVector{Marks: b.Vector, Lacks: b.Gaps}, maxGapsTold)
	if len(b.TransportKey) == 32 {
		p.transport = (*[32]byte)(b.TransportKey)
	}
	if again == nil && p.rejoin != nil {
		p.rejoin = nil // it is not to be added again any more
		m.differ.changed()
	}
	m.addAgain(p, again)
	// What it lacks still is planned: that it says so again, as it does every few seconds
	// while people write, puts nothing off.
	maps.DeleteFunc(p.gaps, func(id wire.MessageID, _ time.Time) bool { return !p.lacks[id] })
	m.planFill(now.Add(m.rank()*gapStep), p, b.Gaps)
	return nil
}
