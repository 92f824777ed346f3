package node

import (
	"io"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/discovery"
	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/wire"
)

// fakeMembers are peers that say in the DHT that they are members of a group, and deal with
// requests to join like this.
func (w *world) fakeMembers(id wire.GroupID, from, n, contact int, deal func(network.Stream)) {
	w.Helper()
	info, err := w.nodes[contact].directory.lookup(w.within(time.Minute), id)
	if err != nil {
		w.Fatal(err)
	}
	var all []*discovery.Publisher
	for i := from; i < from+n; i++ {
		h := w.hostile(i, contact)
		h.SetStreamHandler(wire.ProtocolJoin, deal)
		d, err := discovery.NewDHT(discovery.DHTConfig{
			Host: h, Bootstrap: []peer.AddrInfo{w.net.AddrInfo(contact)},
			Known: discovery.NewKnown(func(wire.GroupID, []byte) {}), Clock: time.Now,
		})
		if err != nil {
			w.Fatal(err)
		}
		p := discovery.NewPublisher(discovery.PublisherConfig{DHT: d})
		defer func() {
			p.Close()
			if err := d.Close(); err != nil {
				w.Error(err)
			}
		}()
		if _, err := p.Publish(info); err != nil {
			w.Fatal(err)
		}
		all = append(all, p)
	}
	for _, p := range all {
		for end := time.Now().Add(5 * time.Minute); ; time.Sleep(time.Second) {
			if st, _ := p.Status(id); st.State == discovery.Published {
				break
			}
			if time.Now().After(end) {
				w.Fatal("a fake member is not in the DHT")
			}
		}
	}
}

// Peers that say they are members, and answer nothing or keep somebody waiting, do not keep
// a newcomer from a member that nobody else names.
func TestSilentFakeMembers(t *testing.T) {
	t.Parallel()
	silent := func(s network.Stream) { _, _ = io.Copy(io.Discard, s) }
	inWorld(t, func(w *world) {
		hub := w.open(0)
		a, b := w.open(1, 0), w.open(2, 0)
		id := w.create(a, "tea house")
		w.join(b, id)
		w.dhtSays(5*time.Minute, "the group has a record and a member in the DHT", func() bool {
			found := false
			for p := range hub.directory.dht.Members(w.within(time.Minute), id) {
				found = found || p.ID == b.host.ID()
			}
			_, err := hub.directory.lookup(w.within(time.Minute), id)
			return found && err == nil
		})
		w.close(1) // the founder, whom the record names, is gone
		const fakes = 48
		w.fakeMembers(id, 10, fakes, 0, silent)
		if n := len(w.said(hub, id)); n < fakes {
			w.Fatalf("only %d peers say that they are members", n)
		}
		c := w.open(3, 0)
		if err := c.Wait(w.within(time.Minute), api.LevelOnline); err != nil {
			w.Fatal(err)
		}
		began := time.Now()
		if err := c.Join(w.within(time.Minute), id); err != nil {
			w.Fatal(err)
		}
		w.eventually(c, time.Hour, "joined", func() bool {
			p, err := c.joinProgress(w.Context(), id)
			return err == nil && (p.Stage == stageWelcomed || p.Stage == stageSynced)
		})
		took := time.Since(began)
		w.Logf("welcomed after %v", took)
		if took > 5*time.Second {
			w.Errorf("%d silent peers kept a newcomer waiting for %v", fakes, took)
		}
	})
}

// said lists who says in the DHT to be a member.
func (w *world) said(n *Node, id wire.GroupID) (out []peer.ID) {
	for p := range n.directory.dht.Members(w.within(30*time.Second), id) {
		out = append(out, p.ID)
	}
	return out
}
