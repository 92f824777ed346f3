package simhost

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
)

func pingOnce(t *testing.T, s *ping.PingService, p peer.ID) (time.Duration, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	r, ok := <-s.Ping(ctx, p)
	if !ok {
		return 0, errors.New("no answer")
	}
	return r.RTT, r.Error
}

func TestHostsTalkAndCutsAreSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(Config{Latency: 20 * time.Millisecond})
		defer func() {
			if err := n.Close(); err != nil {
				t.Error(err)
			}
		}()
		a, err := n.Host(0)
		if err != nil {
			t.Fatal(err)
		}
		b, err := n.Host(1)
		if err != nil {
			t.Fatal(err)
		}
		if b.ID() != n.PeerID(1) {
			t.Fatal("a host's identity does not follow from its index")
		}
		if err := a.Connect(t.Context(), n.AddrInfo(1)); err != nil {
			t.Fatal(err)
		}
		pings := ping.NewPingService(a)
		rtt, err := pingOnce(t, pings, b.ID())
		if err != nil || rtt < 40*time.Millisecond || rtt > 50*time.Millisecond {
			t.Fatalf("ping took %v, %v", rtt, err)
		}

		n.Partition([]int{0}, []int{1})
		if _, err := pingOnce(t, pings, b.ID()); err == nil {
			t.Fatal("a packet crossed a cut")
		}
		if _, dropped := n.Packets(); dropped == 0 {
			t.Fatal("nothing was dropped")
		}
		time.Sleep(2 * time.Minute) // virtual: QUIC gives up
		if c := a.Network().Connectedness(b.ID()); c == network.Connected {
			t.Fatalf("still %v after two minutes of silence", c)
		}

		n.HealAll()
		time.Sleep(10 * time.Minute) // virtual: the swarm's backoff passes
		if err := a.Connect(t.Context(), n.AddrInfo(1)); err != nil {
			t.Fatal(err)
		}
		if _, err := pingOnce(t, pings, b.ID()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestHostComesBackAsItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(Config{Seed: 7, Loss: 0.02})
		defer n.Close()
		a, err := n.Host(0)
		if err != nil {
			t.Fatal(err)
		}
		for round := range 3 {
			b, err := n.Host(1)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			if err := a.Connect(ctx, n.AddrInfo(1)); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			cancel()
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute) // virtual
		}
	})
}

func TestIndexOfAddress(t *testing.T) {
	seen := map[string]bool{}
	for i := range 1000 {
		ip := ipOf(i)
		if indexOf(ip) != i || seen[ip.String()] {
			t.Fatalf("host %d has %v, which reads as %d", i, ip, indexOf(ip))
		}
		seen[ip.String()] = true
	}
}
