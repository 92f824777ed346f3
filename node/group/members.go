package group

import (
	"bytes"
	"maps"
	"slices"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// maxRosters bounds the rosters kept of entries' pasts; they can be made again.
const maxRosters = 64

// rosterAt is the roster as the author of an entry knew it.
func (m *Machine) rosterAt(it *item) *roster {
	if r := m.rosters[it.hash]; r != nil {
		return r
	}
	var ops []*item
	for _, op := range m.logs.ops {
		if op != it && m.logs.inPast(op, it) {
			ops = append(ops, op)
		}
	}
	if !m.stale && len(ops) == len(m.logs.ops) && len(m.logs.evidence) == 0 {
		return m.roster // it knew all that is known
	}
	r := m.resolve(ops)
	if len(m.rosters) >= maxRosters {
		clear(m.rosters)
	}
	m.rosters[it.hash] = r
	return r
}

// resolvedOps is a roster with the operations that it is the result of.
type resolvedOps struct {
	ops    []*item
	roster *roster
}

// maxResolved is how many of them are remembered: entries that know the same
// operations, as most do, have one roster.
const maxResolved = 4

func (m *Machine) resolve(ops []*item) *roster {
	for _, r := range m.resolved {
		if slices.Equal(r.ops, ops) {
			return r.roster
		}
	}
	r := m.resolver().resolve(ops)
	m.resolved = append(m.resolved[max(0, len(m.resolved)-maxResolved+1):], resolvedOps{ops, r})
	return r
}

func (m *Machine) resolver() resolver { return resolver{genesis: m.cfg.Genesis, inPast: m.logs.inPast} }

// resolveRoster brings the roster up to date and tells what changed in it.
func (m *Machine) resolveRoster(now time.Time) {
	if !m.stale {
		return
	}
	old := m.roster
	m.roster = m.resolver().resolve(slices.DeleteFunc(slices.Clone(m.logs.ops), func(op *item) bool { return !m.logs.counts(op) }))
	m.stale = false
	m.chosen, m.sendKey = nil, nil
	m.duty.transport = time.Time{}
	m.duty.heal = time.Time{}
	m.fillAgain()
	m.mail.owedStale = true
	if old == nil || !m.own.Joined {
		return
	}
	m.tellChanges(now, old)
	if !m.roster.has(m.log.Device) {
		m.own.Out, m.own.Joined = true, false
		m.emit(now, Event{Kind: EventOut, User: m.cfg.Device.User})
		if m.roster.gone[m.cfg.Device.User] == nil && m.roster.revoked[m.log.Device] == nil {
			// Nobody took it out: who let it in was taken out at the same time. It asks again.
			m.fail(m.join(now, Join{}))
		}
	}
}

func (m *Machine) tellChanges(now time.Time, old *roster) {
	for _, id := range sortedUsers(m.roster.users) {
		u, was := m.roster.users[id], old.users[id]
		switch {
		case was == nil && u.since != nil:
			m.emit(now, Event{Kind: EventAdded, User: id, By: u.since.user, Device: u.since.target.device.ID})
		case was != nil && was.role != u.role:
			m.emit(now, Event{Kind: EventRole, User: id, Detail: u.role.String()})
		}
	}
	for _, id := range sortedUsers(old.users) {
		if by := m.roster.gone[id]; m.roster.users[id] == nil && by != nil {
			kind := EventRemoved
			if by.op.Type == wire.OpLeave {
				kind = EventLeft
			}
			m.emit(now, Event{Kind: kind, User: id, By: by.user})
		}
	}
	for _, id := range sortedKeys(m.roster.asking) {
		switch a, was := m.roster.asking[id], old.asking[id]; {
		case a.denied != nil && (was == nil || was.denied == nil):
			m.emit(now, Event{Kind: EventDenied, User: id, By: a.denied.user})
		case a.denied == nil && (was == nil || was.by != a.by):
			m.emit(now, Event{Kind: EventAsked, User: id, Detail: a.by.asker.device.Cert.Name})
		}
	}
	for _, op := range m.roster.cancelled {
		if !slices.Contains(old.cancelled, op) {
			m.emit(now, Event{Kind: EventCancelled, User: *op.op.User, By: op.user})
		}
	}
}

func sortedUsers[T any](users map[wire.UserID]T) []wire.UserID {
	return slices.SortedFunc(maps.Keys(users), func(a, b wire.UserID) int { return bytes.Compare(a[:], b[:]) })
}
