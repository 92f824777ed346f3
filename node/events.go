package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// maxRecent is how many of the node's events are kept for those who come late.
const maxRecent = 1024

// nodeEvent is one thing that happened on the node. Those of a group are also in
// that group's durable events, where they have a cursor of their own.
type nodeEvent struct {
	Cursor uint64 // rises by one in a run of the node
	At     time.Time
	Group  wire.GroupID // zero: none
	Event  group.Event  // Kind and what belongs to it; its Cursor is the group's
	UpTo   uint64       // of eventRead
	Peer   string       // of eventPeerConnected and eventPeerDisconnected
}

// Kinds of events that no machine makes.
const (
	eventJoinStage        group.EventKind = "join-stage"
	eventRead             group.EventKind = "read"
	eventPeerConnected    group.EventKind = "peer-connected"
	eventPeerDisconnected group.EventKind = "peer-disconnected"
)

// feed holds the latest events of the node, in memory.
type feed struct {
	run string // names the run that cursors count in

	mu      sync.Mutex
	cursor  uint64
	recent  []nodeEvent
	changed signal
}

func newFeed() *feed {
	var id [8]byte
	_, _ = rand.Read(id[:])
	return &feed{run: hex.EncodeToString(id[:])}
}

func (f *feed) add(e nodeEvent) {
	f.mu.Lock()
	f.cursor++
	e.Cursor, e.At = f.cursor, time.Now()
	if len(f.recent) == maxRecent {
		f.recent = slices.Delete(f.recent, 0, maxRecent/4)
	}
	f.recent = append(f.recent, e)
	f.mu.Unlock()
	f.changed.wake()
}

func (f *feed) after(cursor uint64) []nodeEvent {
	f.mu.Lock()
	defer f.mu.Unlock()
	i, _ := slices.BinarySearchFunc(f.recent, cursor+1, func(e nodeEvent, c uint64) int {
		switch {
		case e.Cursor < c:
			return -1
		case e.Cursor > c:
			return 1
		}
		return 0
	})
	return slices.Clone(f.recent[i:])
}

// newest returns the cursor of the newest event.
func (f *feed) newest() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cursor
}

// subscribe calls emit for what happened on the node after a cursor, as far as
// it is remembered, and for what happens from now on, until ctx ends, emit fails or the node closes.
// ErrCursor: the cursor lies beyond what has happened in this run.
func (f *feed) subscribe(ctx context.Context, closed <-chan struct{}, after uint64, emit func(nodeEvent) error) error {
	if newest := f.newest(); after > newest {
		return fmt.Errorf("%w: the newest event of this run of the node has cursor %d, but events after %d were requested", ErrCursor, newest, after)
	}
	for {
		changed := f.changed.wait()
		for _, e := range f.after(after) {
			if err := emit(e); err != nil {
				return err
			}
			after = e.Cursor
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-closed:
			return ErrClosed
		}
	}
}
