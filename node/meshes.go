package node

import (
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/pandanode/pandanode/node/admission"
)

// fullMesh is how many peers GossipSub keeps in a mesh at least, if so many listen.
var fullMesh = admission.GossipParams().Dlo

// meshes knows who is in this device's mesh of each topic: whom GossipSub brings an envelope
// at once. GossipSub takes in who listens once a second only.
type meshes struct {
	untraced

	mu sync.Mutex
	of map[string]map[peer.ID]bool // by topic
}

func newMeshes() *meshes { return &meshes{of: make(map[string]map[peer.ID]bool)} }

// Graft implements pubsub.RawTracer.
func (m *meshes) Graft(p peer.ID, topic string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of[topic] == nil {
		m.of[topic] = make(map[peer.ID]bool)
	}
	m.of[topic][p] = true
}

// Prune implements pubsub.RawTracer.
func (m *meshes) Prune(p peer.ID, topic string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.removeLocked(p, topic)
}

// OnClosedOutboundStream implements pubsub.RawTracer: whoever is gone is in no mesh.
func (m *meshes) OnClosedOutboundStream(p peer.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for topic := range m.of {
		m.removeLocked(p, topic)
	}
}

// has says whether a peer is in the mesh of a topic.
func (m *meshes) has(p peer.ID, topic string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.of[topic][p]
}

func (m *meshes) removeLocked(p peer.ID, topic string) {
	if delete(m.of[topic], p); len(m.of[topic]) == 0 {
		delete(m.of, topic)
	}
}

// beside gives listeners of a topic that are not in its mesh, no more than the mesh lacks: none if
// as many of them are in it as GossipSub keeps. Somebody who was taken out may be in it too, and
// gets nothing.
func (m *meshes) beside(topic string, listeners []peer.ID) (out []peer.ID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range listeners { // which of them is by chance: they come from a map
		if !m.of[topic][p] {
			out = append(out, p)
		}
	}
	lacks := max(fullMesh-(len(listeners)-len(out)), 0)
	return out[:min(lacks, len(out))]
}

// untraced is a pubsub.RawTracer that takes nothing up: those of this package have methods of
// their own in its place.
type untraced struct{}

func (untraced) OnNewOutboundStream(peer.ID, protocol.ID)             {}
func (untraced) OnClosedOutboundStream(peer.ID)                       {}
func (untraced) Join(string)                                          {}
func (untraced) Leave(string)                                         {}
func (untraced) Graft(peer.ID, string)                                {}
func (untraced) Prune(peer.ID, string)                                {}
func (untraced) ValidateMessage(*pubsub.Message)                      {}
func (untraced) DeliverMessage(*pubsub.Message)                       {}
func (untraced) RejectMessage(*pubsub.Message, string)                {}
func (untraced) DuplicateMessage(*pubsub.Message)                     {}
func (untraced) ThrottlePeer(peer.ID)                                 {}
func (untraced) RecvRPC(*pubsub.RPC)                                  {}
func (untraced) SendRPC(*pubsub.RPC, peer.ID)                         {}
func (untraced) SendRPCCompleted(*pubsub.RPC, peer.ID, time.Duration) {}
func (untraced) DropRPC(*pubsub.RPC, peer.ID)                         {}
func (untraced) UndeliverableMessage(*pubsub.Message)                 {}
