package wire

import (
	"encoding/binary"
	"errors"
	"reflect"
	"testing"
)

// many makes ascending marks.
func many(n int) []Mark {
	marks := make([]Mark, n)
	for i := range marks {
		binary.BigEndian.PutUint32(marks[i].Log.Device[:], uint32(i)) //nolint:gosec // small
		marks[i].Seq, marks[i].Hash = 1, EntryHash{1}
	}
	return marks
}

// A version vector of any size goes in parts that a frame and a decoder take, and comes
// together again.
func TestVectorInParts(t *testing.T) {
	for _, n := range []int{0, 1, MaxMarks, MaxMarks + 1, 3*MaxMarks + 7} {
		v := SyncVector{Marks: many(n), Lacks: []MessageID{{1}}}
		var got SyncVector
		parts := 0
		for part := range v.Parts() {
			b := Marshal(&SyncMessage{Vector: part})
			var msg SyncMessage
			if err := Unmarshal(b, &msg); err != nil || len(b) > MaxFrame {
				t.Fatalf("%d marks: a part of %d bytes: %v", n, len(b), err)
			}
			if err := got.Join(msg.Vector); err != nil {
				t.Fatalf("%d marks: %v", n, err)
			}
			parts++
		}
		if want := max(1, (n+MaxMarks-1)/MaxMarks); parts != want || len(got.Marks) != n || n > 0 && !reflect.DeepEqual(got, v) {
			t.Errorf("%d marks came in %d parts, want %d, as %d marks", n, parts, want, len(got.Marks))
		}
	}
	last := 0
	for part := range (SyncVector{Marks: many(MaxVector + 5)}).Parts() {
		last += len(part.Marks)
	}
	if last != MaxVector {
		t.Errorf("a vector that is too large has %d marks in its parts", last)
	}
}

func TestPartsRefused(t *testing.T) {
	marks := many(4)
	first := func() *SyncVector { return &SyncVector{Marks: marks[:2:2], More: 1} }
	whole := &SyncVector{Marks: many(MaxVector), More: 1}
	for what, c := range map[string]struct {
		v, part *SyncVector
		want    error
	}{
		"marks that do not ascend":   {first(), &SyncVector{Marks: marks[1:]}, ErrMalformed},
		"a part after the last":      {&SyncVector{Marks: marks[:2:2]}, &SyncVector{Marks: marks[2:]}, ErrMalformed},
		"nothing, and more to come":  {first(), &SyncVector{More: 1}, ErrMalformed},
		"more marks than all may be": {whole, &SyncVector{Marks: []Mark{{Log: LogID{Device: DeviceID{0xff}}}}}, ErrTooLarge},
	} {
		if err := c.v.Join(c.part); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", what, err, c.want)
		}
	}
}
