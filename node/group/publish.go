package group

import (
	"bytes"
	"fmt"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// publish puts the objects that this Step made into envelopes. record finds a RECORD of the
// set.
func publish(tx *tx, keys *keyring, record func(wire.MessageID) *dag.Item) {
	o := &tx.outgoing
	u, sealed := o.Bundle, o.sealed
	o.Bundle, o.sealed = wire.Bundle{}, nil
	if len(u.Entries)+len(u.Seals)+len(u.Beacons) == 0 {
		return
	}
	key, ok := keys.current()
	if o.under != nil {
		key = *o.under
		o.under = nil
	}
	if !ok || !keys.of(key).named() {
		return // a joiner without keys has written nothing that others could read
	}
	for _, part := range split(u) {
		b, salt, err := keys.newEnvelope(key, part)
		if err != nil {
			tx.fail(err)
			return
		}
		if len(sealed) == 1 && len(u.Entries) <= 1 && len(u.Seals) == 1 && len(u.Beacons) == 0 {
			savePublished(tx, record(sealed[0]), salt, key, part)
		}
		out := Publish{Envelope: b, Topic: keys.topic(key)}
		for _, raw := range part.Entries {
			s, err := wire.DecodeSigned(raw, wire.MaxEntry+128)
			tx.fail(err)
			out.Entries = append(out.Entries, wire.EntryHashOf(keys.group, s.Payload))
		}
		tx.send(out)
	}
}

// envelopeRoom is the most bytes of a bundle in one envelope, with room for framing and
// padding.
const envelopeRoom = wire.MaxEnvelope * 7 / 8

// split cuts a bundle into such as fit an envelope, in order, entries first.
func split(u wire.Bundle) []wire.Bundle {
	var parts []wire.Bundle
	var part wire.Bundle
	size := 0
	put := func(list *[][]byte, b []byte) {
		*list = append(*list, b)
		size += len(b) + 8
	}
	room := func(b []byte) {
		if size > 0 && size+len(b)+8 > envelopeRoom {
			parts = append(parts, part)
			part, size = wire.Bundle{}, 0
		}
	}
	for _, b := range u.Entries {
		room(b)
		put(&part.Entries, b)
	}
	for _, b := range u.Seals {
		room(b)
		put(&part.Seals, b)
	}
	for _, b := range u.Beacons {
		room(b)
		put(&part.Beacons, b)
	}
	return append(parts, part)
}

// publishedRow says how the envelope of an own message was made, so that the very bytes can
// be made again from rows that are kept anyway.
type publishedRow struct {
	Salt  [32]byte     `cbor:"1,keyasint"`
	Key   wire.KeyID   `cbor:"2,keyasint"`
	Entry bool         `cbor:"3,keyasint"` // the RECORD was in it too
	Epoch wire.EpochID `cbor:"4,keyasint"` // of the seal
}

// savePublished keeps what it takes to make the envelope of an own message again.
func savePublished(tx *tx, it *dag.Item, salt [32]byte, key wire.KeyID, u wire.Bundle) {
	record, err := tx.get(itemKey(it))
	tx.fail(err)
	if len(u.Entries) == 1 && !bytes.Equal(u.Entries[0], record) {
		return // with another entry in it, what EnvelopeOf makes would be a second plaintext under one key
	}
	row := publishedRow{Salt: salt, Key: key, Entry: len(u.Entries) == 1, Epoch: it.Sealed[len(it.Sealed)-1]}
	tx.put(rowSalt+hexed(it.Hash[:]), wire.Marshal(&row))
}

// EnvelopeOf gives the bytes of the envelope in which this device last published
// one of its own messages. ErrUnknown: there is none, or it shared its envelope.
func (m *Machine) EnvelopeOf(id wire.MessageID) ([]byte, error) {
	b, err := m.tx.get(rowSalt + hexed(id[:]))
	if err != nil {
		return nil, err
	}
	if b == nil {
		return nil, fmt.Errorf("envelope of message %v: %w", id, verdict.ErrUnknown)
	}
	var row publishedRow
	if err := wire.Unmarshal(b, &row); err != nil {
		return nil, fmt.Errorf("%w: %w", verdict.ErrCorrupt, err)
	}
	if !m.keys.has(row.Key) {
		return nil, fmt.Errorf("envelope of message %v: %w", id, wire.ErrUnknownKey)
	}
	var u wire.Bundle
	if row.Entry {
		raw, err := m.tx.get(itemKey(m.messages.record(id)))
		if err != nil {
			return nil, err
		}
		u.Entries = [][]byte{raw}
	}
	seal, err := m.tx.get(sealKey(&wire.Seal{Message: id, Epoch: row.Epoch, Sealer: m.own.log.Device}))
	if err != nil {
		return nil, err
	}
	u.Seals = [][]byte{seal}
	return m.keys.sealBundle(row.Salt, row.Key, u)
}
