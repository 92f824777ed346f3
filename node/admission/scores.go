package admission

import (
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Scores of gossip peers. A peer that sends messages that no honest member sends loses
// score fast: ten times the square of their number. Nothing else costs much. No peer is
// blamed for being quiet (a group may say nothing for days), for a mesh that is small, or
// for sharing an address with others, as a household does.
//
// So a stranger leaves the mesh with its first invalid envelope, a member with its third;
// either gets no gossip after 4 and is not listened to after 11. All of it is forgiven in
// about an hour, and nothing is lost meanwhile: members exchange over streams, which scores
// do not touch.
const (
	invalidWeight = -10
	memberBonus   = 50 // of a peer that shares a group with this device

	gossipThreshold    = -100
	publishThreshold   = -500
	graylistThreshold  = -1000
	invalidForgiven    = time.Hour
	behaviourForgiven  = 10 * time.Minute
	behaviourTolerated = 20 // promises broken, grafts too soon: a bad line does so too
	scoreTick          = 10 * time.Second
	decayToZero        = 0.01
)

// PeerScoring scores the peers of gossip. A good record helps little, and for minutes: it
// is no credit to misbehave on.
func PeerScoring(member func(peer.ID) bool) pubsub.Option {
	return pubsub.WithPeerScore(&pubsub.PeerScoreParams{
		SkipAtomicValidation: true, // no limit on peers of one address
		Topics:               make(map[string]*pubsub.TopicScoreParams),
		TopicScoreCap:        20,
		AppSpecificScore: func(p peer.ID) float64 {
			if member(p) {
				return memberBonus
			}
			return 0
		},
		AppSpecificWeight:         1,
		BehaviourPenaltyWeight:    -1,
		BehaviourPenaltyThreshold: behaviourTolerated,
		BehaviourPenaltyDecay:     decay(behaviourForgiven),
		DecayInterval:             scoreTick,
		DecayToZero:               decayToZero,
		RetainScore:               invalidForgiven, // coming back is no fresh start
	}, &pubsub.PeerScoreThresholds{
		GossipThreshold:   gossipThreshold,
		PublishThreshold:  publishThreshold,
		GraylistThreshold: graylistThreshold,
		AcceptPXThreshold: 0, // a peer that has done nothing wrong may name others
	})
}

// TopicScoring is the same for each topic of a group. Deliveries that are missing
// cost nothing.
func TopicScoring() *pubsub.TopicScoreParams {
	return &pubsub.TopicScoreParams{
		SkipAtomicValidation: true,
		TopicWeight:          1,

		TimeInMeshWeight:  0.01,
		TimeInMeshQuantum: time.Minute,
		TimeInMeshCap:     300,

		FirstMessageDeliveriesWeight: 0.1,
		FirstMessageDeliveriesDecay:  decay(behaviourForgiven),
		FirstMessageDeliveriesCap:    50,

		InvalidMessageDeliveriesWeight: invalidWeight,
		InvalidMessageDeliveriesDecay:  decay(invalidForgiven),
	}
}

// decay returns the share of a counter that is left after each tick, so that it is zero
// after this long.
func decay(forgiven time.Duration) float64 {
	return pubsub.ScoreParameterDecayWithBase(forgiven, scoreTick, decayToZero)
}
