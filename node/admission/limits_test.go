package admission

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/pandanode/pandanode/node/wire"
)

// TestMeter follows the buckets of a stranger, a member and a crowd through time.
func TestMeter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMeter(Terms{Stranger: Allowance{4, 2}, Strangers: Allowance{20, 10}, Member: Allowance{8, 60}})
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
			{"a member's burst", "f", 1, 100, 8, 0},
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
			t.Error("the crowd took a member's tokens")
		}
		if m.each.Len() > maxMetered || m.ofMember.Len() > maxMetered {
			t.Errorf("%d and %d buckets are kept", m.each.Len(), m.ofMember.Len())
		}
	})
}

// TestEveryProtocolHasAMeter: streams of a protocol of this project are not counted among
// strange ones.
func TestEveryProtocolHasAMeter(t *testing.T) {
	t.Parallel()
	l := NewLimits(nil, nil)
	for _, p := range wire.Protocols {
		if l.streams[p] == nil {
			t.Errorf("%s has none", p)
		}
	}
}
