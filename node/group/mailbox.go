package group

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/roster"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// Mailboxes keep envelopes for members who are never online together. Which ones a
// group uses is a register of its profile. At each the group has a box for each of
// its transport keys: somebody who is removed holds no key to the next box.

// Mail answers what a node needs to know to serve the group's mailboxes.
type Mail struct {
	own     *ownState
	tx      *tx
	logs    *dag.Logs
	rosters *rosters
	keys    *keyring
	rank    func() time.Duration
}

// Mail gives the group's side of mailboxes. It is as the machine is: see the queries.
func (m *Machine) Mail() Mail { return Mail{m.own, m.tx, m.logs, m.rosters, m.keys, m.rank} }

// Mailboxes lists the mailboxes of the group.
func (m Mail) Mailboxes() []wire.LinkPeer {
	if it := m.rosters.now.Profile(wire.FieldMailboxes); it != nil {
		return it.Profile.Mailboxes
	}
	return nil
}

// Set says whether this device was the last to set them, and when that was.
func (m Mail) Set() (own bool, hlc uint64) {
	it := m.rosters.now.Profile(wire.FieldMailboxes)
	if it == nil {
		return false, 0
	}
	return it.Log == m.own.log, it.Profile.HLC
}

// Boxes lists the group's boxes at a mailbox, one for each transport key held, the one
// under which this device sends last: the others may bring its key.
func (m Mail) Boxes(mailbox []byte) []Box { return m.keys.boxes(mailbox) }

// ProveBox signs the payload of wire.MailProofPayload, which shows a mailbox that this
// device may use a box. False: the transport key is not here.
func (m Mail) ProveBox(key wire.KeyID, mailbox, payload []byte) ([]byte, bool) {
	return m.keys.proveBox(key, mailbox, payload)
}

// Turn returns this device's place in the order in which members put others' entries
// into a mailbox. The member that set the mailboxes comes first, as it is likely to be
// there.
func (m Mail) Turn() int {
	if own, _ := m.Set(); own {
		return 0
	}
	return 1 + int(m.rank())
}

// Owing lists the entries that a holder of a transport key may lack, causes first.
type Owing struct {
	Key     wire.KeyID
	Entries []OwingEntry
}

// OwingEntry is one entry of it.
type OwingEntry struct {
	Hash wire.EntryHash
	Own  bool // of this device
}

// Owing lists the entries that members may lack, by the transport keys that such members
// may hold. A member that was away holds an old key. The TKEY that replaced that key, and
// all that the TKEY builds on, travelled under it before, and goes into that key's box
// again. So does a TKEY-WRAP for a device that said under which key it is heard. The newest
// key is the last.
func (m Mail) Owing(now time.Time) ([]Owing, error) {
	if !m.own.Joined || !m.rosters.now.Has(m.own.log.Device) {
		return nil, fmt.Errorf("telling what members may lack: %w", verdict.ErrOut)
	}
	current, ok := m.keys.current()
	if !ok {
		return nil, fmt.Errorf("telling what members may lack: %w: no transport key", verdict.ErrState)
	}
	items := unproven(m.logs, m.rosters.now, m.own.log.Device, now)
	under := func(key wire.KeyID, holds func(*dag.Item) bool) Owing {
		o := Owing{Key: key}
		for _, it := range items {
			if holds(it) {
				o.Entries = append(o.Entries, OwingEntry{it.Hash, it.Log.Device == m.own.log.Device})
			}
		}
		return o
	}
	var out []Owing
	for _, id := range m.keys.ids() {
		if id == current {
			continue
		}
		if bring := m.keys.bringing(id, current); len(bring) > 0 {
			out = append(out, under(id, func(it *dag.Item) bool {
				return slices.ContainsFunc(bring, func(b *dag.Item) bool { return it == b || m.logs.InPast(it, b) })
			}))
		}
	}
	return append(out, under(current, func(*dag.Item) bool { return true })), nil
}

// bringing lists the entries that bring a holder of one key to another: the TKEY that
// superseded the first, and the wraps of the other for devices that say that they hold the first.
func (k *keyring) bringing(from, to wire.KeyID) (out []*dag.Item) {
	if since := k.of(from).since; since != nil {
		out = append(out, since)
	}
	t := k.of(to)
	for id, complaint := range t.lacks {
		if !bytes.Equal(complaint.Wrap.Wrap.Sealed, from[:]) || !k.rosters.now.Has(id) {
			continue
		}
		for _, it := range t.wraps {
			if wrapsFor(it, id) && !k.logs.InPast(it, complaint) {
				out = append(out, it)
			}
		}
	}
	return out
}

// unproven lists entries, in causal order, that are not in the past of the last entry of
// each other device of the roster: somebody may lack them. Devices that have been silent
// for so long that members suggest to remove them do not count, or all that was ever
// written since would be kept for them.
func unproven(l *dag.Logs, r *roster.Roster, own wire.DeviceID, now time.Time) []*dag.Item {
	heads := map[wire.DeviceID][]*dag.Item{}
	for _, list := range l.Lists {
		heads[list.ID.Device] = append(heads[list.ID.Device], list.Head())
	}
	waits := map[wire.DeviceID]bool{}
	for id := range r.Devices() {
		var last time.Time
		if d := r.Device(id); d.By != nil {
			last = d.By.When(now)
		}
		for _, head := range heads[id] {
			if t := head.When(now); t.After(last) {
				last = t
			}
		}
		waits[id] = id != own && now.Sub(last) < silentFor
	}
	proven := func(it *dag.Item) bool {
		for id, waits := range waits {
			if waits && id != it.Log.Device && !slices.ContainsFunc(heads[id], func(head *dag.Item) bool { return l.InPast(it, head) }) {
				return false
			}
		}
		return true
	}
	var out []*dag.Item
	for _, list := range l.Lists {
		for _, it := range list.Items {
			if !proven(it) {
				out = append(out, it)
			}
		}
	}
	slices.SortFunc(out, (*dag.Item).Compare)
	return out
}

// CameBack says whether a device has written since, after it had been silent for so long
// that nothing was kept for it.
func (m Mail) CameBack(since, now time.Time) bool {
	type silence struct{ last, next time.Time }
	by := map[wire.DeviceID]silence{}
	for _, l := range m.logs.Lists {
		s := by[l.ID.Device]
		for _, it := range slices.Backward(l.Items) {
			t := it.When(now)
			if !t.After(since) {
				if t.After(s.last) {
					s.last = t
				}
				break
			}
			if s.next.IsZero() || t.Before(s.next) {
				s.next = t
			}
		}
		by[l.ID.Device] = s
	}
	for id, s := range by {
		if m.rosters.now.Has(id) && !s.last.IsZero() && !s.next.IsZero() && s.next.Sub(s.last) >= silentFor {
			return true
		}
	}
	return false
}

// EnvelopesWith makes envelopes under a transport key for a mailbox: entries, with the
// seals of those that are records. They are as many, from the first, as take up about limit
// bytes; taken says how many.
func (m Mail) EnvelopesWith(key wire.KeyID, entries []wire.EntryHash, limit int) (envelopes [][]byte, taken int, err error) {
	if !m.keys.has(key) {
		return nil, 0, fmt.Errorf("envelopes for a mailbox: %w", wire.ErrUnknownKey)
	}
	var u wire.Bundle
	for size := 0; taken < len(entries) && size < limit; taken++ {
		it := m.logs.Items.At(entries[taken])
		if it == nil {
			return nil, 0, fmt.Errorf("envelopes for a mailbox: entry %v: %w", entries[taken], verdict.ErrUnknown)
		}
		raw, err := m.tx.get(itemKey(it))
		if err != nil {
			return nil, 0, err
		}
		u.Entries = append(u.Entries, raw)
		size += len(raw)
		if it.Kind != wire.KindRecord {
			continue
		}
		if err := m.tx.scan(rowSeal+hexed(it.Hash[:])+"/", func(_ string, seal []byte) error {
			u.Seals = append(u.Seals, seal)
			size += len(seal)
			return nil
		}); err != nil {
			return nil, 0, err
		}
	}
	for _, part := range split(u) {
		b, _, err := m.keys.newEnvelope(key, part)
		if err != nil {
			return nil, 0, err
		}
		envelopes = append(envelopes, b)
	}
	return envelopes, taken, nil
}
