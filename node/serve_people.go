package node

import (
	"context"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/wire"
)

func (s *server) Rename(ctx context.Context, r api.RenameRequest) (api.ID, error) {
	if err := s.n.Rename(ctx, r.Name); err != nil {
		return api.ID{}, APIError(err)
	}
	return s.id(), nil
}

func (s *server) SetProfile(ctx context.Context, r api.ProfileRequest) (api.Group, error) {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return api.Group{}, err
	}
	if r.Name == nil && r.Description == nil && r.Tags == nil {
		return api.Group{}, api.Errorf(api.CodeInvalid, "nothing is to be changed: give a name, a description or tags")
	}
	if err := s.n.SetProfile(ctx, id, NewProfile{Name: r.Name, Description: r.Description, Tags: r.Tags}); err != nil {
		return api.Group{}, APIError(err)
	}
	return s.group(ctx, id)
}

func (s *server) MarkSeen(ctx context.Context, r api.SeenRequest) (api.Empty, error) {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return api.Empty{}, err
	}
	return api.Empty{}, APIError(s.n.Seen(ctx, id, r.Cursor))
}

func (s *server) Timeline(ctx context.Context, r api.TimelineRequest, emit func(api.Happening) error) error {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return err
	}
	return streamed(emit, func(emit func(api.Happening) error) error {
		show := func(h Happening) error {
			r.Since = h.Event.Cursor
			return emit(s.happening(id, h))
		}
		if r.Last > 0 {
			latest, err := s.n.Latest(ctx, id, r.Last)
			if err != nil {
				return err
			}
			r.Since = 0
			for _, h := range latest {
				if err := show(h); err != nil {
					return err
				}
			}
			if !r.Follow {
				return nil
			}
		}
		for !r.Follow {
			some, err := s.n.Timeline(ctx, id, r.Since, page)
			if err != nil {
				return err
			}
			for _, h := range some {
				if err := show(h); err != nil {
					return err
				}
			}
			if len(some) < page {
				return nil
			}
		}
		return s.n.Follow(ctx, id, r.Since, show)
	})
}

func (s *server) happening(id wire.GroupID, h Happening) api.Happening {
	out := api.Happening{Cursor: h.Event.Cursor, At: time.UnixMilli(int64(h.Event.At)), More: h.More} //nolint:gosec // this device's clock
	if h.Message != nil {
		m := apiMessage(id, *h.Message)
		m.Kind = api.EventMessage
		out.Message = &m
		return out
	}
	e := apiEvent(id, h.Event)
	e.UserName, e.ByName = h.User, h.By
	if g := s.n.groups.get(id); g != nil && e.Kind == api.EventJoined && e.Cursor <= 2 && g.genesis.Device.ID == s.n.me.device.ID {
		e.Detail = "founded" // the first event but for its epoch; who comes back joins later
	}
	out.Event = &e
	return out
}

// change is what an admin's word has done in a group.
func (s *server) change(ctx context.Context, id wire.GroupID, did api.Deed, user wire.UserID, name string) api.Change {
	return api.Change{Did: did, Group: id.String(), GroupName: s.groupName(ctx, id), User: textUnlessZero(user), UserName: name}
}

// groupName is what a group is called; empty if that is not known.
func (s *server) groupName(ctx context.Context, id wire.GroupID) string {
	if g := s.n.groups.get(id); g != nil {
		if st, err := g.status(ctx); err == nil {
			for _, item := range st.Profile {
				if item.Field == wire.FieldName {
					return item.Text
				}
			}
		}
	}
	if info := s.n.known.Get(id); info != nil {
		return info.Name
	}
	return ""
}
