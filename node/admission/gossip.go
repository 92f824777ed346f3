package admission

import pubsub "github.com/libp2p/go-libp2p-pubsub"

// Envelopes that may wait in GossipSub. A burst is more than it takes by default: 32
// envelopes that came together, of which it drops the others without a word.
const (
	validateQueue = 256  // of all topics, until a goroutine has them
	outboundQueue = 1024 // for one peer. They share their bytes with those for the other peers
)

// GossipParams are the mesh and the heartbeat of every topic.
func GossipParams() pubsub.GossipSubParams { return pubsub.DefaultGossipSubParams() }

// Gossip gives GossipSub's options that say how fast it is, and nothing else: a host that
// is measured beside nodes takes the same. Peer exchange lets a small mesh grow from one contact.
func Gossip() []pubsub.Option {
	return []pubsub.Option{
		pubsub.WithGossipSubParams(GossipParams()),
		pubsub.WithPeerExchange(true),
		pubsub.WithValidateQueueSize(validateQueue),
		pubsub.WithPeerOutboundQueueSize(outboundQueue),
	}
}
