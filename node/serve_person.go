package node

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

type peopleRoutes struct{ routes }

func (s peopleRoutes) People(ctx context.Context, _ api.Empty) (api.People, error) {
	known, err := s.n.acquaintances(ctx)
	if err != nil {
		return api.People{}, APIError(err)
	}
	names := s.n.namesAmong(known)
	out := api.People{People: []api.Person{}}
	for user := range *s.n.people.all.Load() {
		out.People = append(out.People, s.n.person(user, known[user], names))
	}
	slices.SortFunc(out.People, func(a, b api.Person) int { return compareText(a.User, b.User) })
	return out, nil
}

// namesAmong are the names of users as they are shown, and those that others could be taken for.
func (n *Node) namesAmong(known map[wire.UserID]acquainted) *api.Names {
	names := api.NamesOf(n.people.names()...)
	for user, a := range known {
		names.Add(api.Candidate{ID: user.String(), Name: n.people.called(user, a.name)})
	}
	return names
}

// person is what is kept of a user.
func (n *Node) person(user wire.UserID, a acquainted, names *api.Names) api.Person {
	row := n.people.get(user)
	out := api.Person{
		User: user.String(), Name: n.people.called(user, a.name), Petname: row.Petname, OwnName: n.people.ownName(user, a.name), About: n.people.profile(user).About,
		Verified: row.Verified != 0, Blocked: row.Blocked, New: row.newDevices(a.devices),
	}
	if out.Verified {
		out.When = time.UnixMilli(int64(row.Verified)) //nolint:gosec // this device's clock
	}
	out.Doubt = names.Doubt(api.Candidate{ID: out.User, Name: out.Name})
	return out
}

// whom finds the user that a text names, who is somebody else.
func (s peopleRoutes) whom(ctx context.Context, query string) (user wire.UserID, known map[wire.UserID]acquainted, err error) {
	if known, err = s.n.acquaintances(ctx); err != nil {
		return user, nil, APIError(err)
	}
	var candidates []api.Candidate
	for id, a := range known {
		for _, name := range slices.Compact([]string{s.n.people.called(id, a.name), api.Unmarked(a.name)}) {
			candidates = append(candidates, api.Candidate{ID: id.String(), Name: name, Verified: s.n.people.get(id).Verified != 0})
		}
	}
	slices.SortFunc(candidates, func(a, b api.Candidate) int { return strings.Compare(a.ID+a.Name, b.ID+b.Name) })
	text, err := api.Resolve("user", query, candidates)
	if err != nil {
		return user, nil, orLook(err, "pandanode group members GROUP")
	}
	if user, err = wire.ParseUserID(text); err == nil && user == s.n.me.device.User {
		err = api.Errorf(api.CodeInvalid, "this is you: only other users are verified, named or blocked")
	}
	return user, known, APIError(err)
}

func (s peopleRoutes) Person(ctx context.Context, r api.PersonRequest) (api.Person, error) {
	user, known, err := s.whom(ctx, r.User)
	if err != nil {
		return api.Person{}, err
	}
	out, me := s.n.person(user, known[user], s.n.namesAmong(known)), s.n.me.device.User
	out.Digits, out.Words, out.Code = identity.Digits(me, user), s.n.people.wordsOf(me, user), identity.VerifyCode(me, user)
	return out, nil
}

func (s peopleRoutes) SetPerson(ctx context.Context, r api.SetPersonRequest) (api.Person, error) {
	user, known, err := s.whom(ctx, r.User)
	if err != nil {
		return api.Person{}, err
	}
	if r.Petname == nil && r.Blocked == nil {
		return api.Person{}, api.Errorf(api.CodeInvalid, "nothing is to be changed: give a petname, or say whether the user is blocked")
	}
	if r.Petname != nil && *r.Petname != "" {
		if err := s.n.people.checkPetname(user, *r.Petname); err != nil {
			return api.Person{}, err
		}
	}
	return s.change(user, known, func(row *personRow) {
		if r.Petname != nil {
			row.Petname = *r.Petname
		}
		if r.Blocked != nil {
			row.Blocked = *r.Blocked
		}
	})
}

func (s peopleRoutes) Verify(ctx context.Context, r api.VerifyRequest) (api.Person, error) {
	user, known, err := s.whom(ctx, r.User)
	if err != nil {
		return api.Person{}, err
	}
	if err := s.n.people.shownBy(s.n.me.device.User, user, r.Shown); err != nil {
		return api.Person{}, err
	}
	return s.change(user, known, func(row *personRow) {
		row.Verified = uint64(s.n.clock.now().UnixMilli()) //nolint:gosec // after 1970
		row.Devices = known[user].devices
	})
}

func (s peopleRoutes) Unverify(ctx context.Context, r api.PersonRequest) (api.Person, error) {
	user, known, err := s.whom(ctx, r.User)
	if err != nil {
		return api.Person{}, err
	}
	if s.n.people.get(user).Verified == 0 {
		return api.Person{}, api.Errorf(api.CodeConflict, "the user was not verified")
	}
	return s.change(user, known, func(row *personRow) { row.Verified, row.Devices = 0, nil })
}

func (s peopleRoutes) change(user wire.UserID, known map[wire.UserID]acquainted, change func(*personRow)) (api.Person, error) {
	hid := s.n.people.hides(user)
	row, erased, err := s.n.people.change(user, func(row *personRow) {
		change(row)
		row.Name = known[user].name
	})
	if err != nil {
		return api.Person{}, APIError(err)
	}
	if erased {
		s.n.purger.erased()
	}
	if hid && !row.Blocked {
		s.n.files.stir()
	}
	s.n.feed.add(nodeEvent{Event: group.Event{Kind: eventPeople, User: user}})
	return s.n.person(user, known[user], s.n.namesAmong(known)), nil
}

// watch says what changed about users who were verified: devices that they got, and others who
// have their names.
func (n *Node) watch(ctx context.Context) ([]string, error) {
	if len(n.people.names()) == 0 {
		return nil, nil
	}
	known, err := n.acquaintances(ctx)
	if err != nil {
		return nil, err
	}
	names := n.namesAmong(known)
	var out []string
	for user, a := range known {
		p := n.person(user, a, names)
		if p.Doubt == api.NotVerified && user != n.me.device.User {
			out = append(out, fmt.Sprintf("%s is called %q, as somebody is whom you verified, and is another user", p.User, p.Name))
		}
		if len(p.New) > 0 {
			out = append(out, fmt.Sprintf("%q, whom you verified, has a new device: pandanode verify %s", p.Name, api.Short(p.User)))
		}
	}
	slices.Sort(out)
	return out, nil
}
