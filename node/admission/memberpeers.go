package admission

import (
	"sync"

	"github.com/libp2p/go-libp2p/core/peer"
)

// MemberPeers counts the groups that each peer shares with this device. The zero value is
// empty and ready. Scores and limits ask it for every envelope and every stream, so it
// never waits for a group's machine.
type MemberPeers struct {
	mu     sync.RWMutex
	groups map[peer.ID]int
}

// Joined notes that one more group has the peer.
func (m *MemberPeers) Joined(p peer.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.groups == nil {
		m.groups = make(map[peer.ID]int)
	}
	m.groups[p]++
}

// Left notes that one group less has the peer.
func (m *MemberPeers) Left(p peer.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.groups[p]--; m.groups[p] <= 0 {
		delete(m.groups, p)
	}
}

// Has says whether a group has both the peer and this device.
func (m *MemberPeers) Has(p peer.ID) bool { return m.Shared(p) > 0 }

// Shared is how many groups have both the peer and this device.
func (m *MemberPeers) Shared(p peer.ID) int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.groups[p]
}
