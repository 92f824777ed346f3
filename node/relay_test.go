package node

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/client"
	"github.com/multiformats/go-multiaddr"

	"github.com/pandanode/pandanode/node/api"
)

// behindRelay has nodes 0 and 1 reach each other through node 2 alone.
func (w *world) behindRelay(relay []libp2p.Option, serves RelayFor) {
	w.net.CutOnly(map[[2]int]bool{{0, 1}: true, {1, 0}: true})
	w.with = func(i int, cfg *Config) {
		own := []libp2p.Option{libp2p.ForceReachabilityPrivate()}
		if i == 2 {
			own = append(slices.Clip(relay), libp2p.ForceReachabilityPublic())
			cfg.RelayFor = serves
		} else {
			cfg.RelayThrough = []string{fmt.Sprintf("%v/p2p/%v", w.net.Addr(2), w.net.PeerID(2))}
		}
		cfg.NewHost = func(opts ...libp2p.Option) (host.Host, error) { return w.net.Host(i, append(opts, own...)...) }
	}
}

// TestTalkThroughARelay has two nodes that cannot reach each other meet through a
// third: by gossip where it relays without limits, by exchanges where it does not.
func TestTalkThroughARelay(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		relay  []libp2p.Option
		serves RelayFor
		state  network.Connectedness
	}{
		"of one's own": {nil, RelayForAnyone, network.Connected},
		"of libp2p":    {[]libp2p.Option{libp2p.EnableRelay(), libp2p.EnableRelayService()}, RelayForNobody, network.Limited},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.behindRelay(c.relay, c.serves)
				relay := w.open(2)
				a, b := w.open(0, 2), w.open(1, 2)
				for _, n := range []*Node{a, b} {
					for len(heldRelays(n.host.Addrs())) == 0 {
						if time.Since(n.opened) > 5*time.Minute {
							w.Fatal("no place at the relay")
						}
						time.Sleep(time.Second) // virtual
					}
				}
				id := w.create(a, "far apart")
				w.join(b, id)
				if got := a.host.Network().Connectedness(b.host.ID()); got != c.state {
					w.Errorf("they are %v, wants %v", got, c.state)
				}
				for _, conn := range a.host.Network().ConnsToPeer(b.host.ID()) {
					if !strings.Contains(conn.RemoteMultiaddr().String()+conn.LocalMultiaddr().String(), "p2p-circuit") {
						w.Errorf("they are connected directly: %v", conn.RemoteMultiaddr())
					}
				}
				var all []string
				for i := range 5 {
					text := fmt.Sprintf("message %d, %s", i, strings.Repeat("long ", 200))
					w.send([]*Node{a, b}[i%2], id, text)
					all = append(all, text)
					time.Sleep(time.Minute) // virtual: connections with limits end, and are made again
				}
				for _, n := range []*Node{a, b} {
					w.shows(n, id, 5*time.Minute, slices.Clone(all)...)
				}

				// The findings about it.
				f := healths(checkup(w.Context(), a, false))["relay"]
				if f.Health != api.HealthOK || f.Detail != "others can call it through "+relay.host.ID().String() {
					w.Errorf("of the one behind the relay: %+v", f)
				}
				f = healths(checkup(w.Context(), relay, false))["relay"]
				if c.serves == RelayForAnyone && f.Detail != "it relays for anyone, without limits" {
					w.Errorf("of the relay: %+v", f)
				}
			})
		})
	}
}

// TestRelayForMembers lets a member hold a place, and a stranger not; the stranger may
// call the member.
func TestRelayForMembers(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		w.with = func(i int, cfg *Config) {
			if i == 2 {
				cfg.RelayFor = RelayForMembers
			}
			cfg.NewHost = func(opts ...libp2p.Option) (host.Host, error) {
				return w.net.Host(i, append(opts, libp2p.EnableRelay())...)
			}
		}
		relay := w.open(2)
		member := w.open(0, 2)
		id := w.create(relay, "with a relay")
		w.join(member, id)
		w.eventually(relay, time.Minute, "knows the member", func() bool { return relay.door.members.Has(member.host.ID()) })
		stranger, err := w.net.Host(9, libp2p.EnableRelay())
		if err != nil {
			w.Fatal(err)
		}
		if _, err := client.Reserve(w.within(time.Minute), stranger, w.net.AddrInfo(2)); err == nil {
			w.Error("a stranger holds a place")
		}
		place, err := client.Reserve(w.within(time.Minute), member.host, w.net.AddrInfo(2))
		if err != nil || len(place.Addrs) == 0 || place.LimitData != 0 || place.LimitDuration != 0 {
			w.Fatalf("a member's place: %+v, %v", place, err)
		}
		circuit := multiaddr.StringCast(fmt.Sprintf("%v/p2p/%v/p2p-circuit", w.net.Addr(2), w.net.PeerID(2)))
		through := peer.AddrInfo{ID: member.host.ID(), Addrs: []multiaddr.Multiaddr{circuit}}
		w.net.Cut(9, 0)
		if err := stranger.Connect(w.within(time.Minute), through); err != nil {
			w.Errorf("a stranger cannot call a member: %v", err)
		}
	})
}

func TestRelayFindings(t *testing.T) {
	const id = peer.ID("relay")
	for _, c := range []struct {
		state  relayState
		health api.Health
		want   string
	}{
		{relayState{serves: RelayForNobody}, api.HealthOK, "none is used"},
		{relayState{serves: RelayForNobody, held: []peer.ID{id}, private: true}, api.HealthOK, "others can call it through " + id.String()},
		{relayState{serves: RelayForNobody, private: true}, api.HealthWarn, "no connected peer relays for it"},
		{relayState{serves: RelayForNobody, private: true, named: 1, connected: 1}, api.HealthWarn, "no relay of relay.through has taken this node"},
		{relayState{serves: RelayForNobody, private: true, named: 2}, api.HealthWarn, "none of the 2 relays of relay.through can be reached"},
		{relayState{serves: RelayForNobody, named: 1}, api.HealthWarn, "none of the 1 relays of relay.through can be reached"},
		{relayState{serves: RelayForMembers, named: 1}, api.HealthWarn, "it relays for members, without limits; none of the 1 relays"},
		{relayState{serves: RelayForNobody, named: 1, connected: 1}, api.HealthUnknown, "a relay of relay.through is connected"},
		{relayState{serves: RelayForNobody, named: 1, public: true}, api.HealthOK, "others reach this node without one"},
		{relayState{serves: RelayForMembers}, api.HealthOK, "it relays for members, without limits"},
		{relayState{serves: RelayForAnyone, private: true}, api.HealthWarn, "others cannot call it"},
	} {
		f := relayFinding(c.state)
		if f.Health != c.health || !strings.Contains(f.Detail, c.want) || f.Health == api.HealthWarn && f.Hint == "" {
			t.Errorf("%+v: %+v", c.state, f)
		}
	}
}
