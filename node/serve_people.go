package node

import (
	"context"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

func (s deviceRoutes) Rename(ctx context.Context, r api.RenameRequest) (api.ID, error) {
	if err := s.n.naming.rename(ctx, r.Name); err != nil {
		return api.ID{}, APIError(err)
	}
	return s.id(), nil
}

func (s groupRoutes) SetProfile(ctx context.Context, r api.ProfileRequest) (api.Group, error) {
	g, err := s.session(ctx, r.Group)
	if err != nil {
		return api.Group{}, err
	}
	if r.Name == nil && r.Description == nil && r.Tags == nil {
		return api.Group{}, api.Errorf(api.CodeInvalid, "nothing is to be changed: give a name, a description or tags")
	}
	if err := g.setProfile(ctx, profileChange{Name: r.Name, Description: r.Description, Tags: r.Tags}); err != nil {
		return api.Group{}, APIError(err)
	}
	return s.group(ctx, g.id)
}

func (s groupRoutes) Set(ctx context.Context, r api.SettingRequest) (api.Group, error) {
	g, err := s.session(ctx, r.Group)
	if err != nil {
		return api.Group{}, err
	}
	if err := checkSetting(r.Key, r.Value); err != nil {
		return api.Group{}, APIError(err)
	}
	if _, err := g.loop.step(ctx, group.SetSetting{Key: r.Key, Value: r.Value}); err != nil {
		return api.Group{}, APIError(err)
	}
	return s.group(ctx, g.id)
}

func (s messageRoutes) Timeline(ctx context.Context, r api.TimelineRequest, emit func(api.Happening) error) error {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return err
	}
	if r.Before > 0 && (r.Since > 0 || r.Follow || r.Last <= 0) {
		return api.Errorf(api.CodeInvalid, "before goes with last, and with neither since nor follow")
	}
	if r.As != "" && r.Last > 0 {
		return api.Errorf(api.CodeInvalid, "give as or last, one of the two")
	}
	newest := uint64(0)
	if r.As != "" || r.Follow {
		if r.Since, newest, err = s.n.begins(ctx, id, r); err != nil {
			return APIError(err)
		}
	}
	return streamed(emit, func(emit func(api.Happening) error) error {
		show := func(h happening) error {
			r.Since = h.Event.Cursor
			out := s.happening(ctx, id, h)
			out.Live = r.Follow && h.Event.Cursor > newest
			return emit(out)
		}
		if r.Last > 0 {
			latest, err := latest(ctx, s.n.groups, id, r.Last, r.Before)
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
			some, err := timeline(ctx, s.n.groups, id, r.Since, page)
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
		return followTimeline(ctx, s.n.groups, id, r.Since, show)
	})
}

func (s messageRoutes) happening(ctx context.Context, id wire.GroupID, h happening) api.Happening {
	out := api.Happening{Cursor: h.Event.Cursor, At: time.UnixMilli(int64(h.Event.At)), More: h.More} //nolint:gosec // this device's clock
	e := apiEvent(id, h.Event)
	if h.Message != nil {
		m := s.n.apiMessage(ctx, id, *h.Message)
		if m.Kind = e.Kind; m.Kind == api.EventChanged {
			m.Cursor, m.Change = e.Cursor, &api.Changed{By: e.User, Name: s.n.people.called(h.Event.User, h.User), What: e.Detail}
		}
		out.Message = &m
		return out
	}
	e.UserName, e.ByName = s.n.people.called(h.Event.User, h.User), s.n.people.called(h.Event.By, h.By)
	if e.Kind == api.EventJoinRequested { // it is the name
		e.Detail = s.n.people.called(h.Event.User, e.Detail)
	}
	if g := s.n.groups.get(id); g != nil && e.Kind == api.EventJoined && e.Cursor <= 2 && g.genesis.Device.ID == s.n.me.device.ID {
		e.Detail = "founded" // the first event but for its epoch; who comes back joins later
	}
	out.Event = &e
	return out
}
