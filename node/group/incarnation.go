package group

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/epochs"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// A store can go back in time: a backup is restored, or a disk is. Its owner may
// say so, by a new Config.Incarnation, or the group's other members do, by holding
// entries of this device's log that it does not know. Either way it begins a log
// of its own anew, since it cannot know which sequence numbers are used, and it
// seals nothing before it has committed new keys, since it cannot know which
// message keys are.

// incarnate finds the log to write, given being what the store's owner says. known: there was
// a row.
func (o *ownState) incarnate(given uint64, known bool) {
	if o.Given != given || !known {
		o.Renew = known
		o.Given, o.Incarnation = given, given
		o.save()
	}
}

// detectRollback looks whether an entry that arrived is this device's own and unknown to it.
func (m *Machine) detectRollback(now time.Time, s *dag.SignedEntry) {
	if s.Entry.Log() != m.own.log || identity.Verify(m.cfg.LogKey.Public(), wire.DomainEntry, m.own.group, s.Signed) != nil {
		return
	}
	var b [8]byte
	if _, err := io.ReadFull(m.cfg.Rand, b[:]); err != nil {
		m.tx.fail(fmt.Errorf("drawing an incarnation: %w", err))
		return
	}
	m.own.Incarnation, m.own.Renew = binary.BigEndian.Uint64(b[:]), true
	m.own.log.Incarnation = m.own.Incarnation
	m.own.save()
	why := "its store went back in time, or a copy of it wrote that"
	if crdt.HLC(s.Entry.HLC).Time().After(m.twins.started) {
		why = "it is dated after this node started, so that a copy of this device wrote it"
	}
	m.tx.emit(now, Event{
		Kind: EventIncarnation, Device: m.own.log.Device,
		Detail: fmt.Sprintf("others hold entry %d of this device's log, which it does not know: %s", s.Entry.Seq, why),
	})
}

// A device that runs twice looks like one whose store went back: others hold entries that
// it did not write. But lost entries were written before this node started, and know
// nothing of those that it wrote since.

const (
	twinRecent  = time.Hour        // after the last sign of a twin, the two do not hurry
	twinTell    = 10 * time.Minute // from one event to the next
	twinAhead   = time.Minute      // an entry dated further ahead was written with a wrong clock, and shows nothing
	twinLockout = 15 * time.Minute // at the most, before asking to be added again
)

// TwinSeen says that another node was seen that runs as this device.
type TwinSeen struct{}

func (TwinSeen) act(m *Machine, now time.Time, _ *Outcome) error { //nolint:unparam // as every input
	m.twins.seen = now
	return nil
}

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

// mustRenew says whether message keys of the epoch at n may have been used before
// the store went back: this log has made no commit on the chain to it.
func (m *Machine) mustRenew(n *epochs.Node) bool {
	if !m.own.Renew {
		return false
	}
	for ; n != nil; n = n.Parent {
		for _, claim := range n.Claims {
			if claim.Log == m.own.log {
				return false
			}
		}
	}
	return true
}
