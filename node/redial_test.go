package node

import (
	"testing"
	"time"
)

// TestTwoAmongAbsent: of ten members two come back, and have only what they remember. They
// find each other at once, though each remembers eight who are gone. Then the network between
// two is dead for an hour; when it comes back, neither waits long.
func TestTwoAmongAbsent(t *testing.T) {
	t.Parallel()
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
		meet := func(within time.Duration, pair [2]int) {
			w.Helper()
			a, b := w.nodes[pair[0]], w.nodes[pair[1]]
			began := time.Now()
			w.eventually(a, 3*time.Minute, "they are connected", func() bool { return a.isConnected(b.host.ID()) })
			if took := time.Since(began); took > within {
				w.Errorf("nodes %v found each other after %v", pair, took)
			}
		}
		for _, pair := range [][2]int{{0, 9}, {4, 5}, {8, 1}} {
			w.open(pair[0])
			w.open(pair[1])
			meet(3*time.Second, pair)
			w.close(pair[0])
			w.close(pair[1])
		}
		pair := [2]int{0, 1}
		a, b := w.open(0), w.open(1)
		meet(3*time.Second, pair)
		w.net.Cut(0, 1)
		time.Sleep(time.Hour) // virtual
		if a.isConnected(b.host.ID()) {
			w.Error("they are connected, though the network between them is dead")
		}
		w.net.Heal(0, 1)
		meet(40*time.Second, pair)
	})
}

// TestRemembersSoon: a node that is only called keeps on disk whom it has met, within
// seconds, so that it finds back after a crash.
func TestRemembersSoon(t *testing.T) {
	t.Parallel()
	inWorld(t, func(w *world) {
		a := w.open(0)
		b := w.open(1, 0)
		time.Sleep(4 * time.Second) // virtual
		for _, pair := range [][2]*Node{{a, b}, {b, a}} {
			book, err := peerBook{pair[0].directory}.LoadPeers()
			if err != nil {
				w.Fatal(err)
			}
			if _, ok := book[string(pair[1].host.ID())]; !ok {
				w.Errorf("%v has not stored %v, but %d others", pair[0].host.ID(), pair[1].host.ID(), len(book))
			}
		}
	})
}
