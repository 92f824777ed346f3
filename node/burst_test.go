package node

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"

	"github.com/pandanode/pandanode/node/group/verdict"
	"github.com/pandanode/pandanode/node/wire"
)

// TestBurst: gossip alone carries a burst of two senders with eight messages in flight
// each. Inside a node their envelopes overtake each other; nothing of that is left to an
// exchange, nothing is dropped, and all that was passed on was worth it.
func TestBurst(t *testing.T) {
	t.Parallel()
	const members, senders, inFlight, each = 5, 2, 8, 25
	inWorld(t, func(w *world) {
		var id wire.GroupID
		for i := range members {
			n := w.open(i, 0)
			if i == 0 {
				id = w.create(n, "tea house")
			} else {
				w.join(n, id)
			}
		}
		time.Sleep(2 * time.Minute) // virtual: everybody has exchanged with everybody
		type count struct{ exchanged, dropped, exchanges uint64 }
		counts := func() (out [members]count) {
			for i, n := range w.nodes {
				m := n.metrics
				out[i] = count{
					counted(m.CatchUpEntries.WithLabelValues(directionIn)),
					counted(m.Envelopes.WithLabelValues(verdict.Ignore.String())) + counted(m.Envelopes.WithLabelValues(verdict.Reject.String())),
					counted(m.Syncs.WithLabelValues(resultOf(nil))),
				}
			}
			return out
		}
		for _, n := range w.nodes {
			n.hooks.scatter.Store(true)
		}
		before, begun := counts(), time.Now()
		var all sync.WaitGroup
		var texts []string
		for s := range senders {
			for i := range inFlight * each {
				texts = append(texts, fmt.Sprintf("%d from %d", i, s))
			}
			for f := range inFlight {
				all.Go(func() {
					for i := range each {
						w.send(w.nodes[s], id, fmt.Sprintf("%d from %d", f*each+i, s))
					}
				})
			}
		}
		all.Wait()
		for i := range members {
			w.eventually(w.nodes[i], 10*time.Second, fmt.Sprintf("node %d shows %d messages", i, len(texts)), func() bool {
				return len(w.texts(w.nodes[i], id)) == len(texts)
			})
		}
		after := counts()
		for i := range members {
			if after[i] != before[i] {
				w.Errorf("node %d: entries by exchange, envelopes not passed on, exchanges: %v, before the burst %v", i, after[i], before[i])
			}
		}
		early := uint64(0)
		for _, n := range w.nodes {
			early += counted(n.metrics.Refusals.WithLabelValues(sourceGossip, string(refusal(verdict.ErrIncomplete))))
		}
		if early == 0 {
			w.Error("nothing overtook anything: the test shows nothing")
		}
		w.Logf("%d messages were everywhere after %v; %d times one came before what it builds on", len(texts), time.Since(begun), early)
	})
}

// TestLossIsMadeUp: what GossipSub drops, on the way out or on the way in, comes with an
// exchange a moment later; many losses make one.
func TestLossIsMadeUp(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id := w.create(a, "tea house")
		w.join(b, id)
		time.Sleep(20 * time.Minute) // virtual: nothing is exchanged but now and then
		topic := id.Topic()
		exchanges := func() uint64 { return counted(a.metrics.Syncs.WithLabelValues(resultOf(nil))) }
		lost := newLosses()
		ctx, cancel := context.WithCancel(w.Context())
		defer cancel()
		go lost.makeUp(ctx, a.groups)
		for name, lose := range map[string]func(){
			"out": func() { lost.DropRPC(&pubsub.RPC{RPC: pb.RPC{Publish: []*pb.Message{{Topic: &topic}}}}, b.host.ID()) },
			"in": func() {
				lost.RejectMessage(&pubsub.Message{Message: &pb.Message{Topic: &topic}, ReceivedFrom: b.host.ID()}, pubsub.RejectValidationThrottled)
			},
		} {
			w.noRoundSoon(id)
			before := exchanges()
			for range 1000 {
				lose()
			}
			time.Sleep(2 * syncLost) // virtual
			if n := exchanges() - before; n != 1 {
				w.Errorf("%s: %d exchanges after losses", name, n)
			}
		}
	})
}

// TestSaidBeforeTheMesh: GossipSub knows for up to a second that somebody listens and
// brings nothing to it: until a heartbeat takes it into the mesh. Afterwards it announces
// nothing to it. Messages that were sent meanwhile come with an exchange. Here the second
// is put off, since a topic that was left is not meshed anew for some seconds.
func TestSaidBeforeTheMesh(t *testing.T) {
	t.Parallel()
	const step = 300 * time.Millisecond
	for name, author := range map[string]int{"by a neighbour": 0, "by somebody behind a neighbour": 2} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.net.Cut(1, 2)
				a, b := w.open(0), w.open(1, 0)
				w.open(2, 0)
				id := w.create(a, "tea house")
				w.join(b, id)
				w.join(w.nodes[2], id)
				var all []string
				for after := 8 * time.Second; after < 16*time.Second; after += step {
					time.Sleep(2 * time.Minute) // virtual
					b.groups.get(id).topics.leave()
					b.groups.get(id).topics.listenOn([]string{id.Topic()})
					time.Sleep(after) // virtual
					all = append(all, fmt.Sprintf("%v after", after))
					w.send(w.nodes[author], id, all[len(all)-1])
					w.shows(b, id, 2*time.Second, all...)
				}
			})
		})
	}
}

// TestSaidAtOnce: what is said as soon as somebody is in is there in a moment, though GossipSub's
// mesh takes up to a second to take the newcomer in: the newcomer's word, one to it, and both
// again where three already talk.
func TestSaidAtOnce(t *testing.T) {
	t.Parallel()
	const soon = 100 * time.Millisecond // a heartbeat is a second
	inWorld(t, func(w *world) {
		a := w.open(0)
		id := w.create(a, "tea house")
		all := []*Node{a}
		var texts []string
		for i := 1; i < 5; i++ {
			b := w.open(i, 0)
			w.join(b, id)
			for {
				if len(b.groups.get(id).topics.peers()) == i && len(a.groups.get(id).topics.peers()) == i {
					break
				}
				time.Sleep(time.Millisecond) // virtual
			}
			for _, from := range []*Node{b, a} {
				texts = append(texts, fmt.Sprintf("%d: %s", i, from.Device().Cert.Name))
				w.send(from, id, texts[len(texts)-1])
			}
			all = append(all, b)
			begun := time.Now()
			for _, n := range all {
				for _, text := range texts[len(texts)-2:] {
					w.eventually(n, time.Minute, text, func() bool { return slices.Contains(w.texts(n, id), text) })
					if took := time.Since(begun); took > soon {
						w.Errorf("%s shows %q after %v", n.Device().Cert.Name, text, took)
					}
				}
			}
			time.Sleep(time.Minute) // virtual: the mesh has them all
		}
	})
}
