package admission

import (
	"fmt"
	"slices"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
)

// TestStreamLimiter fills the slots with streams of each trust: those of unknown peers are
// evicted, the oldest first, and take no other slot.
func TestStreamLimiter(t *testing.T) {
	var ts StreamLimiter
	shut := make(map[int]bool)
	next, taken := 0, 0
	enter := func(as Trust) *Slot {
		i := next
		next++
		return ts.Enter(peer.ID(fmt.Sprint(i/MaxPeerStreams)), as, func() {
			if shut[i] = true; as != Unknown {
				taken++
			}
		})
	}
	var unknowns []*Slot
	for i := range 2 * MaxStreams {
		pl := enter(Unknown)
		if pl == nil {
			t.Fatalf("stream %d found no place", i)
		}
		unknowns = append(unknowns, pl)
	}
	if len(shut) != 2*MaxStreams-slotsFor[Unknown] || !shut[0] || shut[2*MaxStreams-1] {
		t.Fatalf("%d were shut", len(shut))
	}
	kept := unknowns[len(unknowns)-1]
	kept.Prove()
	unknowns[0].Prove() // it has gone
	for _, more := range []struct {
		as   Trust
		want int
	}{{Proven, slotsFor[Proven] - 1}, {Member, MaxStreams - slotsFor[Proven]}, {Unknown, 0}} {
		got, before := 0, taken
		for enter(more.as) != nil && taken == before {
			got++
		}
		if got != more.want {
			t.Errorf("%d of trust %d entered, wants %d", got, more.as, more.want)
		}
	}
	if ts.taken[Unknown]+ts.taken[Proven]+ts.taken[Member] != MaxStreams || kept.gone {
		t.Fatalf("taken: %v", ts.taken)
	}
	for _, pl := range unknowns {
		pl.Leave()
		pl.Leave()
	}
	if ts.taken[Unknown] != 0 || slices.ContainsFunc(ts.all, func(pl *Slot) bool { return pl.as == Unknown }) {
		t.Fatalf("taken: %v", ts.taken)
	}
}

// TestStreamLimiterIsFair has a few proven peers take all slots. A peer with fewer slots gets
// some of theirs, never one of a peer of higher trust, and no more than they keep.
func TestStreamLimiterIsFair(t *testing.T) {
	var ts StreamLimiter
	closed := make(map[peer.ID]int)
	enter := func(p string, as Trust) bool {
		return ts.Enter(peer.ID(p), as, func() { closed[peer.ID(p)]++ }) != nil
	}
	if !enter("friend", Member) {
		t.Fatal("there is no place")
	}
	for i := range slotsFor[Proven] / MaxPeerStreams {
		for range MaxPeerStreams {
			if !enter(fmt.Sprint("greedy ", i), Proven) {
				t.Fatal("there is no place")
			}
		}
	}
	if len(closed) > 0 {
		t.Fatalf("they closed each other's: %v", closed)
	}
	got := 0
	for range MaxPeerStreams {
		if enter("modest", Proven) {
			got++
		}
	}
	if got != MaxPeerStreams-1 || closed["friend"] > 0 || closed["modest"] > 0 || len(closed) != got {
		t.Fatalf("%d places, and these closed: %v", got, closed)
	}
	if enter("greedy 11", Proven) || enter("nobody", Unknown) {
		t.Fatal("who has many, or is unknown, takes another's place")
	}
}
