package group

import (
	"fmt"
	"time"
)

// A consequence is one thing that follows from the set of entries as it now is.
type consequence struct {
	what  string // an error of it says so
	why   string // it has this place in the order
	carry func(*Machine, time.Time)
}

// consequences are carried out in this order at the end of each Step, once this device is
// where it can get to.
var consequences = []consequence{
	{"choose", "the queries answer by the choice as of this Step", func(m *Machine, now time.Time) {
		m.choose(now)
	}},
	{"open early seals", "their RECORDs have come, and the roster says who may read them", func(m *Machine, now time.Time) {
		m.messages.openEarly(now)
	}},
	{"note a join", "the position is reached; what follows is for members", (*Machine).noteJoined},
	{"ask for lost keys", "a join would have brought them", (*Machine).askForKeys},
	{"ask to join again", "a join ends the asking", func(m *Machine, now time.Time) { m.joining.repeat(now) }},
	{"ask for a past", "what was parked in this Step is known", func(m *Machine, now time.Time) {
		m.peers.askForPast(now)
	}},
	{"ask later", "what has just asked needs no second exchange", func(m *Machine, now time.Time) {
		m.peers.askLater(now)
	}},
	{"seal", "the epoch will not change any more in this Step", (*Machine).sealDue},
	{"ask to be added again", "the beacon carries the request", (*Machine).askAgain},
	{"vouch for newcomers", "the roster and the position are what they will be", vouch},
	{"wait for a root", "the choice is made; a vote says that it waits", waitForRoot},
	{"name what is out of reach", "the vote carries it", (*Machine).nameUnheld},
	{"keep transport keys", "the envelopes of this Step go under the newest one", (*Machine).keepTransport},
	{"complain of transport keys", "those that this Step brought are tried", complain},
	{"vote", "all that a vote says is decided", (*Machine).castVote},
	{"send a beacon", "its marks count this device's entries of this Step", (*Machine).sendBeacon},
	{"retire", "nothing in this Step needs an old key any more", (*Machine).retire},
	{"deliver behind what was taken away", "all deletions of this Step are carried out", func(m *Machine, now time.Time) {
		deliverDeferred(m.messages, now)
	}},
	{"send receipts", "all that this Step brought is read", func(m *Machine, now time.Time) { m.messages.receipts.send(now) }},
	{"publish", "nothing is sent after it", func(m *Machine, _ time.Time) { publish(m.tx, m.keys, m.messages.record) }},
	{"write packs", "nothing is added to the set after it", func(m *Machine, _ time.Time) { m.packs.write() }},
	{"write the own row", "nothing changes it after this", func(m *Machine, _ time.Time) { m.own.flush() }},
	{"plan the next wake", "all timers are set", func(m *Machine, now time.Time) {
		if m.timers.stop(timerMore); m.tx.deferred {
			m.timers.set(timerMore, now)
		}
		m.tx.ready.NextWake = m.timers.next()
	}},
}

// settle carries out all that follows from the set of entries as it now is. First the roster
// and the position, turn by turn: each turn may add entries of this device, from which more
// follows, and a handful of turns is all there can be. Then the consequences.
func (m *Machine) settle(now time.Time) {
	for range 8 {
		m.resolveRoster(now)
		m.messages.refreshOwed(now)
		m.leaveWhenDone(now)
		m.joining.settleIntents(now, m.logs, m.own.Joined && m.In(), m.own.Out)
		if m.tx.broken != nil || !m.follow(now) && !m.heal(now) {
			break
		}
	}
	if m.tx.broken != nil {
		return
	}
	for _, c := range consequences {
		if c.carry(m, now); m.tx.broken != nil {
			m.tx.broken = fmt.Errorf("to %s: %w", c.what, m.tx.broken)
			return
		}
	}
}
