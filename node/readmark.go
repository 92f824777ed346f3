package node

import (
	"context"
	"slices"
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
			out, err = g.activity(g.n.groups.journal(m))
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
	if err := g.unread.look(j, out.Mark, g.n.people.blocks.Load()); err != nil {
		return out, err
	}
	out.Unread, out.Mentions, err = g.unread.count(j)
	return out, err
}

// unread is what others wrote after the read mark, as far as it was looked at: lists of groups
// are made often. It is the loop's alone.
type unread struct {
	mark, upTo uint64
	blocks     uint64 // of people, which it was looked at with
	messages   []group.Received
	mentions   map[wire.MessageID]bool // whether they mention this user, which their text says
}

// look goes on with the messages that came since it looked last, or after another mark.
func (u *unread) look(j group.Journal, mark, blocks uint64) error {
	if mark < u.mark || u.upTo > j.Cursor() || u.blocks != blocks { // the store is another one, or whom people see
		*u = unread{blocks: blocks}
	}
	u.mark = mark
	read := 0
	for ; read < len(u.messages) && u.messages[read].Cursor <= mark; read++ {
		delete(u.mentions, u.messages[read].ID)
	}
	u.messages = slices.Delete(u.messages, 0, read)
	u.upTo = max(u.upTo, mark)
	if len(u.messages) >= maxUnread || u.upTo == j.Cursor() {
		return nil
	}
	more, upTo, err := j.Received(u.upTo, maxUnread-len(u.messages))
	if err == nil {
		u.messages, u.upTo = append(u.messages, more...), upTo
	}
	return err
}

// count counts the messages that are still there, and those that mention this user.
func (u *unread) count(j group.Journal) (count, mentions int, err error) {
	for _, m := range u.messages {
		if j.Taken(m.ID) {
			continue
		}
		count++
		me, known := u.mentions[m.ID]
		if !known {
			if me, err = j.MentionsMe(m.ID); err != nil {
				return 0, 0, err
			}
			if u.mentions == nil {
				u.mentions = map[wire.MessageID]bool{}
			}
			u.mentions[m.ID] = me
		}
		if me {
			mentions++
		}
	}
	return count, mentions, nil
}

// changed notes that somebody changed a message, which may mention others now.
func (u *unread) changed(id wire.MessageID) { delete(u.mentions, id) }

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
