package dag

import (
	"slices"
	"time"

	"github.com/pandanode/pandanode/crdt"
	"github.com/pandanode/pandanode/node/wire"
)

// A date is the time by the clock of an entry's author, and clocks can be wrong. So no date
// keeps an entry out of the set, and the order of entries follows their causal order: an
// entry's place is its date, or above all that it builds on (Logs.FillPast). One clock that
// is far ahead drags that order along, where it does no harm, since nothing is measured by
// it. Times are measured by dates, and a date beyond this device's clock is not believed.

// believed returns when an entry was written, as far as its place in the order and its date
// can be believed up to some time. It is not before the entries that it builds on. ok: they
// can.
func (it *Item) believed(until crdt.HLC) (at crdt.HLC, ok bool) {
	if it.HLC <= until {
		return it.HLC, true
	}
	at = it.Dated()
	return at, at <= until
}

// LastHeard returns when each user last wrote an entry that counts, by dates that are
// believed up to some time. Of somebody whose last entry is dated after that nobody can say
// when it was written: it is heard with the others. ahead is the first such date, or zero.
func (l *Logs) LastHeard(until crdt.HLC) (heard map[wire.UserID]crdt.HLC, ahead crdt.HLC) {
	heard = make(map[wire.UserID]crdt.HLC)
	later := map[wire.UserID]crdt.HLC{}
	var newest crdt.HLC
	for _, it := range l.lastEntries() {
		at, ok := it.believed(until)
		if !ok {
			if later[it.User] = max(later[it.User], at); ahead == 0 || at < ahead {
				ahead = at
			}
			continue
		}
		heard[it.User] = max(heard[it.User], at)
		newest = max(newest, at)
	}
	if newest == 0 {
		return later, ahead // this clock is the one that is wrong
	}
	for user := range later {
		heard[user] = newest
	}
	return heard, ahead
}

// Horizon is the last date that a device believes whose clock says now.
func Horizon(now time.Time) crdt.HLC {
	return crdt.HLCFromTime(now.Add(MaxAhead+time.Millisecond)) - 1 // with all of its millisecond
}

// When is about when an entry was written, to measure how long ago that is.
func (it *Item) When(now time.Time) time.Time {
	at, _ := it.believed(Horizon(now))
	return at.Time()
}

// Since returns when an entry was written, or now if it is dated ahead: work that is due
// some time after the entry must not wait for that date.
func (it *Item) Since(now time.Time) time.Time {
	at, ok := it.believed(Horizon(now))
	if !ok {
		return now
	}
	return at.Time()
}

// NotBefore returns when an entry was written at the earliest, to destroy nothing too early.
// It may be placed ahead and dated long ago because somebody before it was ahead, because
// its author is behind, or because this device is. The users before it tell: it is not older
// than their last entries there, and if half of those are dated ahead, this clock is wrong.
func (l *Logs) NotBefore(it *Item, now time.Time) time.Time {
	until := Horizon(now)
	at, _ := it.believed(until)
	if it.HLC <= until || at > until {
		return at.Time()
	}
	users := map[wire.UserID]crdt.HLC{} // zero: ahead
	for i, list := range l.Lists {
		last := list.At(it.Seen(i))
		if last == nil || last.User == it.User {
			continue
		}
		if date, ok := last.believed(until); ok {
			users[last.User] = max(users[last.User], date)
		} else {
			users[last.User] = max(users[last.User], 0)
		}
	}
	ahead := 0
	for _, date := range users {
		if at = max(at, date); date == 0 {
			ahead++
		}
	}
	if ahead > 0 && 2*ahead >= len(users) {
		return now
	}
	return at.Time()
}

// Heard is lastHeard by a clock that says now.
func (l *Logs) Heard(now time.Time) map[wire.UserID]crdt.HLC {
	heard, _ := l.LastHeard(Horizon(now))
	return heard
}

// DateAfter is the date of an entry that is written now. It rises above the last date that
// is known, if this device believes that, and above the places of what the entry builds on,
// but for those that lie so far ahead of it that nobody expects it to (see mayFollow).
func DateAfter(now time.Time, last crdt.HLC, places ...crdt.HLC) crdt.HLC {
	date := crdt.HLCFromTime(now)
	if last.Ahead(now) <= MaxAhead {
		date = crdt.Next(last, now)
	}
	for _, place := range slices.Sorted(slices.Values(places)) {
		if !mayFollow(date, place) {
			date = place + 1
		}
	}
	return date
}

// Millis is a time in milliseconds since 1970, in UTC.
func Millis(ms uint64) time.Time {
	return crdt.HLC(min(ms, 1<<48-1) << 16).Time()
}
