package screen

import (
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

// chat is what is known of a group that was opened.
type chat struct {
	at    place
	items []api.Happening // oldest first; each message once, as it is now
	more  bool            // there are earlier ones
	later bool            // there are later ones, which are not loaded
	asked bool            // for earlier or later ones
	ready bool            // it was loaded

	names    *api.Names
	members  []api.Member
	known    []api.Candidate // names that others could be taken for
	requests []api.Request

	write   editor
	replyTo string // the message that is answered, while one is
	only    string // the first message of the thread that is shown alone; empty: all are shown
	editing string // the message that is written anew, while one is
	draft   api.Draft
	pending []pending // in their order; the first is sent first
	sending bool      // the node has the first, or all, and has not answered

	marked  uint64 // up to where the node was told that it is read
	newFrom uint64 // the first item that was new when the group was opened
	below   int    // how many came while the end was not in view

	away bool   // the end is not in view: it ends at the item last
	last uint64 // that item's cursor
	skip int    // and how many of its lines are below
	pick uint64 // the message that is selected; 0: none
}

// Bounds of what is kept of a timeline, in items.
const (
	firstPage = 60
	laterPage = 100
	mostItems = 2000
)

// messageAt gives the message with this cursor.
func (c *chat) messageAt(cursor uint64) *api.Message {
	if i := c.index(cursor); i >= 0 {
		return c.items[i].Message
	}
	return nil
}

// message gives the message with this ID.
func (c *chat) message(id string) *api.Message {
	for _, h := range slices.Backward(c.items) {
		if h.Message != nil && h.Message.ID == id {
			return h.Message
		}
	}
	return nil
}

func (c *chat) index(cursor uint64) int {
	i, ok := slices.BinarySearchFunc(c.items, cursor, func(h api.Happening, at uint64) int {
		switch {
		case h.Cursor < at:
			return -1
		case h.Cursor > at:
			return 1
		}
		return 0
	})
	if !ok {
		return -1
	}
	return i
}

// newest is the cursor of the last item.
func (c *chat) newest() uint64 {
	if len(c.items) == 0 {
		return 0
	}
	return c.items[len(c.items)-1].Cursor
}

// shown says whether an item has a line of its own.
func shown(h api.Happening) bool {
	return h.Message != nil && h.Message.Change == nil || h.Event != nil && h.Event.Kind != api.EventChanged
}

// fromOther says whether a message can be unread: it is of another device's user, and not from
// before this device came in.
func fromOther(m *api.Message) bool { return m != nil && !m.Own && !m.Earlier }

// take takes in what came, and gives how many messages of others are new.
func (c *chat) take(items []api.Happening) (fresh int) {
	for _, h := range items {
		switch m := h.Message; {
		case m != nil && m.Change != nil:
			c.change(*m)
			continue
		case !shown(h) || h.Cursor <= c.newest() || c.later:
			if fromOther(m) && h.Cursor > c.newest() {
				fresh++ // of what is not loaded
			}
			continue
		case m != nil:
			if m.Own {
				c.arrived(*m)
			} else if fromOther(m) {
				fresh++
			}
		}
		c.meet(h)
		c.items = append(c.items, h)
	}
	if drop := len(c.items) - mostItems; drop > 0 && !c.away {
		c.items, c.more = slices.Delete(c.items, 0, drop), true
	}
	return fresh
}

// change puts a message as it is now in the place of what it was, and into what quotes it.
func (c *chat) change(m api.Message) {
	for i := range c.items {
		old := c.items[i].Message
		if old == nil {
			continue
		}
		if old.ID == m.ID {
			now := m
			now.Cursor, now.Change, now.Kind = old.Cursor, nil, old.Kind
			c.items[i].Message = &now
		} else if r := old.ReplyTo; r != nil && r.ID == m.ID {
			quote, answer := *r, *old
			quote.Excerpt = excerpt(m)
			answer.ReplyTo = &quote
			c.items[i].Message = &answer
		}
	}
	if c.editing == m.ID && m.Deleted != nil {
		c.editing = ""
	}
}

// excerpt is the beginning of what a message says.
func excerpt(m api.Message) string {
	if m.Deleted != nil || m.Expired {
		return ""
	}
	text := m.Text
	if m.Spans != nil {
		text = api.MarkedText(m.Spans)
	}
	const most = 80
	if r := []rune(text); len(r) > most {
		return string(r[:most]) + "…"
	}
	return text
}

// meet takes the names in an item into the view.
func (c *chat) meet(h api.Happening) {
	if m := h.Message; m != nil {
		c.names.Add(api.Candidate{ID: m.User, Name: m.Name, Verified: m.Verified})
	}
	if e := h.Event; e != nil {
		c.names.Add(api.Candidate{ID: e.User, Name: e.UserName})
		c.names.Add(api.Candidate{ID: e.By, Name: e.ByName})
	}
}

// people takes the members.
func (c *chat) people(all api.Members, requests []api.Request) {
	c.members, c.requests, c.known = all.Members, requests, all.Known
	c.names = api.NamesOf(c.known...)
	for _, m := range c.members {
		c.names.Add(api.Candidate{ID: m.User, Name: m.Name, Verified: m.Verified})
	}
	for _, h := range c.items {
		c.meet(h)
	}
}

// arrived hides a pending text that a message of the timeline seems to be: its answer comes yet.
func (c *chat) arrived(m api.Message) {
	i := slices.IndexFunc(c.pending, func(p pending) bool { return !p.here && m.Cursor > p.since && sameText(m, p.text) })
	if i >= 0 {
		c.pending[i].here = true
	}
}

// arrivedAnew looks for all pending texts in a timeline that was read anew.
func (c *chat) arrivedAnew() {
	for i := range c.pending {
		c.pending[i].here = false
	}
	for _, h := range c.items {
		if m := h.Message; m != nil && m.Own && m.Change == nil {
			c.arrived(*m)
		}
	}
}

// sameText says whether a message says what was typed, where a mention is a link now.
func sameText(m api.Message, typed string) bool {
	return m.Text == typed || m.Spans != nil && api.PlainText(m.Spans) == typed
}

// drop takes pending texts away.
func (c *chat) drop(keys ...int) {
	c.pending = slices.DeleteFunc(c.pending, func(p pending) bool { return slices.Contains(keys, p.key) })
}

// undelivered are own messages that not everybody holds yet, the newest ones.
func (c *chat) undelivered(now time.Time) (ids []string, young bool) {
	const most, far, fresh = 12, 120, time.Minute
	for _, h := range c.items[max(len(c.items)-far, 0):] {
		if m := h.Message; m != nil && m.Own && m.Deleted == nil && (m.State != api.DeliveryHeld || m.HeldBy < m.Readers) {
			ids = append(ids, m.ID)
			young = young || now.Sub(m.Sent) < fresh
		}
	}
	return ids[max(len(ids)-most, 0):], young
}

// deliver takes how far messages are.
func (c *chat) deliver(all []api.Sent) {
	for i := range c.items {
		m := c.items[i].Message
		if m == nil || !m.Own {
			continue
		}
		for _, s := range all {
			if s.ID == m.ID {
				now := *m
				now.State, now.HeldBy, now.Readers = s.State, s.HeldBy, s.Readers
				c.items[i].Message = &now
			}
		}
	}
}

// lastOwn is the newest own message that can be written anew.
func (c *chat) lastOwn() *api.Message {
	for _, h := range slices.Backward(c.items) {
		if m := h.Message; m != nil && c.within(m) && m.Own && m.Deleted == nil && !m.Expired && m.Data == nil && m.Text != "" {
			return m
		}
	}
	return nil
}

// neighbour is the message before or after a place.
func (c *chat) neighbour(cursor uint64, by int) uint64 {
	at := cursor
	for _, h := range c.items {
		if h.Message == nil || !c.within(h.Message) {
			continue
		}
		if by > 0 && h.Cursor > cursor {
			return h.Cursor
		}
		if by < 0 && h.Cursor < cursor {
			at = h.Cursor
		}
	}
	return at
}
