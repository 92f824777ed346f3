package group

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/group/epochs"
	"github.com/pandanode/pandanode/node/wire"
)

// askedStep is the time between holders who could fill a gap that its device asked them
// for on a stream. It may have asked all of them.
const askedStep = time.Second

// resealAfter is how long a gap must have stayed although there is a seal that its
// device should be able to open, for another to be made.
const resealAfter = time.Minute

// reseal is what this device seals again for others: messages that they cannot read and
// that are readable here. It is not durable.
type reseal struct {
	records

	tx      *tx
	timers  *timers
	tree    *epochs.Tree
	rank    func() time.Duration                           // see Machine.rank
	planned map[wire.DeviceID]map[wire.MessageID]time.Time // gaps of others, and when this device seals for them
	last    map[wire.MessageID]time.Time                   // when it last sealed for a gap, or found a seal that fills it
}

func newReseal(r records, t *tx, timers *timers, tree *epochs.Tree) reseal {
	return reseal{
		records: r, tx: t, timers: timers, tree: tree,
		planned: map[wire.DeviceID]map[wire.MessageID]time.Time{}, last: map[wire.MessageID]time.Time{},
	}
}

// plan plans to seal what a device says it lacks and this one holds, after a step for each
// device whose rank is lower: so one usually seals and any can.
func (r *reseal) plan(now time.Time, step time.Duration, device wire.DeviceID, gaps []wire.MessageID) {
	at := now.Add(r.rank() * step)
	for _, id := range gaps[:min(len(gaps), maxGapsTold)] {
		if !r.readable(id) {
			continue
		}
		of := r.planned[device]
		if of == nil {
			of = map[wire.MessageID]time.Time{}
			r.planned[device] = of
		}
		if planned := of[id]; planned.IsZero() || at.Before(planned) {
			of[id] = at
		}
		r.timers.sooner(timerReseal, of[id])
	}
}

// keepOnly forgets the gaps of a device that it does not name any more.
func (r *reseal) keepOnly(device wire.DeviceID, lacks map[wire.MessageID]bool) {
	maps.DeleteFunc(r.planned[device], func(id wire.MessageID, _ time.Time) bool { return !lacks[id] })
}

// again wakes for the gaps that are open: what kept this device from filling them
// may be over.
func (r *reseal) again() {
	for _, of := range r.planned {
		for _, at := range of {
			r.timers.sooner(timerReseal, at)
		}
	}
}

// hurry has all gaps that are open filled now, and says how many messages these are.
func (r *reseal) hurry(now time.Time) int {
	filled := map[wire.MessageID]bool{}
	for _, of := range r.planned {
		for id := range of {
			of[id], filled[id] = now, true
		}
	}
	if len(filled) > 0 {
		r.timers.set(timerReseal, now)
	}
	return len(filled)
}

// fill seals, under the epoch at n, what other devices of the audience cannot read. Any
// holder can, and one does: a seal that this device made or opened fills a gap if its
// epoch is one that the other device can be at. It seals no message twice under one epoch:
// a device that keeps asking would drive its ratchet further ahead than others can follow,
// who have no use for those seals. A device that cannot open the existing seal starts a new
// epoch instead (ratchet.go).
func (r *reseal) fill(now time.Time, n *epochs.Node, seal func(wire.MessageID)) {
	done := map[wire.MessageID]bool{}
	for _, device := range slices.SortedFunc(maps.Keys(r.planned), func(a, b wire.DeviceID) int { return bytes.Compare(a[:], b[:]) }) {
		of := r.planned[device]
		if len(of) == 0 {
			continue
		}
		reads := r.readsAt(device, n)
		for _, id := range slices.SortedFunc(maps.Keys(of), r.byTime) {
			switch at := of[id]; {
			case len(reads) == 0 || !r.mayRead(device, r.record(id)):
				delete(of, id) // when it is there it asks again
			case !due(now, at):
				r.timers.sooner(timerReseal, at)
			case r.tx.full():
				r.timers.set(timerReseal, now)
				return
			default:
				delete(of, id)
				if !done[id] && !slices.Contains(r.record(id).Sealed, n.ID) && r.needsSeal(now, id, reads) {
					seal(id)
				}
				done[id] = true
			}
		}
	}
}

// needsSeal says whether no seal of a message under these epochs is at hand to be
// fetched, or the device that lacks the message could not use it.
func (r *reseal) needsSeal(now time.Time, id wire.MessageID, reads map[wire.EpochID]bool) bool {
	sealed := false
	r.tx.fail(r.tx.scanKeys(rowSeal+hexed(id[:])+"/", func(key string) error {
		_, epoch, _, err := splitSealKey(key)
		sealed = sealed || reads[epoch]
		return err
	}))
	since, asked := r.last[id]
	if sealed && (!asked || now.Sub(since) <= resealAfter) {
		if !asked {
			r.last[id] = now
		}
		return false
	}
	r.last[id] = now
	return true
}

// came notes that a seal of a message came: it may fill the gap of another device too.
func (r *reseal) came(now time.Time, id wire.MessageID) {
	if _, ok := r.last[id]; ok {
		r.last[id] = now
	}
}

// retire forgets what was sealed long ago.
func (r *reseal) retire(now time.Time) {
	maps.DeleteFunc(r.last, func(_ wire.MessageID, at time.Time) bool { return now.Sub(at) > 24*time.Hour })
}

// readsAt lists the epochs on the chain to n whose keys a device has if it is at n:
// those since it was added last. None, if it is not in the tree, or stands elsewhere.
func (r *reseal) readsAt(d wire.DeviceID, n *epochs.Node) map[wire.EpochID]bool {
	if vote := r.logs.Votes[d]; vote != nil {
		if at := r.tree.PositionOf(vote); at == nil || !at.Contains(n) && !n.Contains(at) {
			return nil
		}
	}
	leaf := n.Leaves.LeafOf(d)
	reads := map[wire.EpochID]bool{}
	for ; leaf != nil && n != nil && n.Leaves.LeafOf(d) == leaf; n = n.Parent {
		reads[n.ID] = true
	}
	return reads
}

// maxGapsTold bounds the gaps in one beacon; the oldest come first.
const maxGapsTold = 256
