package api

import (
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

// A client that connects again sends the id of its last event in Last-Event-ID, as the
// standard of Server-Sent Events requires, and the stream goes on after that event.
func TestStreamsGoOnAfterLastEventID(t *testing.T) {
	for _, c := range []struct {
		path, id string
		want     any
	}{
		{"/v1/groups/tea/tail?since=3", "17", TailRequest{Group: "tea", Since: 17}},
		{"/v1/groups/tea/tail?since=3", "", TailRequest{Group: "tea", Since: 3}},
		{"/v1/groups/tea/events?until=40", "17", GroupEventsRequest{Group: "tea", Since: 17, Until: 40}},
		{"/v1/events", "17", EventsRequest{Since: 17}},
		{"/v1/events?since=5&run=old", "0a1b-17", EventsRequest{Since: 17, Run: "0a1b"}},
		{"/v1/find?name=tea", "17", FindRequest{Name: "tea"}}, // its items have no cursor
		{"/v1/events", "yesterday", nil},
		{"/v1/groups/tea/tail", "-1", nil},
	} {
		e := &echo{}
		client := serve(t, e)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://node"+c.path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if c.id != "" {
			r.Header.Set("Last-Event-ID", c.id)
		}
		answer, err := client.http.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if c.want == nil {
			if answer.StatusCode != http.StatusBadRequest || e.got != nil {
				t.Errorf("%s with %q: %d, %s", c.path, c.id, answer.StatusCode, body)
			}
			continue
		}
		if !reflect.DeepEqual(e.got, c.want) {
			t.Errorf("%s with %q: the node was asked for %+v, want %+v", c.path, c.id, e.got, c.want)
		}
	}
}

// The id of an item is what Last-Event-ID takes.
func TestSSEIDs(t *testing.T) {
	for want, item := range map[string]any{"0a1b-17": Event{Run: "0a1b", Cursor: 17}, "18": Event{Cursor: 18}, "19": Message{Cursor: 19}, "": Found{}} {
		got := cursorOf(item)
		if got != want {
			t.Errorf("%+v: %q, want %q", item, got, want)
		}
		var r EventsRequest
		if err := resume(&r, got); err != nil || !strings.HasSuffix(got, "7") && r.Run != "" {
			t.Errorf("%q: %+v, %v", got, r, err)
		}
	}
}
