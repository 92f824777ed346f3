package group

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// A receipt is a signed statement of a device that it has, in plaintext, all that it may
// read of another device's log up to an entry. Nothing else makes a message "held": an
// entry can be parked, or sealed under a key that a device lacks. Receipts are not durable;
// each covers those before it, and an exchange brings the newest again, so that a lost one
// costs time.

// When a device sends receipts. In a small group everybody does so at once. In a large one
// those do who had the message from its author, and a few whom the author's name picks; the
// others take turns, so that an author hears of a few of them at a time.
// maxStale bounds the incarnations of a device whose receipts are known to be over.
const maxStale = 64

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

// Bounds on the work that receipts of others can cause.
const (
	maxReceiptCounts = 64 // logs whose count is remembered for each reader
	receiptsPassed   = 32 // of one reader passed on in a second
)

// receipts are what this device is to say of what it has read, and what others have said
// of that. They are not durable.
type receipts struct {
	records

	tx          *tx
	timers      *timers
	group       wire.GroupID
	key         *identity.Key              // of this device's log
	deliveredTo func(branch int) *dag.Item // see messages
	keys        *keyring

	due   map[int]time.Time // by branch
	last  map[int]time.Time // when it was said
	tries map[int]int       // how often that did not get there
	said  map[int]said      // the newest, signed

	fromDevice wire.DeviceID // who the input of this turn is from, if it says so
	fromPeer   []byte        // the same, of an envelope

	read map[wire.DeviceID]*reading
}

func newReceipts(r records, t *tx, timers *timers, keys *keyring, key *identity.Key) *receipts {
	return &receipts{
		records: r, tx: t, timers: timers, group: keys.group, keys: keys, key: key,
		due: map[int]time.Time{}, last: map[int]time.Time{}, tries: map[int]int{}, said: map[int]said{}, read: map[wire.DeviceID]*reading{},
	}
}

// from notes the device that an input comes from, and returns the input.
func (r *receipts) from(in Input) Input {
	from, _ := in.(From)
	if r.fromDevice, r.fromPeer = from.Device, from.Peer; from.Input != nil {
		return from.Input
	}
	return in
}

// fromAuthor says whether the input of this turn comes from a device itself.
func (r *receipts) fromAuthor(d wire.DeviceID) bool {
	return d == r.fromDevice || len(r.fromPeer) > 0 && r.logs.Devices[d] != nil && bytes.Equal(r.logs.Devices[d].Cert.Peer, r.fromPeer)
}

// place is about where this device stands in the order in which the devices of the group
// tell an author what they have read.
func (r *receipts) place(author wire.DeviceID) int {
	h := wire.HashOf(wire.DomainPrio, r.group[:], author[:], r.self.Device[:])
	return int(uint64(binary.BigEndian.Uint32(h[:4])) * uint64(r.rosters.now.NumDevices()) >> 32) //nolint:gosec // below the number of devices
}

// plan plans a receipt for a RECORD of somebody else's that can be read now.
func (r *receipts) plan(now time.Time, branch int, it *dag.Item) {
	author := it.Log.Device
	if author == r.self.Device {
		return
	}
	at := now.Add(receiptWait)
	if r.rosters.now.NumDevices() > receiptSmall && !r.fromAuthor(author) {
		if place := r.place(author); place >= receiptFew {
			at = at.Add(receiptBatch * time.Duration(place/receiptFew))
		}
	}
	if last := r.last[branch].Add(receiptEvery); at.Before(last) {
		at = last
	}
	delete(r.tries, branch)
	r.due[branch] = earliest(r.due[branch], at)
	r.timers.sooner(timerReceipt, r.due[branch])
}

// send tells the authors what is due.
func (r *receipts) send(now time.Time) {
	if !r.timers.due(now, timerReceipt) {
		return
	}
	r.timers.stop(timerReceipt)
	key, ok := r.keys.current()
	if !ok || !r.rosters.now.Has(r.self.Device) {
		clear(r.due)
		return
	}
	small := r.rosters.now.NumDevices() <= receiptSmall
	sent := 0
	for _, i := range slices.Sorted(maps.Keys(r.due)) {
		if !due(now, r.due[i]) {
			continue
		}
		author := r.logs.Lists[i].ID.Device
		receipt, ok := r.receiptFor(i)
		if !ok || !r.rosters.now.Has(author) {
			delete(r.due, i)
			continue
		}
		if sent++; sent > receiptsATurn {
			r.due[i] = now.Add(receiptWait)
			continue
		}
		envelope, _, err := r.keys.newEnvelope(key, wire.Bundle{Receipts: [][]byte{receipt.Encode()}})
		if err != nil {
			r.tx.fail(err)
			return
		}
		few := small || r.place(author) < receiptFew
		r.tx.send(Tell{Device: author, Peer: r.logs.Devices[author].Cert.Peer, Envelope: envelope, Topic: r.keys.topic(key), Gossip: few})
		r.last[i] = now
		delete(r.due, i)
	}
	for _, at := range r.due {
		r.timers.sooner(timerReceipt, at)
	}
}

// untold plans again what did not get to a device.
func (r *receipts) untold(now time.Time, d wire.DeviceID) {
	for i, l := range r.logs.Lists {
		if l.ID.Device != d || r.last[i].IsZero() || r.tries[i] >= receiptTries {
			continue
		}
		r.due[i] = earliest(r.due[i], now.Add(receiptRetry<<r.tries[i]))
		r.tries[i]++
		r.timers.sooner(timerReceipt, r.due[i])
	}
}

// said is a receipt of this device, as it was signed.
type said struct {
	by     wire.LogID // this device's log
	read   *dag.Item
	signed wire.Signed
}

// receiptFor says, signed, how far this device has read a branch. False: nothing. It goes
// with every vector, and is signed again only when there is more to say.
func (r *receipts) receiptFor(branch int) (wire.Signed, bool) {
	it := r.deliveredTo(branch)
	if it == nil {
		return wire.Signed{}, false
	}
	if last := r.said[branch]; last.read == it && last.by == *r.self {
		return last.signed, true
	}
	w := wire.Receipt{
		V: wire.Version, Log: *r.self, Count: r.tx.cursor,
		Read: wire.Mark{Log: r.logs.Lists[branch].ID, Seq: it.Seq, Hash: it.Hash},
	}
	signed := r.key.Sign(wire.DomainReceipt, r.group, w.Encode())
	r.said[branch] = said{*r.self, it, signed}
	return signed, true
}

// receiptsFor are those for the logs of one device.
func (r *receipts) receiptsFor(author wire.DeviceID) []wire.Signed {
	if author == r.self.Device || !r.rosters.now.Has(r.self.Device) {
		return nil
	}
	var out []wire.Signed
	for i, l := range r.logs.Lists {
		if l.ID.Device != author {
			continue
		}
		if s, ok := r.receiptFor(i); ok {
			out = append(out, s)
		}
	}
	return out[max(0, len(out)-wire.MaxReceipts):] // the newest incarnations came last
}

// reading says how far a device has read, by its receipts.
type reading struct {
	log    wire.LogID // the incarnation that said so
	counts map[branchOf]uint64
	marks  map[branchOf]*dag.Item // of this device's logs
	proven map[branchOf][32]byte  // SHA-256 of the receipts that say so: each comes again and again
	stale  map[uint64]bool        // incarnations that are over: what they had may be gone

	since  time.Time // of the second in which
	passed int       // so many were passed on
}

// branchOf is what a receipt is about: a branch of one of this device's logs, by its position
// in Lists, or another device's log as a whole. A log that forked has a receipt for each.
type branchOf struct {
	log    wire.LogID
	branch int32
}

// begin forgets the receipts of another incarnation.
func (r *reading) begin(log wire.LogID) {
	if r.log != log {
		if r.stale == nil {
			r.stale = map[uint64]bool{}
		}
		if r.log != (wire.LogID{}) && len(r.stale) < maxStale {
			r.stale[r.log.Incarnation] = true
		}
		r.log, r.counts, r.marks = log, map[branchOf]uint64{}, map[branchOf]*dag.Item{}
		r.proven = map[branchOf][32]byte{}
	}
}

// hasRead says whether a device has said that it can read a RECORD of this device's.
func (r *receipts) hasRead(d wire.DeviceID, it *dag.Item) bool {
	of := r.read[d]
	if of == nil {
		return false
	}
	return slices.ContainsFunc(r.logs.Index[it.Log], func(branch int) bool {
		at := of.marks[branchOf{it.Log, int32(branch)}] //nolint:gosec // as Item.List
		return at != nil && r.logs.InPast(it, at)
	})
}

// handedOver says whether one device, of another user than this one's, has read all of these
// RECORDs of this device's.
func (r *receipts) handedOver(user wire.UserID, written []*dag.Item) bool {
	for d := range r.read {
		in := r.rosters.now.Device(d)
		if in == nil || in.Device.User == user {
			continue
		}
		if !slices.ContainsFunc(written, func(it *dag.Item) bool { return !r.hasRead(d, it) }) {
			return true
		}
	}
	return false
}

// isHeld says whether any other device has said that it can read a RECORD of this device's.
func (r *receipts) isHeld(it *dag.Item) bool {
	for d := range r.read {
		if r.hasRead(d, it) {
			return true
		}
	}
	return false
}

// heldBy counts the other devices that an own RECORD is for, and those of them that have
// said that they can read it.
func (r *receipts) heldBy(it *dag.Item) (held, readers int) {
	for d := range r.rosters.now.Devices() {
		if d == r.self.Device || !r.mayRead(d, it) {
			continue
		}
		readers++
		if r.hasRead(d, it) {
			held++
		}
	}
	return held, readers
}

func (r *receipts) takeAll(now time.Time, raws [][]byte) (verdict.Verdict, error) {
	var worst verdict.Verdict
	var errs []error
	for _, raw := range raws {
		s, err := wire.DecodeSigned(raw, wire.MaxReceipt+128)
		if err == nil {
			err = r.take(now, s)
		}
		if err != nil {
			err = fmt.Errorf("receipt: %w", err)
			errs = append(errs, err)
			worst = max(worst, verdict.Of(err))
		}
	}
	return worst, errors.Join(errs...)
}

// take notes what a device has read. An error says why it is not to be passed on.
func (r *receipts) take(now time.Time, s wire.Signed) error {
	w, err := wire.DecodeReceipt(s.Payload)
	if err != nil {
		return err
	}
	if w.Log.Device == r.self.Device {
		return nil
	}
	d := r.logs.Devices[w.Log.Device]
	if d == nil || !r.rosters.now.Has(d.ID) {
		return fmt.Errorf("%w: device %v", verdict.ErrNotMember, w.Log.Device)
	}
	of, at := branchOf{log: w.Read.Log}, r.logs.Items.At(w.Read.Hash)
	own := of.log.Device == r.self.Device
	switch {
	case own && (at == nil || at.Log != of.log || at.Seq != w.Read.Seq):
		return fmt.Errorf("%w: the entry that was read", verdict.ErrIncomplete)
	case own:
		of.branch = at.List
	}
	p, sum := r.read[d.ID], sha256.Sum256(s.Encode())
	if p == nil || p.proven[of] != sum {
		if err := identity.Verify(d.Cert.LogKey, wire.DomainReceipt, r.group, s); err != nil {
			return fmt.Errorf("%w: %w", verdict.ErrForged, err)
		}
	}
	if p == nil {
		p = &reading{}
		r.read[d.ID] = p
	}
	if p.log != w.Log && r.isOver(w.Log) || p.log == w.Log && w.Count < p.counts[of] {
		return errOld
	}
	if now.Sub(p.since) >= time.Second || now.Before(p.since) {
		p.since, p.passed = now, 0
	}
	if p.passed++; p.passed > receiptsPassed {
		return fmt.Errorf("%w: receipts of device %v", verdict.ErrFull, d.ID)
	}
	p.begin(w.Log)
	if len(p.counts) >= maxReceiptCounts {
		maps.DeleteFunc(p.counts, func(of branchOf, _ uint64) bool { return p.marks[of] == nil })
	}
	if own || len(r.logs.Index[of.log]) > 0 && len(p.counts) < maxReceiptCounts {
		p.counts[of] = w.Count
	}
	if own {
		p.proven[of] = sum
	}
	if own && p.marks[of] != at {
		p.marks[of] = at
		r.tx.ready.Heard = true
	}
	return nil
}

// errOld says that a newer receipt is known.
var errOld = fmt.Errorf("%w: a newer one is known", verdict.ErrUsed)

// isOver says whether another incarnation of a log's device has begun since.
func (r *receipts) isOver(log wire.LogID) bool {
	if p := r.read[log.Device]; p != nil && p.stale[log.Incarnation] {
		return true
	}
	head := r.logs.Head(log)
	if head == nil {
		return false // it has written nothing that is here: it may have just begun
	}
	for id, branches := range r.logs.Index {
		if id.Device == log.Device && id != log && r.logs.Lists[branches[0]].Items[0].HLC > head.HLC {
			return true
		}
	}
	return false
}

// noteIncarnation forgets the receipts of a device once a later incarnation of it has
// written something: its store is another one.
func (r *receipts) noteIncarnation(it *dag.Item) {
	p := r.read[it.Log.Device]
	if it.Seq > 1 || p == nil || p.log == (wire.LogID{}) || p.log == it.Log || !r.isOver(p.log) {
		return
	}
	p.begin(it.Log)
	r.tx.ready.Heard = true
}
