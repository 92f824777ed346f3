package group

import (
	"errors"
	"fmt"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// The front door: every entry and every seal that comes from others passes here.

// An Envelope is first decoded whole, so that a malformed one changes nothing; then its
// entries and seals are taken one by one.
func (in Envelope) act(m *Machine, now time.Time, out *Outcome) error {
	u, err := m.keys.open(in.Bytes)
	if errors.Is(err, wire.ErrUnknownKey) {
		if m.own.Out {
			return fmt.Errorf("envelope: %w: %w", verdict.ErrRemoved, err)
		}
		m.peers.ask(now, "an envelope is under a key that is not here")
	}
	if err != nil {
		return err
	}
	entries, err := readEntries(m.own.group, u.Entries)
	if err != nil {
		return err
	}
	seals, err := readSeals(u.Seals)
	if err != nil {
		return err
	}
	*out, err = m.takeEntries(now, entries)
	for _, s := range entries {
		out.Entries = append(out.Entries, s.Hash)
	}
	m.resolveRoster(now)
	m.follow(now)
	m.messages.openEarly(now)
	sealsOut, sealsErr := m.messages.takeSeals(now, seals)
	beacons, beaconVerdict, beaconErr := m.peers.takeBeacons(now, m.rosters.now, u.Beacons, m.lacking())
	receiptVerdict, receiptErr := m.messages.receipts.takeAll(now, u.Receipts)
	out.New += sealsOut.New
	out.News = out.New + beacons + len(u.Receipts)
	if len(entries) == 0 { // sealed again, for somebody
		out.News += sealsOut.News
	}
	out.Messages = sealsOut.Messages
	out.Verdict = max(out.Verdict, sealsOut.Verdict, beaconVerdict, receiptVerdict)
	return errors.Join(err, sealsErr, beaconErr, receiptErr)
}

func (in Entries) act(m *Machine, now time.Time, out *Outcome) error {
	entries, err := readEntries(m.own.group, in.Entries)
	if err == nil {
		*out, err = m.takeEntries(now, entries)
	}
	return err
}

func (in Seals) act(m *Machine, now time.Time, out *Outcome) error {
	seals, err := readSeals(in.Seals)
	if err == nil {
		*out, err = m.messages.takeSeals(now, seals)
	}
	return err
}

func (in Earlier) act(m *Machine, now time.Time, out *Outcome) error {
	return m.messages.owing.earlier.takeAll(now, in.Device, in.Messages, out)
}

func readEntries(group wire.GroupID, raws [][]byte) (entries []*dag.SignedEntry, err error) {
	entries = make([]*dag.SignedEntry, len(raws))
	for i, raw := range raws {
		if entries[i], err = dag.ReadEntry(group, raw); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

// takeEntries verifies and adds entries; the errors of those refused come joined.
func (m *Machine) takeEntries(now time.Time, entries []*dag.SignedEntry) (Outcome, error) {
	var out Outcome
	var errs []error
	for _, s := range entries {
		n, err := m.takeEntry(now, s)
		out.New += n
		if err != nil {
			errs = append(errs, err)
			out.Verdict = max(out.Verdict, verdict.Of(err))
		}
	}
	for named := m.logs.Referenced(m.own.group); len(named) > 0; named = m.logs.Referenced(m.own.group) {
		for _, s := range named {
			out.New += m.takeWaiting(now, s)
		}
	}
	return out, errors.Join(errs...)
}

// takeEntry adds an entry and those that waited for it, or parks it.
func (m *Machine) takeEntry(now time.Time, s *dag.SignedEntry) (int, error) {
	if m.logs.Items.At(s.Hash) != nil {
		return 0, nil
	}
	m.detectRollback(now, s)
	if err := takeEvidence(m, now, s); err != nil {
		return 0, err
	}
	s.Second = m.logs.Rival(s) != nil
	called := m.logs.Quarantine.WasCalled(s.Hash)
	unwanted := !called && m.logs.Unreferenced(s.Entry) && !m.logs.Needed(s.Hash, s.Entry)
	if gone := m.logs.Missing(s.Entry); len(gone) > 0 {
		d := m.logs.Devices[s.Entry.Device]
		if d != nil {
			if err := identity.Verify(d.Cert.LogKey, wire.DomainEntry, m.own.group, s.Signed); err != nil {
				return 0, fmt.Errorf("%v of device %v: %w: %w", s.Entry.Kind, s.Entry.Device, verdict.ErrForged, err)
			}
		}
		if unwanted {
			return 0, m.logs.PutAside(s)
		}
		if !called && m.logs.FollowsHeld(s.Entry, gone) && !m.logs.Needed(s.Hash, s.Entry) {
			m.evidence.meter.holds(now, s)
			return 0, fmt.Errorf("%v of device %v: %w: what it builds on waits", s.Entry.Kind, s.Entry.Device, verdict.ErrFull)
		}
		why := verdict.ErrIncomplete
		if m.logs.Parking.Entries[s.Hash] == nil {
			// Once, and no more of them than are kept: a member cannot make others carry
			// any amount of entries that never find their past.
			if s.Vouched = d != nil && m.rosters.now.Has(d.ID) && m.logs.Parking.Quota[d.ID] < dag.MaxParked; s.Vouched {
				why = verdict.ErrVouched
			}
			s.Since = now
			m.peers.parked(now)
			if s.Entry.Kind != wire.KindRecord {
				// Not the next in a burst: it may build on the other half of an equivocation,
				// of which both sides have to learn before they act on theirs.
				m.peers.ask(now, "the past of a change is missing")
			}
			m.logs.Parking.Park(s, gone)
		}
		return 0, fmt.Errorf("%v of device %v: %w", s.Entry.Kind, s.Entry.Device, why)
	}
	it, err := m.logs.Check(s, m.own.group, m.cfg.Engine)
	if err != nil {
		return 0, err
	}
	if unwanted {
		return 0, m.logs.PutAside(s)
	}
	if why := m.evidence.meter.waits(now, it, len(s.Raw)); why != nil && !called && !m.logs.Needed(s.Hash, s.Entry) {
		m.evidence.meter.holds(now, s)
		return 0, why
	}
	m.evidence.meter.comes(now, it, len(s.Raw))
	testify(m, now, it)
	resolves := m.rosters.Resolves()
	if err := m.insert(it, s.Entry); err != nil {
		return 0, err
	}
	m.twins.came(now, it, s.Entry)
	m.messages.owing.heard(it)
	m.logs.Quarantine.Remove(s.Hash)
	m.tx.put(itemKey(it), s.Raw)
	m.messages.receipts.noteIncarnation(it)
	m.tx.ready.Came = append(m.tx.ready.Came, it.Hash)
	m.packs.note(it, s.Entry)
	switch it.Kind {
	case wire.KindCommit, wire.KindVote:
		m.disturbed(now, it)
		if by, at := m.tree.Forks(it); by && m.own.Joined { // else it was before this device's time
			m.tx.emit(now, Event{Kind: EventFork, Epoch: at, By: it.User, Device: it.Log.Device})
		}
	case wire.KindRecord:
		m.resolveRoster(now)
		resolves = m.rosters.Resolves()
		m.messages.arrived(now, it)
	case wire.KindOp:
		if it.Op != nil && it.Op.Type == wire.OpReboot {
			m.disturbed(now, nil)
			m.own.noteReboot(now, it)
		}
	case wire.KindTKey, wire.KindTKeyWrap:
	}
	m.evidence.meter.charge(now, it.Log.Device, m.rosters.Resolves()-resolves)
	if called && m.timers.running(timerMeter) {
		m.timers.set(timerMeter, now) // for those that follow on it
	}
	n := 1
	for _, w := range m.logs.Parking.Unpark(s.Hash) {
		n += m.takeWaiting(now, w)
	}
	return n, nil
}

// takeEvidence looks whether an entry that arrived is the second one with its sequence number,
// and takes the evidence into account after this device has said what it has shown of that log.
func takeEvidence(m *Machine, now time.Time, s *dag.SignedEntry) error {
	e, err := m.logs.DetectEquivocation(m.own.group, s, m.evidence.read.raw)
	if e != nil {
		testifyTo(m, now, e.Log)
		m.evidence.take(now, e, s.Entry.Seq)
	}
	return err
}

// takeWaiting takes an entry that was parked, or, in a turn that is full, later.
func (m *Machine) takeWaiting(now time.Time, s *dag.SignedEntry) (n int) {
	if m.tx.full() {
		m.logs.Parking.Deferred = append(m.logs.Parking.Deferred, s)
		return 0
	}
	n, err := m.takeEntry(now, s)
	if err != nil {
		m.tx.emit(now, Event{Kind: EventRefused, Device: s.Entry.Device, Detail: err.Error()})
	}
	return n
}

// goOn goes on with what did not fit into the last turn.
func (m *Machine) goOn(now time.Time) {
	m.tx.deferred = false
	for p := &m.logs.Parking; len(p.Deferred) > 0 && !m.tx.full(); {
		s := p.Deferred[0]
		p.Deferred = p.Deferred[1:]
		m.takeWaiting(now, s)
	}
	m.messages.goOn(now)
}

func (in Untold) act(m *Machine, now time.Time, _ *Outcome) error { //nolint:unparam // as of every act
	m.messages.receipts.untold(now, in.Device)
	return nil
}

// letIn takes what has waited long enough, oldest first.
func letIn(m *Machine, now time.Time) {
	if !m.timers.due(now, timerMeter) {
		return
	}
	m.timers.stop(timerMeter)
	refused := map[wire.DeviceID]bool{}
	for _, s := range m.logs.Quarantine.Held() {
		if m.tx.full() {
			m.timers.set(timerMeter, now)
			return
		}
		if d := s.Entry.Device; !refused[d] && len(m.logs.Missing(s.Entry)) == 0 {
			_, err := m.takeEntry(now, s)
			refused[d] = err != nil // it goes on waiting, and so do those after it
		}
	}
	if len(m.logs.Quarantine.Held()) > 0 {
		m.timers.set(timerMeter, now.Add(meterWait))
	}
}
