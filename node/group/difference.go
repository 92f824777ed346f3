package group

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/group/epochs"
	"github.com/pandanode/pandanode/node/group/roster"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// difference lists the changes by which a commit makes the tree equal to the roster.
type difference struct {
	removes []uint32
	adds    [][]byte
	ops     []wire.EntryHash
	rejoins []wire.Signed
	gate    bool // somebody who is out of the roster is in the tree: nobody seals
	mine    bool // an operation of this device is among them
	size    int  // of what is added, about, in a COMMIT
	more    bool // not all that is to be added fits into one
}

// maxAdded bounds what one COMMIT adds, in bytes: with the path through a large tree it
// must stay below wire.MaxEntry. The next ones add the others.
const maxAdded = 128 << 10

// fits says whether so much more can be added in the same commit.
func (d *difference) fits(size int) bool {
	if size += 256; d.size > 0 && d.size+size > maxAdded { // its place in the Welcome
		d.more = true
		return false
	}
	d.size += size
	return true
}

func (d difference) empty() bool { return len(d.removes)+len(d.adds) == 0 }

// differ compares the tree at the position with the roster. It keeps the last difference
// until something that it was computed from changes.
type differ struct {
	engine   engine.Engine
	deviceOf func(engine.Leaf) (*identity.Leaf, error) // that a leaf's credential proves
	unusable map[[32]byte]bool                         // KeyPackages, by hash, that no commit can add

	last     *difference // at position by roster; nil: find it again
	position *epochs.Node
	roster   *roster.Roster
}

// changed says that other devices ask to be added again than did.
func (d *differ) changed() { d.last = nil }

// leaveOut leaves a KeyPackage, without which a commit can be made, out of all commits.
func (d *differ) leaveOut(keyPackage []byte) {
	d.unusable[sha256.Sum256(keyPackage)] = true
	d.last = nil
}

// usable says whether a KeyPackage that an operation brought may be added now. by: nil of
// one whose device asks with it by itself.
func (d *differ) usable(now time.Time, keyPackage []byte, by *dag.Item) bool {
	return !d.unusable[sha256.Sum256(keyPackage)] && !by.Lapsed(now) && d.engine.CheckLifetime(keyPackage, now) == nil
}

// compare returns the difference between the tree of an epoch at a position and the roster.
// again lists the devices that ask to be added again.
func (d *differ) compare(now time.Time, own wire.LogID, position *epochs.Node, e engine.Epoch, r *roster.Roster, again func() []*rejoin) (difference, error) {
	if d.last == nil || d.position != position || d.roster != r {
		found, err := d.find(now, own, position, e, r, again())
		d.last, d.position, d.roster = &found, position, r
		return found, err
	}
	return *d.last, nil
}

func (d *differ) find(now time.Time, own wire.LogID, position *epochs.Node, e engine.Epoch, r *roster.Roster, rejoins []*rejoin) (out difference, err error) {
	in := map[wire.DeviceID]bool{}
	cite := func(op *dag.Item) {
		if op != nil {
			out.ops = append(out.ops, op.Hash)
			out.mine = out.mine || op.Log == own
		}
	}
	again, waits := map[wire.DeviceID]*rejoin{}, map[wire.DeviceID]bool{}
	for _, q := range rejoins {
		if !d.usable(now, q.KeyPackage, nil) {
			continue
		}
		waits[q.Device] = true
		if !out.fits(2 * len(q.KeyPackage)) { // it is in the request too
			continue
		}
		again[q.Device] = q
		out.adds = append(out.adds, q.KeyPackage)
		out.rejoins = append(out.rejoins, q.raw)
	}
	for _, l := range e.Leaves() {
		device, err := d.deviceOf(l)
		if err != nil {
			return out, fmt.Errorf("%w: a leaf at the position: %w", verdict.ErrCorrupt, err)
		}
		if again[device.ID] != nil {
			out.removes = append(out.removes, l.Index) // RFC 9420, Section 12.2: its new leaf comes in the same commit
			continue
		}
		if r.Has(device.ID) {
			in[device.ID] = true
			continue
		}
		out.gate = true
		out.removes = append(out.removes, l.Index)
		cite(cmp.Or(r.Gone(device.User), r.Revoked(device.ID)))
	}
	for _, id := range r.DeviceIDs() {
		wants := r.Device(id)
		if in[id] || waits[id] || wants.KeyPackage == nil || position.Used(wants.KeyPackage) || !d.usable(now, wants.KeyPackage, wants.By) || !out.fits(len(wants.KeyPackage)) {
			continue
		}
		out.adds = append(out.adds, wants.KeyPackage)
		cite(wants.By)
	}
	slices.SortFunc(out.ops, func(a, b wire.EntryHash) int { return bytes.Compare(a[:], b[:]) })
	out.ops = slices.Compact(out.ops)
	return out, nil
}

// plan is the next commit of this device, as far as it is known.
type plan struct {
	updateAt   *epochs.Node // the position that timerUpdate was planned at
	unfinished wire.EpochID // made by an own commit that could not hold all there was to add; not durable
}
