package screen

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"

	"github.com/pandanode/pandanode/node/api"
)

// key does what a key says.
func (m *model) key(msg tea.KeyPressMsg) []want {
	k := msg.Keystroke()
	switch k {
	case "ctrl+c":
		m.quits = true
		return append(m.keepDraft(), wantQuit{})
	case "ctrl+z":
		return append(m.keepDraft(), wantPause{})
	case "ctrl+l":
		return []want{wantRedraw{}}
	}
	text := msg.Key().Text
	switch m.mode {
	case unlocking:
		return m.keyUnlocking(k, text)
	case reading:
		return m.keyReading(msg, k, text)
	case asking:
		return m.keyAsking(k)
	case going, searching, beginning, reacting:
		return m.keyChoosing(k, text)
	default:
	}
	if do, ok := m.keyAnywhere(k); ok {
		return do
	}
	if m.mode == selecting {
		return m.keySelecting(k)
	}
	return m.keyWriting(k, text)
}

// keyAnywhere are keys that do the same while somebody writes and while a message is selected.
func (m *model) keyAnywhere(k string) ([]want, bool) {
	switch k {
	case "f1", "ctrl+g":
		m.show("Keys and commands", help(m.host.Commands, m.width))
		return nil, true
	case "f2":
		m.showMembers()
		return nil, true
	case "ctrl+k":
		return m.choosing(going), true
	case "ctrl+f":
		if m.chat() != nil {
			return m.choosing(searching), true
		}
	case "ctrl+t":
		m.choosing(beginning)
		m.choose.meant = true
		return nil, true
	case "alt+up", "ctrl+up", "ctrl+shift+up":
		return m.step(-1), true
	case "alt+down", "ctrl+down", "ctrl+shift+down":
		return m.step(1), true
	case "alt+a":
		return m.nextUnread(), true
	case "pgup", "shift+up":
		return m.scroll(m.page(k)), true
	case "pgdown", "shift+down":
		return m.scroll(-m.page(k)), true
	case "alt+l":
		m.bare = !m.bare
		return nil, true
	default:
		return nil, false
	}
	return nil, true
}

// page is how many lines a key scrolls.
func (m *model) page(k string) int {
	if strings.HasPrefix(k, "shift") {
		return 1
	}
	return max(m.timelineHeight()-2, 1)
}

func (m *model) step(by int) []want {
	if len(m.groups) == 0 {
		return nil
	}
	i := slices.IndexFunc(m.groups, func(g api.Group) bool { return g.ID == m.open })
	return m.enter(m.groups[(i+by+len(m.groups))%len(m.groups)].ID)
}

// nextUnread goes to a group that has mentions, or else other unread messages.
func (m *model) nextUnread() []want {
	for _, wants := range []func(api.Group) bool{
		func(g api.Group) bool { return g.Mentions > 0 },
		func(g api.Group) bool { return g.Unread > 0 && !g.Muted },
	} {
		for _, g := range m.groups {
			if g.ID != m.open && wants(g) {
				return m.enter(g.ID)
			}
		}
	}
	return m.say("nothing is unread in another group")
}

func (m *model) keyUnlocking(k, text string) []want {
	switch k {
	case "enter":
		if len(m.secret.text) == 0 {
			return nil
		}
		given := &hidden{slices.Clone(m.secret.text)}
		m.secret.wipe()
		m.why = "opening the store …"
		return []want{wantUnlock{given}}
	case "backspace":
		if n := len(m.secret.text); n > 0 {
			m.secret.text[n-1] = 0
			m.secret.text = m.secret.text[:n-1]
		}
	case "ctrl+u", "esc":
		m.secret.wipe()
	default:
		m.secret.text = append(m.secret.text, []rune(text)...)
	}
	return nil
}

func (m *model) unlocked(msg unlocked) []want {
	if msg.err != nil {
		m.why = line(api.AsError(msg.err).Message)
		if api.CodeOf(msg.err) == api.CodeConflict { // somebody else has unlocked it
			return []want{wantTry{}}
		}
		return nil
	}
	return []want{wantTry{}}
}

// show shows a text over the timeline.
func (m *model) show(title string, lines []string) {
	if m.mode != reading {
		m.back = m.mode
		if m.back == asking || m.back == reacting {
			m.back = writing
		}
	}
	m.mode, m.box = reading, box{title: title, lines: lines}
}

// keyReading are keys while a text is shown. It may have come while somebody wrote on, so a key
// that writes closes it and is written, and Enter sends what is in the line.
func (m *model) keyReading(msg tea.KeyPressMsg, k, text string) []want {
	page := max(m.height-4, 1)
	switch k {
	case "up":
		m.box.top--
	case "down":
		m.box.top++
	case "pgup":
		m.box.top -= page
	case "pgdown", "space":
		m.box.top += page
	case "home":
		m.box.top = 0
	case "end":
		m.box.top = len(m.boxLines())
	case "c":
		if m.box.qr != "" {
			link := m.box.qr
			m.mode = m.back
			return append(m.say("the link is copied, if the terminal allows it: whoever has it can join"), wantCopy{link})
		}
		return m.closed(msg)
	default: // any other key closes it, so that nobody is stuck
		if m.back != selecting && (text != "" || k == "enter") {
			return m.closed(msg)
		}
		m.mode = m.back
		return m.seen()
	}
	m.box.top = max(min(m.box.top, len(m.boxLines())-page), 0)
	return nil
}

// closed closes the text that is shown, and gives a key to what is below.
func (m *model) closed(msg tea.KeyPressMsg) []want {
	m.mode = m.back
	return append(m.seen(), m.key(msg)...)
}

func (m *model) keyAsking(k string) []want {
	m.mode = m.back
	if k == "y" || k == "shift+y" {
		return []want{m.ask.do}
	}
	return m.say("nothing was done")
}

func (m *model) question(text string, do want) {
	m.back, m.mode, m.ask = writing, asking, question{text, do}
}

// keySelecting are keys while a message is selected.
func (m *model) keySelecting(k string) []want {
	c := m.chat()
	if c == nil {
		m.mode = writing
		return nil
	}
	sel := c.messageAt(c.pick)
	switch k {
	case "esc", "q", "i":
		m.mode, c.pick = writing, 0
		if c.only != "" && k == "esc" {
			return m.leaveThread()
		}
		return nil
	case "/": // a command
		m.mode, c.pick = writing, 0
		c.write.insert(k)
		return m.typed()
	case "up", "k":
		return m.selects(c.neighbour(c.pick, -1), -1)
	case "down", "j":
		return m.selects(c.neighbour(c.pick, 1), 1)
	case "home":
		return m.toMark()
	case "end":
		m.mode, c.pick = writing, 0
		return m.toEnd()
	}
	if sel == nil {
		return nil
	}
	switch k {
	case "r", "enter":
		m.mode, c.pick = writing, 0
		c.replyTo, c.editing = sel.ID, ""
		return m.typed()
	case "t":
		return m.enterThread(*sel)
	case "e":
		if !sel.Own {
			return m.complain(api.Errorf(api.CodeNotPermitted, "the message is of somebody else: only its author edits it"))
		}
		return m.edits(*sel)
	case "d", "delete":
		m.question("Take this message away from everybody? y/n", wantErase{m.open, sel.ID})
		c.pick = 0
	case "+", "shift++", "shift+=", "a":
		m.choosing(reacting)
		m.choose.message = sel.ID
		return m.chosen()
	case "w":
		return []want{wantWhy{m.open, sel.ID}}
	case "c", "y":
		text := sel.Text
		if sel.Spans != nil {
			text = api.PlainText(sel.Spans)
		}
		m.mode, c.pick = writing, 0
		return append(m.say("copied, if the terminal allows it"), wantCopy{text})
	case "s", "o":
		if len(sel.Files) == 0 {
			return m.say("this message has no file")
		}
		var do []want
		for _, f := range sel.Files {
			do = append(do, wantSave{f.ID})
		}
		m.mode, c.pick = writing, 0
		return append(do, m.say("fetching …")...)
	}
	return nil
}

// edits begins to write a message anew.
func (m *model) edits(old api.Message) []want {
	c := m.chat()
	m.mode, c.pick = writing, 0
	if c.editing == "" {
		m.kept = c.write.text
	}
	c.editing, c.replyTo = old.ID, ""
	c.write.set(old.Text)
	return nil
}

// endEdit goes back to what was written before.
func (m *model) endEdit() {
	if c := m.chat(); c != nil && c.editing != "" {
		c.editing = ""
		c.write.set(m.kept)
		m.kept = ""
	}
}

func (m *model) keyWriting(k, text string) []want {
	c := m.chat()
	if c == nil {
		return nil
	}
	if k == "tab" || k == "shift+tab" {
		return m.completes(map[string]int{"tab": 1, "shift+tab": -1}[k])
	}
	m.complete = completion{}
	switch k {
	case "enter":
		return m.enterLine()
	case "alt+enter", "shift+enter", "ctrl+j", "ctrl+enter":
		c.write.insert("\n")
		return m.typed()
	case "esc":
		return m.escape()
	case "ctrl+d":
		if c.write.text == "" {
			m.quits = true
			return []want{wantQuit{}}
		}
		c.write.key("delete")
		return m.typed()
	case "ctrl+e":
		return []want{wantEditor{c.write.text}}
	case "ctrl+p":
		return m.past(-1)
	case "ctrl+n":
		return m.past(1)
	case "up", "down":
		by := map[string]int{"up": -1, "down": 1}[k]
		if c.write.vertical(m.m, m.lineWidth(), by) {
			return nil
		}
		if c.write.text == "" && by < 0 {
			if own := c.lastOwn(); own != nil {
				return m.edits(*own)
			}
		}
		return nil
	case "home", "end":
		if c.write.text == "" {
			if k == "home" {
				return m.toMark()
			}
			return m.toEnd()
		}
	}
	if c.write.key(k) {
		return m.typed()
	}
	if text == "" {
		return nil
	}
	c.write.insert(text)
	return m.typed()
}

// escape ends what has begun, or selects the newest message.
func (m *model) escape() []want {
	c := m.chat()
	m.note = ""
	switch {
	case c.editing != "":
		m.endEdit()
	case c.replyTo != "":
		c.replyTo = ""
		return m.typed()
	default:
		var last uint64
		if c.away {
			if last = c.last; c.messageAt(last) == nil || !c.within(c.messageAt(last)) {
				last = c.neighbour(last, -1)
			}
		} else {
			last = c.neighbour(^uint64(0), -1)
		}
		if c.messageAt(last) != nil {
			m.mode = selecting
			c.pick = last
		}
	}
	return nil
}

// typed keeps the draft once nobody has typed for a moment.
func (m *model) typed() []want { return []want{wantAfter{typing, tickDraft}} }

// keepDraft hands the draft to the node, if it is another one.
func (m *model) keepDraft() []want {
	c := m.chat()
	if c == nil || m.link != linked || !c.ready || c.editing != "" {
		return nil
	}
	now := api.Draft{Text: c.write.text, ReplyTo: c.replyTo}
	if now.Text == "" {
		now.ReplyTo = ""
	}
	if now == c.draft || !utf8.ValidString(now.Text) {
		return nil
	}
	c.draft = now
	return []want{wantDraft{m.open, now}}
}

// past shows an earlier or later line that was sent from here.
func (m *model) past(by int) []want {
	c := m.chat()
	to := m.at + by
	if to < 0 || to > len(m.history) {
		return nil
	}
	if m.at == len(m.history) {
		m.kept = c.write.text
	}
	if m.at = to; to == len(m.history) {
		c.write.set(m.kept)
	} else {
		c.write.set(m.history[to])
	}
	return m.typed()
}

// enterLine does what the line says.
func (m *model) enterLine() []want {
	c := m.chat()
	text := c.write.text
	if strings.TrimSpace(text) == "" {
		return nil
	}
	if c.editing != "" {
		id := c.editing
		m.endEdit()
		return []want{wantEdit{m.open, id, text}}
	}
	if strings.HasPrefix(text, "/") && !strings.HasPrefix(text, "//") {
		m.remember(text)
		c.write.set("")
		do := m.keepDraft()
		return append(do, wantSlash{m.open, text})
	}
	send := text
	if strings.HasPrefix(text, "//") {
		send = text[1:]
	}
	if err := m.host.Check(send); err != nil {
		return m.complain(err)
	}
	if g := m.group(m.open); g != nil && g.Role == "read-only" && g.State == api.StateMember {
		return m.complain(api.Errorf(api.CodeNotPermitted, "you may only read in this group: an owner or admin changes that"))
	}
	m.remember(text)
	m.keys++
	p := pending{key: m.keys, text: send, replyTo: cmp.Or(c.replyTo, c.only), thread: c.only, since: c.newest(), waits: m.link != linked}
	c.write.set("")
	c.replyTo = ""
	c.draft = api.Draft{} // the node erases it with the message
	c.pending = append(c.pending, p)
	do := m.toEnd()
	c.newFrom = 0
	return append(do, m.sendNext(m.open)...)
}

// remember keeps a line for Ctrl-P.
func (m *model) remember(text string) {
	const most = 200
	if n := len(m.history); n == 0 || m.history[n-1] != text {
		m.history = append(m.history, text)
	}
	if drop := len(m.history) - most; drop > 0 {
		m.history = slices.Delete(m.history, 0, drop)
	}
	m.at, m.kept = len(m.history), ""
}

// paste takes text from the clipboard, as it is: a line end sends nothing.
func (m *model) paste(text string) []want {
	if m.mode == reading { // as a letter does
		m.mode = m.back
		return append(m.seen(), m.paste(text)...)
	}
	switch m.mode {
	case unlocking:
		m.secret.text = append(m.secret.text, []rune(strings.TrimRight(text, "\r\n"))...)
	case going, searching, beginning, reacting:
		m.choose.edit.insert(strings.Join(strings.Fields(text), " "))
		return m.chosen()
	case writing:
		if c := m.chat(); c != nil {
			m.complete = completion{}
			c.write.insert(strings.Map(func(r rune) rune {
				if unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' {
					return -1
				}
				return r
			}, text))
			return m.typed()
		}
	default:
	}
	return nil
}

// answered shows what a command has said.
func (m *model) answered(msg answered) []want {
	a := msg.answer
	switch {
	case a.Quit:
		m.quits = true
		return append(m.keepDraft(), wantQuit{})
	case a.Go != "":
		if m.group(a.Go) == nil {
			m.wanted = a.Go
			return []want{wantGroups{}}
		}
		return m.enter(a.Go)
	case a.Help:
		m.show("Keys and commands", help(m.host.Commands, m.width))
		return nil
	case a.Err != nil && a.Text == "":
		return m.complain(a.Err)
	}
	text := strings.TrimRight(clean(a.Text), "\n")
	short := strings.Join(strings.Fields(strings.ReplaceAll(text, "\n", " · ")), " ")
	if a.Link == "" && strings.Count(text, "\n") < noteRows && len(m.m.rows(short, m.width-2)) <= noteRows { // a remark says it
		if text == "" {
			return []want{wantGroups{}}
		}
		return append(m.tell(a.Err != nil, "%s", short), wantGroups{})
	}
	m.show(msg.title, strings.Split(text, "\n"))
	m.box.qr = a.Link
	return []want{wantGroups{}}
}
