package group

import (
	"bytes"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// Somebody copies a device's files every day. Once a secret's time is over, all the copies
// and the keys of today do not give it away: not the transport keys, with which the headers and
// commits in mailboxes open, and not the keys that open the TKEYs in the log.
func TestSecretsOfBeforeAreDestroyed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 94)
	a, b, x := w.device("anna"), w.device("ben"), w.device("x")
	for _, d := range []*device{a, b} {
		d.disk = &disk{dropped: map[Vault]bool{}}
	}
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.join(x)
	w.run(time.Minute)
	first, _ := b.m.Transport().Key()
	secrets := map[string][]byte{
		"the transport key of before":          bytes.Clone(b.key(first)),
		"the key for transport keys of before": bytes.Clone(b.m.own.Transport),
	}
	b.m.timers.set(timerUpdate, w.now)
	b.must(Tick{}) // ben renews his leaf
	a.must(RemoveUser{User: x.dev.User})
	w.run(5 * time.Minute)
	if bytes.Equal(b.m.own.Transport, secrets["the key for transport keys of before"]) {
		t.Fatal("ben's leaf is not renewed")
	}
	for what, secret := range secrets {
		if !b.disk.holds(secret) {
			t.Fatalf("%s was never on the disk", what)
		}
	}
	for range 4 { // crashes and restarts change nothing
		w.run(25 * 24 * time.Hour)
		b.open()
		a.send("still here")
		b.send("still here")
	}
	w.run(2 * 24 * time.Hour)
	for what, secret := range secrets {
		if b.disk.holds(secret) {
			t.Errorf("after 102 days a copy of an old disk gives away %s", what)
		}
	}
	// The secrets in use are on the disk still, and ben works with them after a restart.
	now, _ := b.m.Transport().Key()
	for what, secret := range map[string][]byte{
		"transport key": b.key(now), "key for transport keys": b.m.own.Transport, "signature key": b.m.own.Signer,
	} {
		if len(secret) == 0 || !b.disk.holds(secret) {
			t.Errorf("the %s in use is not on the disk", what)
		}
	}
	w.agree(a, b)
}

// No key of a group is ever written where only the store's own key seals it.
func TestNoKeyIsOutsideAVault(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 95)
	a, b := w.device("anna"), w.device("ben")
	a.disk, b.disk = &disk{dropped: map[Vault]bool{}}, &disk{dropped: map[Vault]bool{}}
	w.found(a, wire.PolicyOpen)
	w.join(b)
	w.run(time.Minute)
	for _, d := range []*device{a, b} {
		secrets := map[string][]byte{"signature key": d.m.own.Signer, "key for transport keys": d.m.own.Transport}
		for id, key := range d.m.keys.keys {
			secrets["transport key "+hexed(id[:])] = key
		}
		for hash, kp := range d.m.leaf.packages {
			secrets["KeyPackage "+hexed(hash[:])] = kp.Secret
		}
		if len(secrets) < 3 {
			t.Fatalf("%s has %d secrets", d.name, len(secrets))
		}
		for what, secret := range secrets {
			for _, row := range d.disk.rows {
				if row.Vault == (Vault{}) && bytes.Contains(row.Value, secret) {
					t.Errorf("%s: row %q holds the %s and is in no vault", d.name, row.Key, what)
				}
			}
		}
	}
}
