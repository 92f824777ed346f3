package node

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// A mailbox can lack what members need: its author may be gone without having put it, it
// may have been too much to wait, the mailbox may be new, have lost its store, or have
// deleted it since it was old. An entry that is missing there holds up all that builds on it, so
// members look after what is there, each for what it wrote itself, and by turns for what
// others wrote. None puts what it knows to be there.

const (
	backlogEvery = time.Hour        // between looks at the missing entries of a mailbox, and after one without success
	backlogTurn  = time.Hour        // between members that could put entries of others
	lateTurn     = 30 * time.Minute // the same where its author could still put it
	backlogPart  = 384 << 10        // bytes of entries and seals put at once, about
)

// owe has a mailbox looked at for all that it lacks. The caller holds mu.
func (x *mailboxClient) owe() (out []storage.Write) {
	x.overflows++
	for p, row := range x.at {
		row.owe(time.Now())
		out = append(out, storage.Write{Key: x.keys.progress(p), Value: wire.Marshal(row)})
	}
	return out
}

// owe notes that the mailbox may lack something since now.
func (r *mailingRow) owe(now time.Time) {
	if r.Own = false; r.Owed == 0 {
		r.Owed = milliseconds(now)
	}
}

// missing lists the entries to put into a mailbox because they are not there.
type missing struct {
	owed      bool // all of this device, and with others of everybody
	others    bool
	late      map[wire.EntryHash]bool // these too: their authors had their time
	overflows int                     // of the outbox, before
}

func (l *missing) wants(e group.OwingEntry) bool {
	return l.owed && (e.Own || l.others) || l.late[e.Hash]
}

// passed says whether so much time went by since then. A clock that was set back does not
// tell: waiting for it to get there again could take years.
func passed(since, now time.Time, much time.Duration) bool {
	ago := now.Sub(since)
	return ago < 0 || ago >= much
}

// missing says which entries it is time to look for in a mailbox.
func (v *mailVisit) missing(ctx context.Context) (l missing, err error) {
	now := time.Now()
	v.x.mu.Lock()
	var row mailingRow
	if at := v.x.at[v.p]; at != nil {
		row = *at
	}
	v.x.mu.Unlock()
	turn, back := 0, false
	if err := v.x.g.loop.look(ctx, func(m *group.Machine) error {
		turn = m.Mail().Turn()
		if row.Owed == 0 && row.Checked != 0 && now.Sub(v.r.asked) >= backlogEvery {
			v.r.asked = now
			back = m.Mail().CameBack(time.UnixMilli(int64(row.Checked)), v.x.g.n.clock.now()) //nolint:gosec // written by this node
		}
		return nil
	}); err != nil {
		return l, err
	}
	if back {
		if err := v.x.save(v.p, func(row *mailingRow) { row.owe(now) }); err != nil {
			return l, err
		}
	}
	v.x.mu.Lock()
	defer v.x.mu.Unlock()
	l.overflows = v.x.overflows
	if at := v.x.at[v.p]; at != nil && at.Owed != 0 && now.Sub(v.r.tried) >= backlogEvery {
		l.owed = true
		l.others = passed(time.UnixMilli(int64(at.Owed)), now, time.Duration(turn)*backlogTurn) //nolint:gosec // written by this node
	}
	l.late = make(map[wire.EntryHash]bool)
	for e, came := range v.x.late {
		if passed(came, now, time.Duration(1+turn)*lateTurn) {
			l.late[e] = true
		}
	}
	return l, nil
}

// bring puts entries into a mailbox that members may lack and that are not there.
func (v *mailVisit) bring(ctx context.Context, boxes []group.Box) error {
	l, err := v.missing(ctx)
	if err != nil || !l.owed && len(l.late) == 0 {
		return err
	}
	var all []group.Owing
	if err := v.x.g.loop.look(ctx, func(m *group.Machine) (err error) { all, err = m.Mail().Owing(v.x.g.n.clock.now()); return err }); errors.Is(err, verdict.ErrOut) || errors.Is(err, verdict.ErrState) {
		return nil // it waits until this device is a member again
	} else if err != nil {
		return err
	}
	if l.owed {
		v.r.tried = time.Now()
	}
	var failed error
	later := false
	proven := maps.Clone(l.late)
	for _, o := range all {
		at := slices.IndexFunc(boxes, func(b group.Box) bool { return b.Key == o.Key })
		if at < 0 {
			later = true // its key came just now: the next visit reads the box first
			continue
		}
		var missing []wire.EntryHash
		for _, e := range o.Entries {
			delete(proven, e.Hash)
			if l.wants(e) && !v.r.boxes[o.Key].holds(e.Hash) {
				missing = append(missing, e.Hash)
			}
		}
		if err := v.bringTo(ctx, boxes[at], boxes, missing); errors.Is(err, errMailFull) || errors.Is(err, errMailClosed) {
			failed = errors.Join(failed, err)
		} else if err != nil {
			return err
		}
	}
	if failed != nil {
		return failed
	}
	if later {
		v.r.tried = time.Time{}
		return nil
	}
	if err := v.x.nobodyLacks(slices.Collect(maps.Keys(proven))); err != nil || !l.owed {
		return err
	}
	return v.brought(boxes, &l, all)
}

// bringTo puts entries into one box.
func (v *mailVisit) bringTo(ctx context.Context, b group.Box, boxes []group.Box, entries []wire.EntryHash) error {
	box := v.r.boxes[b.Key]
	for len(entries) > 0 {
		var parcels []parcel
		taken := 0
		if err := v.x.g.loop.look(ctx, func(m *group.Machine) error {
			envelopes, n, err := m.Mail().EnvelopesWith(b.Key, entries, backlogPart)
			for _, e := range envelopes {
				parcels = append(parcels, parcel{envelope: e})
			}
			taken = n
			return err
		}); err != nil {
			return err
		}
		if err := v.putParcels(ctx, b, boxes, box, parcels); err != nil {
			return err
		}
		v.x.boxed(box, box.at+1, entries[:taken]) // that it is not before this is enough to know
		if err := v.saveBoxed(b.Key, box); err != nil {
			return err
		}
		entries = entries[taken:]
		v.r.tried = time.Time{} // it gets on: if it ends here, the next visit goes on
	}
	return nil
}

// nobodyLacks forgets late entries that all members have.
func (x *mailboxClient) nobodyLacks(entries []wire.EntryHash) error {
	x.mu.Lock()
	for _, e := range entries {
		delete(x.late, e)
	}
	x.mu.Unlock()
	return x.write(func(set func(key, value []byte)) {
		for _, e := range entries {
			set(x.keys.late(e), nil)
		}
	})
}

// brought notes that a mailbox has all entries that it was owed: those of this device, or
// all. From then on only what gets old there is to be looked for.
func (v *mailVisit) brought(boxes []group.Box, l *missing, all []group.Owing) error {
	v.r.tried = time.Now()
	marks := make(map[wire.KeyID]uint64)
	for _, b := range boxes {
		marks[b.Key] = v.r.boxes[b.Key].at
	}
	for _, o := range all {
		if box := v.r.boxes[o.Key]; box != nil {
			for _, e := range o.Entries {
				if box.holds(e.Hash) {
					marks[o.Key] = min(marks[o.Key], box.has[e.Hash]-1)
				}
			}
		}
	}
	return v.x.save(v.p, func(row *mailingRow) {
		if v.x.overflows != l.overflows {
			return // more was too much meanwhile
		}
		if row.Own = true; !l.others {
			return
		}
		row.Owed, row.Own, row.Checked = 0, false, milliseconds(time.Now())
		for k, at := range marks {
			row.box(k).Mark = at
		}
	})
}
