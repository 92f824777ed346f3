package group

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/group/epochs"
	"github.com/pandanode/pandanode/node/wire"
)

// compareTree returns the difference between the tree at the position and the roster.
func (m *Machine) compareTree(now time.Time, e engine.Epoch) difference {
	position := m.tree.Nodes[m.own.Position]
	again := func() []*rejoin { return m.peers.wantedAgain(m.rosters.now, m.tree, position) }
	d, err := m.differ.compare(now, m.own.log, position, e, m.rosters.now, again)
	m.tx.fail(err)
	return d
}

// position gives the epoch to act under: this device is in the roster, what it writes counts,
// and it holds that epoch.
func (m *Machine) position() (*epochs.Node, engine.Epoch) {
	n := m.tree.Nodes[m.own.Position]
	if n == nil || !m.rosters.now.Has(m.own.log.Device) || m.logs.Floods[m.own.log.Device] != nil {
		return nil, nil
	}
	e, err := m.epochs.whole(n.ID)
	m.tx.fail(err)
	if e == nil {
		return nil, nil
	}
	return n, e
}

// heal makes the tree equal the roster by one commit: at once for an operation of
// one's own, after rank × 2 s for others', so that one usually acts and any can.
// The same commit renews this device's keys, and is made for that alone when that
// is due; and it is the sibling of a child that this device found invalid.
func (m *Machine) heal(now time.Time) bool {
	n, e := m.position()
	if n == nil || m.target(now) != n {
		m.timers.stop(timerHeal, timerUpdate, timerRatchet)
		m.plan.updateAt = nil
		return false
	}
	m.planUpdate(now, n, e)
	d := m.compareTree(now, e)
	sibling := slices.ContainsFunc(n.Children, func(c *epochs.Node) bool { return m.fork.refused.has(c.ID) && c.Contains(m.choose(now)) })
	outOfReach := m.messages.ratchetOutOfReach(now, m.rank)
	alone := m.timers.due(now, timerUpdate) || sibling || outOfReach || m.mustRenew(n)
	if d.empty() && !alone {
		m.timers.stop(timerHeal)
		return false
	}
	if !m.timers.running(timerHeal) {
		m.timers.set(timerHeal, now)
		if !d.mine && !alone && m.plan.unfinished != n.ID {
			m.timers.set(timerHeal, now.Add(rankStep+m.rank()*rankStep))
		}
	}
	if outOfReach {
		m.messages.ratchets.renewed = now
	}
	if outOfReach || m.timers.due(now, timerUpdate) {
		m.timers.set(timerHeal, now)
	}
	if !m.timers.due(now, timerHeal) {
		return false
	}
	err := m.commit(now, n, e, d, alone)
	if errors.Is(err, errLeftOut) {
		err = m.commit(now, n, e, m.compareTree(now, e), alone)
	}
	if err != nil {
		m.timers.set(timerHeal, now.Add(time.Minute)) // others may do better; try again then
		m.timers.set(timerUpdate, m.timers.at(timerHeal))
		m.tx.emit(now, Event{Kind: EventRefused, Epoch: n.ID, Detail: err.Error()})
		return false
	}
	return true
}

// planUpdate says when this device must renew its keys: so long after its leaf
// last changed on the chain to its position, or up to an eighth of that earlier. It does so at
// any moment of that time if it came into a tree of blank nodes, which fills by that; and soon
// if others have to seal to many nodes until it does.
func (m *Machine) planUpdate(now time.Time, n *epochs.Node, e engine.Epoch) {
	if m.plan.updateAt == n {
		return
	}
	m.plan.updateAt = n
	at, came := n, false
	for ; at.Parent != nil && at.Parent.Parent != nil; at = at.Parent {
		d := m.own.log.Device
		came = at.Leaves.LeafOf(d) != at.Parent.Leaves.LeafOf(d)
		if came || at.Renews() && slices.ContainsFunc(at.Claims, func(c *dag.Item) bool { return c.Log.Device == d }) {
			break
		}
	}
	if by := at.By(); by != nil {
		// Those who came in together do not all renew at one moment.
		spread := wire.HashOf(wire.DomainPrio, m.own.group[:], by.Hash[:], m.own.log.Device[:])
		over := m.cfg.UpdateEvery / 8
		if sealed, _ := e.PathSize(nil); sealed > maxSealed && came {
			over = m.cfg.UpdateEvery
		}
		early := time.Duration(binary.BigEndian.Uint16(spread[:])) * (over >> 16)
		m.timers.set(timerUpdate, by.Since(now).Add(m.cfg.UpdateEvery-early))
	}
	if lostKeys(m.logs, m.tree, m.own.log.Device, n, at.By()) || e.PathFills() > maxUnfilled {
		// Its newest keys were on a branch that lost. Spread, for others lost theirs too.
		m.timers.sooner(timerUpdate, m.next(now).Time().Add(5*time.Second+m.rank()*gapStep))
	}
}

// lostKeys says whether the newest keys of a device, by a commit with a path, are not on the
// chain to a position, and nothing has renewed its keys there since: since is what its leaf there is of. It follows from
// the logs, so that a restart forgets nothing.
func lostKeys(logs *dag.Logs, tree *epochs.Tree, d wire.DeviceID, position *epochs.Node, since *dag.Item) bool {
	var newest *dag.Item
	for _, it := range logs.Commits {
		if it.Log.Device == d && it.Commit.Info.Path && logs.Counts(it) && (newest == nil || it.Compare(newest) > 0) {
			newest = it
		}
	}
	if newest == nil || since != nil && newest.Compare(since) <= 0 {
		return false
	}
	at := tree.Nodes[newest.Commit.Child]
	return at == nil || !at.Contains(position)
}

// errLeftOut says that KeyPackages which cannot be used were found, and that the
// commit is to be made without them.
var errLeftOut = errors.New("a KeyPackage cannot be used")

// maxSealed is to how many nodes the path of a commit that only adds is sealed: beyond that
// the commit goes without one.
const maxSealed = 16

// maxUnfilled is to how many nodes others seal, in one part of the tree, before a device of
// that part renews its keys for it. The one whose rank comes first does, for all of them.
const maxUnfilled = 64

// goesWithoutPath says whether the commit that makes a difference needs no path (RFC 9420,
// Section 12.4) and goes without: docs/SECURITY.md says what that costs. renews: it is to
// renew this device's keys; sealed: to how many nodes its path would be sealed.
func goesWithoutPath(d difference, renews bool, sealed int) bool {
	return len(d.adds) > 0 && len(d.removes)+len(d.rejoins) == 0 && !renews && sealed > maxSealed
}

// commit makes the child, keeps its keys and appends the COMMIT: all in one
// transaction, before anything is published. renews: it renews this device's keys, too.
func (m *Machine) commit(now time.Time, n *epochs.Node, e engine.Epoch, d difference, renews bool) error {
	change := engine.Change{
		Now: now, Signer: m.own.Signer, Removes: d.removes, JoinSecrets: m.keys.joinSecrets(n.Root), Check: m.epochs.checkCredential,
	}
	change.Adds = d.adds
	renews = renews || n.Info() == nil || !m.twins.seen.IsZero()
	sealed, _ := e.PathSize(nil)
	change.NoPath = goesWithoutPath(d, renews, sealed)
	// The key for transport keys is renewed with the others.
	var transport []byte
	if m.timers.due(now, timerUpdate) {
		var err error
		if transport, err = m.leaf.newPrivate(); err != nil {
			return err
		}
		change.Credential = m.leaf.credentialWith(transport)
	}
	c, err := e.Commit(m.cfg.Rand, change)
	if err != nil && len(change.Adds) > 0 {
		// One KeyPackage that cannot be used must not keep all others out, nor anybody in.
		// So each addition that alone makes the commit impossible is left out from now on.
		change.Adds = nil
		for _, kp := range d.adds {
			one := change
			one.Adds = append(slices.Clone(change.Adds), kp)
			if _, err := e.Commit(m.cfg.Rand, one); err != nil {
				m.differ.leaveOut(kp)
				continue
			}
			change = one
		}
		return fmt.Errorf("%w: %w", errLeftOut, err)
	}
	if err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	child := wire.EpochIDOf(m.own.group, n.Root, n.Number+1, c.Epoch.Interim())
	it, err := m.append(now, wire.KindCommit, &wire.Commit{Parent: n.ID, Child: child, Commit: c.Commit, Welcome: c.Welcome, Ops: d.ops, Rejoins: d.rejoins})
	if err != nil {
		return err
	}
	m.epochs.hold(now, child, c.Epoch, e)
	if transport != nil {
		m.leaf.replace(now, transport)
	}
	if m.plan.unfinished = (wire.EpochID{}); d.more {
		m.plan.unfinished = child
	}
	m.moved(now, n, m.tree.Nodes[it.Commit.Child])
	return nil
}
