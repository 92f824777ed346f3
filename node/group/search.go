package group

import (
	"fmt"
	"slices"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// Text is what a message says now, for those who look for words in it.
type Text struct {
	Cursor uint64
	ID     wire.MessageID
	User   wire.UserID
	Text   string
	Stored bool // Text is not filled in: StoredText gives it
}

// TextsBefore gives what messages say that were shown before a cursor, the newest first: those
// among so many events. The next ones lie before rest; 0: there are none. A message that was taken
// away says nothing.
func (j Journal) TextsBefore(before uint64, events uint64) (out []Text, rest uint64, err error) {
	before = max(before, 1)
	after := before - 1 - min(events, before-1)
	err = j.tx.scanAfter(rowShown, after, func(cursor uint64, v []byte) error {
		if len(v) != 32 {
			return fmt.Errorf("%w: message at cursor %d", verdict.ErrCorrupt, cursor)
		}
		if cursor >= before {
			return errEnough
		}
		it := j.messages.record(wire.MessageID(v))
		if it == nil || it.Facts.Has(dag.IsTaken) || j.hidden(it.Hash) || !it.Facts.Has(dag.IsPlain) {
			return nil
		}
		text := Text{Cursor: cursor, ID: it.Hash, User: it.User, Stored: !j.messages.sayings.targets[it.Hash]}
		if !text.Stored {
			msg, err := j.messages.sayings.shown(it)
			if err != nil || msg.Fault != "" {
				return err
			}
			text.Text = msg.Shown.Part.Searched()
		}
		out = append(out, text)
		return nil
	})
	slices.Reverse(out)
	if after == 0 {
		return out, 0, err
	}
	return out, after + 1, err
}

// StoredText gives what a message says of which nothing is said. It reads what is durable, and
// may be called by any goroutine; what was erased since says nothing.
func StoredText(rows Rows, id wire.MessageID) (string, error) {
	v, err := rows.Get(rowPlain + hexed(id[:]))
	if v == nil || err != nil {
		return "", err
	}
	r, err := readOpened(v)
	if err != nil || r.said.Message == nil {
		return "", err
	}
	if r.said.Message.Replaces != (wire.MessageID{}) {
		return "", nil // a change whose RECORD does not say so: nobody is shown it
	}
	return r.said.Message.Part.Searched(), nil
}
