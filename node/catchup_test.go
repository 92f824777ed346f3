package node

import (
	"fmt"
	"testing"
	"time"

	"github.com/pandanode/pandanode/node/wire"
)

// TestCatchUpWithThousands: a member that was away while thousands of messages were
// sent has all of them with the first exchanges, in seconds.
func TestCatchUpWithThousands(t *testing.T) {
	const batches = 12
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id := w.create(a, "many")
		w.join(b, id)
		w.close(1)
		for k := range batches {
			contents := make([]wire.Content, MaxTogether)
			for i := range contents {
				contents[i] = wire.Content{MediaType: "text/plain", Data: []byte(fmt.Sprint(k, " ", i))}
			}
			if _, err := a.SendAll(w.Context(), id, contents); err != nil {
				t.Fatal(err)
			}
		}
		begun := time.Now()
		b = w.open(1, 0)
		n, cursor := 0, uint64(0)
		w.eventually(b, 10*time.Minute, "everything is here", func() bool {
			more, err := b.Messages(w.Context(), id, cursor, 0)
			if n += len(more); len(more) > 0 {
				cursor = more[len(more)-1].Cursor
			}
			return err == nil && n == batches*MaxTogether
		})
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("it took %v of virtual time", took)
		}
		if n := b.metrics.counters()["catchups_failed"]; n > 0 {
			t.Errorf("%v exchanges failed", n)
		}
	})
}

// TestDribblerIsLetGo: who sends a byte now and then does not hold a stream.
func TestDribblerIsLetGo(t *testing.T) {
	inWorld(t, func(w *world) {
		a := w.open(0)
		id := w.create(a, "dribbled at")
		s, err := w.hostile(1, 0).NewStream(w.within(time.Minute), a.host.ID(), protocolID(wire.ProtocolSync))
		if err != nil {
			w.Fatal(err)
		}
		var hello bytesOf
		if err := wire.WriteFrame(&hello, newHello(id)); err != nil {
			w.Fatal(err)
		}
		begun := time.Now()
		for _, b := range hello {
			if _, err := s.Write([]byte{b}); err != nil {
				break
			}
			time.Sleep(5 * time.Second) // virtual
		}
		if held := time.Since(begun); held > frameTimeout+10*time.Second {
			w.Errorf("the stream was held for %v", held)
		}
	})
}
