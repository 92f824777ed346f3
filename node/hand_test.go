package node

import (
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/group"
	"github.com/pandanode/pandanode/node/wire"
)

// held sends a message and waits until it is held.
func (w *world) held(n *Node, id wire.GroupID, within time.Duration) (api.Sent, time.Duration) {
	w.Helper()
	begun := time.Now()
	sent, err := n.API().Send(w.Context(), api.SendRequest{Group: id.String(), Text: "hello", Wait: api.DeliveryHeld, Timeout: api.Duration(within)})
	if err != nil {
		w.Fatal(err)
	}
	return sent, time.Since(begun)
}

// noRoundSoon has each node open an exchange, so that none opens a periodic one in the next
// 20 s unless something happens.
func (w *world) noRoundSoon(id wire.GroupID) {
	w.Helper()
	for i, n := range w.nodes {
		n.groups.get(id).scheduler.exchangeWith(w.nodes[(i+1)%len(w.nodes)].host.ID())
		time.Sleep(2 * time.Second) // virtual
	}
}

// TestHeldWithinSeconds: a quiet group knows within two seconds who
// reads what is sent, and nothing of that goes to anybody but the author.
func TestHeldWithinSeconds(t *testing.T) {
	t.Parallel()
	const members = 4
	inWorld(t, func(w *world) {
		a := w.open(0)
		id := w.create(a, "tea house")
		for i := 1; i < members; i++ {
			w.join(w.open(i, 0), id)
		}
		time.Sleep(30 * time.Minute) // virtual
		published := func() (n uint64) {
			for _, o := range w.nodes {
				n += counted(o.metrics.Published)
			}
			return n
		}
		w.noRoundSoon(id)
		exchanged := counted(a.metrics.Syncs.WithLabelValues(resultOf(nil)))
		before := published()
		sent, took := w.held(a, id, time.Minute)
		if sent.State != api.DeliveryHeld || took > 2*time.Second {
			t.Errorf("%+v after %v", sent, took)
		}
		time.Sleep(2*time.Second - took) // virtual
		m, err := a.groups.get(id).message(w.Context(), message(w, sent.ID))
		if err != nil || m.HeldBy != members-1 || m.Readers != members-1 {
			t.Errorf("held by %d of %d, %v", m.HeldBy, m.Readers, err)
		}
		if n := published() - before; n != 1 {
			t.Errorf("%d envelopes were published, one is the message", n)
		}
		if n := counted(a.metrics.Syncs.WithLabelValues(resultOf(nil))) - exchanged; n != 0 {
			t.Errorf("%d exchanges", n)
		}
	})
}

// TestHeldWithoutGossip: where gossip carries nothing, exchanges do, and the receipts of what
// came with them as soon as ever.
func TestHeldWithoutGossip(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id := w.create(a, "tea house")
		w.join(b, id)
		time.Sleep(10 * time.Minute) // virtual
		for _, n := range w.nodes {
			n.hooks.mute.Store(true)
		}
		if sent, took := w.held(a, id, time.Minute); sent.State != api.DeliveryHeld || took > 3*time.Second {
			t.Errorf("%+v after %v", sent, took)
		}
	})
}

// TestHeldByNobodyThere: who waits is told what is known, at the end of its patience and
// not before, and later what has become of it.
func TestHeldByNobodyThere(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id := w.create(a, "tea house")
		w.join(b, id)
		w.close(1)
		time.Sleep(time.Minute) // virtual
		sent, took := w.held(a, id, 10*time.Second)
		if sent.State != api.DeliveryPublished || sent.HeldBy != 0 || sent.Readers != 1 || took < 10*time.Second {
			t.Errorf("%+v after %v", sent, took)
		}
		b = w.open(1, 0)
		w.shows(b, id, time.Minute, "hello")
		time.Sleep(2 * time.Second) // virtual
		if m, err := a.groups.get(id).message(w.Context(), message(w, sent.ID)); err != nil || m.Delivery != group.DeliveryHeld {
			t.Errorf("%v, %v", m.Delivery, err)
		}
	})
}

// TestHandedEnvelopes: a peer that hands rubbish, or what is not for this node, learns
// nothing and breaks nothing.
func TestHandedEnvelopes(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a, b, c := w.open(0), w.open(1, 0), w.open(2, 0)
		id := w.create(a, "tea house")
		w.join(b, id)
		for name, envelope := range map[string][]byte{
			"rubbish":           {1, 2, 3},
			"of an unknown tag": make([]byte, 321),
			"under a wrong key": append(append([]byte{1}, tagOf(id)...), make([]byte, 321-9)...),
		} {
			if err := hand(w.Context(), c.host, c.metrics, a.host.ID(), envelope); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := hand(w.Context(), c.host, c.metrics, a.host.ID(), make([]byte, wire.MaxHanded+1)); err == nil {
			t.Error("too much was taken")
		}
		w.send(a, id, "still there")
		w.shows(b, id, time.Minute, "still there")
	})
}

func tagOf(id wire.GroupID) []byte {
	tag := id.TopicTag()
	return tag[:]
}

func message(w *world, text string) wire.MessageID {
	w.Helper()
	id, err := wire.ParseEntryHash(text)
	if err != nil {
		w.Fatal(err)
	}
	return id
}
