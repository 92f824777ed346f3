package node

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
	"github.com/pandanode/pandanode/storage"
)

// keyPeople is one row for all users of whom something is kept: the keys of rows lie on the disk
// in the clear, and a row for each would say who they are.
const keyPeople = "n/people"

// maxPeople is of how many users something is kept: all of them are written at each change.
const maxPeople = 4096

// eventPeople is the kind of the events of people.
const eventPeople group.EventKind = "people"

type peopleRow struct {
	People []personRow `cbor:"1,keyasint"`
}

// personRow is what this device keeps of a user for its own people. It never travels.
type personRow struct {
	User     wire.UserID     `cbor:"1,keyasint"`
	Petname  string          `cbor:"2,keyasint,omitempty"`
	Name     string          `cbor:"3,keyasint,omitempty"` // its own, when it was verified or got a petname
	Verified uint64          `cbor:"4,keyasint,omitempty"` // when, in milliseconds since 1970
	Devices  []wire.DeviceID `cbor:"5,keyasint,omitempty"` // that it had then
	Blocked  bool            `cbor:"6,keyasint,omitempty"`
}

func (r *personRow) isEmpty() bool { return r.Petname == "" && r.Verified == 0 && !r.Blocked }

// people is what is kept of users, in memory as it is in the store.
type people struct {
	store *storage.Store
	apply func(storage.Batch) error

	changing sync.Mutex // held while a change is written
	all      atomic.Pointer[map[wire.UserID]personRow]
	profiles atomic.Pointer[map[wire.UserID]profileRow] // what users say of themselves; nil: nothing
	said     profiles
	blocks   atomic.Uint64 // rises when somebody is blocked, or is not any more

	words sync.Mutex // held while words are derived, which takes much memory
}

func loadPeople(store *storage.Store, apply func(storage.Batch) error) (*people, error) {
	p := &people{store: store, apply: apply}
	var row peopleRow
	if _, err := getRow(store, keyPeople, &row); err != nil {
		return nil, err
	}
	all := map[wire.UserID]personRow{}
	for _, r := range row.People {
		all[r.User] = r
	}
	p.all.Store(&all)
	if _, err := getRow(store, keyProfile, &p.said.own); err != nil {
		return nil, err
	}
	return p, nil
}

// get is what is kept of a user; zero but for User: nothing.
func (p *people) get(user wire.UserID) personRow {
	r := (*p.all.Load())[user]
	r.User = user
	return r
}

// hides says whether the messages of a user are hidden.
func (p *people) hides(user wire.UserID) bool { return (*p.all.Load())[user].Blocked }

// called is what a user is called here whose device has a name: by the petname, or by the name
// that it gives itself.
func (p *people) called(user wire.UserID, device string) string {
	return cmp.Or((*p.all.Load())[user].Petname, p.ownName(user, device))
}

// marked is called with the mark of a user that was verified, for texts.
func (p *people) marked(user wire.UserID, own string) string {
	name := p.called(user, own)
	if (*p.all.Load())[user].Verified != 0 {
		name = api.Mark + " " + name
	}
	return name
}

// names are the names that others could be taken for: all of users who were verified or have a
// petname.
func (p *people) names() (out []api.Candidate) {
	for _, r := range *p.all.Load() {
		if r.Petname == "" && r.Verified == 0 {
			continue
		}
		c := api.Candidate{ID: r.User.String(), Verified: r.Verified != 0}
		for _, c.Name = range []string{r.Petname, api.Unmarked(r.Name), api.Unmarked(p.profile(r.User).Name)} {
			if c.Name != "" {
				out = append(out, c)
			}
		}
	}
	slices.SortFunc(out, func(a, b api.Candidate) int { return strings.Compare(a.ID+a.Name, b.ID+b.Name) })
	return out
}

// change changes what is kept of a user, and gives it. The store gives up what was kept before as
// it does a message that was erased.
func (p *people) change(user wire.UserID, change func(*personRow)) (now personRow, erased bool, err error) {
	p.changing.Lock()
	defer p.changing.Unlock()
	all := maps.Clone(*p.all.Load())
	before := p.get(user)
	now = before
	now.Devices = slices.Clone(before.Devices)
	change(&now)
	if now.isEmpty() {
		delete(all, user)
	} else {
		all[user] = now
	}
	if len(all) > maxPeople {
		return before, false, api.Errorf(api.CodeLimited, "something is kept of %d users, which is the limit", maxPeople).WithHint("pandanode people lists them; take back what is not needed")
	}
	var row peopleRow
	for _, id := range slices.SortedFunc(maps.Keys(all), func(a, b wire.UserID) int { return slices.Compare(a[:], b[:]) }) {
		row.People = append(row.People, all[id])
	}
	b := storage.Batch{Writes: []storage.Write{{Key: []byte(keyPeople), Value: wire.Marshal(&row)}}}
	if erased = before.Petname != "" && now.Petname != before.Petname || before.Verified != 0 && now.Verified == 0 || before.Blocked && !now.Blocked; erased {
		b.Writes = append(b.Writes, storage.Write{Key: []byte(keyPurge), Value: []byte{1}})
	}
	if err := p.apply(b); err != nil {
		return before, false, fmt.Errorf("%w: %w", ErrStore, err)
	}
	p.all.Store(&all)
	if now.Blocked != before.Blocked {
		p.blocks.Add(1)
	}
	return now, erased, nil
}

// checkPetname says why a user cannot be called that; other: a user who is called alike.
func (p *people) checkPetname(user wire.UserID, name string) error {
	switch {
	case len(name) > wire.MaxDeviceName:
		return api.Errorf(api.CodeInvalid, "the petname has %d bytes; at most %d are kept", len(name), wire.MaxDeviceName)
	case !utf8.ValidString(name):
		return api.Errorf(api.CodeInvalid, "the petname is not UTF-8")
	case wire.Blank(name):
		return api.Errorf(api.CodeInvalid, "the petname is blank: it has no visible characters").WithHint("pandanode petname USER --remove takes one away")
	case strings.ContainsFunc(name, unicode.IsControl):
		return api.Errorf(api.CodeInvalid, "the petname has a control character or more than one line; type it anew without that")
	case api.Unmarked(name) != name:
		return api.Errorf(api.CodeInvalid, "the petname has a check mark, which stands before users who were verified; leave it out")
	}
	if err := api.CheckName(name); err != nil {
		return api.Errorf(api.CodeInvalid, "%v", err)
	}
	for _, r := range *p.all.Load() {
		if r.User != user && r.Petname != "" && api.Alike(r.Petname, name) {
			e := api.Errorf(api.CodeConflict, "the petname %q is, or looks like, that of another user", name).WithHint("choose another one, or take that away: pandanode petname %s --remove", api.Short(r.User.String()))
			e.Candidates = []api.Candidate{{ID: r.User.String(), Name: r.Petname}}
			return e
		}
	}
	return nil
}

// acquainted is a user that a group of this node knows.
type acquainted struct {
	name    string // its own
	devices []wire.DeviceID
}

// acquaintances are all users that the groups of this node know, of those who left as well. Of
// one with several names the first in the alphabet counts.
func (n *Node) acquaintances(ctx context.Context) (map[wire.UserID]acquainted, error) {
	out := map[wire.UserID]acquainted{}
	for _, g := range n.groups.all() {
		if err := g.loop.look(ctx, func(m *group.Machine) error {
			for user, name := range m.Names() {
				a := out[user]
				if a.name == "" || name < a.name {
					a.name = name
				}
				out[user] = a
			}
			for _, member := range m.Members() {
				a := out[member.User]
				for _, d := range member.Devices {
					if !slices.Contains(a.devices, d) {
						a.devices = append(a.devices, d)
					}
				}
				out[member.User] = a
			}
			return nil
		}); err != nil {
			return nil, err
		}
	}
	for _, r := range *n.people.all.Load() {
		if a := out[r.User]; a.name == "" {
			a.name = r.Name
			out[r.User] = a
		}
	}
	return out, nil
}

// newDevices are those of a verified user that it got since.
func (r *personRow) newDevices(now []wire.DeviceID) (out []string) {
	if r.Verified == 0 {
		return nil
	}
	for _, d := range now {
		if !slices.Contains(r.Devices, d) {
			out = append(out, d.String())
		}
	}
	return out
}

// shownBy says whether what somebody reads from the screen of another user is what this
// device shows of it.
func (p *people) shownBy(me, user wire.UserID, shown string) error {
	if shows, scans, ok := identity.ReadVerifyCode(strings.TrimSpace(shown)); ok {
		switch {
		case shows == me && scans == user:
			return api.Errorf(api.CodeInvalid, "this is the code that this device shows: scan the one of the other side")
		case shows != user:
			return api.Errorf(api.CodeVerification, "the code is of another user, %v: whoever shows it is not the one that you named, or somebody is in between", shows)
		case scans != me:
			return api.Errorf(api.CodeVerification, "the code is for another user, %v: the other side does not see you but somebody else", scans)
		}
		return nil
	}
	fields := strings.Fields(strings.ToLower(shown))
	digits := strings.Join(fields, "")
	switch {
	case strings.HasPrefix(digits, "pandanode:"):
		return api.Errorf(api.CodeInvalid, "this is no code to verify somebody by, or not all of it: scan it again")
	case len(fields) == 0:
		return api.Errorf(api.CodeInvalid, "nothing to compare: give the digits, the words or the code that the other side shows")
	case strings.Trim(digits, "0123456789") == "":
		mine := strings.ReplaceAll(identity.Digits(me, user), " ", "")
		if len(digits) != len(mine) {
			return api.Errorf(api.CodeInvalid, "these are %d digits; the other side shows %d", len(digits), len(mine))
		}
		if digits != mine {
			return api.Errorf(api.CodeVerification, "the digits are not those that this device shows, so one of you sees somebody else: do not trust this name").WithHint("compare them once more, group by group; if they differ, meet and compare what \"pandanode id\" shows on both sides")
		}
		return nil
	}
	if mine := p.wordsOf(me, user); strings.Join(fields, " ") != mine {
		return api.Errorf(api.CodeVerification, "the words are not those that this device shows, so one of you sees somebody else: do not trust this name").WithHint("compare them once more; if they differ, meet and compare what \"pandanode id\" shows on both sides")
	}
	return nil
}

// wordsOf gives the words of two users.
func (p *people) wordsOf(me, user wire.UserID) string {
	p.words.Lock()
	defer p.words.Unlock()
	return identity.Words(me, user)
}
