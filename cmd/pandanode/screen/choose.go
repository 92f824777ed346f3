package screen

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pandanode/pandanode/node/api"
)

// chooser is a line, and a list of which one is chosen.
type chooser struct {
	edit    editor
	list    []choice
	at      int
	seq     int    // of the question that was asked last
	busy    bool   // its answer is still coming
	asked   string // the words of it
	moved   bool   // somebody has chosen with the arrows
	meant   bool   // somebody came here, and can go back
	message string // that is reacted to
}

// choice is one of the list.
type choice struct {
	title, detail string
	do            []want
	group         string // go there
}

// choosing begins to choose.
func (m *model) choosing(to mode) []want {
	seq := m.choose.seq + 1
	m.choose = chooser{seq: seq}
	m.mode = to
	return m.chosen()
}

// linkPrefix is the beginning of every invite link (docs/WIRE.md).
const linkPrefix = "pandanode:invite/"

// chosen makes the list anew, after the line has changed.
func (m *model) chosen() []want {
	x := &m.choose
	words := strings.TrimSpace(x.edit.text)
	switch m.mode {
	case going:
		x.list = nil
		for _, g := range m.groups {
			if !strings.Contains(strings.ToLower(g.Name), strings.ToLower(words)) && !strings.HasPrefix(g.ID, words) {
				continue
			}
			x.list = append(x.list, choice{title: m.title(g), detail: standing(g), group: g.ID})
		}
		slices.SortStableFunc(x.list, func(a, b choice) int { return m.unreadRank(b.group) - m.unreadRank(a.group) })
	case searching:
		x.list = nil
	case reacting:
		x.list = nil
		for _, e := range emoji {
			if strings.Contains(e.name, words) || words == e.text {
				x.list = append(x.list, choice{title: e.text + "  " + e.name, do: []want{wantReact{m.open, x.message, e.text}}})
			}
		}
		if len(x.list) == 0 && words != "" && utf8.RuneCountInString(words) <= 8 {
			x.list = append(x.list, choice{title: line(words), do: []want{wantReact{m.open, x.message, words}}})
		}
	case beginning:
		if words != x.asked {
			x.list, x.asked, x.busy = nil, "", false
		}
	default:
	}
	x.at = max(min(x.at, len(x.list)-1), 0)
	return nil
}

// unreadRank puts groups with mentions first, then those with other unread messages.
func (m *model) unreadRank(id string) int {
	g := m.group(id)
	switch {
	case g == nil || id == m.open:
		return 0
	case g.Mentions > 0:
		return 2
	case g.Unread > 0 && !g.Muted:
		return 1
	}
	return 0
}

func (m *model) keyChoosing(k, text string) []want {
	x := &m.choose
	switch k {
	case "esc":
		if m.mode == beginning && len(m.groups) == 0 {
			x.edit.set("")
			return m.chosen()
		}
		if m.mode == reacting {
			m.mode = selecting
			return nil
		}
		m.mode = writing
		if m.mode == writing && m.chat() == nil && len(m.groups) > 0 {
			return m.enter(m.groups[0].ID)
		}
		return m.seen()
	case "f1":
		m.show("Keys and commands", help(m.host.Commands, m.width))
		return nil
	case "up", "shift+tab":
		x.at, x.moved = max(x.at-1, 0), true
		return nil
	case "down", "tab":
		x.at, x.moved = max(min(x.at+1, len(x.list)-1), 0), true
		return nil
	case "pgup":
		x.at = max(x.at-10, 0)
		return nil
	case "pgdown":
		x.at = max(min(x.at+10, len(x.list)-1), 0)
		return nil
	case "enter":
		return m.choice()
	}
	if x.edit.key(k) {
		return m.chosen()
	}
	if text == "" {
		return nil
	}
	x.edit.insert(text)
	return m.chosen()
}

// choice does what was chosen.
func (m *model) choice() []want {
	x := &m.choose
	words := strings.TrimSpace(x.edit.text)
	if (m.mode == searching || m.mode == beginning) && words != "" && x.asked != words {
		return m.asks(words)
	}
	if x.at >= len(x.list) || m.mode == beginning && x.busy && !x.moved { // what is found may come before it
		return nil
	}
	c := x.list[x.at]
	from := m.mode
	m.mode = writing
	switch {
	case c.group != "":
		return m.enter(c.group)
	case from == reacting:
		if chat := m.chat(); chat != nil {
			chat.pick = 0
		}
	case from == beginning:
		m.mode = beginning // until it is done
		x.busy = true
		return append(c.do, m.say("one moment …")...)
	case from == searching:
		if chat := m.chat(); chat != nil {
			chat.asked = true
		}
	}
	return c.do
}

// asks has the node look for words.
func (m *model) asks(words string) []want {
	x := &m.choose
	x.seq++
	x.asked, x.busy, x.moved, x.list, x.at = words, true, false, nil, 0
	switch {
	case m.mode == searching:
		return []want{wantSearch{m.open, words, x.seq}}
	case strings.HasPrefix(words, linkPrefix):
		return append(m.say("joining …"), wantJoin{link: words})
	}
	m.offers(nil)
	return []want{wantFind{words, x.seq}}
}

func (m *model) found(msg found) []want {
	x := &m.choose
	if m.mode != searching || msg.seq != x.seq {
		return nil
	}
	x.busy = false
	if msg.err != nil {
		return m.complain(msg.err)
	}
	c := m.chat()
	for _, f := range msg.messages {
		at := place{m.open, c.at.n}
		x.list = append(x.list, choice{
			title:  line(excerpt(f)),
			detail: m.name(f.User, f.Name) + ", " + m.moment(f.Sent),
			do:     []want{wantAround{at, f.Cursor}},
		})
	}
	return nil
}

func (m *model) offered(msg offered) []want {
	x := &m.choose
	if m.mode != beginning || msg.seq != x.seq {
		return nil
	}
	x.busy = false
	m.offers(msg.list)
	if x.moved {
		x.at += len(msg.list) // on the same choice
	}
	if api.CodeOf(msg.err) == api.CodeNoPeers {
		return m.say("no other device is connected yet, so that nobody could be asked: search again later, or found the group")
	}
	if msg.err != nil && api.CodeOf(msg.err) != api.CodeTimeout {
		return m.complain(msg.err)
	}
	return nil
}

// offers lists groups that were found, and a new one of that name.
func (m *model) offers(list []api.Found) {
	x := &m.choose
	x.list = nil
	names := api.NamesOf()
	for _, f := range list {
		names.Add(api.Candidate{ID: f.ID, Name: f.Name})
	}
	for _, f := range list {
		title := line(f.Name)
		if names.Doubt(api.Candidate{ID: f.ID, Name: f.Name}) != "" {
			title += "/" + api.Short(f.ID)
		}
		how := map[api.Policy]string{api.PolicyOpen: "anybody may join", api.PolicyRequest: "an admin lets people in", api.PolicyInvite: "by invite only"}[f.Policy]
		x.list = append(x.list, choice{title: "Join " + title, detail: fmt.Sprintf("%s, about %s", how, count(f.Members, "member")), do: []want{wantJoin{group: f.ID}}})
	}
	name := x.asked
	x.list = append(x.list,
		choice{title: fmt.Sprintf("Found a new group %q", line(name)), detail: "anybody may find it and join", do: []want{wantMake{name: name, policy: api.PolicyOpen}}},
		choice{title: fmt.Sprintf("Found a private group %q", line(name)), detail: "nobody finds it: people come by your invites", do: []want{wantMake{name: name, policy: api.PolicyInvite, private: true}}})
}

func (m *model) joined(msg joined) []want {
	m.choose.busy = false
	if msg.err != nil {
		if msg.group != "" {
			if m.open == "" {
				m.wanted = msg.group
			}
			return append(m.complain(msg.err), wantGroups{})
		}
		return m.complain(msg.err)
	}
	m.choose.meant, m.wanted, m.mode = false, msg.group, writing
	if m.group(msg.group) != nil {
		return append(m.enter(msg.group), m.say("%s", msg.say)...)
	}
	m.open = ""
	return append(m.say("%s", msg.say), wantGroups{})
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// completion is what Tab goes through.
type completion struct {
	list []string
	at   int
	from int // where the word begins
	seq  int // of the question for paths that was asked last; 0: none
}

// completes puts the next fitting word in the place of the one that was begun.
func (m *model) completes(by int) []want {
	c := m.chat()
	if c.write.text == "" {
		return nil
	}
	x := &m.complete
	if len(x.list) == 0 {
		if path, from, ok := pathIn(c.write.text[:c.write.at]); ok {
			m.asked++
			*x = completion{from: from, seq: m.asked}
			return []want{wantPaths{path, m.asked}}
		}
		word, from := c.write.word()
		x.list, x.from = m.fitting(word, from), from
		if len(x.list) == 0 {
			*x = completion{}
			return nil
		}
		if x.at = 0; by < 0 {
			x.at = len(x.list) - 1
		}
	} else {
		x.at = (x.at + by + len(x.list)) % len(x.list)
	}
	return m.completed()
}

// completed puts what Tab has come to in the place of the word.
func (m *model) completed() []want {
	c, x := m.chat(), &m.complete
	rest := c.write.text[c.write.at:]
	head := c.write.text[:x.from] + x.list[x.at]
	if len(x.list) == 1 && !strings.HasPrefix(rest, " ") && !strings.HasSuffix(head, "/") { // a folder goes on
		head += " "
	}
	c.write.text, c.write.at = head+rest, len(head)
	if len(x.list) == 1 {
		*x = completion{}
	}
	return m.typed()
}

// fitting lists what a word can become.
func (m *model) fitting(word string, from int) (out []string) {
	c := m.chat()
	low := strings.ToLower(word)
	switch {
	case from == 0 && strings.HasPrefix(word, "/"):
		for _, w := range m.host.Words {
			if strings.HasPrefix(w, low) {
				out = append(out, w)
			}
		}
	case strings.HasPrefix(word, "@"):
		for _, p := range c.members {
			if !p.Self && strings.HasPrefix(strings.ToLower(p.Name), low[1:]) && c.names.Doubt(api.Candidate{ID: p.User, Name: p.Name}) == "" {
				out = append(out, "@"+p.Name)
			}
		}
	case strings.HasPrefix(word, ":") && len(word) > 1:
		for _, e := range emoji {
			if strings.HasPrefix(e.name, low[1:]) {
				out = append(out, e.text)
			}
		}
	case strings.HasPrefix(c.write.text, "/chat "):
		for _, g := range m.groups {
			if strings.HasPrefix(strings.ToLower(g.Name), low) {
				out = append(out, g.Name)
			}
		}
	case strings.HasPrefix(c.write.text, "/") && word != "":
		for _, p := range c.members {
			if strings.HasPrefix(strings.ToLower(p.Name), low) {
				out = append(out, quoted(p.Name))
			}
		}
	case from == 0 && word != "": // "ben: ..."
		for _, p := range c.members {
			if !p.Self && strings.HasPrefix(strings.ToLower(p.Name), low) {
				out = append(out, "@"+p.Name)
			}
		}
	}
	for i := range out {
		out[i] = line(out[i])
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func quoted(name string) string {
	if strings.ContainsAny(name, " \t") {
		return `"` + name + `"`
	}
	return name
}

// emoji are those that have a name here. Any other can be typed or pasted.
var emoji = []struct{ name, text string }{
	{"heart", "❤"},
	{"thumbs-up", "👍"},
	{"thumbs-down", "👎"},
	{"smile", "😊"},
	{"laugh", "😂"},
	{"grin", "😁"},
	{"wink", "😉"},
	{"cry", "😢"},
	{"wow", "😮"},
	{"think", "🤔"},
	{"angry", "😠"},
	{"party", "🎉"},
	{"fire", "🔥"},
	{"clap", "👏"},
	{"wave", "👋"},
	{"pray", "🙏"},
	{"eyes", "👀"},
	{"check", "✅"},
	{"cross", "❌"},
	{"question", "❓"},
	{"rocket", "🚀"},
	{"tea", "🍵"},
	{"coffee", "☕"},
	{"cake", "🍰"},
	{"panda", "🐼"},
	{"sun", "🌞"},
	{"star", "⭐"},
	{"hundred", "💯"},
}
