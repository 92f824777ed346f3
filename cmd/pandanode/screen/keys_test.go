package screen

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/api/apitest"
)

// Scrolling goes back through pages of history, line by line too, stays where it is while
// messages come, and comes back to the end.
func TestScrolling(t *testing.T) {
	t.Parallel()
	s := began(t, 80, 24)
	var page []api.Happening
	for i := uint64(101); i <= 160; i++ {
		page = append(page, said(i, "ben", fmt.Sprint("line ", i)))
	}
	page[0].More = true
	s.opens(page)
	s.shows("line 160", "› Write")
	s.hides("line 110")
	s.types("<pgup><pgup>")
	asked := wants[wantOlder](s)
	if len(asked) != 1 || asked[0].before != 101 {
		t.Fatalf("asked for earlier ones: %+v", asked)
	}
	s.types("<pgup><pgup><pgup>")
	if again := wants[wantOlder](s); len(again) != 0 {
		t.Errorf("asked again while it is asked: %+v", again)
	}
	s.shows("line 101")
	var earlier []api.Happening
	for i := uint64(41); i <= 100; i++ {
		earlier = append(earlier, said(i, "ben", fmt.Sprint("line ", i)))
	}
	s.does(older{at: s.chat().at, page: earlier})
	s.shows("line 101") // it stays where it was
	s.does(came{s.chat().at, []api.Happening{said(161, "ben", "the newest")}})
	s.shows("line 101", "1 new below")
	for range 30 {
		s.types("<pgup>")
	}
	s.shows("line 41")
	s.hides("line 60\n")
	top := s.text()
	s.types("<shift-up>")
	if s.text() != top {
		t.Errorf("it scrolls beyond the first line:\n%s", s.text())
	}
	for i := 41; i <= 160; i++ { // every line is seen on the way down
		for n := 0; !strings.Contains(s.text(), fmt.Sprintf("line %d\n", i)); n++ {
			if n > 60 {
				t.Fatalf("line %d is not seen on the way down:\n%s", i, s.text())
			}
			s.types("<shift-down>")
		}
	}
	s.types("<end>")
	s.shows("the newest")
	s.hides("new below")
}

// A message that is longer than the screen is scrolled through line by line.
func TestScrollingThroughALongMessage(t *testing.T) {
	t.Parallel()
	s := began(t, 80, 24)
	var long strings.Builder
	for i := range 100 {
		fmt.Fprintf(&long, "row %d.\n", i)
	}
	s.opens([]api.Happening{said(11, "ben", "before"), said(12, "ben", long.String()), said(13, "ben", "after")})
	for i := 99; i >= 0; i-- {
		for n := 0; !strings.Contains(s.text(), fmt.Sprintf("row %d.", i)); n++ {
			if n > 3 {
				t.Fatalf("row %d is not seen on the way up:\n%s", i, s.text())
			}
			s.types("<shift-up>")
		}
	}
	s.types("<pgup><pgup>")
	s.shows("before")
	for range 10 {
		s.types("<pgdown>")
	}
	s.shows("after")
	if s.chat().away {
		t.Error("the end is in view, and does not count as it")
	}
	s.types("<esc><up><up><up>") // selecting scrolls it into view
	s.shows("▌ before")
}

// Home in an empty line, or while a message is selected, goes to the first message that was new,
// and says so if none was. In a line that is begun it goes to its beginning.
func TestHomeGoesToTheReadMark(t *testing.T) {
	t.Parallel()
	s := began(t, 80, 24)
	var page []api.Happening
	for i := uint64(1); i <= 90; i++ {
		page = append(page, said(i, "ben", fmt.Sprintf("line %d.", i)))
	}
	s.group(tea1).Unread = 50 // read up to 20
	s.opens(page)
	s.hides("line 21.")
	for _, keys := range []string{"<home>", "<esc><home>"} {
		s.types(keys)
		s.shows("line 21.", "─ new ─")
		s.hides("line 20.", "line 90.")
		if top := strings.Split(s.text(), "\n")[1]; !strings.Contains(top, "new") {
			t.Errorf("%s: the line of what was new is not at the top:\n%s", keys, s.text())
		}
		s.types("<end>")
		s.shows("line 90.")
	}
	s.types("begun<home>!")
	s.shows("› !begun", "line 90.")
	s.does(tea.FocusMsg{})
	s = began(t, 80, 24)
	s.opens(page[:3])
	s.types("<home>")
	s.shows("nothing was new", "line 3.")
}

// Ctrl-E hands what is written to the editor, and takes what comes of it; what the editor did not
// make stays.
func TestEditorOfTheUser(t *testing.T) {
	t.Parallel()
	s := inTea(t, 80, 24)
	s.types("begun<ctrl-e>")
	if w := wants[wantEditor](s); len(w) != 1 || w[0].text != "begun" {
		t.Fatalf("the editor gets %+v", w)
	}
	s.does(edited{err: api.Errorf(api.CodeInternal, "the editor vi: exit status 1")})
	s.shows("› begun", "the editor vi: exit status 1")
	s.types("<ctrl-e>")
	s.does(edited{text: "begun, and\nended\n"})
	s.shows("› begun, and", "  ended")
	s.types("<enter>")
	if w := wants[wantSend](s); len(w) != 1 || w[0].p.text != "begun, and\nended" {
		t.Errorf("sent: %+v", w)
	}
}

// Alt-L shows the messages alone, from the first column on, for the mouse to copy; and again all.
func TestMessagesAlone(t *testing.T) {
	t.Parallel()
	s := inTea(t, 120, 40)
	s.shows("│", "Members", "board")
	s.types("<alt-l>")
	s.hides("│", "Members", "board")
	s.shows("\n   Our table\n", "› Write a message")
	s.types("<alt-l>")
	s.shows("│", "Members", "board")
}

// A message is selected, answered, edited, deleted, reacted to, copied, saved, explained.
func TestSelecting(t *testing.T) {
	t.Parallel()
	s := inTea(t, 80, 24)
	s.types("<esc>")
	s.shows("▌ It is.")
	s.types("d")
	s.shows("y/n")
	s.types("n")
	if w := wants[wantErase](s); len(w) != 0 {
		t.Errorf("deleted without a yes: %+v", w)
	}
	s.types("<esc>dy")
	if w := wants[wantErase](s); len(w) != 1 || w[0].id != apitest.ID("message 24") {
		t.Errorf("deleted: %+v", w)
	}
	s.types("<esc><up><up><up>e")
	s.shows("only its author edits it")
	s.types("s")
	if w := wants[wantSave](s); len(w) != 1 || w[0].file != apitest.ID("file") {
		t.Errorf("saved: %+v", w)
	}
	s.types("<esc><up><up>c")
	if w := wants[wantCopy](s); len(w) != 1 || w[0].text != "@anna is the kettle on?" {
		t.Errorf("copied: %+v", w)
	}
	s.types("<esc><up><up>w")
	if w := wants[wantWhy](s); len(w) != 1 || w[0].id != apitest.ID("message 22") {
		t.Errorf("explained: %+v", w)
	}
	s.types("+fire<enter>")
	if w := wants[wantReact](s); len(w) != 1 || w[0].text != "🔥" || w[0].id != apitest.ID("message 22") {
		t.Errorf("reacted: %+v", w)
	}
	s.types("kept<ctrl-u><up>") // an empty line: the last own message
	s.shows("writing it anew")
	s.types(" More<enter>")
	if w := wants[wantEdit](s); len(w) != 1 || !strings.HasSuffix(w[0].text, "on a desk More") || w[0].id != apitest.ID("message 24") {
		t.Errorf("edited: %+v", w)
	}
	s.types("<esc>/send it") // a command ends the selection
	s.shows("› /send it")
	s.types("<ctrl-u>begun<esc>e")
	s.shows("writing it anew")
	s.types("<esc>")
	s.shows("› begun")
	s.types("<esc><up>") // a line that is begun is no empty one
	if s.chat().editing != "" {
		t.Error("a message was edited in the place of what was begun")
	}
}

// Tab completes names, commands, emoji and groups.
func TestCompleting(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string]string{
		"/inv<tab>":          "/invite ",
		"hello @be<tab>":     "hello @ben ",
		"@c<tab>, yes":       "@carla , yes",
		":roc<tab>":          "🚀 ",
		"/chat bo<tab>":      "/chat board ",
		"/<tab><tab>":        "/help",
		"/<shift-tab>":       "/quit",
		"nothing<tab>":       "nothing",
		"a<alt-enter>b<tab>": "a\nb",
	} {
		s := inTea(t, 80, 24)
		if s.types(typed); s.chat().write.text != want {
			t.Errorf("%s: got %q, want %q", typed, s.chat().write.text, want)
		}
	}
	s := inTea(t, 80, 24)
	s.chat().members = append(s.chat().members, api.Member{User: "x", Name: "bén"})
	s.chat().names.Add(api.Candidate{ID: "x", Name: "bén"})
	if s.types("@b<tab>"); s.chat().write.text != "@b" {
		t.Errorf("a name that another looks like is completed: %q", s.chat().write.text)
	}
}

// Tab completes the path of a file to send: from home, with spaces, folder by folder. An answer
// for a line that somebody wrote on in is passed over.
func TestCompletingPaths(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	for _, path := range []string{"my pictures/kettle.jpg", "my pictures/two tins.jpg", "list.txt", "lamp.txt", ".hidden", "bad\nname"} {
		path = filepath.Join(home, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := inTea(t, 80, 24)
	tab := func(key, want string) {
		t.Helper()
		s.types(key)
		for _, w := range wants[wantPaths](s) {
			s.does(pathsListed{w.seq, pathsFrom(w.path, home)})
		}
		if got := s.chat().write.text; got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
	tab("/send --file ~<tab>", "/send --file ~/")
	tab("my<tab>", `/send --file "~/my pictures/`)
	tab("t<tab>", `/send --file "~/my pictures/two tins.jpg" `)
	tab("<ctrl-u>/send --markdown --file ~/l<tab>", "/send --markdown --file ~/lamp.txt")
	tab("<tab>", "/send --markdown --file ~/list.txt")
	tab("<tab>", "/send --markdown --file ~/lamp.txt")
	tab("<ctrl-u>/send --file=~/none<tab>", "/send --file=~/none")
	if all := pathsFrom("~/", home); !slices.Equal(all, []string{`"~/my pictures/`, "~/lamp.txt", "~/list.txt"}) {
		t.Errorf("all: %q", all)
	}
	tab("<ctrl-u>@be<tab>", "@ben ")
	s.types("<ctrl-u>/send --file ~/l<tab>")
	w := wants[wantPaths](s)
	s.types("i")
	s.does(pathsListed{w[0].seq, []string{"~/lamp.txt"}})
	if got := s.chat().write.text; got != "/send --file ~/li" {
		t.Errorf("too late: %q", got)
	}
}

// Each group has a draft of its own, which the node keeps; what was sent comes back with
// Ctrl-P.
func TestDraftsAndHistory(t *testing.T) {
	t.Parallel()
	s := inTea(t, 80, 24)
	s.types("for tea<alt-down>")
	draft := wants[wantDraft](s)
	if len(draft) != 1 || draft[0].group != tea1 || draft[0].draft.Text != "for tea" {
		t.Fatalf("kept: %+v", draft)
	}
	s.does(opened{at: s.chat().at, group: *s.group(board), draft: &api.Draft{Text: "for board"}})
	s.shows("› for board")
	s.types("!<enter>")
	if w := wants[wantSend](s); len(w) != 1 || w[0].group != board || w[0].p.text != "for board!" {
		t.Errorf("sent: %+v", w)
	}
	s.types("<alt-up>")
	s.shows("› for tea")
	s.types("<ctrl-p>")
	s.shows("› for board!")
	s.types("<ctrl-n>")
	s.shows("› for tea")
	s.does(ticked{tickDraft, noon})
	if w := wants[wantDraft](s); len(w) != 0 {
		t.Errorf("kept again without a change: %+v", w)
	}
	s.types("<ctrl-c>")
	if w := wants[wantQuit](s); len(w) != 1 {
		t.Error("Ctrl-C does not end it")
	}
}

// A line that is begun while the node is away is kept once it is back, and told of at the end
// if it is not.
func TestDraftWhileAway(t *testing.T) {
	t.Parallel()
	s := inTea(t, 80, 24)
	s.does(unwatched{api.Errorf(api.CodeUnavailable, "no node is running")})
	s.types("begun")
	s.does(ticked{tickDraft, noon})
	if w := wants[wantDraft](s); len(w) != 0 || !slices.Equal(s.Unsent(), []string{"begun"}) {
		t.Errorf("while the node is away: %+v, %q", w, s.Unsent())
	}
	s.does(tried{}, started{me: anna, groups: groupsOf()})
	if w := wants[wantDraft](s); len(w) != 1 || w[0].draft.Text != "begun" || len(s.Unsent()) != 0 {
		t.Errorf("once it is back: %+v, %q", w, s.Unsent())
	}
}

// Without a group the screen helps to find or to found one; nothing is founded while a search
// may still find it, unless somebody has chosen so.
func TestBeginning(t *testing.T) {
	t.Parallel()
	s := &scene{model: newModel(host(), ""), t: t}
	s.does(tea.WindowSizeMsg{Width: 80, Height: 24}, started{me: anna})
	s.shows("Find or found a group")
	s.types("tea<enter>")
	if w := wants[wantFind](s); len(w) != 1 || w[0].words != "tea" {
		t.Fatalf("searched: %+v", w)
	}
	s.shows("looking")
	s.types("<enter>")
	if w := wants[wantMake](s); len(w) != 0 {
		t.Errorf("founded before the search is over: %+v", w)
	}
	s.does(offered{seq: s.choose.seq, err: api.Errorf(api.CodeNoPeers, "no peers are connected").WithHint("pandanode status")})
	s.shows("no other device is connected yet", "▌ Found a new group")
	s.hides("pandanode status")
	s.types("<f1>") // which says how it is left, whatever is remarked
	s.shows("Esc back")
	s.types("<esc>")
	s.does(offered{seq: s.choose.seq, list: []api.Found{{ID: tea1, Name: "tea house", Policy: api.PolicyOpen, Members: 3}}})
	s.shows("▌ Join tea house", "about 3 members")
	s.types("<down><down><enter>")
	if w := wants[wantMake](s); len(w) != 1 || !w[0].private || w[0].policy != api.PolicyInvite || w[0].name != "tea" {
		t.Errorf("founded: %+v", w)
	}
	s.does(joined{err: api.Errorf(api.CodeInvalid, "the name is taken")})
	s.shows("the name is taken")
	s.types("<up><up><enter>")
	if w := wants[wantJoin](s); len(w) != 1 || w[0].group != tea1 {
		t.Errorf("joined: %+v", w)
	}
	s.does(joined{group: tea1, say: "you are in"}, listed{groups: groupsOf()})
	if w := wants[wantOpen](s); len(w) != 1 || w[0].at.group != tea1 {
		t.Errorf("opened: %+v", w)
	}
	s.types("<ctrl-t>pandanode:invite/abc<enter>")
	if w := wants[wantJoin](s); len(w) != 1 || w[0].link != "pandanode:invite/abc" {
		t.Errorf("joined by a link: %+v", w)
	}
}

// A group that was founded or named is shown once it is listed, also behind a list that is older
// than it; then whoever goes elsewhere stays there.
func TestWantedGroup(t *testing.T) {
	t.Parallel()
	const fresh = "fresh"
	with := append(groupsOf(), api.Group{ID: fresh, Name: "fresh", State: api.StateMember, Members: 1})
	s := inTea(t, 80, 24)
	s.types("<ctrl-t>fresh<enter><down><enter>")
	s.does(joined{group: fresh, say: "you founded it"}, listed{groups: groupsOf()}, listed{groups: with})
	if s.open != fresh {
		t.Errorf("founded: it shows %q", s.open)
	}
	s.types("<alt-up>")
	elsewhere := s.open
	s.does(listed{groups: with})
	if s.open != elsewhere || elsewhere == fresh {
		t.Errorf("it goes back to %q from %q", s.open, elsewhere)
	}
	s = inTea(t, 80, 24)
	s.does(answered{"/chat fresh", Answer{Go: fresh}}, listed{groups: with})
	if s.open != fresh {
		t.Errorf("named: it shows %q", s.open)
	}
}

// A letter that is typed while a text is shown is not lost: the text goes, and it is written.
// Enter sends what was in the line. While a message is selected, no letter writes.
func TestTypingOverAText(t *testing.T) {
	t.Parallel()
	long := Answer{Text: strings.Repeat("a line\n", 40)}
	s := inTea(t, 80, 24)
	s.types("kett")
	s.does(answered{"Why", long})
	s.hides("kett")
	s.types("<down><pgdown>")
	s.shows("↑↓ scroll")
	s.types("les")
	s.shows("› kettles")
	for _, first := range []string{"c", "j", "k", "ß"} {
		s.does(answered{"Why", long})
		s.types(first + "<backspace>")
		s.shows("› kettles")
	}
	s.does(answered{"Why", long})
	s.does(tea.PasteMsg{Content: " and pots"})
	s.shows("› kettles and pots")
	s.does(answered{"Why", long})
	s.types("<enter>")
	if w := wants[wantSend](s); len(w) != 1 || w[0].p.text != "kettles and pots" {
		t.Errorf("sent: %+v", w)
	}
	s.does(answered{"Why", long})
	s.types("<enter>")
	s.shows("› Write a message")
	if w := wants[wantSend](s); len(w) != 0 {
		t.Errorf("sent: %+v", w)
	}
	s.does(answered{"Invite", Answer{Text: "pandanode:invite/x", Link: "pandanode:invite/x"}})
	s.types("c")
	s.shows("› Write a message", "the link is copied")
	s.types("<ctrl-k>te<f1>a")
	s.shows("Go to", "› tea")
	s.types("<esc><esc><f1>d")
	s.shows("d delete")
	s.hides("y/n")
}

// A locked node asks for its passphrase, which is neither shown nor printed, and is cleared.
func TestUnlocking(t *testing.T) {
	t.Parallel()
	s := &scene{model: newModel(host(), ""), t: t}
	s.does(tea.WindowSizeMsg{Width: 80, Height: 24}, started{status: api.Status{Locked: true, Why: "nobody could be asked"}})
	s.shows("The node is locked", "nobody could be asked")
	s.types("correct horsf<backspace>e")
	s.hides("horse")
	if text := fmt.Sprintf("%v %+v %#v %s", &s.secret, &s.secret, &s.secret, wantUnlock{&s.secret}.passphrase); strings.Contains(text, "horse") || strings.Contains(text, fmt.Sprint(int('h'))) {
		t.Errorf("it is printed: %s", text)
	}
	typed := s.secret.text[:cap(s.secret.text)]
	s.types("<enter>")
	w := wants[wantUnlock](s)
	if len(w) != 1 || string(w[0].passphrase.text) != "correct horse" {
		t.Fatalf("unlocked with: %d", len(w))
	}
	if slices.ContainsFunc(typed[:13], func(r rune) bool { return r != 0 }) {
		t.Error("what was typed is not cleared")
	}
	s.does(unlocked{api.Errorf(api.CodeLocked, "wrong passphrase")})
	s.does(tried{api.ErrLocked()}) // it is asked all the time
	s.shows("wrong passphrase", "Passphrase:")
	s.types("again<enter>")
	s.does(unlocked{})
	if w := wants[wantTry](s); len(w) != 1 {
		t.Errorf("tried: %+v", w)
	}
	s.does(tried{}, started{me: anna, groups: groupsOf()})
	s.opens(pageOf())
	s.shows("› Write a message")
}

// A change is shown in the message itself and in what quotes it: of a deleted one nothing
// stays.
func TestChanges(t *testing.T) {
	t.Parallel()
	s := inTea(t, 80, 40)
	s.shows("Is there any left?", "↳ ben: Is there any left?")
	gone := *pageOf()[1].Message
	gone.Text, gone.Cursor, gone.Kind = "", 50, api.EventChanged
	gone.Deleted = &api.Deleted{By: gone.User, Name: "ben"}
	gone.Change = &api.Changed{By: gone.User, Name: "ben", What: "delete"}
	s.does(came{s.chat().at, []api.Happening{{Cursor: 50, Message: &gone}}})
	s.hides("Is there any left?")
	s.shows("(deleted)", "↳ ben")
}

// A file that comes is shown to be there, in the group that is open and in others.
func TestFilesCome(t *testing.T) {
	t.Parallel()
	s := inTea(t, 80, 40)
	file := *pageOf()[4].Message
	away := file
	away.Files = []api.File{{ID: file.Files[0].ID, Name: "three-way.png", Size: 48_213, State: api.FileAway}}
	s.does(renewed{tea1, away})
	s.shows("not here yet")
	s.does(happened{[]api.Event{{Kind: api.EventFile, Group: tea1, Message: apitest.ID("of before")}, {Kind: api.EventFile, Group: tea1, Message: file.ID}, {Kind: api.EventFile, Group: board, Message: file.ID}}})
	if w := wants[wantMessage](s); len(w) != 1 || w[0] != (wantMessage{tea1, file.ID}) {
		t.Errorf("asked for: %+v", w)
	}
	partly := away
	partly.Files = []api.File{{ID: file.Files[0].ID, Name: "three-way.png", Size: 48_213, Sealed: 50_000, Have: 25_000, Wanted: true, State: api.FilePartly}}
	s.does(happened{[]api.Event{{Kind: api.EventFileProgress, Group: tea1, Message: file.ID}}})
	if w := wants[wantMessage](s); len(w) != 1 || w[0] != (wantMessage{tea1, file.ID}) {
		t.Errorf("asked for: %+v", w)
	}
	s.does(renewed{tea1, partly})
	s.shows("50 % here")
	s.does(renewed{tea1, file})
	s.hides("not here yet")
	s.shows("three-way.png (48.2 kB, here)")
}

// Colours are left out where they are not wanted, and fit a light terminal.
func TestColours(t *testing.T) {
	t.Parallel()
	s := inTea(t, 80, 24)
	dark := strings.Join(s.View().lines, "\n")
	s.dark = false
	light := strings.Join(s.View().lines, "\n")
	if dark == light || !strings.Contains(dark, "38;5;80") || strings.Contains(light, "38;5;80") || !strings.Contains(light, "38;5;30") {
		t.Error("a light terminal has the colours of a dark one")
	}
}

// The line is edited by characters as people see them.
func TestEditor(t *testing.T) {
	t.Parallel()
	const family = "👨\u200d👩\u200d👧"
	var e editor
	e.insert("a" + family + "e\u0301")
	for range 2 {
		e.key("backspace")
	}
	if e.text != "a" {
		t.Errorf("%q", e.text)
	}
	e.set("one two  three")
	e.key("ctrl+w")
	e.key("ctrl+w")
	if e.text != "one " {
		t.Errorf("%q", e.text)
	}
	e.set("茶 and a long line of words")
	m := measure(0)
	for width := range 30 {
		for e.at = 0; ; e.right() {
			rows, y, x := e.place(m, width+2)
			if y >= len(rows) || x < 0 || x > width+2 {
				t.Fatalf("width %d, at %d: row %d of %d, column %d", width+2, e.at, y, len(rows), x)
			}
			if e.at == len(e.text) {
				break
			}
		}
	}
	e.set("first\nsecond line")
	if !e.vertical(m, 40, -1) || e.at != 5 || e.vertical(m, 40, -1) || !e.vertical(m, 40, 1) || e.text[e.at:] != "d line" {
		t.Errorf("at %d", e.at)
	}
}

// Lines stand where messages from before this device came in begin and end, also where an
// event lies between them, and not where the beginning is not loaded. Such messages are not
// new.
func TestEarlierMessagesAreMarked(t *testing.T) {
	s := began(t, 100, 40)
	page := []api.Happening{said(11, "ben", "old one"), said(12, "ben", "old two"), said(13, "ben", "live one"), said(14, "ben", "live two"), said(15, "ben", "old three")}
	for _, i := range []int{0, 1, 4} {
		page[i].Message.Earlier = true
	}
	at := page[1].At
	page = slices.Insert(page, 1, api.Happening{Cursor: 11, At: at, Event: &api.Event{Kind: api.EventMemberAdded, User: apitest.ID("user cleo"), UserName: "cleo"}})
	page[1].Cursor, page[0].Cursor, page[0].Message.Cursor = 11, 10, 10
	page[0].More = true
	s.opens(page)
	const begins, ends = "earlier messages, given by members", "since you came in"
	count := func(what string, want int) {
		t.Helper()
		if got := strings.Count(s.text(), what); got != want {
			t.Errorf("%q is there %d times, want %d:\n%s", what, got, want, s.text())
		}
	}
	count(begins, 1) // before old three; where they begin is not loaded
	count(ends, 1)
	if text := s.text(); strings.Index(text, ends) > strings.Index(text, "live one") || strings.Index(text, begins) < strings.Index(text, "live two") {
		t.Errorf("in another place:\n%s", text)
	}
	first := said(1, "ben", "the first")
	first.Message.Earlier = true
	s.does(older{at: s.chat().at, page: []api.Happening{first}})
	count(begins, 2)
	count(ends, 1)
	late := said(20, "ben", "old four")
	late.Message.Earlier = true
	s.types("<pgup>")
	s.chat().away, s.chat().last = true, 14
	s.does(came{s.chat().at, []api.Happening{late}})
	s.hides("new below")
	s.does(came{s.chat().at, []api.Happening{said(21, "ben", "live three")}})
	s.shows("1 new below")
}
