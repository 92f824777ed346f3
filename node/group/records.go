package group

import (
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"math"
	"strings"

	"github.com/pandanode/pandanode/node/wire"
)

// record gives the item of a message; nil if its record is not here.
func (m *Machine) record(id wire.MessageID) *item {
	if it := m.logs.items.at(id); it != nil && it.kind == wire.KindRecord {
		return it
	}
	return nil
}

// readable says whether a message's plaintext is durable here.
func (m *Machine) readable(id wire.MessageID) bool {
	it := m.record(id)
	return it != nil && it.facts.has(isPlain)
}

// records are all messages there are records of, in no order.
func (m *Machine) records() iter.Seq[*item] {
	return func(yield func(*item) bool) {
		for it := range m.logs.items.all() {
			if it.kind == wire.KindRecord && !yield(it) {
				return
			}
		}
	}
}

// byTime is the order of messages whose records are here.
func (m *Machine) byTime(a, b wire.MessageID) int { return m.record(a).compare(m.record(b)) }

// durableMail is what the keys of rows say of messages.
type durableMail struct {
	plain, told []wire.MessageID
	seals       map[wire.MessageID]uint8
	sealed      map[wire.MessageID][]wire.EpochID // by this device
}

// scanMail finds out what is durable of messages, by keys alone. It touches nothing
// that loadEntries does: New runs both at once, and then notes what it found.
func (m *Machine) scanMail() (durableMail, error) {
	about := min(m.tx.cursor, 1<<20) // every message that was shown is an event
	d := durableMail{
		plain: make([]wire.MessageID, 0, about), told: make([]wire.MessageID, 0, about),
		seals: make(map[wire.MessageID]uint8, about), sealed: map[wire.MessageID][]wire.EpochID{},
	}
	return d, errors.Join(
		m.tx.durableKeys(rowPlain, func(key string) error {
			id, err := lastHex(key)
			d.plain = append(d.plain, wire.MessageID(id))
			return err
		}),
		m.tx.durableKeys(rowIndex, func(key string) error {
			id, err := lastHex(key)
			d.told = append(d.told, wire.MessageID(id))
			return err
		}),
		m.tx.durableKeys(rowSeal, func(key string) error {
			message, epoch, sealer, err := splitSealKey(key)
			if err != nil {
				return err
			}
			d.seals[message] = min(d.seals[message], math.MaxUint8-1) + 1
			if sealer == m.log.Device {
				d.sealed[message] = append(d.sealed[message], epoch)
			}
			return nil
		}),
	)
}

// noteMail puts what scanMail found into the items.
func (m *Machine) noteMail(d durableMail) {
	for _, id := range d.plain {
		if it := m.record(id); it != nil {
			it.note(isPlain)
			it.body = unsealed
		}
	}
	for _, id := range d.told {
		if it := m.record(id); it != nil {
			it.note(wasTold)
		}
	}
	for id, n := range d.seals {
		if it := m.record(id); it != nil {
			it.seals = n
		}
	}
	for id, epochs := range d.sealed {
		if it := m.record(id); it != nil {
			for _, epoch := range epochs {
				m.mail.noteSealed(it, epoch)
			}
		}
	}
}

func splitSealKey(key string) (wire.MessageID, wire.EpochID, wire.DeviceID, error) {
	parts := strings.Split(strings.TrimPrefix(key, rowSeal), "/")
	var ids [3]wire.Hash
	if len(parts) != len(ids) {
		return wire.MessageID{}, wire.EpochID{}, wire.DeviceID{}, fmt.Errorf("%w: key %q", ErrCorrupt, key)
	}
	for i, p := range parts {
		b, err := hex.DecodeString(p)
		if err != nil || len(b) != len(ids[i]) {
			return wire.MessageID{}, wire.EpochID{}, wire.DeviceID{}, fmt.Errorf("%w: key %q", ErrCorrupt, key)
		}
		ids[i] = wire.Hash(b)
	}
	return wire.MessageID(ids[0]), wire.EpochID(ids[1]), wire.DeviceID(ids[2]), nil
}
