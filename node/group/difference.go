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
	room    int  // for what is added
	more    bool // not all that is to be changed fits into one
}

// Bounds on what one COMMIT holds, in bytes. Its path has to fit, whatever it does: so nobody
// is added to a tree through which no path would fit any more, until devices have renewed
// their keys in it. For what is added is the room that a path leaves, or what is needed for
// one. The next commits add and remove the others.
const (
	maxPath  = wire.MaxEntry - 64<<10
	maxAdded = 128 << 10
)

// makeRoom sets how much can be added beside a path of so many bytes.
func (d *difference) makeRoom(path int) { d.room = min(maxAdded, wire.MaxEntry-32<<10-path) }

// fits says whether so much more can be added in the same commit.
func (d *difference) fits(size int) bool {
	if size += 256; d.size > 0 && d.size+size > d.room { // its place in the Welcome
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
	checked  map[[32]byte]time.Time                    // KeyPackages, by hash, that could be added then

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

// checkAgain is how long a KeyPackage that may be added is not looked at again: its signatures
// hold for ever, and its lifetime is of months.
const checkAgain = time.Hour

// maxChecked is how many of them are remembered.
const maxChecked = 8 << 10

// usable says whether a KeyPackage that an operation brought may be added now. by: nil of
// one whose device asks with it by itself.
func (d *differ) usable(now time.Time, keyPackage []byte, by *dag.Item) bool {
	hash := sha256.Sum256(keyPackage)
	if d.unusable[hash] || by.Lapsed(now) {
		return false
	}
	if at, ok := d.checked[hash]; ok && !now.Before(at) && now.Sub(at) < checkAgain {
		return true
	}
	if d.engine.CheckLifetime(keyPackage, now) != nil {
		return false
	}
	if len(d.checked) >= maxChecked {
		clear(d.checked)
	}
	d.checked[hash] = now
	return true
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
	nodes, path := e.PathSize(nil)
	each := path / (nodes + 16) // a node that a path is sealed to, about
	for _, q := range rejoins {
		if !d.usable(now, q.KeyPackage, nil) {
			continue
		}
		waits[q.Device] = true
		if out.makeRoom(path); !out.fits(2 * len(q.KeyPackage)) { // it is in the request too
			continue
		}
		path += 16 * each // its old leaf's path is blank
		again[q.Device] = q
		out.adds = append(out.adds, q.KeyPackage)
		out.rejoins = append(out.rejoins, q.raw)
	}
	var gone []leafOut
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
		gone = append(gone, leafOut{l.Index, cmp.Or(r.Gone(device.User), r.Revoked(device.ID))})
	}
	for _, l := range gone[:out.takeOut(gone, e)] {
		cite(l.by)
	}
	_, path = e.PathSize(out.removes)
	out.makeRoom(path)
	for _, id := range r.DeviceIDs() {
		wants := r.Device(id)
		if in[id] || waits[id] || wants.KeyPackage == nil || position.Used(wants.KeyPackage) || !d.usable(now, wants.KeyPackage, wants.By) {
			continue
		}
		if path += each; path > maxPath || !out.fits(len(wants.KeyPackage)) {
			out.more = true
			continue
		}
		out.adds = append(out.adds, wants.KeyPackage)
		cite(wants.By)
	}
	slices.SortFunc(out.ops, func(a, b wire.EntryHash) int { return bytes.Compare(a[:], b[:]) })
	out.ops = slices.Compact(out.ops)
	out.ops = out.ops[:min(len(out.ops), wire.MaxOps)]
	return out, nil
}

// leafOut is a leaf whose device is not in the roster, and what took it out.
type leafOut struct {
	leaf uint32
	by   *dag.Item
}

// takeOut has as many of these leaves taken out as leave a path that fits, at least one, and
// gives how many.
func (d *difference) takeOut(gone []leafOut, e engine.Epoch) (n int) {
	before := len(d.removes)
	for n = len(gone); n > 0; n /= 2 {
		d.removes = d.removes[:before]
		for _, l := range gone[:n] {
			d.removes = append(d.removes, l.leaf)
		}
		if _, path := e.PathSize(d.removes); path <= maxPath || n == 1 {
			return n
		}
		d.more = true
	}
	return 0
}

// plan is the next commit of this device, as far as it is known.
type plan struct {
	updateAt   *epochs.Node // the position that timerUpdate was planned at
	unfinished wire.EpochID // made by an own commit that could not hold all there was to add; not durable
}
