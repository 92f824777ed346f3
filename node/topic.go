package node

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/admission"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// How long an envelope may wait for its machine, and how many of a topic may wait at once,
// and in how many bytes. An envelope beyond any of these is ignored, which blames nobody; catch-up
// brings it later.
const (
	validatorTimeout     = 10 * time.Second
	validatorConcurrency = 512
	validatorBytes       = 32 << 20
)

// newPubSub starts GossipSub: nobody signs, nobody is named, and a message is known
// by the hash of its content.
func newPubSub(ctx context.Context, h host.Host, l *admission.Limits, f *fellows, member func(peer.ID) bool, tracers ...pubsub.RawTracer) (*pubsub.PubSub, error) {
	opts := append(admission.Gossip(),
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign),
		pubsub.WithNoAuthor(),
		pubsub.WithMessageIdFn(func(m *pb.Message) string {
			id := sha256.Sum256(m.GetData())
			return string(id[:])
		}),
		pubsub.WithMaxMessageSize(wire.MaxEnvelope+4<<10), // the protobuf around it
		admission.PeerScoring(member),
		pubsub.WithPeerFilter(f.may),
		pubsub.WithSubscriptionFilter(f),
		pubsub.WithAppSpecificRpcInspector(func(p peer.ID, r *pubsub.RPC) error {
			f.inspect(p, r)
			return l.Inspect(p, r)
		}),
	)
	for _, t := range tracers {
		opts = append(opts, pubsub.WithRawTracer(t))
	}
	ps, err := pubsub.NewGossipSub(ctx, gossipHost{h, f}, opts...)
	if err != nil {
		return nil, fmt.Errorf("starting GossipSub: %w", err)
	}
	return ps, nil
}

// topic is a group's place on gossip; a private group has several. Delivery is the validator's work, since only
// the machine can tell what to pass on; the subscription is there so that the node
// takes part in the mesh, and is drained.
type topic struct {
	topic   *pubsub.Topic
	sub     *pubsub.Subscription
	drained chan struct{} // closed when nobody takes from sub any more
}

// joinTopic takes part in a topic of a group until close.
func joinTopic(ps *pubsub.PubSub, self peer.ID, g *groupSession, name string) (*topic, error) {
	var waiting atomic.Int64 // bytes
	validate := func(ctx context.Context, from peer.ID, m *pubsub.Message) pubsub.ValidationResult {
		if from == self { // the machine made it
			return pubsub.ValidationAccept
		}
		if g.n.hooks.scatter.Load() {
			time.Sleep(rand.N(20 * time.Millisecond)) //nolint:gosec // tests
		}
		size := int64(len(m.Data))
		defer waiting.Add(-size)
		if waiting.Add(size) > validatorBytes {
			g.n.metrics.Envelopes.WithLabelValues(verdict.Ignore.String()).Inc()
			return pubsub.ValidationIgnore
		}
		out, err := g.loop.step(ctx, group.From{Input: group.Envelope{Bytes: m.Data}, Peer: []byte(from)})
		judged := verdictOf(out, err)
		if err == nil && out.News == 0 && !g.fresh.any(time.Now(), out.Entries) {
			judged = verdict.Ignore // a replay
		}
		g.n.metrics.Envelopes.WithLabelValues(judged.String()).Inc()
		g.refused(sourceGossip, from.String(), err)
		if err == nil {
			g.mail.saw(m.Data, out.Entries)
		}
		if judged != verdict.Accept {
			g.n.door.limits.Wasted(from)
			g.log.Debug("envelope not passed on", "verdict", judged, "from", from, "err", err)
		}
		switch judged {
		case verdict.Accept:
			g.scheduler.passes()
			g.scheduler.stirred()
			return pubsub.ValidationAccept
		case verdict.Reject:
			return pubsub.ValidationReject
		default:
			return pubsub.ValidationIgnore
		}
	}
	if err := ps.RegisterTopicValidator(name, validate,
		pubsub.WithValidatorTimeout(validatorTimeout), pubsub.WithValidatorConcurrency(validatorConcurrency)); err != nil {
		return nil, fmt.Errorf("joining the topic: %w", err)
	}
	t, err := ps.Join(name)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("joining the topic: %w", err), ps.UnregisterTopicValidator(name))
	}
	if err := t.SetScoreParams(admission.TopicScoring()); err != nil {
		return nil, errors.Join(fmt.Errorf("joining the topic: %w", err), t.Close(), ps.UnregisterTopicValidator(name))
	}
	sub, err := t.Subscribe()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("joining the topic: %w", err), t.Close(), ps.UnregisterTopicValidator(name))
	}
	out := &topic{topic: t, sub: sub, drained: make(chan struct{})}
	if !g.life.start(func(ctx context.Context) {
		defer close(out.drained)
		for {
			if _, err := sub.Next(ctx); err != nil {
				return // cancelled, or the node closes
			}
		}
	}) {
		close(out.drained)
		return nil, errors.Join(ErrClosed, out.close(ps))
	}
	return out, nil
}

// verdictOf is the machine's verdict, or Ignore where it did not come to one.
func verdictOf(out group.Outcome, err error) verdict.Verdict {
	if undecided(err) {
		return verdict.Ignore
	}
	return out.Verdict
}

// undecided says that an error is no verdict on the input: the node is busy, closing, could
// not write, or cannot read its own rows.
func undecided(err error) bool {
	return slices.ContainsFunc([]error{
		ErrStore, verdict.ErrCorrupt, ErrClosed, errCrashed, context.Canceled, context.DeadlineExceeded,
	}, func(ours error) bool { return errors.Is(err, ours) })
}

// publish gives an envelope to the mesh. It fails only when the node closes.
func (t *topic) publish(ctx context.Context, envelope []byte) error {
	return t.topic.Publish(ctx, envelope)
}

// peers returns the listeners: they get published envelopes, or will be in the mesh soon.
func (t *topic) peers() []peer.ID { return t.topic.ListPeers() }

// close leaves the topic. Afterwards it can be joined anew: GossipSub closes no topic that
// has a subscription, and cancels one at a time of its own. The validator goes last, so
// that nothing is passed on unseen.
func (t *topic) close(ps *pubsub.PubSub) error {
	t.sub.Cancel()
	<-t.drained
	name := t.topic.String()
	return errors.Join(t.topic.Close(), ps.UnregisterTopicValidator(name))
}

// topics are those of one group that the node takes part in: none while the group is not on
// gossip, several for a private group.
type topics struct {
	g *groupSession

	mu     sync.Mutex
	joined map[string]*topic // by name
}

// get gives a topic of the group, which it joins first if need be.
func (ts *topics) get(name string) (*topic, error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.getLocked(name)
}

// getLocked is get while mu is held.
func (ts *topics) getLocked(name string) (*topic, error) {
	if t := ts.joined[name]; t != nil {
		return t, nil
	}
	ts.g.n.fellows.on(name, ts.g.id)
	t, err := joinTopic(ts.g.n.pubsub, ts.g.n.host.ID(), ts.g, name)
	if err != nil {
		ts.g.n.fellows.off(name)
		return nil, err
	}
	if ts.joined == nil {
		ts.joined = make(map[string]*topic)
	}
	ts.joined[name] = t
	return t, nil
}

// listenOn is on these topics of the group from now on, and on no other. A topic that is
// being left cannot be joined: mu is held until it is left.
func (ts *topics) listenOn(names []string) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, name := range names {
		if _, err := ts.getLocked(name); err != nil {
			ts.g.log.Warn("a topic of the group cannot be joined", "err", err)
		}
	}
	for name, t := range ts.joined {
		if slices.Contains(names, name) {
			continue
		}
		delete(ts.joined, name)
		if err := t.close(ts.g.n.pubsub); err != nil {
			ts.g.log.Warn("a topic of the group is not left as it should be", "err", err)
		}
		ts.g.n.fellows.off(name)
	}
}

// leave takes the group off gossip.
func (ts *topics) leave() { ts.listenOn(nil) }

// publish gives an envelope to the topic that it is for.
func (ts *topics) publish(ctx context.Context, name string, envelope []byte) error {
	t, err := ts.get(name)
	if err != nil {
		return err
	}
	return t.publish(ctx, envelope)
}

// peers are the peers that gossip reaches.
func (ts *topics) peers() []peer.ID {
	if ts.g.n.hooks.mute.Load() {
		return nil
	}
	ts.mu.Lock()
	all := slices.Collect(maps.Values(ts.joined))
	ts.mu.Unlock()
	var out []peer.ID
	for _, t := range all {
		out = append(out, slices.DeleteFunc(t.peers(), func(p peer.ID) bool { return !ts.g.n.fellows.may(p, t.topic.String()) })...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// isOn says whether a topic is one of the group's.
func (ts *topics) isOn(name string) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	return ts.joined[name] != nil
}
