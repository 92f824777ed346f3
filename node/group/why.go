package group

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// Explanation says, from the machine's own state, how something stands and why.
type Explanation struct {
	State string   // one word or two
	Facts []string // what is so, the decisive first
	Next  []string // what happens by itself, and what helps
}

func (e *Explanation) say(format string, args ...any) {
	e.Facts = append(e.Facts, fmt.Sprintf(format, args...))
}

func (e *Explanation) then(format string, args ...any) {
	e.Next = append(e.Next, fmt.Sprintf(format, args...))
}

// States of Explanation about a message.
const (
	WhyRead    = "read"     // shown here
	WhySent    = "sent"     // own, and given to the network
	WhyQueued  = "queued"   // own, and not sealed on the chosen chain yet
	WhyUnread  = "unread"   // owed to this device, and not readable yet
	WhyHeld    = "held up"  // readable; an earlier one of its author's is not
	WhyNotOwed = "not owed" // for others
	WhyParked  = "parked"   // its entry waits for others
	WhyUnknown = "unknown"  // no entry with that ID is here
)

// Explain says why a message is not read, not sent or not delivered yet.
func (m *Machine) Explain(now time.Time, id wire.MessageID) Explanation {
	var e Explanation
	it := m.record(id)
	switch {
	case it == nil:
		m.explainAbsent(&e, id)
	case it.log.Device == m.log.Device:
		m.explainOwn(now, &e, it)
	case it.facts.has(wasTold):
		e.State = WhyRead
		e.say("%s wrote it at %s, and it was shown here", m.nameOf(it.log.Device), stamp(it.dated().Time()))
	default:
		m.explainOthers(now, &e, it)
	}
	return e
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

func (m *Machine) nameOf(d wire.DeviceID) string {
	if k := m.logs.devices[d]; k != nil {
		return k.Cert.Name
	}
	return "an unknown device"
}

func (m *Machine) explainAbsent(e *Explanation, id wire.MessageID) {
	if s := m.logs.parking.entries[id]; s != nil {
		e.State = WhyParked
		e.say("its entry, by %s, is here and waits for %d others that it builds on", m.nameOf(s.entry.Device), len(m.logs.missing(s.entry)))
		e.then("a sync with a member brings them: pandanode group heal GROUP")
		return
	}
	e.State = WhyUnknown
	if o := m.logs.items.at(id); o != nil {
		e.say("this is no message but a %v by %s", o.kind, m.nameOf(o.log.Device))
		return
	}
	e.say("no entry with this ID has come here, among %d of %d logs", m.logs.count, len(m.logs.lists))
	e.then("if it was sent, a sync with a member who has it brings it: pandanode group heal GROUP")
}

// explainOwn is about a message that this device wrote.
func (m *Machine) explainOwn(now time.Time, e *Explanation, it *item) {
	if slices.Contains(m.mail.outbox, it.hash) {
		e.State = WhyQueued
		e.say("it is durable here and not sealed under the epoch that the group is at")
		m.explainSealing(now, e)
		return
	}
	e.State = WhySent
	e.say("it was sealed here under %d epochs and given to the network", len(it.sealed))
	held, come, lacks, silent := m.readers(it)
	var gap, unsaid []wire.DeviceID
	for _, d := range come {
		if m.peers.of[d].lacks[it.hash] {
			gap = append(gap, d)
		} else {
			unsaid = append(unsaid, d)
		}
	}
	tell := func(list []wire.DeviceID, what string) {
		if len(list) > 0 {
			names := make([]string, len(list))
			for i, d := range list {
				names[i] = m.nameOf(d)
			}
			e.say(what, strings.Join(names, ", "))
		}
	}
	tell(held, "held by %s")
	tell(gap, "has come to %s, who cannot read it yet")
	tell(unsaid, "has come to %s, who has not said that it can be read there")
	tell(lacks, "not known to have come to %s")
	tell(silent, "nothing was heard since this node started from %s")
	if len(lacks)+len(silent) > 0 {
		e.then("they get it from any member who has it, when they can reach one")
	}
	if len(gap) > 0 {
		e.then("a member who can read it seals it again for them, within a minute")
	}
}

// explainSealing says why this device seals nothing now.
func (m *Machine) explainSealing(now time.Time, e *Explanation) {
	n, epoch := m.position()
	switch {
	case m.own.Out:
		e.say("this device is not in the group any more")
	case m.tree.nodes[m.own.Position] == nil:
		e.say("this device is welcomed, and has not caught up with the group's log")
		e.then("a sync with a member brings it: pandanode group heal GROUP")
	case !m.roster.has(m.log.Device):
		e.say("this device is not in the roster")
	case n == nil || epoch == nil:
		e.say("the keys of the epoch this device stands in are gone")
	case m.compareTree(now, epoch).gate:
		e.say("the gate is closed: somebody who was removed is in the tree of keys, so that nobody seals")
		e.then("the next commit opens it%s", m.healDue(now))
	default:
		e.say("nothing stands in its way: it is sealed at the next turn")
	}
	if m.stranded() {
		e.say("the group is at another epoch, %v, whose keys are not here", m.choose().id)
		if m.joining.rejoin != nil {
			e.then("this device has asked to be added again; any member does it")
		}
	}
}

func (m *Machine) healDue(now time.Time) string {
	if !m.timers.running(timerHeal) {
		return "; pandanode group heal GROUP makes it now"
	}
	return fmt.Sprintf(", by this device in %v if nobody else makes it; pandanode group heal GROUP makes it now", max(0, m.timers.at(timerHeal).Sub(now)).Round(time.Second))
}

// explainOthers is about a message of somebody else that was not shown here.
func (m *Machine) explainOthers(now time.Time, e *Explanation, it *item) {
	author := m.nameOf(it.log.Device)
	switch {
	case !m.roster.has(m.log.Device):
		e.State = WhyNotOwed
		e.say("this device is not in the group")
		return
	case m.belowFloor(it):
		e.State = WhyNotOwed
		e.say("%s wrote it before this device came into the group", author)
		return
	case !m.maySpeak(it):
		e.State = WhyNotOwed
		e.say("%s could not write to the group then: it was no member, or may only read", author)
		return
	case !m.owed(it):
		e.State = WhyNotOwed
		e.say("%s was removed, and wrote it without knowing or after that", author)
		return
	case it.facts.has(isPlain):
		e.State = WhyHeld
		e.say("it can be read here, and waits for an earlier one of %s's, so that they are shown in order", author)
		return
	}
	e.State = WhyUnread
	e.say("%s wrote it at %s; its entry is here and its content is not", author, stamp(it.dated().Time()))
	waiting := 0
	for epoch, seals := range m.mail.waiting {
		if !slices.ContainsFunc(seals, func(s rawSeal) bool { return s.Message == it.hash }) {
			continue
		}
		waiting++
		if n := m.tree.nodes[epoch]; n != nil {
			e.say("a seal of it is here, under epoch %d, whose keys are not", n.number)
		} else {
			e.say("a seal of it is here, under an epoch that no entry names yet")
		}
	}
	if waiting == 0 {
		e.say("no seal of it is here")
	}
	var holders []string
	for _, d := range m.roster.deviceIDs() {
		if m.peers.of[d].holds(it) {
			holders = append(holders, m.nameOf(d))
		}
	}
	if len(holders) > 0 {
		e.say("held by %s, as far as is known", strings.Join(holders, ", "))
	}
	if m.stranded() {
		e.say("this device cannot get to the epoch that the group is at")
	}
	if at := m.timers.at(timerBeacon); at.After(now) {
		e.then("this device asks the group for it in %v", at.Sub(now).Round(time.Second))
	}
	e.then("any member who can read it gives a seal or makes one; pandanode group heal GROUP asks now")
}
