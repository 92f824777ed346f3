package group

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// initKeysFor is how long the secrets of a KeyPackage are kept after it led into
// an epoch: another branch may have used it too (docs/ARCHITECTURE.md, What is kept).
const initKeysFor = 7 * 24 * time.Hour

// ownKeyPackage is a KeyPackage of this device, as a row.
type ownKeyPackage struct {
	Public []byte `cbor:"1,keyasint"`
	Secret []byte `cbor:"2,keyasint"`
	Until  uint64 `cbor:"3,keyasint"` // milliseconds since 1970
}

// newKeyPackage draws a KeyPackage and keeps its secrets for as long as it may be
// added to the group.
func (m *Machine) newKeyPackage(now time.Time) (KeyPackage, error) {
	kp, err := m.cfg.Engine.NewKeyPackage(m.cfg.Rand, now, m.own.Signer, m.credential())
	if err != nil {
		return KeyPackage{}, fmt.Errorf("making a KeyPackage: %w", err)
	}
	m.keepKeyPackage(&ownKeyPackage{Public: kp.Public, Secret: kp.Secret}, m.kept(now).Add(keyPackageLifetime))
	return kp, nil
}

// keyPackageVault is the vault of a KeyPackage's secrets. The Welcome that they open is in
// the logs for ever, and with the logged commits it leads to every epoch since: so the
// secrets have to be destroyed, and not only deleted.
func keyPackageVault(hash [32]byte) Vault {
	return sha256.Sum256(append([]byte("panda/keypackage/1\x00"), hash[:]...))
}

func (m *Machine) keepKeyPackage(kp *ownKeyPackage, until time.Time) {
	kp.Until = uint64(until.UnixMilli()) //nolint:gosec // after 1970
	hash := sha256.Sum256(kp.Public)
	m.keyPkgs[hash] = kp
	m.tx.putIn(keyPackageVault(hash), rowKeyPkg+hexed(hash[:]), wire.Marshal(kp))
	m.timers.sooner(timerKeyPackages, until)
}

// keyPackage gives an own KeyPackage whose secrets are here.
func (m *Machine) keyPackage(public []byte) (KeyPackage, bool) {
	kp := m.keyPkgs[sha256.Sum256(public)]
	if kp == nil {
		return KeyPackage{}, false
	}
	return KeyPackage{Public: kp.Public, Secret: kp.Secret}, true
}

// spend notes that a KeyPackage led into an epoch, or is not needed any more.
func (m *Machine) spend(now time.Time, public []byte) {
	kp := m.keyPkgs[sha256.Sum256(public)]
	if until := m.kept(now).Add(initKeysFor); kp != nil && until.Before(time.UnixMilli(int64(kp.Until))) { //nolint:gosec // written by this machine
		m.keepKeyPackage(kp, until)
	}
}

// retireKeyPackages destroys the secrets of those that are past their time. A
// request that still stands is made again with a fresh one.
func (m *Machine) retireKeyPackages(now time.Time) {
	if !m.timers.due(now, timerKeyPackages) {
		return
	}
	m.timers.stop(timerKeyPackages)
	for hash, kp := range m.keyPkgs {
		until := time.UnixMilli(int64(kp.Until)) //nolint:gosec // written by this machine
		if now.Before(until) {
			m.timers.sooner(timerKeyPackages, until)
			continue
		}
		clear(kp.Secret)
		delete(m.keyPkgs, hash)
		m.tx.del(rowKeyPkg + hexed(hash[:]))
		m.tx.drop(keyPackageVault(hash))
		if m.joining.lost(hash) {
			m.tx.fail(Join{}.act(m, m.now, &Outcome{}))
		}
	}
}

// keyPackageAge is how long ago an own KeyPackage was drawn, or seems to have been if it is
// spent. False: its secrets are not here.
func (m *Machine) keyPackageAge(now time.Time, public []byte) (time.Duration, bool) {
	kp := m.keyPkgs[sha256.Sum256(public)]
	if kp == nil {
		return 0, false
	}
	made := time.UnixMilli(int64(kp.Until)).Add(-keyPackageLifetime) //nolint:gosec // written by this machine
	return m.kept(now).Sub(made), true
}

// lapsed says whether the KeyPackage that an operation brought is past its time: its device
// has destroyed the secrets. It is measured from the operation: the lifetime in it is by the
// clock of somebody who is no member yet and has nobody to compare with.
func (it *item) lapsed(now time.Time) bool {
	return it != nil && now.Sub(it.when(now)) > keyPackageLifetime
}
