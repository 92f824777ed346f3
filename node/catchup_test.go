package node

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/pandanode/pandanode/internal/simhost"
	"github.com/pandanode/pandanode/node/wire"
)

// TestCatchUpWithThousands: a member that was away while thousands of messages were
// sent has all of them with the first exchanges, in seconds.
func TestCatchUpWithThousands(t *testing.T) {
	t.Parallel()
	const batches = 12
	inWorld(t, func(w *world) {
		a, b := w.open(0), w.open(1, 0)
		id := w.create(a, "many")
		w.join(b, id)
		w.close(1)
		for k := range batches {
			contents := make([]wire.Content, maxSendTogether)
			for i := range contents {
				contents[i] = wire.Content{MediaType: "text/plain", Data: []byte(fmt.Sprint(k, " ", i))}
			}
			if _, err := a.sendAll(w.Context(), id, contents); err != nil {
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
			return err == nil && n == batches*maxSendTogether
		})
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("it took %v of virtual time", took)
		}
		if n := b.metrics.counters()["catchups_failed"]; n > 0 {
			t.Errorf("%v exchanges failed", n)
		}
	})
}

// failures is a log of which the errors of exchanges are kept, so that a test can say them.
type failures struct {
	mu  sync.Mutex
	all []string
}

func (f *failures) Enabled(context.Context, slog.Level) bool { return true }
func (f *failures) WithAttrs([]slog.Attr) slog.Handler       { return f }
func (f *failures) WithGroup(string) slog.Handler            { return f }
func (f *failures) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if err, failed := a.Value.Any().(error); r.Message == "exchange ended" && failed {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.all = append(f.all, fmt.Sprintf("%v: %v", r.Time, err))
		}
		return true
	})
	return nil
}

// slowly runs a test over lines that carry so many bits a second.
func slowly(t *testing.T, bits int, f func(w *world)) {
	t.Helper()
	inNet(t, simhost.Config{BitsPerSecond: bits, Latency: 50 * time.Millisecond}, f)
}

// TestCatchUpOverASlowLine: who returns over a slow line to a group that has written
// much has it as soon as the line can carry it, and each byte once.
func TestCatchUpOverASlowLine(t *testing.T) {
	slowly(t, 64_000, func(w *world) {
		a := w.open(0)
		b := w.open(1, 0)
		id := w.create(a, "slow")
		w.join(b, id)
		time.Sleep(time.Minute) // virtual: the exchange after the join is over
		w.close(1)
		const batches, each = 8, 250
		for k := range batches {
			texts := make([]wire.Content, each)
			for i := range texts {
				texts[i] = wire.Content{MediaType: "text/plain", Data: []byte(fmt.Sprint(k, " ", i))}
			}
			if _, err := a.sendAll(w.within(time.Minute), id, texts); err != nil {
				w.Fatal(err)
			}
		}
		before := a.metrics.counters()["catchups_failed"]
		b = w.open(1, 0)
		w.eventually(b, 10*time.Minute, "everything is here", func() bool { return len(w.texts(b, id)) == batches*each })
		if n := a.metrics.counters()["catchups_failed"] - before + b.metrics.counters()["catchups_failed"]; n > 0 {
			w.Errorf("%d exchanges failed", n)
		}
		if in := b.metrics.counters()["catchup_bytes_in"]; in > 1500<<10 {
			w.Errorf("%d bytes came for %d messages", in, batches*each)
		}
	})
}

// TestCatchUpInTurns: what takes longer than one exchange may comes with several, of
// which each goes on where the one before has ended.
func TestCatchUpInTurns(t *testing.T) {
	slowly(t, 64_000, func(w *world) {
		var failed failures
		w.log = slog.New(&failed)
		a := w.open(0)
		b := w.open(1, 0)
		id := w.create(a, "large and slow")
		w.join(b, id)
		time.Sleep(time.Minute) // virtual: the exchange after the join is over
		w.close(1)
		const messages, size = 100, 60 << 10
		for i := range messages {
			if _, err := a.Send(w.within(time.Minute), id, wire.Content{MediaType: "application/octet-stream", Data: make([]byte, size)}); err != nil {
				w.Fatal(i, err)
			}
		}
		begun, before := time.Now(), a.metrics.counters()["catchups_failed"]
		b = w.open(1, 0)
		w.eventually(b, time.Hour, "everything is here", func() bool { return len(w.texts(b, id)) == messages })
		if took := time.Since(begun); took < 2*syncTimeout {
			w.Fatalf("it took %v: no test of turns", took)
		}
		if n := a.metrics.counters()["catchups_failed"] - before + b.metrics.counters()["catchups_failed"]; n > 0 {
			w.Errorf("%d exchanges failed: %q", n, failed.all)
		}
		if in := b.metrics.counters()["catchup_bytes_in"]; in > 2*messages*size {
			w.Errorf("%d bytes came for %d messages of %d", in, messages, size)
		}
	})
}

// TestDribblerIsLetGo: who sends a byte now and then does not hold a stream.
func TestDribblerIsLetGo(t *testing.T) {
	t.Parallel()
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
