// Package admission decides which peers a node takes on and how much each may cost it:
// connections, streams, bytes, and envelopes on gossip. Peer IDs cost nothing, so an
// attacker has as many as it likes. Every bound therefore has two parts: one for a single
// peer, and one for all strangers together. Peers that share a group with this device are
// bounded apart from strangers, so that no number of strangers keeps them waiting.
//
// Start with these types:
//
//   - MemberPeers counts, for each peer, the groups it shares with this device. The node
//     keeps it up to date; everything else in the package asks it.
//   - Limits holds the token buckets: streams for each protocol, bytes of join requests,
//     and envelopes that were not worth passing on.
//   - StreamLimiter gives out the slots in which inbound streams are served, and evicts one
//     when a peer of higher trust needs it.
//   - NewConnManager and NewResourceManager bound connections, and PeerScoring and
//     TopicScoring are the scores of GossipSub, Gossip its mesh and its queues.
//   - RelayACL and the two sets of relay resources say for whom a node relays, and how much.
//
// A peer that exceeds a bound is refused and not blamed: its stream is reset or its
// envelope dropped, and it may come again. The package opens no connections and starts no
// goroutines; package node hands its values to libp2p.
package admission
