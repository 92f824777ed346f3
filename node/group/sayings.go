package group

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/pandanode/pandanode/node/content"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// sayings are what messages say, and what they say of each other. Which message is about
// which is in rows; in memory is only of which there are such rows, so that most messages
// are shown without looking for any.
type sayings struct {
	records

	tx        *tx
	timers    *timers
	targets   map[wire.MessageID]bool // something is said of them, be they here or not
	contested map[wire.MessageID]bool // of them: some deletion is about them, and they are not erased
	doomed    erasures                // of them, by the time kept
	expiring  erasures                // of those that their authors let expire, by the end of dates
	erased    func(*dag.Item)         // has all else forget a message
	hidden    func(*dag.Item)         // it is hidden, or is not any more: its words are judged again
	unread    map[*dag.Item]bool      // as isMoot found: a word of before about it cannot be read here
	judged    func()                  // a message was taken away, or came back
}

func newSayings(r records, t *tx, timers *timers) *sayings {
	return &sayings{
		records: r, tx: t, timers: timers,
		unread: map[*dag.Item]bool{}, targets: map[wire.MessageID]bool{}, contested: map[wire.MessageID]bool{},
		doomed: newErasures(timers, timerErase, timers.kept), expiring: newErasures(timers, timerExpire, timers.ends),
	}
}

// Bounds of what is read in order to show one message, whatever others say of it.
const (
	maxEdits     = 4 * content.MaxVersions // the newest
	maxReactions = 1 << 10                 // the oldest
)

// erasedAfter is how long a deletion of somebody else's message stands before it erases, by
// the time kept.
const erasedAfter = 7 * 24 * time.Hour

// goneRow is what is left of a message.
type goneRow struct {
	By wire.MessageID `cbor:"1,keyasint"` // the deletion; zero: it expired
	At uint64         `cbor:"2,keyasint"` // milliseconds since 1970, by the time kept
}

func aboutKey(target wire.MessageID, what string) string {
	return rowAbout + hexed(target[:]) + "/" + what + "/"
}

// tell tells people of a message that can be read: as one of its own, or as a change of
// another.
func (s *sayings) tell(now time.Time, it *dag.Item) {
	r, err := s.read(it)
	if err != nil {
		s.tx.fail(err)
		return
	}
	e := Event{Kind: EventMessage, Message: it.Hash, User: it.User, Device: it.Log.Device}
	for _, about := range says(r.said) {
		if about.what != saysReply && about.what != saysThread {
			e.Kind, e.Message, e.Detail = EventChanged, about.target, about.what
		}
	}
	cursor := s.tx.emit(now, e)
	s.tx.put(rowIndex+hexed(it.Hash[:]), wire.U64(cursor))
	if e.Kind == EventMessage {
		s.tx.put(rowShown+num(cursor), it.Hash[:])
	}
}

// note notes that a message says something of another.
func (s *sayings) note(id wire.MessageID, what string, target wire.MessageID) {
	if what != saysWho {
		s.tx.put(aboutKey(target, what)+hexed(id[:]), []byte{1})
		s.targets[target] = true
	}
}

// saying is one thing that a message says of another.
type saying struct {
	what   string
	target wire.MessageID
}

// says lists what a message says of others.
func says(s content.Said) (out []saying) {
	m := s.Message
	switch none := (wire.MessageID{}); {
	case m == nil:
	case m.Replaces != none && m.Part.Cardinality == content.CardinalityNull:
		out = append(out, saying{saysDelete, m.Replaces})
	case m.Replaces != none:
		out = append(out, saying{saysEdit, m.Replaces})
	case content.KindOf(m) == content.KindReaction:
		out = append(out, saying{saysReact, m.InReplyTo})
	case content.KindOf(m) == content.KindProfile:
		out = append(out, saying{saysWho, s.ID})
	default:
		if m.InReplyTo != none {
			out = append(out, saying{saysReply, m.InReplyTo})
		}
		if m.Thread() != none {
			out = append(out, saying{saysThread, m.Thread()})
		}
	}
	return out
}

// readOut is a message as its author wrote it.
type readOut struct {
	said    content.Said
	content wire.Content
	fault   string // it is none that can be shown: why
}

// openly gives what a RECORD says of its message in the clear: the message that it edits,
// deletes or reacts to, if it does, else when it expires, if it does.
func openly(now time.Time, c wire.Content) (about *wire.MessageID, expires uint64) {
	if c.MediaType != content.MediaType {
		return nil, 0
	}
	m, err := content.Decode(c.Data)
	if err != nil {
		return nil, 0
	}
	for _, said := range says(content.Said{Message: m}) {
		if changes(said.what) {
			return &said.target, 0
		}
	}
	switch e := m.Expires; {
	case e == nil:
		return nil, 0
	case e.Relative:
		return nil, uint64(now.Add(time.Duration(e.Time) * time.Second).UnixMilli()) //nolint:gosec // after 1970
	default:
		return nil, uint64(e.Time) * 1000
	}
}

// changes says whether a message that says this is shown only by what it makes of another.
func changes(what string) bool { return what == saysEdit || what == saysDelete || what == saysReact }

// read reads a message that is in plaintext here.
func (s *sayings) read(it *dag.Item) (r readOut, err error) {
	v, err := s.tx.get(rowPlain + hexed(it.Hash[:]))
	if err == nil && v == nil {
		err = fmt.Errorf("%w: message %v was shown and is gone", verdict.ErrCorrupt, it.Hash)
	}
	if err != nil {
		return r, err
	}
	if r, err = readOpened(v); err != nil {
		return r, err
	}
	r.said.ID, r.said.User, r.said.HLC = it.Hash, it.User, uint64(it.HLC)
	for _, about := range says(r.said) {
		named, err := s.tx.get(aboutKey(about.target, saysRecord) + hexed(it.Hash[:]))
		if err != nil {
			return r, err
		}
		if changes(about.what) && named == nil {
			r.said.Message, r.fault = nil, "its record does not name the message that it changes"
		}
	}
	return r, nil
}

// readOpened reads what the row of a plaintext holds.
func readOpened(v []byte) (r readOut, err error) {
	o, err := wire.DecodeOpened(v)
	if err != nil {
		return r, fmt.Errorf("%w: %w", verdict.ErrCorrupt, err)
	}
	c, err := wire.DecodeContent(o.Body)
	if err != nil {
		// Its author committed to these bytes; what they mean is for a newer program.
		c = &wire.Content{MediaType: "application/octet-stream", Data: o.Body}
	}
	r.content = *c
	switch text := strings.HasPrefix(c.MediaType, "text/"); {
	case c.MediaType == content.MediaType:
		if r.said.Message, err = content.Decode(c.Data); err != nil {
			r.fault = err.Error()
		}
	case text && !utf8.Valid(c.Data):
		r.said.Message = &content.Message{Part: content.Text(c.MediaType, strings.ToValidUTF8(string(c.Data), "\uFFFD"))}
	default:
		r.said.Message = &content.Message{Part: content.Text(c.MediaType, string(c.Data))}
	}
	return r, nil
}

// shown gives a message as people see it: folded with what is said of it.
func (s *sayings) shown(it *dag.Item) (Message, error) {
	if isErased(it) {
		return s.tombstone(it)
	}
	r, err := s.read(it)
	if err != nil {
		return Message{}, err
	}
	msg := Message{Content: r.content, Fault: r.fault}
	if at := s.expiring.at[it.Hash]; at != 0 {
		msg.Expires = time.UnixMilli(int64(at)) //nolint:gosec // of a RECORD
	}
	set := []content.Said{r.said}
	if s.targets[it.Hash] {
		if set, err = s.withWords(set, it); err != nil {
			return Message{}, err
		}
		for _, what := range []string{saysReply, saysThread} {
			if err := s.tx.scanKeys(aboutKey(it.Hash, what), func(string) error { msg.Replies++; return nil }); err != nil {
				return Message{}, err
			}
		}
	}
	pic := content.Fold(set, s.may, time.Time{})
	if msg.Shown = pic.Shown[it.Hash]; msg.Shown == nil { // it is itself a change of another message
		msg.Shown = &content.Shown{Said: r.said, Part: r.said.Message.Part}
	}
	return msg, nil
}

// sign says of a message whose it is.
func (s *sayings) sign(msg *Message, it *dag.Item) {
	msg.ID, msg.User, msg.Device, msg.Name = it.Hash, it.User, it.Log.Device, s.logs.Devices[it.Log.Device].Cert.Name
	msg.Sent, msg.Own = it.Dated().Time(), it.Log.Device == s.self.Device
	msg.Earlier = it.Facts.Has(dag.IsEarlier)
}

// may judges the delete of somebody else's message.
func (s *sayings) may(by, of content.Said) bool {
	it := s.record(by.ID)
	return it != nil && s.rosters.now.MayDelete(it, of.User)
}

// withWords adds what is said of a message to a set: all that can change how it looks.
func (s *sayings) withWords(set []content.Said, it *dag.Item) ([]content.Said, error) {
	set, err := s.withChanges(set, it)
	if err != nil {
		return nil, err
	}
	reactions, err := s.about(it.Hash, saysReact)
	if err != nil {
		return nil, err
	}
	for _, r := range reactions[:min(len(reactions), maxReactions)] {
		if set, err = s.add(set, r); err == nil && s.targets[r.Hash] {
			set, err = s.withChanges(set, r)
		}
		if err != nil {
			return nil, err
		}
	}
	return set, nil
}

// withChanges adds the newest edits of a message, and a delete that counts, if there is one.
func (s *sayings) withChanges(set []content.Said, it *dag.Item) ([]content.Said, error) {
	edits, err := s.about(it.Hash, saysEdit)
	if err != nil {
		return nil, err
	}
	edits = slices.DeleteFunc(edits, func(e *dag.Item) bool { return e.User != it.User })
	d, err := s.deletion(it)
	if err != nil {
		return nil, err
	}
	if d != nil {
		edits = append(edits, d)
	}
	for _, e := range edits[max(0, len(edits)-maxEdits):] {
		if set, err = s.add(set, e); err != nil {
			return nil, err
		}
	}
	return set, nil
}

func (s *sayings) add(set []content.Said, it *dag.Item) ([]content.Said, error) {
	r, err := s.read(it)
	return append(set, r.said), err
}

// about lists the messages that say something of another, in their order.
func (s *sayings) about(target wire.MessageID, what string) (out []*dag.Item, err error) {
	err = s.tx.scanKeys(aboutKey(target, what), func(key string) error {
		id, err := lastHex(key)
		if err != nil {
			return err
		}
		if it := s.record(wire.MessageID(id)); it != nil && it.Facts.Has(dag.IsPlain) && s.counts(it) {
			out = append(out, it)
		}
		return nil
	})
	slices.SortFunc(out, (*dag.Item).Compare)
	return out, err
}

// counts says whether a message counts: people were told of it, or will be once all before
// it is here.
func (s *sayings) counts(it *dag.Item) bool {
	return it.Facts.Has(dag.IsDelivered) || it.Log == *s.self || s.owed(it)
}

// explain says what became of a message that was shown.
func (s *sayings) explain(it *dag.Item, nameOf func(wire.DeviceID) string) (facts []string) {
	say := func(format string, args ...any) { facts = append(facts, fmt.Sprintf(format, args...)) }
	msg, err := s.shown(it)
	if err != nil {
		return []string{err.Error()}
	}
	switch d := msg.Shown.Deleted; {
	case msg.Fault != "":
		say("it cannot be shown: %s", msg.Fault)
	case msg.Shown.Over:
		say("it expired, as its author wanted")
	case d != nil:
		say("%s deleted it", nameOf(s.record(d.ID).Log.Device))
	case msg.Shown.Edited:
		say("its author edited it")
	}
	if d := msg.Shown.Deleted; d != nil && !isErased(it) {
		say("it is erased here once nothing has spoken against that for %d days", int(erasedAfter/(24*time.Hour)))
	}
	for _, about := range says(msg.Shown.Said) {
		switch why := s.without(it, msg.Shown.Said, about.target); {
		case about.what == saysWho:
			say("it is the profile of its author")
		case why != "":
			say("it is the %s of message %v, and changes nothing: %s", about.what, about.target, why)
		default:
			say("it is the %s that message %v got", about.what, about.target)
		}
	}
	return facts
}

// without says why an edit or delete changes nothing; empty: it does, or is none.
func (s *sayings) without(it *dag.Item, said content.Said, target wire.MessageID) string {
	set := []content.Said{said}
	if t := s.record(target); t != nil && t.Facts.Has(dag.IsPlain) {
		set, _ = s.add(set, t)
	}
	return content.Fold(set, s.may, time.Time{}).Without[it.Hash]
}

// deletion gives the deletion of a message that counts, one by its own user before others';
// nil: none.
func (s *sayings) deletion(it *dag.Item) (*dag.Item, error) {
	deletes, err := s.about(it.Hash, saysDelete)
	for _, own := range []bool{true, false} {
		for _, d := range deletes {
			if (d.User == it.User) == own && (own || s.rosters.now.MayDelete(d, it.User)) {
				return d, err
			}
		}
	}
	return nil, err
}

// mootDepth is how far isMoot follows words about words: honest members make three of them.
const mootDepth = 8

// isMoot says of an edit, a deletion or a reaction that is not readable here that it is of no
// use here either: what it is about is hidden here, and will be erased, or was written before
// this device came in, and is not shown here, or was changed by what is not. So it may be that
// others have erased it with that, by a word that this device cannot read, or sooner than this
// device: waiting for it would hold up its author.
func (s *sayings) isMoot(it *dag.Item) bool { return isMootAt(s, it, mootDepth) }

func isMootAt(s *sayings, it *dag.Item, depth int) bool {
	if depth == 0 || it.Facts.Has(dag.IsPlain) {
		return false
	}
	target := aboutWhat(s, it)
	switch {
	case target == nil:
		return false
	case target.Facts.Has(dag.IsTaken) && !isErased(target):
		return true
	case !s.beforeJoinPoint(target):
		return !target.Facts.Has(dag.IsDelivered) && isMootAt(s, target, depth-1)
	case !target.Facts.Has(dag.IsDelivered):
		return true
	}
	unread, known := s.unread[target]
	if known {
		return unread
	}
	s.tx.fail(s.tx.scanKeys(aboutKey(target.Hash, saysRecord), func(key string) error {
		id, err := lastHex(key)
		if o := s.record(wire.MessageID(id)); err == nil && o != nil && !o.Facts.Has(dag.IsPlain) && !isErased(o) && s.beforeJoinPoint(o) {
			unread = true
		}
		return err
	}))
	s.unread[target] = unread
	return unread
}

// aboutWhat gives the message that a RECORD says it is about; nil: it says none, or that is
// not here, or the entry is no RECORD.
func aboutWhat(s *sayings, it *dag.Item) *dag.Item {
	if it.Kind != wire.KindRecord {
		return nil
	}
	r := it.Record
	if r == nil {
		raw, err := s.tx.get(itemKey(it))
		if err == nil && raw == nil {
			return nil // it is not durable yet
		}
		if err == nil {
			r, err = storedRecord(raw)
		}
		if err != nil {
			s.tx.fail(err)
			return nil
		}
		if it.Body == dag.Unsealed {
			it.Body = &dag.Body{Kind: it.Kind, Record: r} // it is asked for again with each entry of its log
		}
	}
	if r.About == nil {
		return nil
	}
	return s.record(*r.About)
}

// gone reads what is left of a message.
func (s *sayings) gone(it *dag.Item) (row goneRow, err error) {
	v, err := s.tx.get(rowGone + hexed(it.Hash[:]))
	if err == nil {
		err = wire.Unmarshal(v, &row)
	}
	if err != nil {
		err = fmt.Errorf("%w: what is left of message %v: %w", verdict.ErrCorrupt, it.Hash, err)
	}
	return row, err
}

// tombstone shows a message that was erased.
func (s *sayings) tombstone(it *dag.Item) (Message, error) {
	row, err := s.gone(it)
	shown := &content.Shown{Said: content.Said{ID: it.Hash, User: it.User, HLC: uint64(it.HLC)}, Kind: content.KindMessage}
	d := s.record(row.By)
	if shown.Over = d == nil; d != nil {
		shown.Deleted = &content.Delete{Said: content.Said{ID: row.By, User: d.User, HLC: uint64(d.HLC)}, Own: d.User == it.User}
	}
	return Message{Shown: shown}, err
}
