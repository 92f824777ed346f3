package node

import (
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/proto"

	"github.com/pandanode/pandanode/node/group"
)

// TestRemovedLeavesTheMesh: a member that was taken out leaves the mesh with its own PRUNE, though
// it is no fellow any more. It would fill a place for as long as it is connected.
func TestRemovedLeavesTheMesh(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		b, c := w.open(1, 0), w.open(2, 0, 1)
		id := w.create(a, "tea house")
		w.join(b, id)
		w.join(c, id)
		time.Sleep(time.Minute) // virtual
		if !a.meshes.has(c.host.ID(), id.Topic()) {
			w.Fatal("it is in no mesh")
		}
		if err := a.step(w.within(time.Minute), id, group.RemoveUser{User: c.Device().User}); err != nil {
			w.Fatal(err)
		}
		w.eventually(c, 5*time.Minute, "out", func() bool {
			st, err := c.GroupStatus(w.Context(), id)
			return err == nil && st.State == group.StateOut
		})
		time.Sleep(time.Minute) // virtual
		for _, n := range []*Node{a, b} {
			if !n.isConnected(c.host.ID()) {
				w.Error("it is not connected any more")
			}
			if n.meshes.has(c.host.ID(), id.Topic()) {
				w.Errorf("it is in the mesh of %s", n.Device().Cert.Name)
			}
		}
	})
}

// TestMeshOfStrangers: peers that are no fellows any more and stay in the mesh, as the hostile do,
// get nothing and so count for nothing.
func TestMeshOfStrangers(t *testing.T) {
	m := newMeshes()
	for i := range fullMesh {
		m.Graft(peer.ID([]byte{byte(i)}), "tea")
	}
	if got := m.beside("tea", []peer.ID{"b", "c"}); !slices.Equal(got, []peer.ID{"b", "c"}) {
		t.Errorf("beside a mesh of strangers: %q", got)
	}
}

// TestHeardOfTheGone has strangers tell many topics and go at once, while GossipSub is busy and
// comes to it when they are gone: nothing of it is kept.
func TestHeardOfTheGone(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		idle := make(chan bool)
		a.fellows.wasted = func(peer.ID) { <-idle }
		for i := range 5 {
			h := w.hostile(10+i, 0)
			s, err := h.NewStream(w.Context(), a.host.ID(), "/meshsub/1.1.0")
			if err != nil {
				w.Fatal(err)
			}
			raw, err := appendRPC(nil, &pb.RPC{Publish: []*pb.Message{{Topic: proto.String("none"), Data: []byte("an envelope")}}})
			if err == nil {
				_, err = s.Write(raw)
			}
			for range 10 {
				if err == nil {
					err = writeSubscriptions(s, topicsHeard)
				}
			}
			if err != nil {
				w.Fatal(err)
			}
			time.Sleep(time.Second) // virtual
			if err := h.Close(); err != nil {
				w.Fatal(err)
			}
			time.Sleep(time.Second) // virtual
			idle <- true
		}
		time.Sleep(10 * time.Minute) // virtual
		a.fellows.mu.Lock()
		defer a.fellows.mu.Unlock()
		if left := len(a.fellows.heard); left > 0 || len(a.host.Network().Peers()) > 0 {
			w.Errorf("it keeps the topics of %d peers; %d are there", left, len(a.host.Network().Peers()))
		}
	})
}

// writeSubscriptions tells a node of so many topics.
func writeSubscriptions(s io.Writer, topics int) error {
	var r pb.RPC
	for i := range topics {
		r.Subscriptions = append(r.Subscriptions, &pb.RPC_SubOpts{Topicid: proto.String(fmt.Sprint("topic ", i)), Subscribe: proto.Bool(true)})
	}
	raw, err := appendRPC(nil, &r)
	if err == nil {
		_, err = s.Write(raw)
	}
	return err
}
