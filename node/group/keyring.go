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

// transportKey is a key that a TKEY brought.
type transportKey struct {
	id         wire.KeyID
	by         *dag.Item // the TKEY; nil: none that counts
	superseded bool
	since      *dag.Item // the first TKEY that supersedes it
	idle       bool      // a TKEY brought it that does not count: others may never get that
	wrapped    map[wire.DeviceID]bool
	wraps      []*dag.Item                 // the TKEYs and TKEY-WRAPs that wrap it
	lacks      map[wire.DeviceID]*dag.Item // the newest TKEY-WRAP with which a device says that it cannot open it
}

// over says whether nobody should send under a key any more.
func (t *transportKey) over() bool { return t.superseded || t.idle && t.by == nil }

// named says whether the logs know a key. A Welcome can bring others, which whoever serves the
// join made up: nobody sends under those, nor hands them on.
func (t *transportKey) named() bool { return t.by != nil || t.idle }

// wrapsFor says whether an entry wraps a key for a device.
func wrapsFor(it *dag.Item, d wire.DeviceID) bool {
	if it.Wrap != nil {
		return it.Wrap.Wrap.Device == d
	}
	return slices.ContainsFunc(it.TKey.Wraps, func(w wire.Wrap) bool { return w.Device == d })
}

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

	complained time.Time // when this device last said that it lacks one; not durable
	replaced   time.Time // when it last replaced one that nobody holds; not durable
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
	entries int // of the set that say something of keys
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
	if (it.TKey != nil || it.Wrap != nil) && !k.rosters.wasIn(it) {
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
	k.sends.id = nil
	if it.Wrap != nil && it.Wrap.Wrap.Device == it.Log.Device { // it says that it cannot open the key
		if last := t.lacks[it.Log.Device]; last == nil || it.Compare(last) > 0 {
			t.lacks[it.Log.Device] = it
		}
		return
	}
	t.wraps = append(t.wraps, it)
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
		t = &transportKey{id: id, wrapped: map[wire.DeviceID]bool{}, lacks: map[wire.DeviceID]*dag.Item{}}
		k.known[id] = t
	}
	return t
}

// clean says whether a key is known to nobody who is out: it was made by somebody
// who knew of every removal and departure that stands.
func (k *keyring) clean(t *transportKey) bool {
	if t.by == nil || !k.rosters.now.Has(t.by.Log.Device) {
		return false // the logs do not know it, or its author is out
	}
	knew := func(op *dag.Item) bool { return k.logs.InPast(op, t.by) }
	for op := range k.rosters.now.Departures() {
		if !knew(op) {
			return false
		}
	}
	return true
}

// current is the ID of the key this device sends under: of those it holds,
// the lowest that is clean and not superseded; else, until somebody writes a new
// one, the lowest that is not superseded; else the lowest that the logs know; else, until
// they do, the lowest. False: it holds none.
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
		g := 0
		switch t := k.of(id); {
		case !t.over() && k.clean(t):
			g = 3
		case !t.over() && t.named():
			g = 2
		case t.named():
			g = 1
		}
		if g > grade {
			best, grade = id, g
		}
	}
	k.sends = sendKey{roster: k.rosters.now, id: &best}
	return best, true
}

// leftOut lists the other devices of the roster that have no way to a key.
func (k *keyring) leftOut(t *transportKey) []wire.DeviceID {
	r, l := k.rosters.now, &k.left
	if l.roster == r && l.of == t && l.entries == len(k.logs.Keys) {
		return l.devices
	}
	*l = leftOut{roster: r, of: t, entries: len(k.logs.Keys)}
	for _, id := range r.DeviceIDs() {
		if id != k.cfg.Device.ID && !k.served(t, id) {
			l.devices = append(l.devices, id)
		}
	}
	return l.devices
}

// served says whether a device of the roster has a way to a key, as far as the logs say: an
// entry wraps the key for it, or its addition follows the TKEY, so that a Welcome brought it.
// Once it has said that it cannot open the key, only a wrap of somebody helps that it did not
// know of then. A user whose wrap it knew of does not count: a hostile one could answer each
// complaint, before anybody else does, with rubbish.
func (k *keyring) served(t *transportKey, id wire.DeviceID) bool {
	complaint := t.lacks[id]
	if complaint == nil {
		d := k.rosters.now.Device(id)
		return t.wrapped[id] || d != nil && d.By != nil && t.by != nil && k.logs.InPast(t.by, d.By)
	}
	tried := map[wire.UserID]bool{}
	for _, it := range t.wraps {
		if wrapsFor(it, id) && k.logs.InPast(it, complaint) {
			tried[it.User] = true
		}
	}
	return slices.ContainsFunc(t.wraps, func(it *dag.Item) bool {
		return !tried[it.User] && wrapsFor(it, id) && !k.logs.InPast(it, complaint)
	})
}

// wrapAgainAfter is how long after a wrap of its own, of which a device complained, this one
// makes another: that device may have other keys by now. It may also complain for ever.
const wrapAgainAfter = 30 * 24 * time.Hour

// helps says whether a wrap of a key by this device could help a device that is left out. Dates
// that lie ahead are not believed: each complaint could be dated further ahead than the last.
func (k *keyring) helps(now time.Time, t *transportKey, id wire.DeviceID) bool {
	complaint := t.lacks[id]
	return complaint == nil || !slices.ContainsFunc(t.wraps, func(it *dag.Item) bool {
		return it.Log.Device == k.cfg.Device.ID && wrapsFor(it, id) &&
			(!k.logs.InPast(it, complaint) || complaint.Since(now).Sub(it.Since(now)) < wrapAgainAfter)
	})
}

// missing gives a key that others may send under and that did not come to this device,
// although by the logs it has a way to it. False: there is none.
func (k *keyring) missing() (wire.KeyID, bool) {
	var best *transportKey
	for id, t := range k.known {
		if !k.has(id) && t.by != nil && !t.over() && (best == nil || bytes.Compare(id[:], best.id[:]) < 0) &&
			k.clean(t) && k.served(t, k.cfg.Device.ID) {
			best = t
		}
	}
	if best == nil {
		return wire.KeyID{}, false
	}
	return best.id, true
}

// Times between complaints of a key that this device cannot open.
const (
	complainAfter = time.Minute      // what repairs it may be on its way
	complainEvery = 10 * time.Minute // a hostile member can bring any number of such keys
)

// enoughComplain is how many users have to say for some time that they cannot open a key before
// one of them replaces it; fewer, if there are no more but the user that brought it.
const enoughComplain = 3

// replaceEvery is how long a device waits that replaced such a key before it replaces another:
// a hostile member can bring any number of them.
const replaceEvery = time.Hour

// ofNobody says whether there is a key that has to be replaced: this device said that it cannot
// open it, others did, and for some time nobody has helped. A key that this device holds is
// none, whoever complains of it.
func (k *keyring) ofNobody(now time.Time) bool {
	if now.Sub(k.replaced) < replaceEvery {
		return false
	}
	for id, t := range k.known {
		if !k.has(id) && t.by != nil && !t.over() && k.clean(t) && k.waits(now, t, k.cfg.Device.ID) && k.enoughWait(now, t) {
			return true
		}
	}
	return false
}

// waits says whether a device has said for some time that it cannot open a key.
func (k *keyring) waits(now time.Time, t *transportKey, d wire.DeviceID) bool {
	it := t.lacks[d]
	return it != nil && now.Sub(it.Since(now)) >= complainEvery && !k.served(t, d)
}

// enoughWait says whether enough users wait for a key, beside the one that brought it.
func (k *keyring) enoughWait(now time.Time, t *transportKey) bool {
	others, wait := 0, 0
	for u := range k.rosters.now.Users() {
		if u.ID == t.by.User {
			continue
		}
		others++
		if slices.ContainsFunc(u.Devices, func(d wire.DeviceID) bool { return k.waits(now, t, d) }) {
			wait++
		}
	}
	return wait >= min(enoughComplain, others)
}

// complainFor is how long a device that holds no key of the group's waits for one. Then it
// makes one.
const complainFor = time.Hour

// complains says whether this device waits for a key of the group's.
func (k *keyring) complains(now time.Time) bool {
	if _, ok := k.missing(); ok {
		return true // it will complain
	}
	for _, t := range k.known {
		if it := t.lacks[k.cfg.Device.ID]; it != nil && !k.has(t.id) && it.Since(now).Add(complainFor).After(now) {
			return true
		}
	}
	return false
}

// unnamed lists the keys held that the logs do not know.
func (k *keyring) unnamed() (out []wire.KeyID) {
	for _, id := range k.ids() {
		if !k.of(id).named() {
			out = append(out, id)
		}
	}
	return out
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
		for u := range k.rosters.now.Users() {
			for _, d := range u.Devices {
				if c.IsLive(u.ID, newest) && !slices.ContainsFunc(k.logs.Lists, func(l *dag.LogList) bool {
					return l.ID.Device == d && k.logs.InPast(by, l.Head())
				}) {
					return false
				}
			}
		}
		return true
	}
	current, _ := k.current()
	if made := k.unnamed(); len(made) < len(k.keys) { // the logs are here, and name others
		k.forget(made...)
	}
	for id := range k.keys {
		t := k.of(id)
		if id != current && t.superseded && kept.Sub(k.logs.NotBefore(t.since, now)) > transportFor && known(t.since) {
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

// joinSecrets returns the content of a Welcome beside MLS: the keys that the logs know and
// that are not superseded, the one to send under first.
func (k *keyring) joinSecrets(root wire.EpochID) []byte {
	j := wire.JoinSecrets{Root: root}
	current, ok := k.current()
	if ok && k.of(current).named() {
		j.TransportKeys = append(j.TransportKeys, k.keys[current])
	}
	for _, id := range k.ids() {
		if t := k.of(id); id != current && !t.over() && t.named() && len(j.TransportKeys) < wire.MaxHandedKeys {
			j.TransportKeys = append(j.TransportKeys, k.keys[id])
		}
	}
	return wire.Marshal(&j)
}
