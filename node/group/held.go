package group

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// heldEpoch is an epoch whose keys are here. It is loaded when it is needed.
type heldEpoch struct {
	row   heldRow
	epoch Epoch
	thin  ThinEpoch

	senders map[uint32]wire.DeviceID // of opened messages, by leaf
}

// thinVault is the vault of what is left of an epoch: the epoch's own is destroyed.
func thinVault(id wire.EpochID) Vault {
	return sha256.Sum256(append([]byte("panda/thin/1\x00"), id[:]...))
}

// page reads a page of a ratchet tree.
func (m *Machine) page(key []byte) ([]byte, error) {
	b, err := m.tx.get(rowPage + hexed(key))
	if err == nil && b == nil {
		err = fmt.Errorf("%w: a page of a ratchet tree is gone", ErrCorrupt)
	}
	return b, err
}

// head reads the secret part of an epoch held here.
func (m *Machine) head(id wire.EpochID) ([]byte, error) {
	row := rowEpoch
	if m.held[id].row.Thin {
		row = rowThin
	}
	b, err := m.tx.get(row + hexed(id[:]))
	if err == nil && b == nil {
		err = fmt.Errorf("%w: epoch %v has no snapshot", ErrCorrupt, id)
	}
	return b, err
}

// epoch gives the keys of an epoch held here; nil if they are not, or not all.
func (m *Machine) epoch(id wire.EpochID) (Epoch, error) {
	h := m.held[id]
	if h == nil || h.row.Thin || h.epoch != nil {
		if h == nil || h.row.Thin {
			return nil, nil
		}
		return h.epoch, nil
	}
	head, err := m.head(id)
	if err != nil {
		return nil, err
	}
	prefix := rowKeys + hexed(id[:]) + "/"
	var keys []KeyRow
	err = m.tx.scan(prefix, func(key string, v []byte) error {
		k, err := unhex(key[len(prefix):])
		keys = append(keys, KeyRow{Key: k, Value: v})
		return err
	})
	if err != nil {
		return nil, err
	}
	h.epoch, err = m.cfg.Engine.Load(head, m.page, keys)
	if err != nil {
		return nil, fmt.Errorf("%w: epoch %v: %w", ErrCorrupt, id, err)
	}
	return h.epoch, nil
}

// parent gives what the commits on an epoch held here are processed on.
func (m *Machine) parent(id wire.EpochID) (Parent, error) {
	h := m.held[id]
	if h == nil {
		return nil, nil
	}
	if !h.row.Thin {
		return m.epoch(id)
	}
	if h.thin == nil {
		head, err := m.head(id)
		if err != nil {
			return nil, err
		}
		if h.thin, err = m.cfg.Engine.LoadThin(head, m.page); err != nil {
			return nil, fmt.Errorf("%w: epoch %v: %w", ErrCorrupt, id, err)
		}
	}
	return h.thin, nil
}

// hold keeps an epoch: its keys are durable before anything is published under it.
// Of its tree it writes what since does not have; nil: all.
func (m *Machine) hold(now time.Time, id wire.EpochID, generation uint64, e, since Epoch) {
	m.keepRejoinKey(m.kept(now), id, e)
	clear(m.mail.tried) // what could not be opened may be now
	m.held[id] = &heldEpoch{row: heldRow{Generation: generation}, epoch: e}
	head, pages := e.Snapshot(since)
	for _, p := range pages {
		m.tx.put(rowPage+hexed(p.Key), p.Value)
	}
	m.tx.putIn(Vault(id), rowEpoch+hexed(id[:]), head)
	m.putKeys(id, e.Keys())
	m.tx.put(rowHeld+hexed(id[:]), wire.Marshal(&m.held[id].row))
}

func (m *Machine) putKeys(id wire.EpochID, rows []KeyRow) {
	for _, r := range rows {
		m.tx.putIn(Vault(id), rowKeys+hexed(id[:])+"/"+hexed(r.Key), r.Value)
	}
}

// Bounds on what is held.
const (
	maxHeld    = 64        // epochs
	thinAfter  = time.Hour // at the earliest, once every live device has voted past an epoch
	fullAtMost = 48 * time.Hour
)

// retire destroys keys of epochs that this device has left: message keys once every
// live device has voted past the epoch, after fullAtMost in any case, and all of them
// after Config.Retention. So far back a lost branch's commits can be processed.
func (m *Machine) retire(now time.Time) {
	if m.retiredAt == m.own.Position && len(m.held) == m.retiredOf && !m.timers.due(now, timerRetire) {
		return
	}
	var next time.Time
	var left []wire.EpochID
	for _, id := range slices.SortedFunc(maps.Keys(m.held), func(a, b wire.EpochID) int { return bytes.Compare(a[:], b[:]) }) {
		h := m.held[id]
		if left := id != m.own.Position; left != (h.row.Superseded != 0) {
			h.row.Superseded = 0
			if left {
				h.row.Superseded = uint64(now.UnixMilli()) //nolint:gosec // after 1970
			}
			m.tx.put(rowHeld+hexed(id[:]), wire.Marshal(&h.row))
		}
		if h.row.Superseded != 0 {
			left = append(left, id)
		}
	}
	since := func(id wire.EpochID) time.Time { return time.UnixMilli(int64(m.held[id].row.Superseded)) } //nolint:gosec // written by this machine
	slices.SortStableFunc(left, func(a, b wire.EpochID) int { return since(a).Compare(since(b)) })
	swept := false
	votes := m.liveVotes()
	for i, id := range left {
		if m.tx.full() {
			next = now // it goes on with the next turn
			break
		}
		age := now.Sub(since(id))
		switch thin := m.held[id].row.Thin; {
		case age >= m.cfg.Retention || i < len(left)+1-maxHeld:
			m.forget(id)
			swept = true
		case !thin && (age >= fullAtMost || age >= thinAfter && m.votedPast(id, votes)):
			m.thin(id)
			next = earliest(next, since(id).Add(m.cfg.Retention))
		case !thin:
			at := since(id).Add(thinAfter)
			for !at.After(now) {
				at = at.Add(thinAfter)
			}
			next = earliest(next, earliest(at, since(id).Add(m.cfg.Retention)))
		default:
			next = earliest(next, since(id).Add(m.cfg.Retention))
		}
	}
	if swept {
		m.sweepPages()
	}
	m.timers.set(timerRetire, next)
	m.retiredAt, m.retiredOf = m.own.Position, len(m.held)
}

// retireDaily destroys what is kept for months. It is no reason to wake.
func (m *Machine) retireDaily(now time.Time) {
	if now.Before(m.timers.at(timerDaily)) {
		return
	}
	m.timers.set(timerDaily, now.Add(24*time.Hour))
	m.retireRejoinKeys(now)
	m.retireReplaced(now)
	if now.After(m.now) {
		now = m.now // entries are dated by that
	}
	m.retireSeals(now)
	m.retireTransport(now)
	maps.DeleteFunc(m.mail.refilled, func(_ wire.MessageID, at time.Time) bool { return m.now.Sub(at) > 24*time.Hour })
}

// liveVotes gives where the newest vote of each device of a live user lies; nil: nowhere
// that is known.
func (m *Machine) liveVotes() []*node {
	c := choice{roster: m.roster, newest: m.logs.heard(m.now)}
	newest := c.now()
	var votes []*node
	for user, u := range m.roster.users {
		if c.isLive(user, newest) {
			for _, d := range u.devices {
				votes = append(votes, m.tree.positionOf(m.logs.votes[d]))
			}
		}
	}
	return votes
}

// votedPast says whether all of these votes lie below an epoch: nobody seals under it
// any more.
func (m *Machine) votedPast(id wire.EpochID, votes []*node) bool {
	n := m.tree.nodes[id]
	return n != nil && !slices.ContainsFunc(votes, func(at *node) bool { return at == nil || at == n || !n.contains(at) })
}

// thin destroys the message keys of an epoch, and all else that following late
// commits from it does not need.
func (m *Machine) thin(id wire.EpochID) {
	e, err := m.epoch(id)
	if err != nil {
		m.tx.fail(err)
		return
	}
	t, err := e.Thin()
	if err != nil {
		m.tx.fail(fmt.Errorf("epoch %v: %w", id, err))
		return
	}
	m.dropKeys(id)
	m.tx.putIn(thinVault(id), rowThin+hexed(id[:]), t.Head())
	h := m.held[id]
	h.row.Thin, h.epoch, h.thin = true, nil, t
	m.tx.put(rowHeld+hexed(id[:]), wire.Marshal(&h.row))
	e.Wipe()
	m.mail.stopWaiting(id)
}

// sweepPages deletes the pages that no held epoch is made of.
func (m *Machine) sweepPages() {
	seen := map[string]struct{}{}
	for id := range m.held {
		head, err := m.head(id)
		if err == nil {
			err = m.cfg.Engine.MarkPages(head, m.page, seen)
		}
		m.tx.fail(err)
	}
	var old []string
	m.tx.fail(m.tx.scanKeys(rowPage, func(key string) error {
		k, err := unhex(key[len(rowPage):])
		if _, ok := seen[string(k)]; !ok {
			old = append(old, key)
		}
		return err
	}))
	if m.tx.broken != nil {
		return
	}
	for _, key := range old {
		if m.tx.full() {
			return // the next sweep finds the others
		}
		m.tx.del(key)
	}
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

// forget destroys all keys of an epoch.
func (m *Machine) forget(id wire.EpochID) {
	if h := m.held[id]; h.row.Thin {
		m.tx.del(rowThin + hexed(id[:]))
		m.tx.drop(thinVault(id))
	} else {
		m.dropKeys(id)
	}
	h := m.held[id]
	if h.epoch != nil {
		h.epoch.Wipe()
	}
	if h.thin != nil {
		h.thin.Wipe()
	}
	m.tx.del(rowHeld + hexed(id[:]))
	delete(m.held, id)
	m.mail.stopWaiting(id)
}

// dropKeys destroys what is in the vault of an epoch.
func (m *Machine) dropKeys(id wire.EpochID) {
	prefix := rowKeys + hexed(id[:]) + "/"
	var keys []string
	m.tx.fail(m.tx.scanKeys(prefix, func(key string) error {
		keys = append(keys, key)
		return nil
	}))
	for _, key := range append(keys, rowEpoch+hexed(id[:])) {
		m.tx.del(key)
	}
	m.tx.drop(Vault(id))
}
