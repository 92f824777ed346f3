package group

import (
	"maps"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// askedStep is the time between holders who could fill a gap that its device asked them
// for on a stream. It may have asked all of them.
const askedStep = time.Second

// refillAfter is how long a gap must have stayed although there is a seal that its
// device should be able to open, for another to be made.
const refillAfter = time.Minute

// planFill plans to seal, at a time, what a device says it lacks and this one holds.
func (m *Machine) planFill(at time.Time, p *peerState, gaps []wire.MessageID) {
	for _, id := range gaps[:min(len(gaps), maxGapsTold)] {
		if !m.readable(id) {
			continue
		}
		if planned := p.gaps[id]; planned.IsZero() || at.Before(planned) {
			p.gaps[id] = at
		}
		m.timers.sooner(timerReseal, p.gaps[id])
	}
}

// sealForGaps seals, under the epoch at the position, what other devices of the
// audience cannot read. Any holder can, and one does: a seal that this device made or
// opened fills a gap if its epoch is one that the other device can be at. It seals no
// message twice under one epoch: whoever keeps asking would drive its ratchet further
// ahead than others can follow, who have no use for those seals. Whom the seal that there
// is does not help changes the epoch (worn.go).
func (m *Machine) sealForGaps(now time.Time) {
	if !m.timers.due(now, timerReseal) {
		return
	}
	m.timers.stop(timerReseal)
	n, e := m.position()
	if n == nil || m.compareTree(now, e).gate || m.mustRenew(n) {
		return
	}
	if m.target(now) != n {
		m.timers.set(timerReseal, now.Add(settleQuiet)) // it would be sealed under an epoch that is left at once
		return
	}
	done := map[wire.MessageID]bool{}
	for _, device := range slices.SortedFunc(maps.Keys(m.peers.of), func(a, b wire.DeviceID) int { return slices.Compare(a[:], b[:]) }) {
		p := m.peers.of[device]
		if len(p.gaps) == 0 {
			continue
		}
		reads := m.readsAt(device, n)
		for _, id := range slices.SortedFunc(maps.Keys(p.gaps), m.byTime) {
			switch at := p.gaps[id]; {
			case len(reads) == 0 || !m.mayRead(device, m.record(id)):
				delete(p.gaps, id) // when it is there it asks again
			case !due(now, at):
				m.timers.sooner(timerReseal, at)
			case m.tx.full():
				m.timers.set(timerReseal, now)
				return
			default:
				delete(p.gaps, id)
				if !done[id] && !slices.Contains(m.record(id).sealed, n.id) && m.needsSeal(now, id, reads) {
					m.seal(n, e, id)
				}
				done[id] = true
			}
		}
	}
}

// readsAt lists the epochs on the chain to n whose keys a device has if it is at n:
// those since it was added last. None, if it is not in the tree, or stands elsewhere.
func (m *Machine) readsAt(d wire.DeviceID, n *node) map[wire.EpochID]bool {
	if vote := m.logs.votes[d]; vote != nil {
		if at := m.tree.positionOf(vote); at == nil || !at.contains(n) && !n.contains(at) {
			return nil
		}
	}
	leaf := n.leaves.leafOf(d)
	reads := map[wire.EpochID]bool{}
	for ; leaf != nil && n != nil && n.leaves.leafOf(d) == leaf; n = n.parent {
		reads[n.id] = true
	}
	return reads
}

// needsSeal says whether no seal of a message under these epochs is at hand to be
// fetched, or whoever lacks the message could not use it.
func (m *Machine) needsSeal(now time.Time, id wire.MessageID, reads map[wire.EpochID]bool) bool {
	sealed := false
	m.tx.fail(m.tx.scanKeys(rowSeal+hexed(id[:])+"/", func(key string) error {
		_, epoch, _, err := splitSealKey(key)
		sealed = sealed || reads[epoch]
		return err
	}))
	since, asked := m.mail.refilled[id]
	if sealed && (!asked || now.Sub(since) <= refillAfter) {
		if !asked {
			m.mail.refilled[id] = now
		}
		return false
	}
	m.mail.refilled[id] = now
	return true
}

// mayRead says whether a device is in the audience of a record: it was written
// after the device came in, or concurrently.
func (m *Machine) mayRead(d wire.DeviceID, it *item) bool {
	r := m.roster.devices[d]
	return r != nil && it != nil && (r.by == nil || !m.logs.inPast(it, r.by))
}
