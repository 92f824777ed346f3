package node

import (
	"sync/atomic"

	"github.com/pandanode/pandanode/node/group"
)

// Metrics are counters since the node was opened. They only rise.
type Metrics struct {
	Envelopes    [group.Reject + 1]atomic.Uint64 // from gossip, by verdict
	Published    atomic.Uint64                   // envelopes given to gossip
	Syncs        atomic.Uint64                   // exchanges, both sides'
	SyncFailures atomic.Uint64
	EntriesIn    atomic.Uint64 // by exchanges; new ones only
	EntriesOut   atomic.Uint64
	Joins        atomic.Uint64 // joiners that asked this node
	WriteErrors  atomic.Uint64 // transactions that the store refused
}
