package hook

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/config"
)

// Version is that of [Event]. Fields may be added to it.
const Version = 1

// Event is what a hook gets, as one line of JSON.
type Event struct {
	Version   int           `json:"version"`
	Hook      string        `json:"hook"`
	ID        string        `json:"id"`      // the same whenever the event comes again
	Attempt   int           `json:"attempt"` // from 1; after a crash of the node it begins anew
	Kind      api.EventKind `json:"kind"`
	At        time.Time     `json:"at"` // when this device showed it
	Group     string        `json:"group,omitempty"`
	GroupName string        `json:"group_name,omitempty"`
	Message   *api.Message  `json:"message,omitempty"`
	Event     *api.Event    `json:"event,omitempty"`
	Test      bool          `json:"test,omitempty"` // somebody tries the hook
}

// KindTest is the kind of an event with which somebody tries a hook.
const KindTest api.EventKind = "test"

// Group is a group with the name that it has now.
type Group struct{ ID, Name string }

// Called says whether a text of the configuration is the group's ID, the beginning of it that
// commands show, or its whole name.
func (g Group) Called(text string) bool {
	return text == g.ID || text == g.Name || text == api.Short(g.ID)
}

// filter says which events a hook is run at.
type filter struct {
	on, groups []string
	match      *regexp.Regexp // nil: every text does
	own        bool
	me         string // this user
}

func newFilter(h config.Hook, me string) (filter, error) {
	f := filter{on: h.On, groups: h.Groups, own: h.Own, me: me}
	if len(f.on) == 0 {
		f.on = []string{string(api.EventMessage)}
	}
	if h.Match == "" {
		return f, nil
	}
	var err error
	if f.match, err = regexp.Compile(h.Match); err != nil {
		return f, fmt.Errorf("match: %w", err)
	}
	return f, nil
}

// takes says whether the hook is for a group.
func (f filter) takes(g Group) bool {
	return len(f.groups) == 0 || slices.ContainsFunc(f.groups, g.Called)
}

// wants says whether the hook is run at what happened. A message that was taken away, has
// expired, or is from before this device came in, is none.
func (f filter) wants(h api.Happening, now time.Time) bool {
	switch m := h.Message; {
	case h.Event != nil:
		return h.Event.Kind != api.EventChanged && slices.Contains(f.on, string(h.Event.Kind))
	case m == nil:
		return false
	case m.Change != nil:
		if m.Deleted == nil && f.over(m, now) { // it says nothing any more
			return false
		}
		return slices.Contains(f.on, string(api.EventChanged)) && (f.own || m.Change.By != f.me) && f.matches(m)
	default:
		on := slices.Contains(f.on, string(api.EventMessage)) || m.MentionsMe && slices.Contains(f.on, config.HookMention)
		return on && (f.own || m.User != f.me) && m.Deleted == nil && !f.over(m, now) && !m.Earlier && f.matches(m)
	}
}

func (filter) over(m *api.Message, now time.Time) bool {
	return m.Expired || !m.Expires.IsZero() && !now.Before(m.Expires)
}

func (f filter) matches(m *api.Message) bool { return f.match == nil || f.match.MatchString(m.Text) }

// eventOf gives what happened as a hook gets it.
func eventOf(hook string, g Group, h api.Happening, attempt int) Event {
	e := Event{
		Version: Version, Hook: hook, ID: fmt.Sprintf("%s/%d", g.ID, h.Cursor), Attempt: attempt, At: h.At,
		Group: g.ID, GroupName: g.Name, Event: h.Event,
	}
	switch {
	case h.Event != nil:
		e.Kind = h.Event.Kind
	case h.Message != nil:
		m := *h.Message
		m.Versions = nil // as many texts again
		e.Kind, e.Message = m.Kind, &m
	}
	return e
}

// encode gives an event as a line.
func (e Event) encode() ([]byte, error) {
	b, err := json.Marshal(e)
	if err != nil {
		return nil, fmt.Errorf("encoding the event: %w", err)
	}
	return append(b, '\n'), nil
}
