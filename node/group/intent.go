package group

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// A member who is given an invite may be out of the group already without knowing it:
// it was removed a moment ago, or while it was off. So a Join with an invite is an
// intent, which is kept until it shows whether it is needed:
//
//   - this device learns that it is out: it asks with the invite;
//   - this device is in by its logs, and they hold the operation that gave the invite
//     out: whatever the invite was given out after lies in their past too, so it is in by
//     all that who gave it out knew. The invite is not spent. An invite lets back in
//     after no removal that is not in the past of its operation, so nothing is lost.
//
// The claim is signed when the intent is made, so that the invite's secret is not kept.

// maxIntents is how many invites are kept; of more, the oldest goes.
const maxIntents = 4

// intent is a request to be let in by an invite that is not made yet.
type intent struct {
	id      wire.InviteID
	request wire.JoinRequest
}

// intentsRow holds encoded JoinRequests.
type intentsRow struct {
	Requests [][]byte `cbor:"1,keyasint"`
}

func (m *Machine) loadIntents() error {
	v, err := m.tx.get(rowIntents)
	if v == nil || err != nil {
		return err
	}
	var row intentsRow
	if err := wire.Unmarshal(v, &row); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	for _, b := range row.Requests {
		r, err := wire.DecodeJoinRequest(b)
		if err != nil || r.Invite == nil {
			return fmt.Errorf("%w: the invite of a join: %w", ErrCorrupt, err)
		}
		m.intents = append(m.intents, intent{wire.InviteIDOf(m.group, r.Invite.Payload), *r})
	}
	return nil
}

func (m *Machine) setIntents(now time.Time, intents []intent) {
	for _, old := range m.intents {
		kept := func(i intent) bool { return bytes.Equal(i.request.KeyPackage, old.request.KeyPackage) }
		asks := m.request != nil && bytes.Equal(m.request.KeyPackage, old.request.KeyPackage)
		if !asks && !slices.ContainsFunc(intents, kept) {
			m.spend(now, old.request.KeyPackage)
		}
	}
	m.intents = intents
	if len(intents) == 0 {
		m.tx.del(rowIntents)
		return
	}
	var row intentsRow
	for _, i := range intents {
		row.Requests = append(row.Requests, wire.Marshal(&i.request))
	}
	m.tx.put(rowIntents, wire.Marshal(&row))
}

// intend keeps an invite for the case that this member is out and does not know it.
// A leave that waits is called off.
func (m *Machine) intend(now time.Time, in Join) error {
	if m.own.Leaving {
		m.own.Leaving = false
		m.saveOwn()
	}
	id := wire.InviteIDOf(m.group, in.Invite.Payload)
	m.ask("an invite came: does it need it?")
	if m.issued(id) || slices.ContainsFunc(m.intents, func(i intent) bool { return i.id == id }) {
		return nil
	}
	kp, err := m.newKeyPackage(now)
	if err != nil {
		return err
	}
	r := m.claimed(wire.JoinRequest{V: wire.Version, Group: m.group, Cert: m.cfg.Device.Raw, KeyPackage: kp.Public}, in)
	all := append([]intent{{id, r}}, m.intents...)
	m.setIntents(now, all[:min(len(all), maxIntents)])
	return nil
}

// issued says whether the operation that gave an invite out is here, with its past.
func (m *Machine) issued(id wire.InviteID) bool {
	return slices.ContainsFunc(m.logs.ops, func(op *item) bool {
		return op.op.Type == wire.OpInvite && op.invited != nil && op.invited.id == id
	})
}

// settleIntents drops the invites that are not needed, or asks with the newest.
func (m *Machine) settleIntents(now time.Time) {
	switch {
	case len(m.intents) == 0 || m.roster == nil:
	case m.own.Joined && m.roster.has(m.log.Device):
		left := slices.DeleteFunc(slices.Clone(m.intents), func(i intent) bool { return m.issued(i.id) })
		if len(left) < len(m.intents) {
			m.setIntents(now, left)
		}
	case m.own.Out && (m.request == nil || m.request.Invite == nil):
		m.askWithIntent(now)
	}
}

// askWithIntent asks with the newest invite that is kept, if there is one.
func (m *Machine) askWithIntent(now time.Time) {
	for len(m.intents) > 0 {
		next := m.intents[0].request
		usable := m.cfg.Engine.CheckLifetime(next.KeyPackage, now) == nil
		if usable {
			m.setRequest(&next)
			m.setRenewal(nil)
		}
		m.setIntents(now, m.intents[1:])
		if usable {
			m.requestJoin()
			return
		}
	}
}

// EndJoin ends asking to be let in with a request, after a final no: the next invite that
// is kept is tried. Without a request it ends all asking, with every invite that is kept.
type EndJoin struct{ Request *wire.JoinRequest }

func (EndJoin) input() {}

func (in EndJoin) act(m *Machine, now time.Time, _ *Outcome) error {
	switch {
	case in.Request == nil && m.In():
		return fmt.Errorf("ending a join: %w: this device is in the group and waits for its keys", ErrState)
	case in.Request == nil:
		m.setIntents(now, nil)
	case m.request == nil || !bytes.Equal(wire.Marshal(m.request), wire.Marshal(in.Request)):
		return fmt.Errorf("ending a join: %w: this device does not ask with that request", ErrState)
	}
	if m.request != nil {
		m.keepEnded(m.request)
		m.setRequest(nil)
	}
	m.setRenewal(nil)
	m.askWithIntent(now)
	return nil
}

// keepEnded keeps the request of a join that has ended. An admin can let this device in by
// it all the same, and if its user joins again then, that KeyPackage has the Welcome.
func (m *Machine) keepEnded(r *wire.JoinRequest) { m.tx.put(rowEnded, wire.Marshal(r)) }

// takeEnded gives a request to ask with again, without an invite; nil: there is none
// whose KeyPackage can be used.
func (m *Machine) takeEnded(now time.Time) (*wire.JoinRequest, error) {
	v, err := m.tx.get(rowEnded)
	if v == nil || err != nil {
		return nil, err
	}
	m.tx.del(rowEnded)
	r, err := wire.DecodeJoinRequest(v)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	_, kept := m.keyPackage(r.KeyPackage)
	if usable := kept && m.cfg.Engine.CheckLifetime(r.KeyPackage, now) == nil && r.Rejoin == nil; !usable {
		return nil, nil
	}
	r.Invite, r.Claim = nil, nil
	return r, nil
}

// was says whether this device is or has been in the group, by its own logs.
func (m *Machine) was() bool { return m.own.Joined || m.own.Out || m.logs.head(m.log) != nil }

// In says whether this device is in the group by its own logs, with or without keys.
func (m *Machine) In() bool { return m.roster.has(m.log.Device) }

// OnlyHere counts the messages that this device can show, and those it wrote that no other
// device is known to have.
func (m *Machine) OnlyHere() (messages, unsent int) {
	var others []*item // the newest entries of other devices
	for _, mark := range m.Marks() {
		if at := m.logs.items.at(mark.Hash); at != nil && at.log.Device != m.log.Device {
			others = append(others, at)
		}
	}
	for it := range m.records() {
		if !it.facts.has(isPlain) {
			continue
		}
		messages++
		if it.log.Device != m.log.Device {
			continue
		}
		held := false
		for _, at := range others { // it had what it named
			held = held || m.logs.inPast(it, at)
		}
		for d, p := range m.peer {
			held = held || d != m.log.Device && p.read(m, it)
		}
		if !held || slices.Contains(m.mail.outbox, it.hash) {
			unsent++
		}
	}
	return messages, unsent
}

// VaultOf gives the vault of an epoch's secrets that the key of a row, after a prefix,
// stands for.
func VaultOf(key []byte, prefix string) (Vault, bool) {
	rest, ok := strings.CutPrefix(string(key), prefix+rowHeld)
	if !ok {
		return Vault{}, false
	}
	id, err := lastHex(rest)
	return Vault(id), err == nil
}
