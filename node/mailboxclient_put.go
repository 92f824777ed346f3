package node

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// Bounds of what waits to be put, of one group. Envelopes beyond them are not lost:
// they are in the log, and brought from there.
const (
	maxPending      = 1 << 14
	maxPendingBytes = 64 << 20
)

// pendingPut is an envelope that waits to be put, as its row's key tells.
type pendingPut struct {
	number uint64
	box    wire.KeyID // transport key it is under
	size   uint32
}

// pending lists the envelopes that wait to be put, in their order.
func (x *mailboxClient) pending() (out []pendingPut, err error) {
	prefix := x.keys.pendingPrefix()
	err = x.g.n.store.ScanKeys(prefix, func(key []byte) error {
		if b := key[len(prefix):]; len(b) == 8+8+4 {
			out = append(out, pendingPut{binary.BigEndian.Uint64(b), wire.KeyID(b[8:]), binary.BigEndian.Uint32(b[16:])})
		}
		return nil
	})
	return out, err
}

func (x *mailboxClient) recount() error {
	all, err := x.pending()
	if err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.waiting, x.bytes = len(all), 0
	for _, p := range all {
		x.bytes += int64(p.size)
		x.number = max(x.number, p.number)
	}
	return nil
}

// outbox gives the writes that keep what a Ready sends until the mailboxes have taken
// it. The loop calls it, for the transaction that is to be durable before.
func (x *mailboxClient) outbox(m *group.Machine, ready group.Ready) []storage.Write {
	mailboxes := m.Mail().Mailboxes()
	x.mu.Lock()
	defer x.mu.Unlock()
	x.assigned = len(mailboxes) > 0
	reached := slices.ContainsFunc(mailboxes, func(p wire.LinkPeer) bool { return x.at[peer.ID(p.Peer)] != nil })
	if !reached {
		if len(ready.Messages)+len(ready.Came) == 0 {
			return nil
		}
		return x.owe() // what is not forgotten yet may be used again
	}
	out := x.came(ready.Came)
	for _, msg := range ready.Messages {
		msg, ok := msg.(group.Publish)
		if !ok {
			continue
		}
		h, err := wire.ParseEnvelopeHeader(msg.Envelope)
		if err != nil {
			continue // the machine makes none
		}
		size := uint32(len(msg.Envelope)) //nolint:gosec // bounded by MaxEnvelope
		if x.waiting >= x.maxPending || x.bytes+int64(size) > x.maxBytes {
			return append(out, x.owe()...)
		}
		x.number++
		x.waiting++
		x.bytes += int64(size)
		x.remember(sha256.Sum256(wire.Boxed(msg.Envelope)), msg.Entries)
		out = append(out, storage.Write{Key: x.keys.pending(pendingPut{x.number, h.Key, size}), Value: msg.Envelope})
	}
	return out
}

// clean deletes the envelopes that every mailbox has taken, and returns how many wait.
// Where too much does, a mailbox that cannot be reached holds up nothing: it gets it from
// the log.
func (x *mailboxClient) clean(mailboxes []wire.LinkPeer, held map[wire.KeyID]bool) (waiting int, err error) {
	all, err := x.pending()
	if err != nil {
		return 0, err
	}
	x.mu.Lock()
	size := int64(0)
	for _, p := range all {
		size += int64(p.size)
	}
	if len(all) > x.maxPending/2 || size > x.maxBytes/2 {
		if err := x.giveUp(mailboxes); err != nil {
			x.mu.Unlock()
			return len(all), err
		}
	}
	var b storage.Batch
	for _, p := range all {
		wanted := false
		for _, row := range x.at {
			wanted = wanted || !row.taken(p)
		}
		if wanted && held[p.box] {
			waiting++
		} else {
			b.Writes = append(b.Writes, storage.Write{Key: x.keys.pending(p)})
		}
	}
	x.mu.Unlock()
	if len(b.Writes) == 0 {
		return waiting, nil
	}
	for some := range slices.Chunk(b.Writes, 1024) {
		if err := x.apply(storage.Batch{Writes: some}); err != nil {
			return waiting, err
		}
	}
	return waiting, x.recount()
}

// giveUp drops the envelopes that are kept for mailboxes whose last visit failed. The
// caller holds mu.
func (x *mailboxClient) giveUp(mailboxes []wire.LinkPeer) error {
	for _, m := range mailboxes {
		p := peer.ID(m.Peer)
		if st := x.state[p]; x.at[p] == nil || st == nil || st.err == nil || st.busy {
			continue
		}
		if err := x.apply(storage.Batch{Writes: []storage.Write{{Key: x.keys.progress(p)}}}); err != nil {
			return err // it is not given up as long as its row says that it got all
		}
		delete(x.at, p)
	}
	return nil
}

// putAll puts the envelopes that a mailbox has not taken into their boxes.
func (v *mailVisit) putAll(ctx context.Context, boxes []group.Box) error {
	var errs []error
	for _, b := range boxes {
		// One that is full, maybe of what somebody who is out wrote, holds up no other.
		if err := v.put(ctx, b, boxes, v.r.boxes[b.Key]); errors.Is(err, errMailFull) || errors.Is(err, errMailClosed) {
			errs = append(errs, err)
		} else if err != nil {
			return err
		}
	}
	return errors.Join(errs...)
}

// putBefore is putAll before anything is read.
func (v *mailVisit) putBefore(ctx context.Context) error {
	boxes, _, err := v.boxes(ctx)
	if err != nil {
		return err
	}
	for _, b := range boxes {
		if v.r.boxes[b.Key] == nil {
			if v.r.boxes[b.Key], err = v.newBoxReading(b.Key); err != nil {
				return err
			}
		}
	}
	return v.putAll(ctx, boxes)
}

// put is putAll for one box.
func (v *mailVisit) put(ctx context.Context, b group.Box, boxes []group.Box, r *boxReading) error {
	all, err := v.x.pending()
	if err != nil {
		return err
	}
	posted := v.x.durable(v.p, b.Key).Posted
	var parcels []parcel
	for _, o := range all {
		if o.box == b.Key && o.number > posted {
			parcels = append(parcels, parcel{pendingPut: o})
		}
	}
	return v.putParcels(ctx, b, boxes, r, parcels)
}

// parcel is what is put into a box: a post, whose row has the envelope, or an envelope
// without a row.
type parcel struct {
	pendingPut
	envelope []byte
}

func (x *mailboxClient) boxedOf(o parcel) ([]byte, error) {
	if o.envelope != nil {
		return wire.Boxed(o.envelope), nil
	}
	e, err := x.g.n.store.Get(x.keys.pending(o.pendingPut))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStore, err)
	}
	return wire.Boxed(e), nil
}

// putParcels puts all into a box. If the mailbox opens none for this device, the boxes
// that it has already vouch.
func (v *mailVisit) putParcels(ctx context.Context, b group.Box, boxes []group.Box, r *boxReading, all []parcel) error {
	if len(all) == 0 {
		return nil
	}
	err := v.putThrough(ctx, b, nil, r, all)
	for _, other := range boxes {
		if !errors.Is(err, errMailClosed) {
			break
		}
		if other.Key != b.Key && v.x.durable(v.p, other.Key).Life != 0 {
			err = v.putThrough(ctx, b, &other, r, all)
		}
	}
	return err
}

func (v *mailVisit) putThrough(ctx context.Context, b group.Box, voucher *group.Box, r *boxReading, all []parcel) error {
	s, err := v.open(ctx, b, voucher)
	if err != nil {
		return err
	}
	defer s.abandon()
	for len(all) > 0 {
		var request wire.MailRequest
		size := 0
		for _, o := range all[:min(len(all), wire.MaxMailPut)] {
			boxed, err := v.x.boxedOf(o)
			if err != nil {
				return err
			}
			if size += len(boxed); size > mailReplyBytes && len(request.Put) > 0 {
				break
			}
			request.Put = append(request.Put, boxed)
		}
		reply, err := s.ask(request)
		if err != nil {
			return err
		}
		taken := min(int(reply.Taken), len(request.Put)) //nolint:gosec // bounded by MaxMailPut
		if taken > 0 {
			posted := func(box *mailingBoxR) { box.Posted = max(box.Posted, all[taken-1].number) }
			if v.x.durable(v.p, b.Key).Life != reply.Life {
				err = v.begun(b, r, reply.Life, posted)
			} else {
				err = v.x.save(v.p, func(row *mailingRow) { posted(row.box(b.Key)) })
			}
			if err != nil {
				return err
			}
			v.x.g.n.metrics.MailPut.Add(float64(taken)) //nolint:gosec // a count
			all = all[taken:]
		}
		switch {
		case reply.Code == wire.MailFull:
			return errMailFull
		case reply.Code == wire.MailClosed:
			return errMailClosed
		case taken == 0:
			return fmt.Errorf("%w: the mailbox takes nothing and does not say why", errProtocol)
		}
	}
	s.close()
	return nil
}
