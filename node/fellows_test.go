package node

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// eavesdropper notes what peers tell it over gossip.
type eavesdropper struct {
	untraced // the rest of pubsub.RawTracer

	mu        sync.Mutex
	heard     []string
	envelopes [][]byte
}

func (e *eavesdropper) RecvRPC(r *pubsub.RPC) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range r.Subscriptions {
		e.heard = append(e.heard, fmt.Sprintf("subscription %v to %s", s.GetSubscribe(), s.GetTopicid()))
	}
	for _, m := range r.Publish {
		e.heard = append(e.heard, "envelope on "+m.GetTopic())
		e.envelopes = append(e.envelopes, m.GetData())
	}
	for _, c := range r.GetControl().GetGraft() {
		e.heard = append(e.heard, "graft on "+c.GetTopicID())
	}
	for _, c := range r.GetControl().GetPrune() {
		e.heard = append(e.heard, "prune on "+c.GetTopicID())
	}
	for _, c := range r.GetControl().GetIhave() {
		e.heard = append(e.heard, "announcement on "+c.GetTopicID())
	}
}

func (e *eavesdropper) all() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.heard)
}

// times counts how often it was given an envelope.
func (e *eavesdropper) times(envelope []byte) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, b := range e.envelopes {
		if bytes.Equal(b, envelope) {
			n++
		}
	}
	return n
}

// eavesdrop has a host listen on topics and note what it is told.
func (w *world) eavesdrop(ctx context.Context, h host.Host, start func(context.Context, host.Host, ...pubsub.Option) (*pubsub.PubSub, error), topics ...string) *eavesdropper {
	w.Helper()
	e := &eavesdropper{}
	opts := []pubsub.Option{
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithNoAuthor(), pubsub.WithRawTracer(e),
		pubsub.WithMessageIdFn(func(m *pb.Message) string { return string(m.GetData()) }),
	}
	ps, err := start(ctx, h, opts...)
	if err != nil {
		w.Fatal(err)
	}
	for _, name := range topics {
		t, err := ps.Join(name)
		if err != nil {
			w.Fatal(err)
		}
		if _, err := t.Subscribe(); err != nil {
			w.Fatal(err)
		}
	}
	return e
}

// A peer is told of a group's topics, envelopes and mesh only if the two are fellows in
// that group: not if it only connects, not if it knows the topics and listens there, and
// not if it is a fellow in another group.
func TestTopicsAreToldToFellowsAlone(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		b, c := w.open(1, 0), w.open(2, 0, 1)
		public := w.create(a, "tea house")
		w.join(b, public)
		w.join(c, public)
		private, err := a.CreateGroup(w.within(time.Minute), CreateGroup{Name: "hidden tea", Policy: wire.PolicyInvite, Private: true})
		if err != nil {
			w.Fatal(err)
		}
		_, link := w.invite(a, private, inviteTerms{})
		w.joinByLink(b, link)

		ctx, cancel := context.WithCancel(w.Context())
		defer cancel()
		topics := a.pubsub.GetTopics()
		if len(topics) != 2 {
			w.Fatalf("topics %v", topics)
		}
		others := map[string]*eavesdropper{
			"a peer that only connects":    w.eavesdrop(ctx, w.hostile(7, 0, 1), pubsub.NewGossipSub),
			"a peer that knows the topics": w.eavesdrop(ctx, w.hostile(8, 0, 1), pubsub.NewGossipSub, topics...),
			"a peer that speaks floodsub":  w.eavesdrop(ctx, w.hostile(9, 0, 1), pubsub.NewFloodSub, topics...),
		}
		said := make(map[wire.GroupID][]string)
		for i := range 20 {
			for _, id := range []wire.GroupID{public, private} {
				text := fmt.Sprintf("message %d", i)
				said[id] = append(said[id], text)
				w.send(a, id, text)
			}
			time.Sleep(time.Second) // virtual: heartbeats announce what they have
		}
		w.shows(b, private, time.Minute, said[private]...)
		w.shows(c, public, time.Minute, said[public]...)
		for who, e := range others {
			if heard := e.all(); len(heard) > 0 {
				w.Errorf("%s is told %d things, such as: %s", who, len(heard), heard[0])
			}
		}
		// A fellow of the one group is told of that one.
		for _, name := range topics {
			told := slices.Contains(c.pubsub.ListPeers(name), a.host.ID())
			if name == public.Topic() && !told {
				w.Error("a member is not told of its group's topic")
			}
			if name != public.Topic() && told {
				w.Error("a member of one group is told of another, private one")
			}
		}
	})
}

// Members are in each other's mesh within seconds: when they meet again, and when one has
// just come in.
func TestMeshOfFellows(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		b, c := w.open(1, 0), w.open(2, 0, 1)
		id := w.create(a, "tea house")
		meet := func(d time.Duration, all ...*Node) {
			w.Helper()
			for _, n := range all {
				for end := time.Now().Add(d); len(n.groups.get(id).topics.peers()) < len(all)-1; time.Sleep(100 * time.Millisecond) {
					if time.Now().After(end) {
						w.Fatalf("%s reaches %d peers by gossip", n.Device().Cert.Name, len(n.groups.get(id).topics.peers()))
					}
				}
			}
		}
		w.join(b, id)
		meet(2*time.Second, a, b)
		w.join(c, id)
		meet(2*time.Second, a, b, c)
		time.Sleep(2 * time.Second) // virtual: a heartbeat
		before := b.metrics.counters()["envelopes_accept"]
		w.send(c, id, "from who came last")
		w.shows(b, id, time.Second, "from who came last")
		if b.metrics.counters()["envelopes_accept"] == before {
			w.Error("it came by a stream")
		}
		w.close(1)
		b = w.open(1, 0)
		if err := b.Wait(w.within(time.Minute), api.LevelOnline); err != nil {
			w.Fatal(err)
		}
		meet(10*time.Second, a, b)
	})
}

// A peer that proved itself by a key which somebody who was taken out has too is a fellow no
// longer: it may be that somebody's, under another name.
func TestFellowByAKeyThatIsOut(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		b := w.open(1, 0)
		id := w.create(a, "tea house")
		w.join(b, id)
		other := w.hostile(9, 0)
		w.insider(other, id, a)
		if !a.fellows.may(other.ID(), id.Topic()) {
			w.Fatal("it is no fellow")
		}
		if err := a.step(w.within(time.Minute), id, group.RemoveUser{User: b.Device().User}); err != nil {
			w.Fatal(err)
		}
		w.eventually(a, time.Minute, "both are fellows no longer", func() bool {
			return !a.fellows.may(other.ID(), id.Topic()) && !a.fellows.may(b.host.ID(), id.Topic())
		})
	})
}

// Peers of a group that was forgotten here are fellows and members to this node no longer.
func TestForgottenGroupHasNoFellows(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		b := w.open(1, 0)
		id := w.create(a, "tea house")
		w.join(b, id)
		topic := id.Topic()
		if !b.fellows.may(a.host.ID(), topic) || !b.door.members.Has(a.host.ID()) {
			w.Fatal("they are no fellows")
		}
		if _, err := b.leave(w.within(time.Minute), id); err != nil {
			w.Fatal(err)
		}
		w.eventually(b, 5*time.Minute, "out", func() bool {
			st, err := b.GroupStatus(w.Context(), id)
			return err == nil && st.State == group.StateOut
		})
		if _, err := b.forget(w.within(time.Minute), id, true); err != nil {
			w.Fatal(err)
		}
		if b.fellows.may(a.host.ID(), topic) || b.door.members.Has(a.host.ID()) {
			w.Error("the members of a forgotten group are still trusted")
		}
	})
}

// What a peer says that it listens to takes little room.
func TestTopicsOfStrangersAreBounded(t *testing.T) {
	var wasted int
	f := newFellows(func(peer.ID) { wasted++ }, func(peer.ID) bool { return true }, func(peer.ID, string) bool { return false })
	id := wire.GroupID{1}
	f.on("ours", id)
	f.named(id, map[peer.ID]bool{"fellow": true}, nil)
	subs := func(n int) (out []*pb.RPC_SubOpts) {
		for i := range n {
			name, yes := fmt.Sprint("topic ", i), true
			out = append(out, &pb.RPC_SubOpts{Topicid: &name, Subscribe: &yes})
		}
		long, yes := strings.Repeat("x", maxTopic+1), true
		return append(out, &pb.RPC_SubOpts{Topicid: &long, Subscribe: &yes})
	}
	for p, want := range map[peer.ID]int{"stranger": topicsHeard, "fellow": topicsHeard + topicsHeardGroup} {
		for range 2 { // the same ones again are no more
			if got, err := f.FilterIncomingSubscriptions(p, subs(1000)); err != nil || len(got) != want {
				t.Errorf("%s: %d topics, %v, wants %d", p, len(got), err, want)
			}
		}
	}
	data := []byte("an envelope that was recorded")
	ours, theirs := "ours", "theirs"
	for p, want := range map[peer.ID]int{"stranger": 0, "fellow": 1} {
		wasted = 0
		r := &pubsub.RPC{RPC: pb.RPC{
			Publish: []*pb.Message{{Topic: &ours, Data: data}, {Topic: &theirs, Data: data}},
			Control: &pb.ControlMessage{
				Graft: []*pb.ControlGraft{{TopicID: &ours}}, Prune: []*pb.ControlPrune{{TopicID: &ours}}, Ihave: []*pb.ControlIHave{{TopicID: &ours}},
			},
		}}
		f.inspect(p, r)
		if len(r.Publish) != want || wasted != 2-want || len(r.Control.Graft) != want || len(r.Control.Prune) != want || len(r.Control.Ihave) != want {
			t.Errorf("%s: left %v, %d wasted", p, &r.RPC, wasted)
		}
	}
}
