package node

import (
	"context"
	"errors"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

func (s groupRoutes) CreateGroup(ctx context.Context, r api.CreateGroupRequest) (api.Group, error) {
	var policy wire.Policy // without a word CreateGroup chooses
	if r.Policy != "" {
		var err error
		if policy, err = wire.ParsePolicy(string(r.Policy)); err != nil {
			return api.Group{}, api.Errorf(api.CodeInvalid, "there is no policy %q: there are open, request and invite", r.Policy)
		}
	}
	id, err := s.n.CreateGroup(ctx, CreateGroup{Name: r.Name, Description: r.Description, Tags: r.Tags, Policy: policy, Private: r.Private})
	if err != nil {
		return api.Group{}, APIError(err)
	}
	return s.group(context.WithoutCancel(ctx), id) // it is founded: the caller is to learn that
}

func (s groupRoutes) Groups(ctx context.Context, _ api.Empty) (api.Groups, error) {
	return s.groups(ctx, false)
}

func (s groupRoutes) Group(ctx context.Context, r api.GroupRequest) (api.Group, error) {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return api.Group{}, err
	}
	return s.group(ctx, id)
}

func (s groupRoutes) Leave(ctx context.Context, r api.GroupRequest) (api.Left, error) {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return api.Left{}, err
	}
	name, _ := s.groupName(ctx, id)
	left, err := s.n.leave(ctx, id)
	return api.Left{Waits: left.Waits, Ended: left.Ended, Group: id.String(), GroupName: name}, APIError(err)
}

func (s groupRoutes) Forget(ctx context.Context, r api.ForgetRequest) (api.Forgotten, error) {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return api.Forgotten{}, err
	}
	out, err := s.n.forget(ctx, id, r.DiscardUnsent)
	return api.Forgotten{Group: id.String(), Messages: out.Messages, Unsent: out.Unsent}, APIError(err)
}

func (s groupRoutes) Reboot(ctx context.Context, r api.GroupRequest) (api.Empty, error) {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return api.Empty{}, err
	}
	return api.Empty{}, APIError(s.n.step(ctx, id, group.Reboot{}))
}

func (s groupRoutes) Members(ctx context.Context, r api.GroupRequest) (api.Members, error) {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return api.Members{}, err
	}
	members, err := s.n.Members(ctx, id)
	out := api.Members{Members: []api.Member{}, Known: s.n.people.names()}
	names := api.NamesOf(out.Known...)
	for _, m := range members {
		names.Add(api.Candidate{ID: m.User.String(), Name: s.n.people.called(m.User, m.Name)})
	}
	for _, m := range members {
		row := s.n.people.get(m.User)
		one := api.Member{
			User: m.User.String(), Name: s.n.people.called(m.User, m.Name), Role: m.Role.String(), Self: m.User == s.n.me.device.User,
			Devices: []string{}, Since: m.Since, InTree: m.InTree,
			About: s.n.people.profile(m.User).About, Verified: row.Verified != 0, Blocked: row.Blocked, New: row.newDevices(m.Devices),
		}
		if row.Petname != "" {
			one.OwnName = s.n.people.ownName(m.User, m.Name)
		}
		one.Doubt = names.Doubt(api.Candidate{ID: one.User, Name: one.Name})
		for _, d := range m.Devices {
			one.Devices = append(one.Devices, d.String())
		}
		out.Members = append(out.Members, one)
	}
	return out, APIError(err)
}

func (s groupRoutes) Remove(ctx context.Context, r api.RemoveRequest) (api.Change, error) {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return api.Change{}, err
	}
	user, err := s.member(ctx, id, r.User)
	if err != nil {
		return api.Change{}, err
	}
	if err := s.n.step(ctx, id, group.RemoveUser{User: user.User}); err != nil {
		return api.Change{}, APIError(err)
	}
	out := s.change(ctx, id, api.DeedRemoved, user.User, user.Name)
	if user.Role != 0 {
		out.Was = user.Role.String()
	}
	return out, nil
}

func (s groupRoutes) GroupEvents(ctx context.Context, r api.GroupEventsRequest, emit func(api.Event) error) error {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return err
	}
	return streamed(emit, func(emit func(api.Event) error) error {
		err := followEvents(ctx, s.n.groups, id, r.Since, func(e group.Event) error {
			if r.Until != 0 && e.Cursor > r.Until {
				return errEnough
			}
			if err := emit(apiEvent(id, e)); err != nil || e.Cursor != r.Until {
				return err
			}
			return errEnough
		})
		if errors.Is(err, errEnough) {
			return nil
		}
		return err
	})
}

// entriesPage is how many bytes of entries are read in one turn at the machine.
const entriesPage = 256 << 10

func (s groupRoutes) Entries(ctx context.Context, r api.GroupRequest, emit func(api.Entry) error) error {
	id, err := s.resolve(ctx, r.Group)
	if err != nil {
		return err
	}
	g, err := s.n.groups.must(id)
	if err != nil {
		return APIError(err)
	}
	if err := emit(api.Entry{Genesis: g.genesis.Raw.Encode()}); err != nil {
		return err
	}
	for from := (wire.EntryHash{}); ; {
		var entries [][]byte
		if err := g.loop.look(ctx, func(m *group.Machine) (err error) {
			entries, from, err = m.EntriesAfter(s.n.me.device.ID, nil, from, entriesPage)
			return err
		}); err != nil {
			return APIError(err)
		}
		for _, e := range entries {
			if err := emit(api.Entry{Entry: e}); err != nil {
				return err
			}
		}
		if from == (wire.EntryHash{}) {
			return nil
		}
	}
}

func apiEvent(id wire.GroupID, e group.Event) api.Event {
	out := api.Event{
		Cursor: e.Cursor, Kind: api.EventKind(e.Kind), At: time.UnixMilli(int64(e.At)), //nolint:gosec // this device's clock
		Detail: e.Detail,
	}
	if e.Kind == group.EventSwitch {
		out.Kind = api.EventForkHealed
	}
	out.Group = textUnlessZero(id)
	out.Message, out.User, out.Device = textUnlessZero(e.Message), textUnlessZero(e.User), textUnlessZero(e.Device)
	out.By, out.EpochID = textUnlessZero(e.By), textUnlessZero(e.Epoch)
	return out
}

// textUnlessZero is an ID's text, empty for the zero ID.
func textUnlessZero[T interface {
	comparable
	String() string
}](id T) string {
	var zero T
	if id == zero {
		return ""
	}
	return id.String()
}
