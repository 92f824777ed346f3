package group

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/engine"
	"github.com/pandanode/pandanode/node/group/epochs"
	"github.com/pandanode/pandanode/node/group/roster"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// judge decides which commits of others are followed: those that are valid MLS and make the
// changes that the roster of their own past wants.
type judge struct {
	read            reader
	rosters         *rosters
	deviceOf        func(engine.Leaf) (*identity.Leaf, error) // that a leaf's credential proves
	checkCredential engine.CheckCredential
	rejoins         func(*roster.Roster, *dag.Item) (map[wire.DeviceID]*rejoin, error) // that a COMMIT cites, checked
}

// derive derives the child of an epoch held here, if the commit is valid MLS,
// by the device that signed the entry, and does to the tree only what the roster
// resolved from the commit's own past wants.
func (j judge) derive(parent engine.Parent, n *epochs.Node) (engine.Epoch, error) {
	if n.Info() == nil {
		return nil, fmt.Errorf("%w: a root cannot be derived", verdict.ErrInvalidCommit)
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
	if err != nil && !errors.Is(err, engine.ErrSelfRemoved) {
		return nil, fmt.Errorf("%w: %w", verdict.ErrInvalidCommit, err)
	}
	return child, err
}

// justified checks a commit against the roster of its own past and gives the claim to
// it that is.
func (j judge) justified(parent engine.Parent, n *epochs.Node) (claim *dag.Item, err error) {
	for _, claim = range n.Claims {
		if err = j.justifies(parent, n, claim); err == nil {
			break
		}
	}
	return claim, err
}

func (j judge) justifies(parent engine.Parent, n *epochs.Node, claim *dag.Item) error {
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
	if by := at(info.Sender); by == nil || by.ID != claim.Log.Device {
		return fmt.Errorf("%w: the entry is not by the committer", verdict.ErrInvalidCommit)
	}
	past := j.rosters.At(claim)
	if info.Other > 0 {
		return fmt.Errorf("%w: it has proposals that nodes do not make", verdict.ErrInvalidCommit)
	}
	if !info.Path && (len(info.Adds) == 0 || len(info.Removes) > 0) {
		return fmt.Errorf("%w: it has no path, and does not only add", verdict.ErrInvalidCommit)
	}
	if d, err := identity.ClaimedDevice(info.Own); info.Path && (err != nil || d != claim.Log.Device) {
		return fmt.Errorf("%w: it gives the committer's leaf to another device", verdict.ErrInvalidCommit)
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
		if d := at(leaf); d != nil && past.Has(d.ID) && rejoins[d.ID] == nil {
			return fmt.Errorf("%w: it removes device %v, a member", verdict.ErrInvalidCommit, d.ID)
		}
	}
	for _, kp := range info.Adds {
		operation := slices.ContainsFunc(past.DeviceIDs(), func(d wire.DeviceID) bool { return bytes.Equal(past.Device(d).KeyPackage, kp) })
		rejoin := slices.ContainsFunc(past.DeviceIDs(), func(d wire.DeviceID) bool {
			return rejoins[d] != nil && bytes.Equal(rejoins[d].KeyPackage, kp)
		})
		if !operation && !rejoin {
			return fmt.Errorf("%w: it adds a device that no operation adds", verdict.ErrInvalidCommit)
		}
	}
	return nil
}

// answers checks that a commit adds the device whose request it cites, and that no
// commit before it did: a request replayed must not evict who made it.
func answers(n *epochs.Node, r *rejoin) error {
	kp := sha256.Sum256(r.KeyPackage)
	if !slices.Contains(n.Adds(), kp) {
		return fmt.Errorf("%w: it cites a request to be added again and does not add", verdict.ErrInvalidCommit)
	}
	for at := n.Parent; at != nil; at = at.Parent {
		if slices.Contains(at.Adds(), kp) {
			return fmt.Errorf("%w: it cites a request that was answered before", verdict.ErrInvalidCommit)
		}
	}
	return nil
}
