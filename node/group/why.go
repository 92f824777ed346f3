package group

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pandanode/pandanode/node/group/dag"
	"github.com/pandanode/pandanode/node/wire"
)

// Explanation says, from the machine's own state, how something stands and why.
type Explanation struct {
	State string   // one word or two
	Facts []string // the facts, the decisive one first
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
	WhyErased  = "erased"   // taken away, and owed to nobody
	WhyUnknown = "unknown"  // no entry with that ID is here
)

// Explain says why a message is not read, not sent or not delivered yet. People in it are
// named as the reader calls them, of whose device called is given the name; nil: by their
// devices.
func (m *Machine) Explain(now time.Time, id wire.MessageID, called func(user wire.UserID, device string) string) Explanation {
	x := explaining{nameOf: m.logs.NameOf}
	if called != nil {
		x.nameOf = func(d wire.DeviceID) string {
			if k := m.logs.Devices[d]; k != nil {
				return called(k.User, k.Cert.Name)
			}
			return m.logs.NameOf(d)
		}
	}
	x.message(m, now, id)
	return x.Explanation
}

// explaining is an Explanation that is being made.
type explaining struct {
	Explanation
	nameOf func(wire.DeviceID) string
}

func (e *explaining) message(m *Machine, now time.Time, id wire.MessageID) {
	it := m.messages.record(id)
	switch {
	case it == nil:
		e.absent(m.logs, id)
	case it.Log.Device == m.own.log.Device && slices.Contains(m.messages.outbox, it.Hash):
		e.State = WhyQueued
		e.say("it is durable here and not sealed under the epoch that the group is at")
		e.sealing(now, m.sealingState(now))
	case isErased(it):
		e.State = WhyErased
		e.Facts = append(e.Facts, m.messages.sayings.explain(it, e.nameOf)...)
	case it.Log.Device == m.own.log.Device:
		e.sent(it, m.messages.receipts, m.peers)
	case it.Facts.Has(dag.IsDelivered):
		e.State = WhyRead
		e.say("%s wrote it at %s, and it was shown here", e.nameOf(it.Log.Device), stamp(it.Dated().Time()))
		e.Facts = append(e.Facts, m.messages.sayings.explain(it, e.nameOf)...)
	default:
		e.received(it, m.messages)
	}
	if e.State == WhyUnread {
		e.holders(it, m.messages.receipts, m.peers)
		if m.stranded(m.fork.chosen.at) {
			e.say("this device cannot get to the epoch that the group is at")
		}
		if at := m.timers.at(timerBeacon); at.After(now) {
			e.then("this device asks the group for it in %v", at.Sub(now).Round(time.Second))
		}
		e.then("any member who can read it gives a seal or makes one; pandanode group heal GROUP asks now")
	}
}

// absent is about a message whose RECORD is not in the set.
func (e *explaining) absent(l *dag.Logs, id wire.MessageID) {
	if s := l.Parking.Entries[id]; s != nil {
		e.State = WhyParked
		e.say("its entry, by %s, is here and waits for %d others that it builds on", e.nameOf(s.Entry.Device), len(l.Missing(s.Entry)))
		e.then("a sync with a member brings them: pandanode group heal GROUP")
		return
	}
	e.State = WhyUnknown
	if o := l.Items.At(id); o != nil {
		e.say("this is no message but a %v by %s", o.Kind, e.nameOf(o.Log.Device))
		return
	}
	e.say("no entry with this ID has come here, among %d of %d logs", l.Count, len(l.Lists))
	e.then("if it was sent, a sync with a member who has it brings it: pandanode group heal GROUP")
}

// sent is about a message that this device wrote and has sealed.
func (e *explaining) sent(it *dag.Item, r *receipts, p *peers) {
	e.State = WhySent
	e.say("it was sealed here under %s and given to the network", counted(len(it.Sealed), "epoch"))
	var held, gap, unsaid, lacks, silent []string
	for _, d := range r.rosters.now.DeviceIDs() {
		name, of := e.nameOf(d), p.of[d]
		switch {
		case d == r.self.Device || !r.mayRead(d, it):
		case r.hasRead(d, it):
			held = append(held, name)
		case of == nil || len(of.marks) == 0:
			silent = append(silent, name)
		case of.marks[it.Log] < it.Seq:
			lacks = append(lacks, name)
		case of.lacks[it.Hash]:
			gap = append(gap, name)
		default:
			unsaid = append(unsaid, name)
		}
	}
	tell := func(names []string, what string) {
		if len(names) > 0 {
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

// sealingState is what decides whether this device can seal, and where the group is.
type sealingState struct {
	out, welcomed, stranger, keyless, closed bool

	heal     time.Time    // when this device makes the next commit; zero: it plans none
	stranded bool         // it has no keys of the epoch that the group is at:
	chosen   wire.EpochID // this one
	asked    bool         // to be added again
}

func (m *Machine) sealingState(now time.Time) sealingState {
	n, e := m.position()
	return sealingState{
		out: m.own.Out, welcomed: m.tree.Nodes[m.own.Position] == nil, stranger: !m.rosters.now.Has(m.own.log.Device), keyless: n == nil || e == nil,
		closed: n != nil && e != nil && m.compareTree(now, e).gate,
		heal:   m.timers.at(timerHeal), stranded: m.stranded(m.fork.chosen.at), chosen: m.fork.chosen.at.ID, asked: m.joining.rejoin != nil,
	}
}

// sealing says why this device seals nothing now.
func (e *explaining) sealing(now time.Time, s sealingState) {
	switch {
	case s.out:
		e.say("this device is not in the group any more")
	case s.welcomed:
		e.say("this device is welcomed, and has not caught up with the group's log")
		e.then("a sync with a member brings it: pandanode group heal GROUP")
	case s.stranger:
		e.say("this device is not in the roster")
	case s.keyless:
		e.say("the keys of the epoch this device stands in are gone")
	case s.closed:
		e.say("the gate is closed: somebody who was removed is in the tree of keys, so that nobody seals")
		if s.heal.IsZero() {
			e.then("the next commit opens it; pandanode group heal GROUP makes it now")
		} else {
			e.then("the next commit opens it, by this device in %v if nobody else makes it; pandanode group heal GROUP makes it now", max(0, s.heal.Sub(now)).Round(time.Second))
		}
	default:
		e.say("nothing stands in its way: it is sealed at the next turn")
	}
	if s.stranded {
		e.say("the group is at another epoch, %v, whose keys are not here", s.chosen)
		if s.asked {
			e.then("this device has asked to be added again; any member does it")
		}
	}
}

// received is about a message of somebody else that was not shown here.
func (e *explaining) received(it *dag.Item, m *messages) {
	author := e.nameOf(it.Log.Device)
	e.State = WhyNotOwed
	switch {
	case !m.rosters.now.Has(m.self.Device):
		e.say("this device is not in the group")
		return
	case m.beforeJoinPoint(it):
		e.say("%s wrote it before this device came into the group", author)
		return
	case !m.maySpeak(it):
		e.say("%s could not write to the group then: it was no member, or may only read", author)
		return
	case it.Facts.Has(dag.IsTaken):
		e.say("it was deleted, and nobody owes it to anybody")
		return
	case !m.owed(it):
		e.say("%s was removed, and wrote it without knowing or after that", author)
		return
	case m.sayings.isMoot(it):
		e.say("it is about a message of before this device came into the group, which may be gone since")
		return
	case it.Facts.Has(dag.IsPlain):
		e.State = WhyHeld
		e.say("it can be read here, and waits for an earlier one of %s's, so that they are shown in order", author)
		return
	}
	e.State = WhyUnread
	e.say("%s wrote it at %s; its entry is here and its content is not", author, stamp(it.Dated().Time()))
	waiting := 0
	for epoch, seals := range m.waiting.of {
		if !slices.ContainsFunc(seals, func(s rawSeal) bool { return s.Message == it.Hash }) {
			continue
		}
		waiting++
		if n := m.tree.Nodes[epoch]; n != nil {
			e.say("a seal of it is here, under epoch %d, whose keys are not", n.Number)
		} else {
			e.say("a seal of it is here, under an epoch that no entry names yet")
		}
	}
	if waiting == 0 {
		e.say("no seal of it is here")
	}
}

// holders says which devices are known to have a message.
func (e *explaining) holders(it *dag.Item, r *receipts, p *peers) {
	var names []string
	for _, d := range r.rosters.now.DeviceIDs() {
		if p.of[d].holds(it) {
			names = append(names, e.nameOf(d))
		}
	}
	if len(names) > 0 {
		e.say("held by %s, as far as is known", strings.Join(names, ", "))
	}
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
