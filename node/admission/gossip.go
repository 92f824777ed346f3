package admission

import pubsub "github.com/libp2p/go-libp2p-pubsub"

// Envelopes that may wait in GossipSub. A burst is more than it takes by default: 32
// envelopes that came together, of which it drops the others without a word.
const (
	validateQueue = 256  // of all topics, until a goroutine has them
	outboundQueue = 1024 // for one peer. They share their bytes with those for the other peers
)

// declined is from how many bytes on an envelope is declined from the other peers of the mesh
// as soon as one has brought it: IDONTWANT of GossipSub v1.2. That takes some 50 bytes for
// each, and the shortest envelope has more than 600. GossipSub begins at a KiB.
const declined = 256

// GossipParams are the mesh and the heartbeat of every topic.
func GossipParams() pubsub.GossipSubParams {
	p := pubsub.DefaultGossipSubParams()
	p.IDontWantMessageThreshold = declined
	return p
}

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
