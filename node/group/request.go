package group

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/group/roster"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// Approve lets in a user who asked, with a role.
type Approve struct {
	User wire.UserID
	Role wire.Role // 0: member
}

// Deny turns down a user who asked.
type Deny struct{ User wire.UserID }

// askedBy gives a user's request for an owner or admin to decide.
func (a member) askedBy(user wire.UserID, doing string) (*roster.User, *roster.Request, error) {
	u, err := a.self(doing)
	if err != nil {
		return nil, nil, err
	}
	asks := a.roster.Asking(user)
	switch {
	case u.Role > wire.RoleAdmin:
		return nil, nil, fmt.Errorf("%s: %w: only owners and admins may, and this user is %v", doing, verdict.ErrNotPermitted, u.Role)
	case a.roster.User(user) != nil:
		return nil, nil, fmt.Errorf("%s: %w: that user is in the group already", doing, verdict.ErrState)
	case asks == nil:
		return nil, nil, fmt.Errorf("%s: %w: user %v has not asked to be let in", doing, verdict.ErrUnknown, user)
	}
	return u, asks, nil
}

func (in Approve) op(a member) (*wire.Op, error) {
	u, asks, err := a.askedBy(in.User, "approving")
	if err != nil {
		return nil, err
	}
	role := cmp.Or(in.Role, wire.RoleMember)
	op, d := asks.By.Op, asks.By.Asker.Device
	switch {
	case role > wire.RoleReadOnly:
		return nil, fmt.Errorf("approving: %w: %v", verdict.ErrUnknown, role)
	case role < u.Role:
		return nil, fmt.Errorf("approving: %w: %s may not grant the role of %s", verdict.ErrNotPermitted, u.Role.Article(), role.Article())
	}
	if asks.By.Lapsed(a.now) {
		return nil, fmt.Errorf("approving: %w: it has to ask again: it did so more than %v ago", verdict.ErrInvalidKeyPackage, engine.KeyPackageLifetime)
	}
	if err := d.CheckExpiry(a.now); err != nil {
		return nil, fmt.Errorf("approving: %w: it has to ask again: %w", verdict.ErrInvalidKeyPackage, err)
	}
	return &wire.Op{Type: wire.OpAdd, Cert: op.Cert, Role: role, KeyPackage: op.KeyPackage, Why: wire.WhyRole}, nil
}

func (in Deny) op(a member) (*wire.Op, error) {
	_, asks, err := a.askedBy(in.User, "denying")
	if err != nil {
		return nil, err
	}
	if asks.Denied != nil {
		return nil, fmt.Errorf("denying: %w: it is denied already", verdict.ErrState)
	}
	return &wire.Op{Type: wire.OpDeny, User: &in.User}, nil
}

// Request is a user who asked to be let in.
type Request struct {
	User   wire.UserID
	Device wire.DeviceID
	Name   string      // of the device, as it calls itself
	Asked  time.Time   // by the clock of the member that was asked
	By     wire.UserID // that member
	Denied wire.UserID // who turned it down; zero: nobody
	Lapsed bool        // nobody answered for too long; it may ask again
	Again  bool        // it was in the group and was removed
}

// Requests lists who asked to be let in and is not, those that wait first, oldest
// first.
func (m *Machine) Requests(now time.Time) []Request {
	out := []Request{}
	for user, a := range m.rosters.now.Requests() {
		d := a.By.Asker.Device
		r := Request{
			User: user, Device: d.ID, Name: d.Cert.Name, Asked: a.By.Dated().Time(), By: a.By.User, Again: m.rosters.now.WasRemoved(d),
			Lapsed: a.Denied == nil && !a.Open(m.next(now)),
		}
		if a.Denied != nil {
			r.Denied = a.Denied.User
		}
		out = append(out, r)
	}
	decided := func(r Request) int {
		if r.Lapsed || r.Denied != (wire.UserID{}) {
			return 1
		}
		return 0
	}
	slices.SortStableFunc(out, func(a, b Request) int { return cmp.Or(decided(a)-decided(b), a.Asked.Compare(b.Asked)) })
	return out
}

func (in Approve) act(m *Machine, now time.Time, out *Outcome) error { return m.decide(now, in, out) }

func (in Deny) act(m *Machine, now time.Time, out *Outcome) error { return m.decide(now, in, out) }
