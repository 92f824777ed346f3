package group

import (
	"errors"
	"fmt"
	"time"

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
			return fmt.Errorf("envelope: %w: %w", ErrRemoved, err)
		}
		m.peers.ask(now, "an envelope is under a key that is not here")
	}
	if err != nil {
		return err
	}
	entries, err := readEntries(m.group, u.Entries)
	if err != nil {
		return err
	}
	seals, err := readSeals(u.Seals)
	if err != nil {
		return err
	}
	*out, err = m.takeEntries(now, entries)
	for _, s := range entries {
		out.Entries = append(out.Entries, s.hash)
	}
	m.resolveRoster(now)
	m.follow(now)
	m.messages.openEarly(now)
	sealsOut, sealsErr := m.messages.takeSeals(now, seals)
	beaconVerdict, beaconErr := m.peers.takeBeacons(now, m.roster, u.Beacons, m.lacking())
	receiptVerdict, receiptErr := m.receipts.takeAll(now, u.Receipts)
	out.New += sealsOut.New
	out.Messages = sealsOut.Messages
	out.Verdict = max(out.Verdict, sealsOut.Verdict, beaconVerdict, receiptVerdict)
	return errors.Join(err, sealsErr, beaconErr, receiptErr)
}

func (in Entries) act(m *Machine, now time.Time, out *Outcome) error {
	entries, err := readEntries(m.group, in.Entries)
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

func readEntries(group wire.GroupID, raws [][]byte) (entries []*signedEntry, err error) {
	entries = make([]*signedEntry, len(raws))
	for i, raw := range raws {
		if entries[i], err = readEntry(group, raw); err != nil {
			return nil, err
		}
	}
	return entries, nil
}

// takeEntries verifies and adds entries; the errors of those refused come joined.
func (m *Machine) takeEntries(now time.Time, entries []*signedEntry) (Outcome, error) {
	var out Outcome
	var errs []error
	for _, s := range entries {
		n, err := m.takeEntry(now, s)
		out.New += n
		if err != nil {
			errs = append(errs, err)
			out.Verdict = max(out.Verdict, verdictOf(err))
		}
	}
	for named := m.logs.referenced(); len(named) > 0; named = m.logs.referenced() {
		for _, s := range named {
			out.New += m.takeWaiting(now, s)
		}
	}
	return out, errors.Join(errs...)
}

// takeEntry adds an entry and those that waited for it, or parks it.
func (m *Machine) takeEntry(now time.Time, s *signedEntry) (int, error) {
	if m.logs.items.at(s.hash) != nil {
		return 0, nil
	}
	m.recognise(s)
	if err := m.evidence.check(now, s); err != nil {
		return 0, err
	}
	s.second = m.logs.rival(s) != nil
	called := m.logs.quarantine.wasCalled(s.hash)
	unwanted := !called && m.logs.unreferenced(s.entry) && !m.logs.needed(s.hash, s.entry)
	if gone := m.logs.missing(s.entry); len(gone) > 0 {
		d := m.logs.devices[s.entry.Device]
		if d != nil {
			if err := identity.Verify(d.Cert.LogKey, wire.DomainEntry, m.group, s.signed); err != nil {
				return 0, fmt.Errorf("%v of device %v: %w: %w", s.entry.Kind, s.entry.Device, ErrForged, err)
			}
		}
		if unwanted {
			return 0, m.logs.putAside(s)
		}
		why := ErrIncomplete
		if m.logs.parking.entries[s.hash] == nil {
			// Once, and no more of them than are kept: a member cannot have others carry any
			// amount of what never finds its past.
			if s.vouched = d != nil && m.roster.has(d.ID) && m.logs.parking.quota[d.ID] < maxParked; s.vouched {
				why = errVouched
			}
			s.since = now
			m.peers.parked(now)
			if s.entry.Kind != wire.KindRecord {
				// Not the next in a burst: it may build on the other half of an equivocation,
				// of which both sides have to learn before they act on theirs.
				m.peers.ask(now, "the past of a change is missing")
			}
			m.logs.parking.park(s, gone)
		}
		return 0, fmt.Errorf("%v of device %v: %w", s.entry.Kind, s.entry.Device, why)
	}
	it, err := m.logs.check(s, m.group, m.cfg.Engine)
	if err != nil {
		return 0, err
	}
	if unwanted {
		return 0, m.logs.putAside(s)
	}
	if err := m.insert(it, s.entry); err != nil {
		return 0, err
	}
	m.twins.came(now, it, s.entry)
	m.logs.quarantine.remove(s.hash)
	m.tx.put(itemKey(it), s.raw)
	m.receipts.noteIncarnation(it)
	m.tx.ready.Came = append(m.tx.ready.Came, it.hash)
	m.packs.note(it, s.entry)
	switch it.kind {
	case wire.KindCommit, wire.KindVote:
		m.disturbed(now, it)
		if by, at := m.tree.forks(it); by && m.own.Joined { // else it was before this device's time
			m.tx.emit(now, Event{Kind: EventFork, Epoch: at, By: it.user, Device: it.log.Device})
		}
	case wire.KindRecord:
		m.resolveRoster(now)
		m.messages.arrived(now, it)
	case wire.KindOp:
		if it.op != nil && it.op.Type == wire.OpReboot {
			m.disturbed(now, nil)
			m.own.noteReboot(now, it)
		}
	case wire.KindTKey, wire.KindTKeyWrap:
	}
	n := 1
	for _, w := range m.logs.parking.unpark(s.hash) {
		n += m.takeWaiting(now, w)
	}
	return n, nil
}

// takeWaiting takes an entry that was parked, or, in a turn that is full, later.
func (m *Machine) takeWaiting(now time.Time, s *signedEntry) (n int) {
	if m.tx.full() {
		m.logs.parking.deferred = append(m.logs.parking.deferred, s)
		return 0
	}
	n, err := m.takeEntry(now, s)
	if err != nil {
		m.tx.emit(now, Event{Kind: EventRefused, Device: s.entry.Device, Detail: err.Error()})
	}
	return n
}

// goOn goes on with what did not fit into the last turn.
func (m *Machine) goOn(now time.Time) {
	m.tx.deferred = false
	for p := &m.logs.parking; len(p.deferred) > 0 && !m.tx.full(); {
		s := p.deferred[0]
		p.deferred = p.deferred[1:]
		m.takeWaiting(now, s)
	}
	m.messages.goOn(now)
}
