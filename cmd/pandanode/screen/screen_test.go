package screen

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/api/apitest"
)

var update = flag.Bool("update", false, "write the golden views anew")

var noon = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)

// host is a command line of a few words.
func host() Host {
	return Host{
		Deed: func(e api.Event, called func(name, id string) string) string {
			return called(e.UserName, e.User) + " " + string(e.Kind)
		},
		Check: func(text string) error {
			if len(text) > 64<<10 {
				return api.Errorf(api.CodeInvalid, "the message is too long")
			}
			return nil
		},
		QR: func(string, bool) ([]string, error) {
			return []string{"████", "█▀▄█", "████"}, nil
		},
		Slash:    func(context.Context, string, string) Answer { return Answer{} },
		Save:     func(context.Context, string) (string, error) { return "panda.jpg", nil },
		Commands: []string{"/chat GROUP  go to another group", "/help        show this"},
		Words:    []string{"/chat", "/help", "/invite", "/quit"},
		Editor:   []string{"vi"},
		Now:      func() time.Time { return noon },
	}
}

// scene is a screen that a test plays: what is wanted is gathered.
type scene struct {
	*model
	t    *testing.T
	done []want
}

func (s *scene) does(msgs ...tea.Msg) {
	s.t.Helper()
	for _, msg := range msgs {
		s.done = append(s.done, s.Update(msg)...)
	}
}

// types types keys: a word of several letters in "<>" is one key.
func (s *scene) types(text string) {
	s.t.Helper()
	for len(text) > 0 {
		if end := strings.IndexByte(text, '>'); text[0] == '<' && end > 0 {
			s.does(pressed(text[1:end]))
			text = text[end+1:]
			continue
		}
		r := []rune(text)[0]
		s.does(tea.KeyPressMsg{Text: string(r), Code: r})
		text = text[len(string(r)):]
	}
}

// pressed is a key by its name.
func pressed(name string) tea.KeyPressMsg {
	codes := map[string]rune{
		"enter": tea.KeyEnter, "esc": tea.KeyEscape, "up": tea.KeyUp, "down": tea.KeyDown, "left": tea.KeyLeft, "right": tea.KeyRight, "tab": tea.KeyTab,
		"home": tea.KeyHome, "end": tea.KeyEnd, "pgup": tea.KeyPgUp, "pgdown": tea.KeyPgDown, "backspace": tea.KeyBackspace, "delete": tea.KeyDelete, "f1": tea.KeyF1, "f2": tea.KeyF2,
	}
	var k tea.KeyPressMsg
	parts := strings.Split(name, "-")
	for _, p := range parts[:len(parts)-1] {
		k.Mod |= map[string]tea.KeyMod{"ctrl": tea.ModCtrl, "alt": tea.ModAlt, "shift": tea.ModShift}[p]
	}
	last := parts[len(parts)-1]
	if k.Code = codes[last]; k.Code == 0 {
		k.Code = []rune(last)[0]
	}
	return k
}

// wants gives what was wanted since the last time, of one kind.
func wants[T want](s *scene) (out []T) {
	for _, w := range s.done {
		if x, ok := w.(T); ok {
			out = append(out, x)
		}
	}
	s.done = nil
	return out
}

// text is what is seen, without colours.
func (s *scene) text() string {
	f := s.View()
	for i, l := range f.lines {
		if w := s.m.width(l); w != s.width {
			s.t.Errorf("line %d has %d columns, the screen %d: %q", i, w, s.width, l)
		}
	}
	if len(f.lines) != s.height {
		s.t.Errorf("%d lines, the screen has %d", len(f.lines), s.height)
	}
	if f.cursor && (f.x < 0 || f.x >= s.width || f.y < 0 || f.y >= s.height) {
		s.t.Errorf("the cursor is at %d, %d", f.x, f.y)
	}
	lines := make([]string, len(f.lines))
	for i, l := range f.lines {
		lines[i] = strings.TrimRight(ansi.Strip(l), " ")
	}
	return strings.Join(lines, "\n") + "\n"
}

func (s *scene) shows(texts ...string) {
	s.t.Helper()
	for _, text := range texts {
		if !strings.Contains(s.text(), text) {
			s.t.Errorf("%q is not shown:\n%s", text, s.text())
		}
	}
}

func (s *scene) hides(texts ...string) {
	s.t.Helper()
	for _, text := range texts {
		if strings.Contains(s.text(), text) {
			s.t.Errorf("%q is shown:\n%s", text, s.text())
		}
	}
}

var (
	anna  = api.ID{User: apitest.ID("user anna"), Device: apitest.ID("device anna"), Name: "anna"}
	tea1  = apitest.ID("tea")
	board = apitest.ID("board")
	choir = apitest.ID("choir")
)

func groupsOf() []api.Group {
	return []api.Group{
		{ID: tea1, Name: "tea house", Description: "Green, black, and white", State: api.StateMember, Role: "owner", Policy: api.PolicyOpen, Members: 4, TopicPeers: 2, Active: noon, Cursor: 40, Read: 20},
		{ID: board, Name: "board", State: api.StateMember, Role: "member", Members: 12, Active: noon.Add(-time.Hour), Unread: 7, Mentions: 2, Cursor: 90},
		{ID: choir, Name: "choir 合唱", State: api.StateJoining, Members: 0, Active: noon.Add(-2 * time.Hour)},
		{ID: apitest.ID("loud"), Name: "loud", State: api.StateMember, Members: 3, Muted: true, Unread: 1000, Active: noon.Add(-3 * time.Hour)},
	}
}

func said(cursor uint64, name, text string) api.Happening {
	at := noon.Add(-20 * time.Minute).Add(time.Duration(cursor) * 10 * time.Second)
	m := &api.Message{Cursor: cursor, ID: apitest.ID(fmt.Sprint("message ", cursor)), User: apitest.ID("user " + name), Device: apitest.ID("device " + name), Name: name, Sent: at, MediaType: "text/plain", Text: text, Own: name == "anna"}
	if m.Own {
		m.State, m.HeldBy, m.Readers = api.DeliveryHeld, 3, 3
	}
	return api.Happening{Cursor: cursor, At: at, Message: m}
}

// began is a screen of a node that runs, with no group open yet.
func began(t *testing.T, width, height int) *scene {
	t.Helper()
	s := &scene{model: newModel(host(), ""), t: t}
	s.does(tea.WindowSizeMsg{Width: width, Height: height})
	s.does(started{me: anna, status: api.Status{Peers: 5}, groups: groupsOf()})
	return s
}

func pageOf() []api.Happening {
	reply := said(12, "anna", "Two tins, and a pot")
	reply.Message.ReplyTo = &api.Reference{ID: apitest.ID("message 11"), User: apitest.ID("user ben"), Name: "ben", Excerpt: "Is there any left?"}
	reply.Message.Reactions = []api.Reaction{{Text: "❤", Count: 2, Mine: true}, {Text: "👍", Count: 1}}
	edit := said(13, "ben", "Then I come at five 🍵 お茶を飲みに行きます")
	edit.Message.Edited = true
	file := said(21, "ben", "Our table")
	file.Message.Files = []api.File{{ID: apitest.ID("file"), Name: "three-way.png", Size: 48_213, State: api.FileHere}}
	mention := said(22, "carla", "@anna is the kettle on?")
	mention.Message.MentionsMe = true
	mention.Message.Spans = []api.Span{{Kind: api.SpanParagraph, Spans: []api.Span{{Kind: api.SpanMention, User: anna.User, Name: "anna"}, {Kind: api.SpanText, Text: " is the kettle "}, {Kind: api.SpanStrong, Spans: []api.Span{{Kind: api.SpanText, Text: "on"}}}, {Kind: api.SpanText, Text: "?"}}}}
	gone := said(23, "carla", "")
	gone.Message.Deleted = &api.Deleted{By: apitest.ID("user carla"), Name: "carla"}
	sent := said(24, "anna", "It is. A long line, so that it has to be broken in every window that there is, however wide a person has made it on a desk")
	sent.Message.State, sent.Message.HeldBy = api.DeliveryHeld, 1
	return []api.Happening{
		{Cursor: 10, At: noon.Add(-time.Hour), Event: &api.Event{Kind: api.EventMemberAdded, User: apitest.ID("user ben"), UserName: "ben"}},
		said(11, "ben", "Is there any left?"), reply, edit, file, mention, gone, sent,
	}
}

func membersOf() (out []api.Member) {
	for _, p := range [][2]string{{"anna", "owner"}, {"ben", "member"}, {"carla", "admin"}, {"dora", "read-only"}} {
		out = append(out, api.Member{User: apitest.ID("user " + p[0]), Name: p[0], Role: p[1], Self: p[0] == "anna", InTree: true})
	}
	return out
}

// opens answers the question for the group that is to be shown.
func (s *scene) opens(page []api.Happening) {
	s.t.Helper()
	asked := wants[wantOpen](s)
	if len(asked) != 1 {
		s.t.Fatalf("%d groups are asked for", len(asked))
	}
	g := *s.group(asked[0].at.group)
	s.does(opened{at: asked[0].at, group: g, page: page, members: api.Members{Members: membersOf()}})
}

func inTea(t *testing.T, width, height int) *scene {
	t.Helper()
	s := began(t, width, height)
	g := s.group(tea1)
	g.Unread, g.Mentions = 3, 1
	s.opens(pageOf())
	return s
}

// The screen at three sizes, as a golden file each.
func TestViews(t *testing.T) {
	t.Parallel()
	for _, size := range [][2]int{{80, 24}, {120, 40}, {40, 12}} {
		scenes := map[string]func(*scene){
			"chat":     func(*scene) {},
			"selected": func(s *scene) { s.types("<esc><up>") },
			"writing": func(s *scene) {
				s.types("A line<alt-enter>and one more, 茶 and ❤️, which is so long that it needs rows of its own")
			},
			"answer": func(s *scene) { s.types("<esc>rYes") },
			"thread": func(s *scene) { s.opensThread(); s.types("And the pot?") },
			"away": func(s *scene) {
				s.does(unwatched{api.Errorf(api.CodeUnavailable, "no node is running")})
				s.types("Is somebody there?<enter>")
			},
			"goto":    func(s *scene) { s.types("<ctrl-k>b") },
			"members": func(s *scene) { s.types("<f2>") },
			"help":    func(s *scene) { s.types("<f1>") },
			"invite": func(s *scene) {
				s.does(answered{"/invite", Answer{Text: "whoever has this link is one of them\npandanode:invite/" + strings.Repeat("abcdefgh", 20), Link: "pandanode:invite/abc"}})
			},
			"locked": func(s *scene) {
				s.does(tried{api.ErrLocked()})
				s.types("secret")
			},
		}
		for name, play := range scenes {
			t.Run(fmt.Sprintf("%s-%dx%d", name, size[0], size[1]), func(t *testing.T) {
				s := inTea(t, size[0], size[1])
				play(s)
				golden(t, fmt.Sprintf("%s-%dx%d", name, size[0], size[1]), s.text())
			})
		}
	}
}

func golden(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != text {
		t.Errorf("%s: got\n%s\nwant\n%s", name, text, want)
	}
}

// A text is sent in its turn, and what is typed while the node is away waits: it is sent once
// the node is back, and once also if only the answer was lost.
func TestSending(t *testing.T) {
	t.Parallel()
	s := inTea(t, 80, 24)
	s.types("one<enter>two<enter>")
	first := wants[wantSend](s)
	if len(first) != 1 || first[0].p.text != "one" || first[0].group != tea1 {
		t.Fatalf("sent: %+v", first)
	}
	s.shows("one", "two")
	s.does(sent{group: tea1, p: first[0].p})
	second := wants[wantSend](s)
	if len(second) != 1 || second[0].p.text != "two" {
		t.Fatalf("then sent: %+v", second)
	}
	lost := api.Errorf(api.CodeUnavailable, "the node is closing")
	s.does(sent{group: tea1, p: second[0].p, err: lost})
	if tries := wants[wantAfter](s); len(tries) == 0 || s.link != away {
		t.Fatalf("the node is not tried again: %v, %v", tries, s.link)
	}
	s.types("three<enter>")
	s.shows("waits for the node")
	s.does(ticked{tickTry, noon}, tried{nil}, started{me: anna, groups: groupsOf()})
	flush := wants[wantFlush](s)
	if len(flush) != 1 || len(flush[0].texts) != 2 || flush[0].texts[0].key != second[0].p.key {
		t.Fatalf("flushed: %+v", flush)
	}
	s.does(came{s.chat().at, []api.Happening{said(29, "ben", "three"), said(30, "anna", "two")}})
	if text := s.text(); strings.Count(text, "two") != 1 || strings.Count(text, "   three\n")+strings.Count(text, "   three  waits") != 2 {
		t.Errorf("what the node had taken is shown twice, or what it had not is not:\n%s", text)
	}
	s.does(flushed{group: tea1, err: api.Errorf(api.CodeTimeout, "no answer")})
	s.does(ticked{tickTry, noon}, tried{nil}, started{me: anna, groups: groupsOf()})
	if again := wants[wantFlush](s); len(again) != 1 || !slices.Equal(again[0].texts, s.chat().pending) || len(again[0].texts) != 2 {
		t.Errorf("flushed again: %+v", again)
	}
	s.does(flushed{group: tea1, done: []int{2, 3}})
	if left := s.Unsent(); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
	s.types("four<enter>")
	p := wants[wantSend](s)[0].p
	s.does(sent{group: tea1, p: p, err: api.Errorf(api.CodeNotPermitted, "you are out")})
	if s.chat().write.text != "four" || len(s.Unsent()) != 0 {
		t.Errorf("what was refused is not given back: %q", s.chat().write.text)
	}
	s.shows("you are out")
}

// How far a message is, is looked at soon after it was sent, whenever that was, and again while
// not everybody has it.
func TestDelivery(t *testing.T) {
	t.Parallel()
	s := inTea(t, 80, 24)
	s.does(ticked{tickFresh, noon.Add(time.Hour)}) // nothing is new
	if w := wants[wantDeliveries](s); len(w) != 0 {
		t.Errorf("looked at: %+v", w)
	}
	at := noon.Add(2 * time.Hour)
	h := said(40, "anna", "fresh")
	h.Message.Sent, h.Message.State = at, api.DeliveryPublished
	for range 2 {
		s.does(came{s.chat().at, []api.Happening{h}})
		h.Cursor++
	}
	if w := wants[wantAfter](s); len(w) != 1 || w[0].wait > 2*time.Second {
		t.Fatalf("looks after %+v", w)
	}
	for range 3 {
		s.does(ticked{tickFresh, at.Add(time.Second)})
		done := s.done
		if w := wants[wantDeliveries](s); len(w) != 1 || !slices.Contains(w[0].ids, h.Message.ID) {
			t.Errorf("looked at: %+v", w)
		}
		if s.done = done; len(wants[wantAfter](s)) != 1 {
			t.Error("it does not look again")
		}
	}
	s.does(delivered{tea1, []api.Sent{{ID: h.Message.ID, State: api.DeliveryHeld, HeldBy: 3, Readers: 3}}})
	s.shows("fresh  ✓✓")
	s.does(ticked{tickFresh, at.Add(time.Second)})
	if w := wants[wantDeliveries](s); len(w) != 0 {
		t.Errorf("looked at though all have it: %+v", w)
	}
}

// A verified user has the mark, and whoever takes the name is said to be another; when what is
// kept of somebody changes, the group is read anew.
func TestVerified(t *testing.T) {
	t.Parallel()
	s := inTea(t, 120, 40)
	members := api.Members{Members: membersOf(), Known: []api.Candidate{{ID: apitest.ID("user eve"), Name: "carla", Verified: true}}}
	members.Members[1].Verified, members.Members[3].New = true, []string{"d"}
	s.does(met{s.chat().at, members, []api.Request{{User: "r", Name: "Ben"}}}, came{s.chat().at, []api.Happening{said(40, "ben", "It is me"), said(41, "carla", "Me, too")}})
	s.shows(api.Mark+" ben", "("+api.NotVerified+") carla/"+api.Short(apitest.ID("user carla")))
	s.hides(api.Mark + " carla")
	s.types("<f2>")
	s.shows(api.Mark+" ben", api.NotVerified, "(new device)", "("+api.NotVerified+") Ben/r")
	s.hides(api.Mark+" carla", api.Mark+" Ben")
	before := len(wants[wantOpen](s))
	s.does(happened{[]api.Event{{Kind: api.EventPeople, User: apitest.ID("user ben")}}})
	if len(wants[wantOpen](s)) != before+1 {
		t.Error("the group is not read anew")
	}
}

// Of two equal texts each needs a message of its own to count as shown, also where a mention has
// become a link. Both are sent, whatever is shown.
func TestArrived(t *testing.T) {
	t.Parallel()
	mention := said(9, "anna", "[@ben](x)")
	mention.Message.Spans = []api.Span{{Kind: api.SpanMention, Name: "ben"}}
	c := &chat{pending: []pending{{key: 1, text: "ok", since: 5}, {key: 2, text: "ok", since: 5}, {key: 3, text: "@ben", since: 5}}}
	c.items = []api.Happening{said(4, "anna", "ok"), said(6, "anna", "ok"), said(7, "ben", "ok"), mention}
	for range 2 {
		if c.arrivedAnew(); !c.pending[0].here || c.pending[1].here || !c.pending[2].here {
			t.Errorf("shown: %+v", c.pending)
		}
	}
}

// The read mark moves to what is in view, while somebody looks, and no further.
func TestReadMark(t *testing.T) {
	t.Parallel()
	s := inTea(t, 80, 24)
	if r := wants[wantRead](s); len(r) != 1 || r[0].cursor != 24 {
		t.Fatalf("read: %+v", r)
	}
	s.does(read{api.ReadMark{Group: tea1, Cursor: 24}}, listed{groups: groupsOf()})
	if r := wants[wantRead](s); len(r) != 0 {
		t.Errorf("read again: %+v", r)
	}
	at := s.chat().at
	s.does(tea.BlurMsg{}, came{at, []api.Happening{said(30, "ben", "Nobody looks")}})
	if r := wants[wantRead](s); len(r) != 0 {
		t.Errorf("read while nobody looks: %+v", r)
	}
	s.shows("─ new ─", "Nobody looks")
	s.does(tea.FocusMsg{})
	if r := wants[wantRead](s); len(r) != 1 || r[0].cursor != 30 {
		t.Errorf("read: %+v", r)
	}
	s.does(read{api.ReadMark{Group: tea1, Cursor: 30}})
	s.types("<pgup>")
	s.does(came{at, []api.Happening{said(31, "ben", "Out of view")}})
	if r := wants[wantRead](s); len(r) != 0 {
		t.Errorf("read while out of view: %+v", r)
	}
	s.hides("Out of view")
	s.shows("1 new below")
	s.types("<end>")
	if r := wants[wantRead](s); len(r) != 1 || r[0].cursor != 31 {
		t.Errorf("read: %+v", r)
	}
	s.shows("Out of view")
}

// Text of others reaches the terminal as text alone, wherever it is shown.
func TestHostileTexts(t *testing.T) {
	t.Parallel()
	tries := []string{
		"\x1b[2J\x1b[1;1Hgone", "\x1b]0;title\a", "\x1b]52;c;aGFjaw==\a", "\x9b31mred", "\x1bPq\x1b\\", "a\rb", "\a\b\x7f", "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\",
		"\u202egnihton", "\u2066x", "a\u0300" + strings.Repeat("\u0301", 500), "tab\tand\nline", "\x00", strings.Repeat("\u200b", 50), "\U000e0041\U000e0042", "\xff\xfe", "\x1b[?1049l", "\x1b[6n", "\u0085\u2028next",
		strings.Repeat("👨\u200d👩\u200d👧", 30), "ﷺ" + strings.Repeat("ﷺ", 20), "\x1bc", "e\x1b", "[31m", strings.Repeat("あ", 200),
	}
	for i, bad := range tries {
		s := began(t, 80, 24)
		s.groups[1].Name, s.groups[0].Description, s.me.Name = bad, bad, bad
		h := said(11, bad, bad)
		h.Message.ReplyTo = &api.Reference{ID: "x", User: "u", Name: bad, Excerpt: bad}
		h.Message.Reactions = []api.Reaction{{Text: bad, Count: 1}}
		h.Message.Files = []api.File{{ID: "f", Name: bad, MediaType: bad}}
		marked := said(12, bad, "")
		marked.Message.Spans = []api.Span{{Kind: api.SpanLink, URL: bad, Spans: []api.Span{{Kind: api.SpanText, Text: bad}}}, {Kind: api.SpanCodeBlock, Text: bad}, {Kind: api.SpanMention, User: "u", Name: bad}}
		fault := said(13, bad, "")
		fault.Message.Fault = bad
		event := api.Happening{Cursor: 14, At: noon, Event: &api.Event{Kind: api.EventRole, UserName: bad, User: "u", Detail: bad}}
		s.opens([]api.Happening{h, marked, fault, event})
		s.chat().members = append(s.chat().members, api.Member{User: "m", Name: bad, Role: bad})
		s.chat().requests = []api.Request{{User: "r", Name: bad}}
		s.does(tea.PasteMsg{Content: bad})
		look := func(where string) {
			f := s.View()
			for n, l := range f.lines {
				if w := s.m.width(l); w != s.width {
					t.Errorf("try %d, %s, line %d has %d columns: %q", i, where, n, w, l)
				}
				for _, r := range rest(l) {
					if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u202e' || r == '\u2066' || r >= 0xe0020 && r <= 0xe007f || r == '\u2028' {
						t.Errorf("try %d, %s: %U is in line %d: %q", i, where, r, n, l)
					}
				}
				if len(l) > 40*s.width {
					t.Errorf("try %d, %s: line %d has %d bytes", i, where, n, len(l))
				}
			}
			if strings.ContainsFunc(s.windowTitle(), func(r rune) bool { return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 }) {
				t.Errorf("try %d: the title of the window is %q", i, s.windowTitle())
			}
		}
		look("chat")
		s.types("<esc>")
		look("selected")
		s.types("r")
		look("answer")
		s.types("<f2>")
		look("members")
		s.types("<esc><ctrl-k>")
		look("groups")
		s.types("<esc><ctrl-t>x<enter>")
		s.does(offered{seq: s.choose.seq, list: []api.Found{{ID: "g", Name: bad, Policy: api.PolicyOpen}}})
		look("found")
		s.types("<esc><ctrl-f>x<enter>")
		s.does(found{seq: s.choose.seq, messages: []api.Message{*h.Message}})
		look("search")
		s.types("<esc>")
		s.does(answered{bad, Answer{Text: bad + "\n" + bad}})
		look("answer of a command")
		s.types("<esc>")
		s.does(did{err: api.Errorf(api.CodeInternal, "%s", bad).WithHint("%s", bad)})
		look("error")
		s.does(tea.WindowSizeMsg{Width: 40, Height: 12})
		look("small")
	}
}

// rest is a line without the sequences of paint.
func rest(l string) string {
	for {
		at := strings.Index(l, "\x1b[")
		if at < 0 {
			return l
		}
		end := strings.IndexByte(l[at:], 'm')
		if end < 0 || strings.Trim(l[at+2:at+end], "0123456789;") != "" {
			return l
		}
		l = l[:at] + l[at+end+1:]
	}
}
