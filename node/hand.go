package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/admission"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// A receipt concerns its author alone: on gossip it would cost everybody as much as a
// message. It goes to the author's peer over a stream of its own, as the envelope that gossip
// would carry, so that the stream shows no more than gossip does.

// handTimeout is how long an envelope may take to one peer.
const handTimeout = 10 * time.Second

// tell gives an envelope to one member, without waiting for it.
func (g *groupSession) tell(out group.Tell) {
	g.life.start(func(ctx context.Context) {
		p := peer.ID(out.Peer)
		connected := g.n.isConnected(p)
		if connected {
			err := hand(ctx, g.n.host, g.n.metrics, p, out.Envelope)
			if err == nil {
				return
			}
			g.log.Debug("an envelope was not taken", "peer", p, "err", err)
		}
		switch {
		case ctx.Err() != nil:
		case out.Gossip && !g.n.hooks.mute.Load():
			if err := g.topics.publish(ctx, out.Topic, out.Envelope); err != nil {
				g.log.Debug("publishing", "err", err)
			}
		case connected:
			_, _ = g.loop.step(ctx, group.Untold{Device: out.Device}) // fails only if the group ends
		}
	})
}

// hand gives an envelope to a connected peer and waits until it has taken it.
func hand(ctx context.Context, h host.Host, metrics *nodeMetrics, p peer.ID, envelope []byte) error {
	ctx, cancel := context.WithTimeout(ctx, handTimeout)
	defer cancel()
	s, err := openStream(ctx, h, p, wire.ProtocolHand)
	if err != nil {
		return fmt.Errorf("opening a stream: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = s.Reset() })()
	f := newFrames(metrics.stream(s))
	defer f.abandon()
	if err := f.write(wire.Handed{Envelope: envelope}); err != nil {
		return err
	}
	if err := s.CloseWrite(); err != nil {
		return fmt.Errorf("ending a stream: %w", err)
	}
	var nothing wire.Handed
	if err := f.readWithin(handTimeout, &nothing); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: not the end of the stream: %w", errProtocol, err)
	}
	f.close()
	return nil
}

// serveHand takes an envelope from a member, as it does from gossip. A stranger, or a
// peer that hands an envelope of a group that is not here, sees the same end of the stream.
func serveHand(ctx context.Context, n *Node, s network.Stream, at *admission.Slot) error {
	f := newFrames(n.metrics.stream(s))
	defer f.abandon()
	var handed wire.Handed
	if err := f.read(&handed); err != nil {
		return err
	}
	if g := n.groups.byTag(ctx, handed.Envelope); g != nil {
		from := s.Conn().RemotePeer()
		out, err := g.loop.step(ctx, group.From{Input: group.Envelope{Bytes: handed.Envelope}, Peer: []byte(from)})
		if undecided(err) {
			return err
		}
		g.refused(sourceGossip, from.String(), err)
		if verdictOf(out, err) == verdict.Accept {
			at.Prove()
		}
	}
	f.close()
	return nil
}
