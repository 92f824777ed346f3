package group

import (
	"bytes"
	"crypto/ecdh"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/cloudflare/circl/hpke"

	"github.com/pandanode/pandanode/node/wire"
)

// Envelopes are sealed under a transport key, which is not derived from any epoch:
// members of one branch must be able to open the commits of the other. Whoever
// removes somebody writes a TKEY: a fresh key, wrapped for every device that
// stays. What decides is the set of entries alone.

// transportKey is a key that a TKEY entry brought, or the group's first one.
type transportKey struct {
	id         wire.KeyID
	by         *item // the TKEY; nil for the first key
	superseded bool
	since      *item // the first TKEY that supersedes it
	idle       bool  // a TKEY brought it that does not count: others may never get that
	wrapped    map[wire.DeviceID]bool
}

// over says whether nobody should send under a key any more.
func (t *transportKey) over() bool { return t.superseded || t.idle && t.by == nil }

var wrapSuite = hpke.NewSuite(hpke.KEM_X25519_HKDF_SHA256, hpke.KDF_HKDF_SHA256, hpke.AEAD_AES128GCM)

// wrapInfo binds a wrap to its group, key and receiver.
func (m *Machine) wrapInfo(id wire.KeyID, to wire.DeviceID) []byte {
	return slices.Concat([]byte(wire.DomainTransportKey), []byte{0}, m.group[:], id[:], to[:])
}

// errNoKey says that what a device calls its key for transport keys is none: a point of
// low order, with which nobody can agree on anything. It is its loss alone.
var errNoKey = errors.New("nothing can be wrapped for it")

// wrap seals a transport key to a device: HPKE, base mode (RFC 9180), enc before
// the ciphertext.
func (m *Machine) wrap(id wire.KeyID, key []byte, to wire.DeviceID, public [32]byte) (wire.Wrap, error) {
	pk, err := hpke.KEM_X25519_HKDF_SHA256.Scheme().UnmarshalBinaryPublicKey(public[:])
	if err != nil {
		return wire.Wrap{}, fmt.Errorf("wrapping a transport key: %w", err)
	}
	sender, err := wrapSuite.NewSender(pk, m.wrapInfo(id, to))
	if err != nil {
		return wire.Wrap{}, fmt.Errorf("wrapping a transport key: %w", err)
	}
	enc, sealer, err := sender.Setup(m.cfg.Rand)
	if errors.Is(err, hpke.ErrInvalidKEMSharedSecret) {
		return wire.Wrap{}, fmt.Errorf("wrapping a transport key for device %v: %w", to, errNoKey)
	}
	if err != nil {
		return wire.Wrap{}, fmt.Errorf("wrapping a transport key: %w", err)
	}
	sealed, err := sealer.Seal(key, nil)
	if err != nil {
		return wire.Wrap{}, fmt.Errorf("wrapping a transport key: %w", err)
	}
	return wire.Wrap{Device: to, Sealed: append(enc, sealed...)}, nil
}

// unwrap opens a wrap for this device. A wrong one is nobody's loss but its own.
func (m *Machine) unwrap(id wire.KeyID, w wire.Wrap) ([]byte, error) {
	key, err := m.unwrapWith(m.own.Transport, id, w)
	for _, old := range slices.Backward(m.own.Replaced) {
		if err == nil {
			break
		}
		key, err = m.unwrapWith(old.Key, id, w)
	}
	return key, err
}

func (m *Machine) unwrapWith(private []byte, id wire.KeyID, w wire.Wrap) ([]byte, error) {
	scheme := hpke.KEM_X25519_HKDF_SHA256.Scheme()
	if len(w.Sealed) < scheme.CiphertextSize() {
		return nil, fmt.Errorf("transport key: %w: wrap of %d bytes", wire.ErrMalformed, len(w.Sealed))
	}
	sk, err := scheme.UnmarshalBinaryPrivateKey(private)
	if err != nil {
		return nil, fmt.Errorf("transport key: %w: %w", ErrCorrupt, err)
	}
	receiver, err := wrapSuite.NewReceiver(sk, m.wrapInfo(id, m.log.Device))
	if err != nil {
		return nil, fmt.Errorf("transport key: %w", err)
	}
	opener, err := receiver.Setup(w.Sealed[:scheme.CiphertextSize()])
	if err != nil {
		return nil, fmt.Errorf("transport key: %w: %w", ErrForged, err)
	}
	key, err := opener.Open(w.Sealed[scheme.CiphertextSize():], nil)
	if err != nil {
		return nil, fmt.Errorf("transport key: %w: %w", ErrForged, err)
	}
	if len(key) != wire.TransportKeyLen || wire.KeyIDOf(m.group, key) != id {
		return nil, fmt.Errorf("transport key: %w: it is not the key it is called", ErrForged)
	}
	return key, nil
}

// noteTransport takes a TKEY or TKEY-WRAP of the set into account.
func (m *Machine) noteTransport(it *item) {
	if (it.tkey != nil || it.wrap != nil) && !m.rosters.at(it).has(it.log.Device) {
		return // its author was out
	}
	var id wire.KeyID
	var wraps []wire.Wrap
	switch {
	case (it.tkey != nil || it.wrap != nil) && !m.logs.counts(it):
		if it.tkey != nil {
			m.tkeyOf(it.tkey.ID).idle = true
			m.sendKey = nil
		}
		return
	case it.tkey != nil:
		id, wraps = it.tkey.ID, it.tkey.Wraps
		t := m.tkeyOf(id)
		if t.by == nil || it.compare(t.by) < 0 {
			t.by = it
		}
		for _, old := range it.tkey.Supersedes {
			if t := m.tkeyOf(old); old != id {
				t.superseded = true
				if t.since == nil || it.compare(t.since) < 0 {
					t.since = it
				}
			}
		}
	case it.wrap != nil:
		id, wraps = it.wrap.ID, []wire.Wrap{it.wrap.Wrap}
	default:
		return
	}
	t := m.tkeyOf(id)
	t.wrapped[it.log.Device] = true
	for _, w := range wraps {
		t.wrapped[w.Device] = true
		if w.Device != m.log.Device || m.transport[id] != nil {
			continue
		}
		if key, err := m.unwrap(id, w); err == nil {
			m.takeTransportKey(key)
		}
	}
	m.sendKey = nil
}

// recountTransport derives again what depends on which TKEYs and TKEY-WRAPs count.
func (m *Machine) recountTransport() {
	clear(m.tkeys)
	for id := range m.transport {
		m.tkeyOf(id)
	}
	for _, it := range m.logs.keys {
		m.noteTransport(it)
	}
}

func (m *Machine) tkeyOf(id wire.KeyID) *transportKey {
	t := m.tkeys[id]
	if t == nil {
		t = &transportKey{id: id, wrapped: map[wire.DeviceID]bool{}}
		m.tkeys[id] = t
	}
	return t
}

// clean says whether a key is known to nobody who is out: it was made by somebody
// who knew of every removal and departure that stands. A group's first key is
// clean while nobody has gone.
func (m *Machine) clean(t *transportKey) bool {
	if t.by != nil && !m.roster.has(t.by.log.Device) {
		return false // its author is out
	}
	knew := func(op *item) bool { return t.by != nil && m.logs.inPast(op, t.by) }
	for _, op := range m.roster.gone {
		if !knew(op) {
			return false
		}
	}
	for _, op := range m.roster.revoked {
		if !knew(op) {
			return false
		}
	}
	return true
}

// TransportKey is the ID of the key this device sends under: of those it holds,
// the lowest that is clean and not superseded; else, until somebody writes a new
// one, the lowest that is not superseded; else the lowest. False: it holds none.
func (m *Machine) TransportKey() (wire.KeyID, bool) {
	if m.sendKey != nil {
		return *m.sendKey, true
	}
	ids := slices.SortedFunc(maps.Keys(m.transport), func(a, b wire.KeyID) int { return bytes.Compare(a[:], b[:]) })
	if len(ids) == 0 {
		return wire.KeyID{}, false
	}
	best, grade := ids[0], 0
	for _, id := range ids {
		t := m.tkeyOf(id)
		g := 0
		if !t.over() {
			g = 1
			if m.clean(t) {
				g = 2
			}
		}
		if g > grade {
			best, grade = id, g
		}
	}
	m.sendKey = &best
	return best, true
}

// keepTransport writes what transport keys need: a new one where every key at hand
// is known to somebody who is out, and wraps for devices of the roster that the
// current one leaves out. At once for those who removed somebody themselves, after
// rank × 2 s for others.
func (m *Machine) keepTransport(now time.Time) {
	if n, _ := m.position(); n == nil || !m.own.Joined {
		return
	}
	current, ok := m.TransportKey()
	if !ok {
		return
	}
	t := m.tkeyOf(current)
	fresh := t.over() || !m.clean(t)
	var left []wire.DeviceID
	if !fresh {
		if m.left.roster != m.roster || m.left.of != t || m.left.by != t.by || m.left.wraps != len(t.wrapped) {
			m.left = leftOut{roster: m.roster, of: t, by: t.by, wraps: len(t.wrapped), devices: m.leftOut(t)}
		}
		left = m.left.devices
	}
	if !fresh && len(left) == 0 {
		m.timers.stop(timerTransport)
		return
	}
	if !m.timers.running(timerTransport) {
		m.timers.set(timerTransport, now)
		if !fresh || !m.removedSomebody() {
			m.timers.set(timerTransport, now.Add(rankStep+m.rank()*rankStep))
		}
	}
	if !m.timers.due(now, timerTransport) {
		return
	}
	m.timers.set(timerTransport, now.Add(time.Minute)) // if it fails, or leaves somebody out
	if fresh {
		m.tx.fail(m.rotate(now))
		return
	}
	for _, d := range left {
		public, ok := m.transportOf(d)
		if !ok {
			continue
		}
		w, err := m.wrap(current, m.transport[current], d, public)
		if errors.Is(err, errNoKey) {
			continue
		}
		if err == nil {
			_, err = m.append(now, wire.KindTKeyWrap, &wire.TKeyWrap{ID: current, Wrap: w})
		}
		m.tx.fail(err)
	}
}

// removedSomebody says whether this device wrote an operation that takes somebody out.
func (m *Machine) removedSomebody() bool {
	mine := func(op *item) bool { return op.log == m.log }
	return slices.ContainsFunc(slices.Collect(maps.Values(m.roster.gone)), mine) ||
		slices.ContainsFunc(slices.Collect(maps.Values(m.roster.revoked)), mine)
}

// maxWrapped is for how many devices one TKEY wraps: it must stay below wire.MaxEntry.
// The others get a TKEY-WRAP each.
const maxWrapped = 2048

// rotate writes a TKEY: a fresh key for every device of the roster.
func (m *Machine) rotate(now time.Time) error {
	key := make([]byte, wire.TransportKeyLen)
	if _, err := io.ReadFull(m.cfg.Rand, key); err != nil {
		return fmt.Errorf("drawing a transport key: %w", err)
	}
	tkey := &wire.TKey{ID: wire.KeyIDOf(m.group, key)}
	for id, t := range m.tkeys {
		if !t.superseded && id != tkey.ID {
			tkey.Supersedes = append(tkey.Supersedes, id)
		}
	}
	byID := func(a, b wire.KeyID) int { return bytes.Compare(a[:], b[:]) }
	slices.SortFunc(tkey.Supersedes, byID)
	// Those in use first: anybody can make up others.
	slices.SortStableFunc(tkey.Supersedes, func(a, b wire.KeyID) int {
		return min(1, len(m.transport[b])) - min(1, len(m.transport[a]))
	})
	tkey.Supersedes = tkey.Supersedes[:min(len(tkey.Supersedes), wire.MaxSupersedes)]
	slices.SortFunc(tkey.Supersedes, byID)
	for _, d := range m.roster.deviceIDs() {
		public, ok := m.transportOf(d)
		if d == m.log.Device || !ok || len(tkey.Wraps) == maxWrapped {
			continue
		}
		w, err := m.wrap(tkey.ID, key, d, public)
		if errors.Is(err, errNoKey) {
			continue
		}
		if err != nil {
			return err
		}
		tkey.Wraps = append(tkey.Wraps, w)
	}
	old := m.sendKey
	if _, err := m.append(now, wire.KindTKey, tkey); err != nil {
		return err
	}
	m.takeTransportKey(key)
	// What is published now still travels under the key that everybody has.
	m.outgoing.under = old
	return nil
}

// leftOut is what Machine.leftOut found, and of what.
type leftOut struct {
	roster  *roster
	of      *transportKey
	by      *item
	wraps   int
	devices []wire.DeviceID
}

// leftOut lists the devices of the roster that have no way to a key: the TKEY has
// no wrap for them, and their addition does not follow it, so that no Welcome
// brought it either.
func (m *Machine) leftOut(t *transportKey) []wire.DeviceID {
	var out []wire.DeviceID
	for _, id := range m.roster.deviceIDs() {
		d := m.roster.devices[id]
		welcomed := d.by != nil && (t.by == nil || m.logs.inPast(t.by, d.by))
		if !t.wrapped[id] && !welcomed && !(t.by == nil && d.by == nil) {
			out = append(out, id)
		}
	}
	return out
}

// transportOf is the key under which a device of the roster takes transport keys: from
// the credential of its leaf, which it renews with its other keys, else from its newest
// beacon, else from the KeyPackage that it is to be added with.
func (m *Machine) transportOf(id wire.DeviceID) ([32]byte, bool) {
	if _, e := m.position(); e != nil {
		for _, l := range e.Leaves() {
			if leaf, err := m.deviceOf(l); err == nil && leaf.ID == id {
				return leaf.TransportKey, true
			}
		}
	}
	if p := m.peers.of[id]; p != nil && p.transport != nil {
		return *p.transport, true
	}
	if d := m.roster.devices[id]; d != nil && d.keyPackage != nil {
		if kp, err := m.cfg.Engine.InspectKeyPackage(d.keyPackage); err == nil {
			if leaf, err := m.deviceOf(Leaf{Credential: kp.Credential, SignatureKey: kp.SignatureKey}); err == nil {
				return leaf.TransportKey, true
			}
		}
	}
	return [32]byte{}, false
}

// unwrapFor is how long a private key for transport keys is kept once it is replaced:
// who was away wraps for it.
const unwrapFor = 90 * 24 * time.Hour

// replaceTransport has another private key for transport keys from now on.
func (m *Machine) replaceTransport(now time.Time, key []byte) {
	m.own.Replaced = append(m.own.Replaced, oldKey{Key: m.own.Transport, Until: uint64(m.kept(now).Add(unwrapFor).UnixMilli())}) //nolint:gosec // after 1970
	m.own.Transport = key
	m.saveOwn()
}

// retireReplaced destroys the private keys for transport keys that are too old.
func (m *Machine) retireReplaced(now time.Time) {
	before := len(m.own.Replaced)
	m.own.Replaced = slices.DeleteFunc(m.own.Replaced, func(k oldKey) bool {
		old := now.After(time.UnixMilli(int64(k.Until))) //nolint:gosec // written by this machine
		if old {
			clear(k.Key)
		}
		return old
	})
	if len(m.own.Replaced) != before {
		m.saveOwn()
	}
}

// transportPublic is the key under which others wrap transport keys for this device.
func (m *Machine) transportPublic() [32]byte { return m.publicOf(m.own.Transport) }

func (m *Machine) publicOf(transport []byte) [32]byte {
	k, err := ecdh.X25519().NewPrivateKey(transport)
	if err != nil {
		m.tx.fail(fmt.Errorf("%w: key for transport keys: %w", ErrCorrupt, err))
		return [32]byte{}
	}
	return [32]byte(k.PublicKey().Bytes())
}

// takeTransportKey keeps a key.
func (m *Machine) takeTransportKey(key []byte) {
	id := wire.KeyIDOf(m.group, key)
	if m.transport[id] != nil {
		return
	}
	m.transport[id] = key
	m.tkeyOf(id)
	m.tx.put(rowTransKey+hexed(id[:]), key)
	m.sendKey = nil
}

// transportFor is how long a superseded key is kept at least: others may not know yet.
const transportFor = 30 * 24 * time.Hour

// retireTransport forgets keys that a TKEY superseded which every live device knows.
// Who comes back later and still sends under one is heard on streams.
func (m *Machine) retireTransport(now time.Time) {
	c := choice{roster: m.roster, newest: m.logs.heard(m.now)}
	newest := c.now()
	known := func(by *item) bool {
		for user, u := range m.roster.users {
			for _, d := range u.devices {
				if c.isLive(user, newest) && !slices.ContainsFunc(m.logs.lists, func(l *logList) bool {
					return l.id.Device == d && m.logs.inPast(by, l.head())
				}) {
					return false
				}
			}
		}
		return true
	}
	current, _ := m.TransportKey()
	for id := range m.transport {
		t := m.tkeyOf(id)
		if id != current && t.superseded && now.Sub(t.since.when(m.now)) > transportFor && known(t.since) {
			delete(m.transport, id)
			m.tx.del(rowTransKey + hexed(id[:]))
			m.sendKey = nil
		}
	}
}

// joinSecrets is what a Welcome carries beside MLS: the keys that are not
// superseded, the one to send under first.
func (m *Machine) joinSecrets(generation uint64) []byte {
	j := wire.JoinSecrets{Generation: generation}
	current, ok := m.TransportKey()
	if ok {
		j.TransportKeys = append(j.TransportKeys, m.transport[current])
	}
	for _, id := range slices.SortedFunc(maps.Keys(m.transport), func(a, b wire.KeyID) int { return bytes.Compare(a[:], b[:]) }) {
		if id != current && !m.tkeyOf(id).over() && len(j.TransportKeys) < wire.MaxHandedKeys {
			j.TransportKeys = append(j.TransportKeys, m.transport[id])
		}
	}
	return wire.Marshal(&j)
}
