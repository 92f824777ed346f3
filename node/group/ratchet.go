package group

import (
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// A sender's ratchet can run away from a device that was not there: it follows for
// mls.MaxForward generations, and the seals between may be of messages that it has and
// does not ask for. Or it has skipped more keys than it keeps. Then no seal under this
// epoch helps it, and what is new from that sender it cannot read either. All ratchets
// begin anew with the next epoch, so it makes one, by renewing its keys.

// outOfReachAfter is how long no seal of a sealer has opened when its ratchet is taken to
// be out of reach. While this device catches up there are always some that do.
const outOfReachAfter = 3 * time.Minute

// renewAgainAfter is how often it renews its keys for that at the most: a hostile sealer
// can make it believe so.
const renewAgainAfter = time.Hour

// ratchets are those of senders whose seals do not open. They are not durable.
type ratchets struct {
	since   map[wire.DeviceID]time.Time // by sealer, as the seals' labels say
	renewed time.Time                   // when the keys were last renewed for it
}

func newRatchets() ratchets { return ratchets{since: map[wire.DeviceID]time.Time{}} }

// note notes that a seal did not open for want of its key.
func (r *ratchets) note(now time.Time, sealer wire.DeviceID) {
	if r.since[sealer].IsZero() {
		r.since[sealer] = now
	}
}

// inReach notes that a seal of a sealer did open.
func (r *ratchets) inReach(sealer wire.DeviceID) { delete(r.since, sealer) }

// restart notes that all ratchets begin anew, or that what did not open is here.
func (r *ratchets) restart() { clear(r.since) }
