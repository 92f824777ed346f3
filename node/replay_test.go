package node

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"google.golang.org/protobuf/proto"

	"github.com/pandanode/pandanode/node/admission"
)

// speaker opens a stream of GossipSub to a node, on which a test says whatever it likes.
func (w *world) speaker(h host.Host, to *Node) network.Stream {
	w.Helper()
	s, err := h.NewStream(w.Context(), to.host.ID(), pubsub.GossipSubID_v11)
	if err != nil {
		w.Fatal(err)
	}
	return s
}

// say writes one RPC.
func (w *world) say(s network.Stream, r *pb.RPC) {
	w.Helper()
	b, err := proto.Marshal(r)
	if err == nil {
		_, err = s.Write(append(binary.AppendUvarint(nil, uint64(len(b))), b...))
	}
	if err != nil {
		w.Fatal(err)
	}
}

// An envelope that was recorded on the wire is replayed after GossipSub has forgotten it:
// by a stranger, and by a peer that is a fellow. Nobody takes it for news, nobody passes it
// on, and it is counted. A stranger that goes on is not listened to any more.
func TestOldEnvelopeIsNotPassedOn(t *testing.T) {
	t.Parallel()
	for name, fellow := range map[string]bool{"stranger": false, "fellow": true} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				a := w.open(0)
				b := w.open(1, 0)
				id := w.create(a, "tea house")
				w.join(b, id)
				envelope, err := a.groups.get(id).envelope(w.Context(), w.send(a, id, "as seen on the wire"))
				if err != nil {
					w.Fatal(err)
				}
				w.shows(b, id, time.Minute, "as seen on the wire")
				bad := w.hostile(9, 0, 1)
				if fellow {
					w.insider(bad, id, a, b)
				}
				ctx, cancel := context.WithCancel(w.Context())
				defer cancel()
				third := w.hostile(8, 0, 1)
				w.insider(third, id, a, b)
				ear := w.eavesdrop(ctx, third, pubsub.NewGossipSub, id.Topic())
				time.Sleep(10 * time.Minute) // virtual
				news := len(ear.all())
				w.send(a, id, "a third peer hears this")
				time.Sleep(5 * time.Second) // virtual
				if !slices.Contains(ear.all()[news:], "envelope on "+id.Topic()) {
					w.Fatal("the third peer hears nothing")
				}
				judged := func(verdict string) int64 {
					return a.metrics.counters()["envelopes_"+verdict] + b.metrics.counters()["envelopes_"+verdict]
				}
				accepted, ignored := judged("accept"), judged("ignore")
				name := id.Topic()
				to := w.speaker(bad, a)
				const times = 3
				for range times {
					w.say(to, &pb.RPC{Publish: []*pb.Message{{Topic: &name, Data: envelope}}})
					time.Sleep(5 * time.Minute) // virtual: it is forgotten again
				}
				if n := judged("accept") - accepted; n != 0 {
					w.Errorf("members took %d of %d replays for news", n, times)
				}
				if n := judged("ignore") - ignored; n != times {
					w.Errorf("%d replays are counted as ignored", n)
				}
				if n := ear.times(envelope); n != 0 {
					w.Errorf("replays were passed on %d times", n)
				}
				w.shows(b, id, time.Minute, "as seen on the wire", "a third peer hears this")
				const flood = 200
				old := slices.Repeat([][]byte{envelope}, flood)
				if fellow { // in other envelopes: GossipSub drops one that comes twice
					for i := range old {
						if old[i], err = a.groups.get(id).envelope(w.Context(), w.send(a, id, fmt.Sprint(i))); err != nil {
							w.Fatal(err)
						}
					}
					time.Sleep(10 * time.Minute) // virtual
				}
				ignored = judged("ignore")
				for _, b := range old {
					w.say(to, &pb.RPC{Publish: []*pb.Message{{Topic: &name, Data: b}}})
					time.Sleep(time.Millisecond) // virtual
				}
				most := int64(admission.GarbageTerms.Stranger.Burst + admission.GarbageTerms.Stranger.PerMinute)
				if n := judged("ignore") - ignored; n < most/4 || fellow && n > most {
					w.Errorf("%d of %d replays were counted, at most %d", n, flood, most)
				}
				next := &pubsub.RPC{RPC: pb.RPC{Publish: []*pb.Message{{Topic: &name, Data: envelope}}}}
				if err := a.door.limits.Inspect(bad.ID(), next); err != nil || len(next.Publish) > 0 {
					w.Errorf("after %d replays the next one is looked at, %v", flood, err)
				}
			})
		})
	}
}
