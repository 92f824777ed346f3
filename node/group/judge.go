package group

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// judge says which commits of others are followed: such as are valid MLS and do what the
// roster of their own past wants.
type judge struct {
	read            reader
	rosters         *rosters
	deviceOf        func(Leaf) (*identity.Leaf, error) // that a leaf's credential proves
	checkCredential CheckCredential
	rejoins         func(*roster, *item) (map[wire.DeviceID]*rejoin, error) // that a COMMIT cites, checked
}

// derive derives the child of an epoch held here, if the commit is valid MLS,
// by the device that signed the entry, and does to the tree only what the roster
// resolved from the commit's own past wants.
func (j judge) derive(parent Parent, n *node) (Epoch, error) {
	if n.info() == nil {
		return nil, fmt.Errorf("%w: a root cannot be derived", ErrInvalidCommit)
	}
	claim, err := j.justified(parent, n)
	if err != nil {
		return nil, err
	}
	c, _, err := j.read.commit(claim)
	if err != nil {
		return nil, err
	}
	child, err := parent.Process(c.Commit, j.checkCredential)
	if err != nil && !errors.Is(err, errSelfRemoved) {
		return nil, fmt.Errorf("%w: %w", ErrInvalidCommit, err)
	}
	return child, err
}

// justified checks a commit against the roster of its own past and gives the claim to
// it that is.
func (j judge) justified(parent Parent, n *node) (claim *item, err error) {
	for _, claim = range n.claims {
		if err = j.justifies(parent, n, claim); err == nil {
			break
		}
	}
	return claim, err
}

func (j judge) justifies(parent Parent, n *node, claim *item) error {
	_, info, err := j.read.commit(claim)
	if err != nil {
		return err
	}
	at := func(index uint32) *identity.Leaf {
		l, ok := parent.Leaf(index)
		if !ok {
			return nil
		}
		d, err := j.deviceOf(l)
		if err != nil {
			return nil // no leaf comes in whose credential does not hold
		}
		return d
	}
	if by := at(info.Sender); by == nil || by.ID != claim.log.Device {
		return fmt.Errorf("%w: the entry is not by the committer", ErrInvalidCommit)
	}
	past := j.rosters.at(claim)
	if info.Other > 0 || !info.Path {
		return fmt.Errorf("%w: it has no path, or proposals that nodes do not make", ErrInvalidCommit)
	}
	if d, err := identity.ClaimedDevice(info.Own); err != nil || d != claim.log.Device {
		return fmt.Errorf("%w: it gives the committer's leaf to another device", ErrInvalidCommit)
	}
	rejoins, err := j.rejoins(past, claim)
	if err != nil {
		return err
	}
	for _, r := range rejoins {
		if err := answers(n, r); err != nil {
			return err
		}
	}
	for _, leaf := range info.Removes {
		if d := at(leaf); d != nil && past.has(d.ID) && rejoins[d.ID] == nil {
			return fmt.Errorf("%w: it removes device %v, a member", ErrInvalidCommit, d.ID)
		}
	}
	for _, kp := range info.Adds {
		operation := slices.ContainsFunc(past.deviceIDs(), func(d wire.DeviceID) bool { return bytes.Equal(past.devices[d].keyPackage, kp) })
		rejoin := slices.ContainsFunc(past.deviceIDs(), func(d wire.DeviceID) bool {
			return rejoins[d] != nil && bytes.Equal(rejoins[d].KeyPackage, kp)
		})
		if !operation && !rejoin {
			return fmt.Errorf("%w: it adds a device that no operation adds", ErrInvalidCommit)
		}
	}
	return nil
}

// answers checks that a commit adds the device whose request it cites, and that no
// commit before it did: a request replayed must not evict who made it.
func answers(n *node, r *rejoin) error {
	kp := sha256.Sum256(r.KeyPackage)
	if !slices.Contains(n.adds(), kp) {
		return fmt.Errorf("%w: it cites a request to be added again and does not add", ErrInvalidCommit)
	}
	for at := n.parent; at != nil; at = at.parent {
		if slices.Contains(at.adds(), kp) {
			return fmt.Errorf("%w: it cites a request that was answered before", ErrInvalidCommit)
		}
	}
	return nil
}
