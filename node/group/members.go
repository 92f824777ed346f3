package group

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// resolveRoster brings the roster up to date and tells what changed in it.
func (m *Machine) resolveRoster(now time.Time) {
	old, changed := m.rosters.refresh()
	if !changed {
		return
	}
	m.roster = m.rosters.now
	m.timers.stop(timerTransport)
	m.timers.stop(timerHeal)
	m.messages.reseal.again()
	m.messages.rosterChanged()
	if old == nil || !m.own.Joined {
		return
	}
	for _, e := range rosterEvents(old, m.roster, m.logs.devices) {
		m.tx.emit(now, e)
	}
	if !m.roster.has(m.log.Device) {
		m.own.Out, m.own.Joined = true, false
		m.tx.emit(now, Event{Kind: EventOut, User: m.cfg.Device.User})
		if m.roster.gone[m.cfg.Device.User] == nil && m.roster.revoked[m.log.Device] == nil {
			// Nobody took it out: who let it in was taken out at the same time. It asks again.
			m.tx.fail(Join{}.act(m, now, &Outcome{}))
		}
	}
}

// rosterEvents tells people what has changed from one roster to the next.
func rosterEvents(old, r *roster, devices map[wire.DeviceID]*identity.Device) (events []Event) {
	for _, id := range sortedUsers(r.users) {
		u, was := r.users[id], old.users[id]
		switch {
		case was == nil && u.since != nil:
			events = append(events, Event{Kind: EventAdded, User: id, By: u.since.user, Device: u.since.target.device.ID})
		case was != nil && was.role != u.role:
			e := Event{Kind: EventRole, User: id, Detail: u.role.String()}
			if u.roleBy != nil {
				e.By = u.roleBy.user
			}
			events = append(events, e)
		}
	}
	for _, id := range sortedUsers(old.users) {
		if by := r.gone[id]; r.users[id] == nil && by != nil {
			kind := EventRemoved
			if by.op.Type == wire.OpLeave {
				kind = EventLeft
			}
			events = append(events, Event{Kind: kind, User: id, By: by.user})
		}
	}
	for _, id := range sortedKeys(r.revoked) {
		if by := r.revoked[id]; old.revoked[id] == nil {
			e := Event{Kind: EventRevoked, Device: id, By: by.user}
			if d := devices[id]; d != nil {
				e.User = d.User
			}
			events = append(events, e)
		}
	}
	for _, id := range sortedKeys(r.asking) {
		switch a, was := r.asking[id], old.asking[id]; {
		case a.denied != nil && (was == nil || was.denied == nil):
			events = append(events, Event{Kind: EventDenied, User: id, By: a.denied.user})
		case a.denied == nil && (was == nil || was.by != a.by):
			events = append(events, Event{Kind: EventAsked, User: id, Detail: a.by.asker.device.Cert.Name})
		}
	}
	for _, f := range slices.Sorted(maps.Keys(r.profile)) {
		op, was := r.profile[f], old.profile[f]
		if was == op || was != nil && profileDetail(was.profile) == profileDetail(op.profile) {
			continue
		}
		events = append(events, Event{Kind: EventProfile, User: op.user, Device: op.log.Device, By: op.user, Detail: profileDetail(op.profile)})
	}
	for _, op := range r.cancelled {
		if !slices.Contains(old.cancelled, op) {
			events = append(events, Event{Kind: EventCancelled, User: *op.op.User, By: op.user})
		}
	}
	return events
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
