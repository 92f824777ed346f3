package node

import (
	"context"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// seenRow is the read mark of a group: the cursor up to which people have read it. Cursors
// go by when this device showed something, so a message that comes late lies after the mark
// whatever its place in the conversation is.
type seenRow struct {
	Cursor uint64 `cbor:"1,keyasint"`
}

// Bounds on what a list looks at in each group.
const (
	maxUnread = 1000 // messages
	maxUnseen = 100  // the same, as the API had it first
	maxLooked = 2048 // events
)

// activity is what a list of groups says of the messages of one.
type activity struct {
	Last     time.Time // when something that people see last happened
	Mark     uint64
	Unread   int
	Mentions int
}

// mark is the read mark of the group; newest is the cursor of its newest event.
func (g *groupSession) mark(newest uint64) (uint64, error) {
	var row seenRow
	_, err := getRow(g.n.store, keySeen+string(g.id[:]), &row)
	if row.Cursor > newest {
		return 0, err // of before the store went back
	}
	return row.Cursor, err
}

// read says that people have read a group up to a cursor. The mark is kept for this device
// alone and never goes back.
func (g *groupSession) read(ctx context.Context, cursor uint64) (out activity, err error) {
	moved := false
	_, err = rowsAfter(ctx, g.n.groups, g.id, cursor, func(m *group.Machine) ([]struct{}, error) {
		before, err := g.mark(m.Journal().Cursor())
		if err == nil && cursor > before {
			moved = true
			err = g.n.put(keySeen+string(g.id[:]), &seenRow{Cursor: cursor})
		}
		if err == nil {
			out, err = g.activity(m.Journal())
		}
		return nil, err
	})
	if err == nil && moved {
		g.n.feed.add(nodeEvent{Group: g.id, Event: group.Event{Kind: eventRead}, UpTo: out.Mark})
	}
	return out, err
}

// activity says when something that people see last happened in a group, and what nobody has
// read. It is for the loop's goroutine.
func (g *groupSession) activity(j group.Journal) (out activity, err error) {
	if out.Mark, err = g.mark(j.Cursor()); err != nil {
		return out, err
	}
	events, _, err := j.LastHappened(1, maxLooked, inTimeline)
	if err != nil {
		return out, err
	}
	out.Last = time.UnixMilli(int64(g.genesis.Created)) //nolint:gosec // checked
	if len(events) > 0 {
		out.Last = time.UnixMilli(int64(events[0].At)) //nolint:gosec // this device's clock
	}
	unread, err := j.Unread(out.Mark, maxUnread)
	if err != nil {
		return out, err
	}
	// The text says who is mentioned, and is read once for that: lists are made often.
	mentions := make(map[wire.MessageID]bool, len(unread))
	for _, id := range unread {
		me, known := g.mentions[id]
		if !known {
			if me, err = j.MentionsMe(id); err != nil {
				return out, err
			}
		}
		if mentions[id] = me; me {
			out.Mentions++
		}
	}
	g.mentions = mentions
	out.Unread = len(unread)
	return out, nil
}

func (s readingRoutes) Read(ctx context.Context, r api.ReadRequest) (api.ReadMark, error) {
	if (r.Cursor == 0) == (r.Message == "") {
		return api.ReadMark{}, api.Errorf(api.CodeInvalid, "give a cursor or a message, one of the two")
	}
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return api.ReadMark{}, err
	}
	g, err := s.n.groups.must(id)
	if err != nil {
		return api.ReadMark{}, APIError(err)
	}
	if r.Message != "" {
		message, err := s.resolveMessage(ctx, id, r.Message)
		if err != nil {
			return api.ReadMark{}, err
		}
		m, err := g.message(ctx, message)
		if err != nil {
			return api.ReadMark{}, APIError(err)
		}
		r.Cursor = m.Cursor
	}
	now, err := g.read(ctx, r.Cursor)
	return api.ReadMark{Group: id.String(), Cursor: now.Mark, Unread: now.Unread, Mentions: now.Mentions}, APIError(err)
}

func (s groupRoutes) MarkSeen(ctx context.Context, r api.SeenRequest) (api.Empty, error) {
	g, err := s.session(ctx, r.Group)
	if err != nil {
		return api.Empty{}, err
	}
	_, err = g.read(ctx, r.Cursor)
	return api.Empty{}, APIError(err)
}
