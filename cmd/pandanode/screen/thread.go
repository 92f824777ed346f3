package screen

import (
	"cmp"

	"github.com/pandanode/pandanode/node/api"
)

// A thread is shown alone in the place of the timeline: the items that are not of it have no
// lines. A line that is written meanwhile goes into it.

// within says whether a message is shown: all are, unless one thread is.
func (c *chat) within(m *api.Message) bool {
	return c.only == "" || m != nil && (m.ID == c.only || m.Thread == c.only || m.ReplyTo != nil && m.ReplyTo.ID == c.only)
}

// before is the item over another one, as they are shown; nothing: there is none.
func (c *chat) before(i int) api.Happening {
	for i--; i >= 0; i-- {
		if c.within(c.items[i].Message) {
			return c.items[i]
		}
	}
	return api.Happening{}
}

// begun says whether the thread that is shown is loaded from its first message on.
func (c *chat) begun() bool { return c.only != "" && c.message(c.only) != nil }

// enterThread shows the thread of a message alone.
func (m *model) enterThread(of api.Message) []want {
	c := m.chat()
	m.mode, c.pick = writing, 0
	c.only, c.replyTo, c.editing = cmp.Or(of.Thread, of.ID), "", ""
	return append(m.toEnd(), m.restOfThread(c)...)
}

// leaveThread shows all messages again.
func (m *model) leaveThread() []want {
	c := m.chat()
	c.only, c.replyTo = "", ""
	return m.toEnd()
}

// restOfThread asks for earlier items until the first message of the thread is among them.
func (m *model) restOfThread(c *chat) []want {
	if c.only == "" || c.begun() {
		return nil
	}
	do := m.wantMore(c)
	c.asked = c.asked || do != nil
	return do
}

// nameOfThread says whose thread is shown.
func (m *model) nameOfThread(c *chat) string {
	if first := c.message(c.only); first != nil {
		return "thread of " + m.name(first.User, first.Name) + ": " + line(excerpt(*first))
	}
	return "a thread"
}

// inThreadOf says whether the thread of this message is shown: its answers need not say so.
func (m *model) inThreadOf(id string) bool {
	c := m.chat()
	return c != nil && c.only == id && id != ""
}
