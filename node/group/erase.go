package group

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// To erase a message is to drop its text, its salt and its seals in one transaction, with
// those of its edits and reactions; of more than a transaction holds, these go first. The log keeps the RECORD, with a hash that nobody can
// guess from, since the salt had 256 bits. A row stays that says who took it away.
//
// A deletion by the author's own user erases as soon as it can be read, whether or not the
// message has come: a member who comes later gets the deletion and misses nothing. One by
// somebody else hides at once, and erases once nothing that stands has voided it for a
// while: until then it can turn out that its author had no right to it.

// A message whose RECORD says until when it is wanted goes in the same way, at those who
// have it and at those who do not: a device that never saw it does not want it. The end of
// dates decides, see package clock, so that a clock that jumps, or was wrong from the start,
// erases nothing.

// doomedRow says when a message is erased.
type doomedRow struct {
	At uint64 `cbor:"1,keyasint"` // milliseconds since 1970
}

// load notes what is durable.
func (s *sayings) load(d durableMessages) {
	s.targets = d.targets
	for _, id := range d.deleted {
		s.contested[id] = true
	}
	for _, id := range d.gone {
		delete(s.contested, id)
		if it := s.record(id); it != nil {
			it.Note(dag.IsTaken | dag.IsDelivered)
		}
	}
	s.loadTimes(rowDoomed, func(id wire.MessageID, at uint64) {
		s.doomed.plan(id, at)
		if it := s.record(id); it != nil {
			it.Note(dag.IsTaken)
		}
	})
	s.loadTimes(rowExpiring, func(id wire.MessageID, at uint64) { s.expiring.plan(id, at) })
}

func (s *sayings) loadTimes(rows string, note func(wire.MessageID, uint64)) {
	s.tx.fail(s.tx.scan(rows, func(key string, v []byte) error {
		id, err := lastHex(key)
		var row doomedRow
		if err == nil {
			err = wire.Unmarshal(v, &row)
		}
		if err != nil {
			return fmt.Errorf("%w: %q: %w", verdict.ErrCorrupt, key, err)
		}
		note(wire.MessageID(id), row.At)
		return nil
	}))
}

// arrived takes a RECORD that came into the set, or was written here.
func (s *sayings) arrived(now time.Time, it *dag.Item, r *wire.Record) {
	if r == nil {
		return
	}
	if r.About != nil {
		s.note(it.Hash, saysRecord, *r.About)
		clear(s.unread)
		if target := s.record(*r.About); target != nil && isErased(target) {
			s.eraseLike(now, it, target)
		}
	}
	if r.Expires != 0 && !isErased(it) {
		s.tx.put(rowExpiring+hexed(it.Hash[:]), wire.Marshal(&doomedRow{At: r.Expires}))
		if s.expiring.plan(it.Hash, r.Expires); s.expiring.over(now, r.Expires) {
			s.erase(now, it, wire.MessageID{})
		}
	}
	s.review(now, it)
}

// came takes a message whose text has come. Its words about others count from here on, even
// if it is shown only once those before it have come.
func (s *sayings) came(now time.Time, it *dag.Item) {
	r, err := s.read(it)
	if err != nil {
		s.tx.fail(err)
		return
	}
	for _, about := range says(r.said) {
		s.note(it.Hash, about.what, about.target)
		target := s.record(about.target)
		if about.what == saysDelete {
			s.contested[about.target] = true
			if target != nil {
				s.review(now, target)
			}
		}
	}
	s.review(now, it)
}

// review judges the deletions of a message, if there are any.
func (s *sayings) review(now time.Time, it *dag.Item) {
	if !s.contested[it.Hash] || isErased(it) {
		return
	}
	d, err := s.deletion(it)
	defer s.judged()
	switch at, waits := s.doomed.at[it.Hash]; {
	case err != nil:
		s.tx.fail(err)
	case d == nil:
		if it.Facts.Has(dag.IsTaken) {
			it.Drop(dag.IsTaken)
			s.hidden(it)
		}
		if waits {
			delete(s.doomed.at, it.Hash)
			s.tx.del(rowDoomed + hexed(it.Hash[:]))
		}
	case d.User == it.User || waits && s.doomed.over(now, at):
		s.erase(now, it, d.Hash)
	default:
		if !it.Facts.Has(dag.IsTaken) {
			it.Note(dag.IsTaken)
			s.hidden(it)
		}
		if !waits {
			at := uint64(s.timers.kept(now).Add(erasedAfter).UnixMilli()) //nolint:gosec // after 1970
			s.tx.put(rowDoomed+hexed(it.Hash[:]), wire.Marshal(&doomedRow{At: at}))
			s.doomed.plan(it.Hash, at)
		}
	}
}

// judgeAgain judges all deletions again, after the roster changed.
func (s *sayings) judgeAgain(now time.Time) {
	for _, id := range slices.SortedFunc(maps.Keys(s.contested), byID) {
		if it := s.record(id); it != nil {
			s.review(now, it)
		}
	}
}

// retire erases what has expired, or been deleted for long enough.
func (s *sayings) retire(now time.Time) {
	s.expiring.each(now, func(id wire.MessageID) {
		if it := s.record(id); it != nil && !s.tx.full() {
			s.erase(now, it, wire.MessageID{})
		}
	})
	s.doomed.each(now, func(id wire.MessageID) {
		if it := s.record(id); it != nil && !s.tx.full() {
			s.review(now, it)
		}
	})
}

// erase erases a message, and what its RECORD says is about it, be it here or not: its edits
// and reactions. Deletions stay, which hold no text: members who come later need them. The
// message goes last: if a turn has no room for all, it is there to go on from.
func (s *sayings) erase(now time.Time, it *dag.Item, by wire.MessageID) {
	var words []*dag.Item
	s.tx.fail(s.tx.scanKeys(aboutKey(it.Hash, saysRecord), func(key string) error {
		id, err := lastHex(key)
		if err != nil {
			return err
		}
		o := s.record(wire.MessageID(id))
		if o == nil || isErased(o) {
			return nil
		}
		deletes, err := s.tx.get(aboutKey(it.Hash, saysDelete) + hexed(id[:]))
		if deletes == nil {
			words = append(words, o)
		}
		return err
	}))
	for _, o := range words {
		if s.tx.full() {
			eraseSoon(s, now, it)
			return
		}
		s.eraseOne(now, o, by)
	}
	s.eraseOne(now, it, by)
}

// eraseSoon has a message erased in a later turn, also after a restart.
func eraseSoon(s *sayings, now time.Time, it *dag.Item) {
	it.Note(dag.IsTaken)
	s.hidden(it)
	at := uint64(s.timers.kept(now).UnixMilli()) //nolint:gosec // after 1970
	s.tx.put(rowDoomed+hexed(it.Hash[:]), wire.Marshal(&doomedRow{At: at}))
	s.doomed.plan(it.Hash, at)
}

// eraseLike erases a message by the word that erased another.
func (s *sayings) eraseLike(now time.Time, it, other *dag.Item) {
	row, err := s.gone(other)
	if err != nil {
		s.tx.fail(err)
		return
	}
	s.eraseOne(now, it, row.By)
}

func (s *sayings) eraseOne(now time.Time, it *dag.Item, by wire.MessageID) {
	id := hexed(it.Hash[:])
	s.tx.put(rowGone+id, wire.Marshal(&goneRow{By: by, At: uint64(s.timers.kept(now).UnixMilli())})) //nolint:gosec // after 1970
	var seals []string
	s.tx.fail(s.tx.scanKeys(rowSeal+id+"/", func(key string) error { seals = append(seals, key); return nil }))
	for _, key := range append(seals, rowPlain+id, rowSalt+id, rowDoomed+id, rowExpiring+id) {
		s.tx.del(key)
	}
	s.tx.ready.Erased = true
	delete(s.contested, it.Hash)
	delete(s.doomed.at, it.Hash)
	delete(s.expiring.at, it.Hash)
	it.Drop(dag.IsPlain)
	it.Note(dag.IsTaken | dag.IsDelivered)
	it.Seals = 0
	clear(s.unread)
	s.erased(it)
	s.judged()
}
