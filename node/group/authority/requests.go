package authority

import (
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/wire"
)

// Asking is a user who asked to be let in.
type Asking struct {
	By     *Op // the newest request
	Denied *Op // nil: nobody turned it down
}

// Open says whether the request waits for an admin, as of an entry's clock.
func (a Asking) Open(at crdt.HLC) bool {
	return a.By != nil && a.Denied == nil && within(at, a.By, RequestFor)
}

// Asking gives the request of a user who is not in. An addition that is void leaves it
// open.
func (r *Roster) Asking(id wire.UserID) (Asking, bool) {
	if r.users.has(id) {
		return Asking{}, false
	}
	return r.asking.get(id)
}

// Requests yields the users who are not in and whose requests no addition has answered, in
// ascending order, whether their requests are open or not.
func (r *Roster) Requests(yield func(wire.UserID, Asking) bool) {
	r.asking.all(func(id wire.UserID, a Asking) bool { return r.users.has(id) || yield(id, a) })
}

// within says whether an operation is dated less than so long before a date. One that is
// dated well after it is by a wrong clock, and would else hold for years.
func within(at crdt.HLC, op *Op, most time.Duration) bool {
	age := at.Time().Sub(op.date().Time())
	return age < most && age >= -MaxAhead
}

// mayRequest says why a request is not to be written down.
func (r *Resolver) mayRequest(view *Roster, op *Op) Refusal {
	at := op.date()
	old, _ := view.Asking(op.Target)
	switch {
	case view.users.has(op.Target):
		return IsIn
	case r.policy(view) != wire.PolicyRequest:
		return DoorClosed
	case old.Denied != nil && within(at, old.Denied, DenialFor):
		return WasDenied
	case old.Open(at) && old.By.KeyPackage == op.KeyPackage:
		return HasAsked
	case old.Open(at) && within(at, old.By, RequestGap):
		return AskedJustNow
	}
	waiting := 0
	for id, a := range view.Requests {
		if id != op.Target && a.Open(at) {
			waiting++
		}
	}
	return first(when{waiting >= MaxRequests, TooManyRequests})
}

// takeRequest notes a request. One that did not know of a denial stays denied.
func (r *Resolver) takeRequest(to *Roster, op *Op) {
	old, ok := to.asking.get(op.Target)
	switch {
	case to.users.has(op.Target):
		return
	case ok && old.Denied != nil && !r.knows(op.Ref, old.Denied.Ref):
		to.asking = to.asking.with(op.Target, Asking{By: op, Denied: old.Denied})
	case !ok || old.Denied != nil || old.By.KeyPackage != op.KeyPackage || !old.Open(op.date()):
		to.asking = to.asking.with(op.Target, Asking{By: op})
	}
}

// takeDenial turns down the request of a user.
func takeDenial(to *Roster, op *Op) {
	if old, ok := to.asking.get(op.Target); ok && old.Denied == nil {
		to.asking = to.asking.with(op.Target, Asking{By: old.By, Denied: op})
	}
}
