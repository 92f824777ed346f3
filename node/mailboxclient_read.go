package node

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// Bounds on the memory of reading, in one run.
const (
	maxOpenMail = maxInBox // cursors of one box, of envelopes that could not be used yet: all that a mailbox keeps
	maxVainMail = 4 << 20  // bytes of one box that a visit fetches again in vain
	maxSeenMail = 1 << 13  // hashes of envelopes
)

// mailReading is the progress of reading one mailbox, beyond the durable one.
type mailReading struct {
	boxes map[wire.KeyID]*boxReading
	tried time.Time // when all that is owed was last put, or could not be; zero: it is being put
	asked time.Time // when it was last looked who came back
}

// boxReading is the same for one box.
type boxReading struct {
	at      uint64   // cursor up to which it was read
	open    []uint64 // cursors before it of envelopes that could not be used yet, ascending
	entries int      // the group had when they were tried
	turn    uint64   // cursor from which they are tried next
	vain    int      // bytes that this visit fetched and that are still of no use
	missed  bool     // there are more than open holds

	has    map[wire.EntryHash]uint64 // entries in it, and where
	low    uint64                    // cursor of the first that is left, when it was last looked
	looked time.Time
	news   []wire.EntryHash // of has: not durable yet
	found  []wire.EntryHash // have rows as late, and are in a mailbox
}

// restart has all of the box read: it is another one than before.
func (r *boxReading) restart() {
	*r = boxReading{vain: r.vain, found: r.found, has: make(map[wire.EntryHash]uint64)}
}

// saw notes an envelope that gossip brought, so that it is not fetched, and the entries
// in it.
func (x *mailboxClient) saw(envelope []byte, entries []wire.EntryHash) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.assigned {
		x.remember(sha256.Sum256(wire.Boxed(envelope)), entries)
	}
}

// remember is saw with mu held.
func (x *mailboxClient) remember(h wire.Hash, entries []wire.EntryHash) {
	if _, ok := x.seen[h]; ok {
		return
	}
	switch {
	case len(x.ring) < maxSeenMail:
		x.ring = append(x.ring, h)
	default:
		delete(x.seen, x.ring[x.next])
		x.ring[x.next] = h
		x.next = (x.next + 1) % maxSeenMail
	}
	x.seen[h] = entries
}

// boxes lists the group's boxes at a mailbox, and how many entries the group has.
func (v *mailVisit) boxes(ctx context.Context) (boxes []group.Box, entries int, err error) {
	err = v.x.g.loop.look(ctx, func(m *group.Machine) error {
		boxes, entries = m.Mail().Boxes([]byte(v.p)), m.Status().Entries
		return nil
	})
	return boxes, entries, err
}

// readAll reads new envelopes in the boxes of all transport keys, also of keys that the
// reading brings.
func (v *mailVisit) readAll(ctx context.Context) ([]group.Box, error) {
	read := make(map[wire.KeyID]bool)
	for {
		boxes, entries, err := v.boxes(ctx)
		if err != nil {
			return nil, err
		}
		more := false
		for _, b := range boxes {
			if read[b.Key] {
				continue
			}
			read[b.Key], more = true, true
			if v.r.boxes[b.Key] == nil {
				if v.r.boxes[b.Key], err = v.newBoxReading(b.Key); err != nil {
					return nil, err
				}
			}
			if err := v.read(ctx, b, v.r.boxes[b.Key], entries); err != nil {
				return nil, err
			}
		}
		if !more {
			gone := len(v.r.boxes) > len(read) // as their keys are
			if gone {
				maps.DeleteFunc(v.r.boxes, func(k wire.KeyID, _ *boxReading) bool { return !read[k] })
				err = v.x.dropBoxed(func(of peer.ID, k wire.KeyID) bool { return of != v.p || read[k] })
			}
			return boxes, err
		}
	}
}

// readAgain tries again what was of no use before, as long as there is news, and reads
// the boxes that come of it.
func (v *mailVisit) readAgain(ctx context.Context, boxes []group.Box) ([]group.Box, error) {
	for _, b := range v.r.boxes {
		b.vain = 0
	}
	for range mailPasses {
		now, entries, err := v.boxes(ctx)
		if err != nil {
			return nil, err
		}
		if len(now) != len(boxes) {
			if boxes, err = v.readAll(ctx); err != nil {
				return nil, err
			}
		}
		tried := false
		for _, b := range boxes {
			open := v.r.boxes[b.Key]
			if len(open.open) == 0 || open.entries == entries || open.vain >= maxVainMail {
				continue
			}
			tried = true
			if err := v.retry(ctx, b, open, entries); err != nil {
				return nil, err
			}
		}
		if !tried {
			break
		}
	}
	return boxes, nil
}

// read steps the new envelopes in a box.
func (v *mailVisit) read(ctx context.Context, b group.Box, r *boxReading, entries int) error {
	s, err := v.open(ctx, b, nil)
	if err != nil {
		return err
	}
	defer s.abandon()
	if r.missed && len(r.open) == 0 {
		r.at, r.missed = v.x.durable(v.p, b.Key).After, false // what did not fit into open is read again
	}
	if len(r.open) == 0 {
		r.entries = entries
	}
	other := false
	for {
		reply, err := s.ask(wire.MailRequest{List: &wire.MailList{After: r.at}})
		if err != nil {
			return err
		}
		if known := v.x.durable(v.p, b.Key); reply.Life != known.Life {
			// Another box than before, or none: cursors begin anew, and what was put is gone.
			if other {
				return fmt.Errorf("%w: the mailbox names two lives of one box", errProtocol)
			}
			other = true
			if err := v.begun(b, r, reply.Life, func(*mailingBoxR) {}); err != nil {
				return err
			}
			if reply.Life == 0 {
				break
			}
			continue
		}
		if len(reply.Heads) == 0 {
			break
		}
		if reply.Heads[0].At <= r.at {
			return fmt.Errorf("%w: the mailbox lists envelopes from before the cursor", errProtocol)
		}
		for wanted := v.unseen(r, reply.Heads); len(wanted) > 0; {
			rest, err := v.takeSome(ctx, s, r, wanted)
			if err != nil {
				r.open = slices.DeleteFunc(r.open, func(at uint64) bool { return at > r.at }) // they are listed again
				return err
			}
			r.at = wanted[len(wanted)-len(rest)-1]
			wanted = rest
			if err := v.saveAfter(b, r); err != nil { // who has little time, or a slow line, gets on all the same
				return err
			}
		}
		r.at = reply.Heads[len(reply.Heads)-1].At
	}
	if err := v.look(s, r); err != nil {
		return err
	}
	s.close()
	return v.saveAfter(b, r)
}

// unseen gives the cursors of envelopes that this device has not seen.
func (v *mailVisit) unseen(r *boxReading, heads []wire.MailHead) (wanted []uint64) {
	for _, h := range heads {
		v.x.mu.Lock()
		entries, seen := v.x.seen[h.Hash]
		v.x.mu.Unlock()
		if seen {
			v.x.boxed(r, h.At, entries)
		} else {
			wanted = append(wanted, h.At)
		}
	}
	return wanted
}

// retry steps again what was of no use before, in turns: whatever a member has put there
// that never is of use takes a bounded part of a visit.
func (v *mailVisit) retry(ctx context.Context, b group.Box, r *boxReading, entries int) error {
	s, err := v.open(ctx, b, nil)
	if err != nil {
		return err
	}
	defer s.abandon()
	tried := r.open
	from, _ := slices.BinarySearch(tried, r.turn)
	r.open, r.turn = nil, 0
	for _, part := range [][]uint64{tried[from:], tried[:from]} {
		for some := range slices.Chunk(part, wire.MaxMailFetch) {
			if r.vain >= maxVainMail {
				if r.turn == 0 {
					r.turn = some[0]
				}
				r.open = append(r.open, some...)
			} else if err := v.take(ctx, s, r, some); err != nil {
				r.open = tried
				return err
			}
		}
	}
	s.close()
	slices.Sort(r.open)
	if r.turn == 0 {
		r.entries = entries // all were tried
	}
	return v.saveAfter(b, r)
}

// saveAfter makes durable up to where nothing of a box has to be read again.
func (v *mailVisit) saveAfter(b group.Box, r *boxReading) error {
	if err := v.saveBoxed(b.Key, r); err != nil {
		return err
	}
	if r.missed {
		return nil
	}
	after := r.at
	if len(r.open) > 0 {
		after = r.open[0] - 1
	}
	return v.x.save(v.p, func(row *mailingRow) { row.box(b.Key).After = after })
}

// begun notes that a mailbox has another box than before, or none: all of it is to be
// read, and what was put into the one before has to be put again.
func (v *mailVisit) begun(b group.Box, r *boxReading, life uint64, change func(*mailingBoxR)) error {
	r.restart()
	return v.x.save(v.p, func(row *mailingRow) {
		box := row.box(b.Key)
		if box.Life != 0 {
			row.owe(time.Now())
		}
		box.Life, box.After, box.Mark = life, 0, 0
		change(box)
	})
}

// take fetches envelopes and steps them. Those that are of no use yet, since what they
// build on is not here, are open; what is of none for good is not fetched again.
func (v *mailVisit) take(ctx context.Context, s *mailStream, r *boxReading, cursors []uint64) (err error) {
	for len(cursors) > 0 && err == nil {
		cursors, err = v.takeSome(ctx, s, r, cursors)
	}
	return err
}

// takeSome is take of as many as the mailbox gives at once, and gives the rest.
func (v *mailVisit) takeSome(ctx context.Context, s *mailStream, r *boxReading, cursors []uint64) (rest []uint64, err error) {
	some := cursors[:min(len(cursors), wire.MaxMailFetch)]
	reply, err := s.ask(wire.MailRequest{Fetch: some})
	if err != nil {
		return nil, err
	}
	for _, item := range reply.Items {
		if !slices.Contains(some, item.At) {
			return nil, fmt.Errorf("%w: the mailbox gave envelopes that were not asked for", errProtocol)
		}
		v.x.g.n.metrics.MailGot.Add(1)
		envelope := wire.Unboxed(s.box.Tag, s.box.Key, item.Boxed)
		out, err := v.x.g.loop.step(ctx, group.Envelope{Bytes: envelope})
		v.x.boxed(r, item.At, out.Entries)
		switch worst := verdictOf(out, err); {
		case undecided(err), ctx.Err() != nil:
			return nil, err // it is read again
		case err == nil:
			v.x.saw(envelope, out.Entries)
		case worst == verdict.Reject:
			v.x.g.log.Debug("an envelope from a mailbox is no good", "peer", s.peer, "err", err)
		case verdict.Waits(err):
			r.vain += len(item.Boxed)
			if r.open = append(r.open, item.At); len(r.open) > maxOpenMail {
				r.open, r.missed = r.open[1:], true
			}
		default:
			v.x.g.log.Debug("an envelope from a mailbox is of no use", "peer", s.peer, "err", err)
		}
	}
	if len(reply.Items) == 0 {
		return cursors[len(some):], nil // gone
	}
	last := reply.Items[len(reply.Items)-1].At
	return cursors[slices.Index(cursors, last)+1:], nil
}
