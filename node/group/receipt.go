package group

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// A receipt is a device's own word, signed, that it has in plaintext what it may read of
// another device's log, up to an entry. Nothing else makes a message "held": an entry can be
// parked, or sealed under a key that a device lacks. Receipts are not durable; each covers
// those before it, and an exchange brings the newest again, so that a lost one costs time.

// When a device sends receipts. In a small group everybody does so at once. In a large one
// those do who had the message from its author, and a few whom the author's name picks; the
// others take turns, so that an author hears of a few of them at a time.
const (
	receiptWait   = 250 * time.Millisecond // from reading something to saying so
	receiptEvery  = time.Second            // from one to the next about the same log, at least
	receiptSmall  = 32                     // devices of a group in which all do so at once
	receiptFew    = 8                      // devices that do so at once in a larger one
	receiptBatch  = 5 * time.Second        // from one turn of so many of the others to the next
	receiptRetry  = 2 * time.Second        // until one that did not get there is sent again, doubling
	receiptTries  = 4
	receiptsATurn = 16 // at most, made at once
)

// Bounds of what receipts of others can make this device do.
const (
	maxReceiptCounts = 64 // logs whose count is remembered for each reader
	receiptsPassed   = 32 // of one reader passed on in a second
)

// telling is what this device is to say of what it has read.
type telling struct {
	due   map[int]time.Time // by branch
	last  map[int]time.Time // when it was said
	tries map[int]int       // how often that did not get there

	fromDevice wire.DeviceID // who the input of this turn is from, if it says so
	fromPeer   []byte        // the same, of an envelope
}

func newTelling() telling {
	return telling{due: map[int]time.Time{}, last: map[int]time.Time{}, tries: map[int]int{}}
}

// from notes who an input comes from, and gives what does.
func (t *telling) from(in Input) Input {
	from, _ := in.(From)
	if t.fromDevice, t.fromPeer = from.Device, from.Peer; from.Input != nil {
		return from.Input
	}
	return in
}

// fromAuthor says whether the input of this turn comes from a device itself.
func (m *Machine) fromAuthor(d wire.DeviceID) bool {
	t := &m.telling
	return d == t.fromDevice || len(t.fromPeer) > 0 && m.logs.devices[d] != nil && bytes.Equal(m.logs.devices[d].Cert.Peer, t.fromPeer)
}

// place is about where this device stands in the order in which the devices of the group
// tell an author what they have read.
func (m *Machine) place(author wire.DeviceID) int {
	h := wire.HashOf(wire.DomainPrio, m.group[:], author[:], m.log.Device[:])
	return int(uint64(binary.BigEndian.Uint32(h[:4])) * uint64(len(m.roster.devices)) >> 32) //nolint:gosec // below the number of devices
}

// noteRead plans a receipt for a record of somebody else's that can be read now.
func (m *Machine) noteRead(now time.Time, branch int, it *item) {
	author, t := it.log.Device, &m.telling
	if author == m.log.Device {
		return
	}
	at := now.Add(receiptWait)
	if len(m.roster.devices) > receiptSmall && !m.fromAuthor(author) {
		if place := m.place(author); place >= receiptFew {
			at = at.Add(receiptBatch * time.Duration(place/receiptFew))
		}
	}
	if last := t.last[branch].Add(receiptEvery); at.Before(last) {
		at = last
	}
	delete(t.tries, branch)
	t.due[branch] = earliest(t.due[branch], at)
	m.timers.sooner(timerReceipt, t.due[branch])
}

// sendReceipts tells the authors what is due.
func (m *Machine) sendReceipts(now time.Time) {
	if !m.timers.due(now, timerReceipt) {
		return
	}
	m.timers.stop(timerReceipt)
	t := &m.telling
	key, ok := m.keys.current()
	if !ok || !m.roster.has(m.log.Device) {
		clear(t.due)
		return
	}
	small := len(m.roster.devices) <= receiptSmall
	sent := 0
	for _, i := range slices.Sorted(maps.Keys(t.due)) {
		if !due(now, t.due[i]) {
			continue
		}
		author := m.logs.lists[i].id.Device
		r, ok := m.receiptFor(i)
		if !ok || !m.roster.has(author) {
			delete(t.due, i)
			continue
		}
		if sent++; sent > receiptsATurn {
			t.due[i] = now.Add(receiptWait)
			continue
		}
		envelope, _, err := m.keys.newEnvelope(key, wire.Bundle{Receipts: [][]byte{r.Encode()}})
		if err != nil {
			m.tx.fail(err)
			return
		}
		few := small || m.place(author) < receiptFew
		m.tx.ready.Messages = append(m.tx.ready.Messages, Tell{
			Device: author, Peer: m.logs.devices[author].Cert.Peer, Envelope: envelope, Topic: m.keys.topic(key), Gossip: few,
		})
		t.last[i] = now
		delete(t.due, i)
	}
	for _, at := range t.due {
		m.timers.sooner(timerReceipt, at)
	}
}

// Untold says that a Tell did not get to a device that is connected.
type Untold struct{ Device wire.DeviceID }

func (in Untold) act(m *Machine, now time.Time, _ *Outcome) error { //nolint:unparam // as of every act
	t := &m.telling
	for i, l := range m.logs.lists {
		if l.id.Device != in.Device || t.last[i].IsZero() || t.tries[i] >= receiptTries {
			continue
		}
		t.due[i] = earliest(t.due[i], now.Add(receiptRetry<<t.tries[i]))
		t.tries[i]++
		m.timers.sooner(timerReceipt, t.due[i])
	}
	return nil
}

// receiptFor signs what this device has read of a branch. False: nothing.
func (m *Machine) receiptFor(branch int) (wire.Signed, bool) {
	l := m.logs.lists[branch]
	it := l.at(m.mail.shown[branch])
	if it == nil {
		return wire.Signed{}, false
	}
	r := wire.Receipt{V: wire.Version, Log: m.log, Count: m.tx.cursor, Read: wire.Mark{Log: l.id, Seq: it.seq, Hash: it.hash}}
	return m.cfg.LogKey.Sign(wire.DomainReceipt, m.group, r.Encode()), true
}

// receipts are those for the logs of one device.
func (m *Machine) receipts(author wire.DeviceID) []wire.Signed {
	if author == m.log.Device || !m.roster.has(m.log.Device) {
		return nil
	}
	var out []wire.Signed
	for i, l := range m.logs.lists {
		if l.id.Device != author {
			continue
		}
		if r, ok := m.receiptFor(i); ok {
			out = append(out, r)
		}
	}
	return out[max(0, len(out)-wire.MaxReceipts):] // the newest incarnations came last
}

// reading is what a device has said that it has read. It is not durable.
type reading struct {
	log    wire.LogID // the incarnation that said so
	counts map[wire.LogID]uint64
	marks  map[wire.LogID]*item // of this device's logs
	stale  map[uint64]bool      // incarnations that are over: what they had may be gone

	since  time.Time // of the second in which
	passed int       // so many were passed on
}

// read says whether a device has said that it can read a record of this device's.
func (p *peerState) read(l *logs, it *item) bool {
	if p == nil {
		return false
	}
	at := p.reads.marks[it.log]
	return at != nil && l.inPast(it, at)
}

// begin forgets what another incarnation has said.
func (r *reading) begin(log wire.LogID) {
	if r.log != log {
		if r.stale == nil {
			r.stale = map[uint64]bool{}
		}
		if r.log != (wire.LogID{}) && len(r.stale) < maxLogs {
			r.stale[r.log.Incarnation] = true
		}
		r.log, r.counts, r.marks = log, map[wire.LogID]uint64{}, map[wire.LogID]*item{}
	}
}

func (m *Machine) takeReceipts(now time.Time, raws [][]byte) (Verdict, error) {
	var verdict Verdict
	var errs []error
	for _, raw := range raws {
		s, err := wire.DecodeSigned(raw, wire.MaxReceipt+128)
		if err == nil {
			err = m.takeReceipt(now, s)
		}
		if err != nil {
			err = fmt.Errorf("receipt: %w", err)
			errs = append(errs, err)
			verdict = max(verdict, verdictOf(err))
		}
	}
	return verdict, errors.Join(errs...)
}

// takeReceipt notes what a device has read. An error says why it is not to be passed on.
func (m *Machine) takeReceipt(now time.Time, s wire.Signed) error {
	r, err := wire.DecodeReceipt(s.Payload)
	if err != nil {
		return err
	}
	if r.Log.Device == m.log.Device {
		return nil
	}
	d := m.logs.devices[r.Log.Device]
	if d == nil || !m.roster.has(d.ID) {
		return fmt.Errorf("%w: device %v", ErrNotMember, r.Log.Device)
	}
	if err := identity.Verify(d.Cert.LogKey, wire.DomainReceipt, m.group, s); err != nil {
		return fmt.Errorf("%w: %w", ErrForged, err)
	}
	p := &m.peers.at(d.ID).reads
	of := r.Read.Log
	if p.log != r.Log && m.isOver(r.Log) || p.log == r.Log && r.Count < p.counts[of] {
		return errOld
	}
	if now.Sub(p.since) >= time.Second || now.Before(p.since) {
		p.since, p.passed = now, 0
	}
	if p.passed++; p.passed > receiptsPassed {
		return fmt.Errorf("%w: receipts of device %v", ErrFull, d.ID)
	}
	own := of.Device == m.log.Device
	at := m.logs.items.at(r.Read.Hash)
	if own && (at == nil || at.log != of || at.seq != r.Read.Seq) {
		return fmt.Errorf("%w: the entry that was read", ErrIncomplete)
	}
	p.begin(r.Log)
	if len(p.counts) >= maxReceiptCounts {
		maps.DeleteFunc(p.counts, func(log wire.LogID, _ uint64) bool { return p.marks[log] == nil })
	}
	if own || len(m.logs.index[of]) > 0 && len(p.counts) < maxReceiptCounts {
		p.counts[of] = r.Count
	}
	if own && p.marks[of] != at {
		p.marks[of] = at
		m.tx.ready.Heard = true
	}
	return nil
}

// errOld says that a newer receipt is known.
var errOld = fmt.Errorf("%w: a newer one is known", ErrUsed)

// isOver says whether another incarnation of a log's device has begun since.
func (m *Machine) isOver(log wire.LogID) bool {
	if p := m.peers.of[log.Device]; p != nil && p.reads.stale[log.Incarnation] {
		return true
	}
	head := m.logs.head(log)
	if head == nil {
		return false // it has written nothing that is here: it may have just begun
	}
	for id, branches := range m.logs.index {
		if id.Device == log.Device && id != log && m.logs.lists[branches[0]].items[0].hlc > head.hlc {
			return true
		}
	}
	return false
}

// noteIncarnation forgets what a device has said once a later incarnation of it has written
// something: its store is another one.
func (m *Machine) noteIncarnation(it *item) {
	p := m.peers.of[it.log.Device]
	if it.seq > 1 || p == nil || p.reads.log == (wire.LogID{}) || p.reads.log == it.log || !m.isOver(p.reads.log) {
		return
	}
	p.reads.begin(it.log)
	m.tx.ready.Heard = true
}

// readers tells, of the devices that an own record is for, which have read it, which have
// said that its entry is there, which lack it as far as is known, and which said nothing.
func (m *Machine) readers(it *item) (read, come, lack, silent []wire.DeviceID) {
	for _, d := range m.roster.deviceIDs() {
		p := m.peers.of[d]
		switch {
		case d == m.log.Device || !m.mayRead(d, it):
		case p.read(m.logs, it):
			read = append(read, d)
		case p == nil || len(p.marks) == 0:
			silent = append(silent, d)
		case p.marks[it.log] >= it.seq:
			come = append(come, d)
		default:
			lack = append(lack, d)
		}
	}
	return read, come, lack, silent
}
