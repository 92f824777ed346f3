package node

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/metrics"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/pandanode/pandanode/node/admission"
	"github.com/pandanode/pandanode/node/api"
	"github.com/pandanode/pandanode/node/wire"
)

// idleFor is how long nodes do nothing, in virtual time.
const idleFor = 20 * time.Minute

// TestIdleCost has two nodes share groups in which nothing happens, and tells what that
// costs each of them; -v shows it. PANDANODE_TEST_IDLE names other numbers of groups.
func TestIdleCost(t *testing.T) {
	counts := "1,20"
	if env := os.Getenv("PANDANODE_TEST_IDLE"); env != "" {
		counts = env
	}
	for text := range strings.SplitSeq(counts, ",") {
		groups, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(text, func(t *testing.T) {
			inWorld(t, func(w *world) {
				counter := newByteCounter()
				w.with = func(i int, cfg *Config) {
					if i == 1 {
						cfg.NewHost = func(opts ...libp2p.Option) (host.Host, error) {
							return w.net.Host(i, append(opts, libp2p.BandwidthReporter(counter))...)
						}
					}
				}
				a := w.open(0)
				b := w.open(1, 0)
				ids := make([]wire.GroupID, groups)
				for i := range ids {
					ids[i] = w.create(a, fmt.Sprint("quiet ", i))
					if err := b.Join(w.within(time.Minute), ids[i]); err != nil {
						w.Fatal(err)
					}
				}
				w.eventually(b, time.Hour, "caught up", func() bool {
					missing, err := b.Missing(w.Context(), api.LevelSynced)
					return err == nil && missing == ""
				})
				time.Sleep(20 * time.Minute) // virtual: what follows a join is over, and pauses have grown

				counter.take()
				cpu, syncs := processClock(w), b.metrics.counters()["catchups_ok"]
				time.Sleep(idleFor)                                                         // virtual
				perMinute := (processClock(w) - cpu) / 2 / time.Duration(idleFor.Minutes()) // two nodes
				exchanges := float64(b.metrics.counters()["catchups_ok"]-syncs) / idleFor.Minutes()
				total := int64(0)
				for p, n := range counter.take() {
					w.Logf("  %s: %d KiB an hour", cmp.Or(string(p), "negotiation"), n*int64(time.Hour/idleFor)>>10)
					total += n
				}
				w.Logf("%d groups: %.1f ms of CPU a minute, %d KiB an hour, %.1f exchanges a minute", groups,
					float64(perMinute.Microseconds())/1000, total*int64(time.Hour/idleFor)>>10, exchanges)
				if most := 0.6 * float64(groups); exchanges > most {
					w.Errorf("%.1f exchanges a minute, at most %.1f are wanted", exchanges, most)
				}
			})
		})
	}
}

// TestQuietGroupIsCaughtUp has gossip lose a message after hours of silence, in which
// exchanges have become rare: who wrote it notices nothing, and it arrives all the same,
// as soon as in a busy group.
func TestQuietGroupIsCaughtUp(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		b := w.open(1, 0)
		id := w.create(a, "quiet")
		w.join(b, id)
		for _, n := range []*Node{a, b} {
			if got := n.groups.get(id).scheduler.pause(); got != syncEvery {
				w.Errorf("after a join it pauses for %v", got)
			}
		}
		time.Sleep(3 * time.Hour) // virtual
		for _, n := range []*Node{a, b} {
			if got := n.groups.get(id).scheduler.pause(); got != syncQuiet {
				w.Errorf("after hours of silence it pauses for %v", got)
			}
		}
		deaf, hears := context.WithCancel(w.Context()) // takes every envelope out
		defer hears()
		empty := func() {
			for range 2 * admission.GarbageTerms.Member.Burst {
				b.door.limits.Wasted(a.host.ID())
			}
		}
		empty()
		go func() {
			for deaf.Err() == nil {
				time.Sleep(10 * time.Millisecond) // virtual
				b.door.limits.Wasted(a.host.ID())
			}
		}()
		w.send(a, id, "lost by gossip")
		w.shows(b, id, syncEvery*2, "lost by gossip")
		if got := b.metrics.counters()["limited_"+admission.LimitedEnvelopes]; got == 0 {
			w.Error("gossip has lost nothing")
		}
	})
}

// byteCounter counts bytes on streams by protocol; libp2p's own counter measures rates
// too, with a goroutine for the whole process, which a bubble cannot have.
type byteCounter struct {
	metrics.Reporter // nil: nothing else is called

	mu    sync.Mutex
	bytes map[protocol.ID]int64
}

func newByteCounter() *byteCounter { return &byteCounter{bytes: make(map[protocol.ID]int64)} }

func (c *byteCounter) LogSentMessage(int64) {}
func (c *byteCounter) LogRecvMessage(int64) {}

func (c *byteCounter) LogSentMessageStream(n int64, p protocol.ID, _ peer.ID) { c.add(n, p) }
func (c *byteCounter) LogRecvMessageStream(n int64, p protocol.ID, _ peer.ID) { c.add(n, p) }

func (c *byteCounter) add(n int64, p protocol.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes[p] += n
}

func (c *byteCounter) take() map[protocol.ID]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.bytes
	c.bytes = make(map[protocol.ID]int64)
	return out
}
