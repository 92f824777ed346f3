package group

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// Bounds of what seals can make this device keep.
const (
	maxWaiting     = 4096 // seals under epochs whose keys may still come
	maxWaitBytes   = 16 << 20
	maxSealsPerMsg = 16
)

// mail is what the machine knows of messages beside their items: which are owed to it,
// and which of its own are sealed where.
type mail struct {
	gaps  map[wire.MessageID]bool // owed to this device and without plaintext here
	shown map[int]uint64          // by branch: up to this seq nothing is left to show; not durable

	sealings map[sealing]*body            // of messages that this device has sealed
	outbox   []wire.MessageID             // own, not sealed on the chosen chain, by seq
	refilled map[wire.MessageID]time.Time // gaps of others: when it was last sealed, or found to be; not durable

	waiting   map[wire.EpochID][]rawSeal // for keys
	tried     map[wire.MessageID]tried   // whose seals came and cannot be opened here; not durable
	waitCount int
	waitBytes int
	early     early // seals whose records are not in the set
	owedStale bool  // the roster changed, so who is owed what may have
}

// tried says how often and when at last a message's seals came in vain.
type tried struct {
	at    time.Time
	times int
}

func (m *mail) triedInVain(now time.Time, id wire.MessageID) {
	if t := m.tried[id]; now.Sub(t.at) >= askEvery {
		m.tried[id] = tried{at: now, times: t.times + 1}
	}
}

func newMail() mail {
	return mail{
		gaps: map[wire.MessageID]bool{}, shown: map[int]uint64{},
		sealings: map[sealing]*body{}, refilled: map[wire.MessageID]time.Time{},
		waiting: map[wire.EpochID][]rawSeal{}, tried: map[wire.MessageID]tried{}, early: newEarly(), owedStale: true,
	}
}

// sealing is one more seal that this device makes of a message.
type sealing struct {
	before *body
	epoch  wire.EpochID
}

// noteSealed notes under which epoch this device has sealed a message. Those that were
// sealed under the same share what says so.
func (m *mail) noteSealed(it *item, epoch wire.EpochID) {
	s := sealing{it.body, epoch}
	if m.sealings[s] == nil {
		m.sealings[s] = &body{kind: wire.KindRecord, sealed: append(slices.Clip(it.sealed), epoch)}
	}
	it.body = m.sealings[s]
}

// send accepts a message: record, plaintext and, if this device can seal now, the
// seal are in one transaction.
func (m *Machine) send(now time.Time, c wire.Content) (wire.EntryHash, error) {
	if len(c.Data) > wire.MaxBody || len(c.MediaType) > wire.MaxMediaType {
		return wire.EntryHash{}, fmt.Errorf("message: %w: %d bytes, at most %d", wire.ErrTooLarge, len(c.Data), wire.MaxBody)
	}
	u := m.roster.users[m.cfg.Device.User]
	switch {
	case u == nil || !m.roster.has(m.log.Device):
		return wire.EntryHash{}, fmt.Errorf("sending: %w", ErrOut)
	case m.own.Leaving:
		return wire.EntryHash{}, fmt.Errorf("sending: %w: this user is leaving", ErrOut)
	case u.role == wire.RoleReadOnly:
		return wire.EntryHash{}, fmt.Errorf("sending: %w: this user may only read", ErrNotPermitted)
	}
	o := wire.Opened{Body: wire.Marshal(&c)}
	if _, err := io.ReadFull(m.cfg.Rand, o.Salt[:]); err != nil {
		return wire.EntryHash{}, fmt.Errorf("drawing a salt: %w", err)
	}
	it, err := m.append(now, wire.KindRecord, &wire.Record{Commitment: o.Commitment()})
	if err != nil {
		return wire.EntryHash{}, err
	}
	m.keepPlain(it, wire.Marshal(&o))
	m.mail.outbox = append(m.mail.outbox, it.hash)
	m.show(now, it.log)
	return it.hash, nil
}

// keepPlain keeps a message's wire.Opened, encoded.
func (m *Machine) keepPlain(it *item, opened []byte) {
	m.tx.put(rowPlain+hexed(it.hash[:]), opened)
	it.note(isPlain)
	it.body = unsealed
	delete(m.mail.gaps, it.hash)
	delete(m.mail.tried, it.hash)
}

// requeue finds the own records that no seal of this device covers on the chain
// to n: they are sealed again.
func (m *Machine) requeue(n *node) {
	on := map[wire.EpochID]bool{}
	for a := n; a != nil; a = a.parent {
		on[a.id] = true
	}
	m.mail.outbox = m.mail.outbox[:0]
	for it := range m.records() {
		if it.log.Device != m.log.Device || !it.facts.has(isPlain) {
			continue
		}
		if !slices.ContainsFunc(it.sealed, func(e wire.EpochID) bool { return on[e] }) {
			m.mail.outbox = append(m.mail.outbox, it.hash)
		}
	}
	slices.SortFunc(m.mail.outbox, m.byTime)
}

// sealOutbox seals what waits, if the gate is open: nobody seals under a tree
// that holds a removed user or a revoked device.
func (m *Machine) sealOutbox(now time.Time) {
	if len(m.mail.outbox) == 0 || m.rolling {
		return
	}
	n, e := m.position()
	if n == nil || m.compareTree(now, e).gate || m.mustRenew(n) {
		return
	}
	sealed := 0
	for ; sealed < len(m.mail.outbox) && !m.tx.full(); sealed++ {
		m.seal(n, e, m.mail.outbox[sealed])
	}
	m.mail.outbox = slices.Delete(m.mail.outbox, 0, sealed)
}

// seal makes a seal of a message held in plaintext.
func (m *Machine) seal(n *node, e Epoch, id wire.MessageID) {
	plain, err := m.tx.get(rowPlain + hexed(id[:]))
	if err != nil || plain == nil {
		m.tx.fail(errors.Join(err, fmt.Errorf("%w: message %v has no plaintext", ErrCorrupt, id)))
		return
	}
	message, rows, err := e.Seal(m.cfg.Rand, m.own.Signer, id[:], plain)
	if err != nil {
		m.tx.fail(fmt.Errorf("sealing: %w", err))
		return
	}
	s := &wire.Seal{Message: id, Epoch: n.id, Sealer: m.log.Device, PrivateMessage: message}
	m.epochs.putKeys(n.id, rows)
	raw := wire.Marshal(s)
	m.keepSeal(s, raw)
	m.outgoing.Seals = append(m.outgoing.Seals, raw)
	m.outgoing.sealed = append(m.outgoing.sealed, id)
	m.mail.noteSealed(m.record(id), n.id)
}

// keepSeal keeps a seal, given as its encoding too.
func (m *Machine) keepSeal(s *wire.Seal, raw []byte) {
	m.tx.put(sealKey(s), raw)
	it := m.record(s.Message)
	it.seals = min(it.seals, math.MaxUint8-1) + 1
}

// gap notes a message owed to this device that it cannot read yet.
func (m *Machine) gap(now time.Time, id wire.MessageID) {
	m.mail.gaps[id] = true
	m.timers.sooner(timerBeacon, now.Add(gapWait))
}

// owed says whether a record must reach this device: it was not written before
// the device came in, and its author is in the roster or wrote it before it was
// taken out.
func (m *Machine) owed(it *item) bool {
	if !m.roster.has(m.log.Device) || m.belowFloor(it) || !m.logs.counts(it) || !m.maySpeak(it) {
		return false
	}
	if m.roster.users[it.user] != nil {
		return true
	}
	out := m.roster.gone[it.user]
	return out != nil && m.logs.inPast(it, out)
}

// maySpeak says whether the author of a record could write to the group in the
// record's own past: a member, and not one who may only read. It never changes.
func (m *Machine) maySpeak(it *item) bool {
	if !it.facts.has(speaks | mute) {
		can := mute
		r := m.rosters.at(it)
		if u := r.users[it.user]; u != nil && r.has(it.log.Device) && u.role != wire.RoleReadOnly {
			can = speaks
		}
		it.note(can)
	}
	return it.facts.has(speaks)
}

// refreshOwed goes through all records after the roster changed.
func (m *Machine) refreshOwed(now time.Time) {
	if !m.mail.owedStale {
		return
	}
	m.mail.owedStale = false
	for it := range m.records() {
		switch {
		case it.facts.has(wasTold | isPlain):
		case !m.owed(it):
			delete(m.mail.gaps, it.hash)
		case !m.mail.gaps[it.hash]:
			m.gap(now, it.hash)
		}
	}
	clear(m.mail.shown) // this device's floor may lie elsewhere now
	for i := range m.logs.lists {
		m.showBranch(now, i)
	}
}

// show tells people of the records of a log that can be read now, in their
// author's order. A record that is owed and missing holds back those after it. One
// that is not owed now may be later, when more of the roster is known: it is
// passed over and looked at again.
func (m *Machine) show(now time.Time, log wire.LogID) {
	for _, i := range m.logs.index[log] {
		m.showBranch(now, i)
	}
}

func (m *Machine) showBranch(now time.Time, i int) {
	list := m.logs.lists[i]
	settled := true
	upTo := max(m.mail.shown[i], list.from)
	for _, it := range list.items[upTo-list.from:] {
		if it.kind == wire.KindRecord && !it.facts.has(wasTold) {
			owed := it.log == m.log || m.owed(it)
			switch {
			case owed && it.facts.has(isPlain) && m.tx.full():
				m.mail.shown[i], m.later.shows[i] = upTo, true
				return
			case owed && it.facts.has(isPlain):
				it.note(wasTold)
				m.noteRead(now, i, it)
				cursor := m.tx.emit(now, Event{Kind: EventMessage, Message: it.hash, User: it.user, Device: it.log.Device})
				m.tx.put(rowShown+num(cursor), it.hash[:])
				m.tx.put(rowIndex+hexed(it.hash[:]), wire.U64(cursor))
			case m.belowFloor(it), !owed && !m.maySpeak(it):
			case owed:
				m.mail.shown[i] = upTo
				return
			default:
				settled = false
			}
		}
		if settled {
			upTo = it.seq
		}
	}
	m.mail.shown[i] = upTo
}

// belowFloor says whether a record was written before this device came in.
func (m *Machine) belowFloor(it *item) bool {
	d := m.roster.devices[m.log.Device]
	return d != nil && d.by != nil && m.logs.inPast(it, d.by)
}

// sealsFor is how long seals of others' messages are kept to be served. Whoever
// comes back later tells its gaps, and a holder of the plaintext seals it again.
const sealsFor = 90 * 24 * time.Hour

// retireSeals deletes old ones.
func (m *Machine) retireSeals(now time.Time) {
	for it := range m.records() {
		if m.tx.full() {
			m.timers.set(timerDaily, now) // it goes on with the next turn
			return
		}
		if it.seals == 0 || it.log.Device == m.log.Device || now.Sub(it.when(m.now)) <= sealsFor {
			continue // one's own tell what is sealed where
		}
		m.tx.fail(m.tx.scanKeys(rowSeal+hexed(it.hash[:])+"/", func(key string) error {
			m.tx.del(key)
			return nil
		}))
		it.seals = 0
		it.body = unsealed
	}
}

// rawSeal is a seal as it arrived: decoded, not opened.
type rawSeal struct {
	*wire.Seal

	raw []byte // its encoding
}

func readSeals(raws [][]byte) ([]rawSeal, error) {
	seals := make([]rawSeal, len(raws))
	for i, raw := range raws {
		s, err := wire.DecodeSeal(raw)
		if err != nil {
			return nil, fmt.Errorf("seal: %w", err)
		}
		seals[i] = rawSeal{s, raw}
	}
	return seals, nil
}

func (m *Machine) takeSeals(now time.Time, seals []rawSeal) (Outcome, error) {
	var out Outcome
	var errs []error
	for _, s := range seals {
		fresh, err := m.takeSeal(now, s)
		if fresh {
			out.New++
		}
		if m.readable(s.Message) && err == nil {
			out.Messages = append(out.Messages, s.Message)
		}
		if err != nil {
			errs = append(errs, err)
			out.Verdict = max(out.Verdict, verdictOf(err))
		}
	}
	return out, errors.Join(errs...)
}

// takeSeal opens a seal, keeps it for those who ask later, and shows what it held.
func (m *Machine) takeSeal(now time.Time, s rawSeal) (bool, error) {
	what := func(err error) error { return fmt.Errorf("seal of message %v: %w", s.Message, err) }
	it := m.record(s.Message)
	if it != nil && s.Sealer == m.log.Device {
		return false, nil // one's own; what was sealed is in plaintext here
	}
	if aad, err := m.cfg.Engine.InspectMessage(s.PrivateMessage); err != nil || !bytes.Equal(aad, s.Message[:]) {
		// Seen before its key is used up: somebody put another label on it.
		return false, what(fmt.Errorf("%w: it was sealed for another message", errors.Join(ErrForged, err)))
	}
	if it == nil {
		if m.keepEarly(s) {
			return false, nil
		}
		return false, what(fmt.Errorf("%w: its record", ErrIncomplete))
	}
	known, err := m.tx.get(sealKey(s.Seal))
	if err != nil {
		m.tx.fail(err)
		return false, err
	}
	switch {
	case known != nil:
		return false, nil
	case it.seals >= maxSealsPerMsg:
		return false, what(ErrFull)
	}
	e, err := m.epochs.whole(s.Epoch)
	if err != nil {
		m.tx.fail(err)
		return false, err
	}
	if e == nil {
		if it.facts.has(isPlain) || m.belowFloor(it) {
			return false, nil // nothing that this device lacks, or may have
		}
		m.mail.triedInVain(now, s.Message)
		return false, what(m.noEpoch(s))
	}
	commitment, err := m.read.commitment(it)
	if err != nil {
		m.tx.fail(err)
		return false, err
	}
	o, rows, err := e.Open(s.PrivateMessage)
	if err != nil {
		m.noteWorn(now, s, err)
		return false, what(err)
	}
	// The key is used up from here on, whatever the message turns out to be.
	m.epochs.putKeys(s.Epoch, rows)
	sealer, err := m.checkOpened(e, commitment, s.Epoch, o)
	if err != nil {
		m.tx.emit(now, Event{Kind: EventRefused, Message: s.Message, Device: s.Sealer, Detail: err.Error()})
		return false, what(err)
	}
	delete(m.worn.since, sealer)
	if sealer != s.Sealer { // a wrong label must not cost the message its key
		s.Seal = &wire.Seal{Message: s.Message, Epoch: s.Epoch, Sealer: sealer, PrivateMessage: s.PrivateMessage}
		s.raw = wire.Marshal(s.Seal)
	}
	m.keepSeal(s.Seal, s.raw)
	if _, ok := m.mail.refilled[s.Message]; ok {
		m.mail.refilled[s.Message] = now
	}
	if !it.facts.has(isPlain) {
		m.keepPlain(it, o.Plaintext)
		m.show(now, it.log)
	}
	return true, nil
}

// checkOpened checks what a seal held, and gives who sealed it: that is what MLS proves,
// whatever the label says.
func (m *Machine) checkOpened(e Epoch, commitment wire.Hash, id wire.EpochID, o OpenedMessage) (sealer wire.DeviceID, err error) {
	sealer, err = m.epochs.sender(id, e, o.Sender)
	if err != nil {
		return sealer, err
	}
	opened, err := wire.DecodeOpened(o.Plaintext)
	if err != nil {
		return sealer, err
	}
	if !opened.Fits(commitment) {
		return sealer, fmt.Errorf("%w: it is not what the record committed to", ErrForged)
	}
	return sealer, nil
}

// noEpoch says why a seal cannot be opened and keeps it if it may be later.
func (m *Machine) noEpoch(s rawSeal) error {
	if m.own.Out {
		return ErrRemoved
	}
	if m.epochs.has(s.Epoch) {
		return ErrNoEpoch // its message keys are destroyed: a gap, if nobody seals it again
	}
	// Of epochs that no entry names few are kept: anybody can make those up.
	if m.mail.waitCount < maxWaiting && m.mail.waitBytes+len(s.raw) <= maxWaitBytes && (m.tree.nodes[s.Epoch] != nil || m.mail.waitCount < maxWaiting/16) {
		for _, w := range m.mail.waiting[s.Epoch] {
			if w.Message == s.Message && w.Sealer == s.Sealer {
				return ErrNoEpoch
			}
		}
		m.mail.waiting[s.Epoch] = append(m.mail.waiting[s.Epoch], s)
		m.mail.waitCount++
		m.mail.waitBytes += len(s.raw)
	}
	return ErrNoEpoch
}

// stopWaiting gives the seals that wait for the keys of an epoch, and keeps them no more.
func (m *mail) stopWaiting(id wire.EpochID) []rawSeal {
	seals := m.waiting[id]
	delete(m.waiting, id)
	m.waitCount -= len(seals)
	for _, s := range seals {
		m.waitBytes -= len(s.raw)
	}
	return seals
}

// openWaiting opens the seals that came before the keys of their epoch.
func (m *Machine) openWaiting(now time.Time, id wire.EpochID) {
	for _, s := range m.mail.stopWaiting(id) {
		m.takeWaitingSeal(now, s)
	}
}
