package discovery

import (
	"io"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/pandanode/pandanode/internal/simhost"
	"github.com/pandanode/pandanode/node/wire"
)

// catalog tells of some groups.
type catalog []*Info

func (c catalog) PublicGroups() []*Info { return c }

// 65 groups that one host has made up, with the name of a real one and a million members
// each, neither crowd it out nor come before it.
func TestRankAmongFakes(t *testing.T) {
	bubble(t, func(t *testing.T, n *simhost.Net) {
		one := newStation(t, n, 1)
		liar := newStation(t, n, 3, 1)
		two := newStation(t, n, 2, 1, 3)
		defer one.close(t)
		defer two.close(t)
		defer liar.close(t)
		group := newGroup(t, newSomeone(t, 0), 1, "tea house")
		one.publish(t, group)
		eventually(t, time.Minute, "published", one.published(group.Group))
		var fakes catalog
		for i := range 65 {
			s := newSomeone(t, 10+i)
			i := newGroup(t, s, byte(10+i), "tea house")
			fakes = append(fakes, must(i.SetHead(s.device, s.log, at(0), wire.Head{Members: 1 << 20}))(t))
		}
		liar.finder.Close()
		liar.finder = NewFinder(FinderConfig{Host: liar.host, DHT: liar.dht, Peers: liar.peers, Catalog: fakes})
		if err := liar.dht.provide(t.Context(), wordCID("tea")); err != nil {
			t.Fatal(err)
		}
		found := must(two.finder.Rank(t.Context(), Query{Name: "tea house", Limit: 20}))(t)
		if len(found) != 20 {
			t.Fatalf("%d groups", len(found))
		}
		if found[0].Info.Group != group.Group || found[0].Votes < 1 || found[0].Votes < 2*found[1].Votes {
			t.Errorf("first comes %v with %.2f votes and %d members, then one with %.2f", found[0].Info.Group, found[0].Votes, found[0].Info.Members(), found[1].Votes)
		}
		if fake := found[1]; fake.Votes > 0.02 || fake.Info.Members() != 1<<20 {
			t.Errorf("a fake has %.3f votes, %d members", fake.Votes, fake.Info.Members())
		}
	})
}

// The votes of places do not depend on how many peers are there.
func TestPlaces(t *testing.T) {
	bubble(t, func(t *testing.T, n *simhost.Net) {
		a, b := newStation(t, n, 1), newStation(t, n, 2, 1)
		defer a.close(t)
		defer b.close(t)
		eventually(t, time.Minute, "connected", func() bool { return len(b.host.Network().Peers()) > 0 })
		place := placeOf(b.host, a.host.ID())
		if place == string(a.host.ID()) || place != NetworkOf(b.host, a.host.ID()) {
			t.Errorf("a public address is in place %x", place)
		}
		if placeOf(b.host, "nobody") != "nobody" {
			t.Error("a peer that is not connected shares its place")
		}
	})
}

// Peers that take searches and say nothing keep nobody from a group, however many they are:
// neither a search that shows what it finds, nor one that waits for all.
func TestSearchAmongSilentPeers(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, n *simhost.Net) {
		one := newStation(t, n, 1)
		defer one.close(t)
		two := newStation(t, n, 2, 1)
		defer two.close(t)
		group := newGroup(t, newSomeone(t, 0), 1, "tea house")
		one.publish(t, group)
		eventually(t, time.Minute, "published", one.published(group.Group))
		const mute = 40
		for i := range mute {
			h := must(n.Host(10 + i))(t)
			defer func() { _ = h.Close() }()
			h.SetStreamHandler(wire.ProtocolFind, func(s network.Stream) { _, _ = io.Copy(io.Discard, s) })
			if err := h.Connect(t.Context(), peer.AddrInfo{ID: two.host.ID(), Addrs: two.host.Addrs()}); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, time.Minute, "connected", func() bool { return len(two.host.Network().Peers()) > mute })
		began := time.Now()
		found := must(two.finder.Rank(t.Context(), Query{Name: "tea house"}))(t)
		if took := time.Since(began); len(found) != 1 || found[0].Info.Group != group.Group || took > 7*time.Second {
			t.Errorf("%d groups after %v", len(found), took)
		}
	})
}
