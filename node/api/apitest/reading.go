package apitest

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/pandanode/pandanode/node/api"
)

// Read moves the read mark of a group.
func (n *Node) Read(_ context.Context, r api.ReadRequest) (out api.ReadMark, err error) {
	err = n.in("Read", r.Group, func(g *group) error {
		if r.Message != "" {
			m, err := n.shown(g, r.Message)
			if err != nil {
				return err
			}
			r.Cursor = m.Cursor
		}
		if r.Cursor > g.Cursor {
			return api.Errorf(api.CodeConflict, "the newest event has cursor %d", g.Cursor)
		}
		g.Read = max(g.Read, r.Cursor)
		g.Unread, g.Mentions = 0, 0
		for _, m := range since(g, g.Read) {
			if m.Own || m.Deleted != nil {
				continue
			}
			if g.Unread++; m.MentionsMe {
				g.Mentions++
			}
		}
		g.Unseen = min(g.Unread, 100)
		out = api.ReadMark{Group: g.ID, Cursor: g.Read, Unread: g.Unread, Mentions: g.Mentions}
		return nil
	})
	return out, err
}

// Search finds messages that contain the words as they stand.
func (n *Node) Search(_ context.Context, r api.SearchRequest, emit func(api.Message) error) error {
	var found []api.Message
	if err := n.in("Search", r.Group, func(g *group) error {
		for _, m := range slices.Backward(g.messages) {
			if strings.Contains(m.Text, r.Words) && (r.Before == 0 || m.Cursor < r.Before) {
				found = append(found, m)
			}
		}
		return nil
	}); err != nil {
		return err
	}
	for i, m := range found {
		if i == r.Limit && r.Limit > 0 {
			return nil
		}
		if err := emit(m); err != nil {
			return err
		}
	}
	return nil
}

// Local gives what SetLocal set.
func (n *Node) Local(ctx context.Context, r api.GroupRequest) (api.Local, error) {
	return n.SetLocal(ctx, api.LocalRequest{Group: r.Group})
}

// SetLocal changes what is kept of a group.
func (n *Node) SetLocal(_ context.Context, r api.LocalRequest) (out api.Local, err error) {
	err = n.in("SetLocal", r.Group, func(g *group) error {
		if r.Muted != nil {
			g.Muted = *r.Muted
		}
		if r.Pinned != nil {
			g.Pinned = *r.Pinned
		}
		if r.Draft != nil {
			if g.draft = r.Draft; r.Draft.Text == "" {
				g.draft = nil
			}
		}
		out = api.Local{Group: g.ID, Muted: g.Muted, Pinned: g.Pinned, Draft: g.draft}
		return nil
	})
	return out, err
}

// Cursors lists what Acknowledge moved.
func (n *Node) Cursors(_ context.Context, r api.GroupRequest) (out api.Cursors, err error) {
	err = n.in("Cursors", r.Group, func(g *group) error {
		out = api.Cursors{Cursors: []api.DurableCursor{}, Newest: uint64(len(g.events))}
		for _, name := range slices.Sorted(maps.Keys(g.cursors)) {
			out.Cursors = append(out.Cursors, api.DurableCursor{Name: name, Group: g.ID, Cursor: g.cursors[name]})
		}
		return nil
	})
	return out, err
}

// Acknowledge moves a cursor forward.
func (n *Node) Acknowledge(_ context.Context, r api.AcknowledgeRequest) (out api.DurableCursor, err error) {
	err = n.in("Acknowledge", r.Group, func(g *group) error {
		if g.cursors == nil {
			g.cursors = map[string]uint64{}
		}
		g.cursors[r.Name] = max(g.cursors[r.Name], r.Cursor)
		out = api.DurableCursor{Name: r.Name, Group: g.ID, Cursor: g.cursors[r.Name]}
		return nil
	})
	return out, err
}

// RemoveCursor forgets a cursor.
func (n *Node) RemoveCursor(_ context.Context, r api.CursorRequest) (out api.DurableCursor, err error) {
	err = n.in("RemoveCursor", r.Group, func(g *group) error {
		out = api.DurableCursor{Name: r.Name, Group: g.ID, Cursor: g.cursors[r.Name]}
		delete(g.cursors, r.Name)
		return nil
	})
	return out, err
}
