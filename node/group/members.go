package group

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// resolveRoster brings the roster up to date and tells what changed in it.
func (m *Machine) resolveRoster(now time.Time) {
	old, changed := m.rosters.refresh()
	if !changed {
		return
	}
	m.roster = m.rosters.now
	m.sendKey = nil
	m.timers.stop(timerTransport)
	m.timers.stop(timerHeal)
	m.fillAgain()
	m.mail.owedStale = true
	if old == nil || !m.own.Joined {
		return
	}
	m.tellChanges(now, old)
	if !m.roster.has(m.log.Device) {
		m.own.Out, m.own.Joined = true, false
		m.tx.emit(now, Event{Kind: EventOut, User: m.cfg.Device.User})
		if m.roster.gone[m.cfg.Device.User] == nil && m.roster.revoked[m.log.Device] == nil {
			// Nobody took it out: who let it in was taken out at the same time. It asks again.
			m.tx.fail(m.join(now, Join{}))
		}
	}
}

func (m *Machine) tellChanges(now time.Time, old *roster) {
	for _, id := range sortedUsers(m.roster.users) {
		u, was := m.roster.users[id], old.users[id]
		switch {
		case was == nil && u.since != nil:
			m.tx.emit(now, Event{Kind: EventAdded, User: id, By: u.since.user, Device: u.since.target.device.ID})
		case was != nil && was.role != u.role:
			e := Event{Kind: EventRole, User: id, Detail: u.role.String()}
			if u.roleBy != nil {
				e.By = u.roleBy.user
			}
			m.tx.emit(now, e)
		}
	}
	for _, id := range sortedUsers(old.users) {
		if by := m.roster.gone[id]; m.roster.users[id] == nil && by != nil {
			kind := EventRemoved
			if by.op.Type == wire.OpLeave {
				kind = EventLeft
			}
			m.tx.emit(now, Event{Kind: kind, User: id, By: by.user})
		}
	}
	for _, id := range sortedKeys(m.roster.revoked) {
		if by := m.roster.revoked[id]; old.revoked[id] == nil {
			e := Event{Kind: EventRevoked, Device: id, By: by.user}
			if d := m.logs.devices[id]; d != nil {
				e.User = d.User
			}
			m.tx.emit(now, e)
		}
	}
	for _, id := range sortedKeys(m.roster.asking) {
		switch a, was := m.roster.asking[id], old.asking[id]; {
		case a.denied != nil && (was == nil || was.denied == nil):
			m.tx.emit(now, Event{Kind: EventDenied, User: id, By: a.denied.user})
		case a.denied == nil && (was == nil || was.by != a.by):
			m.tx.emit(now, Event{Kind: EventAsked, User: id, Detail: a.by.asker.device.Cert.Name})
		}
	}
	for _, f := range slices.Sorted(maps.Keys(m.roster.profile)) {
		op, was := m.roster.profile[f], old.profile[f]
		if was == op || was != nil && profileDetail(was.profile) == profileDetail(op.profile) {
			continue
		}
		m.tx.emit(now, Event{Kind: EventProfile, User: op.user, Device: op.log.Device, By: op.user, Detail: profileDetail(op.profile)})
	}
	for _, op := range m.roster.cancelled {
		if !slices.Contains(old.cancelled, op) {
			m.tx.emit(now, Event{Kind: EventCancelled, User: *op.op.User, By: op.user})
		}
	}
}

// profileDetail says what a register of the profile sets, for an event: the name of the
// field, a space, and its value, a text in quotes.
func profileDetail(p *wire.ProfileItem) string {
	switch p.Field {
	case wire.FieldName:
		return fmt.Sprintf("name %q", p.Text)
	case wire.FieldDescription:
		return fmt.Sprintf("description %q", p.Text)
	case wire.FieldTags:
		return "tags " + strings.Join(p.Tags, ", ")
	case wire.FieldPolicy:
		return "policy " + p.Policy.String()
	case wire.FieldMailboxes:
		peers := make([]string, len(p.Mailboxes))
		for i, b := range p.Mailboxes {
			peers[i] = string(b.Peer)
		}
		return fmt.Sprintf("mailboxes %x", strings.Join(peers, "\x00"))
	}
	return ""
}

func sortedUsers[T any](users map[wire.UserID]T) []wire.UserID {
	return slices.SortedFunc(maps.Keys(users), func(a, b wire.UserID) int { return bytes.Compare(a[:], b[:]) })
}
