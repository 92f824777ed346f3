package group

import (
	"bytes"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/group/epochs"
	"github.com/pandanode/pandanode/node/wire"
)

// refusedWait, and rank × 2 s, is how long a device that found the chosen branch
// invalid waits to be added to it again before it stands up for a sibling.
const refusedWait = 60 * time.Second

// refusals are the children that this device found invalid. Its own row has them, and its
// votes name them.
type refusals struct {
	own    *ownState
	timers *timers
	tx     *tx
	since  map[wire.EpochID]time.Time // as far as it knows since it started; else zero
}

func newRefusals(own *ownState, timers *timers, tx *tx) *refusals {
	return &refusals{own: own, timers: timers, tx: tx, since: map[wire.EpochID]time.Time{}}
}

func (r *refusals) load() {
	for _, id := range r.own.Refused {
		r.since[wire.EpochID(id)] = time.Time{}
	}
}

func (r *refusals) has(id wire.EpochID) bool {
	_, ok := r.since[id]
	return ok
}

// at is when a child was refused; after a start, when that was first asked.
func (r *refusals) at(now time.Time, id wire.EpochID) time.Time {
	if r.since[id].IsZero() {
		r.since[id] = now
	}
	return r.since[id]
}

// withdraw takes back the refusals at and above a node that this device was added to again.
func (r *refusals) withdraw(now time.Time, n *epochs.Node) {
	before := len(r.since)
	for ; n != nil; n = n.Parent {
		delete(r.since, n.ID)
	}
	if len(r.since) == before {
		return
	}
	r.own.Refused = slices.DeleteFunc(r.own.Refused, func(b []byte) bool { return !r.has(wire.EpochID(b)) })
	r.own.save()
	r.timers.set(timerVote, now)
}

// refuse notes that a child is invalid, and has this device's vote say so.
func (r *refusals) refuse(now time.Time, n *epochs.Node, why error) {
	r.since[n.ID] = now
	if len(r.own.Refused) < wire.MaxRefused {
		r.own.Refused = append(r.own.Refused, slices.Clone(n.ID[:]))
		slices.SortFunc(r.own.Refused, bytes.Compare)
	}
	r.own.save()
	r.timers.set(timerVote, now)
	e := Event{Kind: EventRefused, Epoch: n.ID, Detail: why.Error()}
	if by := n.By(); by != nil {
		e.User, e.Device = by.User, by.Log.Device
	}
	r.tx.emit(now, e)
}
