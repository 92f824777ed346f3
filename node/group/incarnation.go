package group

import (
	"encoding/binary"
	"fmt"
	"io"
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

// incarnate finds the log to write, given being what the store's owner says; 0: the device's
// first, which has a name once the device is in. known: there was a row.
func (o *ownState) incarnate(given uint64, known bool) {
	if o.Given != given || !known {
		o.Renew = known
		o.Given, o.Incarnation = given, given
		o.save()
	}
}

// name names this device's first log after what brought it in; nil: the genesis.
func (o *ownState) name(by *dag.Item) {
	if o.Incarnation != 0 {
		return
	}
	if o.Incarnation = wire.FoundersIncarnation(o.group); by != nil {
		o.Incarnation = wire.FirstIncarnation(by.Hash)
	}
	o.log.Incarnation = o.Incarnation
	o.save()
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

// TwinSeen says that another node was seen that runs as this device.
type TwinSeen struct{}

func (TwinSeen) act(m *Machine, now time.Time, _ *Outcome) error { //nolint:unparam // as every input
	m.twins.seen = now
	return nil
}

// mustRenew says whether message keys of the epoch at n may have been used before
// the store went back: this log has renewed no keys on the chain to it.
func (m *Machine) mustRenew(n *epochs.Node) bool {
	if !m.own.Renew {
		return false
	}
	for ; n != nil; n = n.Parent {
		for _, claim := range n.Claims {
			if claim.Log == m.own.log && n.Renews() {
				return false
			}
		}
	}
	return true
}
