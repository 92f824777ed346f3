package group

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// In a group with the policy request, the member that is asked writes an OP, so that
// every admin sees who waits, wherever it came in, and answers with an OP too. Honest
// members write few: one a user, maxRequests that nobody has answered, each for
// requestFor at most. What a flood of strangers costs a group is bounded by that.
const (
	maxRequests = 64
	requestFor  = 14 * 24 * time.Hour // by the clocks of entries
	requestGap  = time.Hour           // between two of one user, with another KeyPackage
	denialFor   = 7 * 24 * time.Hour  // in which who was denied is not heard again
)

// asking is a user who asked to be let in.
type asking struct {
	by     *item // the newest request
	denied *item // nil: nobody turned it down
}

// open says whether the request waits for an admin, as of an entry's clock.
func (a *asking) open(at crdt.HLC) bool { return a.denied == nil && within(at, a.by, requestFor) }

// within says whether an entry is dated less than so long before a date. One that is dated
// well after it was written by a wrong clock: it does not count, or it would do so for years.
func within(at crdt.HLC, op *item, most time.Duration) bool {
	age := at.Time().Sub(op.dated().Time())
	return age < most && age >= -maxAhead
}

// takeRequest notes a request. One that did not know of a denial stays denied.
func (r *roster) takeRequest(op *item) {
	user := op.asker.device.User
	old := r.asking[user]
	switch {
	case r.users[user] != nil:
		return
	case old == nil:
		r.asking[user] = &asking{by: op}
	case old.denied != nil && !r.inPast(old.denied, op):
		r.asking[user] = &asking{by: op, denied: old.denied}
	case old.denied != nil || !bytes.Equal(old.by.op.KeyPackage, op.op.KeyPackage) || !old.open(op.dated()):
		r.asking[user] = &asking{by: op}
	}
}

func (r *roster) takeDenial(op *item) {
	if old := r.asking[*op.op.User]; old != nil && old.denied == nil {
		r.asking[*op.op.User] = &asking{by: old.by, denied: op}
	}
}

// errAsked says that a request is in the log already.
var errAsked = errors.New("it is in the log already")

// judgeRequest says why a request is not written down, by an entry with this clock.
func (r *roster) judgeRequest(d *identity.Device, keyPackage []byte, at crdt.HLC, g *identity.Genesis) error {
	if policy := r.policy(g); policy != wire.PolicyRequest {
		return fmt.Errorf("%w: the group's policy is %v", ErrNotPermitted, policy)
	}
	if old := r.asking[d.User]; old != nil {
		switch {
		case old.denied != nil && within(at, old.denied, denialFor):
			return fmt.Errorf("%w: %w", ErrNotPermitted, ErrDenied)
		case old.open(at) && bytes.Equal(old.by.op.KeyPackage, keyPackage):
			return errAsked
		case old.open(at) && within(at, old.by, requestGap):
			return fmt.Errorf("%w: this user asked less than %v ago", ErrFull, requestGap)
		}
	}
	waiting := 0
	for user, a := range r.asking {
		if user != d.User && a.open(at) {
			waiting++
		}
	}
	if waiting >= maxRequests {
		return fmt.Errorf("%w: %d requests wait for an admin", ErrFull, waiting)
	}
	return nil
}

// Approve lets in a user who asked, with a role.
type Approve struct {
	User wire.UserID
	Role wire.Role // 0: member
}

// Deny turns down a user who asked.
type Deny struct{ User wire.UserID }

// askedBy gives a user's request for an owner or admin to decide.
func (a member) askedBy(user wire.UserID, doing string) (*rosterUser, *asking, error) {
	u, err := a.self(doing)
	if err != nil {
		return nil, nil, err
	}
	asks := a.roster.asking[user]
	switch {
	case u.role > wire.RoleAdmin:
		return nil, nil, fmt.Errorf("%s: %w: only owners and admins may, and this user is %v", doing, ErrNotPermitted, u.role)
	case a.roster.users[user] != nil:
		return nil, nil, fmt.Errorf("%s: %w: that user is in the group already", doing, ErrState)
	case asks == nil:
		return nil, nil, fmt.Errorf("%s: %w: user %v has not asked to be let in", doing, ErrUnknown, user)
	}
	return u, asks, nil
}

func (in Approve) op(a member) (*wire.Op, error) {
	u, asks, err := a.askedBy(in.User, "approving")
	if err != nil {
		return nil, err
	}
	role := cmp.Or(in.Role, wire.RoleMember)
	op, d := asks.by.op, asks.by.asker.device
	switch {
	case role > wire.RoleReadOnly:
		return nil, fmt.Errorf("approving: %w: %v", ErrUnknown, role)
	case role < u.role:
		return nil, fmt.Errorf("approving: %w: %s makes nobody %s", ErrNotPermitted, u.role.Article(), role.Article())
	}
	if asks.by.lapsed(a.now) {
		return nil, fmt.Errorf("approving: %w: it has to ask again: it did so more than %v ago", ErrInvalidKeyPackage, keyPackageLifetime)
	}
	if err := d.CheckExpiry(a.now); err != nil {
		return nil, fmt.Errorf("approving: %w: it has to ask again: %w", ErrInvalidKeyPackage, err)
	}
	return &wire.Op{Type: wire.OpAdd, Cert: op.Cert, Role: role, KeyPackage: op.KeyPackage, Why: wire.WhyRole}, nil
}

func (in Deny) op(a member) (*wire.Op, error) {
	_, asks, err := a.askedBy(in.User, "denying")
	if err != nil {
		return nil, err
	}
	if asks.denied != nil {
		return nil, fmt.Errorf("denying: %w: it is denied already", ErrState)
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
	out := make([]Request, 0, len(m.roster.asking))
	for _, user := range sortedKeys(m.roster.asking) {
		a := m.roster.asking[user]
		d := a.by.asker.device
		r := Request{
			User: user, Device: d.ID, Name: d.Cert.Name, Asked: a.by.dated().Time(), By: a.by.user, Again: m.roster.wasRemoved(d),
			Lapsed: a.denied == nil && !a.open(m.next(now)),
		}
		if a.denied != nil {
			r.Denied = a.denied.user
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
