package group

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// The fork choice looks at a set that has been quiet for settleQuiet, with a
// little jitter, or for which it has waited settleAtMost.
const (
	settleQuiet  = 2 * time.Second
	settleAtMost = 15 * time.Second
)

// refusedWait, and rank × 2 s, is how long a device that found the chosen branch
// invalid waits to be added to it again before it stands up for a sibling.
const refusedWait = 60 * time.Second

// choose runs the fork choice over everything in the set.
func (m *Machine) choose() *node {
	if m.chosen == nil || m.cfg.Alternative == RewindHorizon {
		m.chosen = m.forkChoice(nil)
	}
	return m.chosen
}

func (m *Machine) forkChoice(skip func(*node) bool) *node {
	heard, ahead := m.logs.lastHeard(horizon(m.now))
	m.timers.stop(timerAhead)
	if ahead != 0 {
		m.timers.set(timerAhead, ahead.Time().Add(-maxAhead))
	}
	c := choice{
		group: m.group, root: m.tree.root, votes: make(map[wire.DeviceID]*ballot, len(m.logs.votes)),
		roster: m.roster, newest: heard, skip: skip, counts: m.logs.counts, accused: m.logs.accused,
		at: func(n *node) *roster {
			if by := n.claim(m.logs.counts); by != nil {
				return m.rosterAt(by)
			}
			return newRoster(m.cfg.Genesis)
		},
	}
	for d, it := range m.logs.votes {
		b := &ballot{position: m.tree.positionOf(it)}
		// A COMMIT since then takes back nothing that was named.
		if said := m.logs.words[d]; said != nil {
			b.unheld = said.vote.Unheld
		}
		c.votes[d] = b
	}
	if a := m.cfg.Alternative; a != "" {
		return c.chooseOtherwise(a, m.tree.nodes[m.own.Position])
	}
	return c.choose()
}

// target is where this device wants to be: the chosen epoch, or, if that lies
// under a child which this device found invalid and nobody has added it there
// again in time, what is chosen as if that child did not exist. Nil: it waits.
func (m *Machine) target(now time.Time) *node {
	chosen := m.choose()
	m.timers.stop(timerSibling)
	if m.cfg.Alternative == WithoutRefused || len(m.refused) == 0 {
		return chosen
	}
	for n := chosen; n != nil; n = n.parent {
		if m.addsSelf(n) && n.parent != nil {
			break // added there again: what it could not process before is behind it
		}
		if !m.refused[n.id] {
			continue
		}
		since, ok := m.refusedAt[n.id]
		if !ok {
			since = now
			m.refusedAt[n.id] = now
		}
		if at := since.Add(refusedWait + m.rank()*rankStep); now.Before(at) {
			m.timers.sooner(timerSibling, at)
			return nil
		}
		return m.forkChoice(func(n *node) bool { return m.refused[n.id] })
	}
	return chosen
}

// hearAgain makes the fork choice again when a date is believed that was not.
func (m *Machine) hearAgain(now time.Time) {
	if m.timers.due(now, timerAhead) {
		m.timers.stop(timerAhead)
		m.chosen = nil
		m.disturbed(now, nil)
	}
}

// disturbed notes that a commit or vote came in: a fork is judged when it gets quiet.
// What was written after this device knew of the fork is by somebody who may have judged
// it: follow lets it prolong the wait only if it turns the choice. it is nil of anything
// else that may turn it.
func (m *Machine) disturbed(now time.Time, it *item) {
	if it == nil || m.disturbance.IsZero() || !it.dated().Time().After(m.disturbance) {
		m.stirred, m.calm = true, time.Time{}
	} else if !m.stirred && m.calm.IsZero() {
		m.calm = m.timers.at(timerSettle)
	}
	if m.disturbance.IsZero() {
		m.disturbance = now
	}
	quiet := now.Add(settleQuiet + m.jitter(500*time.Millisecond))
	m.timers.set(timerSettle, earliest(quiet, m.disturbance.Add(settleAtMost)))
}

// noteFork tells of a commit that came in and is the first to take its side of a fork.
func (m *Machine) noteFork(now time.Time, it *item) {
	if it.commit == nil || !m.own.Joined {
		return // no news: it was before this device's time
	}
	n := m.tree.nodes[it.commit.Child]
	if n == nil || n.void || len(n.claims) > 1 || len(n.parent.children) < 2 || n.parent == m.tree.root {
		return
	}
	m.tx.emit(now, Event{Kind: EventFork, Epoch: n.parent.id, By: it.user, Device: it.log.Device})
}

// follow moves to the target, as far as the keys at hand lead. Along a chain
// without forks it moves at once; from where members committed concurrently it waits
// until the set is quiet. It says whether anything changed.
func (m *Machine) follow(now time.Time) bool {
	calm, awaited := m.calm, m.tree.nodes[m.awaited]
	m.stirred, m.calm, m.awaited = false, time.Time{}, wire.EpochID{}
	target := m.target(now)
	if target == nil {
		m.rolling = false
		if m.timers.due(now, timerSettle) { // judged, and found invalid
			m.timers.stop(timerSettle)
			m.disturbance = time.Time{}
		}
		return false
	}
	if !calm.IsZero() && awaited != nil && awaited.contains(target) {
		m.timers.set(timerSettle, calm)
	}
	position := m.tree.nodes[m.own.Position]
	if position != nil && target != position && now.Before(m.timers.at(timerSettle)) {
		if certain := undisputed(position, target); certain != target {
			m.awaited, m.rolling = target.id, false
			if certain == position {
				return false
			}
			since, settle := m.disturbance, m.timers.at(timerSettle)
			moved := m.moveTo(now, position, certain)
			m.disturbance = since
			m.timers.set(timerSettle, settle)
			return moved
		}
	}
	if target == position || !now.Before(m.timers.at(timerSettle)) {
		m.timers.stop(timerSettle)
		m.disturbance = time.Time{}
	}
	m.rolling = false
	if target == position || target == m.tree.root {
		return false
	}
	return m.moveTo(now, position, target)
}

// undisputed is how far the way from position to target goes without a fork; position if
// that is not on the way.
func undisputed(position, target *node) *node {
	at := target
	for n := target; n != position; n = n.parent {
		if n.parent == nil {
			return position
		}
		if len(n.parent.children) > 1 {
			at = n.parent
		}
	}
	return at
}

// moveTo derives the epochs from the nearest one held down to the target.
func (m *Machine) moveTo(now time.Time, position, target *node) bool {
	at := target
	for at != nil && m.held[at.id] == nil {
		at = at.parent
	}
	if at == nil {
		return m.joinFromLog(target)
	}
	start := at
	for _, n := range chain(at, target) {
		if m.rolling = at != start && m.tx.full(); m.rolling {
			break
		}
		if m.outAt[n.id] {
			return m.joinFromLog(target)
		}
		if m.refused[n.id] {
			return m.joinFromLog(target)
		}
		parent, err := m.parent(at.id)
		if err != nil {
			m.tx.fail(err)
			return false
		}
		if info := n.info(); info == nil || info.Sender == parent.Own() {
			// A root, which nobody derives, or a commit that this device made before its
			// store went back: the way there is to be added again.
			return m.joinFromLog(target)
		}
		child, err := m.process(parent, n)
		switch {
		case errors.Is(err, errSelfRemoved):
			m.outAt[n.id] = true
			return m.joinFromLog(target)
		case err != nil:
			m.refuse(now, n, err)
			return true // judge again
		}
		since, _ := parent.(Epoch)
		m.hold(now, n.id, n.generation, child, since)
		m.openWaiting(now, n.id)
		at = n
	}
	if m.held[at.id].row.Thin {
		// This device was there, and its message keys are destroyed: it seals nothing
		// there ever again, and comes back with a new leaf.
		return m.joinFromLog(target)
	}
	if at == position {
		return false
	}
	m.moved(now, position, at)
	return !m.rolling
}

// moved takes up a new position.
func (m *Machine) moved(now time.Time, from, to *node) {
	m.own.Position = to.id
	m.saveOwn()
	e := Event{Kind: EventEpoch, Epoch: to.id, Detail: fmt.Sprintf("epoch %d", to.number)}
	if by := to.by(); by != nil && to.parent != m.tree.root {
		e.By, e.Device = by.user, by.log.Device
	}
	m.tx.emit(now, e)
	switched := from != nil && !from.contains(to)
	if switched {
		for lost := from; lost != nil && !lost.contains(to); lost = lost.parent {
			m.lostUpdate = m.lostUpdate || slices.ContainsFunc(lost.claims, func(c *item) bool { return c.log.Device == m.log.Device })
		}
		m.tx.emit(now, Event{Kind: EventSwitch, Epoch: to.id, Detail: "the fork choice picked another branch"})
	}
	m.timers.stop(timerSettle, timerHeal)
	m.disturbance = time.Time{}
	clear(m.worn.since) // all ratchets begin anew
	m.news()
	m.fillAgain()
	m.requeue(to)
	if switched || from == nil {
		m.timers.set(timerVote, now)
	} else {
		m.timers.sooner(timerVote, now.Add(voteEvery))
	}
}

// noteJoined tells, once per membership, that this device is in the group by its
// own logs too, and says so to the others.
func (m *Machine) noteJoined(now time.Time) {
	n := m.tree.nodes[m.own.Position]
	if m.own.Joined || n == nil || m.held[n.id] == nil || !m.roster.has(m.log.Device) {
		return
	}
	m.own.Joined, m.own.Out = true, false
	m.requeue(n) // what was written before, if this is a return
	ended, err := m.takeEnded(now)
	m.tx.fail(err)
	for _, r := range []*wire.JoinRequest{m.request, m.renewal, ended} {
		if r != nil {
			m.spend(now, r.KeyPackage)
		}
	}
	m.setRequest(nil)
	m.setRenewal(nil)
	m.tx.emit(now, Event{Kind: EventJoined, Epoch: m.own.Position})
	m.timers.set(timerVote, now)
}

// process derives the child of an epoch held here, if the commit is valid MLS,
// by the device that signed the entry, and does to the tree only what the roster
// resolved from the commit's own past wants.
func (m *Machine) process(parent Parent, n *node) (Epoch, error) {
	if n.info() == nil {
		return nil, fmt.Errorf("%w: a root cannot be derived", ErrInvalidCommit)
	}
	claim, err := m.justified(parent, n)
	if err != nil {
		return nil, err
	}
	c, _, err := m.read.commit(claim)
	if err != nil {
		return nil, err
	}
	child, err := parent.Process(c.Commit, m.checkCredential)
	if err != nil && !errors.Is(err, errSelfRemoved) {
		return nil, fmt.Errorf("%w: %w", ErrInvalidCommit, err)
	}
	return child, err
}

// justified checks a commit against the roster of its own past and gives the claim to
// it that is.
func (m *Machine) justified(parent Parent, n *node) (claim *item, err error) {
	for _, claim = range n.claims {
		if err = m.justifies(parent, n, claim); err == nil {
			break
		}
	}
	return claim, err
}

func (m *Machine) justifies(parent Parent, n *node, claim *item) error {
	_, info, err := m.read.commit(claim)
	if err != nil {
		return err
	}
	at := func(index uint32) *identity.Leaf {
		l, ok := parent.Leaf(index)
		if !ok {
			return nil
		}
		d, err := m.deviceOf(l)
		if err != nil {
			return nil // no leaf comes in whose credential does not hold
		}
		return d
	}
	if by := at(info.Sender); by == nil || by.ID != claim.log.Device {
		return fmt.Errorf("%w: the entry is not by the committer", ErrInvalidCommit)
	}
	past := m.rosterAt(claim)
	if info.Other > 0 || !info.Path {
		return fmt.Errorf("%w: it has no path, or proposals that nodes do not make", ErrInvalidCommit)
	}
	if d, err := identity.ClaimedDevice(info.Own); err != nil || d != claim.log.Device {
		return fmt.Errorf("%w: it gives the committer's leaf to another device", ErrInvalidCommit)
	}
	rejoins, err := m.readRejoins(past, claim)
	if err != nil {
		return err
	}
	for _, r := range rejoins {
		if err := answers(n, r); err != nil {
			return err
		}
	}
	for _, leaf := range info.Removes {
		if d := at(leaf); d != nil && past.has(d.ID) && rejoins[d.ID] == nil {
			return fmt.Errorf("%w: it removes device %v, a member", ErrInvalidCommit, d.ID)
		}
	}
	for _, kp := range info.Adds {
		operation := slices.ContainsFunc(past.deviceIDs(), func(d wire.DeviceID) bool { return bytes.Equal(past.devices[d].keyPackage, kp) })
		rejoin := slices.ContainsFunc(past.deviceIDs(), func(d wire.DeviceID) bool {
			return rejoins[d] != nil && bytes.Equal(rejoins[d].KeyPackage, kp)
		})
		if !operation && !rejoin {
			return fmt.Errorf("%w: it adds a device that no operation adds", ErrInvalidCommit)
		}
	}
	return nil
}

// answers checks that a commit adds the device whose request it cites, and that no
// commit before it did: a request replayed must not evict who made it.
func answers(n *node, r *rejoin) error {
	kp := sha256.Sum256(r.KeyPackage)
	if !slices.Contains(n.adds(), kp) {
		return fmt.Errorf("%w: it cites a request to be added again and does not add", ErrInvalidCommit)
	}
	for at := n.parent; at != nil; at = at.parent {
		if slices.Contains(at.adds(), kp) {
			return fmt.Errorf("%w: it cites a request that was answered before", ErrInvalidCommit)
		}
	}
	return nil
}

// withdraw takes back the refusals above an epoch that this device was added to again.
func (m *Machine) withdraw(now time.Time, id wire.EpochID) {
	before := len(m.refused)
	for n := m.tree.nodes[id]; n != nil; n = n.parent {
		delete(m.refused, n.id)
		delete(m.refusedAt, n.id)
	}
	if len(m.refused) == before {
		return
	}
	m.own.Refused = slices.DeleteFunc(m.own.Refused, func(b []byte) bool { return !m.refused[wire.EpochID(b)] })
	m.saveOwn()
	m.timers.set(timerVote, now)
}

// refuse notes that a child is invalid, and says so in this device's vote.
func (m *Machine) refuse(now time.Time, n *node, why error) {
	m.refused[n.id] = true
	m.refusedAt[n.id] = now
	if len(m.own.Refused) < wire.MaxRefused {
		m.own.Refused = append(m.own.Refused, slices.Clone(n.id[:]))
		slices.SortFunc(m.own.Refused, bytes.Compare)
	}
	m.saveOwn()
	m.timers.set(timerVote, now)
	e := Event{Kind: EventRefused, Epoch: n.id, Detail: why.Error()}
	if by := n.by(); by != nil {
		e.User, e.Device = by.user, by.log.Device
	}
	m.tx.emit(now, e)
}
