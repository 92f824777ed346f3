package group

import (
	"io"
	"time"

	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/group/epochs"
	"github.com/pandanode/pandanode/node/identity"
)

// Config has the parts of a machine. All fields are needed.
type Config struct {
	Genesis     *identity.Genesis // checked; its ID is the group's
	Device      *identity.Device  // this device
	LogKey      *identity.Key     // of this device
	Incarnation uint64            // of this device's store: 0 until it is restored, then drawn at random
	Engine      engine.Engine     // MLS
	Rand        io.Reader
	Rows        Rows

	// Retention is how long the commits on an epoch can be followed after this device has
	// left it; 0: 7 days. Forward secrecy begins there: with the logged commits, a thief of
	// the device can derive the keys of every epoch since. The message keys of the epoch
	// itself are destroyed within 48 h.
	Retention time.Duration
	// UpdateEvery is how often this device renews its keys in the group; 0: 30 days.
	UpdateEvery time.Duration

	// Kept is the time by which New destroys old keys and rows: see Machine.Keep. Zero:
	// now.
	Kept time.Time
	// Ends is the time by which what has a date of its own is over. Zero: Kept.
	Ends time.Time

	// Alternative is for measurements of fork choices only. No node sets it.
	Alternative epochs.Alternative
}

const (
	defaultRetention   = 7 * 24 * time.Hour
	defaultUpdateEvery = 30 * 24 * time.Hour
)
