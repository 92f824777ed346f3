package node

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"github.com/pandanode/pandanode/node/wire"
)

// TestWhoFailsHoldsUpNobody: a member whose exchanges fail, at once or after a while, is
// asked ever less often, and the others go on exchanging as if it were not there.
func TestWhoFailsHoldsUpNobody(t *testing.T) {
	t.Parallel()
	for name, serve := range map[string]func(network.Stream){
		"it resets":    func(s network.Stream) { _ = s.Reset() },
		"it is silent": func(s network.Stream) { _, _ = s.Read(make([]byte, 1)) },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				a := w.open(0)
				b, c := w.open(1, 0), w.open(2, 0, 1)
				id := w.create(a, "one is broken")
				w.join(b, id)
				w.join(c, id)
				time.Sleep(5 * time.Minute) // virtual
				var opened atomic.Int64
				c.host.SetStreamHandler(protocolID(wire.ProtocolSync), func(s network.Stream) {
					opened.Add(1)
					serve(s)
				})
				c.groups.get(id).life.end() // and opens none itself
				for _, n := range []*Node{a, b} {
					n.groups.get(id).scheduler.connected(c.host.ID()) // as after a connection that broke
				}
				last := func(n, of *Node) time.Time {
					s := n.groups.get(id).scheduler
					s.mu.Lock()
					defer s.mu.Unlock()
					return s.last[of.host.ID()]
				}
				time.Sleep(time.Minute) // virtual
				for range 8 {
					asked := time.Now()
					a.groups.get(id).scheduler.asked()
					b.groups.get(id).scheduler.asked()
					time.Sleep(2 * syncPatience) // virtual
					if !last(a, b).After(asked) || !last(b, a).After(asked) {
						w.Errorf("a minute after both have asked: a with b %v ago, b with a %v ago", time.Since(last(a, b)), time.Since(last(b, a)))
					}
					time.Sleep(14 * time.Minute) // virtual
				}
				// Twice, since there are two of them, and some while the pause has grown.
				if n, most := opened.Load(), int64(2*(2*time.Hour/syncRetryMax+10)); n < 10 || n > most {
					w.Errorf("%d exchanges were opened with it in two hours, at most %d are wanted", n, most)
				}
			})
		})
	}
}

// TestOneOfTwoOpens: of two members that connect, each of which wants to exchange with
// the other, one does, and either can be that one.
func TestOneOfTwoOpens(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		b := w.open(1, 0)
		id := w.create(a, "each other")
		w.join(b, id)
		time.Sleep(5 * time.Minute) // virtual
		for _, away := range []int{0, 1} {
			w.close(away)
			there := w.nodes[1-away]
			before := there.metrics.counters()
			back := w.open(away, 1-away)
			time.Sleep(2 * syncYield) // virtual
			here, now := back.metrics.counters()["catchups_ok"], there.metrics.counters()
			if there := now["catchups_ok"] - before["catchups_ok"]; here != 1 || there != 1 {
				w.Errorf("node %d is back: it had %d exchanges, the other one %d", away, here, there)
			}
			time.Sleep(5 * time.Minute) // virtual
		}
	})
}

// TestSecondOpensWhenTheFirstDoesNot is the other half of that.
func TestSecondOpensWhenTheFirstDoesNot(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		b := w.open(1, 0)
		id := w.create(a, "one is lazy")
		w.join(b, id)
		time.Sleep(5 * time.Minute) // virtual
		first, second := a, b
		if first.host.ID() > second.host.ID() {
			first, second = b, a
		}
		first.groups.get(id).scheduler.g.life.end()
		w.net.Cut(0, 1)
		time.Sleep(5 * time.Minute) // virtual
		var opened atomic.Int64
		first.host.SetStreamHandler(protocolID(wire.ProtocolSync), func(s network.Stream) {
			opened.Add(1)
			_ = s.Reset()
		})
		w.net.HealAll()
		w.eventually(second, time.Hour, "connected", func() bool { return second.isConnected(first.host.ID()) })
		time.Sleep(2 * syncYield) // virtual
		if opened.Load() == 0 {
			w.Error("nobody has opened an exchange")
		}
	})
}

// However many messages a device has asked for, the next one that it asks for twice is
// known to have been asked for.
func TestAskedBefore(t *testing.T) {
	s := newScheduler(nil)
	ask := func(d, i int) bool {
		id := wire.MessageID{byte(i), byte(i >> 8), byte(i >> 16)}
		return len(s.askedBefore(wire.DeviceID{byte(d), byte(d >> 8)}, []wire.MessageID{id})) == 1
	}
	for i := range 5 * maxWantedMessages / 2 {
		if ask(0, i) {
			t.Fatalf("message %d was asked for once", i)
		}
		if !ask(0, i) {
			t.Fatalf("message %d was asked for twice", i)
		}
	}
	for d := range 2 * maxWantedDevices {
		if ask(d+1, 1) || !ask(d+1, 1) {
			t.Fatalf("device %d", d)
		}
	}
	if n := len(s.wanted); n > maxWantedDevices {
		t.Errorf("it remembers %d devices", n)
	}
	kept := 0 // one more device costs one that was there, not all
	for d := range maxWantedDevices {
		if len(s.wanted[wire.DeviceID{byte(d + maxWantedDevices + 1), byte((d + maxWantedDevices + 1) >> 8)}]) > 0 {
			kept++
		}
	}
	if kept < maxWantedDevices/2 {
		t.Errorf("%d of the newest %d devices are remembered", kept, maxWantedDevices)
	}
	if n := len(s.wanted[wire.DeviceID{}]); n > maxWantedMessages {
		t.Errorf("it remembers %d messages of one", n)
	}
}
