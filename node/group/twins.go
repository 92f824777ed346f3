package group

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/wire"
)

// A device that runs twice looks like one whose store went back: others hold entries that
// it did not write. But lost entries were written before this node started, and know
// nothing of those that it wrote since.

const (
	twinRecent  = time.Hour        // after the last sign of a twin, the two do not hurry
	twinTell    = 10 * time.Minute // from one event to the next
	twinAhead   = time.Minute      // an entry dated further ahead was written with a wrong clock, and shows nothing
	twinLockout = 15 * time.Minute // at the most, before asking to be added again
)

// twins is what this device knows of another node that runs as the same device.
type twins struct {
	tx   *tx
	logs *dag.Logs
	own  wire.DeviceID

	started  time.Time   // this machine
	firsts   []*dag.Item // the first entry that it wrote, of each log
	seen     time.Time   // the last sign of a twin; zero: there was none
	told     time.Time   // when an event said so
	lockouts int         // times that this device was left behind since then
}

// wrote notes an entry that this machine wrote.
func (t *twins) wrote(it *dag.Item) {
	if !slices.ContainsFunc(t.firsts, func(f *dag.Item) bool { return f.Log == it.Log && f.List == it.List }) {
		t.firsts = append(t.firsts, it)
	}
}

// since says whether an entry of this device was written after this machine started: it
// knows what the machine wrote, or its author's clock says so, and not that of somebody
// whom it had read.
func (t *twins) since(now time.Time, it *dag.Item, e *wire.Entry) bool {
	if slices.ContainsFunc(t.firsts, func(own *dag.Item) bool { return t.logs.InPast(own, it) }) {
		return true
	}
	read := t.started
	for _, h := range append([]wire.EntryHash{e.Prev}, e.Deps...) {
		if named := t.logs.Items.At(h); named != nil && named.HLC.Time().After(read) {
			read = named.HLC.Time()
		}
	}
	return it.HLC.Time().After(read) && it.HLC.Ahead(now) < twinAhead
}

// came looks whether an entry that came is this device's and was written since this machine
// started: by another node, then.
func (t *twins) came(now time.Time, it *dag.Item, e *wire.Entry) {
	if it.Log.Device != t.own || !t.since(now, it, e) {
		return
	}
	t.seen = now
	if now.Sub(t.told) < twinTell {
		return
	}
	t.told = now
	t.tx.emit(now, Event{
		Kind: EventTwin, User: it.User, Device: it.Log.Device,
		Detail: fmt.Sprintf("it wrote a %v at %s, which this node did not", it.Kind, stamp(it.HLC.Time())),
	})
}

// lockedOut is how long this device waits, left behind by the group's keys, before it asks
// to be added again. Two that run as one device take its leaf from each other: each time
// they wait longer, so that the group is not kept busy for ever by two who cannot both win.
func (t *twins) lockedOut(now time.Time) time.Duration {
	if t.seen.IsZero() || now.Sub(t.seen) > twinRecent {
		t.lockouts = 0
		return rejoinWait
	}
	t.lockouts++
	return min(rejoinWait<<min(t.lockouts, 16), twinLockout)
}

// rejoinFor is how long one request to be added again is asked with: for as long as it
// takes, but where somebody else may have asked as this device, a twin of it, or itself
// before its store went back (renewed). Others go by the newest of a device and hear no
// older one.
func (t *twins) rejoinFor(now time.Time, renewed bool) time.Duration {
	switch {
	case !t.seen.IsZero() && now.Sub(t.seen) < 2*twinRecent:
		return twinLockout
	case !t.seen.IsZero() || renewed:
		return rejoinRenew
	}
	return math.MaxInt64
}
