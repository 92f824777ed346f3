package group

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// Mailboxes keep envelopes for members who are never online together. Which ones a
// group uses is a register of its profile. At each the group has a box for each of
// its transport keys: somebody who is removed holds no key to the next box.

// Mailboxes lists the mailboxes of the group.
func (m *Machine) Mailboxes() []wire.LinkPeer {
	if it := m.roster.profile[wire.FieldMailboxes]; it != nil {
		return it.profile.Mailboxes
	}
	return nil
}

// MailboxesSet says whether this device was the last to set them, and when that was.
func (m *Machine) MailboxesSet() (own bool, hlc uint64) {
	it := m.roster.profile[wire.FieldMailboxes]
	if it == nil {
		return false, 0
	}
	return it.log == m.log, it.profile.HLC
}

// Box is the group's place at a mailbox under one transport key.
type Box struct {
	Key wire.KeyID
	Tag [8]byte // of the envelopes in it
	ID  wire.BoxID
}

// Boxes lists the group's boxes at a mailbox, one for each transport key held, the
// one under which this device sends last: what is in the others may bring its key.
func (m *Machine) Boxes(mailbox []byte) []Box {
	keys := m.keysInUse()
	slices.Reverse(keys)
	out := make([]Box, len(keys))
	for i, k := range keys {
		out[i] = Box{Key: k, Tag: m.tag(m.transport[k]), ID: wire.BoxID(m.boxKey(k, mailbox)[ed25519.SeedSize:])}
	}
	return out
}

// ProveBox signs what shows a mailbox that this device may use a box: the payload of
// wire.MailProofPayload. False: the transport key is not here.
func (m *Machine) ProveBox(key wire.KeyID, mailbox, payload []byte) ([]byte, bool) {
	if m.transport[key] == nil {
		return nil, false
	}
	secret := m.boxKey(key, mailbox)
	defer clear(secret)
	return ed25519.Sign(secret, wire.SigningInput(wire.DomainMailbox, wire.GroupID{}, payload)), true
}

// boxKey derives a box's key pair: seed ‖ public key.
func (m *Machine) boxKey(key wire.KeyID, mailbox []byte) ed25519.PrivateKey {
	seed, err := wire.BoxSeed(m.group, m.transport[key], mailbox)
	if err != nil {
		m.fail(fmt.Errorf("%w: transport key: %w", ErrCorrupt, err))
		return make([]byte, ed25519.PrivateKeySize)
	}
	defer clear(seed)
	return ed25519.NewKeyFromSeed(seed)
}

// Backlog posts what members may not have and no mailbox was told yet: for a group
// whose mailbox is new, or has lost what it held.
type Backlog struct {
	All bool // what others wrote too; else what this device wrote
}

func (Backlog) input() {}

// maxBacklog bounds what one Backlog posts, in bytes of entries and seals. Who lacks
// more has to meet a member.
const maxBacklog = 16 << 20

func (b Backlog) act(m *Machine, _ time.Time, _ *Outcome) error {
	if !m.own.Joined || !m.roster.has(m.log.Device) {
		return fmt.Errorf("posting what members may lack: %w", ErrOut)
	}
	current, ok := m.TransportKey()
	if !ok {
		return fmt.Errorf("posting what members may lack: %w: no transport key", ErrState)
	}
	items := m.unproven(b.All)
	// Who was away holds an old key. The TKEY that replaced it, with all that this
	// builds on, travelled under it before, and does so again.
	for _, id := range slices.SortedFunc(maps.Keys(m.transport), func(a, b wire.KeyID) int { return bytes.Compare(a[:], b[:]) }) {
		if t := m.tkeys[id]; id != current && t != nil && t.since != nil {
			m.post(id, slices.DeleteFunc(slices.Clone(items), func(it *item) bool { return it != t.since && !m.logs.inPast(it, t.since) }))
		}
	}
	m.post(current, items)
	return nil
}

// unproven lists entries, of this device or of all, in causal order, that are not in
// the past of what each other device of the roster wrote last: somebody may lack them.
func (m *Machine) unproven(all bool) []*item {
	heads := map[wire.DeviceID][]*item{}
	for _, l := range m.logs.lists {
		heads[l.id.Device] = append(heads[l.id.Device], l.head())
	}
	proven := func(it *item) bool {
		for id := range m.roster.devices {
			if id != m.log.Device && id != it.log.Device && !slices.ContainsFunc(heads[id], func(head *item) bool { return m.logs.inPast(it, head) }) {
				return false
			}
		}
		return true
	}
	var out []*item
	for _, l := range m.logs.lists {
		if !all && l.id.Device != m.log.Device {
			continue
		}
		for _, it := range l.items {
			if !proven(it) {
				out = append(out, it)
			}
		}
	}
	slices.SortFunc(out, (*item).compare)
	return out
}

// post has entries, and the seals of those that are records, put into the mailboxes
// under a transport key.
func (m *Machine) post(key wire.KeyID, items []*item) {
	var u wire.Bundle
	size := 0
	for _, it := range items {
		raw, err := m.get(itemKey(it))
		m.fail(err)
		u.Entries = append(u.Entries, raw)
		size += len(raw)
		if it.record != nil {
			m.fail(m.scan(rowSeal+hexed(it.hash[:])+"/", func(_ string, seal []byte) error {
				u.Seals = append(u.Seals, seal)
				size += len(seal)
				return nil
			}))
		}
		if size > maxBacklog {
			break
		}
	}
	if len(u.Entries) == 0 || m.broken != nil {
		return
	}
	for _, part := range split(u) {
		b, _, err := m.newEnvelope(key, part)
		if err != nil {
			m.fail(err)
			return
		}
		m.ready.Messages = append(m.ready.Messages, Post{Envelope: b})
	}
}
