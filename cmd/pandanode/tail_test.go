package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
)

// Lines stand where messages from before this device came in begin and end, in each group by
// itself; an event is no border. A search, which shows messages out of their order, has none.
func TestTailShowsWhereEarlierMessagesAre(t *testing.T) {
	var out bytes.Buffer
	a := &app{out: &out}
	tea := &tailed{id: "t", title: "tea", names: api.NamesOf()}
	choir := &tailed{id: "c", title: "choir", names: api.NamesOf()}
	show := func(g *tailed, named bool, earlier ...bool) (lines string) {
		t.Helper()
		out.Reset()
		for i, e := range earlier {
			m := &api.Message{Cursor: uint64(i), Name: "ben", Text: fmt.Sprint("line ", i), Sent: time.Unix(0, 0), Earlier: e} //nolint:gosec // not negative
			for _, h := range []api.Happening{{Message: m}, {Event: &api.Event{Kind: api.EventMemberAdded, UserName: "cleo"}}} {
				if err := a.printHappening(happened{g, h}, "me", named); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, l := range strings.Split(out.String(), "\n") {
			if _, mark, is := strings.Cut(l, "--- "); is {
				lines += strings.TrimSuffix(l, mark)[:max(strings.Index(l, "---"), 0)] + strings.TrimSuffix(mark, " ---") + "\n"
			} else if strings.Contains(l, "line ") {
				lines += l[strings.LastIndex(l, "line "):] + "\n"
			}
		}
		return lines
	}
	const begins, ends = "earlier messages, given by members\n", "since you came in\n"
	if got, want := show(tea, false, true, true, false, false, true), begins+"line 0\nline 1\n"+ends+"line 2\nline 3\n"+begins+"line 4\n"; got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if got, want := show(choir, true, false, true), "line 0\n[choir] "+begins+"line 1\n"; got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	tea.picked = true
	if got, want := show(tea, false, false, true), "line 0\nline 1\n"; got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}
