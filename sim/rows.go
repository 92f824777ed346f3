package sim

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/group"
)

// errVault says that a row lies in a vault whose keys were destroyed.
var errVault = errors.New("the vault of this row is gone")

// disk holds the durable rows of one machine, copied, and the vaults that they are sealed
// in. It is group.Rows. A Ready is applied whole or not at all, as the store's transactions
// are.
type disk struct {
	rows   map[string]*durable
	index  map[string][]string // first part of the key → keys, ascending
	vaults map[group.Vault]*vault
	bytes  int
	writes int
}

type durable struct {
	value []byte
	vault *vault
	at    time.Time
}

// vault is a key under which rows are sealed. A vault of one name can be made again after
// it was dropped; the rows in the old one stay unreadable.
type vault struct {
	name    group.Vault
	made    time.Time
	rows    int // in it
	dropped bool
}

func newDisk() *disk {
	return &disk{rows: map[string]*durable{}, index: map[string][]string{}, vaults: map[group.Vault]*vault{}}
}

func bucket(key string) string {
	if i := strings.IndexByte(key, '/'); i >= 0 {
		return key[:i+1]
	}
	return key
}

// Get gives the value of a row, nil if there is none.
func (d *disk) Get(key string) ([]byte, error) {
	r := d.rows[key]
	switch {
	case r == nil:
		return nil, nil
	case r.vault.dropped:
		return nil, fmt.Errorf("%w: %q", errVault, key)
	}
	return bytes.Clone(r.value), nil
}

// Scan goes through the rows with a prefix, ascending by key.
func (d *disk) Scan(prefix string, fn func(key string, value []byte) error) error {
	keys := d.index[bucket(prefix)]
	from, _ := slices.BinarySearch(keys, prefix)
	for _, k := range keys[from:] {
		if !strings.HasPrefix(k, prefix) {
			break
		}
		if d.rows[k].vault.dropped {
			return fmt.Errorf("%w: %q", errVault, k)
		}
		if err := fn(k, d.rows[k].value); err != nil {
			return err
		}
	}
	return nil
}

// apply tells of rows that cannot be read any more, since their vault is gone.
func (d *disk) apply(now time.Time, r group.Ready) (stranded []string) {
	for _, w := range r.Writes {
		d.remove(w.Key)
		if w.Value == nil {
			continue
		}
		b := bucket(w.Key)
		keys := d.index[b]
		if n := len(keys); n == 0 || keys[n-1] < w.Key {
			d.index[b] = append(keys, w.Key)
		} else if at, found := slices.BinarySearch(keys, w.Key); !found {
			d.index[b] = slices.Insert(keys, at, w.Key)
		}
		v := d.vaults[w.Vault]
		if v == nil || v.dropped {
			v = &vault{name: w.Vault, made: now}
			d.vaults[w.Vault] = v
		}
		d.rows[w.Key] = &durable{value: bytes.Clone(w.Value), vault: v, at: now}
		v.rows++
		d.bytes += len(w.Key) + len(w.Value)
		d.writes++
	}
	for _, v := range r.Drop {
		if old := d.vaults[v]; old != nil {
			old.dropped = true
			delete(d.vaults, v)
			if old.rows > 0 {
				stranded = append(stranded, fmt.Sprintf("%d of vault %.4x", old.rows, v[:]))
			}
		}
	}
	return stranded
}

func (d *disk) remove(key string) {
	old := d.rows[key]
	if old == nil {
		return
	}
	d.bytes -= len(key) + len(old.value)
	old.vault.rows--
	delete(d.rows, key)
	b := bucket(key)
	if at, found := slices.BinarySearch(d.index[b], key); found {
		d.index[b] = slices.Delete(d.index[b], at, at+1)
	}
}

// clone is a backup. Values are never changed in place, so they are shared.
func (d *disk) clone() *disk {
	c := newDisk()
	for _, b := range sortedKeys(d.index) {
		c.index[b] = slices.Clone(d.index[b])
		for _, k := range d.index[b] {
			r := d.rows[k]
			v := c.vaults[r.vault.name]
			if v == nil {
				v = &vault{name: r.vault.name, made: r.vault.made, dropped: r.vault.dropped}
				c.vaults[v.name] = v
			}
			c.rows[k] = &durable{value: r.value, vault: v, at: r.at}
			v.rows++
			c.bytes += len(k) + len(r.value)
		}
	}
	return c
}

// backedUp is what a backup of the disk brings back: no keys of epochs, and no vaults.
func (d *disk) backedUp() *disk {
	c := d.clone()
	for _, b := range sortedKeys(c.index) {
		for _, k := range slices.Clone(c.index[b]) {
			if !group.InBackup(k) {
				c.remove(k)
			}
		}
	}
	return c
}

// digest is a canonical hash of all rows; without words, of all but the rows of events.
func (d *disk) digest(words bool) [32]byte {
	h := sha256.New()
	for _, b := range sortedKeys(d.index) {
		for _, k := range d.index[b] {
			r := d.rows[k]
			if !words && strings.HasPrefix(k, "event/") {
				continue
			}
			fmt.Fprintf(h, "%d %s %x %t %d ", len(k), k, r.vault.name, r.vault.dropped, len(r.value))
			h.Write(r.value)
		}
	}
	return [32]byte(h.Sum(nil))
}

// size is how many bytes the rows with a prefix have.
func (d *disk) size(prefix string) (n int) {
	for _, k := range d.under(prefix) {
		n += len(k) + len(d.rows[k].value)
	}
	return n
}

// under gives the keys with a prefix, ascending.
func (d *disk) under(prefix string) []string {
	keys := d.index[bucket(prefix)]
	from, _ := slices.BinarySearch(keys, prefix)
	to := from
	for to < len(keys) && strings.HasPrefix(keys[to], prefix) {
		to++
	}
	return keys[from:to]
}
