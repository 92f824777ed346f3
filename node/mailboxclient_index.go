package node

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// The index of the entries in mailboxes: which box has which, and which came to this
// device and are in none. Without it members would put again, and again after each start,
// what is there.

const (
	maxHas  = 1 << 16 // entries that are known to be in one box
	maxLate = 1 << 14 // entries that are not known to be in any
)

// write makes rows durable that change sets, by parts; a nil value deletes.
func (x *mailboxClient) write(change func(set func(key, value []byte))) error {
	var all []storage.Write
	change(func(key, value []byte) { all = append(all, storage.Write{Key: key, Value: value}) })
	for some := range slices.Chunk(all, 1024) {
		if err := x.apply(storage.Batch{Writes: some}); err != nil {
			return fmt.Errorf("%w: %w", ErrStore, err)
		}
	}
	return nil
}

// loadLate reads which entries are not known to be in a mailbox.
func (x *mailboxClient) loadLate() error {
	prefix := x.keys.latePrefix()
	return x.g.n.store.Scan(prefix, func(key, value []byte) error {
		if e := key[len(prefix):]; len(e) == len(wire.EntryHash{}) && len(value) == 8 {
			x.late[wire.EntryHash(e)] = time.UnixMilli(int64(binary.BigEndian.Uint64(value))) //nolint:gosec // written by this node
		}
		return nil
	})
}

// came gives the writes that note entries which came and which no mailbox may have. The
// caller holds mu.
func (x *mailboxClient) came(entries []wire.EntryHash) (out []storage.Write) {
	now := time.Now()
	for _, e := range entries {
		if len(x.late) >= maxLate {
			return append(out, x.owe()...)
		}
		x.late[e] = now
		out = append(out, storage.Write{Key: x.keys.late(e), Value: wire.U64(milliseconds(now))})
	}
	return out
}

// newBoxReading returns the durable state of reading a box.
func (v *mailVisit) newBoxReading(k wire.KeyID) (*boxReading, error) {
	known := v.x.durable(v.p, k)
	r := &boxReading{at: known.After, has: make(map[wire.EntryHash]uint64)}
	prefix := append(v.x.keys.boxedPrefix(), k[:]...)
	var stale [][]byte
	if err := v.x.g.n.store.Scan(prefix, func(key, value []byte) error {
		rest := key[len(prefix):]
		if len(rest) < len(wire.EntryHash{}) || len(value) != 16 || peer.ID(rest[len(wire.EntryHash{}):]) != v.p {
			return nil
		}
		if binary.BigEndian.Uint64(value) != known.Life {
			stale = append(stale, slices.Clone(key))
			return nil
		}
		r.has[wire.EntryHash(rest[:len(wire.EntryHash{})])] = binary.BigEndian.Uint64(value[8:])
		return nil
	}); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStore, err)
	}
	return r, v.x.write(func(set func(key, value []byte)) {
		for _, key := range stale {
			set(key, nil)
		}
	})
}

// dropBoxed forgets the index of boxes that are not kept.
func (x *mailboxClient) dropBoxed(keep func(p peer.ID, k wire.KeyID) bool) error {
	prefix := x.keys.boxedPrefix()
	var gone [][]byte
	if err := x.g.n.store.ScanKeys(prefix, func(key []byte) error {
		const at = len(wire.KeyID{}) + len(wire.EntryHash{})
		if rest := key[len(prefix):]; len(rest) < at || !keep(peer.ID(rest[at:]), wire.KeyID(rest[:len(wire.KeyID{})])) {
			gone = append(gone, slices.Clone(key))
		}
		return nil
	}); err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	return x.write(func(set func(key, value []byte)) {
		for _, key := range gone {
			set(key, nil)
		}
	})
}

// holds says whether an entry is in the box, as far as is known.
func (r *boxReading) holds(e wire.EntryHash) bool {
	at, ok := r.has[e]
	return ok && at >= r.low
}

// boxed notes entries that a box holds at a cursor.
func (x *mailboxClient) boxed(r *boxReading, at uint64, entries []wire.EntryHash) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, e := range entries {
		if _, ok := x.late[e]; ok {
			delete(x.late, e)
			r.found = append(r.found, e)
		}
		if had, ok := r.has[e]; at > had && (ok || len(r.has) < maxHas) { // one too many is put again
			r.has[e] = at
			r.news = append(r.news, e)
		}
	}
}

// saveBoxed makes the news about a box durable.
func (v *mailVisit) saveBoxed(k wire.KeyID, r *boxReading) error {
	life := v.x.durable(v.p, k).Life
	if err := v.x.write(func(set func(key, value []byte)) {
		for _, e := range r.news {
			if at, ok := r.has[e]; ok {
				set(v.x.keys.boxed(v.p, k, e), append(wire.U64(life), wire.U64(at)...))
			}
		}
		for _, e := range r.found {
			set(v.x.keys.late(e), nil)
		}
	}); err != nil {
		return err
	}
	r.news, r.found = nil, nil
	return nil
}

// look finds out what of a box the mailbox has deleted, now and then. Envelopes get old in
// the order of their cursors, so that it is all up to the first that is left.
func (v *mailVisit) look(s *mailStream, r *boxReading) error {
	known := v.x.durable(s.peer, s.box.Key)
	if time.Since(r.looked) < backlogEvery || known.Life == 0 {
		return nil
	}
	r.looked = time.Now()
	reply, err := s.ask(wire.MailRequest{List: new(wire.MailList)})
	if err != nil {
		return err
	}
	r.low = r.at + 1
	if len(reply.Heads) > 0 {
		r.low = reply.Heads[0].At
	}
	if err := v.x.write(func(set func(key, value []byte)) {
		maps.DeleteFunc(r.has, func(e wire.EntryHash, at uint64) bool {
			if at < r.low {
				set(v.x.keys.boxed(s.peer, s.box.Key, e), nil)
			}
			return at < r.low
		})
	}); err != nil {
		return err
	}
	if known.Mark+1 >= r.low && r.at > 0 {
		return nil // nothing that somebody may lack
	}
	return v.x.save(s.peer, func(row *mailingRow) { row.owe(time.Now()) })
}
