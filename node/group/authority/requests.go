package authority

import (
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
	return a.By != nil && a.Denied == nil && at.Time().Sub(a.By.HLC.Time()) < RequestFor
}

// Asking gives the request of a user who is not in. An addition that is void leaves it
// open.
func (r *Roster) Asking(id wire.UserID) (Asking, bool) {
	if r.users.has(id) {
		return Asking{}, false
	}
	return r.asking.get(id)
}

// mayRequest says whether a request is to be written down.
func (r *Resolver) mayRequest(view *Roster, op *Op) bool {
	if r.policy(view) != wire.PolicyRequest {
		return false
	}
	at := op.HLC
	if old, ok := view.Asking(op.Target); ok {
		switch {
		case old.Denied != nil && at.Time().Sub(old.Denied.HLC.Time()) < DenialFor,
			old.Open(at) && old.By.KeyPackage == op.KeyPackage,
			old.Open(at) && at.Time().Sub(old.By.HLC.Time()) < RequestGap:
			return false
		}
	}
	waiting := 0
	view.asking.all(func(id wire.UserID, a Asking) bool {
		if id != op.Target && a.Open(at) && !view.users.has(id) {
			waiting++
		}
		return waiting < MaxRequests
	})
	return waiting < MaxRequests
}

// takeRequest notes a request. One that did not know of a denial stays denied.
func (r *Resolver) takeRequest(to *Roster, op *Op) {
	old, ok := to.asking.get(op.Target)
	switch {
	case to.users.has(op.Target):
		return
	case ok && old.Denied != nil && !r.knows(op.Ref, old.Denied.Ref):
		to.asking = to.asking.with(op.Target, Asking{By: op, Denied: old.Denied})
	case !ok || old.Denied != nil || old.By.KeyPackage != op.KeyPackage || !old.Open(op.HLC):
		to.asking = to.asking.with(op.Target, Asking{By: op})
	}
}

// takeDenial turns down the request of a user.
func takeDenial(to *Roster, op *Op) {
	if old, ok := to.asking.get(op.Target); ok && old.Denied == nil {
		to.asking = to.asking.with(op.Target, Asking{By: old.By, Denied: op})
	}
}
