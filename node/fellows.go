package node

import (
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
)

// fellows are the peers that share a group with this device, by how many. What
// judges peers asks for them often and must not wait for a group's machine.
type fellows struct {
	mu     sync.RWMutex
	groups map[peer.ID]int
}

// joined notes that one more group has the peer.
func (f *fellows) joined(p peer.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.groups == nil {
		f.groups = make(map[peer.ID]int)
	}
	f.groups[p]++
}

// left notes that one group less has the peer.
func (f *fellows) left(p peer.ID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.groups[p]--; f.groups[p] <= 0 {
		delete(f.groups, p)
	}
}

func (f *fellows) has(p peer.ID) bool { return f.shared(p) > 0 }

// shared is how many groups have both the peer and this device.
func (f *fellows) shared(p peer.ID) int {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.groups[p]
}
