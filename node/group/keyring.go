package group

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/epochs"
	"github.com/pandanode/pandanode/node/group/roster"
	"github.com/pandanode/pandanode/node/wire"
)

// transportKey is a key that a TKEY entry brought, or the group's first one.
type transportKey struct {
	id         wire.KeyID
	by         *dag.Item // the TKEY; nil for the first key
	superseded bool
	since      *dag.Item // the first TKEY that supersedes it
	idle       bool      // a TKEY brought it that does not count: others may never get that
	wrapped    map[wire.DeviceID]bool
}

// over says whether nobody should send under a key any more.
func (t *transportKey) over() bool { return t.superseded || t.idle && t.by == nil }

// keyring holds the transport keys of this device, and knows what the entries of the set
// say of each key.
//
// Envelopes are sealed under a transport key, which is not derived from any epoch:
// members of one branch must be able to open the commits of the other. A device that
// removes somebody writes a TKEY: a fresh key, wrapped for every device that stays. The
// set of entries alone decides which key is used.
type keyring struct {
	tx      *tx
	cfg     *Config
	group   wire.GroupID
	own     *ownState
	leaf    *leafKeys
	logs    *dag.Logs
	rosters *rosters

	keys  map[wire.KeyID][]byte        // held
	known map[wire.KeyID]*transportKey // held, or named by an entry
	sends sendKey
	left  leftOut
}

// sendKey is the key to send under by one roster.
type sendKey struct {
	roster *roster.Roster
	id     *wire.KeyID // nil: find it again
}

// leftOut is who has no way to a key, and what that was found out of.
type leftOut struct {
	roster  *roster.Roster
	of      *transportKey
	by      *dag.Item
	wraps   int
	devices []wire.DeviceID
}

func newKeyring(tx *tx, cfg *Config, own *ownState, leaf *leafKeys, logs *dag.Logs, rosters *rosters) *keyring {
	return &keyring{
		tx: tx, cfg: cfg, group: cfg.Genesis.ID, own: own, leaf: leaf, logs: logs, rosters: rosters,
		keys: map[wire.KeyID][]byte{}, known: map[wire.KeyID]*transportKey{},
	}
}

func (k *keyring) load() error {
	return k.tx.scan(rowTransKey, func(_ string, v []byte) error {
		k.keys[wire.KeyIDOf(k.group, v)] = bytes.Clone(v)
		return nil
	})
}

// has says whether a key is held.
func (k *keyring) has(id wire.KeyID) bool { return k.keys[id] != nil }

// ids lists the keys held, ascending.
func (k *keyring) ids() []wire.KeyID {
	return slices.SortedFunc(maps.Keys(k.keys), func(a, b wire.KeyID) int { return bytes.Compare(a[:], b[:]) })
}

// note takes a TKEY or TKEY-WRAP of the set into account.
func (k *keyring) note(it *dag.Item) {
	if (it.TKey != nil || it.Wrap != nil) && !k.rosters.at(it).Has(it.Log.Device) {
		return // its author was out
	}
	var id wire.KeyID
	var wraps []wire.Wrap
	switch {
	case (it.TKey != nil || it.Wrap != nil) && !k.logs.Counts(it):
		if it.TKey != nil {
			k.of(it.TKey.ID).idle = true
			k.sends.id = nil
		}
		return
	case it.TKey != nil:
		id, wraps = it.TKey.ID, it.TKey.Wraps
		t := k.of(id)
		if t.by == nil || it.Compare(t.by) < 0 {
			t.by = it
		}
		for _, old := range it.TKey.Supersedes {
			if t := k.of(old); old != id {
				t.superseded = true
				if t.since == nil || it.Compare(t.since) < 0 {
					t.since = it
				}
			}
		}
	case it.Wrap != nil:
		id, wraps = it.Wrap.ID, []wire.Wrap{it.Wrap.Wrap}
	default:
		return
	}
	t := k.of(id)
	t.wrapped[it.Log.Device] = true
	for _, w := range wraps {
		t.wrapped[w.Device] = true
		if w.Device != k.cfg.Device.ID || k.keys[id] != nil {
			continue
		}
		if key, err := k.leaf.unwrap(id, w); err == nil {
			k.take(key)
		}
	}
	k.sends.id = nil
}

// recount derives again what depends on which TKEYs and TKEY-WRAPs count.
func (k *keyring) recount() {
	k.sends.id = nil
	clear(k.known)
	for id := range k.keys {
		k.of(id)
	}
	for _, it := range k.logs.Keys {
		k.note(it)
	}
}

// of gives what is known of a key.
func (k *keyring) of(id wire.KeyID) *transportKey {
	t := k.known[id]
	if t == nil {
		t = &transportKey{id: id, wrapped: map[wire.DeviceID]bool{}}
		k.known[id] = t
	}
	return t
}

// clean says whether a key is known to nobody who is out: it was made by somebody
// who knew of every removal and departure that stands. A group's first key is
// clean while nobody has gone.
func (k *keyring) clean(t *transportKey) bool {
	if t.by != nil && !k.rosters.now.Has(t.by.Log.Device) {
		return false // its author is out
	}
	knew := func(op *dag.Item) bool { return t.by != nil && k.logs.InPast(op, t.by) }
	for _, op := range k.rosters.now.Gone {
		if !knew(op) {
			return false
		}
	}
	for _, op := range k.rosters.now.Revoked {
		if !knew(op) {
			return false
		}
	}
	return true
}

// current is the ID of the key this device sends under: of those it holds,
// the lowest that is clean and not superseded; else, until somebody writes a new
// one, the lowest that is not superseded; else the lowest. False: it holds none.
func (k *keyring) current() (wire.KeyID, bool) {
	if k.sends.id != nil && k.sends.roster == k.rosters.now {
		return *k.sends.id, true
	}
	ids := k.ids()
	if len(ids) == 0 {
		return wire.KeyID{}, false
	}
	best, grade := ids[0], 0
	for _, id := range ids {
		t := k.of(id)
		g := 0
		if !t.over() {
			g = 1
			if k.clean(t) {
				g = 2
			}
		}
		if g > grade {
			best, grade = id, g
		}
	}
	k.sends = sendKey{roster: k.rosters.now, id: &best}
	return best, true
}

// leftOut lists the devices of the roster that have no way to a key: the TKEY has
// no wrap for them, and their addition does not follow it, so that no Welcome
// brought it either.
func (k *keyring) leftOut(t *transportKey) []wire.DeviceID {
	r, l := k.rosters.now, &k.left
	if l.roster == r && l.of == t && l.by == t.by && l.wraps == len(t.wrapped) {
		return l.devices
	}
	*l = leftOut{roster: r, of: t, by: t.by, wraps: len(t.wrapped)}
	for _, id := range r.DeviceIDs() {
		d := r.Devices[id]
		welcomed := d.By != nil && (t.by == nil || k.logs.InPast(t.by, d.By))
		if !t.wrapped[id] && !welcomed && !(t.by == nil && d.By == nil) {
			l.devices = append(l.devices, id)
		}
	}
	return l.devices
}

// drawTransportKey makes a fresh key, which is not held yet.
func drawTransportKey(rand io.Reader) ([]byte, error) {
	key := make([]byte, wire.TransportKeyLen)
	if _, err := io.ReadFull(rand, key); err != nil {
		return nil, fmt.Errorf("drawing a transport key: %w", err)
	}
	return key, nil
}

// maxWrapped is for how many devices one TKEY wraps: it must stay below wire.MaxEntry.
// The others get a TKEY-WRAP each.
const maxWrapped = 2048

// newTKey makes a TKEY: a fresh key for every device of the roster. publicOf gives a
// device's key for transport keys.
func (k *keyring) newTKey(publicOf func(wire.DeviceID) ([32]byte, bool)) (*wire.TKey, []byte, error) {
	key, err := drawTransportKey(k.cfg.Rand)
	if err != nil {
		return nil, nil, err
	}
	tkey := &wire.TKey{ID: wire.KeyIDOf(k.group, key)}
	for id, t := range k.known {
		if !t.superseded && id != tkey.ID {
			tkey.Supersedes = append(tkey.Supersedes, id)
		}
	}
	byID := func(a, b wire.KeyID) int { return bytes.Compare(a[:], b[:]) }
	slices.SortFunc(tkey.Supersedes, byID)
	// Those in use first: anybody can make up others.
	slices.SortStableFunc(tkey.Supersedes, func(a, b wire.KeyID) int {
		return min(1, len(k.keys[b])) - min(1, len(k.keys[a]))
	})
	tkey.Supersedes = tkey.Supersedes[:min(len(tkey.Supersedes), wire.MaxSupersedes)]
	slices.SortFunc(tkey.Supersedes, byID)
	for _, d := range k.rosters.now.DeviceIDs() {
		public, ok := publicOf(d)
		if d == k.cfg.Device.ID || !ok || len(tkey.Wraps) == maxWrapped {
			continue
		}
		w, err := wrap(k.cfg.Rand, k.group, tkey.ID, key, d, public)
		if errors.Is(err, errNoKey) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		tkey.Wraps = append(tkey.Wraps, w)
	}
	return tkey, key, nil
}

// take keeps a key.
func (k *keyring) take(key []byte) {
	id := wire.KeyIDOf(k.group, key)
	if k.keys[id] != nil {
		return
	}
	k.keys[id] = key
	k.of(id)
	k.tx.put(rowTransKey+hexed(id[:]), bytes.Clone(key)) // forget clears the key, maybe before that is written
	k.sends.id = nil
}

// transportFor is how long a superseded key is kept at least: others may not know yet.
const transportFor = 30 * 24 * time.Hour

// retire forgets keys that a TKEY superseded which every live device knows.
// A device that comes back later and still sends under one is heard on streams.
// Their age is by the time kept.
func (k *keyring) retire(now, kept time.Time) {
	c := epochs.Choice{Roster: k.rosters.now, Newest: k.logs.Heard(now)}
	newest := c.Now()
	known := func(by *dag.Item) bool {
		for user, u := range k.rosters.now.Users {
			for _, d := range u.Devices {
				if c.IsLive(user, newest) && !slices.ContainsFunc(k.logs.Lists, func(l *dag.LogList) bool {
					return l.ID.Device == d && k.logs.InPast(by, l.Head())
				}) {
					return false
				}
			}
		}
		return true
	}
	current, _ := k.current()
	for id := range k.keys {
		t := k.of(id)
		if id != current && t.superseded && kept.Sub(t.since.When(now)) > transportFor && known(t.since) {
			k.forget(id)
		}
	}
}

// forget destroys keys that are held: what travelled under them lies in mailboxes and at
// whoever listened.
func (k *keyring) forget(ids ...wire.KeyID) {
	for _, id := range ids {
		clear(k.keys[id])
		delete(k.keys, id)
		k.tx.del(rowTransKey + hexed(id[:]))
		k.tx.drop(rowTransKey + hexed(id[:]))
	}
	k.sends.id = nil
}

// joinSecrets returns the content of a Welcome beside MLS: the keys that are not
// superseded, the one to send under first.
func (k *keyring) joinSecrets(generation uint64) []byte {
	j := wire.JoinSecrets{Generation: generation}
	current, ok := k.current()
	if ok {
		j.TransportKeys = append(j.TransportKeys, k.keys[current])
	}
	for _, id := range k.ids() {
		if id != current && !k.of(id).over() && len(j.TransportKeys) < wire.MaxHandedKeys {
			j.TransportKeys = append(j.TransportKeys, k.keys[id])
		}
	}
	return wire.Marshal(&j)
}
