package group

import (
	"bytes"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// refusedWait, and rank × 2 s, is how long a device that found the chosen branch
// invalid waits to be added to it again before it stands up for a sibling.
const refusedWait = 60 * time.Second

// refusals are the children that this device found invalid, with since when it has, as far
// as it knows since it started.
type refusals map[wire.EpochID]time.Time

func newRefusals(ids [][]byte) refusals {
	r := refusals{}
	for _, id := range ids {
		r[wire.EpochID(id)] = time.Time{}
	}
	return r
}

func (r refusals) has(id wire.EpochID) bool {
	_, ok := r[id]
	return ok
}

// since is when a child was refused; after a start, when that was first asked.
func (r refusals) since(now time.Time, id wire.EpochID) time.Time {
	if r[id].IsZero() {
		r[id] = now
	}
	return r[id]
}

// withdraw takes back the refusals at and above n. It says whether there were any.
func (r refusals) withdraw(n *node) bool {
	before := len(r)
	for ; n != nil; n = n.parent {
		delete(r, n.id)
	}
	return len(r) != before
}

// withdraw takes back the refusals above an epoch that this device was added to again.
func (m *Machine) withdraw(now time.Time, id wire.EpochID) {
	if !m.refused.withdraw(m.tree.nodes[id]) {
		return
	}
	m.own.Refused = slices.DeleteFunc(m.own.Refused, func(b []byte) bool { return !m.refused.has(wire.EpochID(b)) })
	m.own.save()
	m.timers.set(timerVote, now)
}

// refuse notes that a child is invalid, and says so in this device's vote.
func (m *Machine) refuse(now time.Time, n *node, why error) {
	m.refused[n.id] = now
	if len(m.own.Refused) < wire.MaxRefused {
		m.own.Refused = append(m.own.Refused, slices.Clone(n.id[:]))
		slices.SortFunc(m.own.Refused, bytes.Compare)
	}
	m.own.save()
	m.timers.set(timerVote, now)
	e := Event{Kind: EventRefused, Epoch: n.id, Detail: why.Error()}
	if by := n.by(); by != nil {
		e.User, e.Device = by.user, by.log.Device
	}
	m.tx.emit(now, e)
}
