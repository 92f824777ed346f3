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

// retention is how long the keys of an epoch are kept after another superseded
// it: so far back a lost branch's commits can be processed and late seals opened.
const retention = 48 * time.Hour

// The fork choice looks at a set that has been quiet for settleQuiet, with a
// little jitter, or for which it has waited settleAtMost.
const (
	settleQuiet  = 2 * time.Second
	settleAtMost = 15 * time.Second
)

// heldEpoch is an epoch whose keys are here. It is loaded when it is needed.
type heldEpoch struct {
	row   heldRow
	epoch Epoch
}

// epoch gives the keys of an epoch held here; nil if they are not.
func (m *Machine) epoch(id wire.EpochID) (Epoch, error) {
	h := m.held[id]
	if h == nil || h.epoch != nil {
		if h == nil {
			return nil, nil
		}
		return h.epoch, nil
	}
	snapshot, err := m.get(rowEpoch + hexed(id[:]))
	if err != nil {
		return nil, err
	}
	if snapshot == nil {
		return nil, fmt.Errorf("%w: epoch %v has no snapshot", ErrCorrupt, id)
	}
	prefix := rowKeys + hexed(id[:]) + "/"
	var keys []KeyRow
	err = m.scan(prefix, func(key string, v []byte) error {
		k, err := unhex(key[len(prefix):])
		keys = append(keys, KeyRow{Key: k, Value: v})
		return err
	})
	if err != nil {
		return nil, err
	}
	h.epoch, err = m.cfg.Engine.Load(snapshot, keys)
	if err != nil {
		return nil, fmt.Errorf("%w: epoch %v: %w", ErrCorrupt, id, err)
	}
	return h.epoch, nil
}

// hold keeps an epoch: its keys are durable before anything is published under it.
func (m *Machine) hold(id wire.EpochID, generation uint64, e Epoch) {
	m.held[id] = &heldEpoch{row: heldRow{Generation: generation}, epoch: e}
	m.putIn(Vault(id), rowEpoch+hexed(id[:]), e.Snapshot())
	m.putKeys(id, e.Keys())
	m.put(rowHeld+hexed(id[:]), wire.Marshal(&m.held[id].row))
}

func (m *Machine) putKeys(id wire.EpochID, rows []KeyRow) {
	for _, r := range rows {
		m.putIn(Vault(id), rowKeys+hexed(id[:])+"/"+hexed(r.Key), r.Value)
	}
}

// retire destroys the keys of epochs superseded for longer than retention.
func (m *Machine) retire(now time.Time) {
	var next time.Time
	for id, h := range m.held {
		if h.row.Superseded == 0 || id == m.own.Position {
			continue
		}
		due := time.UnixMilli(int64(h.row.Superseded)).Add(retention) //nolint:gosec // written by this machine
		if now.Before(due) {
			next = earliest(next, due)
			continue
		}
		prefix := rowKeys + hexed(id[:]) + "/"
		var keys []string
		m.fail(m.scan(prefix, func(key string, _ []byte) error {
			keys = append(keys, key)
			return nil
		}))
		for _, key := range append(keys, rowEpoch+hexed(id[:]), rowHeld+hexed(id[:])) {
			m.del(key)
		}
		m.ready.Drop = append(m.ready.Drop, Vault(id))
		delete(m.held, id)
		delete(m.mail.waiting, id)
	}
	m.duty.retire = next
}

// choose runs the fork choice over everything in the set.
func (m *Machine) choose() *node {
	if m.chosen == nil {
		m.chosen = m.forkChoice()
	}
	return m.chosen
}

func (m *Machine) forkChoice() *node {
	c := choice{
		group: m.group, root: m.tree.root, skip: func(n *node) bool { return m.refused[n.id] },
		votes: map[wire.DeviceID]*node{}, weight: map[wire.UserID]int{}, of: map[wire.DeviceID]wire.UserID{},
	}
	for id, u := range m.roster.users {
		if u.role != wire.RoleReadOnly {
			c.weight[id] = fullWeight
		}
		for _, d := range u.devices {
			c.of[d] = id
		}
	}
	for d, it := range m.logs.votes {
		position := wire.EpochID{}
		if it.vote != nil {
			position = it.vote.Position
		} else {
			position = it.commit.Child
		}
		c.votes[d] = m.tree.nodes[position]
	}
	return c.choose()
}

// disturbed notes that a commit or vote came in: a fork is judged when it gets quiet.
func (m *Machine) disturbed(now time.Time) {
	if m.duty.since.IsZero() {
		m.duty.since = now
	}
	quiet := now.Add(settleQuiet + m.jitter(500*time.Millisecond))
	m.duty.settle = earliest(quiet, m.duty.since.Add(settleAtMost))
}

// follow moves to the epoch that the fork choice picks, as far as the keys at
// hand lead. Along a chain without forks it moves at once; where members
// committed concurrently it waits until the set is quiet. It says whether
// anything changed.
func (m *Machine) follow(now time.Time) bool {
	chosen := m.choose()
	position := m.tree.nodes[m.own.Position]
	if position != nil && chosen != position && !m.direct(position, chosen) && now.Before(m.duty.settle) {
		return false
	}
	if chosen == position || !now.Before(m.duty.settle) {
		m.duty.settle, m.duty.since = time.Time{}, time.Time{}
	}
	if chosen == position || chosen == m.tree.root {
		return false
	}
	return m.moveTo(now, position, chosen)
}

// direct says that chosen continues position without any fork between them.
func (m *Machine) direct(position, chosen *node) bool {
	for n := chosen; n != nil; n = n.parent {
		if n == position {
			return true
		}
		for _, sibling := range n.parent.children {
			if sibling != n && !m.refused[sibling.id] {
				return false
			}
		}
	}
	return false
}

// moveTo derives the epochs from the nearest one held down to chosen.
func (m *Machine) moveTo(now time.Time, position, chosen *node) bool {
	at := chosen
	for at != nil && m.held[at.id] == nil {
		at = at.parent
	}
	if at == nil {
		return m.joinFromLog(chosen)
	}
	for _, n := range chain(at, chosen) {
		if m.outAt[n.id] {
			return m.joinFromLog(chosen)
		}
		parent, err := m.epoch(at.id)
		if err != nil {
			m.fail(err)
			return false
		}
		child, err := m.process(parent, n)
		switch {
		case errors.Is(err, errSelfRemoved):
			m.outAt[n.id] = true
			return m.joinFromLog(chosen)
		case err != nil:
			m.refuse(now, n, err)
			return true // choose again, without it
		}
		m.hold(n.id, n.generation, child)
		m.supersede(now, at)
		m.openWaiting(now, n.id)
		at = n
	}
	if at == position {
		return false
	}
	m.moved(now, position, at)
	return true
}

// moved takes up a new position.
func (m *Machine) moved(now time.Time, from, to *node) {
	m.own.Position = to.id
	m.saveOwn()
	m.emit(now, Event{Kind: EventEpoch, Epoch: to.id, Detail: fmt.Sprintf("epoch %d", to.number)})
	switched := from != nil && !from.contains(to)
	if switched {
		m.supersede(now, from)
		m.emit(now, Event{Kind: EventSwitch, Epoch: to.id, Detail: "the fork choice picked another branch"})
	}
	m.duty.settle, m.duty.since = time.Time{}, time.Time{}
	m.duty.heal = time.Time{}
	m.requeue(to)
	if switched || from == nil {
		m.duty.vote = now
	} else {
		m.duty.vote = earliest(m.duty.vote, now.Add(voteEvery))
	}
}

// noteJoined tells, once per membership, that this device is in the group by its
// own logs too, and says so to the others.
func (m *Machine) noteJoined(now time.Time) {
	if m.own.Joined || m.tree.nodes[m.own.Position] == nil || !m.roster.has(m.log.Device) {
		return
	}
	m.own.Joined = true
	m.emit(now, Event{Kind: EventJoined, Epoch: m.own.Position})
	m.duty.vote = now
}

func (m *Machine) supersede(now time.Time, n *node) {
	if h := m.held[n.id]; h != nil && h.row.Superseded == 0 {
		h.row.Superseded = uint64(now.UnixMilli()) //nolint:gosec // after 1970
		m.put(rowHeld+hexed(n.id[:]), wire.Marshal(&h.row))
	}
}

// process derives the child of an epoch held here, if the commit is valid MLS,
// by the device that signed the entry, and does to the tree only what the roster
// resolved from the commit's own past wants.
func (m *Machine) process(parent Epoch, n *node) (Epoch, error) {
	if n.by.commit == nil {
		return nil, fmt.Errorf("%w: a root cannot be derived", ErrInvalidCommit)
	}
	if err := m.justified(parent, n); err != nil {
		return nil, err
	}
	child, err := parent.Process(n.by.commit.Commit, m.checkCredential)
	if err != nil && !errors.Is(err, errSelfRemoved) {
		return nil, fmt.Errorf("%w: %w", ErrInvalidCommit, err)
	}
	return child, err
}

func (m *Machine) justified(parent Epoch, n *node) error {
	info := n.by.info
	past := m.rosterAt(n.by)
	leaves := map[uint32]*identity.Leaf{}
	for _, l := range parent.Leaves() {
		d, err := m.deviceOf(l)
		if err != nil {
			return err
		}
		leaves[l.Index] = d
	}
	if by := leaves[info.Sender]; by == nil || by.ID != n.by.log.Device {
		return fmt.Errorf("%w: the entry is not by the committer", ErrInvalidCommit)
	}
	if info.Other > 0 || !info.Path {
		return fmt.Errorf("%w: it has no path, or proposals that nodes do not make", ErrInvalidCommit)
	}
	for _, i := range info.Removes {
		if d := leaves[i]; d != nil && past.has(d.ID) {
			return fmt.Errorf("%w: it removes device %v, a member", ErrInvalidCommit, d.ID)
		}
	}
	for _, kp := range info.Adds {
		if !slices.ContainsFunc(past.deviceIDs(), func(d wire.DeviceID) bool { return bytes.Equal(past.devices[d].keyPackage, kp) }) {
			return fmt.Errorf("%w: it adds a device that no operation adds", ErrInvalidCommit)
		}
	}
	return nil
}

// refuse leaves a child out of this device's fork choice and says so in its vote.
func (m *Machine) refuse(now time.Time, n *node, why error) {
	m.refused[n.id] = true
	m.chosen = nil
	if len(m.own.Refused) < wire.MaxRefused {
		m.own.Refused = append(m.own.Refused, slices.Clone(n.id[:]))
		slices.SortFunc(m.own.Refused, bytes.Compare)
	}
	m.saveOwn()
	m.duty.vote = now
	m.emit(now, Event{Kind: EventRefused, Epoch: n.id, User: n.by.user, Device: n.by.log.Device, Detail: why.Error()})
}

// rosterAt is the roster as the author of an entry knew it.
func (m *Machine) rosterAt(it *item) *roster {
	if r := m.rosters[it.hash]; r != nil {
		return r
	}
	var ops []*item
	for _, op := range m.logs.ops {
		if m.logs.inPast(op, it) {
			ops = append(ops, op)
		}
	}
	r := resolve(m.cfg.Genesis, ops, m.logs.inPast)
	m.rosters[it.hash] = r
	return r
}

// checkCredential is the validator wherever a leaf can come in.
func (m *Machine) checkCredential(credential, signatureKey []byte) error {
	_, err := m.deviceOf(Leaf{Credential: credential, SignatureKey: signatureKey})
	return err
}

// deviceOf gives the device that a leaf's credential proves.
func (m *Machine) deviceOf(l Leaf) (*identity.Leaf, error) {
	key := sha256.Sum256(append(slices.Clone(l.SignatureKey), l.Credential...))
	if d := m.leaves[key]; d != nil {
		return d, nil
	}
	d, err := identity.VerifyCredential(m.group, m.cfg.Engine.Suite(), l.Credential, l.SignatureKey)
	if err != nil {
		return nil, err
	}
	m.leaves[key] = d
	return d, nil
}

// resolveRoster brings the roster up to date and tells what changed in it.
func (m *Machine) resolveRoster(now time.Time) {
	if !m.stale {
		return
	}
	m.stale = false
	old := m.roster
	m.roster = resolve(m.cfg.Genesis, m.logs.ops, m.logs.inPast)
	m.chosen = nil
	m.duty.heal = time.Time{}
	m.mail.owedStale = true
	if old == nil || !m.own.Joined {
		return
	}
	for id, u := range m.roster.users {
		if old.users[id] == nil && u.since != nil {
			m.emit(now, Event{Kind: EventAdded, User: id, By: u.since.user, Device: u.devices[0]})
		}
	}
	for id := range old.users {
		if by := m.roster.gone[id]; m.roster.users[id] == nil && by != nil {
			kind := EventRemoved
			if by.op.Type == wire.OpLeave {
				kind = EventLeft
			}
			m.emit(now, Event{Kind: kind, User: id, By: by.user})
		}
	}
	if old.has(m.log.Device) && !m.roster.has(m.log.Device) && !m.own.Out {
		m.own.Out = true
		m.emit(now, Event{Kind: EventOut, User: m.cfg.Device.User})
	}
	if m.own.Out && m.roster.has(m.log.Device) {
		m.own.Out = false // the removal was cancelled, or an addition followed it
		m.saveOwn()
	}
}
