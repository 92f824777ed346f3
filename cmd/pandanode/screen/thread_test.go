package screen

import (
	"testing"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/api/apitest"
)

// inThread is a message in the thread of that with cursor 11.
func inThread(cursor uint64, name, text string) api.Happening {
	h := said(cursor, name, text)
	h.Message.Thread = apitest.ID("message 11")
	h.Message.ReplyTo = &api.Reference{ID: h.Message.Thread, User: apitest.ID("user ben"), Name: "ben", Excerpt: "Is there any left?"}
	return h
}

// opensThread shows a thread of three messages alone, from one that is in it.
func (s *scene) opensThread() {
	s.t.Helper()
	s.does(came{s.chat().at, []api.Happening{inThread(31, "carla", "One is mine"), said(32, "ben", "Good morning!")}})
	s.types("<esc><up>t")
}

// A thread is shown alone, wherever in it somebody begins. A line that is written goes into
// it; other messages stay unread, are counted, and are there again after Esc, Esc.
func TestThread(t *testing.T) {
	t.Parallel()
	s := inTea(t, 80, 24)
	s.opensThread()
	s.done = nil
	s.shows("Is there any left?", "Two tins, and a pot", "One is mine", "─ thread of ben: Is there any left? ─")
	s.hides("Good morning!", "kettle", "three-way.png", "↳", "─ new ─", "earlier messages", "member-added")
	s.does(came{s.chat().at, []api.Happening{said(33, "ben", "Elsewhere"), inThread(34, "ben", "So it is")}})
	s.shows("So it is", "2 new in the group")
	s.hides("Elsewhere")
	s.types("<end>")
	s.shows("2 new in the group")
	if r := wants[wantRead](s); len(r) != 0 {
		t.Errorf("read what is not shown: %+v", r)
	}
	s.types("Yes<enter>")
	if w := wants[wantSend](s); len(w) != 1 || w[0].p.thread != apitest.ID("message 11") || w[0].p.replyTo != w[0].p.thread {
		t.Errorf("sent: %+v", w)
	}
	s.shows("   Yes")
	s.does(sent{group: tea1, p: s.chat().pending[0]})
	s.types("<esc><up>rThat one<enter>") // an answer to a message of it
	if w := wants[wantSend](s); len(w) != 1 || w[0].p.thread != apitest.ID("message 11") || w[0].p.replyTo != apitest.ID("message 31") {
		t.Errorf("answered: %+v", w)
	}
	s.does(sent{group: tea1, p: s.chat().pending[0]})
	s.types("<up>") // the last own message is that of the thread
	if s.chat().editing != apitest.ID("message 12") {
		t.Errorf("edits %s", s.chat().write.text)
	}
	s.types("<esc><esc><up><up><up><up><up><up>")
	s.shows("▌ Is there any left?")
	s.types("q")
	s.shows("thread of ben")
	s.types("<esc><esc>")
	s.shows("Elsewhere", "So it is", "Good morning!", "› Write a message")
	s.hides("thread of ben", "new in the group")
	if r := wants[wantRead](s); len(r) != 1 || r[0].cursor != 34 {
		t.Errorf("read: %+v", r)
	}
	s.types("Again<enter>")
	if w := wants[wantSend](s); len(w) != 1 || w[0].p.thread != "" || w[0].p.replyTo != "" {
		t.Errorf("sent after the thread: %+v", w)
	}
}

// A thread that begins before what is loaded is loaded from its first message on, and no further.
func TestThreadFromBefore(t *testing.T) {
	t.Parallel()
	s := began(t, 80, 24)
	page := []api.Happening{said(201, "ben", "Late"), inThread(202, "carla", "One is mine")}
	page[0].More = true
	s.opens(page)
	s.types("<esc>t")
	s.shows("One is mine", "a thread", "earlier messages …")
	for _, before := range []uint64{201, 101} {
		asked := wants[wantOlder](s)
		if len(asked) != 1 || asked[0].before != before {
			t.Fatalf("asked for earlier ones: %+v", asked)
		}
		page := []api.Happening{said(before-100, "ben", "Older")}
		if before == 101 {
			page = []api.Happening{said(10, "ben", "Before it"), said(11, "ben", "Is there any left?")}
		}
		page[0].More = true
		s.does(older{at: s.chat().at, page: page})
	}
	s.shows("Is there any left?", "One is mine", "thread of ben")
	s.hides("Older", "Before it", "earlier messages …")
	s.types("<pgup><pgup>")
	if asked := wants[wantOlder](s); len(asked) != 0 {
		t.Errorf("asked for what is before the thread: %+v", asked)
	}
	s.types("<alt-down>")
	s.does(opened{at: s.chat().at, group: *s.group(board)})
	s.done = nil
	s.types("<alt-up>")
	s.opens(pageOf())
	s.shows("kettle")
}
