package node

import (
	"sync"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// GossipSub knows an envelope again for two minutes. One that is replayed later would go
// round the group once more, at the cost of all members. So an envelope whose entries are
// all here already is passed on only if one of them came a short time ago, over a stream for
// example: others may still lack it.
const (
	freshFor     = 2 * time.Minute
	freshEntries = 4096 // about that many are remembered
)

// fresh remembers which entries came a short time ago. The zero value remembers none.
type fresh struct {
	mu        sync.Mutex
	now, last map[wire.EntryHash]bool // those of this spell, and of the one before
	since     time.Time               // this spell began
}

// note adds entries that have just come.
func (f *fresh) note(at time.Time, entries []wire.EntryHash) {
	if len(entries) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.turn(at)
	if f.now == nil {
		f.now = make(map[wire.EntryHash]bool)
	}
	for _, e := range entries {
		f.now[e] = true
	}
}

// any says whether one of these entries came a short time ago.
func (f *fresh) any(at time.Time, entries []wire.EntryHash) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.turn(at)
	for _, e := range entries {
		if f.now[e] || f.last[e] {
			return true
		}
	}
	return false
}

// turn ends a spell that is over or full. f.mu is held.
func (f *fresh) turn(at time.Time) {
	switch spent := at.Sub(f.since); {
	case spent >= 2*freshFor:
		f.now, f.last, f.since = nil, nil, at
	case spent >= freshFor || len(f.now) >= freshEntries/2:
		f.now, f.last, f.since = nil, f.now, at
	}
}
