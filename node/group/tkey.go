package group

import (
	"errors"
	"time"

	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/group/roster"
	"github.com/pandanode/pandanode/node/wire"
)

// keepTransport writes what transport keys need: a new one where every key at hand
// is known to somebody who is out, and wraps for devices of the roster that the
// current one leaves out. At once for those who removed somebody themselves, after
// rank × 2 s for others.
func (m *Machine) keepTransport(now time.Time) {
	n, e := m.position()
	if n == nil || !m.own.Joined {
		return
	}
	current, ok := m.keys.current()
	if !ok {
		return
	}
	t := m.keys.of(current)
	fresh := t.over() || !m.keys.clean(t)
	var left []wire.DeviceID
	if !fresh {
		left = m.keys.leftOut(t)
	}
	if !fresh && len(left) == 0 {
		m.timers.stop(timerTransport)
		return
	}
	if !m.timers.running(timerTransport) {
		m.timers.set(timerTransport, now)
		if !fresh || !m.rosters.now.RemovedBy(m.own.log) {
			m.timers.set(timerTransport, now.Add(rankStep+m.rank()*rankStep))
		}
	}
	if !m.timers.due(now, timerTransport) {
		return
	}
	m.timers.set(timerTransport, now.Add(time.Minute)) // if it fails, or leaves somebody out
	if fresh {
		m.tx.fail(m.rotate(now, e))
		return
	}
	for _, d := range left {
		public, ok := wrapsWith(e, m.epochs, m.rosters.now, m.peers, d)
		if !ok {
			continue
		}
		w, err := wrap(m.cfg.Rand, m.own.group, current, m.keys.keys[current], d, public)
		if errors.Is(err, errNoKey) {
			continue
		}
		if err == nil {
			_, err = m.append(now, wire.KindTKeyWrap, &wire.TKeyWrap{ID: current, Wrap: w})
		}
		m.tx.fail(err)
	}
}

// rotate writes a TKEY: a fresh key for every device of the roster.
func (m *Machine) rotate(now time.Time, e engine.Epoch) error {
	tkey, key, err := m.keys.newTKey(func(d wire.DeviceID) ([32]byte, bool) { return wrapsWith(e, m.epochs, m.rosters.now, m.peers, d) })
	if err != nil {
		return err
	}
	old, _ := m.keys.current()
	if _, err := m.append(now, wire.KindTKey, tkey); err != nil {
		return err
	}
	m.keys.take(key)
	// This turn's envelopes still travel under the key that everybody has.
	m.tx.outgoing.under = &old
	return nil
}

// wrapsWith gives the key under which a device of the roster takes transport keys: from
// the credential of its leaf in the tree of an epoch, which it renews with its other keys,
// else from its newest beacon, else from the KeyPackage that it is to be added with.
func wrapsWith(e engine.Epoch, s *epochStore, r *roster.Roster, p *peers, id wire.DeviceID) ([32]byte, bool) {
	if e != nil {
		for leaf := range s.members(e) {
			if leaf.ID == id {
				return leaf.TransportKey, true
			}
		}
	}
	if p := p.of[id]; p != nil && p.transport != nil {
		return *p.transport, true
	}
	if d := r.Devices[id]; d != nil && d.KeyPackage != nil {
		if kp, err := s.engine.InspectKeyPackage(d.KeyPackage); err == nil {
			if leaf, err := s.deviceOf(engine.Leaf{Credential: kp.Credential, SignatureKey: kp.SignatureKey}); err == nil {
				return leaf.TransportKey, true
			}
		}
	}
	return [32]byte{}, false
}
