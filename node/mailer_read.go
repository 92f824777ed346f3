package node

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// Bounds of what reading remembers, in one run.
const (
	maxOpenMail = 1 << 10 // cursors of one box, of envelopes that could not be used yet
	maxSeenMail = 1 << 13 // hashes of envelopes
)

// mailReading is where reading is in one mailbox, beyond what is durable.
type mailReading struct {
	boxes   map[wire.KeyID]*boxReading
	backlog time.Time // when one was last posted
}

// boxReading is the same for one box.
type boxReading struct {
	at      uint64   // cursor up to which it was read
	open    []uint64 // cursors before it of envelopes that could not be used yet, ascending
	entries int      // the group had when they were tried
	missed  bool     // there are more than open holds
}

// saw notes an envelope that gossip brought, so that it is not fetched.
func (x *mailer) saw(envelope []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.assigned {
		x.remember(sha256.Sum256(wire.Boxed(envelope)))
	}
}

// remember is saw with mu held.
func (x *mailer) remember(h wire.Hash) {
	switch {
	case x.seen[h]:
		return
	case len(x.ring) < maxSeenMail:
		x.ring = append(x.ring, h)
	default:
		delete(x.seen, x.ring[x.next])
		x.ring[x.next] = h
		x.next = (x.next + 1) % maxSeenMail
	}
	x.seen[h] = true
}

// readAll reads the boxes of all transport keys, those that the reading brings too.
func (x *mailer) readAll(ctx context.Context, p peer.ID, r *mailReading) ([]group.Box, error) {
	var boxes []group.Box
	entries := func() (n int, err error) {
		err = x.g.loop.look(ctx, func(m *group.Machine) error { boxes, n = m.Boxes([]byte(p)), m.Status().Entries; return nil })
		return n, err
	}
	had, err := entries()
	if err != nil {
		return nil, err
	}
	for range mailPasses {
		known := len(boxes)
		for _, b := range boxes {
			if r.boxes[b.Key] == nil {
				r.boxes[b.Key] = &boxReading{at: x.durable(p, b.Key).After}
			}
			if err := x.read(ctx, p, b, r.boxes[b.Key], had); err != nil {
				return nil, err
			}
		}
		has, err := entries()
		if err != nil {
			return nil, err
		}
		again := slices.ContainsFunc(slices.Collect(maps.Values(r.boxes)), func(b *boxReading) bool { return len(b.open) > 0 && b.entries != has })
		if had = has; !again && len(boxes) == known {
			break
		}
	}
	return boxes, nil
}

// read steps what is new in a box, and what was of no use before if there has been
// news since.
func (x *mailer) read(ctx context.Context, p peer.ID, b group.Box, r *boxReading, entries int) error {
	s, err := x.open(ctx, p, b, nil)
	if err != nil {
		return err
	}
	defer s.abandon()
	if r.missed && len(r.open) == 0 {
		r.at, r.missed = x.durable(p, b.Key).After, false // what did not fit into open is read again
	}
	if len(r.open) > 0 && r.entries != entries {
		tried := r.open
		r.open = nil
		if err := x.take(ctx, s, r, tried); err != nil {
			r.open = tried
			return err
		}
	}
	r.entries = entries
	other := false
	for {
		reply, err := s.ask(wire.MailRequest{List: &wire.MailList{After: r.at}})
		if err != nil {
			return err
		}
		if known := x.durable(p, b.Key); reply.Life != known.Life {
			// Another box than before, or none: cursors begin anew, and what was put is gone.
			if other {
				return fmt.Errorf("%w: the mailbox names two lives of one box", errProtocol)
			}
			other = true
			r.at, r.open = 0, nil
			if err := x.save(p, func(row *mailingRow) {
				box := row.box(b.Key)
				if box.Life != 0 {
					row.Owed = 1
				}
				box.Life, box.After = reply.Life, 0
			}); err != nil {
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
			return fmt.Errorf("%w: the mailbox lists what came before", errProtocol)
		}
		var wanted []uint64
		x.mu.Lock()
		for _, h := range reply.Heads {
			if !x.seen[h.Hash] {
				wanted = append(wanted, h.At)
			}
		}
		x.mu.Unlock()
		if err := x.take(ctx, s, r, wanted); err != nil {
			r.open = slices.DeleteFunc(r.open, func(at uint64) bool { return at > r.at }) // they are listed again
			return err
		}
		r.at = reply.Heads[len(reply.Heads)-1].At
	}
	s.close()
	if r.missed {
		return nil
	}
	after := r.at
	if len(r.open) > 0 {
		after = r.open[0] - 1
	}
	return x.save(p, func(row *mailingRow) { row.box(b.Key).After = after })
}

// take fetches envelopes and steps them. Those that are of no use yet, since what
// they build on is not here, are open.
func (x *mailer) take(ctx context.Context, s *mailStream, r *boxReading, cursors []uint64) error {
	for len(cursors) > 0 {
		some := cursors[:min(len(cursors), wire.MaxMailFetch)]
		reply, err := s.ask(wire.MailRequest{Fetch: some})
		if err != nil {
			return err
		}
		for _, item := range reply.Items {
			if !slices.Contains(some, item.At) {
				return fmt.Errorf("%w: the mailbox gave what was not asked for", errProtocol)
			}
			x.g.n.metrics.MailGot.Add(1)
			envelope := wire.Unboxed(s.box.Tag, s.box.Key, item.Boxed)
			out, err := x.g.loop.step(ctx, group.Envelope{Bytes: envelope})
			switch verdict := verdictOf(out, err); {
			case errors.Is(err, ErrStore), errors.Is(err, ErrClosed), errors.Is(err, errCrashed), ctx.Err() != nil:
				return err // it is read again
			case err == nil:
				x.saw(envelope)
			case verdict == group.Reject:
				x.g.log.Debug("an envelope from a mailbox is no good", "peer", s.peer, "err", err)
			default:
				if r.open = append(r.open, item.At); len(r.open) > maxOpenMail {
					r.open, r.missed = r.open[1:], true
				}
			}
		}
		if len(reply.Items) == 0 {
			cursors = cursors[len(some):] // gone
			continue
		}
		last := reply.Items[len(reply.Items)-1].At
		cursors = cursors[slices.Index(cursors, last)+1:]
	}
	return nil
}
