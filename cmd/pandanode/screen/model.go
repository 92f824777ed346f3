package screen

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"

	"github.com/pandanode/pandanode/node/api"
)

// mode is what keys are for.
type mode int

const (
	writing   mode = iota
	selecting      // a message of the timeline
	going          // to another group
	searching      // for words in a group
	beginning      // there is no group: find one, or found one
	unlocking      // the node waits for its passphrase
	reading        // a text over the timeline
	asking         // yes or no
	reacting       // with what
)

// model is all that the screen shows. Update changes it, View draws it.
type model struct {
	host          Host
	width, height int
	m             measure
	colours       bool // the terminal shows colours, and they are wanted
	dark          bool // it has a dark background
	blurred       bool // somebody looks elsewhere
	now           time.Time

	me     api.ID
	status api.Status
	link   link
	why    string // the node is away, or locked
	wait   time.Duration

	groups  []api.Group // as they are listed
	open    string      // the ID of the group that is shown
	wanted  string      // the one to open once it is listed
	opens   int
	chats   map[string]*chat
	touched map[string]bool // groups of which events tell

	mode   mode
	back   mode // where Esc leads from a text or a question
	box    box
	choose chooser
	ask    question
	secret hidden

	note    string
	isError bool
	notes   int

	keys     int // of pending texts
	history  []string
	at       int // in it; len: the draft
	kept     string
	complete completion
	asked    int  // questions for paths
	bare     bool // the timeline alone, for copying with the mouse
	looks    bool // soon, at deliveries of new messages
	quits    bool
}

// link says how the node is.
type link int

const (
	linking link = iota
	linked
	away
	locked
)

// box is a text that is shown over the timeline.
type box struct {
	title string
	lines []string // styled already
	top   int
	qr    string // a text that is drawn as a QR code above
}

// question is one that is answered with y or n.
type question struct {
	text string
	do   want
}

// newModel gives a screen that shows a group first; empty: the one where something happened last.
func newModel(h Host, group string) *model {
	return &model{host: h, width: 80, height: 24, m: measure(ansi.WcWidth), colours: true, dark: true, now: h.Now(), wanted: group, chats: map[string]*chat{}, touched: map[string]bool{}, wait: firstTry}
}

// Bounds of the time between two tries to reach a node that is away.
const (
	firstTry = 100 * time.Millisecond
	lastTry  = 3 * time.Second
)

// Times after which something is done.
const (
	gathering = 80 * time.Millisecond
	typing    = time.Second
	noting    = 8 * time.Second
	looking   = 1500 * time.Millisecond // at deliveries of new messages
	lookLater = 15 * time.Second        // and of others
)

// Init is what is to be done first.
func (m *model) Init() []want {
	return []want{wantStart{}, wantAfter{untilMinute(m.now), tickMinute}, wantAfter{lookLater, tickDeliver}}
}

func untilMinute(now time.Time) time.Duration {
	return now.Truncate(time.Minute).Add(time.Minute).Sub(now)
}

// chat is the group that is shown, if there is one.
func (m *model) chat() *chat { return m.chats[m.open] }

// group gives a group of the list.
func (m *model) group(id string) *api.Group {
	if i := slices.IndexFunc(m.groups, func(g api.Group) bool { return g.ID == id }); i >= 0 {
		return &m.groups[i]
	}
	return nil
}

// say shows a remark for a while.
func (m *model) say(format string, args ...any) []want { return m.tell(false, format, args...) }

// complain shows an error for a while.
func (m *model) complain(err error) []want {
	if err == nil {
		return nil
	}
	e := api.AsError(err)
	text := e.Message
	if e.Hint != "" && strings.HasPrefix(e.Hint, "pandanode ") {
		text += "; " + e.Hint + " helps"
	} else if e.Hint != "" {
		text += "; " + e.Hint
	}
	return m.tell(true, "%s", text)
}

func (m *model) tell(isError bool, format string, args ...any) []want {
	m.note, m.isError = line(fmt.Sprintf(format, args...)), isError
	m.notes++
	return []want{wantAfter{noting, tickNote}}
}

// Update takes what happened and gives what is to be done.
func (m *model) Update(msg tea.Msg) []want {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
		return m.seen()
	case tea.ColorProfileMsg:
		m.colours = msg.Profile > colorprofile.ASCII
	case tea.BackgroundColorMsg:
		m.dark = msg.IsDark()
	case tea.ModeReportMsg:
		if msg.Mode == ansi.ModeUnicodeCore && (msg.Value == ansi.ModeReset || msg.Value == ansi.ModeSet || msg.Value == ansi.ModePermanentlySet) {
			m.m = measure(ansi.GraphemeWidth) // as the renderer does
		}
	case tea.FocusMsg:
		m.blurred = false
		return m.seen()
	case tea.BlurMsg:
		m.blurred = true
	case tea.PasteMsg:
		return m.paste(msg.Content)
	case tea.KeyPressMsg:
		return m.key(msg)
	default:
		return m.answer(msg)
	}
	return nil
}

// answer takes what the node says.
func (m *model) answer(msg tea.Msg) []want {
	switch msg := msg.(type) {
	case started:
		return m.started(msg)
	case tried:
		if msg.err != nil {
			return m.gone(msg.err)
		}
		return []want{wantStart{}}
	case listed:
		if msg.err != nil {
			return m.gone(msg.err)
		}
		m.status = msg.status
		return append(m.list(msg.groups), m.seen()...)
	case happened:
		return m.happened(msg.events)
	case unwatched:
		return m.gone(cmp.Or(msg.err, error(api.Errorf(api.CodeUnavailable, "the node ended the stream"))))
	case opened:
		return m.opened(msg)
	case met:
		if c := m.chat(); c != nil && c.at == msg.at {
			c.people(msg.members, msg.requests)
		}
	case came:
		return m.came(msg)
	case unfollowed:
		if c := m.chat(); c != nil && c.at == msg.at {
			return m.gone(cmp.Or(msg.err, error(api.Errorf(api.CodeUnavailable, "the node ended the stream"))))
		}
	case older:
		return m.older(msg)
	case newer:
		return m.newer(msg)
	case sent:
		return m.sent(msg)
	case flushed:
		return m.flushed(msg)
	case did:
		if msg.err != nil {
			return m.complain(msg.err)
		}
		if msg.what != "" {
			return m.say("%s", msg.what)
		}
	case renewed:
		if c := m.chats[msg.group]; c != nil {
			c.change(msg.message)
		}
	case answered:
		return m.answered(msg)
	case read:
		if g := m.group(msg.mark.Group); g != nil {
			g.Read, g.Unread, g.Mentions = max(g.Read, msg.mark.Cursor), msg.mark.Unread, msg.mark.Mentions
		}
	case delivered:
		if c := m.chats[msg.group]; c != nil {
			c.deliver(msg.sent)
		}
	case found:
		return m.found(msg)
	case offered:
		return m.offered(msg)
	case pathsListed:
		return m.pathsListed(msg)
	case joined:
		return m.joined(msg)
	case unlocked:
		return m.unlocked(msg)
	case edited:
		if msg.err != nil {
			return m.complain(msg.err)
		}
		if c := m.chat(); c != nil {
			c.write.set(strings.TrimRight(msg.text, "\n"))
			return m.typed()
		}
	case ticked:
		return m.ticked(msg)
	}
	return nil
}

// started takes the node as it is at the start, or when it is back.
func (m *model) started(msg started) []want {
	if msg.err != nil {
		return m.gone(msg.err)
	}
	if msg.status.Locked {
		m.status = msg.status
		return m.gone(api.ErrLocked())
	}
	was, shown := m.link, m.open
	m.link, m.why, m.wait, m.me, m.status = linked, "", firstTry, msg.me, msg.status
	if m.mode == unlocking {
		m.mode = writing
	}
	do := append([]want{wantWatch{}}, m.keepDraft()...)
	do = append(do, m.list(msg.groups)...)
	if was == away && m.note == "" {
		do = append(do, m.say("the node is back")...)
	}
	for _, id := range slices.Sorted(maps.Keys(m.chats)) {
		do = append(do, m.flush(id)...)
	}
	if c := m.chat(); c != nil && m.open == shown && m.group(m.open) != nil { // again, as it is now
		m.opens++
		c.at.n = m.opens
		return append(do, wantOpen{c.at})
	}
	return do
}

// flush sends what waits of a group.
func (m *model) flush(group string) []want {
	c := m.chats[group]
	if c == nil || len(c.pending) == 0 || c.sending {
		return nil
	}
	c.sending = true
	return []want{wantFlush{group, slices.Clone(c.pending)}}
}

// sendNext sends the next text of a group, one after the other, so that they stay in order.
func (m *model) sendNext(group string) []want {
	c := m.chats[group]
	if c.sending || len(c.pending) == 0 || m.link != linked {
		return nil
	}
	c.sending = true
	return []want{wantSend{group, c.pending[0]}}
}

// gone takes in that the node does not answer.
func (m *model) gone(err error) []want {
	if m.quits {
		return nil
	}
	if !unanswered(err) {
		return m.complain(err)
	}
	e := api.AsError(err)
	if e.Code == api.CodeLocked {
		if m.link != locked || m.mode != unlocking { // else what is said of a passphrase stays
			m.link, m.mode, m.why = locked, unlocking, line(e.Message)
			m.secret.wipe()
		}
		return []want{wantStop{}, wantAfter{lastTry, tickTry}}
	}
	m.why = line(e.Message)
	if m.link == away {
		m.wait = min(2*m.wait, lastTry)
		return []want{wantAfter{m.wait, tickTry}}
	}
	m.link, m.wait = away, firstTry
	if m.mode == unlocking {
		m.mode = writing
	}
	return []want{wantStop{}, wantAfter{m.wait, tickTry}}
}

// list takes the groups, in the order in which they are shown.
func (m *model) list(groups []api.Group) []want {
	slices.SortStableFunc(groups, func(a, b api.Group) int {
		if a.Pinned != b.Pinned {
			return map[bool]int{true: -1, false: 1}[a.Pinned]
		}
		return cmp.Or(b.Active.Compare(a.Active), cmp.Compare(a.ID, b.ID))
	})
	m.groups = groups
	if len(groups) == 0 {
		if m.mode == writing || m.mode == selecting || m.mode == going {
			m.open, m.mode = "", beginning
			m.choose = chooser{}
		}
		return nil
	}
	if m.mode == beginning && m.open == "" && !m.choose.meant {
		m.mode = writing
	}
	if m.group(m.wanted) != nil && m.mode != beginning {
		return m.enter(m.wanted)
	}
	if m.group(m.open) == nil {
		to := groups[0].ID
		if i := slices.IndexFunc(groups, func(g api.Group) bool { return !g.Pinned }); i >= 0 && groups[i].Active.After(groups[0].Active) {
			to = groups[i].ID
		}
		if m.mode == beginning {
			return nil
		}
		later := m.wanted // this list may be older than the wish
		do := m.enter(to)
		m.wanted = later
		return do
	}
	return nil
}

// enter shows a group.
func (m *model) enter(id string) []want {
	m.wanted = ""
	do := m.keepDraft()
	if id == m.open && m.chat() != nil {
		return append(do, m.toEnd()...)
	}
	m.opens++
	m.open, m.mode, m.complete = id, writing, completion{}
	c := m.chats[id]
	if c == nil {
		c = &chat{names: api.NamesOf()}
		m.chats[id] = c
	}
	c.at = place{id, m.opens}
	c.away, c.pick, c.below, c.newFrom, c.asked, c.later, c.only = false, 0, 0, 0, false, false, ""
	m.at, m.kept = len(m.history), ""
	return append(do, wantOpen{c.at})
}

// chatAt is the open chat, if an answer is for the time for which it is open now; else nil.
func (m *model) chatAt(at place) *chat {
	if c := m.chat(); c != nil && c.at == at {
		return c
	}
	return nil
}

func (m *model) opened(msg opened) []want {
	c := m.chatAt(msg.at)
	if c == nil {
		return nil
	}
	c.asked = false
	if msg.err != nil {
		return m.gone(msg.err)
	}
	first := !c.ready
	c.ready, c.items = true, slices.DeleteFunc(msg.page, func(h api.Happening) bool { return !shown(h) })
	c.more = len(msg.page) > 0 && msg.page[0].More
	c.people(msg.members, msg.requests)
	c.arrivedAnew()
	if msg.end != 0 {
		c.later, c.away, c.last, c.skip, c.pick, c.only = true, true, msg.end, 0, msg.end, ""
		m.mode = selecting
		return nil
	}
	c.later = false
	if c.away && c.index(c.last) < 0 {
		c.away, c.skip = false, 0
	}
	if c.pick != 0 && c.index(c.pick) < 0 {
		c.pick = 0
	}
	if g := m.group(msg.at.group); g != nil {
		*g = msg.group
	}
	if first && msg.draft != nil && c.write.text == "" {
		c.draft = *msg.draft
		c.write.set(msg.draft.Text)
		c.replyTo = msg.draft.ReplyTo
	}
	if c.newFrom == 0 && msg.group.Unread > 0 {
		for _, h := range c.items {
			if fromOther(h.Message) && h.Cursor > msg.group.Read {
				c.newFrom = h.Cursor
				break
			}
		}
	}
	since := c.newest()
	if len(msg.page) > 0 {
		since = max(since, msg.page[len(msg.page)-1].Cursor)
	}
	do := append(m.seen(), m.restOfThread(c)...)
	return append(append(do, m.look()...), wantFollow{c.at, since})
}

func (m *model) came(msg came) []want {
	c := m.chatAt(msg.at)
	if c == nil {
		return nil
	}
	fresh := c.take(msg.items)
	if c.away || m.blurred || c.only != "" {
		c.below += fresh
		if m.blurred && !c.away && c.newFrom == 0 && fresh > 0 {
			for _, h := range msg.items {
				if fromOther(h.Message) && h.Message.Change == nil {
					c.newFrom = h.Cursor
					break
				}
			}
		}
	}
	var people bool
	for _, h := range msg.items {
		people = people || h.Event != nil && h.Event.Kind != api.EventChanged
	}
	do := append(m.seen(), m.look()...)
	if people {
		do = append(do, wantPeople{c.at})
	}
	return do
}

func (m *model) older(msg older) []want {
	c := m.chatAt(msg.at)
	if c == nil {
		return nil
	}
	c.asked = false
	if msg.err != nil {
		return m.gone(msg.err)
	}
	c.more = len(msg.page) > 0 && msg.page[0].More
	var page []api.Happening
	for _, h := range msg.page {
		if shown(h) && (len(c.items) == 0 || h.Cursor < c.items[0].Cursor) {
			c.meet(h)
			page = append(page, h)
		}
	}
	c.items = append(page, c.items...)
	return m.restOfThread(c)
}

func (m *model) newer(msg newer) []want {
	c := m.chatAt(msg.at)
	if c == nil {
		return nil
	}
	c.asked = false
	if msg.err != nil {
		return m.gone(msg.err)
	}
	c.later = false // so that they are taken
	c.take(msg.page)
	if c.later = !msg.all; c.later {
		return nil
	}
	return append(m.seen(), wantFollow{c.at, c.newest()})
}

// happened gathers what events of the node tell of.
func (m *model) happened(events []api.Event) []want {
	first := len(m.touched) == 0
	var do []want
	for _, e := range events {
		m.touched[e.Group] = true // of no group: a peer
		if c := m.chat(); c != nil && e.Kind == api.EventPeople && do == nil {
			do = []want{wantOpen{c.at}} // what was hidden may be shown, or the other way round
		}
		if c := m.chats[e.Group]; c != nil && (e.Kind == api.EventFile || e.Kind == api.EventFileProgress) && c.message(e.Message) != nil {
			do = append(do, wantMessage{e.Group, e.Message})
		}
	}
	if !first || len(events) == 0 {
		return do
	}
	return append(do, wantAfter{gathering, tickGroups})
}

// seen moves the read mark to the newest item, while it is in view and somebody looks.
func (m *model) seen() []want {
	c, g := m.chat(), m.group(m.open)
	if c == nil || g == nil || !c.ready || m.link != linked || m.blurred || c.away || c.later || c.only != "" || m.mode == unlocking || m.mode == beginning || m.mode == reading {
		return nil
	}
	c.below = 0
	if newest := c.newest(); newest > max(g.Read, c.marked) {
		c.marked = newest
		return []want{wantRead{m.open, newest}}
	}
	return nil
}

func (m *model) ticked(msg ticked) []want {
	m.now = msg.now
	switch msg.tick {
	case tickMinute:
		do := []want{wantAfter{untilMinute(m.now), tickMinute}}
		if m.link == linked {
			do = append(do, wantGroups{})
		}
		return do
	case tickGroups:
		clear(m.touched)
		if m.link == linked {
			return append(m.seen(), wantGroups{})
		}
	case tickTry:
		if m.link == away || m.link == locked {
			return []want{wantTry{}}
		}
	case tickDraft:
		return m.keepDraft()
	case tickNote:
		if m.notes--; m.notes <= 0 {
			m.notes, m.note, m.isError = 0, "", false
		}
	case tickFresh:
		if m.looks = false; m.chat() != nil && m.link == linked {
			if ids, young := m.chat().undelivered(m.now); young {
				return append(m.look(), wantDeliveries{m.open, ids})
			}
		}
	case tickDeliver:
		do := []want{wantAfter{lookLater, tickDeliver}}
		if c := m.chat(); c != nil && m.link == linked {
			if ids, _ := c.undelivered(m.now); len(ids) > 0 {
				do = append(do, wantDeliveries{m.open, ids})
			}
			do = append(do, wantGroups{}) // who is here changes without an event
		}
		return do
	}
	return nil
}

// look looks soon at the deliveries of new messages, and goes on while there are some.
func (m *model) look() []want {
	if m.looks {
		return nil
	}
	m.looks = true
	return []want{wantAfter{looking, tickFresh}}
}

// sent takes what became of a text.
func (m *model) sent(msg sent) []want {
	c := m.chats[msg.group]
	if c == nil {
		return nil
	}
	c.sending = false
	switch {
	case msg.err == nil:
		c.drop(msg.p.key)
		return m.sendNext(msg.group)
	case unanswered(msg.err):
		for i := range c.pending {
			c.pending[i].waits = true
		}
		if m.link == linked {
			return m.gone(msg.err)
		}
		return nil
	}
	m.giveBack(c, msg.p)
	return append(m.complain(msg.err), m.sendNext(msg.group)...)
}

// unanswered says whether an error leaves open what became of a request: it is sent again.
func unanswered(err error) bool {
	code := api.CodeOf(err)
	return code == api.CodeUnavailable || code == api.CodeLocked || code == api.CodeTimeout
}

// giveBack puts a text that was not sent where it can be written on.
func (m *model) giveBack(c *chat, p pending) {
	c.drop(p.key)
	if c.write.text == "" {
		c.write.set(p.text)
		c.replyTo = p.replyTo
	} else {
		m.history = append(m.history, p.text)
		m.at = len(m.history)
	}
}

func (m *model) flushed(msg flushed) []want {
	c := m.chats[msg.group]
	if c == nil {
		return nil
	}
	c.sending = false
	c.drop(msg.done...)
	var do []want
	for _, key := range slices.Sorted(maps.Keys(msg.wrong)) {
		if i := slices.IndexFunc(c.pending, func(p pending) bool { return p.key == key }); i >= 0 {
			m.giveBack(c, c.pending[i])
			do = append(do, m.complain(msg.wrong[key])...)
		}
	}
	if msg.err != nil {
		return append(do, m.gone(msg.err)...)
	}
	return append(do, m.sendNext(msg.group)...)
}

// Unsent are the texts that the node has not accepted.
func (m *model) Unsent() (texts []string) {
	for _, id := range slices.Sorted(maps.Keys(m.chats)) {
		for _, p := range m.chats[id].pending {
			texts = append(texts, p.text)
		}
		if c := m.chats[id]; m.link != linked && c.editing == "" && c.write.text != c.draft.Text && c.write.text != "" {
			texts = append(texts, c.write.text) // begun, and not kept by a node that is away
		}
	}
	return texts
}

// elsewhere is how many unread messages of other groups there are, and of them mentions.
func (m *model) elsewhere() (unread, mentions int) {
	for _, g := range m.groups {
		if g.ID == m.open {
			continue
		}
		mentions += g.Mentions
		if !g.Muted {
			unread += g.Unread
		}
	}
	return unread, mentions
}
