package hook

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/config"
)

func TestWants(t *testing.T) {
	t.Parallel()
	now := time.Now()
	said := func(change func(*api.Message)) api.Happening {
		m := &api.Message{Kind: api.EventMessage, User: "ben", Text: "The kettle boils"}
		change(m)
		return api.Happening{Message: m}
	}
	none := func(*api.Message) {}
	event := func(k api.EventKind) api.Happening { return api.Happening{Event: &api.Event{Kind: k}} }
	message, mention := config.Hook{}, config.Hook{On: []string{"mention"}}
	for _, c := range []struct {
		name string
		hook config.Hook
		h    api.Happening
		want bool
	}{
		{"a message", message, said(none), true},
		{"an own one", message, said(func(m *api.Message) { m.User = "anna" }), false},
		{"an own one, which is wanted", config.Hook{Own: true}, said(func(m *api.Message) { m.User = "anna" }), true},
		{"a deleted one", message, said(func(m *api.Message) { m.Deleted = &api.Deleted{} }), false},
		{"an expired one", message, said(func(m *api.Message) { m.Expired = true }), false},
		{"one that expires now", message, said(func(m *api.Message) { m.Expires = now }), false},
		{"one that expires later", message, said(func(m *api.Message) { m.Expires = now.Add(1) }), true},
		{"one from before", message, said(func(m *api.Message) { m.Earlier = true }), false},
		{"one without a mention", mention, said(none), false},
		{"one with a mention", mention, said(func(m *api.Message) { m.MentionsMe = true }), true},
		{"one that matches", config.Hook{Match: "(?i)KETTLE"}, said(none), true},
		{"one that does not", config.Hook{Match: "^kettle"}, said(none), false},
		{"a change", message, said(func(m *api.Message) { m.Change = &api.Changed{By: "ben"} }), false},
		{"a change that is wanted", config.Hook{On: []string{"message-changed"}}, said(func(m *api.Message) { m.Change = &api.Changed{By: "ben"} }), true},
		{"an own change", config.Hook{On: []string{"message-changed"}}, said(func(m *api.Message) { m.Change = &api.Changed{By: "anna"} }), false},
		{"a deletion", config.Hook{On: []string{"message-changed"}}, said(func(m *api.Message) { m.Change, m.Deleted = &api.Changed{By: "ben"}, &api.Deleted{} }), true},
		{"a change of an expired one", config.Hook{On: []string{"message-changed"}}, said(func(m *api.Message) { m.Change, m.Expired = &api.Changed{By: "ben"}, true }), false},
		{"a change of nothing here", config.Hook{On: []string{"message-changed"}}, event(api.EventChanged), false},
		{"another event", message, event(api.EventMemberAdded), false},
		{"one that is wanted", config.Hook{On: []string{"member-added"}, Match: "kettle"}, event(api.EventMemberAdded), true},
	} {
		f, err := newFilter(c.hook, "anna")
		if err != nil {
			t.Fatal(err)
		}
		if got := f.wants(c.h, now); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestTakes(t *testing.T) {
	t.Parallel()
	id := strings.Repeat("a", 56)
	for name, want := range map[string]bool{"": true, "tea": true, id: true, api.Short(id): true, "te": false, "TEA": false, "a": false} {
		h := config.Hook{}
		if name != "" {
			h.Groups = []string{"other", name}
		}
		f, err := newFilter(h, "anna")
		if err != nil || f.takes(Group{id, "tea"}) != want {
			t.Errorf("%q: %v, %v", name, !want, err)
		}
	}
}

// The kinds of the configuration are those that a timeline has.
func TestKinds(t *testing.T) {
	t.Parallel()
	kinds := map[string]bool{config.HookMention: true, string(api.EventMessage): true, string(api.EventChanged): true}
	for _, k := range api.TimelineKinds {
		kinds[string(k)] = true
	}
	for _, k := range config.HookKinds {
		if !kinds[k] {
			t.Errorf("no timeline has %s", k)
		}
		delete(kinds, k)
	}
	for k := range kinds {
		t.Errorf("the configuration does not know %s", k)
	}
}

// An event is one line, without the former texts of a message.
func TestEventIsALine(t *testing.T) {
	t.Parallel()
	m := &api.Message{Kind: api.EventMessage, ID: "m", Text: "two\nlines", Versions: []api.MessageVersion{{Text: "former"}}}
	line, err := eventOf("h", Group{"g", "tea"}, api.Happening{Cursor: 7, Message: m}, 2).encode()
	if err != nil {
		t.Fatal(err)
	}
	var e Event
	if err := json.Unmarshal(line, &e); err != nil || strings.Count(string(line), "\n") != 1 || strings.Contains(string(line), "former") {
		t.Errorf("%s, %v", line, err)
	}
	if e.ID != "g/7" || e.Kind != "message" || e.Message.Text != m.Text || e.GroupName != "tea" || e.Attempt != 2 || len(m.Versions) != 1 {
		t.Errorf("%+v", e)
	}
}
