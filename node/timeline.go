package node

import (
	"context"
	"fmt"
	"slices"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// happening is one thing that people see of a group: a message, or an event that is none.
type happening struct {
	Event   group.Event
	Message *group.Message // of EventMessage and EventChanged
	More    bool           // others before it were left out
	User    string         // the name of Event.User
	By      string         // the name of Event.By
}

// inTimeline says whether people see an event of this kind.
func inTimeline(k group.EventKind) bool {
	return slices.Contains(api.TimelineKinds, api.EventKind(k))
}

// inNews says whether people who follow a group are told of an event of this kind: changes
// of messages, too. Those who look back see the messages as they are now.
func inNews(k group.EventKind) bool { return k == group.EventChanged || inTimeline(k) }

// timeline gives up to limit of what happened in a group after a cursor, as Node.Messages
// does for messages alone.
func timeline(ctx context.Context, t *groupTable, id wire.GroupID, after uint64, limit int) ([]happening, error) {
	return happened(ctx, t, id, after, limit, inTimeline)
}

func happened(ctx context.Context, t *groupTable, id wire.GroupID, after uint64, limit int, shows func(group.EventKind) bool) ([]happening, error) {
	return rowsAfter(ctx, t, id, after, func(m *group.Machine) ([]happening, error) {
		events, err := t.journal(m).Happened(after, limit, shows)
		if err != nil {
			return nil, err
		}
		return happenings(m, t.journal(m), events)
	})
}

// latest gives the newest of a group's timeline before a cursor, if that is not 0, at most
// count; the first has More if there are others before. Before a cursor count is that of the
// messages: what happened between them comes with them.
func latest(ctx context.Context, t *groupTable, id wire.GroupID, count int, before uint64) ([]happening, error) {
	return rowsAfter(ctx, t, id, 0, func(m *group.Machine) ([]happening, error) {
		var events []group.Event
		var more bool
		var err error
		if before > 0 {
			events, more, err = eventsBefore(t.journal(m), before, count)
		} else {
			events, more, err = t.journal(m).LastHappened(count, 0, inTimeline)
		}
		if err != nil {
			return nil, err
		}
		out, err := happenings(m, t.journal(m), events)
		if len(out) > 0 {
			out[0].More = more
		}
		return out, err
	})
}

// eventsBefore gives the newest messages before a cursor, and what happened from the first
// of them on.
func eventsBefore(j group.Journal, before uint64, count int) (out []group.Event, more bool, err error) {
	messages, more, err := j.MessagesBefore(before, count)
	if err != nil {
		return nil, false, err
	}
	after := uint64(0)
	if more && len(messages) > 0 {
		after = messages[0].Cursor - 1
	}
	for {
		events, err := j.Happened(after, page, inTimeline)
		if err != nil {
			return nil, false, err
		}
		for _, e := range events {
			if e.Cursor >= before {
				return out, more, nil
			}
			out, after = append(out, e), e.Cursor
		}
		if len(events) < page {
			return out, more, nil
		}
	}
}

func happenings(m *group.Machine, j group.Journal, events []group.Event) ([]happening, error) {
	out := make([]happening, 0, len(events))
	var names map[wire.UserID]string
	for _, e := range events {
		h := happening{Event: e}
		if e.Kind == group.EventMessage || e.Kind == group.EventChanged {
			msg, ok, err := j.Message(e.Message)
			if err != nil {
				return nil, err
			}
			if ok {
				h.Message = &msg
			}
		}
		if e.Kind != group.EventMessage {
			if names == nil {
				names = m.Names()
			}
			h.User, h.By = names[e.User], names[e.By]
		}
		out = append(out, h)
	}
	return out, nil
}

// followTimeline calls emit for what happens in a group after a cursor, as Node.Subscribe
// does for messages alone.
func followTimeline(ctx context.Context, t *groupTable, id wire.GroupID, after uint64, emit func(happening) error) error {
	read := func(ctx context.Context, id wire.GroupID, after uint64, limit int) ([]happening, error) {
		return happened(ctx, t, id, after, limit, inNews)
	}
	return follow(ctx, t, id, after, read, func(h happening) uint64 { return h.Event.Cursor }, emit)
}

// profileChange changes what a group says of itself; what is nil stays as it is.
type profileChange struct {
	Name        *string
	Description *string   // empty: none
	Tags        *[]string // in place of those before
}

// setProfile changes the profile of a group: an owner's or admin's word, which every
// member follows. Of two who speak at once the later one's word holds.
func (g *groupSession) setProfile(ctx context.Context, p profileChange) error {
	if p.Name != nil {
		if wire.Blank(*p.Name) {
			return fmt.Errorf("%w: a group needs a name", ErrInvalid)
		}
		if err := checkNewName(*p.Name); err != nil {
			return err
		}
	}
	var last uint64
	var before []wire.ProfileItem
	if err := g.loop.look(ctx, func(m *group.Machine) error {
		before = m.Status().Profile
		for _, item := range before {
			last = max(last, item.HLC)
		}
		return nil
	}); err != nil {
		return err
	}
	base := wire.ProfileItem{V: wire.Version, HLC: max(uint64(hlcOf(g.n.clock.now())), last+1), Signer: g.n.me.user.Public()}
	var items []wire.ProfileItem
	add := func(f wire.ProfileField, set func(*wire.ProfileItem)) {
		item := base
		item.Field = f
		set(&item)
		items = append(items, item)
	}
	if p.Name != nil {
		add(wire.FieldName, func(i *wire.ProfileItem) { i.Text = *p.Name })
	}
	if p.Description != nil {
		add(wire.FieldDescription, func(i *wire.ProfileItem) { i.Text = *p.Description })
	}
	if p.Tags != nil {
		add(wire.FieldTags, func(i *wire.ProfileItem) { i.Tags = *p.Tags })
	}
	for _, item := range items {
		if err := checkProfileItem(item); err != nil {
			return err
		}
	}
	for _, item := range items {
		if _, err := g.loop.step(ctx, group.SetProfile{Item: g.n.me.user.Sign(wire.DomainProfile, g.id, item.Encode())}); err != nil {
			return err
		}
	}
	return nil
}
