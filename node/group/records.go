package group

import (
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"math"
	"strings"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// records are the messages whose RECORDs are in the set, and which devices each of them
// is for.
type records struct {
	logs    *dag.Logs
	rosters *rosters
	self    *wire.LogID // this device's log
}

// record gives the item of a message; nil if its RECORD is not here.
func (r records) record(id wire.MessageID) *dag.Item {
	if it := r.logs.Items.At(id); it != nil && it.Kind == wire.KindRecord {
		return it
	}
	return nil
}

// readable says whether a message's plaintext is durable here.
func (r records) readable(id wire.MessageID) bool {
	it := r.record(id)
	return it != nil && it.Facts.Has(dag.IsPlain)
}

// all are all messages there are RECORDs of, in no order.
func (r records) all() iter.Seq[*dag.Item] {
	return func(yield func(*dag.Item) bool) {
		for it := range r.logs.Items.All() {
			if it.Kind == wire.KindRecord && !yield(it) {
				return
			}
		}
	}
}

// byTime is the order of messages whose RECORDs are here.
func (r records) byTime(a, b wire.MessageID) int { return r.record(a).Compare(r.record(b)) }

// owed says whether a RECORD must reach this device: it was not written before the device
// came in, its author could write to the group, and nothing that the group had not heard
// speaks against it (docs/AUTHORITY.md, Messages).
func (r records) owed(it *dag.Item) bool { return r.couldBeOwed(it) && r.rosters.now.Stands(it) }

// couldBeOwed says whether a RECORD must reach this device if the group had heard it before
// what speaks against it.
func (r records) couldBeOwed(it *dag.Item) bool {
	return !it.Facts.Has(dag.IsTaken) && r.rosters.now.Has(r.self.Device) && !r.beforeJoinPoint(it) && r.logs.Counts(it) && r.maySpeak(it)
}

// maySpeak says whether the author of a RECORD could write to the group in the
// RECORD's own past: a member, and not one who may only read. It never changes.
func (r records) maySpeak(it *dag.Item) bool {
	if !it.Facts.Has(dag.Speaks | dag.Mute) {
		can := dag.Mute
		if r.rosters.Speaks(it) {
			can = dag.Speaks
		}
		it.Note(can)
	}
	return it.Facts.Has(dag.Speaks)
}

// beforeJoinPoint says whether a RECORD was written before this device came in.
func (r records) beforeJoinPoint(it *dag.Item) bool {
	d := r.rosters.now.Device(r.self.Device)
	return d != nil && d.By != nil && r.logs.InPast(it, d.By)
}

// mayRead says whether a device is in the audience of a RECORD: it was written
// after the device came in, or concurrently.
func (r records) mayRead(d wire.DeviceID, it *dag.Item) bool {
	in := r.rosters.now.Device(d)
	return in != nil && it != nil && (in.By == nil || !r.logs.InPast(it, in.By))
}

// durableMessages is what the keys of rows say of messages.
type durableMessages struct {
	plain, delivered []wire.MessageID
	seals            map[wire.MessageID]uint8
	sealed           map[wire.MessageID][]wire.EpochID // by this device
	targets          map[wire.MessageID]bool           // of sayings
	deleted, gone    []wire.MessageID                  // some deletion is about them; they are erased
	earlier          []wire.MessageID
}

// scanMessages finds out what is durable of messages, by keys alone. It touches nothing
// that packs.load does: New runs both at once, and then notes what it found.
func scanMessages(t *tx, self wire.DeviceID) (durableMessages, error) {
	about := min(t.cursor, 1<<20) // every message that was shown is an event
	d := durableMessages{
		plain: make([]wire.MessageID, 0, about), delivered: make([]wire.MessageID, 0, about),
		seals: make(map[wire.MessageID]uint8, about), sealed: map[wire.MessageID][]wire.EpochID{},
		targets: map[wire.MessageID]bool{},
	}
	return d, errors.Join(
		t.durableKeys(rowPlain, func(key string) error {
			id, err := lastHex(key)
			d.plain = append(d.plain, wire.MessageID(id))
			return err
		}),
		t.durableKeys(rowIndex, func(key string) error {
			id, err := lastHex(key)
			d.delivered = append(d.delivered, wire.MessageID(id))
			return err
		}),
		t.durableKeys(rowAbout, func(key string) error {
			target, err := targetOf(key)
			if d.targets[target] = true; strings.Contains(key, "/"+saysDelete+"/") {
				d.deleted = append(d.deleted, target)
			}
			return err
		}),
		t.durableKeys(rowGone, func(key string) error {
			id, err := lastHex(key)
			d.gone = append(d.gone, wire.MessageID(id))
			return err
		}),
		t.durableKeys(rowEarlier, func(key string) error {
			id, err := lastHex(key)
			d.earlier = append(d.earlier, wire.MessageID(id))
			return err
		}),
		t.durableKeys(rowSeal, func(key string) error {
			message, epoch, sealer, err := splitSealKey(key)
			if err != nil {
				return err
			}
			d.seals[message] = min(d.seals[message], math.MaxUint8-1) + 1
			if sealer == self {
				d.sealed[message] = append(d.sealed[message], epoch)
			}
			return nil
		}),
	)
}

func splitSealKey(key string) (wire.MessageID, wire.EpochID, wire.DeviceID, error) {
	parts := strings.Split(strings.TrimPrefix(key, rowSeal), "/")
	var ids [3]wire.Hash
	if len(parts) != len(ids) {
		return wire.MessageID{}, wire.EpochID{}, wire.DeviceID{}, fmt.Errorf("%w: key %q", verdict.ErrCorrupt, key)
	}
	for i, p := range parts {
		b, err := hex.DecodeString(p)
		if err != nil || len(b) != len(ids[i]) {
			return wire.MessageID{}, wire.EpochID{}, wire.DeviceID{}, fmt.Errorf("%w: key %q", verdict.ErrCorrupt, key)
		}
		ids[i] = wire.Hash(b)
	}
	return wire.MessageID(ids[0]), wire.EpochID(ids[1]), wire.DeviceID(ids[2]), nil
}

// isErased says whether nothing is left of a message, or nothing will ever be here.
func isErased(it *dag.Item) bool {
	return it.Facts.Has(dag.IsTaken) && it.Facts.Has(dag.IsDelivered) && !it.Facts.Has(dag.IsPlain)
}
