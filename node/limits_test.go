package node

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/admission"
	"github.com/pandanode/pandanode/node/wire"
)

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
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		b := w.open(1, 0)
		for _, n := range []*Node{a, b} {
			n.hooks.mute.Store(true) // streams carry all
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
		allowed := admission.SyncTerms.Stranger.Burst + int(time.Since(began).Minutes()*float64(admission.SyncTerms.Stranger.PerMinute)) + 1
		if answered < admission.SyncTerms.Stranger.Burst || answered > allowed {
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
	t.Parallel()
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
		got := a.metrics.counters()["limited_"+admission.LimitedJoinBytes]
		if got < 7 {
			w.Errorf("%d of 8 requests of a MiB each were cut short within %v", got, time.Since(began))
		}
	})
}

// TestGarbageIsMetered floods a topic with envelopes that nobody is blamed for.
// Only so many are looked at, and a good one that the flooder brings first is taken
// from somebody else.
func TestGarbageIsMetered(t *testing.T) {
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
			most := int64(admission.GarbageTerms.Stranger.Burst + admission.GarbageTerms.Stranger.PerMinute*2)
			if got := n.metrics.counters()["envelopes_ignore"]; got < 100 || got > most {
				w.Errorf("node %d looked at %d of %d envelopes, at most %d", i, got, flood, most)
			}
		}
	})
}
