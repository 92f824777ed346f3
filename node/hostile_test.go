package node

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"

	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// hostile is a host that speaks libp2p and does as it likes.
func (w *world) hostile(i int, contacts ...int) host.Host {
	w.Helper()
	h, err := w.net.Host(i)
	if err != nil {
		w.Fatal(err)
	}
	for _, c := range contacts {
		if err := h.Connect(w.within(time.Minute), w.net.AddrInfo(c)); err != nil {
			w.Fatal(err)
		}
	}
	return h
}

// flooder gives a topic that publishes whatever it is given.
func (w *world) flooder(ctx context.Context, h host.Host, topic string) *pubsub.Topic {
	w.Helper()
	ps, err := pubsub.NewGossipSub(ctx, h, pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithNoAuthor(),
		pubsub.WithMessageIdFn(func(m *pb.Message) string { return string(m.GetData()) }))
	if err != nil {
		w.Fatal(err)
	}
	t, err := ps.Join(topic)
	if err != nil {
		w.Fatal(err)
	}
	if _, err := t.Subscribe(); err != nil {
		w.Fatal(err)
	}
	return t
}

// damaged is an envelope that everybody with its transport key rejects.
func damaged(envelope []byte, i int) []byte {
	out := slices.Clone(envelope)
	copy(out[len(out)-16:], fmt.Sprintf("%016d", i))
	return out
}

// insider makes members take a host's peer for a fellow, as if it had shown that it holds
// the transport key.
func (w *world) insider(h host.Host, id wire.GroupID, members ...*Node) {
	for _, n := range members {
		if err := n.groups.get(id).loop.look(w.Context(), func(m *group.Machine) error {
			key, _ := m.Transport().Key()
			n.fellows.proved(id, h.ID(), wire.DeviceID{1}, key)
			return nil
		}); err != nil {
			w.Fatal(err)
		}
	}
}

// TestFlooderIsGraylisted lets somebody with the transport key flood a group's topic with
// what no honest member sends. After a few of it nobody listens to it any more, while
// members go on as before.
func TestFlooderIsGraylisted(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		b := w.open(1, 0)
		id := w.create(a, "flooded")
		w.join(b, id)
		ctx, cancel := context.WithCancel(w.Context())
		defer cancel()
		bad := w.hostile(9, 0, 1)
		w.insider(bad, id, a, b)
		topic := w.flooder(ctx, bad, id.Topic())
		time.Sleep(5 * time.Second) // virtual: it is in the mesh

		valid, err := a.groups.get(id).envelope(w.Context(), w.send(a, id, "as seen on the wire"))
		if err != nil {
			w.Fatal(err)
		}
		const flood, each = 3000, 10 * time.Millisecond
		said := []string{"as seen on the wire"}
		for i := range flood {
			if err := topic.Publish(ctx, damaged(valid, i)); err != nil {
				w.Fatal(err)
			}
			if i%500 == 250 {
				said = append(said, fmt.Sprintf("through the flood %d", i))
				w.send(a, id, said[len(said)-1])
				w.shows(b, id, 2*time.Second, append([]string(nil), said...)...) // gossip is that fast, streams are not
			}
			time.Sleep(each) // virtual
		}
		for i, n := range []*Node{a, b} {
			rejected := n.metrics.counters()["envelopes_reject"]
			if rejected == 0 || rejected > 50 {
				w.Errorf("node %d looked at %d of %d invalid envelopes", i, rejected, flood)
			}
		}
		for _, n := range []*Node{a, b} {
			if !n.isConnected(map[*Node]*Node{a: b, b: a}[n].host.ID()) {
				w.Error("the members are not connected any more")
			}
		}
	})
}
