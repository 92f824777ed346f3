package group

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// A store can go back in time: a backup is restored, or a disk is. Its owner may
// say so, by a new Config.Incarnation, or the group's other members do, by holding
// entries of this device's log that it does not know. Either way it begins a log
// of its own anew, since it cannot know which sequence numbers are used, and it
// seals nothing before it has committed new keys, since it cannot know which
// message keys are.

// loadIncarnation finds the log to write.
func (m *Machine) loadIncarnation(known bool) {
	if m.own.Given != m.cfg.Incarnation || !known {
		m.own.Renew = known
		m.own.Given, m.own.Incarnation = m.cfg.Incarnation, m.cfg.Incarnation
		m.saveOwn()
	}
	m.log.Incarnation = m.own.Incarnation
}

// recognise looks whether an entry that arrived is this device's own and unknown to it.
func (m *Machine) recognise(s *signedEntry) {
	if s.entry.Log() != m.log || identity.Verify(m.cfg.LogKey.Public(), wire.DomainEntry, m.group, s.signed) != nil {
		return
	}
	var b [8]byte
	if _, err := io.ReadFull(m.cfg.Rand, b[:]); err != nil {
		m.fail(fmt.Errorf("drawing an incarnation: %w", err))
		return
	}
	m.own.Incarnation, m.own.Renew = binary.BigEndian.Uint64(b[:]), true
	m.log.Incarnation = m.own.Incarnation
	m.saveOwn()
	m.emit(m.now, Event{
		Kind: EventIncarnation, Device: m.log.Device,
		Detail: fmt.Sprintf("others hold entry %d of this device's log, which it does not know: its store went back in time", s.entry.Seq),
	})
}

// mustRenew says whether message keys of the epoch at n may have been used before
// the store went back: this log has made no commit on the chain to it.
func (m *Machine) mustRenew(n *node) bool {
	if !m.own.Renew {
		return false
	}
	for ; n != nil; n = n.parent {
		for _, claim := range n.claims {
			if claim.log == m.log {
				return false
			}
		}
	}
	return true
}
