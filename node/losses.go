package node

import (
	"context"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
)

// GossipSub drops envelopes where a queue is full, and nobody sends them again: in a small
// group everybody is in everybody's mesh, where nothing is announced. The last ones of a
// burst would come with the next periodic exchange only. So each loss that this node sees
// is a reason for an exchange.
//
// Nor does GossipSub bring anything to a peer of a topic that is not in its mesh yet, as
// somebody is who came in a moment ago, and when a heartbeat takes it in, it announces nothing
// to it any more. So that is a reason too, if anything was passed on shortly before.

// loss is an envelope that did not go to a peer, or that came from one and was not looked at;
// or what may not have gone to one before the mesh took it in.
type loss struct {
	topic  string
	peer   peer.ID
	meshed bool
}

// losses takes them up inside GossipSub, where nothing may wait. Losses beyond its
// room are the same few over and over.
type losses struct {
	untraced
	seen chan loss
}

func newLosses() losses { return losses{seen: make(chan loss, 256)} }

func (l losses) note(x loss) {
	select {
	case l.seen <- x:
	default:
	}
}

// DropRPC implements pubsub.RawTracer.
func (l losses) DropRPC(rpc *pubsub.RPC, p peer.ID) {
	last := ""
	for _, m := range rpc.Publish {
		if topic := m.GetTopic(); topic != last {
			last = topic
			l.note(loss{topic: topic, peer: p})
		}
	}
}

// RejectMessage implements pubsub.RawTracer.
func (l losses) RejectMessage(m *pubsub.Message, reason string) {
	if reason == pubsub.RejectValidationQueueFull || reason == pubsub.RejectValidationThrottled {
		l.note(loss{topic: m.GetTopic(), peer: m.ReceivedFrom})
	}
}

// Graft implements pubsub.RawTracer.
func (l losses) Graft(p peer.ID, topic string) { l.note(loss{topic: topic, peer: p, meshed: true}) }

// makeUp has the groups exchange with the peers that something was or may have been lost to
// or from.
func (l losses) makeUp(ctx context.Context, t *groupTable) {
	for {
		select {
		case <-ctx.Done():
			return
		case lost := <-l.seen:
			for _, g := range t.all() {
				switch {
				case !g.topics.isOn(lost.topic):
				case lost.meshed:
					g.scheduler.meshed(lost.peer)
				default:
					g.log.Debug("gossip lost an envelope", "peer", lost.peer)
					g.scheduler.lost(lost.peer)
				}
			}
		}
	}
}
