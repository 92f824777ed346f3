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
func (m *Machine) hold(now time.Time, id wire.EpochID, generation uint64, e Epoch) {
	m.keepRejoinKey(now, id, e)
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

// retire destroys the keys of epochs that this device left longer ago than
// Config.Retention: so far back a lost branch's commits can be processed and late
// seals opened.
func (m *Machine) retire(now time.Time) {
	var next time.Time
	for _, id := range slices.SortedFunc(maps.Keys(m.held), func(a, b wire.EpochID) int { return bytes.Compare(a[:], b[:]) }) {
		h := m.held[id]
		if left := id != m.own.Position; left != (h.row.Superseded != 0) {
			h.row.Superseded = 0
			if left {
				h.row.Superseded = uint64(now.UnixMilli()) //nolint:gosec // after 1970
			}
			m.put(rowHeld+hexed(id[:]), wire.Marshal(&h.row))
		}
		if h.row.Superseded == 0 {
			continue
		}
		due := time.UnixMilli(int64(h.row.Superseded)).Add(m.cfg.Retention) //nolint:gosec // written by this machine
		if now.Before(due) {
			next = earliest(next, due)
			continue
		}
		m.forget(id)
	}
	m.duty.retire = next
	if !now.Before(m.duty.rejoinKeys) {
		m.duty.rejoinKeys = now.Add(24 * time.Hour)
		m.retireRejoinKeys(now)
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

// forget destroys the keys of an epoch.
func (m *Machine) forget(id wire.EpochID) {
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
	m.mail.waitCount -= len(m.mail.waiting[id])
	delete(m.mail.waiting, id)
}
