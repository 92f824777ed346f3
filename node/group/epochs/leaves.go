package epochs

import (
	"errors"
	"fmt"
	"slices"

	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// leafDevices tells which device has which leaf of an epoch's ratchet tree, by structure
// alone: commits show what they remove and add, and an Add takes the leftmost blank
// leaf (RFC 9420, Section 12.1.1). Nil: blank. It never changes; a commit that leaves
// members alone shares its parent's.
//
// A KeyPackage's word on its device is not checked here: a commit with a false one is
// invalid to every member. But everybody must read it alike.
type leafDevices []*wire.DeviceID

var errBlankLeaf = errors.New("it removes a leaf that nobody has")

// of says whether a device has a leaf.
func (l leafDevices) of(leaf uint32, d wire.DeviceID) bool {
	return uint64(leaf) < uint64(len(l)) && l[leaf] != nil && *l[leaf] == d
}

// LeafOf gives a device's leaf, in a form that tells it from every other leaf that the
// device ever has; nil: it has none.
func (l leafDevices) LeafOf(d wire.DeviceID) *wire.DeviceID {
	if i := slices.IndexFunc(l, func(at *wire.DeviceID) bool { return at != nil && *at == d }); i >= 0 {
		return l[i]
	}
	return nil
}

// change gives the leaves after a commit.
func (l leafDevices) change(info *engine.CommitInfo) (leafDevices, error) {
	if len(info.Added)+len(info.Removes) == 0 {
		return l, nil
	}
	out := slices.Clone(l)
	for _, leaf := range info.Removes {
		if uint64(leaf) >= uint64(len(out)) || out[leaf] == nil {
			return nil, fmt.Errorf("%w: %d", errBlankLeaf, leaf)
		}
		out[leaf] = nil
	}
	at := 0
	for _, credential := range info.Added {
		d, err := identity.ClaimedDevice(credential)
		if err != nil {
			return nil, err
		}
		for at < len(out) && out[at] != nil {
			at++
		}
		if at == len(out) {
			out = append(out, nil)
		}
		out[at] = &d
	}
	return out, nil
}
