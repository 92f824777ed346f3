package node

import (
	"crypto/ed25519"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"
)

// TestJoinAcrossACut: whoever asks to join in a half of a cut network is let in by
// that half at once. Of the peers nearest to the group's key most are on the other
// side, and their connections, dead, look alive for half a minute.
func TestJoinAcrossACut(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		for i := range 8 {
			w.open(i, 0)
		}
		id := w.create(w.nodes[0], "tea house")
		for i := 2; i < 8; i++ {
			w.join(w.nodes[i], id)
		}
		time.Sleep(time.Minute) // virtual; the record is published
		w.net.Partition([]int{0, 1}, []int{2, 3, 4, 5, 6, 7})
		begun := time.Now()
		joiner := w.nodes[1]
		if err := joiner.Join(w.Context(), id); err != nil {
			t.Fatal(err)
		}
		w.eventually(joiner, time.Minute, "the joiner is a member", func() bool {
			p, err := joiner.joinProgress(w.Context(), id)
			return err == nil && p.Stage == stageSynced
		})
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("joining took %v", took)
		}
	})
}

// TestDialsAfterMuchFailure: a node that could reach nobody for long dials the first whom
// it can reach again at the first try. By default libp2p takes so many failures for a
// network that drops all UDP, and refuses 99 of 100 dials.
func TestDialsAfterMuchFailure(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		w.open(1)
		var all sync.WaitGroup
		for i := range 300 {
			seed := make([]byte, ed25519.SeedSize)
			seed[0], seed[1], seed[2] = 1, byte(i), byte(i>>8)
			key, err := crypto.UnmarshalEd25519PrivateKey(ed25519.NewKeyFromSeed(seed))
			if err != nil {
				t.Fatal(err)
			}
			id, err := peer.IDFromPrivateKey(key)
			if err != nil {
				t.Fatal(err)
			}
			nowhere := multiaddr.StringCast(fmt.Sprintf("/ip4/42.%d.%d.1/udp/8000/quic-v1", 100+i>>8, i&255))
			all.Go(func() {
				if err := a.host.Connect(w.within(time.Minute), peer.AddrInfo{ID: id, Addrs: []multiaddr.Multiaddr{nowhere}}); err == nil {
					t.Error("there is somebody where nobody is")
				}
			})
		}
		all.Wait()
		if err := a.host.Connect(w.within(time.Minute), w.net.AddrInfo(1)); err != nil {
			t.Errorf("a peer who can be reached: %v", err)
		}
	})
}
