package screen

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

// Widths of the columns beside the timeline, and from which width on there is room for them.
const (
	listWidth   = 22
	listFrom    = 64
	peopleWidth = 24
	peopleFrom  = 110
)

// frame is what is drawn: lines as wide as the screen, and where the cursor is, if it is seen.
type frame struct {
	lines  []string
	x, y   int
	cursor bool
}

// left is the width of the list of groups; 0: it is not shown.
func (m *model) left() int {
	if m.bare || m.width < listFrom {
		return 0
	}
	return listWidth
}

// right is the width of the list of members.
func (m *model) right() int {
	if m.bare || m.width < peopleFrom {
		return 0
	}
	return peopleWidth
}

// inner is the width of the timeline.
func (m *model) inner() int {
	w := m.width
	if l := m.left(); l > 0 {
		w -= l + 1
	}
	if r := m.right(); r > 0 {
		w -= r + 1
	}
	return max(w, 1)
}

// lineWidth is the width of the line that is written.
func (m *model) lineWidth() int { return max(m.inner()-2, 1) }

// most lines that are shown of what is written.
func (m *model) mostRows() int { return max(min(m.height/3, 8), 1) }

func (m *model) inputHeight() int {
	c := m.chat()
	if c == nil {
		return 1
	}
	rows, _, _ := c.write.place(m.m, m.lineWidth())
	return min(len(rows), m.mostRows())
}

// timelineHeight is what the title, the line above the input, the input, and the hints leave.
func (m *model) timelineHeight() int {
	return max(m.height-2-m.inputHeight()-len(m.hints()), 1)
}

// noteRows is how many lines a remark may take.
const noteRows = 3

// noted are the lines of a remark.
func (m *model) noted() (lines []string) {
	style := bold
	if m.isError {
		style += ";" + m.hot()
	}
	rows := m.broken(m.note, style)
	if most := min(noteRows, max(m.height/4, 1)); len(rows) > most {
		rows = rows[:most]
		rows[most-1] = m.m.cut(rows[most-1], m.width-2) + "…"
	}
	return rows
}

// View draws the screen.
func (m *model) View() frame {
	if m.width < 20 || m.height < 6 {
		f := frame{lines: []string{m.m.cut("The terminal is too small.", m.width)}}
		return f.filled(m)
	}
	switch m.mode {
	case reading:
		return m.viewBox().filled(m)
	case unlocking:
		return m.viewUnlock().filled(m)
	case going, searching, beginning, reacting:
		return m.viewChoose().filled(m)
	default:
		return m.viewChat().filled(m)
	}
}

// filled has as many lines as the screen.
func (f frame) filled(m *model) frame {
	for i, l := range f.lines {
		f.lines[i] = m.m.fit(l, m.width)
	}
	for len(f.lines) < m.height {
		f.lines = append(f.lines, strings.Repeat(" ", m.width))
	}
	f.lines = f.lines[:m.height]
	return f
}

func (m *model) viewChat() frame {
	w := m.inner()
	main := []string{paint(reverse, m.m.fit(m.header(w), w))}
	main = append(main, m.timeline(w, m.timelineHeight())...)
	main = append(main, m.above(w))
	input, x, y := m.input(w)
	f := frame{x: x, y: y + len(main), cursor: m.mode == writing && m.chat() != nil}
	main = append(main, input...)
	left, right := m.listOfGroups(len(main)), m.listOfMembers(len(main))
	rule := paint(dim, "│")
	for i := range main {
		l := m.m.fit(main[i], w)
		if left != nil {
			l = left[i] + rule + l
		}
		if right != nil {
			l += rule + right[i]
		}
		f.lines = append(f.lines, l)
	}
	if left != nil {
		f.x += m.left() + 1
	}
	f.lines = append(f.lines, m.hints()...)
	return f
}

// title is the name of a group, with its ID where another looks the same.
func (m *model) title(g api.Group) string {
	names := api.NamesOf()
	for _, o := range m.groups {
		names.Add(api.Candidate{ID: o.ID, Name: o.Name})
	}
	if g.Name == "" {
		return api.Short(g.ID)
	}
	if names.Doubt(api.Candidate{ID: g.ID, Name: g.Name}) != "" {
		return line(g.Name) + "/" + api.Short(g.ID)
	}
	return line(g.Name)
}

// name is what somebody is called, with the ID where another is called alike.
func (m *model) name(user, name string) string {
	c := m.chat()
	switch {
	case user == "":
		return "somebody"
	case user == m.me.User:
		return "you"
	case name == "":
		return api.Short(user)
	case c == nil:
		return line(name)
	case c.names.Doubt(api.Candidate{ID: user, Name: name}) == api.NotVerified:
		return "(" + api.NotVerified + ") " + line(name) + "/" + api.Short(user)
	case c.names.Doubt(api.Candidate{ID: user, Name: name}) != "":
		return c.names.Marked(user, line(name)+"/"+api.Short(user))
	}
	return c.names.Marked(user, line(name))
}

func (m *model) header(w int) string {
	g := m.group(m.open)
	if g == nil {
		return " pandanode"
	}
	right := m.standing(*g)
	left := " " + m.title(*g)
	about := count(g.Members, "member")
	if g.Members < 2 {
		about = "only you"
	}
	if g.Description != "" {
		about += " · " + line(g.Description)
	}
	if m.left() == 0 {
		if unread, mentions := m.elsewhere(); unread > 0 || mentions > 0 {
			right = badge(unread, mentions) + " elsewhere · " + right
		}
	}
	room := w - m.m.width(right) - 2
	left = m.m.cut(left, room)
	if more := room - m.m.width(left) - 2; more > 10 {
		left += "  " + m.m.cut(about, more)
	}
	return m.m.fit(left, room+1) + right
}

// standing says in a word how a group and the node are.
func (m *model) standing(g api.Group) string {
	switch {
	case m.link == linking:
		return "…"
	case m.link == away:
		return "the node is away"
	case g.State != api.StateMember || g.Leaving:
		return standing(g)
	case g.Role == "read-only":
		return "you read only"
	case m.status.Peers == 0:
		return "no peers"
	case g.TopicPeers == 0 && g.Members > 1:
		return "nobody here"
	}
	return fmt.Sprintf("%d here", g.TopicPeers)
}

func standing(g api.Group) string {
	switch {
	case g.Leaving:
		return "leaving"
	case g.State == api.StateJoining:
		return "joining: waits for a member"
	case g.State == api.StateLoading:
		return "is being loaded"
	case g.State == api.StateSyncing:
		return "catching up"
	case g.State == api.StateOut:
		return "you are out"
	case g.State == api.StateRefused:
		return "you were not let in"
	case g.Members == 1:
		return "only you"
	}
	return count(g.Members, "member")
}

// badge counts unread messages and mentions.
func badge(unread, mentions int) string {
	n := fmt.Sprint(unread)
	if unread >= 1000 {
		n = "999+"
	}
	switch {
	case mentions > 0 && unread > mentions:
		return fmt.Sprintf("@%d %s", mentions, n)
	case mentions > 0:
		return fmt.Sprintf("@%d", mentions)
	}
	return n
}

func (m *model) listOfGroups(height int) []string {
	w := m.left()
	if w == 0 {
		return nil
	}
	lines := []string{paint(reverse, m.m.fit(" "+line(m.me.Name), w))}
	at := max(slices.IndexFunc(m.groups, func(g api.Group) bool { return g.ID == m.open }), 0)
	room := height - 2
	top := max(min(at-room/2, len(m.groups)-room), 0)
	for i := top; i < len(m.groups) && len(lines) <= room; i++ {
		lines = append(lines, m.groupLine(m.groups[i], w))
	}
	for len(lines) < height-1 {
		lines = append(lines, strings.Repeat(" ", w))
	}
	state := map[link]string{linking: "starting …", away: "node away", locked: "locked"}[m.link]
	if m.link == linked {
		state = count(m.status.Peers, "peer")
	}
	if hidden := len(m.groups) - top - room; hidden > 0 {
		state += fmt.Sprintf(" · %d more ↓", hidden)
	}
	return append(lines, paint(dim, m.m.fit(" "+state, w)))
}

func (m *model) groupLine(g api.Group, w int) string {
	here := " "
	if g.ID == m.open {
		here = "▌"
	}
	mark, style := "", ""
	switch {
	case g.Mentions > 0:
		mark, style = badge(g.Unread, g.Mentions), bold+";"+m.hot()
	case g.Unread > 0 && g.Muted:
		mark, style = badge(g.Unread, 0), dim
	case g.Unread > 0:
		mark, style = badge(g.Unread, 0), bold
	case g.State == api.StateJoining:
		mark, style = "…", dim
	case g.State == api.StateOut || g.State == api.StateRefused:
		mark, style = "out", dim
	}
	name := m.title(g)
	if g.Pinned {
		name = "^" + name
	}
	room := w - 2 - m.m.width(mark)
	name = m.m.fit(name, room)
	if g.ID == m.open || g.Unread > 0 && !g.Muted {
		name = paint(bold, name)
	} else if g.State != api.StateMember {
		name = paint(dim, name)
	}
	return paint(m.accent(), here) + name + paint(style, mark) + " "
}

func (m *model) listOfMembers(height int) []string {
	w := m.right()
	if w == 0 {
		return nil
	}
	lines := []string{paint(reverse, m.m.fit(" Members", w))}
	for _, l := range m.memberLines(w - 1) {
		if len(lines) < height {
			lines = append(lines, m.m.fit(" "+l, w))
		}
	}
	for len(lines) < height {
		lines = append(lines, strings.Repeat(" ", w))
	}
	return lines
}

// memberLines lists who is in the group, what each may do, and who asks to be let in.
func (m *model) memberLines(w int) []string {
	c := m.chat()
	if c == nil {
		return nil
	}
	rank := map[string]int{"owner": 0, "admin": 1, "member": 2, "read-only": 3}
	all := slices.Clone(c.members)
	slices.SortStableFunc(all, func(a, b api.Member) int { return rank[a.Role] - rank[b.Role] })
	var lines []string
	for _, p := range all {
		role := line1(p.Role)
		if role == "member" {
			role = ""
		}
		if !p.InTree {
			role = strings.TrimSpace(role + " (no keys yet)")
		}
		name := line(p.Name)
		if c.names.Doubt(api.Candidate{ID: p.User, Name: p.Name}) != "" || name == "" {
			name = strings.Trim(name+"/"+api.Short(p.User), "/")
		}
		name = c.names.Marked(p.User, name)
		switch {
		case c.names.Doubt(api.Candidate{ID: p.User, Name: p.Name}) == api.NotVerified:
			role = api.NotVerified
		case p.Blocked:
			role = "blocked"
		case len(p.New) > 0:
			role = strings.TrimSpace(role + " (new device)")
		}
		if p.Self {
			name += " (you)"
		}
		name = m.m.fit(name, max(w-m.m.width(role)-1, 4))
		lines = append(lines, paint(m.hue(p.User), name)+" "+paint(dim, role))
	}
	for i, r := range c.requests {
		if i == 0 {
			lines = append(lines, "", paint(bold, "Ask to be let in"))
		}
		name := c.names.Marked(r.User, line(r.Name)+"/"+api.Short(r.User))
		if c.names.Doubt(api.Candidate{ID: r.User, Name: r.Name}) == api.NotVerified {
			name = "(" + api.NotVerified + ") " + name
		}
		lines = append(lines, m.m.cut(name, w))
	}
	if len(c.requests) > 0 {
		lines = append(lines, paint(dim, "/approve or /deny NAME"))
	}
	return lines
}

// showMembers shows the members, with their IDs.
func (m *model) showMembers() {
	c := m.chat()
	if c == nil {
		return
	}
	lines := m.memberLines(min(m.width-4, 60))
	if len(lines) == 0 {
		lines = []string{"Nobody is known yet."}
	}
	m.show("Members of "+m.titleOfOpen(), lines)
}

func (m *model) titleOfOpen() string {
	if g := m.group(m.open); g != nil {
		return m.title(*g)
	}
	return "the group"
}

// above is the line over the input: what is answered or edited, what is new below.
func (m *model) above(w int) string {
	c := m.chat()
	text := ""
	switch {
	case c == nil:
	case c.editing != "":
		text = "writing it anew; Esc leaves it as it is"
	case c.replyTo != "":
		text = "answering"
		if to := c.message(c.replyTo); to != nil {
			text += " " + m.name(to.User, to.Name) + ": " + line(excerpt(*to))
		} else {
			text += " a message"
		}
	case c.only != "":
		text = m.nameOfThread(c)
	}
	right := ""
	switch {
	case c == nil:
	case c.later:
		right = " older messages: End goes to the newest "
	case c.only != "" && c.below > 0:
		right = fmt.Sprintf(" %d new in the group ", c.below)
	case c.below > 0:
		right = fmt.Sprintf(" %d new below: End ↓ ", c.below)
	case c.away:
		right = " more below: End ↓ "
	}
	if text != "" {
		text = " " + m.m.cut(text, max(w-m.m.width(right)-4, 1)) + " "
	}
	fill := max(w-m.m.width(text)-m.m.width(right)-2, 0)
	style := dim
	if c != nil && c.below > 0 {
		style = bold + ";" + m.accent()
	}
	return paint(dim, "──"+text+strings.Repeat("─", fill)) + paint(style, m.m.cut(right, w))
}

// input is the line that is written, in rows, and where the cursor is in it.
func (m *model) input(w int) (lines []string, x, y int) {
	c := m.chat()
	if c == nil {
		return []string{""}, 0, 0
	}
	if c.write.text == "" && m.mode != asking {
		hint := "Write a message"
		if g := m.group(m.open); g != nil {
			switch {
			case g.State == api.StateOut:
				hint = "You are out of this group"
			case g.State == api.StateJoining:
				hint = "You can write once a member has let you in"
			case g.Role == "read-only":
				hint = "You may only read here"
			case m.link == away:
				hint = "Write: it is sent when the node is back"
			}
		}
		return []string{paint(m.accent(), "›") + " " + paint(dim, m.m.cut(hint, w-3))}, 2, 0
	}
	if m.mode == asking {
		return []string{paint(bold, m.m.cut(m.ask.text, w))}, 0, 0
	}
	rows, y, x := c.write.place(m.m, m.lineWidth())
	most := m.mostRows()
	top := max(min(y-most+1, len(rows)-most), 0)
	if y < top {
		top = y
	}
	for i := top; i < min(top+most, len(rows)); i++ {
		begin := "  "
		if i == 0 {
			begin = paint(m.accent(), "›") + " "
		}
		lines = append(lines, begin+line1(strings.TrimRight(c.write.text[rows[i].from:rows[i].to], " ")))
	}
	return lines, x + 2, y - top
}

// hints are the last lines: a remark, or which keys do what.
func (m *model) hints() []string {
	if m.note != "" {
		return m.noted()
	}
	return []string{m.hint()}
}

func (m *model) hint() string {
	if m.link == away {
		return paint(m.hot(), m.m.cut(" The node is away: "+m.why, m.width))
	}
	if len(m.complete.list) > 1 {
		var all []string
		for i, w := range m.complete.list {
			if i == m.complete.at {
				w = paint(reverse, w)
			}
			all = append(all, w)
		}
		return m.m.cut(" "+strings.Join(all, "  "), m.width)
	}
	text := " Enter sends · Alt-Enter new line · Esc selects · Tab completes · Alt-↑↓ group · F1 help"
	switch {
	case m.mode == selecting:
		text = " ↑↓ · r answer · t thread · e edit · d delete · + react · s save · c copy · w why · Esc"
	case m.mode == asking:
		text = " y yes · n no"
	case m.chat() != nil && m.chat().editing != "":
		text = " Enter saves · Esc leaves it as it is"
	case m.chat() != nil && m.chat().only != "":
		text = " Enter sends into the thread · Esc selects, and once more shows all messages"
		if m.width < listFrom {
			text = " Esc Esc all messages · Enter sends"
		}
	case m.width < listFrom:
		text = " Enter sends · Ctrl-K groups · F1 help"
	}
	return paint(dim, m.m.cut(text, m.width))
}

func (m *model) viewUnlock() frame {
	f := frame{lines: []string{paint(reverse, m.m.fit(" pandanode", m.width)), ""}}
	f.lines = append(f.lines, m.broken("The node is locked: it waits for the passphrase of its store.", "")...)
	if why := m.status.Why; why != "" {
		f.lines = append(f.lines, m.broken(line(why), dim)...)
	}
	dots := strings.Repeat("•", min(len(m.secret.text), max(m.width-16, 1)))
	f.lines = append(f.lines, "", " Passphrase: "+dots)
	f.x, f.y, f.cursor = 13+len([]rune(dots)), len(f.lines)-1, true
	if m.why != "" && m.why != api.ErrLocked().Message {
		f.lines = append(f.lines, "")
		f.lines = append(f.lines, m.broken(m.why, bold)...)
	}
	return m.withHints(f, " Enter opens it · Ctrl-C ends this")
}

// broken breaks a text into lines of the screen.
func (m *model) broken(text, style string) (lines []string) {
	for _, r := range m.m.rows(text, m.width-2) {
		lines = append(lines, " "+paint(style, strings.TrimRight(text[r.from:r.to], " ")))
	}
	return lines
}

// withHints puts hints, or a remark, into the last line.
func (m *model) withHints(f frame, text string) frame {
	last := []string{paint(dim, m.m.cut(text, m.width))}
	if m.note != "" {
		last = m.noted()
	}
	f.lines = f.lines[:min(len(f.lines), m.height-len(last))]
	for len(f.lines) < m.height-len(last) {
		f.lines = append(f.lines, "")
	}
	f.lines = append(f.lines, last...)
	return f
}

func (m *model) viewChoose() frame {
	x := &m.choose
	titles := map[mode]string{going: "Go to", searching: "Search in " + m.titleOfOpen(), beginning: "Find or found a group", reacting: "React with"}
	f := frame{lines: []string{paint(reverse, m.m.fit(" "+titles[m.mode], m.width)), ""}}
	hints := " ↑↓ choose · Enter goes there · Esc back"
	switch m.mode {
	case beginning:
		text := "Type the name of a group, and press Enter: you can join one that is found, or found a new one. An invite link can be pasted here."
		f.lines = append(append(f.lines, m.broken(text, "")...), "")
		hints = " Enter searches, then takes what is chosen · ↑↓ choose · Esc back · Ctrl-C ends this"
	case searching:
		hints = " Enter searches, then goes to the message · ↑↓ choose · Esc back"
	case reacting:
		hints = " Enter reacts · type a name or an emoji · Esc back"
	default:
	}
	before := m.m.width(x.edit.text[:x.edit.at])
	f.lines = append(f.lines, m.m.cut(" "+paint(m.accent(), "›")+" "+line1(x.edit.text), m.width))
	f.x, f.y, f.cursor = min(3+before, m.width-1), len(f.lines)-1, true
	f.lines = append(f.lines, "")
	room := max(m.height-1-len(f.lines), 1)
	top := max(min(x.at-room/2, len(x.list)-room), 0)
	for i := top; i < min(top+room, len(x.list)); i++ {
		c := x.list[i]
		mark := "   "
		title := m.m.cut(c.title, m.width-4)
		badges := ""
		if g := m.group(c.group); g != nil && g.Unread > 0 {
			badges = " " + paint(bold, badge(g.Unread, g.Mentions))
		}
		if i == x.at {
			mark, title = paint(m.accent(), " ▌ "), paint(bold, title)
		}
		detail := ""
		if c.detail != "" {
			detail = "  " + paint(dim, c.detail)
		}
		f.lines = append(f.lines, m.m.cut(mark+title+badges+detail, m.width))
	}
	if x.busy {
		f.lines = append(f.lines, paint(dim, "   looking …"))
	} else if len(x.list) == 0 && (m.mode == searching && x.asked != "" || m.mode == going) {
		f.lines = append(f.lines, paint(dim, "   nothing is found"))
	}
	return m.withHints(f, hints)
}

// line1 is what is typed into a line of one row.
func line1(s string) string {
	if s == "" {
		return ""
	}
	return line(s)
}

// boxLines are the lines of the box as they are drawn.
func (m *model) boxLines() []string {
	var out []string
	for _, l := range m.box.lines {
		if m.m.width(l) <= m.width-2 || strings.Contains(l, "\x1b") {
			out = append(out, l)
			continue
		}
		for _, r := range m.m.rows(l, m.width-2) {
			out = append(out, l[r.from:r.to])
		}
	}
	if m.box.qr != "" {
		out = append(m.code(m.box.qr), out...)
	}
	return out
}

// code draws a QR code, if there is room for it.
func (m *model) code(text string) []string {
	lines, err := m.host.QR(text, !m.colours)
	if err != nil {
		return nil
	}
	wide := m.m.width(lines[0])
	if wide > m.width-2 || len(lines) > m.height-2 {
		return []string{paint(dim, fmt.Sprintf("(a QR code needs %d columns and %d rows: make the terminal larger, or its letters smaller)", wide+2, len(lines)+2)), ""}
	}
	if m.colours {
		for i := range lines {
			lines[i] = paint("30;107", lines[i])
		}
	}
	return append(lines, "")
}

func (m *model) viewBox() frame {
	f := frame{lines: []string{paint(reverse, m.m.fit(" "+line1(m.box.title), m.width))}}
	all := m.boxLines()
	room := m.height - 2
	top := max(min(m.box.top, len(all)-room), 0)
	for _, l := range all[top:min(top+room, len(all))] {
		f.lines = append(f.lines, m.m.cut(" "+l, m.width))
	}
	hints := " Esc back"
	if m.box.qr != "" {
		hints = " c copies the link · Esc back"
	}
	if len(all) > room {
		hints = fmt.Sprintf(" ↑↓ scroll (%d to %d of %d) · Esc back", top+1, min(top+room, len(all)), len(all))
	}
	f.lines = f.lines[:min(len(f.lines), m.height-1)]
	for len(f.lines) < m.height-1 {
		f.lines = append(f.lines, "")
	}
	f.lines = append(f.lines, paint(dim, m.m.cut(hints, m.width))) // a remark waits until it is closed: here it says how
	return f
}

// Colours. The sixteen of the terminal itself would be unreadable in some themes.

func (m *model) accent() string { return m.either("38;5;80", "38;5;30") }

func (m *model) hot() string { return m.either("38;5;209", "38;5;160") }

func (m *model) either(dark, light string) string {
	if m.dark {
		return dark
	}
	return light
}

// hue is one of eight colours for a user, the same everywhere.
func (m *model) hue(user string) string {
	n := uint32(0)
	for i := range len(user) {
		n = n*31 + uint32(user[i])
	}
	dark := []int{80, 114, 179, 176, 110, 209, 150, 147}
	light := []int{30, 28, 94, 90, 25, 130, 64, 61}
	if m.dark {
		return fmt.Sprintf("1;38;5;%d", dark[n%8])
	}
	return fmt.Sprintf("1;38;5;%d", light[n%8])
}

// moment gives a time for people.
func (m *model) moment(t time.Time) string {
	t = t.In(m.now.Location())
	if sameDay(t, m.now) {
		return t.Format("15:04")
	}
	return t.Format("2 Jan 2006 15:04")
}

func sameDay(a, b time.Time) bool {
	return a.Year() == b.Year() && a.YearDay() == b.YearDay()
}

// windowTitle is what the window of the terminal is called: a name of others is in it.
func (m *model) windowTitle() string {
	unread, mentions := m.elsewhere()
	title := "pandanode"
	if m.open != "" {
		title = m.titleOfOpen() + " - pandanode"
	}
	if unread > 0 || mentions > 0 {
		title = "(" + badge(unread, mentions) + ") " + title
	}
	return title
}
