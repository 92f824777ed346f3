package screen

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

// run is how long somebody may pause and still be in one run of messages under one name.
const run = 5 * time.Minute

// timeline draws the messages: lines as wide as w, of which the last ones are the newest
// unless somebody has scrolled.
func (m *model) timeline(w, height int) []string {
	c := m.chat()
	var lines []string
	if c == nil || !c.ready {
		lines = []string{paint(dim, " one moment …")}
		if m.link == away {
			lines = nil
		}
		return padded(lines, height)
	}
	end := len(c.items)
	skip := 0
	if c.away {
		if i := c.index(c.last); i >= 0 {
			end, skip = i+1, c.skip
		}
	} else {
		for i, p := range c.pending {
			if !p.here && (c.only == "" || p.thread == c.only) {
				lines = append(lines, m.pendingLines(p, w, i == 0 && !m.ownLast(c))...)
			}
		}
	}
	for i := end - 1; i >= 0 && len(lines) < height+skip; i-- {
		lines = append(slices.Clone(m.itemLines(c, i, w)), lines...)
	}
	lines = lines[:max(len(lines)-skip, 0)]
	if len(lines) < height {
		switch {
		case c.begun():
		case c.more:
			lines = append([]string{paint(dim, " earlier messages …")}, lines...)
		case len(c.items) == 0 || len(c.members) < 2 && !anyOf(c.items):
			lines = append(lines, m.welcome(w)...)
		}
	}
	return padded(lines[max(len(lines)-height, 0):], height)
}

// padded puts lines at the end of a height.
func padded(lines []string, height int) []string {
	for len(lines) < height {
		lines = append([]string{""}, lines...)
	}
	return lines
}

func anyOf(items []api.Happening) bool {
	return slices.ContainsFunc(items, func(h api.Happening) bool { return h.Message != nil })
}

// welcome is what a new group shows.
func (m *model) welcome(w int) []string {
	g := m.group(m.open)
	if g == nil || g.State == api.StateOut {
		return nil
	}
	text := "Nobody has written anything yet."
	switch {
	case g.State == api.StateJoining:
		text = "A member who is there lets you in; that may take a while. You can leave this open."
	case g.State != api.StateMember:
		return nil // the head says what the node does; who is here is not known yet
	case g.Members < 2 && g.Policy == api.PolicyOpen && !g.Private:
		text = "You are the only one here so far. Others find this group by its name: they run pandanode, press Ctrl-T and type it. " +
			"/invite makes a link for somebody, also as a QR code."
	case g.Members < 2:
		text = "You are the only one here so far. /invite makes a link for somebody, also as a QR code."
	}
	lines := []string{""}
	for _, r := range m.m.rows(text, w-4) {
		lines = append(lines, paint(dim, "  "+text[r.from:r.to]))
	}
	return append(lines, "")
}

func (m *model) ownLast(c *chat) bool {
	for _, h := range slices.Backward(c.items) {
		return h.Message != nil && h.Message.Own && m.now.Sub(h.Message.Sent) < run
	}
	return false
}

// pendingLines draw a text that the node has not accepted.
func (m *model) pendingLines(p pending, w int, named bool) []string {
	var lines []string
	if named {
		lines = append(lines, "", paint(m.hue(m.me.User), " you"))
	}
	mark := "…"
	if p.waits {
		mark = "waits for the node"
	}
	s := new(styled)
	s.add(clean(p.text), dim)
	s.add("  "+mark, dim)
	for _, l := range s.lines(m.m, w-3) {
		lines = append(lines, "   "+l)
	}
	return lines
}

// itemLines draw an item, with what stands above it because of the one before.
func (m *model) itemLines(c *chat, i, w int) []string {
	h := c.items[i]
	if !c.within(h.Message) {
		return nil
	}
	before := c.before(i)
	none := before == api.Happening{}
	var lines []string
	day := m.day(timeOf(h))
	if none && (!c.more || c.only != "") || !none && m.day(timeOf(before)) != day {
		lines = append(lines, m.ruled(day, w, dim))
	}
	if h.Cursor == c.newFrom {
		lines = append(lines, m.ruled("new", w, m.hot()))
	}
	if mark := c.borderAt(i); mark != "" && c.only == "" {
		lines = append(lines, m.ruled(m.m.cut(mark, max(w-4, 1)), w, dim))
	}
	msg := h.Message
	if msg == nil {
		s := new(styled)
		s.add("· "+line(m.host.Deed(*h.Event, func(name, id string) string { return m.name(id, name) })), dim)
		for _, l := range s.lines(m.m, w-4) {
			lines = append(lines, "   "+l)
		}
		return lines
	}
	if prev := before.Message; len(lines) > 0 || prev == nil || prev.User != msg.User || prev.Device != msg.Device || msg.Sent.Sub(prev.Sent).Abs() > run {
		if len(lines) == 0 && !none {
			lines = append(lines, "")
		}
		at := msg.Sent.In(m.now.Location()).Format("15:04")
		name := m.m.cut(m.name(msg.User, msg.Name), max(w-8, 4))
		lines = append(lines, " "+paint(m.hue(msg.User), name)+"  "+paint(dim, at))
	}
	begin := "   "
	if c.pick == h.Cursor {
		begin = paint(m.accent(), " ▌ ")
	}
	for _, l := range m.messageLines(*msg, w-4) {
		lines = append(lines, begin+l)
	}
	return lines
}

// borderAt is what stands before an item where messages from before this device came in begin
// or end, which members gave it; they have places among the others by when they came here.
// Events between messages do not count.
func (c *chat) borderAt(i int) string {
	msg := c.items[i].Message
	if msg == nil {
		return ""
	}
	before, begun := false, false
	for _, h := range slices.Backward(c.items[:i]) {
		if h.Message != nil {
			before, begun = h.Message.Earlier, true
			break
		}
	}
	switch {
	case msg.Earlier && !before && (begun || !c.more):
		return "earlier messages, given by members"
	case !msg.Earlier && before:
		return "since you came in"
	}
	return ""
}

func timeOf(h api.Happening) time.Time {
	if h.Message != nil {
		return h.Message.Sent
	}
	return h.At
}

func (m *model) day(t time.Time) string {
	t = t.In(m.now.Location())
	switch {
	case sameDay(t, m.now):
		return "Today"
	case sameDay(t, m.now.AddDate(0, 0, -1)):
		return "Yesterday"
	case t.Year() == m.now.Year():
		return t.Format("Monday, 2 January")
	}
	return t.Format("2 January 2006")
}

// ruled is a line with a word in it.
func (m *model) ruled(word string, w int, style string) string {
	rest := max(w-m.m.width(word)-2, 0)
	return paint(style, strings.Repeat("─", rest/2)+" "+word+" "+strings.Repeat("─", rest-rest/2))
}

// messageLines draw what a message says, and what is said of it.
func (m *model) messageLines(msg api.Message, w int) []string {
	var lines []string
	if r := msg.ReplyTo; r != nil && !m.inThreadOf(r.ID) {
		to := "a message that is not here"
		if r.User != "" {
			to = m.name(r.User, r.Name)
			if r.Excerpt != "" {
				to += ": " + line(r.Excerpt)
			}
		}
		lines = append(lines, paint(dim, m.m.cut("↳ "+to, w)))
	}
	s := new(styled)
	gone := true
	switch {
	case msg.Fault != "":
		s.add("(cannot be shown: "+line(msg.Fault)+")", dim)
	case msg.Deleted != nil && msg.Deleted.By == msg.User:
		s.add("(deleted)", dim)
	case msg.Deleted != nil:
		s.add("(deleted by "+m.name(msg.Deleted.By, msg.Deleted.Name)+")", dim)
	case msg.Expired:
		s.add("(expired)", dim)
	case msg.Data != nil:
		s.add(fmt.Sprintf("(%d bytes of %s)", len(msg.Data), line(msg.MediaType)), dim)
	default:
		gone = false
		s = body(msg)
	}
	for i, f := range msg.Files {
		if i > 0 || s.text.Len() > 0 {
			s.add("\n", "")
		}
		s.add(m.file(f), under)
		s.add(fileState(f), dim)
	}
	if msg.Edited && !gone {
		s.add(" (edited)", dim)
	}
	if msg.Own && !gone {
		s.add("  "+delivery(msg), dim)
	}
	if msg.MentionsMe && !gone {
		for i, l := range s.lines(m.m, w-2) {
			if i == 0 {
				l = paint(bold+";"+m.hot(), "@") + " " + l
			} else {
				l = "  " + l
			}
			lines = append(lines, l)
		}
	} else {
		lines = append(lines, s.lines(m.m, w)...)
	}
	if len(msg.Reactions) > 0 {
		r := new(styled)
		for i, o := range msg.Reactions {
			if i > 0 {
				r.add("  ", "")
			}
			style := ""
			if o.Mine {
				style = bold + ";" + m.accent()
			}
			r.add(fmt.Sprintf("%s %d", line(o.Text), o.Count), style)
		}
		lines = append(lines, r.lines(m.m, w)...)
	}
	if msg.Replies > 0 {
		word := "answers"
		if msg.Replies == 1 {
			word = "answer"
		}
		lines = append(lines, paint(dim, fmt.Sprintf("%d %s", msg.Replies, word)))
	}
	return lines
}

// delivery says how far an own message is.
func delivery(m api.Message) string {
	switch {
	case m.State == api.DeliveryHeld && m.HeldBy >= m.Readers:
		return "✓✓"
	case m.State == api.DeliveryHeld:
		return fmt.Sprintf("✓ %d of %d", m.HeldBy, m.Readers)
	case m.State == api.DeliveryPublished && m.Readers > 0:
		return "✓"
	case m.State == api.DeliveryPublished:
		return "✓ nobody else yet"
	}
	return "queued"
}

func (m *model) file(f api.File) string {
	name := f.Name
	if name == "" {
		name = f.MediaType
	}
	return line(name)
}

// fileState says how large a file is, and where.
func fileState(f api.File) string {
	state := map[api.FileState]string{api.FileHere: "here", api.FileAway: "not here yet", api.FilePartly: "partly here", api.FileFaulty: "cannot be opened"}[f.State]
	if f.State == api.FilePartly && f.Sealed > 0 {
		state = fmt.Sprintf("%d %% here", 100*f.Have/f.Sealed)
	}
	return fmt.Sprintf(" (%s, %s)", size(f.Size), state)
}

func size(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d bytes", n)
	case n < 1000_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

// scroll moves the timeline by lines; positive: to earlier ones.
func (m *model) scroll(by int) []want {
	c := m.chat()
	if c == nil || !c.ready || len(c.items) == 0 {
		return nil
	}
	w, height := m.inner(), m.timelineHeight()
	at, skip := len(c.items)-1, 0
	if c.away {
		if i := c.index(c.last); i >= 0 {
			at, skip = i, c.skip
		}
	}
	skip += by
	for skip < 0 && at < len(c.items)-1 {
		at++
		skip += len(m.itemLines(c, at, w))
	}
	for at > 0 && skip >= len(m.itemLines(c, at, w)) {
		skip -= len(m.itemLines(c, at, w))
		at--
	}
	if by > 0 { // no further than the first line in view
		above := -skip
		for i := at; i >= 0 && above < height; i-- {
			above += len(m.itemLines(c, i, w))
		}
		if above < height {
			if do := m.wantMore(c); do != nil {
				defer func() { c.asked = true }()
				c.away, c.last, c.skip = true, c.items[at].Cursor, max(skip, 0)
				return do
			}
			for above < height && (skip > 0 || at < len(c.items)-1) {
				if skip == 0 {
					at++
					skip = len(m.itemLines(c, at, w))
				}
				skip--
				above++
			}
		}
	}
	if skip <= 0 && at == len(c.items)-1 {
		if c.later && !c.asked {
			c.asked = true
			return []want{wantNewer{c.at, c.newest()}}
		}
		if !c.later {
			return m.toEnd()
		}
		skip = 0
	}
	c.away, c.last, c.skip = true, c.items[at].Cursor, max(skip, 0)
	if at < firstPage/2 {
		if do := m.wantMore(c); do != nil {
			c.asked = true
			return do
		}
	}
	return nil
}

// wantMore asks for earlier items, if there are any and they are not asked for yet.
func (m *model) wantMore(c *chat) []want {
	if !c.more || c.asked || c.begun() || len(c.items) == 0 || m.link != linked {
		return nil
	}
	return []want{wantOlder{c.at, c.items[0].Cursor}}
}

// toEnd shows the newest.
func (m *model) toEnd() []want {
	c := m.chat()
	if c == nil {
		return nil
	}
	c.away, c.skip = false, 0
	if c.only == "" {
		c.below = 0
	}
	if c.later {
		c.later = false
		m.opens++
		c.at.n = m.opens
		return []want{wantOpen{c.at}}
	}
	return m.seen()
}

// toMark shows the first message that was new.
func (m *model) toMark() []want {
	c := m.chat()
	if c == nil || c.newFrom == 0 {
		return m.say("nothing was new")
	}
	if i := c.index(c.newFrom); i >= 0 {
		return m.topAt(c, i)
	}
	return nil
}

// topAt scrolls so that an item begins at the top.
func (m *model) topAt(c *chat, i int) []want {
	w, room := m.inner(), m.timelineHeight()
	for ; i < len(c.items); i++ { // the item that ends the page which begins there
		if room -= len(m.itemLines(c, i, w)); room <= 0 {
			c.away, c.last, c.skip = true, c.items[i].Cursor, -room
			return nil
		}
	}
	return m.toEnd()
}

// selects selects a message, and scrolls it into view.
func (m *model) selects(cursor uint64, by int) []want {
	c := m.chat()
	if cursor == c.pick {
		if by > 0 {
			if c.later {
				return m.scroll(-1)
			}
			m.mode, c.pick = writing, 0
			return m.toEnd()
		}
		if do := m.wantMore(c); do != nil {
			c.asked = true
			return do
		}
		return nil
	}
	c.pick = cursor
	var do []want
	switch m.where(cursor) {
	case 1:
		do = m.topAt(c, c.index(cursor))
	case -1:
		c.away, c.last, c.skip = true, cursor, 0
	}
	if at := c.index(cursor); at >= 0 && at < 5 {
		if more := m.wantMore(c); more != nil {
			c.asked = true
			do = append(do, more...)
		}
	}
	return do
}

// where says whether an item is above the view (1), below it (-1), or in it.
func (m *model) where(cursor uint64) int {
	c := m.chat()
	w, height := m.inner(), m.timelineHeight()
	end, skip := len(c.items)-1, 0
	if c.away {
		if i := c.index(c.last); i >= 0 {
			end, skip = i, c.skip
		}
	}
	at := c.index(cursor)
	switch {
	case at < 0:
		return 0
	case at > end, at == end && skip > 0 && len(m.itemLines(c, at, w)) <= height:
		return -1
	}
	lines := -skip
	if !c.away {
		for _, p := range c.pending {
			lines += len(m.pendingLines(p, w, false))
		}
	}
	for i := end; i >= at; i-- {
		lines += len(m.itemLines(c, i, w))
		if lines > height && (i > at || lines-height < len(m.itemLines(c, i, w)) && len(m.itemLines(c, i, w)) <= height) {
			return 1
		}
	}
	return 0
}
