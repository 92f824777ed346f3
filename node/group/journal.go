package group

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/content"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// Journal is what happened here, numbered by cursor in the order in which people were
// told: events, and the messages among them.
type Journal struct {
	tx       *tx
	messages *messages
	own      *ownState
	user     wire.UserID            // of this device
	hides    func(wire.UserID) bool // whose messages are left out; nil: nobody's
}

// Journal gives the journal. It is as the machine is: see the queries.
func (m *Machine) Journal() Journal {
	return Journal{tx: m.tx, messages: m.messages, own: m.own, user: m.cfg.Device.User}
}

// Without is the journal without what some users say: their messages, what they do to those of
// others, and what is done to theirs. A deletion stays: what is gone is not shown again.
func (j Journal) Without(hides func(wire.UserID) bool) Journal {
	j.hides = hides
	return j
}

// hidden says whether a message is left out.
func (j Journal) hidden(id wire.MessageID) bool {
	if j.hides == nil {
		return false
	}
	it := j.messages.record(id)
	return it != nil && j.hides(it.User)
}

// withheld says whether an event is left out: one of a message, or of a change of one.
func (j Journal) withheld(e Event) bool {
	if j.hides == nil || e.Kind != EventMessage && e.Kind != EventChanged {
		return false
	}
	return e.Detail != saysDelete && j.hides(e.User) || j.hidden(e.Message)
}

// Cursor is that of the newest event; 0 if there is none.
func (j Journal) Cursor() uint64 { return j.tx.cursor }

// Log is the log that this device writes; of incarnation 0 if it is none yet.
func (j Journal) Log() wire.LogID { return j.own.log }

// Messages lists the messages that were shown after a cursor, in that order.
func (j Journal) Messages(after uint64, limit int) ([]Message, error) {
	var out []Message
	err := j.tx.scanAfter(rowShown, after, func(cursor uint64, v []byte) error {
		if len(v) != 32 {
			return fmt.Errorf("%w: message at cursor %d", verdict.ErrCorrupt, cursor)
		}
		if j.hidden(wire.MessageID(v)) {
			return nil
		}
		if limit > 0 && len(out) == limit {
			return errEnough
		}
		msg, ok, err := j.messages.message(wire.MessageID(v), cursor)
		if ok {
			out = append(out, j.seen(msg))
		}
		return err
	})
	return out, err
}

// seen is a message as this journal shows it: what it answers may be left out.
func (j Journal) seen(msg Message) Message {
	if to := msg.ReplyTo; to != nil && j.hidden(to.ID) {
		msg.ReplyTo = &Message{ID: to.ID}
	}
	return msg
}

// MessagesBefore lists the newest messages that were shown before a cursor, oldest first, at
// most limit, which is not 0. more says that there are others before.
func (j Journal) MessagesBefore(before uint64, limit int) (out []Message, more bool, err error) {
	type shown struct {
		cursor uint64
		id     wire.MessageID
	}
	before = max(before, 1)
	// Rows can be read forward alone, so a window before the cursor grows until it holds as many.
	for window := uint64(limit) + 32; ; window *= 4 { //nolint:gosec // not negative
		after := before - 1 - min(window, before-1)
		var found []shown
		err := j.tx.scanAfter(rowShown, after, func(cursor uint64, v []byte) error {
			if len(v) != 32 {
				return fmt.Errorf("%w: message at cursor %d", verdict.ErrCorrupt, cursor)
			}
			if cursor >= before {
				return errEnough
			}
			if !j.hidden(wire.MessageID(v)) {
				found = append(found, shown{cursor, wire.MessageID(v)})
			}
			return nil
		})
		if err != nil {
			return nil, false, err
		}
		if len(found) <= limit && after > 0 {
			continue
		}
		for _, s := range found[max(0, len(found)-limit):] {
			msg, _, err := j.messages.message(s.id, s.cursor)
			if err != nil {
				return nil, false, err
			}
			out = append(out, j.seen(msg))
		}
		return out, len(found) > limit, nil
	}
}

// Message gives one message that was shown.
func (j Journal) Message(id wire.MessageID) (Message, bool, error) {
	if j.hidden(id) {
		return Message{}, false, nil
	}
	msg, ok, err := j.messages.get(id)
	return j.seen(msg), ok, err
}

// Events lists events after a cursor, all of them: their cursors rise by one.
func (j Journal) Events(after uint64, limit int) ([]Event, error) {
	return j.tx.eventsAfter(after, limit, func(Event) bool { return true })
}

// Happened lists the events of the group that people see, after a cursor: messages, and the
// events for which shows is true, at most limit; 0: all.
func (j Journal) Happened(after uint64, limit int, shows func(EventKind) bool) ([]Event, error) {
	return j.tx.eventsAfter(after, limit, j.withMessages(shows))
}

// LastHappened lists the newest that Happened would list, at most n. more says that
// there are others before. It looks at no more than the newest events; 0: at all.
func (j Journal) LastHappened(n int, newest uint64, shows func(EventKind) bool) (out []Event, more bool, err error) {
	return j.tx.lastEvents(n, newest, j.withMessages(shows))
}

func (j Journal) withMessages(shows func(EventKind) bool) func(Event) bool {
	return func(e Event) bool { return (e.Kind == EventMessage || shows(e.Kind)) && !j.withheld(e) }
}

// Settings are those of the group that have a value, after all that happened.
func (j Journal) Settings() (out []wire.Setting) {
	for op := range j.messages.rosters.now.Settings() {
		if op.Op.Setting.Value != "" {
			out = append(out, *op.Op.Setting)
		}
	}
	return out
}

// Received is a message of somebody else that was shown.
type Received struct {
	Cursor uint64
	ID     wire.MessageID
	User   wire.UserID
}

// Received lists the messages of others than this user that were shown after a cursor, without
// those from before this device came in, at most
// so many, and says up to which cursor these are all. One that came late has a cursor of its
// own, whatever its place among the others.
func (j Journal) Received(after uint64, most int) (out []Received, upTo uint64, err error) {
	upTo = j.Cursor()
	err = j.tx.scanAfter(rowShown, after, func(cursor uint64, v []byte) error {
		if len(v) != 32 {
			return fmt.Errorf("%w: message at cursor %d", verdict.ErrCorrupt, cursor)
		}
		it := j.messages.record(wire.MessageID(v))
		if it == nil || it.User == j.user || it.Facts.Has(dag.IsEarlier) || j.hidden(it.Hash) {
			return nil
		}
		if out = append(out, Received{cursor, it.Hash, it.User}); len(out) == most {
			upTo = cursor
			return errEnough
		}
		return nil
	})
	return out, upTo, err
}

// EarlierWants lists messages from before this device came in that it asks others for, but those
// to be skipped; at most so many, the oldest. It misses nothing that was promised without them.
// Those that are about others come alone, and first: they show what is gone, and what to ask for
// instead.
func (j Journal) EarlierWants(skip func(wire.MessageID) bool, most int) []wire.MessageID {
	return j.messages.owing.earlier.wants(skip, most)
}

// EarlierFor gives messages from before a device came in, of those that it asks for: those it
// may have that are in plaintext here, and all that is said of them.
func (j Journal) EarlierFor(now time.Time, device wire.DeviceID, ids []wire.MessageID) ([]wire.Earlier, error) {
	return j.messages.owing.earlier.giveTo(now, device, ids)
}

// Taken says whether a message was taken away, or is hidden because somebody wants that.
func (j Journal) Taken(id wire.MessageID) bool {
	it := j.messages.record(id)
	return it == nil || it.Facts.Has(dag.IsTaken) || j.hidden(id)
}

// By is the author of a message that is here, shown or not; zero: it is not.
func (j Journal) By(id wire.MessageID) (user wire.UserID) {
	if it := j.messages.record(id); it != nil {
		user = it.User
	}
	return user
}

// MentionsMe says whether a message that was shown links to this device's user.
func (j Journal) MentionsMe(id wire.MessageID) (bool, error) {
	it := j.messages.record(id)
	if it == nil {
		return false, fmt.Errorf("%w: message %v was shown and is gone", verdict.ErrCorrupt, id)
	}
	msg, err := j.messages.sayings.shown(it)
	return err == nil && slices.Contains(msg.Shown.Mentions, j.user), err
}

var errEnough = errors.New("enough")

// scanAfter goes through rows numbered above a cursor, until fn has enough.
func (t *tx) scanAfter(prefix string, after uint64, fn func(uint64, []byte) error) error {
	from := prefix + num(after)
	err := t.scanFrom(prefix, from, func(key string, v []byte) error {
		if key <= from {
			return nil
		}
		b, err := unhex(key[len(prefix):])
		if err != nil || len(b) != 8 {
			return fmt.Errorf("%w: key %q", verdict.ErrCorrupt, key)
		}
		return fn(binary.BigEndian.Uint64(b), v)
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// eventsAfter lists events after a cursor, of those for which shows is true at most limit;
// 0: all.
func (t *tx) eventsAfter(after uint64, limit int, shows func(Event) bool) ([]Event, error) {
	var out []Event
	err := t.scanAfter(rowEvent, after, func(cursor uint64, v []byte) error {
		var e Event
		if err := wire.Unmarshal(v, &e); err != nil {
			return fmt.Errorf("%w: event %d: %w", verdict.ErrCorrupt, cursor, err)
		}
		if !shows(e) {
			return nil
		}
		if out = append(out, e); len(out) == limit {
			return errEnough
		}
		return nil
	})
	return out, err
}

// lastEvents lists the newest events for which shows is true, at most n. more says that
// there are others before. It looks at no more than the newest events; 0: at all.
func (t *tx) lastEvents(n int, newest uint64, shows func(Event) bool) (out []Event, more bool, err error) {
	// Rows can be read forward alone, so a window before the end grows until it holds as many.
	for window := uint64(n) + 32; ; window *= 4 { //nolint:gosec // not negative
		after := t.cursor - min(window, t.cursor)
		if out, err = t.eventsAfter(after, 0, shows); err != nil {
			return nil, false, err
		}
		if len(out) > n {
			return out[len(out)-n:], true, nil
		}
		if after == 0 || newest > 0 && window >= newest {
			return out, after > 0, nil
		}
	}
}

// get gives one message that was shown.
func (m *messages) get(id wire.MessageID) (Message, bool, error) {
	v, err := m.tx.get(rowIndex + hexed(id[:]))
	if v == nil || err != nil {
		return Message{}, false, err
	}
	return m.message(id, binary.BigEndian.Uint64(v))
}

func (m *messages) message(id wire.MessageID, cursor uint64) (Message, bool, error) {
	it := m.record(id)
	if it == nil {
		return Message{}, false, fmt.Errorf("%w: message %v was shown and is gone", verdict.ErrCorrupt, id)
	}
	msg, err := m.sayings.shown(it)
	if err != nil {
		return Message{}, false, err
	}
	msg.Cursor = cursor
	m.sayings.sign(&msg, it)
	if msg.Own {
		msg.Delivery, msg.HeldBy, msg.Readers = m.delivery(it)
	}
	if d := msg.Shown.Deleted; d != nil {
		msg.Deleted = &Message{}
		m.sayings.sign(msg.Deleted, m.record(d.ID))
	}
	if to := msg.Shown.ReplyTo; to != (wire.MessageID{}) && msg.Shown.Kind == content.KindMessage {
		msg.ReplyTo = &Message{ID: to}
		if target := m.record(to); target != nil && target.Facts.Has(dag.IsDelivered) {
			if *msg.ReplyTo, err = m.sayings.shown(target); err != nil {
				return Message{}, false, err
			}
			m.sayings.sign(msg.ReplyTo, target)
		}
	}
	return msg, true, nil
}

// delivery says how far an own message is: how many other devices are known to read
// it, of how many that it is for.
func (m *messages) delivery(it *dag.Item) (d Delivery, held, readers int) {
	held, readers = m.receipts.heldBy(it)
	switch {
	case slices.Contains(m.outbox, it.Hash):
		return DeliveryQueued, held, readers
	case held > 0:
		return DeliveryHeld, held, readers
	}
	return DeliveryPublished, 0, readers
}
