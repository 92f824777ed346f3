package group

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/group/roster"
	"github.com/pandanode/pandanode/node/identity"
	"github.com/pandanode/pandanode/node/wire"
)

// resolveRoster brings the roster up to date and reports its changes.
func (m *Machine) resolveRoster(now time.Time) {
	resolves := m.rosters.Resolves()
	old, changed := m.rosters.refresh()
	m.evidence.meter.charge(now, m.evidence.meter.culprit, m.rosters.Resolves()-resolves)
	m.evidence.meter.culprit = wire.DeviceID{}
	if !changed {
		return
	}
	if m.timers.running(timerMeter) {
		m.timers.set(timerMeter, now) // somebody may be in again
	}
	m.timers.stop(timerTransport)
	m.timers.stop(timerHeal)
	m.messages.reseal.again()
	m.messages.owing.rosterChanged()
	clear(m.messages.sayings.unread)
	if d := m.rosters.now.Device(m.own.log.Device); d != nil {
		m.own.name(d.By)
	}
	if old == nil || !m.own.Joined {
		return
	}
	for _, e := range rosterEvents(old, m.rosters.now, m.logs.Devices) {
		m.tx.emit(now, e)
	}
	if !m.rosters.now.Has(m.own.log.Device) {
		m.own.Out, m.own.Joined = true, false
		m.tx.emit(now, Event{Kind: EventOut, User: m.cfg.Device.User})
		if !m.rosters.now.TurnedAway(m.cfg.Device) {
			m.joining.cameBy.drop()
			return
		}
		again, err := m.joining.cameBy.again()
		m.tx.fail(errors.Join(err, again.act(m, now, &Outcome{})))
	}
}

// rosterEvents tells people what has changed from one roster to the next.
func rosterEvents(old, r *roster.Roster, devices map[wire.DeviceID]*identity.Device) (events []Event) {
	for u := range r.Users() {
		id, was := u.ID, old.User(u.ID)
		switch {
		case was == nil && u.Since != nil:
			events = append(events, Event{Kind: EventAdded, User: id, By: u.Since.User, Device: u.Since.Target.Device.ID})
		case was != nil && was.Role != u.Role:
			e := Event{Kind: EventRole, User: id, Detail: u.Role.String()}
			if u.RoleBy != nil {
				e.By = u.RoleBy.User
			}
			events = append(events, e)
		}
	}
	for u := range old.Users() {
		id := u.ID
		if by := r.Gone(id); by != nil {
			kind := EventRemoved
			if by.Op.Type == wire.OpLeave {
				kind = EventLeft
			}
			events = append(events, Event{Kind: kind, User: id, By: by.User})
		}
	}
	for by := range r.Departures() {
		if by.Op.Type != wire.OpDeviceRevoke {
			continue
		}
		if id := *by.Op.Device; old.Revoked(id) == nil {
			e := Event{Kind: EventRevoked, Device: id, By: by.User}
			if d := devices[id]; d != nil {
				e.User = d.User
			}
			events = append(events, e)
		}
	}
	for id, a := range r.Requests() {
		switch was := old.Asking(id); {
		case a.Denied != nil && (was == nil || was.Denied == nil):
			events = append(events, Event{Kind: EventDenied, User: id, By: a.Denied.User})
		case a.Denied == nil && (was == nil || was.By != a.By):
			events = append(events, Event{Kind: EventAsked, User: id, Detail: a.By.Asker.Device.Cert.Name})
		}
	}
	for op := range r.Profiles() {
		was := old.Profile(op.Profile.Field)
		if was == op || was != nil && profileDetail(was.Profile) == profileDetail(op.Profile) {
			continue
		}
		events = append(events, Event{Kind: EventProfile, User: op.User, Device: op.Log.Device, By: op.User, Detail: profileDetail(op.Profile)})
	}
	for op := range r.Settings() {
		if s := op.Op.Setting; old.Setting(s.Key) != s.Value {
			events = append(events, Event{Kind: EventSetting, User: op.User, Device: op.Log.Device, By: op.User, Detail: fmt.Sprintf("%s %q", s.Key, s.Value)})
		}
	}
	cancelled := old.Cancelled()
	for _, op := range r.Cancelled() {
		if !slices.Contains(cancelled, op) {
			events = append(events, Event{Kind: EventCancelled, User: *op.Op.User, By: op.User})
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
