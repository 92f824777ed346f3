package group

import (
	"errors"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/group/roster"
	"github.com/pandanode/pandanode/node/wire"
)

// keepTransport writes what transport keys need: a new one where every key at hand
// is known to somebody who is out, or members wait in vain for one, and wraps for devices
// of the roster that the current one leaves out. At once for those who removed somebody
// themselves, after rank × 2 s for others.
func (m *Machine) keepTransport(now time.Time) {
	n, e := m.position()
	current, ok := m.keys.current()
	if n == nil || !m.own.Joined || !ok {
		m.timers.stop(timerTransport)
		return
	}
	t := m.keys.of(current)
	replace := m.keys.ofNobody(now)
	fresh := t.over() || !m.keys.clean(t) || replace
	if !t.named() && m.keys.complains(now) {
		if !m.timers.running(timerTransport) || m.timers.due(now, timerTransport) {
			m.timers.set(timerTransport, now.Add(complainEvery))
		}
		return // somebody may have made up all that it holds: others give it the group's
	}
	var left []wire.DeviceID
	if !fresh {
		left = slices.DeleteFunc(slices.Clone(m.keys.leftOut(t)), func(d wire.DeviceID) bool { return !m.keys.helps(now, t, d) })
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
		if replace {
			m.keys.replaced = now
		}
		m.tx.fail(m.rotate(now, e))
		return
	}
	wraps := wrapsWith(e, m.epochs, m.rosters.now, m.peers)
	for _, d := range left {
		public, ok := wraps(d)
		if !ok {
			continue
		}
		if m.tx.full() {
			m.timers.set(timerTransport, now) // it goes on with the next turn
			break
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

// complain says which transport key this device cannot open, although by the logs it has a way
// to it: the wrap is rubbish, or a Welcome did not bring it. Any device that holds it
// wraps it again. The complaint is an entry, so that it reaches whoever can help, and it names a key
// under which the answer reaches this device.
func complain(m *Machine, now time.Time) {
	n, _ := m.position()
	if n == nil || !m.own.Joined {
		m.timers.stop(timerComplain)
		return
	}
	id, ok := m.keys.missing()
	if !ok {
		m.timers.stop(timerComplain)
		return
	}
	if !m.timers.running(timerComplain) {
		at := now.Add(complainAfter)
		if next := m.keys.complained.Add(complainEvery); next.After(at) {
			at = next
		}
		m.timers.set(timerComplain, at)
	}
	if !m.timers.due(now, timerComplain) {
		return
	}
	m.timers.stop(timerComplain)
	m.keys.complained = now
	held, _ := m.keys.current()
	if _, err := m.append(now, wire.KindTKeyWrap, &wire.TKeyWrap{ID: id, Wrap: wire.Wrap{Device: m.own.log.Device, Sealed: held[:]}}); err != nil {
		m.tx.fail(err)
		return
	}
	m.tx.emit(now, Event{
		Kind: EventRefused, Device: m.keys.of(id).by.Log.Device,
		Detail: "the transport key that this device brought cannot be opened here: others are asked for it",
	})
	m.peers.ask(now, "a transport key is missing")
}

// rotate writes a TKEY: a fresh key for every device of the roster.
func (m *Machine) rotate(now time.Time, e engine.Epoch) error {
	tkey, key, err := m.keys.newTKey(wrapsWith(e, m.epochs, m.rosters.now, m.peers))
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
func wrapsWith(e engine.Epoch, s *epochStore, r *roster.Roster, p *peers) func(wire.DeviceID) ([32]byte, bool) {
	leaves := map[wire.DeviceID][32]byte{}
	if e != nil {
		for leaf := range s.members(e) {
			leaves[leaf.ID] = leaf.TransportKey
		}
	}
	return func(id wire.DeviceID) ([32]byte, bool) {
		if key, ok := leaves[id]; ok {
			return key, true
		}
		if p := p.of[id]; p != nil && p.transport != nil {
			return *p.transport, true
		}
		if d := r.Device(id); d != nil && d.KeyPackage != nil {
			if kp, err := s.engine.InspectKeyPackage(d.KeyPackage); err == nil {
				if leaf, err := s.deviceOf(engine.Leaf{Credential: kp.Credential, SignatureKey: kp.SignatureKey}); err == nil {
					return leaf.TransportKey, true
				}
			}
		}
		return [32]byte{}, false
	}
}
