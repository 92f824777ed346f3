package node

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/content"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// A user's profile is a message in each of its groups, which people do not see as one. Here
// lies which messages those are, not what they say: a profile that is erased leaves nothing.

const (
	keyProfile  = "n/profile"   // profileRow: what this device's user says of itself
	keyProfiles = "n/profiles/" // ‖ group ID: profilesRow
)

// whatProfile is the detail of an event that tells of a profile.
const whatProfile = "profile"

// profileRow is what a user says of itself.
type profileRow struct {
	Name  string `cbor:"1,keyasint"`
	About string `cbor:"2,keyasint,omitempty"`
	At    uint64 `cbor:"3,keyasint,omitempty"` // of this device's user: an HLC after all that it said before
}

// says says whether both say the same.
func (r profileRow) says(o profileRow) bool { return r.Name == o.Name && r.About == o.About }

// profilesRow says which messages of a group are profiles.
type profilesRow struct {
	UpTo  uint64           `cbor:"1,keyasint"` // the cursor up to which events were looked at
	Said  []wire.MessageID `cbor:"2,keyasint"`
	Added uint64           `cbor:"3,keyasint"` // when somebody came in
	Spoke uint64           `cbor:"4,keyasint"` // when this device said something
}

// Bounds of the above.
const (
	maxProfilesOfUser = 4                // that are kept, so that an earlier one counts when the last is deleted
	maxProfileEvents  = 2048             // that are looked at in one turn, and before that is noted; so a start has twice as many to look at
	profilesApart     = 10 * time.Second // between two that members repeat, on average
	rereadProfiles    = time.Hour
	profileAhead      = 10 * time.Minute // no other group takes a later date for the newest
)

// groupProfiles is what is known of a group's profiles. Only what the loop gives out is read
// beside it: said is replaced, never changed.
type groupProfiles struct {
	row  profilesRow
	kept uint64                      // its UpTo in the store
	said map[wire.UserID]saidProfile // the newest of each user
	read time.Time                   // when said was read; zero: it is to be read
}

// saidProfile is the profile of a user as a message says it.
type saidProfile struct {
	content.Profile
	message content.Said
	cursor  uint64
	ahead   bool // its date is not believed yet
}

func (s saidProfile) row() profileRow {
	return profileRow{Name: s.Name, About: s.About, At: s.message.HLC}
}

// compare is negative if what the user says in another group counts in its place. A message that
// a member dates ahead puts all that follows it in the group ahead. That says nothing of other
// groups.
func (s saidProfile) compare(o saidProfile) int {
	switch {
	case s.ahead && !o.ahead:
		return -1
	case !s.ahead && o.ahead:
		return 1
	}
	return s.message.Compare(o.message)
}

// profiles are those of all users that the groups of this node know.
type profiles struct {
	mu  sync.Mutex
	of  map[wire.GroupID]map[wire.UserID]saidProfile
	own profileRow
}

// take takes up what a group says, and publishes the newest of each user. It says whether
// anything is another.
func (p *people) take(id wire.GroupID, said map[wire.UserID]saidProfile) bool {
	p.said.mu.Lock()
	defer p.said.mu.Unlock()
	if p.said.of == nil {
		p.said.of = map[wire.GroupID]map[wire.UserID]saidProfile{}
	}
	if p.said.of[id] = said; said == nil {
		delete(p.said.of, id)
	}
	newest := map[wire.UserID]saidProfile{}
	for _, one := range p.said.of {
		for user, s := range one {
			if old, ok := newest[user]; !ok || old.compare(s) < 0 {
				newest[user] = s
			}
		}
	}
	out := make(map[wire.UserID]profileRow, len(newest))
	for user, s := range newest {
		out[user] = profileRow{Name: s.Name, About: s.About}
	}
	if before := p.profiles.Load(); before != nil && maps.Equal(*before, out) || before == nil && len(out) == 0 {
		return false
	}
	p.profiles.Store(&out)
	return true
}

// profile is what a user says of itself; zero: nothing.
func (p *people) profile(user wire.UserID) profileRow {
	if all := p.profiles.Load(); all != nil {
		return (*all)[user]
	}
	return profileRow{}
}

// ownName is what a user calls itself whose device has a name.
func (p *people) ownName(user wire.UserID, device string) string {
	return cmp.Or(api.Unmarked(p.profile(user).Name), api.Unmarked(device))
}

// followProfiles keeps up with the profiles that a group's members give, and gives this one's.
func (g *groupSession) followProfiles(ctx context.Context) {
	var told toldProfile
	for {
		wake := g.profiled.wait()
		next, err := g.readProfiles(ctx, &told)
		if err != nil && ctx.Err() == nil {
			g.log.Debug("the profiles of members were not read", "err", err)
		}
		var due <-chan time.Time
		if next > 0 {
			due = time.After(next)
		}
		select {
		case <-ctx.Done():
			g.n.people.take(g.id, nil)
			return
		case <-wake:
		case <-due:
		}
	}
}

// toldProfile is what this run told a group last, if the user still says so.
type toldProfile struct {
	profileRow
	at time.Time
}

// readProfiles takes up what members say of themselves and tells them of this one's user. It is
// to be called again after next, unless that is zero.
func (g *groupSession) readProfiles(ctx context.Context, told *toldProfile) (next time.Duration, err error) {
	var p groupProfiles
	members := 0
	for more := true; more; {
		if err := g.loop.look(ctx, func(m *group.Machine) (err error) {
			more, err = g.lookForProfiles(m.Journal())
			p, members = g.profiles, len(m.Members())
			return err
		}); err != nil {
			return 0, err
		}
	}
	if g.n.people.take(g.id, p.said) {
		g.n.feed.add(nodeEvent{Event: group.Event{Kind: eventPeople}})
	}
	own, err := g.n.keepNewest(p.said[g.n.me.device.User], told.profileRow)
	if err != nil {
		return 0, err
	}
	if !told.says(own) {
		*told = toldProfile{}
	}
	due, must := p.due(g.n.me.device.User, own, members)
	if !must {
		return 0, nil
	}
	apart := time.Duration(members) * profilesApart
	wait := due.Sub(g.n.clock.now())
	if wait > apart { // it is dated ahead, as all is that follows somebody's wrong date
		wait = 0
	}
	// An admin who deletes it does not hurry this device.
	if wait = max(wait, time.Until(told.at.Add(apart))); wait > 0 {
		return wait, nil
	}
	if err := g.sayProfile(ctx, own); err != nil {
		return 0, err
	}
	*told = toldProfile{own, time.Now()}
	return 0, nil
}

// due says when the group must be told what its member user says of itself, if it must: at once
// while it knows nothing or an older word, and again when the user has spoken after somebody came
// in. That goes to everybody, so all members together repeat themselves once in profilesApart on
// average, however many come in.
func (p *groupProfiles) due(user wire.UserID, own profileRow, members int) (at time.Time, must bool) {
	mine, is := p.said[user]
	switch {
	case own.Name == "":
		return time.Time{}, false
	case !is || !mine.row().says(own):
		return time.Time{}, true
	case mine.cursor < p.row.Added && p.row.Added < p.row.Spoke:
		return crdt.HLC(mine.message.HLC).Time().Add(time.Duration(members) * profilesApart), true
	}
	return time.Time{}, false
}

// lookForProfiles goes on with the events after those that were looked at. It reads the profiles
// if there may be no more events: when somebody gave or changed one, and else, since a profile
// can expire, once in rereadProfiles.
func (g *groupSession) lookForProfiles(j group.Journal) (more bool, err error) {
	key, p := keyProfiles+string(g.id[:]), &g.profiles
	row := &p.row
	if row.UpTo == 0 {
		if _, err := getRow(g.n.store, key, row); err != nil {
			return false, err
		}
		p.kept = row.UpTo
	}
	if row.UpTo > j.Cursor() { // of before the store went back
		*p = groupProfiles{}
	}
	events, err := j.Events(row.UpTo, maxProfileEvents)
	if err != nil {
		return false, err
	}
	before := len(row.Said)
	for _, e := range events {
		row.UpTo = e.Cursor
		switch {
		case e.Kind == group.EventChanged && e.Detail == whatProfile:
			row.Said, p.read = append(row.Said, e.Message), time.Time{}
		case e.Kind == group.EventChanged && slices.Contains(row.Said, e.Message):
			p.read = time.Time{}
		case e.Kind == group.EventAdded && e.User != g.n.me.device.User:
			row.Added = e.Cursor
		case e.Kind == group.EventMessage && e.Device == g.n.me.device.ID:
			row.Spoke = e.Cursor
		}
	}
	found := len(row.Said)
	more = len(events) == maxProfileEvents
	if !more && time.Since(p.read) >= rereadProfiles {
		if p.said, err = row.read(j, g.n.clock.now()); err != nil {
			return false, err
		}
		p.read = time.Now()
	}
	if row.UpTo >= p.kept+maxProfileEvents || found > before || len(row.Said) < found {
		err, p.kept = g.n.put(key, row), row.UpTo
	}
	return more, err
}

// read gives the newest profile of each user. Messages that are gone are forgotten, and those
// that do not count any more.
func (r *profilesRow) read(j group.Journal, now time.Time) (map[wire.UserID]saidProfile, error) {
	var all []saidProfile
	for _, id := range r.Said {
		m, ok, err := j.Message(id)
		if err != nil {
			return nil, err
		}
		if !ok || m.Shown.Deleted != nil || m.Shown.Over {
			continue
		}
		if p, is := m.Shown.Part.Profile(); is {
			all = append(all, saidProfile{p, m.Shown.Said, m.Cursor, crdt.HLC(m.Shown.Said.HLC).Ahead(now) > profileAhead})
		}
	}
	slices.SortFunc(all, func(a, b saidProfile) int { return b.message.Compare(a.message) })
	r.Said = nil
	out, kept := map[wire.UserID]saidProfile{}, map[wire.UserID]int{}
	for _, s := range all {
		user := s.message.User
		if kept[user]++; kept[user] > maxProfilesOfUser {
			continue
		}
		if r.Said = append(r.Said, s.message.ID); kept[user] == 1 {
			out[user] = s
		}
	}
	slices.SortFunc(r.Said, func(a, b wire.MessageID) int { return bytes.Compare(a[:], b[:]) })
	return out, nil
}

// sayProfile tells the group what this device's user says of itself.
func (g *groupSession) sayProfile(ctx context.Context, own profileRow) error {
	c, err := container(content.Message{Part: content.NewProfile(content.Profile{Name: own.Name, About: own.About})})
	if err == nil {
		_, err = g.loop.step(ctx, group.Send{Content: c})
	}
	return err
}

// own is what this device's user says of itself; zero: nothing.
func (p *people) own() profileRow {
	p.said.mu.Lock()
	defer p.said.mu.Unlock()
	return p.said.own
}

// keepNewest makes said this device's own word if its user said it later, with another device or
// this one before it went back to a backup, and gives what then is its own. A word that this
// device told, before its user said something else to it, is no later one: its date may be ahead.
func (n *Node) keepNewest(said saidProfile, told profileRow) (profileRow, error) {
	n.people.said.mu.Lock()
	defer n.people.said.mu.Unlock()
	own, newest := &n.people.said.own, said.row()
	if newest.Name == "" || newest.At <= own.At || newest.says(told) && !own.says(told) {
		return *own, nil
	}
	err := n.put(keyProfile, &newest)
	if err == nil {
		*own = newest
	}
	return *own, err
}

// setOwn is durable when it returns. Error: ErrInvalid.
func (n *Node) setOwn(own profileRow) error {
	switch {
	case wire.Blank(own.Name):
		return fmt.Errorf("%w: the name is blank", ErrInvalid)
	case len(own.Name) > content.MaxName:
		return fmt.Errorf("%w: the name has %d bytes, and at most %d are allowed", ErrInvalid, len(own.Name), content.MaxName)
	case strings.ContainsAny(own.Name, "\n\r\v\f\u0085"):
		return fmt.Errorf("%w: the name has more than one line, and one is allowed", ErrInvalid)
	case len(own.About) > content.MaxAbout:
		return fmt.Errorf("%w: the text about you has %d bytes, and at most %d are allowed", ErrInvalid, len(own.About), content.MaxAbout)
	}
	if err := checkNewName(own.Name); err != nil {
		return err
	}
	part := content.NewProfile(content.Profile{Name: own.Name, About: own.About})
	if p, is := part.Profile(); !is || p.About != own.About || api.Unmarked(own.Name) != own.Name {
		return fmt.Errorf("%w: a profile has a name of one line, of up to %d bytes and without a check mark, and up to %d bytes about its user", ErrInvalid, content.MaxName, content.MaxAbout)
	}
	n.people.said.mu.Lock()
	own.At = max(uint64(crdt.HLCFromTime(n.clock.now())), uint64(crdt.Next(crdt.HLC(n.people.said.own.At), time.Time{})))
	for _, said := range n.people.said.of { // the latest word counts, whatever this clock says
		if s, is := said[n.me.device.User]; is {
			own.At = max(own.At, uint64(crdt.Next(crdt.HLC(s.message.HLC), time.Time{})))
		}
	}
	err := n.put(keyProfile, &own)
	if err == nil {
		n.people.said.own = own
	}
	n.people.said.mu.Unlock()
	for _, g := range n.groups.all() {
		g.profiled.wake()
	}
	return err
}

func (s peopleRoutes) Profile(context.Context, api.Empty) (api.UserProfile, error) {
	own := s.n.people.own()
	return api.UserProfile{Name: own.Name, About: own.About}, nil
}

func (s peopleRoutes) PutProfile(_ context.Context, r api.UserProfileRequest) (api.UserProfile, error) {
	own := s.n.people.own()
	if r.Name == nil && r.About == nil {
		return api.UserProfile{}, api.Errorf(api.CodeInvalid, "nothing is to be changed: give a name, or a text about you")
	}
	if own.Name == "" || r.Name != nil && *r.Name == "" {
		own.Name = s.n.naming.current().Cert.Name
	}
	if r.Name != nil && *r.Name != "" {
		own.Name = *r.Name
	}
	if r.About != nil {
		own.About = *r.About
	}
	return api.UserProfile{Name: own.Name, About: own.About}, APIError(s.n.setOwn(own))
}
