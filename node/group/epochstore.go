package group

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// epochStore holds the MLS epochs of this device: those whose keys are here, whole or thin.
// It loads an epoch when it is needed, and destroys keys when their time is over.
type epochStore struct {
	tx        *tx
	timers    *timers
	engine    engine.Engine
	group     wire.GroupID
	retention time.Duration // Config.Retention

	// gained is told that the keys of another epoch are here, lost that the message keys
	// of one are destroyed.
	gained func()
	lost   func(wire.EpochID)

	held      map[wire.EpochID]*heldEpoch
	outAt     map[wire.EpochID]bool // epochs whose commit removed this device
	retiredAt wire.EpochID          // position, and number of epochs held, at the last retire
	retiredOf int
	verified  map[[32]byte]*identity.Leaf // by credential and signature key; see deviceOf
}

func newEpochStore(tx *tx, timers *timers, engine engine.Engine, group wire.GroupID, retention time.Duration) *epochStore {
	return &epochStore{
		tx: tx, timers: timers, engine: engine, group: group, retention: retention,
		held: map[wire.EpochID]*heldEpoch{}, outAt: map[wire.EpochID]bool{}, verified: map[[32]byte]*identity.Leaf{},
	}
}

func (s *epochStore) load() error {
	return s.tx.scan(rowHeld, func(key string, v []byte) error {
		id, err := lastHex(key)
		if err != nil {
			return err
		}
		h := &heldEpoch{}
		if err := wire.Unmarshal(v, &h.row); err != nil {
			return fmt.Errorf("%w: %w", verdict.ErrCorrupt, err)
		}
		s.held[wire.EpochID(id)] = h
		return nil
	})
}

// has says whether an epoch is held, whole or thin.
func (s *epochStore) has(id wire.EpochID) bool { return s.held[id] != nil }

// isThin says whether of an epoch only what late commits need is left.
func (s *epochStore) isThin(id wire.EpochID) bool { return s.has(id) && s.held[id].row.Thin }

// isWhole says whether an epoch is held with its message keys.
func (s *epochStore) isWhole(id wire.EpochID) bool { return s.has(id) && !s.held[id].row.Thin }

// heldEpoch is an epoch whose keys are here. It is loaded when it is needed.
type heldEpoch struct {
	row   heldRow
	epoch engine.Epoch
	thin  engine.ThinEpoch

	senders map[uint32]wire.DeviceID // of opened messages, by leaf
}

// page reads a page of a ratchet tree.
func (s *epochStore) page(key []byte) ([]byte, error) {
	b, err := s.tx.get(rowPage + hexed(key))
	if err == nil && b == nil {
		err = fmt.Errorf("%w: a page of a ratchet tree is gone", verdict.ErrCorrupt)
	}
	return b, err
}

// head reads the secret part of an epoch held here. The caller clears it.
func (s *epochStore) head(id wire.EpochID) ([]byte, error) {
	row := rowEpoch
	if s.held[id].row.Thin {
		row = rowThin
	}
	b, err := s.tx.secret(row + hexed(id[:]))
	if err == nil && b == nil {
		err = fmt.Errorf("%w: epoch %v has no snapshot", verdict.ErrCorrupt, id)
	}
	return b, err
}

// whole gives an epoch with its message keys; nil if they are not here.
func (s *epochStore) whole(id wire.EpochID) (engine.Epoch, error) {
	h := s.held[id]
	if h == nil || h.row.Thin || h.epoch != nil {
		if h == nil || h.row.Thin {
			return nil, nil
		}
		return h.epoch, nil
	}
	head, err := s.head(id)
	if err != nil {
		return nil, err
	}
	defer clear(head)
	prefix := rowKeys + hexed(id[:]) + "/"
	var keys []engine.KeyRow
	defer func() {
		for _, k := range keys {
			clear(k.Value)
		}
	}()
	err = s.tx.scanKeys(prefix, func(key string) error {
		k, err := unhex(key[len(prefix):])
		keys = append(keys, engine.KeyRow{Key: k})
		return err
	})
	for i := 0; i < len(keys) && err == nil; i++ {
		keys[i].Value, err = s.tx.secret(prefix + hexed(keys[i].Key))
	}
	if err != nil {
		return nil, err
	}
	h.epoch, err = s.engine.Load(head, s.page, keys)
	if err != nil {
		return nil, fmt.Errorf("%w: epoch %v: %w", verdict.ErrCorrupt, id, err)
	}
	return h.epoch, nil
}

// parent returns the epoch, held here, on which commits are processed.
func (s *epochStore) parent(id wire.EpochID) (engine.Parent, error) {
	h := s.held[id]
	if h == nil {
		return nil, nil
	}
	if !h.row.Thin {
		return s.whole(id)
	}
	if h.thin == nil {
		head, err := s.head(id)
		if err != nil {
			return nil, err
		}
		defer clear(head)
		if h.thin, err = s.engine.LoadThin(head, s.page); err != nil {
			return nil, fmt.Errorf("%w: epoch %v: %w", verdict.ErrCorrupt, id, err)
		}
	}
	return h.thin, nil
}

// hold keeps an epoch: its keys are durable before anything is published under it. Of its
// tree it writes the pages that since does not have; nil: all.
func (s *epochStore) hold(now time.Time, id wire.EpochID, e, since engine.Epoch) {
	s.keepRejoinKey(s.timers.kept(now), id, e)
	s.held[id] = &heldEpoch{epoch: e}
	head, pages := e.Snapshot(since)
	for _, p := range pages {
		s.tx.put(rowPage+hexed(p.Key), p.Value)
	}
	s.tx.put(rowEpoch+hexed(id[:]), head)
	s.putKeys(id, e.Keys())
	s.tx.put(rowHeld+hexed(id[:]), wire.Marshal(&s.held[id].row))
	s.gained()
}

func (s *epochStore) putKeys(id wire.EpochID, rows []engine.KeyRow) {
	for _, r := range rows {
		s.tx.put(rowKeys+hexed(id[:])+"/"+hexed(r.Key), r.Value)
	}
}

// Bounds on the epochs that are held.
const (
	maxHeld    = 64        // epochs
	thinAfter  = time.Hour // at the earliest, once every live device has voted past an epoch
	fullAtMost = 48 * time.Hour
)

// retire destroys keys of epochs that this device has left: message keys once every
// live device has voted past the epoch, after fullAtMost in any case, and all of them
// after Config.Retention. So far back a lost branch's commits can be processed.
func (s *epochStore) retire(now time.Time, position wire.EpochID, votedPast func(wire.EpochID) bool) {
	if s.retiredAt == position && len(s.held) == s.retiredOf && !s.timers.due(now, timerRetire) {
		return
	}
	var next time.Time
	var left []wire.EpochID
	for _, id := range slices.SortedFunc(maps.Keys(s.held), func(a, b wire.EpochID) int { return bytes.Compare(a[:], b[:]) }) {
		h := s.held[id]
		if left := id != position; left != (h.row.Superseded != 0) {
			h.row.Superseded = 0
			if left {
				h.row.Superseded = uint64(now.UnixMilli()) //nolint:gosec // after 1970
			}
			s.tx.put(rowHeld+hexed(id[:]), wire.Marshal(&h.row))
		}
		if h.row.Superseded != 0 {
			left = append(left, id)
		}
	}
	since := func(id wire.EpochID) time.Time { return time.UnixMilli(int64(s.held[id].row.Superseded)) } //nolint:gosec // written by this machine
	slices.SortStableFunc(left, func(a, b wire.EpochID) int { return since(a).Compare(since(b)) })
	swept := false
	for i, id := range left {
		if s.tx.full() {
			next = now // it goes on with the next turn
			break
		}
		age := now.Sub(since(id))
		switch thin := s.held[id].row.Thin; {
		case age >= s.retention || i < len(left)+1-maxHeld:
			s.forget(id)
			swept = true
		case !thin && (age >= fullAtMost || age >= thinAfter && votedPast(id)):
			s.thin(id)
			next = earliest(next, since(id).Add(s.retention))
		case !thin:
			at := since(id).Add(thinAfter)
			for !at.After(now) {
				at = at.Add(thinAfter)
			}
			next = earliest(next, earliest(at, since(id).Add(s.retention)))
		default:
			next = earliest(next, since(id).Add(s.retention))
		}
	}
	if swept {
		s.sweepPages()
	}
	s.timers.set(timerRetire, next)
	s.retiredAt, s.retiredOf = position, len(s.held)
}

// thin destroys the message keys of an epoch, and all else that following late
// commits from it does not need.
func (s *epochStore) thin(id wire.EpochID) {
	e, err := s.whole(id)
	if err != nil {
		s.tx.fail(err)
		return
	}
	t, err := e.Thin()
	if err != nil {
		s.tx.fail(fmt.Errorf("epoch %v: %w", id, err))
		return
	}
	s.dropKeys(id)
	s.tx.put(rowThin+hexed(id[:]), t.Head())
	h := s.held[id]
	h.row.Thin, h.epoch, h.thin = true, nil, t
	s.tx.put(rowHeld+hexed(id[:]), wire.Marshal(&h.row))
	e.Wipe()
	s.lost(id)
}

// sweepPages deletes the pages that no held epoch is made of.
func (s *epochStore) sweepPages() {
	seen := map[string]struct{}{}
	for id := range s.held {
		head, err := s.head(id)
		if err == nil {
			err = s.engine.MarkPages(head, s.page, seen)
			clear(head)
		}
		s.tx.fail(err)
	}
	var old []string
	s.tx.fail(s.tx.scanKeys(rowPage, func(key string) error {
		k, err := unhex(key[len(rowPage):])
		if _, ok := seen[string(k)]; !ok {
			old = append(old, key)
		}
		return err
	}))
	if s.tx.broken != nil {
		return
	}
	for _, key := range old {
		if s.tx.full() {
			return // the next sweep finds the others
		}
		s.tx.del(key)
	}
}

// checkCredential is the validator wherever a leaf can come in.
func (s *epochStore) checkCredential(credential, signatureKey []byte) error {
	_, err := s.deviceOf(engine.Leaf{Credential: credential, SignatureKey: signatureKey})
	return err
}

// deviceOf gives the device that a leaf's credential proves.
func (s *epochStore) deviceOf(l engine.Leaf) (*identity.Leaf, error) {
	key := sha256.Sum256(append(slices.Clone(l.SignatureKey), l.Credential...))
	if d := s.verified[key]; d != nil {
		return d, nil
	}
	d, err := identity.VerifyCredential(s.group, s.engine.Suite(), l.Credential, l.SignatureKey)
	if err != nil {
		return nil, err
	}
	s.verified[key] = d
	return d, nil
}

// sender gives the device that has a leaf of a whole epoch held here.
func (s *epochStore) sender(id wire.EpochID, e engine.Epoch, leaf uint32) (wire.DeviceID, error) {
	h := s.held[id]
	if sender, ok := h.senders[leaf]; ok {
		return sender, nil
	}
	l, ok := e.Leaf(leaf)
	if !ok {
		return wire.DeviceID{}, fmt.Errorf("%w: no such sender", verdict.ErrForged)
	}
	d, err := s.deviceOf(l)
	if err != nil {
		return wire.DeviceID{}, fmt.Errorf("%w: its sender: %w", verdict.ErrForged, err)
	}
	if h.senders == nil {
		h.senders = map[uint32]wire.DeviceID{}
	}
	h.senders[leaf] = d.ID
	return d.ID, nil
}

// members goes through the devices in the tree of an epoch.
func (s *epochStore) members(e engine.Epoch) iter.Seq[*identity.Leaf] {
	return func(yield func(*identity.Leaf) bool) {
		for _, l := range e.Leaves() {
			if d, err := s.deviceOf(l); err == nil && !yield(d) {
				return
			}
		}
	}
}

// inTree gives the devices in the tree of an epoch; none, if it is not whole.
func (s *epochStore) inTree(id wire.EpochID) map[wire.DeviceID]bool {
	in := map[wire.DeviceID]bool{}
	if e, err := s.whole(id); err == nil && e != nil {
		for d := range s.members(e) {
			in[d.ID] = true
		}
	}
	return in
}

// forget destroys all keys of an epoch.
func (s *epochStore) forget(id wire.EpochID) {
	if h := s.held[id]; h.row.Thin {
		s.tx.del(rowThin + hexed(id[:]))
		s.tx.drop(rowThin + hexed(id[:]))
	} else {
		s.dropKeys(id)
	}
	h := s.held[id]
	if h.epoch != nil {
		h.epoch.Wipe()
	}
	if h.thin != nil {
		h.thin.Wipe()
	}
	s.tx.del(rowHeld + hexed(id[:]))
	delete(s.held, id)
	s.lost(id)
}

// dropKeys destroys the vault of an epoch.
func (s *epochStore) dropKeys(id wire.EpochID) {
	prefix := rowKeys + hexed(id[:]) + "/"
	var keys []string
	s.tx.fail(s.tx.scanKeys(prefix, func(key string) error {
		keys = append(keys, key)
		return nil
	}))
	for _, key := range append(keys, rowEpoch+hexed(id[:])) {
		s.tx.del(key)
	}
	s.tx.drop(rowEpoch + hexed(id[:]))
}

// rejoinKeyFor is how long the key stays that proves to others that a device held
// an epoch: 32 bytes, exported, that open nothing.
const rejoinKeyFor = 90 * 24 * time.Hour

// rejoinRow is an epoch's rejoin key and since when it is kept.
type rejoinRow struct {
	Key   []byte `cbor:"1,keyasint"`
	Since uint64 `cbor:"2,keyasint"` // milliseconds since 1970
}

// rejoinKey gives the key of an epoch that this device held; nil if it did not.
func (x reader) rejoinKey(id wire.EpochID) ([]byte, error) {
	b, err := x.tx.get(rowRejoin + hexed(id[:]))
	if b == nil || err != nil {
		return nil, err
	}
	var row rejoinRow
	if err := wire.Unmarshal(b, &row); err != nil {
		return nil, fmt.Errorf("%w: %w", verdict.ErrCorrupt, err)
	}
	return row.Key, nil
}

func (s *epochStore) keepRejoinKey(now time.Time, id wire.EpochID, e engine.Epoch) {
	key, err := e.Export(string(wire.DomainRejoin), id[:], sha256.Size)
	if err != nil {
		s.tx.fail(fmt.Errorf("exporting a rejoin key: %w", err))
		return
	}
	s.tx.put(rowRejoin+hexed(id[:]), wire.Marshal(&rejoinRow{Key: key, Since: uint64(now.UnixMilli())})) //nolint:gosec // after 1970
}

// retireRejoinKeys forgets those that are too old to be of use.
func (s *epochStore) retireRejoinKeys(now time.Time) {
	var old []string
	s.tx.fail(s.tx.scan(rowRejoin, func(key string, v []byte) error {
		var row rejoinRow
		if err := wire.Unmarshal(v, &row); err != nil {
			return fmt.Errorf("%w: %w", verdict.ErrCorrupt, err)
		}
		if now.Sub(time.UnixMilli(int64(row.Since))) > rejoinKeyFor { //nolint:gosec // written by this machine
			old = append(old, key)
		}
		return nil
	}))
	for _, key := range old {
		s.tx.del(key)
	}
}
