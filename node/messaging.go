package node

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// Send accepts a message. When it returns, the message is durable and cannot be
// lost; who can be reached gets it at once, the others when they can be. Without a
// media type it is "text/plain" if it is UTF-8, else "application/octet-stream".
// ErrInvalid: it is empty, blank, too long, or no text although its type says so.
func (n *Node) Send(ctx context.Context, id wire.GroupID, c wire.Content) (wire.MessageID, error) {
	c, err := checkContent(c)
	if err != nil {
		return wire.MessageID{}, err
	}
	g, err := n.groups.must(id)
	if err != nil {
		return wire.MessageID{}, err
	}
	out, err := g.loop.step(ctx, group.Send{Content: c})
	if err == nil {
		n.metrics.Sent.Inc()
	}
	return out.Entry, err
}

// Bounds of sendAll: what it makes durable fits into one transaction.
const (
	maxSendTogether = 256
	maxSendBytes    = 512 << 10
)

// sendAll accepts several messages, in their order and in one transaction: all of them
// or none. It is Send with one wait for the disk. Errors: also ErrInvalid for more than
// maxSendTogether, or more than maxSendBytes of content.
func (n *Node) sendAll(ctx context.Context, id wire.GroupID, contents []wire.Content) ([]wire.MessageID, error) {
	sent, _, err := n.sendAllOnce(ctx, id, contents, nil)
	return sent, err
}

// sendAllOnce is sendAll, for a request that may come again if once is not nil; again says
// that it has, so that nothing was sent now.
func (n *Node) sendAllOnce(ctx context.Context, id wire.GroupID, contents []wire.Content, once *group.Once) (sent []wire.MessageID, again bool, err error) {
	g, err := n.groups.must(id)
	if err != nil {
		return nil, false, err
	}
	contents = slices.Clone(contents)
	size := 0
	for i, c := range contents {
		if contents[i], err = checkContent(c); err != nil {
			return nil, false, err
		}
		size += len(c.Data)
	}
	switch {
	case len(contents) == 0 || len(contents) > maxSendTogether || size > maxSendBytes:
		return nil, false, fmt.Errorf("%w: %d messages of %d bytes at once; 1 to %d are taken, of %d bytes together", ErrInvalid, len(contents), size, maxSendTogether, maxSendBytes)
	case len(contents) == 1 && once == nil: // alone it can be shown as an envelope again
		one, err := n.Send(ctx, id, contents[0])
		return []wire.MessageID{one}, false, err
	}
	out, err := g.loop.step(ctx, group.SendAll{Contents: contents, Once: once})
	if !out.Again {
		n.metrics.Sent.Add(float64(len(out.Messages)))
	}
	return out.Messages, out.Again, err
}

// checkContent gives a message as it is sent.
func checkContent(c wire.Content) (wire.Content, error) {
	if c.MediaType == "" {
		if c.MediaType = "application/octet-stream"; utf8.Valid(c.Data) {
			c.MediaType = "text/plain"
		}
	}
	switch text := strings.HasPrefix(c.MediaType, "text/"); {
	case len(c.Data) > wire.MaxBody:
		return c, fmt.Errorf("%w: a message of %d bytes; at most %d (64 KiB) can be sent", ErrInvalid, len(c.Data), wire.MaxBody)
	case len(c.Data) == 0:
		return c, fmt.Errorf("%w: the message is empty", ErrInvalid)
	case text && !utf8.Valid(c.Data):
		return c, fmt.Errorf("%w: the message is not UTF-8", ErrInvalid)
	case text && wire.Blank(string(c.Data)):
		return c, fmt.Errorf("%w: the message is blank: it has no visible characters", ErrInvalid)
	}
	if err := wire.CheckMediaType(c.MediaType); err != nil {
		return c, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return c, nil
}

// message is one message by its ID; errNotFound if it is not here.
func (g *groupSession) message(ctx context.Context, id wire.MessageID) (out group.Message, err error) {
	err = g.loop.look(ctx, func(m *group.Machine) (err error) {
		var ok bool
		if out, ok, err = g.n.groups.journal(m).Message(id); err == nil && !ok {
			err = fmt.Errorf("%w: message %v", errNotFound, id)
		}
		return err
	})
	return out, err
}

// Messages gives up to limit messages after a cursor, in the order in which this
// device showed them, without those of users who are blocked: none of a group whose
// record is still looked for. ErrCursor: the
// cursor lies beyond what has happened in the group.
func (n *Node) Messages(ctx context.Context, id wire.GroupID, after uint64, limit int) ([]group.Message, error) {
	return rowsAfter(ctx, n.groups, id, after, func(m *group.Machine) ([]group.Message, error) { return n.groups.journal(m).Messages(after, limit) })
}

// Events gives up to limit events after a cursor, as Messages does.
func (n *Node) Events(ctx context.Context, id wire.GroupID, after uint64, limit int) ([]group.Event, error) {
	return eventsAfter(ctx, n.groups, id, after, limit)
}

func eventsAfter(ctx context.Context, t *groupTable, id wire.GroupID, after uint64, limit int) ([]group.Event, error) {
	return rowsAfter(ctx, t, id, after, func(m *group.Machine) ([]group.Event, error) { return m.Journal().Events(after, limit) })
}

func rowsAfter[T any](ctx context.Context, t *groupTable, id wire.GroupID, after uint64, read func(*group.Machine) ([]T, error)) (out []T, err error) {
	beyond := func(newest uint64) error {
		if after <= newest {
			return nil
		}
		return fmt.Errorf("%w: the newest event of this group here has cursor %d, but events after %d were requested", ErrCursor, newest, after)
	}
	if t.looksFor(id) {
		select {
		case <-t.done:
			return nil, ErrClosed
		default:
			return nil, beyond(0)
		}
	}
	g, err := t.must(id)
	if err != nil {
		return nil, err
	}
	err = g.loop.look(ctx, func(m *group.Machine) (err error) {
		if err := beyond(m.Journal().Cursor()); err != nil {
			return err
		}
		out, err = read(m)
		return err
	})
	return out, err
}

// page is how many rows a subscription reads in one turn at the machine.
const page = 256

// Subscribe calls emit for each message after a cursor, the old ones and then the
// new ones as they come, each once and in order, until ctx ends or emit fails;
// that error is returned. It waits for a group that is being joined. ErrCursor as of
// Messages.
func (n *Node) Subscribe(ctx context.Context, id wire.GroupID, after uint64, emit func(group.Message) error) error {
	return follow(ctx, n.groups, id, after, n.Messages, func(m group.Message) uint64 { return m.Cursor }, emit)
}

// followEvents is Subscribe for events.
func followEvents(ctx context.Context, t *groupTable, id wire.GroupID, after uint64, emit func(group.Event) error) error {
	read := func(ctx context.Context, id wire.GroupID, after uint64, limit int) ([]group.Event, error) {
		return eventsAfter(ctx, t, id, after, limit)
	}
	return follow(ctx, t, id, after, read, func(e group.Event) uint64 { return e.Cursor }, emit)
}

func follow[T any](
	ctx context.Context, t *groupTable, id wire.GroupID, after uint64,
	read func(context.Context, wire.GroupID, uint64, int) ([]T, error), cursor func(T) uint64, emit func(T) error,
) error {
	if _, err := read(ctx, id, after, 1); err != nil {
		return err
	}
	g, err := t.await(ctx, id)
	if err != nil {
		return err
	}
	for {
		changed := g.changed.wait()
		for {
			rows, err := read(ctx, id, after, page)
			if err != nil {
				return err
			}
			for _, r := range rows {
				if err := emit(r); err != nil {
					return err
				}
				after = cursor(r)
			}
			if len(rows) < page {
				break
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-t.done:
			return ErrClosed
		case <-g.life.done:
			if t.get(id) == g {
				return ErrClosed // the node closes
			}
			return fmt.Errorf("%w: %v was forgotten", ErrNoGroup, id)
		}
	}
}

// envelope gives the envelope of a message, as it was published.
func (g *groupSession) envelope(ctx context.Context, message wire.MessageID) (out []byte, err error) {
	err = g.loop.look(ctx, func(m *group.Machine) (err error) { out, err = m.EnvelopeOf(message); return err })
	return out, err
}
