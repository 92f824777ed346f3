package roster

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// In a group with the policy request, the member that is asked writes an OP, so that every
// admin sees who waits, wherever it came in, and answers with an OP too. Honest members
// write few: one a user, maxRequests that nobody has answered, each for requestFor at most.
// That bounds the cost of a flood of strangers.
const (
	MaxRequests = 64
	RequestFor  = 14 * 24 * time.Hour // by the clocks of entries
	requestGap  = time.Hour           // between two of one user, with another KeyPackage
	DenialFor   = 7 * 24 * time.Hour  // in which who was denied is not heard again
)

// Request is a user who asked to be let in.
type Request struct {
	By     *dag.Item // the newest request
	Denied *dag.Item // nil: nobody turned it down
}

// Open says whether the request waits for an admin, as of an entry's clock.
func (a *Request) Open(at crdt.HLC) bool { return a.Denied == nil && within(at, a.By, RequestFor) }

// within says whether an entry is dated less than so long before a date. One that is dated
// well after it was written by a wrong clock: it does not count, or it would do so for years.
func within(at crdt.HLC, op *dag.Item, most time.Duration) bool {
	age := at.Time().Sub(op.Dated().Time())
	return age < most && age >= -dag.MaxAhead
}

// ErrAsked says that a request is in the log already.
var ErrAsked = errors.New("it is in the log already")

// JudgeRequest says why a request is not written down, by an entry with this clock.
func (r *Roster) JudgeRequest(d *identity.Device, keyPackage []byte, at crdt.HLC, g *identity.Genesis) error {
	if policy := r.Policy(g); policy != wire.PolicyRequest {
		return fmt.Errorf("%w: the group's policy is %v", verdict.ErrNotPermitted, policy)
	}
	if old := r.Asking[d.User]; old != nil {
		switch {
		case old.Denied != nil && within(at, old.Denied, DenialFor):
			return fmt.Errorf("%w: %w", verdict.ErrNotPermitted, verdict.ErrDenied)
		case old.Open(at) && bytes.Equal(old.By.Op.KeyPackage, keyPackage):
			return ErrAsked
		case old.Open(at) && within(at, old.By, requestGap):
			return fmt.Errorf("%w: this user asked less than %v ago", verdict.ErrFull, requestGap)
		}
	}
	waiting := 0
	for user, a := range r.Asking {
		if user != d.User && a.Open(at) {
			waiting++
		}
	}
	if waiting >= MaxRequests {
		return fmt.Errorf("%w: %d requests wait for an admin", verdict.ErrFull, waiting)
	}
	return nil
}

func (r *Roster) takeDenial(op *dag.Item) {
	if old := r.Asking[*op.Op.User]; old != nil && old.Denied == nil {
		r.Asking[*op.Op.User] = &Request{By: old.By, Denied: op}
	}
}

// takeRequest notes a request. One that did not know of a denial stays denied.
func (r *Roster) takeRequest(op *dag.Item) {
	user := op.Asker.Device.User
	old := r.Asking[user]
	switch {
	case r.Users[user] != nil:
		return
	case old == nil:
		r.Asking[user] = &Request{By: op}
	case old.Denied != nil && !r.inPast(old.Denied, op):
		r.Asking[user] = &Request{By: op, Denied: old.Denied}
	case old.Denied != nil || !bytes.Equal(old.By.Op.KeyPackage, op.Op.KeyPackage) || !old.Open(op.Dated()):
		r.Asking[user] = &Request{By: op}
	}
}
