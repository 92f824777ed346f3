package node

import (
	"context"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/wire"
)

// TestMeter follows the buckets of a stranger, a fellow and a crowd through time.
func TestMeter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeter(terms{stranger: allowance{4, 2}, strangers: allowance{20, 10}, fellow: allowance{8, 60}})
		passes := func(p string, shared, tries int) (n int) {
			for range tries {
				if m.take(peer.ID(p), shared, 1) {
					n++
				}
			}
			return n
		}
		for _, step := range []struct {
			what, peer          string
			shared, tries, want int
			after               time.Duration
		}{
			{"a stranger's burst", "s", 0, 10, 4, 0},
			{"and then two a minute", "s", 0, 10, 2, time.Minute},
			{"never more than the burst", "s", 0, 10, 4, time.Hour},
			{"a fellow's burst", "f", 1, 100, 8, 0},
			{"it shares more groups now", "f", 3, 1, 1, time.Minute},
			{"and has more for each", "f", 3, 100, 24, time.Minute},
			{"and less when it shares fewer", "f", 1, 100, 8, time.Hour},
			{"once it shares none it is a stranger", "f", 0, 100, 4, 0},
		} {
			time.Sleep(step.after) // virtual
			if got := passes(step.peer, step.shared, step.tries); got != step.want {
				t.Errorf("%s: %d, wants %d", step.what, got, step.want)
			}
		}
		time.Sleep(time.Hour) // virtual
		crowd := 0
		for i := range 3 * maxMetered {
			crowd += passes(fmt.Sprint("sybil ", i), 0, 4)
		}
		if crowd != 20 {
			t.Errorf("a crowd of strangers got %d, wants 20", crowd)
		}
		if !m.empty("another stranger", 0) {
			t.Error("one more stranger finds the bucket full")
		}
		if m.empty("f", 1) || passes("f", 1, 100) != 8 {
			t.Error("the crowd took a fellow's tokens")
		}
		if m.each.Len() > maxMetered || m.ofFellow.Len() > maxMetered {
			t.Errorf("%d and %d buckets are kept", m.each.Len(), m.ofFellow.Len())
		}
	})
}

// opened says whether a node answers one more stream of a protocol, by a frame.
func opened(ctx context.Context, h host.Host, p peer.ID, protocol string, first []byte) bool {
	s, err := h.NewStream(ctx, p, protocolID(protocol))
	if err != nil {
		return false
	}
	defer s.Reset() //nolint:errcheck // it is over
	if _, err := s.Write(first); err != nil {
		return false
	}
	_, err = io.ReadFull(s, make([]byte, 1))
	return err == nil
}

// TestStreamsAreMetered lets a stranger open streams without end: it gets what a
// stranger gets, and members go on exchanging.
func TestStreamsAreMetered(t *testing.T) {
	inWorld(t, func(w *world) {
		a := w.open(0)
		b := w.open(1, 0)
		for _, n := range []*Node{a, b} {
			n.mute.Store(true) // streams carry all
		}
		id := w.create(a, "besieged")
		w.join(b, id)
		bad := w.hostile(9, 0)
		var hello bytesOf
		if err := wire.WriteFrame(&hello, newHello(id)); err != nil {
			w.Fatal(err)
		}
		began := time.Now()
		answered := 0
		for range 300 {
			if opened(w.within(time.Minute), bad, a.host.ID(), wire.ProtocolSync, hello) {
				answered++
			}
		}
		allowed := syncTerms.stranger.burst + int(time.Since(began).Minutes()*float64(syncTerms.stranger.perMinute)) + 1
		if answered < syncTerms.stranger.burst || answered > allowed {
			w.Errorf("%d streams of a stranger were answered within %v, at most %d should be", answered, time.Since(began), allowed)
		}
		if got := a.metrics.counters()["limited_"+wire.ProtocolSync]; got != int64(300-answered) {
			w.Errorf("%d refused streams were counted, %d were refused", got, 300-answered)
		}
		if !a.isConnected(bad.ID()) {
			w.Error("the stranger was blamed")
		}
		w.send(a, id, "besieged")
		w.shows(b, id, time.Minute, "besieged")
		time.Sleep(time.Minute) // virtual
		if !opened(w.within(time.Minute), bad, a.host.ID(), wire.ProtocolSync, hello) {
			w.Error("a minute later the stranger is still refused")
		}
	})
}

type bytesOf []byte

func (b *bytesOf) Write(p []byte) (int, error) { *b = append(*b, p...); return len(p), nil }

// TestJoinBytesAreMetered has a stranger send join requests as large as frames may be.
func TestJoinBytesAreMetered(t *testing.T) {
	inWorld(t, func(w *world) {
		a := w.open(0)
		w.create(a, "besieged")
		bad := w.hostile(9, 0)
		began := time.Now()
		sent := 0
		large := make([]byte, wire.MaxFrame)
		copy(large, []byte{0, 0x0f, 0xff, 0xf0}) // the length
		for range 8 {
			s, err := bad.NewStream(w.within(time.Minute), a.host.ID(), wire.ProtocolJoin)
			if err != nil {
				w.Fatal(err)
			}
			n, err := s.Write(large)
			sent += n
			if err == nil {
				_, _ = io.ReadAll(s)
			}
			_ = s.Reset()
		}
		got := a.metrics.counters()["limited_"+limitedJoinBytes]
		if got < 7 {
			w.Errorf("%d of 8 requests of a MiB each were cut short within %v", got, time.Since(began))
		}
	})
}

// TestGarbageIsMetered floods a topic with envelopes that nobody is blamed for.
// Only so many are looked at, and a good one that the flooder brings first is taken
// from somebody else.
func TestGarbageIsMetered(t *testing.T) {
	inWorld(t, func(w *world) {
		a := w.open(0)
		b := w.open(1, 0)
		id := w.create(a, "flooded")
		w.join(b, id)
		ctx, cancel := context.WithCancel(w.Context())
		defer cancel()
		topic := w.flooder(ctx, w.hostile(9, 0, 1), id.Topic())
		time.Sleep(5 * time.Second) // virtual: it is in the mesh
		const flood = 3000
		var said []string
		for i := range flood {
			if err := topic.Publish(ctx, fmt.Appendf(nil, "a version of tomorrow %d", i)); err != nil {
				w.Fatal(err)
			}
			if i%500 == 250 {
				said = append(said, fmt.Sprintf("through the flood %d", i))
				w.send(a, id, said[len(said)-1])
				w.shows(b, id, 2*time.Second, append([]string(nil), said...)...)
			}
			time.Sleep(10 * time.Millisecond) // virtual
		}
		for i, n := range []*Node{a, b} {
			most := int64(garbageTerms.stranger.burst + garbageTerms.stranger.perMinute*2)
			if got := n.metrics.counters()["envelopes_ignore"]; got < 100 || got > most {
				w.Errorf("node %d looked at %d of %d envelopes, at most %d", i, got, flood, most)
			}
		}
	})
}
