package node

import (
	"testing"
	"time"
)

// TestJoinAcrossACut: whoever asks to join in a half of a cut network is let in by
// that half at once. Of the peers nearest to the group's key most are on the other
// side, and their connections, dead, look alive for half a minute.
func TestJoinAcrossACut(t *testing.T) {
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
			p, err := joiner.JoinProgress(w.Context(), id)
			return err == nil && p.Stage == StageSynced
		})
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("joining took %v", took)
		}
	})
}
