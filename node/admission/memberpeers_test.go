package admission

import (
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
)

// TestMemberPeers counts the groups of a peer, and forgets it with the last one.
func TestMemberPeers(t *testing.T) {
	t.Parallel()
	var m MemberPeers
	const p = peer.ID("p")
	for i, step := range []struct {
		change func(peer.ID)
		want   int
	}{{m.Joined, 1}, {m.Joined, 2}, {m.Left, 1}, {m.Left, 0}, {m.Left, 0}, {m.Joined, 1}} {
		if step.change(p); m.Shared(p) != step.want || m.Has(p) != (step.want > 0) {
			t.Errorf("step %d: %d groups", i, m.Shared(p))
		}
	}
	if m.Left(p); len(m.groups) != 0 {
		t.Errorf("%d peers are kept that share no group", len(m.groups))
	}
}
