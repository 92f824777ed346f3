package group

import (
	"bytes"
	"cmp"
	"crypto/ecdh"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/group/epochs"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// leafKeys are the secrets behind this device's leaves in ratchet trees: those of its own
// leaf, and those of its KeyPackages.
type leafKeys struct {
	tx       *tx
	timers   *timers
	cfg      *Config
	own      *ownState
	packages map[[32]byte]*ownKeyPackage // by hash
}

// draw makes the keys of a device that has none yet.
func (k *leafKeys) draw() error {
	secret, public, err := k.cfg.Engine.NewSigner(k.cfg.Rand)
	if err != nil {
		return fmt.Errorf("drawing a leaf's signature key: %w", err)
	}
	transport, err := k.newPrivate()
	if err != nil {
		return err
	}
	k.own.Signer, k.own.Public, k.own.Transport = secret, public, transport
	k.tx.put(rowSigner+hexed(public), bytes.Clone(secret))
	k.putWrapKey(wrapKeyRow{Key: transport})
	k.own.save()
	return nil
}

// putWrapKey writes a private key for transport keys.
func (k *leafKeys) putWrapKey(row wrapKeyRow) {
	public := k.publicOf(row.Key)
	k.tx.put(rowWrapKey+hexed(public[:]), wire.Marshal(&row))
}

// load reads the secrets of the leaf and the KeyPackages.
func (k *leafKeys) load() error {
	k.own.leafSecrets = leafSecrets{}
	signer, err := k.tx.get(rowSigner + hexed(k.own.Public))
	if err != nil {
		return err
	}
	k.own.Signer = bytes.Clone(signer)
	if err := k.tx.scan(rowWrapKey, func(_ string, v []byte) error {
		row := wrapKeyRow{}
		if err := wire.Unmarshal(v, &row); err != nil {
			return fmt.Errorf("%w: %w", verdict.ErrCorrupt, err)
		}
		if row.Until == 0 {
			k.own.Transport = row.Key
		} else {
			k.own.Replaced = append(k.own.Replaced, row)
		}
		return nil
	}); err != nil {
		return err
	}
	if k.own.Signer == nil || k.own.Transport == nil {
		return fmt.Errorf("%w: the keys of this device's leaf are gone", verdict.ErrCorrupt)
	}
	slices.SortStableFunc(k.own.Replaced, func(a, b wrapKeyRow) int { return cmp.Compare(a.Until, b.Until) })
	return k.tx.scan(rowKeyPkg, func(_ string, v []byte) error {
		kp := &ownKeyPackage{}
		if err := wire.Unmarshal(v, kp); err != nil {
			return fmt.Errorf("%w: %w", verdict.ErrCorrupt, err)
		}
		k.packages[sha256.Sum256(kp.Public)] = kp
		k.timers.sooner(timerKeyPackages, time.UnixMilli(int64(kp.Until))) //nolint:gosec // written by this machine
		return nil
	})
}

// newPrivate draws a private key for transport keys.
func (k *leafKeys) newPrivate() ([]byte, error) {
	private := make([]byte, 32)
	if _, err := io.ReadFull(k.cfg.Rand, private); err != nil {
		return nil, fmt.Errorf("drawing a key for transport keys: %w", err)
	}
	return private, nil
}

// credential is this device's for a leaf of the group.
func (k *leafKeys) credential() []byte { return k.credentialWith(k.own.Transport) }

// credentialWith is the same with another private key for transport keys.
func (k *leafKeys) credentialWith(transport []byte) []byte {
	return identity.NewCredential(k.cfg.Device, k.cfg.LogKey, k.cfg.Genesis.ID, k.cfg.Engine.Suite(), k.own.Public, k.publicOf(transport))
}

// unwrap opens a wrap for this device. A wrong one is nobody's loss but its own.
func (k *leafKeys) unwrap(id wire.KeyID, w wire.Wrap) ([]byte, error) {
	key, err := unwrap(k.own.Transport, k.cfg.Genesis.ID, id, k.cfg.Device.ID, w)
	for _, old := range slices.Backward(k.own.Replaced) {
		if err == nil {
			break
		}
		key, err = unwrap(old.Key, k.cfg.Genesis.ID, id, k.cfg.Device.ID, w)
	}
	return key, err
}

// unwrapFor is how long a private key for transport keys is kept once it is replaced:
// devices that were away wrap for it.
const unwrapFor = 90 * 24 * time.Hour

// replace has another private key for transport keys from now on.
func (k *leafKeys) replace(now time.Time, key []byte) {
	old := wrapKeyRow{Key: k.own.Transport, Until: uint64(k.timers.kept(now).Add(unwrapFor).UnixMilli())} //nolint:gosec // after 1970
	k.own.Replaced, k.own.Transport = append(k.own.Replaced, old), key
	k.putWrapKey(old)
	k.putWrapKey(wrapKeyRow{Key: key})
}

// retireReplaced destroys the private keys for transport keys that are too old.
func (k *leafKeys) retireReplaced(now time.Time) {
	k.own.Replaced = slices.DeleteFunc(k.own.Replaced, func(o wrapKeyRow) bool {
		old := now.After(time.UnixMilli(int64(o.Until))) //nolint:gosec // written by this machine
		if old {
			public := k.publicOf(o.Key)
			k.tx.del(rowWrapKey + hexed(public[:]))
			k.tx.drop(rowWrapKey + hexed(public[:]))
			clear(o.Key)
		}
		return old
	})
}

// public is the key under which others wrap transport keys for this device.
func (k *leafKeys) public() [32]byte { return k.publicOf(k.own.Transport) }

func (k *leafKeys) publicOf(transport []byte) [32]byte {
	private, err := ecdh.X25519().NewPrivateKey(transport)
	if err != nil {
		k.tx.fail(fmt.Errorf("%w: key for transport keys: %w", verdict.ErrCorrupt, err))
		return [32]byte{}
	}
	return [32]byte(private.PublicKey().Bytes())
}

// initKeysFor is how long the secrets of a KeyPackage are kept after it led into
// an epoch: another branch may have used it too (docs/ARCHITECTURE.md, What is kept).
const initKeysFor = 7 * 24 * time.Hour

// ownKeyPackage is a KeyPackage of this device, as a row.
type ownKeyPackage struct {
	Public []byte `cbor:"1,keyasint"`
	Secret []byte `cbor:"2,keyasint"`
	Until  uint64 `cbor:"3,keyasint"` // milliseconds since 1970
}

// newPackage draws a KeyPackage and keeps its secrets for as long as it may be
// added to the group.
func (k *leafKeys) newPackage(now time.Time) (engine.KeyPackage, error) {
	kp, err := k.cfg.Engine.NewKeyPackage(k.cfg.Rand, now, k.own.Signer, k.credential())
	if err != nil {
		return engine.KeyPackage{}, fmt.Errorf("making a KeyPackage: %w", err)
	}
	k.keep(&ownKeyPackage{Public: kp.Public, Secret: kp.Secret}, k.timers.kept(now).Add(engine.KeyPackageLifetime))
	return kp, nil
}

// keep keeps a KeyPackage until a time. The Welcome that its secrets open is in the logs for
// ever, and with the logged commits it leads to every epoch since: so the secrets have to be
// destroyed, and not only deleted.
func (k *leafKeys) keep(kp *ownKeyPackage, until time.Time) {
	kp.Until = uint64(until.UnixMilli()) //nolint:gosec // after 1970
	hash := sha256.Sum256(kp.Public)
	k.packages[hash] = kp
	k.tx.put(rowKeyPkg+hexed(hash[:]), wire.Marshal(kp))
	k.timers.sooner(timerKeyPackages, until)
}

// keyPackage gives an own KeyPackage whose secrets are here.
func (k *leafKeys) keyPackage(public []byte) (engine.KeyPackage, bool) {
	return k.byHash(sha256.Sum256(public))
}

// holds says whether the secrets of a KeyPackage are here.
func (k *leafKeys) holds(hash [32]byte) bool { return k.packages[hash] != nil }

// byHash gives an own KeyPackage whose secrets are here.
func (k *leafKeys) byHash(hash [32]byte) (engine.KeyPackage, bool) {
	kp := k.packages[hash]
	if kp == nil {
		return engine.KeyPackage{}, false
	}
	return engine.KeyPackage{Public: kp.Public, Secret: kp.Secret}, true
}

// spend notes that a KeyPackage led into an epoch, or is not needed any more.
func (k *leafKeys) spend(now time.Time, public []byte) {
	kp := k.packages[sha256.Sum256(public)]
	if until := k.timers.kept(now).Add(initKeysFor); kp != nil && until.Before(time.UnixMilli(int64(kp.Until))) { //nolint:gosec // written by this machine
		k.keep(kp, until)
	}
}

// retirePackages destroys the secrets of those KeyPackages that are past their time, and
// gives their hashes.
func (k *leafKeys) retirePackages(now time.Time) (gone [][32]byte) {
	if !k.timers.due(now, timerKeyPackages) {
		return nil
	}
	k.timers.stop(timerKeyPackages)
	for _, hash := range slices.SortedFunc(maps.Keys(k.packages), func(a, b [32]byte) int { return bytes.Compare(a[:], b[:]) }) {
		kp := k.packages[hash]
		until := time.UnixMilli(int64(kp.Until)) //nolint:gosec // written by this machine
		if now.Before(until) {
			k.timers.sooner(timerKeyPackages, until)
			continue
		}
		clear(kp.Secret)
		delete(k.packages, hash)
		k.tx.del(rowKeyPkg + hexed(hash[:]))
		k.tx.drop(rowKeyPkg + hexed(hash[:]))
		gone = append(gone, hash)
	}
	return gone
}

// age is how long ago an own KeyPackage was drawn, or seems to have been if it is
// spent. False: its secrets are not here.
func (k *leafKeys) age(now time.Time, public []byte) (time.Duration, bool) {
	kp := k.packages[sha256.Sum256(public)]
	if kp == nil {
		return 0, false
	}
	made := time.UnixMilli(int64(kp.Until)).Add(-engine.KeyPackageLifetime) //nolint:gosec // written by this machine
	return k.timers.kept(now).Sub(made), true
}

// addedBy says whether the commit that makes a node adds this device, by a KeyPackage whose
// secrets are here.
func (k *leafKeys) addedBy(n *epochs.Node) bool {
	adds, d := n.Adds(), k.cfg.Device.ID
	return len(adds) > 0 && n.Leaves.LeafOf(d) != n.Parent.Leaves.LeafOf(d) && slices.ContainsFunc(adds, k.holds)
}
