package node

import (
	"encoding/binary"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"google.golang.org/protobuf/proto"
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
// on, and it is counted.
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
				time.Sleep(10 * time.Minute) // virtual
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
				w.shows(b, id, time.Minute, "as seen on the wire")
			})
		})
	}
}
