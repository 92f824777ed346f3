package group

import (
	"fmt"
	"time"

	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// cameBy is the invite by which this device came in, with its key. The operation that let it
// in may turn out not to count: the member that served it was removed at the same time. Then
// it asks again by the same invite, with another KeyPackage, and any member serves it.
type cameBy struct {
	tx *tx
	id *wire.InviteID // nil: it came in without one, or long ago
}

// cameByFor is how long it is kept: nothing that comes later is likely to undo an addition.
const cameByFor = 30 * 24 * time.Hour

// cameByRow is an invite at rest, secret.
type cameByRow struct {
	Invite wire.Signed `cbor:"1,keyasint"`
	Seed   []byte      `cbor:"2,keyasint"` // of the invite's key
	Since  uint64      `cbor:"3,keyasint"` // milliseconds since 1970, by the time kept
}

func (c *cameBy) load() error {
	return c.tx.durableKeys(rowCameBy, func(key string) error {
		b, err := lastHex(key)
		id := wire.InviteID(b)
		c.id = &id
		return err
	})
}

// keep keeps an invite in the place of the one before.
func (c *cameBy) keep(kept time.Time, id wire.InviteID, in Join) {
	if c.id != nil && *c.id != id {
		c.drop()
	}
	c.id = &id
	c.tx.put(rowCameBy+hexed(id[:]), wire.Marshal(&cameByRow{Invite: *in.Invite, Seed: in.Key.SecretSeed(), Since: uint64(kept.UnixMilli())})) //nolint:gosec // after 1970
}

// row reads what is kept; nil: nothing is.
func (c *cameBy) row() (*cameByRow, error) {
	if c.id == nil {
		return nil, nil
	}
	b, err := c.tx.get(rowCameBy + hexed(c.id[:]))
	if b == nil || err != nil {
		return nil, err
	}
	var row cameByRow
	if err := wire.Unmarshal(b, &row); err != nil {
		return nil, fmt.Errorf("%w: the invite of before: %w", verdict.ErrCorrupt, err)
	}
	return &row, nil
}

// again is a Join by the invite that is kept, or by none.
func (c *cameBy) again() (Join, error) {
	row, err := c.row()
	if row == nil || err != nil {
		return Join{}, err
	}
	key, err := identity.KeyFromSeed(row.Seed)
	clear(row.Seed)
	return Join{Invite: &row.Invite, Key: key}, err
}

// retire drops an invite whose time is over.
func (c *cameBy) retire(kept time.Time) error {
	row, err := c.row()
	if row != nil && kept.Sub(time.UnixMilli(int64(row.Since))) > cameByFor { //nolint:gosec // written here
		c.drop()
	}
	return err
}

func (c *cameBy) drop() {
	if c.id != nil {
		key := rowCameBy + hexed(c.id[:])
		c.tx.del(key)
		c.tx.drop(key)
		c.id = nil
	}
}
