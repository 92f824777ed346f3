package node

import (
	"testing"
	"time"
)

// TestTwoAmongAbsent: of ten members two come back, and have only what they remember. They
// find each other at once, though each remembers eight who are gone.
func TestTwoAmongAbsent(t *testing.T) {
	inWorld(t, func(w *world) {
		const size = 10
		first := w.open(0)
		id := w.create(first, "absent")
		for i := 1; i < size; i++ {
			w.join(w.open(i, 0), id)
		}
		time.Sleep(2 * time.Minute) // virtual: everybody has met everybody
		for i := range size {
			w.close(i)
		}
		for round, pair := range [][2]int{{0, 9}, {4, 5}, {8, 1}} {
			a, b := w.open(pair[0]), w.open(pair[1])
			began := time.Now()
			w.eventually(a, 3*time.Minute, "they are connected", func() bool { return a.isConnected(b.host.ID()) })
			if took := time.Since(began); took > 3*time.Second {
				w.Errorf("round %d: nodes %v found each other after %v", round, pair, took)
			}
			w.close(pair[0])
			w.close(pair[1])
		}
	})
}

// TestBackAmongAbsent: the network of one is dead for an hour; when it comes back, neither
// waits long.
func TestBackAmongAbsent(t *testing.T) {
	inWorld(t, func(w *world) {
		const size = 10
		first := w.open(0)
		id := w.create(first, "absent")
		for i := 1; i < size; i++ {
			w.join(w.open(i, 0), id)
		}
		time.Sleep(2 * time.Minute) // virtual
		for i := 2; i < size; i++ {
			w.close(i)
		}
		w.net.Cut(0, 1)
		time.Sleep(time.Hour) // virtual
		w.net.Heal(0, 1)
		a, b := w.nodes[0], w.nodes[1]
		began := time.Now()
		w.eventually(a, 3*time.Minute, "they are connected", func() bool { return a.isConnected(b.host.ID()) })
		if took := time.Since(began); took > 40*time.Second {
			w.Errorf("found each other %v after the cut ended", took)
		}
	})
}
