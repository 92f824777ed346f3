package group

import (
	"fmt"
	"io"
	"time"

	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// SendAll accepts several messages, in their order, or none of them. They are sealed one by
// one and travel in as few envelopes as they fit into: gossip loses envelopes of a burst.
// Outcome.Messages are their IDs.
type SendAll struct {
	Contents []wire.Content
	Once     *Once // nil: sent whenever it is asked for
}

func (in SendAll) act(m *Machine, now time.Time, out *Outcome) error {
	if in.Once != nil {
		known, err := in.Once.Sent(m, now)
		if known != nil || err != nil {
			out.Messages, out.Again = known, known != nil
			return err
		}
	}
	for i, c := range in.Contents {
		if len(c.Data) > wire.MaxBody || len(c.MediaType) > wire.MaxMediaType { // or the first would be sent and not the last
			return fmt.Errorf("message %d of %d: %w: %d bytes, at most %d", i+1, len(in.Contents), wire.ErrTooLarge, len(c.Data), wire.MaxBody)
		}
	}
	for _, c := range in.Contents {
		id, err := m.send(now, c) // other refusals already hit the first one
		if err != nil {
			return err
		}
		out.Messages = append(out.Messages, id)
	}
	if in.Once != nil {
		return in.Once.keep(m, now, out.Messages)
	}
	return nil
}

func (in Send) act(m *Machine, now time.Time, out *Outcome) (err error) {
	out.Entry, err = m.send(now, in.Content)
	return err
}

// send accepts a message: record, plaintext and, if this device can seal now, the
// seal are in one transaction.
func (m *Machine) send(now time.Time, c wire.Content) (wire.EntryHash, error) {
	if len(c.Data) > wire.MaxBody || len(c.MediaType) > wire.MaxMediaType {
		return wire.EntryHash{}, fmt.Errorf("message: %w: %d bytes, at most %d", wire.ErrTooLarge, len(c.Data), wire.MaxBody)
	}
	u, err := m.member(now).self("sending")
	switch {
	case err != nil:
		return wire.EntryHash{}, err
	case m.own.Leaving:
		return wire.EntryHash{}, fmt.Errorf("sending: %w: this user is leaving", verdict.ErrOut)
	case u.Role == wire.RoleReadOnly:
		return wire.EntryHash{}, fmt.Errorf("sending: %w: this user may only read", verdict.ErrNotPermitted)
	}
	o := wire.Opened{Body: wire.Marshal(&c)}
	if _, err := io.ReadFull(m.cfg.Rand, o.Salt[:]); err != nil {
		return wire.EntryHash{}, fmt.Errorf("drawing a salt: %w", err)
	}
	r := &wire.Record{Commitment: o.Commitment()}
	r.About, r.Expires = openly(now, c)
	it, err := m.append(now, wire.KindRecord, r)
	if err != nil {
		return wire.EntryHash{}, err
	}
	m.messages.accept(now, it, r, wire.Marshal(&o))
	return it.Hash, nil
}

// sealDue seals this device's messages that wait, and what others lack, if the gate is open:
// nobody seals under a tree that holds a removed user or a revoked device.
func (m *Machine) sealDue(now time.Time) {
	own, others := len(m.messages.outbox) > 0 && !m.fork.settling.rolling, m.timers.due(now, timerReseal)
	if !own && !others {
		return
	}
	if others {
		m.timers.stop(timerReseal)
	}
	n, e := m.position()
	if n == nil || m.compareTree(now, e).gate || m.mustRenew(n) {
		return
	}
	if own {
		m.messages.sealOutbox(n, e)
	}
	switch {
	case !others:
	case m.target(now) != n:
		m.timers.set(timerReseal, now.Add(settleQuiet)) // it would be sealed under an epoch that is left at once
	default:
		m.messages.reseal.fill(now, n, func(id wire.MessageID) { m.messages.seal(n, e, id) })
	}
}
