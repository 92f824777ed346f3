package group

import (
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/group/epochs"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// A reboot gives the group fresh MLS keys: an operation that names a new root under
// the chosen epoch. Nobody else can derive it; the others ask to be added again,
// and are, by one commit. Of two roots under one epoch, votes decide as of any fork.
func (Reboot) act(m *Machine, now time.Time, out *Outcome) error {
	u, err := m.member(now).self("rebooting")
	if err != nil {
		return err
	}
	from := m.choose(now)
	switch {
	case u.Role > wire.RoleAdmin:
		return fmt.Errorf("rebooting: %w: %s may not, only owners and admins may", verdict.ErrNotPermitted, u.Role.Article())
	case from == m.tree.Root:
		return fmt.Errorf("rebooting: %w: the group has no keys yet", verdict.ErrState)
	}
	out.Entry, err = m.newRoot(now, from, from.Generation+1)
	if err == nil {
		m.own.noteReboot(now, m.logs.Items.At(out.Entry))
	}
	return err
}

// noteReboot tells of fresh keys that their author could give the group. The founder's
// are generation 0; those of before this device's time are no news.
func (o *ownState) noteReboot(now time.Time, it *dag.Item) {
	if o.Joined && it.Facts.Has(dag.IsPermitted) && it.Op.Reboot.Generation > 0 {
		o.tx.emit(now, Event{Kind: EventReboot, Epoch: it.Op.Reboot.Root, By: it.User, Device: it.Log.Device})
	}
}

// newRoot makes a root of MLS epochs with this device alone in its tree, and moves
// to it if the fork choice agrees.
func (m *Machine) newRoot(now time.Time, from *epochs.Node, generation uint64) (wire.EntryHash, error) {
	var salt [16]byte
	if _, err := io.ReadFull(m.cfg.Rand, salt[:]); err != nil {
		return wire.EntryHash{}, fmt.Errorf("drawing an MLS group_id: %w", err)
	}
	mlsGroup := wire.Hash(sha256.Sum256(slices.Concat(m.own.group[:], wire.U64(generation), salt[:])))
	e, err := m.cfg.Engine.Create(m.cfg.Rand, now, mlsGroup[:], m.own.Signer, m.leaf.credential())
	if err != nil {
		return wire.EntryHash{}, fmt.Errorf("creating the MLS group: %w", err)
	}
	r := &wire.Reboot{From: from.ID, Generation: generation, MLSGroup: mlsGroup, Interim: e.Interim()}
	r.Root = wire.RebootEpochID(m.own.group, m.own.log.Device, r)
	it, err := m.append(now, wire.KindOp, &wire.Op{Type: wire.OpReboot, Reboot: r})
	if err != nil {
		return wire.EntryHash{}, err
	}
	m.epochs.hold(now, r.Root, e, nil)
	m.resolveRoster(now)
	if m.choose(now) == m.tree.Nodes[r.Root] {
		m.moved(now, m.tree.Nodes[m.own.Position], m.tree.Nodes[r.Root])
		m.timers.set(timerVote, now)
	}
	return it.Hash, nil
}

// Founding makes the group's first root of MLS epochs and its transport key, and the
// entries that tell of them.
func (Found) act(m *Machine, now time.Time, _ *Outcome) error {
	switch {
	case m.cfg.Genesis.Device.ID != m.own.log.Device:
		return fmt.Errorf("founding: %w: the genesis is by another device", verdict.ErrNotPermitted)
	case m.own.Joined:
		return fmt.Errorf("founding: %w: the group is there", verdict.ErrState)
	}
	key, err := drawTransportKey(m.cfg.Rand)
	if err != nil {
		return err
	}
	if _, err := m.newRoot(now, m.tree.Root, 0); err != nil {
		return err
	}
	// The logs know the first key too, so that nobody can hand out another as it.
	if _, err := m.append(now, wire.KindTKey, &wire.TKey{ID: wire.KeyIDOf(m.own.group, key)}); err != nil {
		return err
	}
	m.keys.take(key)
	return nil
}

// waitForRoot says, by a vote, that this device knows of a root of keys which it cannot get
// to, and says so again once it has waited long enough. From such votes all conclude
// whether the root is abandoned (epochs.Tree.Abandoned).
func waitForRoot(m *Machine, now time.Time) {
	m.timers.stop(timerRoot)
	at := m.choose(now)
	root := epochs.RootOf(at)
	if !m.stranded(at) || root == m.tree.Root || root.Contains(m.tree.Nodes[m.own.Position]) || root.By().User == m.cfg.Device.User {
		return
	}
	var knows []*dag.Item // entries of this device since it knows of the root
	if own := m.logs.Index[m.own.log]; len(own) > 0 {
		knows = m.logs.Lists[own[0]].Since(root.By())
	}
	if n := len(knows); n > 0 {
		again := knows[0].Dated().Time().Add(epochs.RootWait)
		if !knows[n-1].Dated().Time().Before(again) {
			return
		}
		if now.Before(again) {
			m.timers.set(timerRoot, again)
			return
		}
	}
	if !m.logs.WouldShow(m.own.log, wire.MaxDeps, root.By()) {
		return // no vote says so, however many it casts
	}
	sayWhere(m, now)
	m.disturbed(now, nil)
	m.timers.set(timerRoot, now.Add(epochs.RootWait))
}
