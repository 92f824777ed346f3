package node

import (
	"context"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/admission"
	"github.com/pandanode/pandanode/node/wire"
)

// trust says what a peer that opens a stream has proven.
func (n *Node) trust(protocol string, p peer.ID) admission.Trust {
	switch {
	case n.door.members.Has(p):
		return admission.Member
	case protocol == wire.ProtocolMail || protocol == wire.ProtocolMailBlob:
		return n.mailbox.trust(p)
	}
	return admission.Unknown
}

// handler serves one inbound stream, whose slot it may prove.
type handler func(context.Context, network.Stream, *admission.Slot) error

func with(n *Node, serve func(context.Context, *Node, network.Stream, *admission.Slot) error) handler {
	return func(ctx context.Context, s network.Stream, slot *admission.Slot) error { return serve(ctx, n, s, slot) }
}

// serveStreams registers the handlers of this package's protocols.
func (n *Node) serveStreams() {
	protocols := map[string]handler{
		wire.ProtocolSync: with(n, serveSync),
		wire.ProtocolJoin: with(n, serveJoin),
		wire.ProtocolTwin: n.twins.serve,
		wire.ProtocolHand: with(n, serveHand),
		wire.ProtocolBlob: with(n, serveBlobs),
	}
	if n.mailbox != nil {
		protocols[wire.ProtocolMail] = n.mailbox.serve
		if n.mailbox.files != nil {
			protocols[wire.ProtocolMailBlob] = n.mailbox.files.serve
		}
	}
	for protocol, serve := range protocols {
		log := n.log.With("subsystem", "stream", "protocol", protocol)
		n.host.SetStreamHandler(protocolID(protocol), func(s network.Stream) {
			p := s.Conn().RemotePeer()
			shut := func() { _ = s.Reset() }
			as := n.trust(protocol, p)
			if !n.door.limits.Opens(protocol, p, as) {
				shut()
				return
			}
			slot := n.door.streams.Enter(p, as, shut)
			if slot == nil {
				shut()
				return
			}
			started := n.life.start(func(ctx context.Context) {
				defer slot.Leave()
				ctx, cancel := context.WithTimeout(ctx, syncTimeout)
				defer cancel()
				defer context.AfterFunc(ctx, shut)()
				if err := serve(ctx, s, slot); err != nil {
					log.Debug("stream ended", "peer", p, "err", err)
				}
			})
			if !started {
				slot.Leave()
				shut()
			}
		})
	}
}
