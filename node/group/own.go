package group

import (
	"fmt"

	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// ownState is what this device is in the group, apart from entries and keys: the group, the
// log that it writes, and a row.
type ownState struct {
	ownRow
	leafSecrets

	group wire.GroupID
	log   wire.LogID

	tx      *tx
	changed bool
}

// leafSecrets are the secrets of this device's own leaf. Each has a row in a vault of its own.
type leafSecrets struct {
	Signer    []byte       // MLS signature key
	Transport []byte       // X25519 private key for TKEYs
	Replaced  []wrapKeyRow // those that Transport has replaced, the next to go first: others may not know its successor
}

// load reads the row, and says whether there is one.
func (o *ownState) load() (bool, error) {
	b, err := o.tx.get(rowOwn)
	if b == nil || err != nil {
		return false, err
	}
	if err := wire.Unmarshal(b, &o.ownRow); err != nil {
		return false, fmt.Errorf("%w: %w", verdict.ErrCorrupt, err)
	}
	return true, nil
}

// save has the row in the next transaction, as it is at the end of the Step.
func (o *ownState) save() { o.changed = true }

func (o *ownState) flush() {
	if o.changed || o.Cursor != o.tx.cursor {
		o.changed, o.Cursor = false, o.tx.cursor
		o.tx.put(rowOwn, wire.Marshal(&o.ownRow))
	}
}
