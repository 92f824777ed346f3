package group

import "time"

// timer names one of the times at which this device must do something.
type timer int

// The timers. Those after timerDaily do not wake the machine.
const (
	timerMore        timer = iota // what did not fit into a turn goes on
	timerSettle                   // a fork is judged
	timerHeal                     // this device makes the tree equal the roster
	timerVote                     // it says where it is
	timerBeacon                   // it tells its gaps and marks
	timerReseal                   // it seals for the next gap of somebody else
	timerRejoin                   // it asks to be added again
	timerSibling                  // it stands up against a child that it refused
	timerUpdate                   // it renews its keys
	timerTransport                // it writes a TKEY or TKEY-WRAP
	timerComplain                 // it says which transport key it cannot open
	timerJoin                     // it asks to be let in again
	timerDate                     // it dates its request to be added again anew
	timerAsk                      // it asks for a sync again
	timerPast                     // it asks again for what a parked entry builds on
	timerRatchet                  // it renews its keys, since no seal of somebody opens
	timerReceipt                  // it tells an author what it has read
	timerAhead                    // a date that lies ahead is believed
	timerVouch                    // it vouches for a newcomer
	timerRoot                     // it says again that it waits for a root of keys
	timerUnheld                   // it names a branch that it cannot get to
	timerLone                     // the only device of a group, without its keys, makes new ones
	timerMeter                    // entries that were held back may come in
	timerRetire                   // keys of epochs are destroyed; by the time kept
	timerKeyPackages              // secrets of a KeyPackage are destroyed; by the time kept
	timerErase                    // messages are erased; by the time kept
	timerExpire                   // messages expire; by the time at which what has a date ends
	timerDaily                    // what is kept for months is looked at; by the time kept, and no reason to wake
	timerCount
)

// How often things are done that nothing else brings about.
const (
	voteEvery      = time.Hour      // when the position moved
	voteAtLeast    = 72 * time.Hour // when it did not
	voteAfterStart = 30 * time.Second
	rankStep       = 2 * time.Second // between devices that could all do one thing
	gapWait        = 3 * time.Second // before a gap is published
	gapStep        = 4 * time.Second // between holders who could fill it
	beaconGap      = 30 * time.Second
)

// timers are the times at which this device must do something. Zero: nothing to do.
type timers struct {
	when [timerCount]time.Time
	lag  time.Duration // by which the time that destroys is behind the clock; negative: ahead
	late time.Duration // the same of the time at which what has a date ends
}

func (t *timers) at(x timer) time.Time { return t.when[x] }

func (t *timers) set(x timer, at time.Time) { t.when[x] = at }

// stop says that there is nothing to do.
func (t *timers) stop(which ...timer) {
	for _, x := range which {
		t.when[x] = time.Time{}
	}
}

// sooner moves a timer forward to a time that comes before its own.
func (t *timers) sooner(x timer, at time.Time) { t.when[x] = earliest(t.when[x], at) }

// due says whether the time has come.
func (t *timers) due(now time.Time, x timer) bool { return due(now, t.when[x]) }

// running says whether a timer is set.
func (t *timers) running(x timer) bool { return !t.when[x].IsZero() }

// keep sets the time kept, and the one at which what has a date ends, as of now.
func (t *timers) keep(kept, ends, now time.Time) { t.lag, t.late = now.Sub(kept), now.Sub(ends) }

// kept is the time by which things are destroyed, and by which it is noted since when.
func (t *timers) kept(now time.Time) time.Time { return now.Add(-t.lag) }

// ends is the time by which is over what has a date of its own.
func (t *timers) ends(now time.Time) time.Time { return now.Add(-t.late) }

// next is when the machine must be woken.
func (t *timers) next() (at time.Time) {
	for x, when := range t.when[:timerDaily] {
		switch x := timer(x); {
		case when.IsZero():
		case x == timerExpire:
			at = earliest(at, when.Add(t.late))
		case x >= timerRetire:
			at = earliest(at, when.Add(t.lag))
		default:
			at = earliest(at, when)
		}
	}
	return at
}

// earliest of two times, zero standing for never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func due(now, at time.Time) bool { return !at.IsZero() && !now.Before(at) }
